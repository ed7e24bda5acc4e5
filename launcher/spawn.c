/* vfork, pipes and exec: the child borrows our memory until it is another program, so that starting many
 * ranks copies no page tables. */
#include "launcher/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct start {
    char **argv, **env;
    const sigset_t *mask;
    pid_t parent, group;
    int out, err;
    int failed; /* takes errno of what failed; closed by exec */
};

/* In our memory: nothing but system calls. */
static void __attribute__((noreturn)) become(struct start *s)
{
    const struct sigaction normal = {.sa_handler = SIG_DFL}, ignored = {.sa_handler = SIG_IGN};

    setpgid(0, s->group);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != s->parent) /* it went before the signal was armed */
        _exit(111);
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(s->out, STDOUT_FILENO) >= 0 &&
        dup2(s->err, STDERR_FILENO) >= 0) {
        sigaction(SIGPIPE, &normal, NULL);
        /* a batch system sends them to all processes of a job, also to the ssh of an mpirun */
        sigaction(SIGUSR1, &ignored, NULL);
        sigaction(SIGUSR2, &ignored, NULL);
        sigprocmask(SIG_SETMASK, s->mask, NULL);
        execvpe(s->argv[0], s->argv, s->env);
    }
    const int code = errno;
    _exit(write(s->failed, &code, sizeof code) == sizeof code ? 127 : 126);
}

static pid_t start(struct start *s)
{
    /* The child shares our memory until it execs, and become() makes system calls only: what posix_spawn()
     * cannot say (PR_SET_PDEATHSIG) without the page tables that fork() copies. */
    const pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */
    if (pid == 0)
        become(s); /* NOLINT(clang-analyzer-unix.Vfork) */
    return pid;
}

/* errno of a start that failed, 0 when the program runs. Through a pipe and not through the memory that vfork
 * shares: sanitizers and emulators make a fork of it. */
static int why_not(int said[2])
{
    int code = 0;
    close(said[1]);
    said[1] = -1;
    while (read(said[0], &code, sizeof code) < 0 && errno == EINTR)
        ;
    return code;
}

static size_t name_length(const char *entry)
{
    return strcspn(entry, "=");
}

static bool has_name(const char *entry, const char *other)
{
    const size_t n = name_length(other);
    return name_length(entry) == n && memcmp(entry, other, n) == 0;
}

/* Our environment with the changes; the strings stay where they are. */
static char **merge(const struct ddp_words *env)
{
    size_t n = 0, have = 0;
    while (environ[have])
        have++;
    char **all = ddp_calloc(have + (size_t)env->n + 1, sizeof *all);
    for (size_t i = 0; i < have; i++) {
        int k = 0;
        while (k < env->n && !has_name(environ[i], env->w[k]))
            k++;
        if (k == env->n)
            all[n++] = environ[i];
    }
    for (int i = 0; i < env->n; i++) {
        int k = i + 1;
        while (k < env->n && !has_name(env->w[i], env->w[k]))
            k++;
        if (k == env->n && strchr(env->w[i], '='))
            all[n++] = env->w[i];
    }
    return all;
}

int ddp_spawn(const struct ddp_words *argv, const struct ddp_words *env, const sigset_t *mask, pid_t group,
              struct ddp_child *out, struct ddp_error *err)
{
    int fds[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, rc = 0; /* stdout, stderr, why it does not start */
    struct start s = {.argv = argv->w, .mask = mask, .parent = getpid(), .group = group};

    for (int i = 0; i < 3; i++)
        if (pipe2(fds[i], O_CLOEXEC) != 0) {
            rc = ddp_fail(err, DDP_E_RESOURCE, "no pipe for %s: %s", argv->w[0], strerror(errno));
            goto out;
        }
    s.out = fds[0][1];
    s.err = fds[1][1];
    s.failed = fds[2][1];
    s.env = merge(env);
    const pid_t pid = start(&s);
    free(s.env);
    if (pid < 0) {
        rc = ddp_fail(err, DDP_E_RESOURCE, "no process for %s: %s", argv->w[0], strerror(errno));
        goto out;
    }
    const int code = why_not(fds[2]);
    if (code != 0) {
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
