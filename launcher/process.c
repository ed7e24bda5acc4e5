/* Processes by what /proc says of them. */
#include "launcher/process.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PF_EXITING_OURS = 4 };

/* /proc/PID/stat behind the name (which may hold anything): false when the process is gone. */
bool ddp_process_stat(pid_t pid, char *buf, size_t size, char **fields)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, buf, size - 1);
    close(fd);
    if (n <= 0)
        return false;
    buf[n] = '\0';
    char *behind = strrchr(buf, ')');
    if (!behind || strlen(behind) < 3)
        return false;
    *fields = behind + 2;
    return true;
}

char ddp_process_state(pid_t pid, bool *exiting)
{
    char buf[1024], *fields, state = 0;
    unsigned flags = 0;

    if (exiting)
        *exiting = true;
    if (!ddp_process_stat(pid, buf, sizeof buf, &fields) ||
        sscanf(fields, "%c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
        return 0;
    if (exiting)
        *exiting = state == 'Z' || state == 'X' || (flags & PF_EXITING_OURS);
    return state;
}

/* The first few bytes of a small file of the kernel's. */
static bool read_small(const char *path, char *buf, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
    if (fd >= 0)
        close(fd);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0;
}

const char *ddp_process_name(pid_t pid, char *buf, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    if (!read_small(path, buf, size))
        snprintf(buf, size, "?");
    buf[strcspn(buf, "\n")] = '\0';
    return buf;
}

/* A signal (0: none) to a child that is alive; how many that is. */
static int visit(pid_t child, char state, int sig)
{
    if (state == 0 || state == 'Z' || state == 'X')
        return 0;
    kill(child, sig);
    return 1;
}

/* /proc/PID/task/TID/children of all threads; -1 where the kernel has no such file. */
static int listed_children(pid_t parent, int sig)
{
    char path[64];
    int n = -1;
    snprintf(path, sizeof path, "/proc/%d/task", (int)parent);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char file[400];
        int child;
        snprintf(file, sizeof file, "%s/%s/children", path, e->d_name);
        FILE *f = isdigit((unsigned char)e->d_name[0]) ? fopen(file, "re") : NULL;
        if (!f)
            continue;
        n = n < 0 ? 0 : n;
        while (fscanf(f, "%d", &child) == 1)
            n += visit(child, ddp_process_state(child, NULL), sig);
        fclose(f);
    }
    if (d)
        closedir(d);
    return n;
}

static int signal_children(pid_t parent, int sig)
{
    int n = listed_children(parent, sig);
    if (n >= 0)
        return n;
    DIR *d = opendir("/proc");
    n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        char buf[1024], *fields, state;
        int ppid;
        if (isdigit((unsigned char)e->d_name[0]) &&
            ddp_process_stat(atoi(e->d_name), buf, sizeof buf, &fields) &&
            sscanf(fields, "%c %d", &state, &ppid) == 2 && ppid == parent)
            n += visit(atoi(e->d_name), state, sig);
    }
    if (d)
        closedir(d);
    return n;
}

int ddp_process_children(pid_t parent)
{
    return signal_children(parent, 0);
}

void ddp_process_kill_family(pid_t parent)
{
    kill(parent, SIGSTOP); /* it starts no more of them */
    signal_children(parent, SIGKILL);
    kill(parent, SIGKILL);
}

bool ddp_process_has_reaped(pid_t parent)
{
    char buf[1024], *fields;
    unsigned long faults = 0;
    return ddp_process_stat(parent, buf, sizeof buf, &fields) &&
           sscanf(fields, "%*c %*d %*d %*d %*d %*d %*u %*u %lu", &faults) == 1 && faults > 0;
}

bool ddp_process_times(pid_t pid, double *ran, double *queued)
{
    char path[64], buf[128];
    unsigned long long on = 0, ready = 0;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    if (!read_small(path, buf, sizeof buf) || sscanf(buf, "%llu %llu", &on, &ready) != 2)
        return false;
    *ran = (double)on * 1e-9;
    *queued = (double)ready * 1e-9;
    return true;
}

int ddp_process_mhz(pid_t pid)
{
    enum { PROCESSOR = 37 }; /* fields behind the name */
    char buf[1024], path[96], *fields;
    if (!ddp_process_stat(pid, buf, sizeof buf, &fields))
        return 0;
    for (int i = 1; i < PROCESSOR && fields; i++)
        fields = (fields = strchr(fields, ' ')) ? fields + 1 : NULL;
    int cpu = 0, khz = 0;
    if (!fields || sscanf(fields, "%d", &cpu) != 1)
        return 0;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", cpu);
    return read_small(path, buf, sizeof buf) && sscanf(buf, "%d", &khz) == 1 ? khz / 1000 : 0;
}
