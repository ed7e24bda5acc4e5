/* fork, pipes and exec of the starter's program. */
#include "launcher/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void __attribute__((noreturn)) become(const struct ddp_words *argv, const struct ddp_words *env,
                                             const sigset_t *mask, pid_t parent, int out, int err, int failed)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    int code;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it went before the signal was armed */
        _exit(111);
    const int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(err, STDERR_FILENO) < 0)
        goto fail;
    sigaction(SIGPIPE, &normal, NULL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    for (int i = 0; i < env->n; i++)
        putenv(env->w[i]);
    execvp(argv->w[0], argv->w);
fail:
    code = errno;
    const ssize_t sent = write(failed, &code, sizeof code);
    (void)sent;
    _exit(127);
}

int ddp_spawn(const struct ddp_words *argv, const struct ddp_words *env, const sigset_t *mask,
              struct ddp_child *out, struct ddp_error *err)
{
    int fds[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}; /* stdout, stderr, "exec failed" */
    int code = 0, rc = 0;
    pid_t pid = -1;

    for (int i = 0; i < 3; i++)
        if (pipe2(fds[i], O_CLOEXEC) != 0) {
            rc = ddp_fail(err, DDP_E_RESOURCE, "no pipe for %s: %s", argv->w[0], strerror(errno));
            goto out;
        }
    const pid_t me = getpid();
    pid = fork();
    if (pid < 0) {
        rc = ddp_fail(err, DDP_E_RESOURCE, "no process for %s: %s", argv->w[0], strerror(errno));
        goto out;
    }
    if (pid == 0)
        become(argv, env, mask, me, fds[0][1], fds[1][1], fds[2][1]);
    setpgid(pid, pid); /* on both sides: whoever comes first */
    close(fds[2][1]);
    fds[2][1] = -1;
    ssize_t n;
    while ((n = read(fds[2][0], &code, sizeof code)) < 0 && errno == EINTR)
        ;
    if (n == (ssize_t)sizeof code) {
        waitpid(pid, NULL, 0);
        rc = ddp_fail(err, DDP_E_RESOURCE, "%s cannot be started: %s", argv->w[0], strerror(code));
        goto out;
    }
    for (int i = 0; i < 2; i++)
        fcntl(fds[i][0], F_SETFL, O_NONBLOCK);
    *out = (struct ddp_child){.pid = pid, .out = fds[0][0], .err = fds[1][0]};
    fds[0][0] = fds[1][0] = -1;
out:
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++)
            if (fds[i][k] >= 0)
                close(fds[i][k]);
    return rc;
}
