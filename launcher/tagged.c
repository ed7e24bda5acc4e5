/* Look through /proc for the processes of a job. */
#include "launcher/tagged.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/process.h"

enum { LIMIT = 1 << 20 };

/* Whether NUL-separated text holds `entry` as a whole entry. */
static bool has_entry(const char *env, size_t n, const char *entry)
{
    const size_t len = strlen(entry);
    for (size_t i = 0; i < n;) {
        const size_t here = strnlen(env + i, n - i);
        if (here == len && memcmp(env + i, entry, len) == 0)
            return true;
        i += here + 1;
    }
    return false;
}

/* A file of a process in /proc, no more than LIMIT bytes. False: another user's, or gone. */
static bool read_file(int pid, const char *name, char *buf, size_t *n)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    *n = 0;
    if (fd < 0)
        return false;
    for (ssize_t r; *n < LIMIT && (r = read(fd, buf + *n, LIMIT - *n)) > 0;)
        *n += (size_t)r;
    close(fd);
    return true;
}

static bool is_named(pid_t pid, const char *const *names)
{
    char name[32];
    ddp_process_name(pid, name, sizeof name);
    while (*names && strcmp(name, *names) != 0)
        names++;
    return *names != NULL;
}

bool ddp_is_daemon(pid_t pid)
{
    return pid > 1 && is_named(pid, (const char *const[]){"orted", "prted", NULL});
}

/* A zombie's environment is empty, and so are its arguments. */
static bool is_tagged(int pid, const char *job_name, char *buf)
{
    char entry[128];
    size_t n;
    snprintf(entry, sizeof entry, "DDP_LIFELINE=%s", job_name);
    if (read_file(pid, "environ", buf, &n) && has_entry(buf, n, entry))
        return true;
    return ddp_is_daemon(pid) && read_file(pid, "cmdline", buf, &n) &&
           memmem(buf, n, job_name, strlen(job_name)) != NULL;
}

/* Calls visit for each process of the job but the caller, until it says enough. */
static void visit_all(const char *job_name, bool halted, bool (*visit)(int pid, void *user), void *user)
{
    char *buf = malloc(LIMIT);
    DIR *d = opendir("/proc");
    bool enough = false;
    for (struct dirent *e; buf && d && !enough && (e = readdir(d));) {
        const int pid = isdigit((unsigned char)e->d_name[0]) ? atoi(e->d_name) : 0;
        if (pid > 1 && pid != getpid() && (!halted || ddp_process_state(pid, NULL) == 'T') &&
            is_tagged(pid, job_name, buf))
            enough = visit(pid, user);
    }
    if (d)
        closedir(d);
    free(buf);
}

struct killing {
    bool helpers;
    int found;
};

static bool kill_it(int pid, void *user)
{
    struct killing *k = user;
    if (k->helpers && !is_named(pid, (const char *const[]){"orted", "prted", "ssh", "rsh", NULL}))
        return false;
    kill(pid, SIGKILL);
    k->found++;
    return false;
}

int ddp_tagged_kill(const char *job_name, bool helpers)
{
    struct killing k = {.helpers = helpers};
    visit_all(job_name, false, kill_it, &k);
    return k.found;
}

struct list {
    pid_t *pid;
    int n, most;
};

static bool keep_it(int pid, void *user)
{
    struct list *l = user;
    if (l->n < l->most)
        l->pid[l->n++] = pid;
    return l->n == l->most;
}

int ddp_tagged_halted(const char *job_name, pid_t *pid, int most)
{
    struct list l = {.pid = pid, .most = most};
    visit_all(job_name, true, keep_it, &l);
    return l.n;
}
