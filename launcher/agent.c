/* The agent in this process: a starter's program, the ranks behind their sockets, their output. */
#include "launcher/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/ranks.h"
#include "launcher/relay.h"
#include "launcher/spawn.h"
#include "launcher/tagged.h"

static const double COUNT_S = 0.02;  /* between counts of the starter's children while ranks are missing */
static const double MISSING_S = 0.8; /* for so long they must have been too few */
static const double NOBODY_S = 30;   /* for a starter that has started none */
static const double LOOK_S = 2.0;    /* between looks for ranks that somebody stopped */
enum { LOOKS_HALTED = 2, FDS_FIXED = 3 };

struct ddp_agent {
    const struct ddp_starter *starter;
    const struct ddp_job *job;
    struct ddp_child child; /* the starter's program */
    int wait_status;        /* of it, once it has ended */
    struct ddp_ranks ranks;
    int byes;
    struct ddp_relay out, err;
    struct ddp_text starter_text;

    /* what it was told */
    bool stopping, killed_ranks, killed_starter, swept;
    /* what has happened .. */
    bool knocked; /* somebody wants to connect */
    bool starter_ended;
    /* .. and what of it is no news any more */
    bool told_lost, told_ended, told_swept, told_output;

    double look_at, count_at; /* when to look for halted ranks, and for missing ones */
    int children;             /* the starter's living children .. */
    double children_since;    /* .. since when they are as many .. */
    bool children_seen;       /* .. and whether there ever were any */
};

/* ---- start and end --------------------------------------------------------------------------- */

static void raise_descriptor_limit(int ranks)
{
    struct rlimit limit;
    const rlim_t need = 2 * (rlim_t)ranks + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < need) {
        limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int spawn_starter(struct ddp_agent *a, const sigset_t *mask, struct ddp_error *err)
{
    struct ddp_words argv = {0}, env = {0};
    for (int i = 0; i < a->job->env.n; i++)
        ddp_words_add(&env, "%s", a->job->env.w[i]);
    a->starter->command(a->job, &argv, &env);
    const int rc = ddp_spawn(&argv, &env, mask, &a->child, err);
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
    return rc;
}

int ddp_agent_create(const struct ddp_starter *starter, const struct ddp_job *job, const sigset_t *mask,
                     bool quiet, struct ddp_agent **out, struct ddp_error *err)
{
    struct ddp_agent *a = ddp_calloc(1, sizeof *a);
    a->starter = starter;
    a->job = job;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    raise_descriptor_limit(job->ranks);
    int rc = ddp_ranks_open(job->name, job->ranks, &a->ranks, err);
    if (rc != 0)
        goto fail;
    rc = spawn_starter(a, mask, err);
    if (rc != 0)
        goto fail_ranks;
    ddp_text_init(&a->starter_text);
    ddp_relay_init(&a->out, starter, a->child.out, STDOUT_FILENO, quiet, &a->starter_text);
    ddp_relay_init(&a->err, starter, a->child.err, STDERR_FILENO, quiet, &a->starter_text);
    a->children_since = ddp_now();
    a->count_at = a->children_since + COUNT_S;
    a->look_at = a->children_since + LOOK_S;
    *out = a;
    return 0;
fail_ranks:
    ddp_ranks_close(&a->ranks);
fail:
    free(a);
    return rc;
}

void ddp_agent_destroy(struct ddp_agent *a)
{
    if (!a)
        return;
    ddp_relay_finish(&a->out);
    ddp_relay_finish(&a->err);
    ddp_text_finish(&a->starter_text);
    ddp_ranks_close(&a->ranks);
    free(a);
}

/* ---- orders ---------------------------------------------------------------------------------- */

void ddp_agent_stop(struct ddp_agent *a)
{
    a->stopping = true;
    for (int i = 0; i < a->ranks.n; i++)
        ddp_rank_stop(&a->ranks.rank[i]);
}

void ddp_agent_kill_ranks(struct ddp_agent *a)
{
    a->killed_ranks = true;
    ddp_ranks_signal(&a->ranks, SIGKILL);
}

void ddp_agent_kill_starter(struct ddp_agent *a)
{
    if (a->starter_ended)
        return;
    a->killed_starter = true;
    kill(a->child.pid, SIGKILL);
}

/* Collect children that have ended: the starter's program, and orphans that it has left to us. */
static void reap(struct ddp_agent *a)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == a->child.pid) {
            a->starter_ended = true;
            a->wait_status = status;
        }
        for (int i = 0; i < a->ranks.n; i++)
            if (a->ranks.rank[i].pid == pid)
                a->ranks.rank[i].wait_status = status;
    }
}

void ddp_agent_sweep(struct ddp_agent *a)
{
    ddp_agent_kill_ranks(a);
    for (int i = 0; i < a->ranks.n; i++)
        if (a->ranks.rank[i].pidfd >= 0) {
            struct pollfd p = {.fd = a->ranks.rank[i].pidfd, .events = POLLIN};
            poll(&p, 1, 1000);
        }
    if (a->byes < a->ranks.expected) /* ranks that never said hello, and children of ranks */
        for (int tries = 0; tries < 50 && ddp_tagged_kill(a->job->name) > 0; tries++)
            usleep(2000);
    reap(a);
    ddp_relay_hurry(&a->out);
    ddp_relay_hurry(&a->err);
    a->swept = true;
}

void ddp_agent_pause(struct ddp_agent *a)
{
    ddp_ranks_signal(&a->ranks, SIGSTOP);
}

void ddp_agent_go_on(struct ddp_agent *a)
{
    ddp_ranks_signal(&a->ranks, SIGCONT);
    for (int i = 0; i < a->ranks.n; i++)
        a->ranks.rank[i].halted_seen = 0;
}

void ddp_agent_flush(struct ddp_agent *a)
{
    ddp_relay_drain(&a->out, 0);
    ddp_relay_drain(&a->err, 0);
}

bool ddp_agent_midline(const struct ddp_agent *a)
{
    return a->err.midline;
}

const char *ddp_agent_starter_text(const struct ddp_agent *a)
{
    return a->starter_text.s;
}

const char *ddp_agent_last_lines(const struct ddp_agent *a)
{
    return a->err.tail;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool is_counting(const struct ddp_agent *a)
{
    return a->ranks.n < a->ranks.expected && !a->killed_ranks && !a->starter_ended;
}

int ddp_agent_watches(const struct ddp_agent *a)
{
    return FDS_FIXED + a->ranks.expected;
}

int ddp_agent_watch(const struct ddp_agent *a, struct pollfd *fds, double *until)
{
    fds[0] = (struct pollfd){.fd = a->ranks.listener, .events = POLLIN};
    fds[1] = ddp_relay_poll(&a->out);
    fds[2] = ddp_relay_poll(&a->err);
    for (int i = 0; i < a->ranks.n; i++)
        fds[FDS_FIXED + i] = (struct pollfd){.fd = a->ranks.rank[i].line, .events = POLLIN};
    if (!a->starter_ended && a->look_at < *until)
        *until = a->look_at;
    if (is_counting(a) && a->count_at < *until)
        *until = a->count_at;
    return FDS_FIXED + a->ranks.n;
}

/* What ranks had said before the starter ended is heard before its end is news. */
void ddp_agent_woken(struct ddp_agent *a, const struct pollfd *fds)
{
    const int n = a->ranks.n;
    reap(a);
    a->knocked |= fds[0].revents || a->starter_ended;
    for (int i = 0; i < n; i++)
        a->ranks.rank[i].calls |= fds[FDS_FIXED + i].revents || a->starter_ended;
    if (fds[1].revents)
        ddp_relay_move(&a->out);
    if (fds[2].revents)
        ddp_relay_move(&a->err);
}

/* ---- news of ranks --------------------------------------------------------------------------- */

/* A rank's line is closed and it had not said goodbye: false where that is no news of its own. */
static bool find_death(struct ddp_agent *a, struct ddp_rank *rank, struct ddp_news *out)
{
    bool exiting;

    if (a->killed_ranks)
        return false;
    /* when mpirun dies, its ranks die of PR_SET_PDEATHSIG before we hear of mpirun itself: not their fault */
    ddp_process_state(a->child.pid, &exiting);
    if (a->starter_ended || exiting) {
        out->kind = DDP_NEWS_STARTER_LOST;
        return !a->told_lost && (a->told_lost = true);
    }
    if (rank->told_error)
        return false;
    kill(a->child.pid, SIGSTOP); /* it must not reap the rank before we have seen how it died */
    ddp_agent_kill_ranks(a);
    ddp_rank_death(rank, out->text, sizeof out->text);
    kill(a->child.pid, SIGCONT);
    out->kind = DDP_NEWS_DIED;
    return true;
}

/* False for a message that is between the rank and us. */
static bool read_message(struct ddp_agent *a, struct ddp_rank *rank, const struct ddp_lifeline_msg *m,
                         struct ddp_news *out)
{
    static const enum ddp_news_kind kinds[] = {[DDP_LIFELINE_ERROR] = DDP_NEWS_ERROR,
                                               [DDP_LIFELINE_RESULT] = DDP_NEWS_RESULT,
                                               [DDP_LIFELINE_SAVED] = DDP_NEWS_SAVED,
                                               [DDP_LIFELINE_BYE] = DDP_NEWS_BYE};
    switch (m->kind) {
    case DDP_LIFELINE_HELLO:
        rank->number = m->rank;
        if (a->stopping)
            ddp_rank_stop(rank);
        return false;
    case DDP_LIFELINE_ERROR:
        rank->told_error = true;
        break;
    case DDP_LIFELINE_BYE:
        if (rank->bye)
            return false;
        rank->bye = true;
        a->byes++;
        break;
    case DDP_LIFELINE_RESULT:
    case DDP_LIFELINE_SAVED:
        break;
    default:
        return false; /* of a newer version */
    }
    out->kind = kinds[m->kind];
    out->rank = rank->number;
    out->value = m->value;
    snprintf(out->text, sizeof out->text, "%s", m->text);
    return true;
}

static bool hear(struct ddp_agent *a, struct ddp_rank *rank, struct ddp_news *out)
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

/* ---- news of looking ------------------------------------------------------------------------- */

/* Looks at which a rank was found halted are counted; beyond the last it has been told. */
static void look_for_halted(struct ddp_agent *a, double now)
{
    a->look_at = now + LOOK_S;
    for (int i = 0; i < a->ranks.n; i++) {
        struct ddp_rank *r = &a->ranks.rank[i];
        if (r->gone || ddp_process_state(r->pid, NULL) != 'T')
            r->halted_seen = 0;
        else if (r->halted_seen < LOOKS_HALTED)
            r->halted_seen++;
    }
}

static bool tell_halted(struct ddp_agent *a, struct ddp_news *out)
{
    for (int i = 0; i < a->ranks.n; i++) {
        struct ddp_rank *r = &a->ranks.rank[i];
        if (r->halted_seen != LOOKS_HALTED)
            continue;
        r->halted_seen++;
        out->kind = DDP_NEWS_HALTED;
        out->rank = r->number;
        snprintf(out->text, sizeof out->text,
                 "rank %d on %s (process %d) is stopped, and all others wait for it: 'kill -CONT %d' lets it "
                 "go on",
                 r->number, a->job->host, (int)r->pid, (int)r->pid);
        return true;
    }
    return false;
}

/* A rank that dies before its hello is missed by nobody, mpirun would wait for ever: the starter has fewer
 * children than there are ranks, and that does not change for a while. */
static bool look_for_missing(struct ddp_agent *a, double now, struct ddp_news *out)
{
    const int n = ddp_process_children(a->child.pid), expected = a->ranks.expected;

    a->count_at = now + COUNT_S;
    a->children_seen |= n > 0 || ddp_process_has_reaped(a->child.pid);
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

/* ---- news of the starter --------------------------------------------------------------------- */

static bool find_end(struct ddp_agent *a, struct ddp_news *out)
{
    /* ranks that have not said goodbye will not come to their end: ranks of other hosts wait for them */
    if (a->starter_ended && a->byes < a->ranks.expected && !a->killed_ranks && !a->told_lost) {
        out->kind = DDP_NEWS_STARTER_LOST;
        return a->told_lost = true;
    }
    if (a->starter_ended && !a->told_ended) {
        out->kind = DDP_NEWS_STARTER_ENDED;
        out->value = a->wait_status;
        out->killed = a->killed_starter;
        return a->told_ended = true;
    }
    if (a->swept && !a->told_swept) {
        out->kind = DDP_NEWS_SWEPT;
        return a->told_swept = true;
    }
    if (a->told_swept && !a->told_output && a->out.from < 0 && a->err.from < 0) {
        out->kind = DDP_NEWS_OUTPUT_ENDED;
        return a->told_output = true;
    }
    return false;
}

bool ddp_agent_next(struct ddp_agent *a, double now, struct ddp_news *out)
{
    out->kind = DDP_NEWS_JOINED;
    out->rank = -1;
    out->value = 0;
    out->killed = false;
    struct ddp_rank *joined = a->knocked ? ddp_ranks_accept(&a->ranks) : NULL;
    if (joined)
        return joined->calls = true; /* its hello */
    a->knocked = false;
    for (int i = 0; i < a->ranks.n; i++)
        if (hear(a, &a->ranks.rank[i], out))
            return true;
    out->rank = -1;
    if (is_counting(a) && now >= a->count_at && look_for_missing(a, now, out))
        return true;
    if (!a->starter_ended && now >= a->look_at)
        look_for_halted(a, now);
    if (tell_halted(a, out))
        return true;
    return find_end(a, out);
}
