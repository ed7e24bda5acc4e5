/* The life of a job: start, watch, wind up, conclude. */
#include "launcher/supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "launcher/supervisor.h"
#include "launcher/tagged.h"

enum { FDS_FIXED = 4 };

void ddp_supervisor_say(struct ddp_supervisor *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (s->err.midline) /* a progress line stands there */
        fputc('\n', stderr);
    fputs("ddp-launch: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

static void watch(struct ddp_supervisor *s)
{
    struct pollfd *fds = ddp_calloc((size_t)s->ranks.expected + FDS_FIXED, sizeof *fds);

    ddp_supervisor_start_clocks(s);
    while (!s->starter_done) {
        const int n = s->ranks.n;
        fds[0] = (struct pollfd){.fd = s->signals, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = s->ranks.listener, .events = POLLIN};
        fds[2] = ddp_relay_poll(&s->out);
        fds[3] = ddp_relay_poll(&s->err);
        for (int i = 0; i < n; i++)
            fds[FDS_FIXED + i] = (struct pollfd){.fd = s->ranks.rank[i].line, .events = POLLIN};
        if (poll(fds, (nfds_t)n + FDS_FIXED, ddp_supervisor_next_wait_ms(s)) > 0) {
            for (int i = 0; i < n; i++)
                if (fds[FDS_FIXED + i].revents)
                    ddp_supervisor_hear(s, &s->ranks.rank[i]);
            if (fds[1].revents)
                while (ddp_ranks_accept(&s->ranks))
                    s->outcome->joined++;
            if (fds[0].revents)
                ddp_supervisor_on_signal(s);
            if (fds[2].revents)
                ddp_relay_move(&s->out);
            if (fds[3].revents)
                ddp_relay_move(&s->err);
        }
        ddp_supervisor_act_on_time(s);
    }
    free(fds);
}

/* The starter has ended: hear what ranks had still said, let none survive, pass on the last of their output.
 */
static void wind_up(struct ddp_supervisor *s)
{
    while (ddp_ranks_accept(&s->ranks))
        s->outcome->joined++;
    for (int i = 0; i < s->ranks.n; i++)
        ddp_supervisor_hear(s, &s->ranks.rank[i]);
    ddp_ranks_signal(&s->ranks, SIGKILL);
    for (int i = 0; i < s->ranks.n; i++)
        if (s->ranks.rank[i].pidfd >= 0) {
            struct pollfd p = {.fd = s->ranks.rank[i].pidfd, .events = POLLIN};
            poll(&p, 1, 1000);
        }
    if (s->outcome->byes < s->outcome->ranks) /* ranks that never said hello, and children of ranks */
        for (int tries = 0; tries < 50 && ddp_tagged_kill(s->job->name) > 0; tries++)
            usleep(2000);
    ddp_supervisor_reap(s);
    ddp_relay_drain(&s->out, 0.5);
    ddp_relay_drain(&s->err, 0.5);
}

static void raise_descriptor_limit(int ranks)
{
    struct rlimit limit;
    const rlim_t need = 2 * (rlim_t)ranks + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < need) {
        limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int start(struct ddp_supervisor *s, struct ddp_error *err)
{
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGTSTP};
    struct ddp_words argv = {0}, env = {0};
    sigset_t mask;
    int rc = 0;

    if (ddp_supervisor_open_signals(s, &mask) != 0)
        return ddp_fail(err, DDP_E_RESOURCE, "no descriptor for signals: %s", strerror(errno));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    raise_descriptor_limit(s->job->ranks);
    if ((rc = ddp_ranks_open(s->job->name, s->job->ranks, &s->ranks, err)) != 0) {
        close(s->signals);
        return rc;
    }
    for (int i = 0; i < s->job->env.n; i++)
        ddp_words_add(&env, "%s", s->job->env.w[i]);
    s->starter->command(s->job, &argv, &env);
    for (size_t i = 0; i < DDP_COUNT(ours);
         i++) /* batch systems signal every process: we alone decide what it means */
        sigaddset(&mask, ours[i]);
    rc = ddp_spawn(&argv, &env, &mask, &s->child, err);
    if (rc != 0) {
        ddp_ranks_close(&s->ranks);
        close(s->signals);
    } else {
        ddp_text_init(&s->starter_text);
        ddp_relay_init(&s->out, s->starter, s->child.out, STDOUT_FILENO, s->quiet, &s->starter_text);
        ddp_relay_init(&s->err, s->starter, s->child.err, STDERR_FILENO, s->quiet, &s->starter_text);
    }
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
    return rc;
}

static int conclude(struct ddp_supervisor *s)
{
    struct ddp_text text;
    ddp_text_init(&text);
    const int code = ddp_verdict(s->outcome, s->job->host, s->starter->name, s->starter_text.s,
                                 s->quiet ? s->err.tail : "", &text);
    if (text.len > 0 && !(s->quiet && code == DDP_EXIT_STOPPED)) {
        if (s->err.midline)
            fputc('\n', stderr);
        fputs(text.s, stderr);
    }
    if (*s->outcome->result && (code == DDP_EXIT_OK || code == DDP_EXIT_STOPPED))
        printf("%s\n", s->outcome->result);
    fflush(stdout);
    ddp_text_finish(&text);
    return code;
}

int ddp_supervise_job(const struct ddp_starter *starter, const struct ddp_job *job, bool quiet,
                      int *exit_code, struct ddp_error *err)
{
    struct ddp_supervisor s = {.starter = starter, .job = job, .quiet = quiet};

    s.outcome = ddp_calloc(1, sizeof *s.outcome);
    s.outcome->ranks = job->ranks;
    const int rc = start(&s, err);
    if (rc == 0) {
        watch(&s);
        wind_up(&s);
        *exit_code = conclude(&s);
        ddp_relay_finish(&s.out);
        ddp_relay_finish(&s.err);
        ddp_text_finish(&s.starter_text);
        ddp_ranks_close(&s.ranks);
        close(s.signals);
    }
    free(s.outcome);
    return rc;
}
