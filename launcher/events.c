/* What ranks and signals say, and what follows from it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/supervisor.h"

static const double GRACE_ERROR_S =
    0.7; /* from a rank's error to the end of those who have not agreed on it */
static const double GRACE_LEAVING_S = 2.0; /* from the last rank's end to the starter's */
static const double SAME_REQUEST_S = 0.2; /* `timeout` and batch systems signal us and then our group again */

static void plan_at(double *when, double seconds)
{
    const double t = ddp_now() + seconds;
    if (*when == 0 || t < *when)
        *when = t;
}

/* ---- ending ---------------------------------------------------------------------------------- */

void ddp_supervisor_kill_ranks(struct ddp_supervisor *s)
{
    s->killing = true;
    s->kill_ranks_at = 0;
    ddp_ranks_signal(&s->ranks, SIGKILL);
    plan_at(&s->kill_starter_at, s->starter->kill_after_ms / 1e3);
}

void ddp_supervisor_kill_starter(struct ddp_supervisor *s)
{
    s->kill_starter_at = 0;
    if (s->starter_done)
        return;
    s->outcome->starter_killed = true;
    kill(s->child.pid, SIGKILL);
}

/* The first failure counts; one that gives its reason replaces one that only ended. */
void ddp_supervisor_note_failure(struct ddp_supervisor *s, const struct ddp_rank *rank, bool error,
                                 int status, const char *reason)
{
    struct ddp_outcome *o = s->outcome;
    if (o->failure.known && (o->failure.error || !error))
        return;
    o->failure.known = true;
    o->failure.error = error;
    o->failure.rank = rank->number;
    o->failure.status = status;
    snprintf(o->failure.reason, sizeof o->failure.reason, "%s", reason);
}

/* A rank's line is closed and it had not said goodbye. */
static void on_death(struct ddp_supervisor *s, struct ddp_rank *rank)
{
    char how[256];
    bool starter_exiting;

    if (s->killing)
        return;
    /* when mpirun dies, its ranks die of PR_SET_PDEATHSIG before we hear of mpirun itself: do not blame them
     */
    ddp_process_state(s->child.pid, &starter_exiting);
    if (s->starter_done || starter_exiting) {
        ddp_supervisor_kill_ranks(s);
        return;
    }
    if (rank->told_error) {
        plan_at(&s->kill_ranks_at, GRACE_ERROR_S / 2);
        return;
    }
    kill(s->child.pid, SIGSTOP); /* it must not reap the rank before we have seen how it died */
    ddp_supervisor_kill_ranks(s);
    ddp_rank_death(rank, how, sizeof how);
    ddp_supervisor_note_failure(s, rank, false, 0, how);
    kill(s->child.pid, SIGCONT);
}

/* ---- what ranks say -------------------------------------------------------------------------- */

static void on_message(struct ddp_supervisor *s, struct ddp_rank *rank, const struct ddp_lifeline_msg *m)
{
    struct ddp_outcome *o = s->outcome;
    char how[64];

    switch (m->kind) {
    case DDP_LIFELINE_HELLO:
        rank->number = m->rank;
        if (o->stop_signal)
            ddp_rank_stop(rank);
        break;
    case DDP_LIFELINE_ERROR:
        rank->told_error = true;
        rank->status = m->value;
        ddp_supervisor_note_failure(s, rank, true, m->value, m->text);
        plan_at(&s->kill_ranks_at, GRACE_ERROR_S);
        break;
    case DDP_LIFELINE_RESULT:
        snprintf(o->result, sizeof o->result, "%s", m->text);
        break;
    case DDP_LIFELINE_SAVED:
        snprintf(o->saved, sizeof o->saved, "%s", m->text);
        break;
    case DDP_LIFELINE_BYE:
        if (rank->bye)
            break;
        rank->bye = true;
        rank->status = m->value;
        o->byes++;
        o->stopped += m->value == DDP_EXIT_STOPPED;
        if (m->value != 0 && m->value != DDP_EXIT_STOPPED) {
            snprintf(how, sizeof how, "ended with exit status %d", m->value);
            ddp_supervisor_note_failure(s, rank, false, m->value, how);
            plan_at(&s->kill_ranks_at, GRACE_ERROR_S);
        }
        break;
    default:
        break; /* of a newer version */
    }
}

void ddp_supervisor_hear(struct ddp_supervisor *s, struct ddp_rank *rank)
{
    struct ddp_lifeline_msg m;
    int got;

    while ((got = ddp_rank_receive(rank, &m)) > 0)
        on_message(s, rank, &m);
    if (got < 0 && !rank->gone) {
        rank->gone = true;
        if (!rank->bye)
            on_death(s, rank);
        else if (s->outcome->failure.known)
            plan_at(&s->kill_ranks_at, GRACE_ERROR_S / 2);
        bool all = s->ranks.n == s->ranks.expected;
        for (int i = 0; i < s->ranks.n && all; i++)
            all = s->ranks.rank[i].gone;
        if (all)
            plan_at(&s->kill_starter_at, GRACE_LEAVING_S);
    }
}

/* ---- signals --------------------------------------------------------------------------------- */

/* SIGINT and SIGTERM count: the second ends at once. The others only ask for a stop, however often. */
static void on_stop_signal(struct ddp_supervisor *s, int sig)
{
    struct ddp_outcome *o = s->outcome;

    if (sig == SIGINT || sig == SIGTERM) {
        if (s->urgent && ddp_now() - s->urgent_at < SAME_REQUEST_S)
            return;
        s->urgent++;
        s->urgent_at = ddp_now();
    }
    if (s->urgent >= 2) {
        o->killed = true;
        ddp_supervisor_kill_ranks(s);
        ddp_supervisor_kill_starter(s);
        return;
    }
    if (o->stop_signal)
        return;
    o->stop_signal = sig;
    for (int i = 0; i < s->ranks.n; i++)
        ddp_rank_stop(&s->ranks.rank[i]);
    if (!s->quiet)
        ddp_supervisor_say(s, "%s: stopping after this step and saving; Ctrl-C (again) ends at once",
                           ddp_signal_name(sig));
}

/* Ctrl-Z: the ranks are in another process group and pause with us. */
static void on_pause(struct ddp_supervisor *s)
{
    ddp_ranks_signal(&s->ranks, SIGSTOP);
    raise(SIGSTOP);
    ddp_ranks_signal(&s->ranks, SIGCONT);
    for (int i = 0; i < s->ranks.n; i++)
        s->ranks.rank[i].stopped_seen = 0;
}

void ddp_supervisor_reap(struct ddp_supervisor *s)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->child.pid) {
            s->starter_done = true;
            s->outcome->starter_status = status;
        }
        for (int i = 0; i < s->ranks.n; i++) /* orphans of a dead mpirun become our children */
            if (s->ranks.rank[i].pid == pid)
                s->ranks.rank[i].wait_status = status;
    }
}

void ddp_supervisor_on_signal(struct ddp_supervisor *s)
{
    struct signalfd_siginfo si;
    if (read(s->signals, &si, sizeof si) != (ssize_t)sizeof si)
        return;
    if (si.ssi_signo == SIGCHLD)
        ddp_supervisor_reap(s);
    else if (si.ssi_signo == SIGTSTP)
        on_pause(s);
    else
        on_stop_signal(s, (int)si.ssi_signo);
}

/* Signals come through a descriptor. Those that a script or nohup ignores for us: INT and TERM are ours
 * nevertheless (kill -INT must work on background jobs), HUP and TSTP stay ignored. */
int ddp_supervisor_open_signals(struct ddp_supervisor *s, sigset_t *old)
{
    static const int always[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD},
                     unless_ignored[] = {SIGHUP, SIGTSTP};
    struct sigaction a, normal = {.sa_handler = SIG_DFL}, ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < DDP_COUNT(always); i++) {
        sigaddset(&set, always[i]);
        sigaction(always[i], &normal, NULL);
    }
    for (size_t i = 0; i < DDP_COUNT(unless_ignored); i++)
        if (sigaction(unless_ignored[i], NULL, &a) == 0 && a.sa_handler != SIG_IGN)
            sigaddset(&set, unless_ignored[i]);
    sigaction(SIGPIPE, &ignore, NULL);
    sigprocmask(SIG_BLOCK, &set, old);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? -1 : 0;
}
