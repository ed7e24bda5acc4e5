/* Start, read what it says, kill what is to be killed, wait. */
#include "bench/repro/job.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/stop.h"
#include "launcher/spawn.h"

enum { WATCH_MS = 1, WAIT_MS = 50, MOST_BYTES = 1 << 20 };

/* All that is there; closes at the end. */
static void drain(int *fd, struct ddp_text *to)
{
    char buf[4096];
    ssize_t n;
    while (*fd >= 0 && (n = read(*fd, buf, sizeof buf)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return;
        if (to->len < MOST_BYTES)
            ddp_text_append(to, buf, (size_t)n);
    }
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void wait_some(const struct ddp_child *c, int ms)
{
    struct pollfd fds[2] = {{.fd = c->out, .events = POLLIN}, {.fd = c->err, .events = POLLIN}};
    if (c->out < 0 && c->err < 0)
        ms = WATCH_MS; /* it is about to end */
    poll(fds, 2, ms);
}

static double cpu_of(const struct rusage *u)
{
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           1e-6 * (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

static void kill_what_is_due(const struct repro_job *job, pid_t pid, double began, struct repro_ended *out)
{
    const pid_t victim = job->victim && !out->killed ? job->victim(job->user) : 0;
    if (victim > 0 && kill(victim, SIGKILL) == 0)
        out->killed = true;
    if (!out->late && (ddp_now() - began > job->limit_s || ddp_stop_asked())) {
        out->late = true;
        kill(pid, SIGKILL);
    }
}

int repro_job_run(const struct repro_job *job, struct repro_ended *out, struct ddp_error *err)
{
    struct ddp_child child;
    struct rusage usage;
    sigset_t none;
    *out = (struct repro_ended){0};
    ddp_text_init(&out->out);
    ddp_text_init(&out->err);
    sigemptyset(&none);
    const double began = ddp_now();
    int status = ddp_spawn(job->argv, job->env, &none, 0, &child, err);
    if (status)
        return status;
    for (pid_t ended = 0; ended == 0;) {
        ended = wait4(child.pid, &out->status, WNOHANG, &usage);
        drain(&child.out, &out->out);
        drain(&child.err, &out->err);
        if (ended < 0 && errno != EINTR)
            status = ddp_fail(err, DDP_E_RESOURCE, "waiting for %s: %s", job->argv->w[0], strerror(errno));
        if (ended == 0) {
            kill_what_is_due(job, child.pid, began, out);
            wait_some(&child, job->victim && !out->killed ? WATCH_MS : WAIT_MS);
        }
    }
    for (int i = 0; i < 2; i++)
        if ((i ? child.err : child.out) >= 0)
            close(i ? child.err : child.out);
    out->seconds = ddp_now() - began;
    out->cpu_s = status == 0 ? cpu_of(&usage) : 0;
    return status;
}

void repro_ended_finish(struct repro_ended *e)
{
    ddp_text_finish(&e->out);
    ddp_text_finish(&e->err);
}

const char *repro_job_says(const struct repro_ended *e, const char *name, char *buf, int size)
{
    const size_t n = strlen(name);
    snprintf(buf, (size_t)size, "%s", "");
    for (const char *line = e->out.s, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        if (strncmp(line, name, n) == 0 && strncmp(line + n, ": ", 2) == 0)
            snprintf(buf, (size_t)size, "%.*s", (int)(end - line - (int)n - 2), line + n + 2);
    }
    return buf;
}

const char *repro_job_why(const struct repro_ended *e, char *buf, int size)
{
    char how[64];
    if (e->late)
        snprintf(how, sizeof how, "killed: it took %.0f s", e->seconds);
    else if (WIFSIGNALED(e->status))
        snprintf(how, sizeof how, "ended by signal %d", WTERMSIG(e->status));
    else
        snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(e->status));
    const size_t len = strlen(e->err.s), most = 2000;
    snprintf(buf, (size_t)size, "%s: %s", how, len > most ? e->err.s + len - most : e->err.s);
    for (size_t n = strlen(buf); n > 0 && buf[n - 1] == '\n'; n--)
        buf[n - 1] = '\0';
    return buf;
}
