/* The agent in this process: the ranks as its children, or a starter's program: start, output, waiting. */
#include "launcher/agent_local_private.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

static int spawn_worker(struct ddp_local_agent *a, int i, const struct ddp_words *argv,
                        const struct ddp_words *env, const sigset_t *mask, struct ddp_error *err)
{
    struct ddp_worker *w = &a->worker[i];
    const int rc = ddp_spawn(argv, env, mask, i > 0 ? a->worker[0].child.pid : 0, &w->child, err);
    if (rc != 0)
        return rc;
    ddp_relay_init(&w->out, a->starter, w->child.out, i, &a->out_lines, &a->starter_text);
    ddp_relay_init(&w->err, a->starter, w->child.err, i, &a->err_lines, &a->starter_text);
    a->nworkers++;
    return 0;
}

static int spawn_workers(struct ddp_local_agent *a, const sigset_t *mask, struct ddp_error *err)
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
static int make_memory(struct ddp_local_agent *a, struct ddp_error *err)
{
    a->memory = -1;
    if (!a->starter->direct || a->job->ranks == 1)
        return 0;
    a->memory = memfd_create("ddp", MFD_CLOEXEC);
    return a->memory >= 0
               ? 0
               : ddp_fail(err, DDP_E_RESOURCE, "no memory for the ranks to meet in: %s", strerror(errno));
}

static void destroy(struct ddp_agent *agent)
{
    struct ddp_local_agent *a = ddp_agent_as_local(agent);
    for (int i = 0; i < a->nworkers; i++) {
        ddp_relay_finish(&a->worker[i].out);
        ddp_relay_finish(&a->worker[i].err);
    }
    free(a->worker);
    ddp_fold_finish(&a->out_lines);
    ddp_fold_finish(&a->err_lines);
    ddp_sink_finish(&a->out);
    ddp_sink_finish(&a->err);
    ddp_text_finish(&a->starter_text);
    if (a->memory >= 0)
        close(a->memory);
    if (a->ranks.listener >= 0)
        ddp_ranks_close(&a->ranks);
    free(a);
}

/* ---- output ---------------------------------------------------------------------------------- */

void ddp_local_agent_say(struct ddp_local_agent *a, const char *line)
{
    char *plain = ddp_strdup(line); /* some of it may be a rank's */
    ddp_text_plain(plain);
    ddp_fold_move(&a->err_lines, HUGE_VAL);
    ddp_sink_say(&a->err, plain, strlen(plain));
    free(plain);
}

void ddp_local_agent_end_output(struct ddp_local_agent *a)
{
    for (int i = 0; i < a->nworkers; i++) {
        ddp_relay_end(&a->worker[i].out);
        ddp_relay_end(&a->worker[i].err);
    }
    ddp_fold_move(&a->out_lines, HUGE_VAL);
    ddp_fold_move(&a->err_lines, HUGE_VAL);
}

void ddp_local_agent_flush(struct ddp_local_agent *a)
{
    ddp_sink_drain(&a->out);
    ddp_sink_drain(&a->err);
}

bool ddp_local_agent_midline(const struct ddp_local_agent *a)
{
    return a->err.midline != NULL;
}

const char *ddp_local_agent_starter_text(const struct ddp_local_agent *a)
{
    return a->starter_text.s;
}

const char *ddp_local_agent_last_lines(const struct ddp_local_agent *a)
{
    return a->err.tail;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int watches(const struct ddp_agent *agent)
{
    const struct ddp_local_agent *a = ddp_agent_as_local_const(agent);
    return FDS_FIXED + FDS_CHILD * a->nworkers + a->ranks.expected;
}

static int watch(const struct ddp_agent *agent, struct pollfd *fds, double *until)
{
    const struct ddp_local_agent *a = ddp_agent_as_local_const(agent);
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
    *until = fmin(*until, fmin(ddp_fold_due(&a->out_lines), ddp_fold_due(&a->err_lines)));
    if (!a->starter_ended && a->look_at < *until)
        *until = a->look_at;
    if (!a->starter_ended && !a->killed_ranks && a->pulse_at < *until)
        *until = a->pulse_at;
    if (ddp_agent_is_away(a) && !a->told_output && a->alive_at < *until)
        *until = a->alive_at;
    if (ddp_agent_is_counting(a) && a->count_at < *until)
        *until = a->count_at;
    return n;
}

/* What ranks had said before the starter ended is heard before its end is news. */
static void woken(struct ddp_agent *agent, const struct pollfd *fds)
{
    struct ddp_local_agent *a = ddp_agent_as_local(agent);
    const struct pollfd *pipes = fds + FDS_FIXED, *lines = pipes + (ptrdiff_t)FDS_CHILD * a->nworkers;
    ddp_local_agent_reap(a);
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

/* ---- the table ------------------------------------------------------------------------------- */

static const struct ddp_agent_ops local_ops = {
    .order = ddp_local_agent_order,
    .note = ddp_local_agent_note,
    .watches = watches,
    .watch = watch,
    .woken = woken,
    .next = ddp_local_agent_next,
    .destroy = destroy,
};

struct ddp_agent *ddp_agent_here(struct ddp_local_agent *a)
{
    return &a->agent;
}

int ddp_local_agent_create(const struct ddp_starter *starter, const struct ddp_job *job, int ranks,
                           const sigset_t *mask, bool quiet, struct ddp_local_agent **out,
                           struct ddp_error *err)
{
    static const struct ddp_starter elsewhere = {.name = "the starter"};
    struct ddp_local_agent *a = ddp_calloc(1, sizeof *a);
    a->agent.ops = &local_ops;
    snprintf(a->agent.host, sizeof a->agent.host, "%s", job->host);
    a->starter = starter ? starter : &elsewhere;
    starter = a->starter;
    a->job = job;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    ddp_text_init(&a->starter_text);
    ddp_sink_init(&a->out, STDOUT_FILENO, quiet);
    ddp_sink_init(&a->err, STDERR_FILENO, quiet);
    ddp_fold_init(&a->out_lines, &a->out, job->ranks);
    ddp_fold_init(&a->err_lines, &a->err, job->ranks);
    a->ranks.listener = a->memory = -1;
    int rc = raise_descriptor_limit(starter, ranks, err);
    if (rc == 0)
        rc = ddp_ranks_open(job->name, ranks, starter->direct, &a->ranks, err);
    if (rc == 0)
        rc = make_memory(a, err);
    if (rc == 0 && starter->command)
        rc = spawn_workers(a, mask, err);
    if (rc != 0) {
        ddp_local_agent_kill_workers(a, SIGKILL);
        for (int i = 0; i < a->nworkers; i++)
            waitpid(a->worker[i].child.pid, NULL, 0);
        destroy(&a->agent);
        return rc;
    }
    a->children_since = ddp_now();
    a->count_at = a->children_since + DDP_AGENT_COUNT_S;
    a->look_at = a->children_since + DDP_AGENT_LOOK_S;
    a->pulse_at = a->children_since + DDP_LOOK_S;
    *out = a;
    return 0;
}
