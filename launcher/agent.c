/* The agent in this process: the ranks as its children, or a starter's program; sockets and output. */
#include "launcher/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
enum { LOOKS_HALTED = 2, FDS_FIXED = 3, FDS_CHILD = 2, DESCRIPTORS_BESIDE = 20, DESCRIPTORS_RANK = 3 };

struct worker { /* a process that we have started: a rank, or the starter's program */
    struct ddp_child child;
    bool ended;
    int wait_status; /* once it has */
    bool told_missing;
    struct ddp_relay out, err;
};

struct ddp_agent {
    const struct ddp_starter *starter;
    const struct ddp_job *job;
    struct worker *worker; /* [nworkers] of a direct starter the ranks in order, else its program alone */
    int nworkers;
    struct ddp_ranks ranks;
    int byes;
    int memory,
        handed; /* in which the ranks meet, and how many have it; -1: they meet otherwise, or all have */
    struct ddp_sink out, err;
    struct ddp_text starter_text;

    /* what it was told */
    bool stopping, killed_ranks, killed_starter, swept;
    /* what has happened .. */
    bool knocked;       /* somebody wants to connect */
    bool starter_ended; /* all workers have */
    /* .. and what of it is no news any more */
    bool told_lost, told_ended, told_swept, told_output;

    double look_at, count_at; /* when to look for halted ranks, and for missing ones */
    int children;             /* the starter's living children .. */
    double children_since;    /* .. since when they are as many .. */
    bool children_seen;       /* .. and whether there ever were any */
};

/* ---- start and end --------------------------------------------------------------------------- */

/* Pipes and a socket of each rank; mpirun wants more than that for each, and has the limit from us. */
static int raise_descriptor_limit(const struct ddp_starter *starter, int ranks, struct ddp_error *err)
{
    struct rlimit limit;
    const rlim_t need = (starter->direct ? DESCRIPTORS_RANK : 16) * (rlim_t)ranks + DESCRIPTORS_BESIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return 0;
    limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur >= need || !starter->direct
               ? 0
               : ddp_fail(err, DDP_E_RESOURCE,
                          "%d ranks need %llu open files, and the limit is %llu: raise it ('ulimit -n', or "
                          "nofile in limits.conf), or start fewer ranks (-n)",
                          ranks, (unsigned long long)need, (unsigned long long)limit.rlim_max);
}

static int spawn_worker(struct ddp_agent *a, int i, const struct ddp_words *argv, const struct ddp_words *env,
                        const sigset_t *mask, struct ddp_error *err)
{
    struct worker *w = &a->worker[i];
    const int rc = ddp_spawn(argv, env, mask, i > 0 ? a->worker[0].child.pid : 0, &w->child, err);
    if (rc != 0)
        return rc;
    ddp_relay_init(&w->out, a->starter, w->child.out, i, &a->out, &a->starter_text);
    ddp_relay_init(&w->err, a->starter, w->child.err, i, &a->err, &a->starter_text);
    a->nworkers++;
    return 0;
}

static int spawn_workers(struct ddp_agent *a, const sigset_t *mask, struct ddp_error *err)
{
    const int n = a->starter->direct ? a->job->ranks : 1;
    struct ddp_words argv = {0}, env = {0};
    int rc = 0;
    for (int i = 0; i < a->job->env.n; i++)
        ddp_words_add(&env, "%s", a->job->env.w[i]);
    a->starter->command(a->job, &argv, &env);
    a->worker = ddp_calloc((size_t)n, sizeof *a->worker);
    for (int i = 0; i < n && rc == 0; i++) {
        if (a->starter->direct)
            ddp_words_add(&env, "DDP_RANK=%d", i); /* the last one counts */
        rc = spawn_worker(a, i, &argv, &env, mask, err);
        if (a->starter->direct)
            ddp_words_drop(&env);
    }
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
    return rc;
}

/* Empty: the ranks know how much they need. */
static int make_memory(struct ddp_agent *a, struct ddp_error *err)
{
    a->memory = -1;
    if (!a->starter->direct || a->job->ranks == 1)
        return 0;
    a->memory = memfd_create("ddp", MFD_CLOEXEC);
    return a->memory >= 0
               ? 0
               : ddp_fail(err, DDP_E_RESOURCE, "no memory for the ranks to meet in: %s", strerror(errno));
}

static void kill_workers(const struct ddp_agent *a, int sig)
{
    for (int i = 0; i < a->nworkers; i++)
        if (!a->worker[i].ended)
            kill(a->worker[i].child.pid, sig);
}

int ddp_agent_create(const struct ddp_starter *starter, const struct ddp_job *job, const sigset_t *mask,
                     bool quiet, struct ddp_agent **out, struct ddp_error *err)
{
    struct ddp_agent *a = ddp_calloc(1, sizeof *a);
    a->starter = starter;
    a->job = job;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    ddp_text_init(&a->starter_text);
    ddp_sink_init(&a->out, STDOUT_FILENO, quiet);
    ddp_sink_init(&a->err, STDERR_FILENO, quiet);
    a->ranks.listener = a->memory = -1;
    int rc = raise_descriptor_limit(starter, job->ranks, err);
    if (rc == 0)
        rc = ddp_ranks_open(job->name, job->ranks, starter->direct, &a->ranks, err);
    if (rc == 0)
        rc = make_memory(a, err);
    if (rc == 0)
        rc = spawn_workers(a, mask, err);
    if (rc != 0) {
        kill_workers(a, SIGKILL);
        for (int i = 0; i < a->nworkers; i++)
            waitpid(a->worker[i].child.pid, NULL, 0);
        ddp_agent_destroy(a);
        return rc;
    }
    a->children_since = ddp_now();
    a->count_at = a->children_since + COUNT_S;
    a->look_at = a->children_since + LOOK_S;
    *out = a;
    return 0;
}

void ddp_agent_destroy(struct ddp_agent *a)
{
    if (!a)
        return;
    for (int i = 0; i < a->nworkers; i++) {
        ddp_relay_finish(&a->worker[i].out);
        ddp_relay_finish(&a->worker[i].err);
    }
    free(a->worker);
    ddp_sink_finish(&a->out);
    ddp_sink_finish(&a->err);
    ddp_text_finish(&a->starter_text);
    if (a->memory >= 0)
        close(a->memory);
    if (a->ranks.listener >= 0)
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

static void signal_ranks(const struct ddp_agent *a, int sig)
{
    ddp_ranks_signal(&a->ranks, sig);
    if (a->starter->direct) /* those that have not joined, too */
        kill_workers(a, sig);
}

void ddp_agent_kill_ranks(struct ddp_agent *a)
{
    a->killed_ranks = true;
    signal_ranks(a, SIGKILL);
}

void ddp_agent_kill_starter(struct ddp_agent *a)
{
    if (a->starter_ended)
        return;
    a->killed_starter = true;
    kill_workers(a, SIGKILL);
}

/* Collect children that have ended: ranks or the starter's program, and orphans that they have left to us.
 * What they had said is there by now, if nobody has read it yet. */
static void reap(struct ddp_agent *a)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < a->nworkers; i++)
            if (a->worker[i].child.pid == pid && !a->worker[i].ended) {
                a->worker[i].ended = a->knocked = true;
                a->worker[i].wait_status = status;
            }
        for (int i = 0; i < a->ranks.n; i++)
            if (a->ranks.rank[i].pid == pid)
                a->ranks.rank[i].wait_status = status;
        for (int i = 0; i < a->ranks.n; i++)
            a->ranks.rank[i].calls = true;
    }
    a->starter_ended = true;
    for (int i = 0; i < a->nworkers; i++)
        a->starter_ended &= a->worker[i].ended;
}

static void hurry(struct ddp_agent *a)
{
    for (int i = 0; i < a->nworkers; i++) {
        ddp_relay_hurry(&a->worker[i].out);
        ddp_relay_hurry(&a->worker[i].err);
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
    hurry(a);
    a->swept = true;
}

void ddp_agent_pause(struct ddp_agent *a)
{
    signal_ranks(a, SIGSTOP);
}

void ddp_agent_go_on(struct ddp_agent *a)
{
    signal_ranks(a, SIGCONT);
    for (int i = 0; i < a->ranks.n; i++)
        a->ranks.rank[i].halted_seen = 0;
}

void ddp_agent_say(struct ddp_agent *a, const char *line)
{
    ddp_sink_say(&a->err, line, strlen(line));
}

void ddp_agent_end_output(struct ddp_agent *a)
{
    for (int i = 0; i < a->nworkers; i++) {
        ddp_relay_end(&a->worker[i].out);
        ddp_relay_end(&a->worker[i].err);
    }
}

void ddp_agent_flush(struct ddp_agent *a)
{
    ddp_sink_drain(&a->out);
    ddp_sink_drain(&a->err);
}

bool ddp_agent_midline(const struct ddp_agent *a)
{
    return a->err.midline != NULL;
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
    return !a->starter->direct && a->ranks.n < a->ranks.expected && !a->killed_ranks && !a->starter_ended;
}

int ddp_agent_watches(const struct ddp_agent *a)
{
    return FDS_FIXED + FDS_CHILD * a->nworkers + a->ranks.expected;
}

int ddp_agent_watch(const struct ddp_agent *a, struct pollfd *fds, double *until)
{
    fds[0] = (struct pollfd){.fd = a->ranks.listener, .events = POLLIN};
    fds[1] = ddp_sink_poll(&a->out);
    fds[2] = ddp_sink_poll(&a->err);
    int n = FDS_FIXED;
    for (int i = 0; i < a->nworkers; i++) {
        fds[n++] = ddp_relay_poll(&a->worker[i].out);
        fds[n++] = ddp_relay_poll(&a->worker[i].err);
    }
    for (int i = 0; i < a->ranks.n; i++)
        fds[n++] = (struct pollfd){.fd = a->ranks.rank[i].line, .events = POLLIN};
    if (!a->starter_ended && a->look_at < *until)
        *until = a->look_at;
    if (is_counting(a) && a->count_at < *until)
        *until = a->count_at;
    return n;
}

/* What ranks had said before the starter ended is heard before its end is news. */
void ddp_agent_woken(struct ddp_agent *a, const struct pollfd *fds)
{
    const struct pollfd *pipes = fds + FDS_FIXED, *lines = pipes + (ptrdiff_t)FDS_CHILD * a->nworkers;
    reap(a);
    a->knocked |= fds[0].revents || a->starter_ended;
    for (int i = 0; i < a->ranks.n; i++)
        a->ranks.rank[i].calls |= lines[i].revents || a->starter_ended;
    if (fds[1].revents)
        ddp_sink_move(&a->out);
    if (fds[2].revents)
        ddp_sink_move(&a->err);
    for (int i = 0; i < a->nworkers; i++) {
        if (pipes[FDS_CHILD * i].revents)
            ddp_relay_move(&a->worker[i].out);
        if (pipes[FDS_CHILD * i + 1].revents)
            ddp_relay_move(&a->worker[i].err);
    }
}

/* ---- news of ranks --------------------------------------------------------------------------- */

/* When mpirun dies, its ranks die of PR_SET_PDEATHSIG before we hear of mpirun itself: not their fault. */
static bool is_starter_lost(const struct ddp_agent *a)
{
    bool exiting;
    if (a->starter->direct)
        return false;
    ddp_process_state(a->worker[0].child.pid, &exiting);
    return a->starter_ended || exiting;
}

/* A rank's line is closed and it had not said goodbye: false where that is no news of its own. */
static bool find_death(struct ddp_agent *a, struct ddp_rank *rank, struct ddp_news *out)
{
    if (a->killed_ranks)
        return false;
    if (is_starter_lost(a)) {
        out->kind = DDP_NEWS_STARTER_LOST;
        return !a->told_lost && (a->told_lost = true);
    }
    const pid_t reaper = a->starter->direct ? 0 : a->worker[0].child.pid;
    if (rank->told_error && reaper > 0) /* MPI_Abort ends the others */
        return false;
    for (int i = 0; i < a->nworkers; i++) /* one that ended before we heard of it was waited for already */
        if (a->worker[i].ended && a->worker[i].child.pid == rank->pid)
            rank->wait_status = a->worker[i].wait_status;
    if (reaper > 0)
        kill(reaper, SIGSTOP); /* it must not reap the rank before we have seen how it died */
    ddp_agent_kill_ranks(a);
    ddp_rank_death(rank, out->text, sizeof out->text);
    if (reaper > 0)
        kill(reaper, SIGCONT);
    out->kind = DDP_NEWS_DIED;
    return true;
}

/* The last one to get it keeps it alive, with the others. */
static void hand_memory(struct ddp_agent *a, struct ddp_rank *rank)
{
    if (a->memory < 0)
        return;
    ddp_rank_hand(rank, a->memory);
    if (++a->handed < a->ranks.expected)
        return;
    close(a->memory);
    a->memory = -1;
}

/* False for a message that is between the rank and us. */
static bool read_message(struct ddp_agent *a, struct ddp_rank *rank, const struct ddp_lifeline_msg *m,
                         struct ddp_news *out)
{
    static const enum ddp_news_kind kinds[] = {
        [DDP_LIFELINE_ERROR] = DDP_NEWS_ERROR,   [DDP_LIFELINE_RESULT] = DDP_NEWS_RESULT,
        [DDP_LIFELINE_SAVED] = DDP_NEWS_SAVED,   [DDP_LIFELINE_RUN] = DDP_NEWS_RUN,
        [DDP_LIFELINE_NOTICE] = DDP_NEWS_NOTICE, [DDP_LIFELINE_BYE] = DDP_NEWS_BYE};
    switch (m->kind) {
    case DDP_LIFELINE_HELLO:
        rank->number = m->rank;
        hand_memory(a, rank);
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
    case DDP_LIFELINE_RUN:
    case DDP_LIFELINE_NOTICE:
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
    const pid_t starter = a->worker[0].child.pid;
    const int n = ddp_process_children(starter), expected = a->ranks.expected;

    a->count_at = now + COUNT_S;
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
static bool find_missing(struct ddp_agent *a, struct ddp_news *out)
{
    for (int i = 0; i < a->nworkers && a->starter->direct && !a->killed_ranks; i++) {
        struct worker *w = &a->worker[i];
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

static bool is_output_over(const struct ddp_agent *a)
{
    for (int i = 0; i < a->nworkers; i++)
        if (a->worker[i].out.from >= 0 || a->worker[i].err.from >= 0)
            return false;
    return true;
}

static bool find_end(struct ddp_agent *a, struct ddp_news *out)
{
    /* ranks that have not said goodbye will not come to their end: ranks of other hosts wait for them */
    if (a->starter_ended && a->byes < a->ranks.expected && !a->killed_ranks && !a->told_lost) {
        out->kind = DDP_NEWS_STARTER_LOST;
        return a->told_lost = true;
    }
    if (a->starter_ended && !a->told_ended) {
        out->kind = DDP_NEWS_STARTER_ENDED;
        out->value = a->starter->direct ? 0 : a->worker[0].wait_status;
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
    if (find_missing(a, out))
        return true;
    if (is_counting(a) && now >= a->count_at && look_for_missing(a, now, out))
        return true;
    if (!a->starter_ended && now >= a->look_at)
        look_for_halted(a, now);
    if (tell_halted(a, out))
        return true;
    return find_end(a, out);
}
