/* Starting a program, reading all that it says, and waiting for its end. */
#include "bench/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/stop.h"

extern char **environ;

void bench_words_add(struct bench_words *words, const char *fmt, ...)
{
    char *word = NULL;
    va_list args;
    if (words->n == BENCH_WORDS)
        return;
    va_start(args, fmt);
    if (vasprintf(&word, fmt, args) < 0)
        abort();
    va_end(args);
    words->w[words->n++] = word;
    words->w[words->n] = NULL;
}

void bench_words_finish(struct bench_words *words)
{
    for (int i = 0; i < words->n; i++)
        free(words->w[i]);
    *words = (struct bench_words){0};
}

/* ---- programs -------------------------------------------------------------------------------- */

int bench_program_find(const char *name, char path[PATH_MAX], struct ddp_error *err)
{
    char self[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    if (slash && snprintf(path, PATH_MAX, "%s/%s", self, name) < PATH_MAX && access(path, X_OK) == 0)
        return 0;
    return ddp_fail(err, DDP_E_RESOURCE, "%s/%s is missing: it belongs beside ddp-bench. Build or install it",
                    self, name);
}

bool bench_program_on_path(const char *name)
{
    char path[PATH_MAX];
    for (const char *dirs = getenv("PATH"); dirs && *dirs;) {
        const int len = (int)strcspn(dirs, ":");
        if (len > 0 && snprintf(path, sizeof path, "%.*s/%s", len, dirs, name) < PATH_MAX &&
            access(path, X_OK) == 0)
            return true;
        dirs += len + (dirs[len] == ':');
    }
    return false;
}

/* ---- one run --------------------------------------------------------------------------------- */

static volatile pid_t child; /* leads its group; for the handler. 0: none */

static void pass_on(int sig)
{
    (void)sig;
    if (child > 0)
        kill(-child, SIGKILL); /* a measurement has nothing to save; ddp-launch's janitor cleans up */
}

static bool named_alike(const char *a, const char *b)
{
    const size_t n = strcspn(a, "=");
    return n == strcspn(b, "=") && strncmp(a, b, n) == 0;
}

/* Ours, with `more` in place of what has the same names. */
static char **environment(const char *const *more)
{
    int n = 0, extra = 0;
    while (environ[n])
        n++;
    while (more && more[extra])
        extra++;
    char **env = ddp_calloc((size_t)(n + extra) + 1, sizeof *env);
    int at = 0;
    for (int i = 0; i < n; i++) {
        bool replaced = false;
        for (int k = 0; k < extra; k++)
            replaced |= named_alike(environ[i], more[k]);
        if (!replaced)
            env[at++] = environ[i];
    }
    for (int k = 0; k < extra; k++)
        env[at++] = (char *)(uintptr_t)more[k];
    return env;
}

static void __attribute__((noreturn))
become(const struct bench_words *command, char **env, int out, int words)
{
    const int null = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(words, STDERR_FILENO);
    signal(SIGPIPE, SIG_DFL);
    execvpe(command->w[0], command->w, env);
    dprintf(STDERR_FILENO, "%s cannot be started: %s\n", command->w[0], strerror(errno));
    _exit(127);
}

/* Both streams until both have ended, or the time is over: then the group is killed. */
static bool read_streams(const int fd[2], double until, struct ddp_text text[2])
{
    struct pollfd p[2] = {{fd[0], POLLIN, 0}, {fd[1], POLLIN, 0}};
    char piece[65536];
    bool in_time = true;
    while (p[0].fd >= 0 || p[1].fd >= 0) {
        const double left = until - ddp_now();
        if (left <= 0 && in_time) {
            kill(-child, SIGKILL);
            in_time = false;
        }
        poll(p, 2, left > 0 ? (int)(left * 1e3) + 1 : 1000);
        for (int i = 0; i < 2; i++) {
            if (p[i].fd < 0 || p[i].revents == 0)
                continue;
            const ssize_t n = read(p[i].fd, piece, sizeof piece);
            if (n > 0)
                ddp_text_append(&text[i], piece, (size_t)n);
            else if (n == 0 || errno != EINTR)
                p[i].fd = -1;
        }
        if (!in_time && left < -5) /* somebody outside of the group holds a stream */
            break;
    }
    return in_time;
}

/* The last lines that say something: the others are often a usage or a copy. */
static const char *last_words(char *text)
{
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        text[--n] = '\0';
    const size_t most = 600;
    const char *from = n > most ? text + n - most : text;
    const char *line = n > most ? strchr(from, '\n') : NULL;
    return line ? line + 1 : from;
}

static int judge(const struct bench_words *command, int state, bool in_time, double limit_s,
                 struct bench_run *run, struct ddp_error *err)
{
    if (ddp_stop_asked())
        return ddp_fail(err, DDP_E_STOPPED, "stopped by request");
    if (!in_time)
        return ddp_fail(err, DDP_E_COMM, "%s took longer than %.0f s and was ended", command->w[0], limit_s);
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
        return 0;
    char how[64];
    if (WIFSIGNALED(state))
        snprintf(how, sizeof how, "signal %d", WTERMSIG(state));
    else
        snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(state));
    const int code = WIFEXITED(state) && WEXITSTATUS(state) == DDP_EXIT_USAGE ? DDP_E_USAGE : DDP_E_COMM;
    return ddp_fail(err, code, "%s failed (%s): %s", command->w[0], how, last_words(run->words));
}

int bench_run(const struct bench_words *command, const char *const *env, double limit_s,
              struct bench_run *out, struct ddp_error *err)
{
    int a[2], b[2], state = 0;
    struct rusage used = {0};
    struct ddp_text text[2];
    *out = (struct bench_run){.out = ddp_strdup(""), .words = ddp_strdup("")};
    if (pipe2(a, O_CLOEXEC) != 0)
        return ddp_fail(err, DDP_E_RESOURCE, "no pipe: %s", strerror(errno));
    if (pipe2(b, O_CLOEXEC) != 0) {
        close(a[0]);
        close(a[1]);
        return ddp_fail(err, DDP_E_RESOURCE, "no pipe: %s", strerror(errno));
    }
    ddp_stop_catch(pass_on);
    fflush(NULL);
    char **all = environment(env);
    const double began = ddp_now();
    const pid_t pid = ddp_stop_asked() ? -1 : fork();
    if (pid == 0)
        become(command, all, a[1], b[1]);
    const int why = errno;
    free(all);
    close(a[1]);
    close(b[1]);
    bool in_time = true;
    if (pid > 0) {
        setpgid(pid, pid);
        child = pid;
        ddp_text_init(&text[0]);
        ddp_text_init(&text[1]);
        in_time = read_streams((const int[2]){a[0], b[0]}, began + limit_s, text);
        while (wait4(pid, &state, 0, &used) < 0 && errno == EINTR)
            ;
        child = 0;
        free(out->out);
        free(out->words);
        out->out = text[0].s;
        out->words = text[1].s;
    }
    close(a[0]);
    close(b[0]);
    out->wall_s = ddp_now() - began;
    out->cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    if (pid < 0 && !ddp_stop_asked())
        return ddp_fail(err, DDP_E_RESOURCE, "no process for %s: %s", command->w[0], strerror(why));
    return judge(command, state, in_time, limit_s, out, err);
}

void bench_run_finish(struct bench_run *run)
{
    free(run->out);
    free(run->words);
    *run = (struct bench_run){0};
}

/* ---- the folder ------------------------------------------------------------------------------ */

int bench_folder_make(const char *in, char path[PATH_MAX], struct ddp_error *err)
{
    char name[PATH_MAX], whole[PATH_MAX];
    if (!realpath(in, whole) || snprintf(name, sizeof name, "%s/ddp-bench-XXXXXX", whole) >= PATH_MAX ||
        !mkdtemp(name))
        return ddp_fail(err, DDP_E_IO, "%s: no folder can be made there: %s; name another with --dir", in,
                        strerror(errno));
    strcpy(path, name);
    return 0;
}

void bench_folder_remove(const char *path)
{
    struct ddp_error ignored;
    ddp_dir_remove(path, &ignored);
}
