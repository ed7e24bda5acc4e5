/* Descriptors 0 to 2, from the first to the last moment of a program. */
#include "base/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/stop.h"
#include "ddp/error.h"

enum {
    PIECE = 4096,      /* PIPE_BUF: a pipe with any room takes it without waiting */
    LOOK_MS = 200,     /* between looks for a request to stop, which may reach another thread */
    PATIENCE_MS = 1000 /* with a reader that does not read, once a stop is asked */
};

void ddp_streams_open(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
            _exit(DDP_EXIT_RESOURCE); /* no /dev/null: there is nowhere to say so */
}

/* ---- readers --------------------------------------------------------------------------------- */

static atomic_int failed; /* errno of the first write to standard output that failed; 0: none */
static atomic_int waited; /* ms since a stop was asked, for readers that do not read */

void ddp_stream_failed(int error)
{
    int none = 0;
    atomic_compare_exchange_strong(&failed, &none, error);
}

/* True when a write would not wait, or says itself what is wrong. */
static bool wait_for_reader(int fd)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        const bool asked = ddp_stop_asked() != 0;
        const int left = PATIENCE_MS - atomic_load(&waited);
        const int ms = asked && left < LOOK_MS ? (left > 0 ? left : 0) : LOOK_MS;
        const int n = poll(&p, 1, ms);
        if (n > 0 || (n < 0 && errno != EINTR))
            return true;
        if (n < 0 || !asked)
            continue;
        if (left <= 0)
            return false;
        atomic_fetch_add(&waited, ms);
    }
}

static bool is_file(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

bool ddp_stream_write(int fd, const char *s, size_t n)
{
    const size_t most = is_file(fd) ? n : PIECE; /* lines of several ranks in one file stay whole */
    while (n > 0) {
        if (!wait_for_reader(fd))
            return false;
        const ssize_t k = write(fd, s, n < most ? n : most);
        if (k < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (k <= 0) {
            if (fd == STDOUT_FILENO)
                ddp_stream_failed(errno);
            return false;
        }
        s += k;
        n -= (size_t)k;
    }
    return true;
}

/* Whether the reader of a pipe is gone. */
static bool has_left(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

/* ---- the end --------------------------------------------------------------------------------- */

int ddp_streams_close(const char *program, int status)
{
    char line[256];
    ddp_stop_end_with(status);
    if (__fpending(stdout) > 0 && !wait_for_reader(STDOUT_FILENO))
        __fpurge(stdout);
    const bool lost = ferror(stdout) != 0; /* and with it errno */
    if (lost && has_left(STDOUT_FILENO))
        ddp_stream_failed(EPIPE);
    if (fflush(stdout) != 0 || (close(STDOUT_FILENO) != 0 && errno != EINTR))
        ddp_stream_failed(errno);
    const int error = atomic_load(&failed);
    if (error == EPIPE || (error == 0 && !lost))
        return status;
    snprintf(line, sizeof line, "%s: standard output: %s; what was to be printed there is not complete\n",
             program, error ? strerror(error) : "writing failed (is the disk full?)");
    ddp_stream_write(STDERR_FILENO, line, strlen(line));
    return status ? status : DDP_EXIT_RESOURCE;
}
