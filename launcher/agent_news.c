/* News of the ranks and of what started them: what was said, who died, who is missing, what is over. */
#include "launcher/agent_local_private.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/process.h"

static const double MISSING_S = 0.8; /* for so long they must have been too few */
static const double NOBODY_S = 30;   /* for a starter that has started none */

/* ---- news of ranks --------------------------------------------------------------------------- */

/* When mpirun dies, its ranks die of PR_SET_PDEATHSIG before we hear of mpirun itself: not their fault. Nor
 * is it when we kill it with all that it started. */
static bool is_starter_lost(const struct ddp_local_agent *a, const struct ddp_rank *rank)
{
    bool exiting = false;
    if (a->starter->direct)
        return false;
    const pid_t parent = a->starter->forks ? a->worker[0].child.pid : rank->parent; /* there its daemon */
    if (parent > 0)
        ddp_process_state(parent, &exiting);
    return a->killed_starter || a->starter_ended || exiting;
}

/* A rank's line is closed and it had not said goodbye: false where that is no news of its own. */
static bool find_death(struct ddp_local_agent *a, struct ddp_rank *rank, struct ddp_news *out)
{
    if (a->killed_ranks)
        return false;
    if (is_starter_lost(a, rank)) {
        out->kind = DDP_NEWS_STARTER_LOST;
        return !a->told_lost && (a->told_lost = true);
    }
    const pid_t reaper = a->starter->direct ? 0 : rank->parent;
    if (rank->told_error && !a->starter->direct) /* MPI_Abort ends the others */
        return false;
    for (int i = 0; i < a->nworkers; i++) /* one that ended before we heard of it was waited for already */
        if (a->worker[i].ended && a->worker[i].child.pid == rank->pid)
            rank->wait_status = a->worker[i].wait_status;
    if (reaper > 0)
        kill(reaper, SIGSTOP); /* it must not reap the rank before we have seen how it died */
    ddp_local_agent_kill_ranks(a);
    ddp_rank_death(rank, out->text, sizeof out->text);
    if (reaper > 0)
        kill(reaper, SIGCONT);
    out->kind = DDP_NEWS_DIED;
    return true;
}

/* The last one to get it keeps it alive, with the others. */
static void hand_memory(struct ddp_local_agent *a, struct ddp_rank *rank)
{
    if (a->memory < 0)
        return;
    ddp_rank_hand(rank, a->memory);
    if (++a->handed < a->ranks.expected)
        return;
    close(a->memory);
    a->memory = -1;
}

static void remember_run(const struct ddp_local_agent *a, const struct ddp_rank *rank, const char *run)
{
    struct ddp_job_record *record = a->job->record;
    if (!record || strlen(run) >= sizeof record->run)
        return;
    record->pid = 0; /* we may be killed in between */
    strcpy(record->run, run);
    record->pid = (int)rank->pid;
}

/* False for a message that is between the rank and us. */
static bool read_message(struct ddp_local_agent *a, struct ddp_rank *rank, const struct ddp_lifeline_msg *m,
                         struct ddp_news *out)
{
    static const enum ddp_news_kind kinds[] = {
        [DDP_LIFELINE_ERROR] = DDP_NEWS_ERROR,   [DDP_LIFELINE_RESULT] = DDP_NEWS_RESULT,
        [DDP_LIFELINE_SAVED] = DDP_NEWS_SAVED,   [DDP_LIFELINE_RUN] = DDP_NEWS_RUN,
        [DDP_LIFELINE_NOTICE] = DDP_NEWS_NOTICE, [DDP_LIFELINE_BYE] = DDP_NEWS_BYE,
        [DDP_LIFELINE_CUT] = DDP_NEWS_CUT,       [DDP_LIFELINE_ASKED] = DDP_NEWS_ASKED,
        [DDP_LIFELINE_MET] = DDP_NEWS_MET};
    switch (m->kind) {
    case DDP_LIFELINE_HELLO:
        rank->number = m->rank;
        hand_memory(a, rank);
        if (a->stopping)
            ddp_rank_stop(rank);
        return false;
    case DDP_LIFELINE_ERROR:
    case DDP_LIFELINE_CUT:
        rank->told_error = true;
        break;
    case DDP_LIFELINE_BYE:
        if (rank->bye)
            return false;
        rank->bye = true;
        a->byes++;
        break;
    case DDP_LIFELINE_RUN:
        remember_run(a, rank, m->text);
        break;
    case DDP_LIFELINE_RESULT:
    case DDP_LIFELINE_SAVED:
    case DDP_LIFELINE_ASKED:
    case DDP_LIFELINE_NOTICE:
    case DDP_LIFELINE_MET:
        break;
    default:
        return false; /* of a newer version */
    }
    out->kind = kinds[m->kind];
    out->rank = rank->number;
    out->value = m->kind == DDP_LIFELINE_RUN ? (int)rank->pid : m->value;
    snprintf(out->text, sizeof out->text, "%s", m->text);
    return true;
}

static bool hear(struct ddp_local_agent *a, struct ddp_rank *rank, struct ddp_news *out)
{
    struct ddp_lifeline_msg m;
    int got = 0;

    while (rank->calls && (got = ddp_rank_receive(rank, &m)) > 0)
        if (read_message(a, rank, &m, out))
            return true;
    rank->calls = false;
    out->rank = rank->number;
    if (got < 0 && !rank->gone) {
        rank->gone = true;
        if (!rank->bye && find_death(a, rank, out))
            return true;
    }
    if (!rank->gone || rank->told_gone)
        return false;
    out->kind = DDP_NEWS_GONE;
    return rank->told_gone = true;
}

/* ---- news of those that do not come ---------------------------------------------------------- */

/* A rank that dies before its hello is missed by nobody, mpirun would wait for ever: the starter has fewer
 * children than there are ranks, and that does not change for a while. */
static bool look_for_missing(struct ddp_local_agent *a, double now, struct ddp_news *out)
{
    const pid_t starter = a->worker[0].child.pid;
    const int n = ddp_process_children(starter), expected = a->ranks.expected;

    a->count_at = now + DDP_AGENT_COUNT_S;
    a->children_seen |= n > 0 || ddp_process_has_reaped(starter);
    if (n != a->children)
        a->children_since = now;
    a->children = n;
    const double same = now - a->children_since;
    if (n >= expected)
        return false;
    if (n == 0) { /* all gone; or it has not got so far yet */
        out->kind = DDP_NEWS_NOBODY;
        return same > (a->children_seen || a->ranks.n > 0 ? MISSING_S : NOBODY_S);
    }
    if (a->ranks.n == 0 || same < MISSING_S) /* without a single hello it may not speak to us */
        return false;
    out->kind = DDP_NEWS_MISSING;
    if (a->ranks.n == expected - 1) { /* the number that nobody has is the sum of all less those we know */
        out->rank = (int)((long)expected * (expected - 1) / 2);
        for (int i = 0; i < a->ranks.n; i++)
            out->rank -= a->ranks.rank[i].number;
    }
    snprintf(out->text, sizeof out->text, "ended before it could report to ddp-launch");
    return true;
}

/* A child of ours that has ended, and no rank of its number ever joined. */
static bool find_missing(struct ddp_local_agent *a, struct ddp_news *out)
{
    for (int i = 0; i < a->nworkers && a->starter->direct && !a->killed_ranks; i++) {
        struct ddp_worker *w = &a->worker[i];
        if (!w->ended || w->told_missing || ddp_ranks_find(&a->ranks, i))
            continue;
        const char *slash = strrchr(a->job->program, '/');
        const bool other =
            !WIFSIGNALED(w->wait_status) && strcmp(slash ? slash + 1 : a->job->program, "ddp-train") != 0;
        char how[128];
        ddp_wait_status_text(w->wait_status, how, sizeof how);
        out->kind = DDP_NEWS_MISSING;
        out->rank = i;
        snprintf(out->text, sizeof out->text, "%s before it could report to ddp-launch%s", how,
                 other ? " (a --program must be one on the ddp library)" : "");
        return w->told_missing = true;
    }
    return false;
}

/* ---- news of the starter --------------------------------------------------------------------- */

static bool is_output_over(const struct ddp_local_agent *a)
{
    for (int i = 0; i < a->nworkers; i++)
        if (a->worker[i].out.from >= 0 || a->worker[i].err.from >= 0)
            return false;
    return true;
}

static bool find_end(struct ddp_local_agent *a, struct ddp_news *out)
{
    /* ranks that have not said goodbye will not come to their end: ranks of other hosts wait for them */
    if (a->starter_ended && a->byes < a->ranks.expected && !a->killed_ranks && !a->told_lost) {
        out->kind = DDP_NEWS_STARTER_LOST;
        return a->told_lost = true;
    }
    if (a->starter_ended && !a->told_ended) {
        out->kind = DDP_NEWS_STARTER_ENDED;
        out->value = a->starter->direct || a->nworkers == 0 ? 0 : a->worker[0].wait_status;
        out->killed = a->killed_starter;
        return a->told_ended = true;
    }
    if (a->swept && !a->told_swept) {
        out->kind = DDP_NEWS_SWEPT;
        return a->told_swept = true;
    }
    if (a->told_swept && !a->told_output && is_output_over(a)) {
        out->kind = DDP_NEWS_OUTPUT_ENDED;
        return a->told_output = true;
    }
    return false;
}

bool ddp_local_agent_next(struct ddp_agent *agent, double now, struct ddp_news *out)
{
    struct ddp_local_agent *a = ddp_agent_as_local(agent);
    out->kind = DDP_NEWS_JOINED;
    out->rank = -1;
    out->value = 0;
    out->killed = false;
    ddp_fold_move(&a->out_lines, now);
    ddp_fold_move(&a->err_lines, now);
    struct ddp_rank *joined = a->knocked ? ddp_ranks_accept(&a->ranks) : NULL;
    if (joined)
        return joined->calls = true; /* its hello */
    a->knocked = false;
    for (int i = 0; i < a->ranks.n; i++)
        if (hear(a, &a->ranks.rank[i], out))
            return true;
    out->rank = -1;
    if (find_missing(a, out))
        return true;
    if (ddp_agent_is_counting(a) && now >= a->count_at && look_for_missing(a, now, out))
        return true;
    return ddp_local_agent_look(a, now, out) || find_end(a, out);
}
