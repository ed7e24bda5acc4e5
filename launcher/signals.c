/* Which signals are the launcher's, and how they are read. */
#include "launcher/signals.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { LONGEST_ALARM_S = 1000000 };

/* Those that a script or nohup ignores for us: INT and TERM are ours nevertheless (kill -INT must work on
 * background jobs), HUP and TSTP stay ignored. */
int ddp_signals_open(int *fd, sigset_t *before, struct ddp_error *err)
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
    sigprocmask(SIG_BLOCK, &set, before);
    *fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return *fd < 0 ? ddp_fail(err, DDP_E_RESOURCE, "no descriptor for signals: %s", strerror(errno)) : 0;
}

void ddp_signals_prepare(void)
{
    const struct sigaction normal = {.sa_handler = SIG_DFL};
    sigaction(SIGCHLD, &normal, NULL);
}

bool ddp_signals_nohup(void)
{
    struct sigaction a;
    return sigaction(SIGHUP, NULL, &a) == 0 && a.sa_handler == SIG_IGN;
}

void ddp_signals_add(sigset_t *set)
{
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGTSTP};
    for (size_t i = 0; i < DDP_COUNT(ours); i++)
        sigaddset(set, ours[i]);
}

static volatile sig_atomic_t last_status;

static void leave(int sig)
{
    (void)sig;
    _exit(last_status);
}

void ddp_signals_end_with(int fd, int status, double patience)
{
    const struct sigaction a = {.sa_handler = leave};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGALRM);
    last_status = status;
    while (ddp_signals_read(fd) != 0) /* what came before meant the job */
        ;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGALRM, &a, NULL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    if (patience < LONGEST_ALARM_S)
        alarm(patience > 1 ? (unsigned)patience : 1);
}

int ddp_signals_read(int fd)
{
    struct signalfd_siginfo si;
    return read(fd, &si, sizeof si) == (ssize_t)sizeof si ? (int)si.ssi_signo : 0;
}
