/* A program's answer, within a limit of time. */
#include "launcher/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const double LIMIT_S = 5;

static pid_t start(char *const *argv, int out)
{
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

bool ddp_ask_program(char *const *argv, char *out, size_t size)
{
    int fds[2];
    size_t n = 0;
    int status = -1;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    const pid_t pid = start(argv, fds[1]);
    close(fds[1]);
    const double until = ddp_now() + LIMIT_S;
    while (pid > 0 && n + 1 < size) {
        struct pollfd p = {.fd = fds[0], .events = POLLIN};
        const int left = (int)((until - ddp_now()) * 1e3);
        if (left <= 0 || poll(&p, 1, left) <= 0) {
            kill(pid, SIGKILL);
            break;
        }
        const ssize_t r = read(fds[0], out + n, size - 1 - n);
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    out[n] = '\0';
    close(fds[0]);
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
