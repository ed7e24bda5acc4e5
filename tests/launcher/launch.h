/* Starting ddp-launch from a test with bounded times, and finding what it left behind. Included by the test
 * programs. */
#ifndef TESTS_LAUNCHER_LAUNCH_H
#define TESTS_LAUNCHER_LAUNCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

enum { LAUNCH_LIMIT_S = 20 };

#ifdef FAKE_RANK_MPI
enum { HOWS = 2 };
#else /* built without MPI: there may be no mpirun */
#define FAKE_RANK_MPI FAKE_RANK
enum { HOWS = 1 };
#endif

/* The ways in which ranks are started, and programs that know them. */
struct how {
    const char *starter, *program;
    int processes; /* besides the ranks */
    bool folder;   /* the job has one */
};
static const struct how hows[] = {
    {"--starter=local", FAKE_RANK, 0, false},
    {"--starter=mpirun", FAKE_RANK_MPI, 1, true},
};

struct launch {
    pid_t pid;
    char dir[64];   /* of this test: out, err, and a file per rank */
    char job[64];   /* the tag of its ranks; "" until looked up */
    int status;     /* exit status; 128 + signal when it was killed */
    double seconds; /* from `since` to its end */
    char out[16384], err[32768];
};

/* A config that needs nothing, in the folder of the test. */
static inline void launch_config(const char *dir)
{
    char path[128];
    struct ddp_error err = {0};
    static const char text[] = "seed = 1;\n";
    snprintf(path, sizeof path, "%s/c.cfg", dir);
    assert_int_equal(ddp_file_write(path, text, sizeof text - 1, &err), 0);
}

/* Start it in a folder of its own with "NAME=VALUE" additions to the environment;
 * both lists end with NULL. */
static inline void launch_start(struct launch *l, const char *const *env, const char *const *args)
{
    *l = (struct launch){0};
    strcpy(l->dir, "/tmp/ddp-test-launch-XXXXXX");
    assert_non_null(mkdtemp(l->dir));
    launch_config(l->dir);
    l->pid = fork();
    assert_true(l->pid >= 0);
    if (l->pid == 0) {
        char *argv[64] = {DDP_LAUNCH};
        int n = 1;
        for (; args && *args; args++)
            argv[n++] = ddp_strdup(*args);
        setpgid(0, 0);
        if (chdir(l->dir) != 0)
            _exit(99);
        setenv("RANK_DIR", l->dir, 1);
        setenv("DDP_CORES_DIR", l->dir, 1); /* what else runs here takes no cores from it */
        setenv("DDP_CONFIGS_DIR", SOURCE_DIR "/configs", 1);
        for (; env && *env; env++)
            putenv(ddp_strdup(*env));
        const int out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600),
                  err = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(out, 1);
        dup2(err, 2);
        execv(DDP_LAUNCH, argv);
        _exit(98);
    }
}

static inline void launch_read(const struct launch *l, const char *name, char *out, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", l->dir, name);
    FILE *f = fopen(path, "re");
    const size_t n = f ? fread(out, 1, size - 1, f) : 0;
    out[n] = '\0';
    if (f)
        fclose(f);
}

/* Wait for its end, no longer than LAUNCH_LIMIT_S after `since`. */
static inline void launch_wait(struct launch *l, double since)
{
    int status = 0;
    while (waitpid(l->pid, &status, WNOHANG) == 0) {
        if (ddp_now() - since > LAUNCH_LIMIT_S) {
            kill(l->pid, SIGKILL);
            waitpid(l->pid, &status, 0);
            launch_read(l, "err", l->err, sizeof l->err);
            fail_msg("ddp-launch did not end within %d s; it said: %s", LAUNCH_LIMIT_S, l->err);
        }
        usleep(1000);
    }
    l->seconds = ddp_now() - since;
    l->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    launch_read(l, "out", l->out, sizeof l->out);
    launch_read(l, "err", l->err, sizeof l->err);
}

static inline void launch_end(struct launch *l)
{
    ddp_dir_remove(l->dir, NULL);
}

/* The whole: start, wait, remove. */
static inline void launch_run(struct launch *l, const char *const *env, const char *const *args)
{
    const double since = ddp_now();
    launch_start(l, env, args);
    launch_wait(l, since);
    launch_end(l);
}

static inline void assert_says(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("'%s' is not in: %s", what, text);
}

static inline void assert_silent_about(const char *text, const char *what)
{
    if (strstr(text, what))
        fail_msg("'%s' is in: %s", what, text);
}

static inline void assert_status(const struct launch *l, int status)
{
    if (l->status != status)
        fail_msg("exit status %d, not %d; stdout: %s; stderr: %s", l->status, status, l->out, l->err);
}

/* ---- ranks ----------------------------------------------------------------------------------- */

/* Process number of a rank, from the file that it left; waits for it. */
static inline pid_t launch_rank_pid(const struct launch *l, int rank)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%d", l->dir, rank);
    for (double end = ddp_now() + LAUNCH_LIMIT_S; ddp_now() < end; usleep(2000)) {
        FILE *f = fopen(path, "re");
        int pid = 0;
        const int got = f ? fscanf(f, "%d", &pid) : 0;
        if (f)
            fclose(f);
        if (got == 1)
            return pid;
        siginfo_t ended = {0};
        if (waitid(P_PID, (id_t)l->pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == l->pid)
            break;
    }
    static char said[4096];
    launch_read(l, "err", said, sizeof said);
    fail_msg("rank %d did not start; ddp-launch said: %s", rank, said);
    return -1;
}

static inline void launch_wait_ranks(const struct launch *l, int ranks)
{
    for (int r = 0; r < ranks; r++)
        launch_rank_pid(l, r);
}

/* A variable of a process's environment; false when it is gone or has none. */
static inline bool process_variable(pid_t pid, const char *name, char *out, size_t size)
{
    static char buf[1 << 18];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    const int fd = open(path, O_RDONLY);
    size_t n = 0;
    if (fd < 0)
        return false;
    for (ssize_t r; n < sizeof buf - 1 && (r = read(fd, buf + n, sizeof buf - 1 - n)) > 0;)
        n += (size_t)r;
    close(fd);
    buf[n] = '\0';
    for (const char *s = buf; s < buf + n; s += strlen(s) + 1)
        if (strncmp(s, name, strlen(name)) == 0 && s[strlen(name)] == '=') {
            snprintf(out, size, "%s", s + strlen(name) + 1);
            return true;
        }
    return false;
}

/* Learn the job's tag from a rank. */
static inline void launch_learn_job(struct launch *l)
{
    assert_true(process_variable(launch_rank_pid(l, 0), "DDP_LIFELINE", l->job, sizeof l->job));
}

/* Living processes that carry the job's tag: ranks, mpirun, whatever they started. */
static inline int launch_processes(const struct launch *l)
{
    DIR *d = opendir("/proc");
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        char job[64];
        if (isdigit((unsigned char)e->d_name[0]) &&
            process_variable(atoi(e->d_name), "DDP_LIFELINE", job, sizeof job) && strcmp(job, l->job) == 0)
            n++;
    }
    closedir(d);
    return n;
}

static inline int count_paths(const char *pattern)
{
    glob_t g;
    const int n = glob(pattern, 0, NULL, &g) == 0 ? (int)g.gl_pathc : 0;
    globfree(&g);
    return n;
}

/* Whether the job's folder is there, wherever it was put. */
static inline int launch_folders(const struct launch *l)
{
    char a[128], b[128];
    snprintf(a, sizeof a, "/dev/shm/%s*", l->job);
    snprintf(b, sizeof b, "/tmp/%s*", l->job);
    return count_paths(a) + count_paths(b);
}

/* Nothing of the job is left, at once or after `seconds`. */
static inline void assert_nothing_left(const struct launch *l, double seconds)
{
    const double end = ddp_now() + seconds;
    while ((launch_processes(l) > 0 || launch_folders(l) > 0) && ddp_now() < end)
        usleep(2000);
    assert_true(l->job[0] != '\0');
    assert_int_equal(launch_processes(l), 0);
    assert_int_equal(launch_folders(l), 0);
}

static inline pid_t parent_of(pid_t pid)
{
    char path[64], buf[1024];
    int parent = -1;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    const size_t n = fread(buf, 1, sizeof buf - 1, f);
    fclose(f);
    buf[n] = '\0';
    if (sscanf(strrchr(buf, ')') + 2, "%*c %d", &parent) != 1)
        return -1;
    return parent;
}

#endif
