/* The agent in this process: the ranks as its children, or a starter's program: orders, waiting. */
#include "launcher/agent_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/tagged.h"

enum { FDS_FIXED = 3, FDS_CHILD = 2, DESCRIPTORS_BESIDE = 20, DESCRIPTORS_RANK = 3 };

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
    struct ddp_worker *w = &a->worker[i];
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
    a->count_at = a->children_since + DDP_AGENT_COUNT_S;
    a->look_at = a->children_since + DDP_AGENT_LOOK_S;
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
    if (ddp_agent_is_counting(a) && a->count_at < *until)
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
