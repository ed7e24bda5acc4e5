/* From states, wait channels and system calls of threads to words. */
#include "launcher/doing.h"

#include <ctype.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "launcher/process.h"

/* Where in the kernel it waits -> words; what tells most comes first. */
static const struct {
    const char *channel, *words;
} waits[] = {
    {"wait_for_partner", "opens a FIFO that nobody writes to"},
    {"fifo_open", "opens a FIFO that nobody writes to"},
    {"pipe_read", "reads from a pipe or FIFO that nobody writes to"},
    {"pipe_write", "writes to a pipe or FIFO that nobody reads"},
    {"nfs", "waits for NFS"},
    {"rpc_", "waits for NFS"},
    {"fuse", "waits for a file system in user space"},
    {"request_wait_answer", "waits for a file system in user space"},
    {"nanosleep", "sleeps"},
    {"tcp_", "waits for the network"},
    {"inet_", "waits for the network"},
    {"sk_wait", "waits for the network"},
    {"wait_woken", "waits for the network"},
    {"unix_", "waits at a socket"},
    {"skb_", "waits at a socket"},
    {"io_schedule", "waits for a disk"},
    {"folio_wait", "waits for a disk"},
    {"wait_on_page", "waits for a disk"},
    {"flock", "waits for a lock on a file"},
    {"posix_lock", "waits for a lock on a file"},
    {"poll", "waits for a descriptor"},
    {"select", "waits for a descriptor"},
    {"do_wait", "waits for a child process"},
};
enum { TOLD = sizeof waits / sizeof *waits, NOTHING = TOLD + 10 };

struct thread {
    int id;
    char state;
    char channel[64];
    int rank; /* how much it tells; less is more */
};

static void read_line(const char *path, char *buf, size_t size)
{
    FILE *f = fopen(path, "re");
    buf[0] = '\0';
    if (f && !fgets(buf, (int)size, f))
        buf[0] = '\0';
    if (f)
        fclose(f);
    buf[strcspn(buf, "\n")] = '\0';
}

static int tells(const struct thread *t, bool first)
{
    if (t->state == 't' || t->state == 'T')
        return -1;
    for (int i = 0; i < TOLD; i++)
        if (strstr(t->channel, waits[i].channel))
            return i;
    if (t->state == 'R')
        return TOLD;
    return t->state == 'D' ? TOLD + 1 : first ? TOLD + 2 : NOTHING;
}

static struct thread look_at_thread(pid_t pid, int id)
{
    struct thread t = {.id = id};
    char path[96], stat[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, id);
    read_line(path, stat, sizeof stat);
    const char *behind = strrchr(stat, ')');
    t.state = behind && behind[1] ? behind[2] : 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/wchan", (int)pid, id);
    read_line(path, t.channel, sizeof t.channel);
    if (strcmp(t.channel, "0") == 0)
        t.channel[0] = '\0';
    t.rank = tells(&t, id == (int)pid);
    return t;
}

static struct thread find_thread(pid_t pid)
{
    struct thread best = look_at_thread(pid, (int)pid);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        int id = 0;
        if (!isdigit((unsigned char)e->d_name[0]) || sscanf(e->d_name, "%d", &id) != 1 || id == (int)pid)
            continue;
        const struct thread t = look_at_thread(pid, id);
        if (t.rank < best.rank)
            best = t;
    }
    if (d)
        closedir(d);
    return best;
}

/* The file that it reads, writes or opens. "" where that is hidden, or it is another call. */
static void find_file(pid_t pid, int id, char *buf, size_t size)
{
    char path[96], line[256];
    long call = -1;
    unsigned long a = 0, b = 0;
    buf[0] = '\0';
    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", (int)pid, id);
    read_line(path, line, sizeof line);
    if (sscanf(line, "%ld %lx %lx", &call, &a, &b) != 3)
        return;
    if (call == SYS_read || call == SYS_write || call == SYS_pread64 || call == SYS_readv) {
        snprintf(path, sizeof path, "/proc/%d/fd/%lu", (int)pid, a);
        const ssize_t n = readlink(path, buf, size - 1);
        buf[n > 0 ? n : 0] = '\0';
    } else if (call == SYS_openat) {
        struct iovec here = {buf, size - 1}, there = {(void *)(uintptr_t)b, size - 1};
        const ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);
        buf[n > 0 ? n : 0] = '\0';
    }
    for (char *s = buf; *s; s++)
        if (iscntrl((unsigned char)*s))
            *s = '?';
}

static const char *state_text(const struct thread *t)
{
    if (t->state == 't')
        return "is held by a debugger";
    if (t->state == 'T')
        return "is stopped";
    if (t->rank >= 0 && t->rank < TOLD)
        return waits[t->rank].words;
    if (t->state == 'R')
        return "is running";
    return t->state == 'D' ? "waits in the kernel" : "waits";
}

void ddp_process_doing(pid_t pid, char *buf, int size)
{
    const struct thread t = find_thread(pid);
    char file[128];
    find_file(pid, t.id, file, sizeof file);
    snprintf(buf, (size_t)size, "%sprocess %d %s%s%s%s%s%s", t.id == (int)pid ? "" : "a thread of ", (int)pid,
             t.state ? state_text(&t) : "is gone", *file ? ", " : "", file, *t.channel ? " (" : "", t.channel,
             *t.channel ? ")" : "");
}
