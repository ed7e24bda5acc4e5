/* A line of text that an alarm prints. */
#include "launcher/impatience.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char text[4096];
static size_t length;

static void on_alarm(int sig)
{
    const int e = errno;
    (void)sig;
    if (write(STDERR_FILENO, text, length) < 0)
        length = 0;
    errno = e;
}

void ddp_impatience_begin(int seconds, const char *what, const char *name)
{
    struct sigaction a = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    const int n =
        snprintf(text, sizeof text,
                 "ddp-launch: still %s %.3000s: a pipe that nobody writes to, or a file system that "
                 "does not answer? Ctrl-C ends it\n",
                 what, name);
    length = n > 0 ? (size_t)n : 0;
    sigaction(SIGALRM, &a, NULL);
    alarm((unsigned)seconds);
}

void ddp_impatience_end(void)
{
    alarm(0);
    signal(SIGALRM, SIG_DFL);
}
