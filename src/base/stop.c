/* Taking down the signals that ask for a stop. */
#include "base/stop.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ddp/error.h"

enum { SAME_REQUEST_MS = 200 };

/* All written by the handler, on whichever thread it runs. */
static atomic_int asked;
static atomic_llong interrupted;         /* ms of the first SIGINT or SIGTERM; 0: none */
static void (*pass_request_on)(int sig); /* NULL: a second interrupt ends the process */
static atomic_int last_words = -1;       /* status to end with; -1: there is work left */

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000 + 1;
}

static void on_signal(int sig)
{
    const bool hard = sig == SIGINT || sig == SIGTERM;
    const int status = atomic_load(&last_words);
    int none = 0;
    long long first = 0;
    if (status >= 0 && (hard || sig == SIGHUP))
        _exit(status);
    atomic_compare_exchange_strong(&asked, &none, sig);
    if (pass_request_on)
        pass_request_on(sig);
    if (!hard || atomic_compare_exchange_strong(&interrupted, &first, now_ms()))
        return;
    if (!pass_request_on && now_ms() - first >= SAME_REQUEST_MS)
        _exit(DDP_EXIT_KILLED); /* the second one does not wait */
}

void ddp_stop_catch(void (*pass_on)(int sig))
{
    static const int always[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    const struct sigaction take = {.sa_handler = on_signal, .sa_flags = SA_RESTART},
                           ignore = {.sa_handler = SIG_IGN};
    struct sigaction was;
    sigset_t caught;

    pass_request_on = pass_on;
    sigemptyset(&caught);
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) {
        sigaddset(&caught, always[i]);
        sigaction(always[i], &take, NULL);
    }
    const char *nohup = getenv("DDP_NOHUP");
    if (nohup && strcmp(nohup, "1") == 0)
        sigaction(SIGHUP, &ignore, NULL);
    if (sigaction(SIGHUP, NULL, &was) == 0 && was.sa_handler != SIG_IGN) {
        sigaddset(&caught, SIGHUP);
        sigaction(SIGHUP, &take, NULL);
    }
    if (sigaction(SIGPIPE, NULL, &was) == 0 && was.sa_handler == SIG_DFL) /* a program's own handler stays */
        sigaction(SIGPIPE, &ignore, NULL);
    pthread_sigmask(SIG_UNBLOCK, &caught, NULL);
}

int ddp_stop_asked(void)
{
    return atomic_load(&asked);
}

void ddp_stop_end_with(int status)
{
    atomic_store(&last_words, status);
}
