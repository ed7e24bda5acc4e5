/* The recorder's log: which paths are watched, and one record after the other from all processes of a job. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record.h"

static struct {
    pthread_mutex_t lock;
    char root[RECORD_PATH], path[RECORD_PATH]; /* root "": nothing is recorded */
    size_t root_length;
    int fd;
    dev_t dev; /* of the log: a program may close descriptors that it does not know */
    ino_t ino;
} the = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static void reopen(void)
{
    struct stat st;
    the.fd = (int)syscall(SYS_openat, AT_FDCWD, the.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (the.fd < 0 || fstat(the.fd, &st) != 0)
        abort();
    if (the.fd < 500) { /* out of the way of programs that expect the lowest number */
        const int high = fcntl(the.fd, F_DUPFD_CLOEXEC, 500);
        if (high >= 0) {
            syscall(SYS_close, the.fd);
            the.fd = high;
        }
    }
    the.dev = st.st_dev;
    the.ino = st.st_ino;
}

static void in_child(void)
{
    pthread_mutex_init(&the.lock, NULL);
    the.fd = -1; /* a lock is shared through an inherited descriptor */
}

__attribute__((constructor)) static void start(void)
{
    const char *root = getenv("CRASH_ROOT"), *log = getenv("CRASH_LOG");
    if (!root || !log || strlen(root) >= sizeof the.root || strlen(log) >= sizeof the.path)
        return;
    strcpy(the.root, root);
    strcpy(the.path, log);
    the.root_length = strlen(root);
    pthread_atfork(NULL, NULL, in_child);
}

void record_lock(void)
{
    struct stat st;
    pthread_mutex_lock(&the.lock);
    if (the.fd < 0 || fstat(the.fd, &st) != 0 || st.st_dev != the.dev || st.st_ino != the.ino)
        reopen();
    while (flock(the.fd, LOCK_EX) != 0 && errno == EINTR)
        continue;
}

void record_unlock(void)
{
    flock(the.fd, LOCK_UN);
    pthread_mutex_unlock(&the.lock);
}

void record_put(const struct record *r)
{
    const char *path = r->path ? r->path : "", *to = r->to ? r->to : "";
    const struct {
        uint32_t kind, error, pid, flags;
        uint64_t ino;
        int64_t at;
        uint32_t path, to, data, end;
    } head = {
        (uint32_t)r->kind,      (uint32_t)r->error,   (uint32_t)getpid(), (uint32_t)r->flags, r->ino, r->at,
        (uint32_t)strlen(path), (uint32_t)strlen(to), (uint32_t)r->bytes, 0x0a444e45};
    const struct iovec part[] = {{(void *)(uintptr_t)&head, sizeof head},
                                 {(void *)(uintptr_t)path, head.path},
                                 {(void *)(uintptr_t)to, head.to},
                                 {(void *)(uintptr_t)r->data, r->bytes}};
    size_t all = 0;
    for (int i = 0; i < 4; i++)
        all += part[i].iov_len;
    if (syscall(SYS_writev, the.fd, part, 4) != (long)all)
        abort();
}

bool record_below(int dirfd, const char *path, char out[RECORD_PATH])
{
    char whole[2 * RECORD_PATH], folder[RECORD_PATH] = "", link[64];
    if (!*the.root || !path)
        return false;
    if (*path != '/' && dirfd == AT_FDCWD && !getcwd(folder, sizeof folder))
        return false;
    if (*path != '/' && dirfd != AT_FDCWD) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        const ssize_t n = readlink(link, folder, sizeof folder - 1);
        folder[n > 0 ? n : 0] = '\0';
    }
    snprintf(whole, sizeof whole, "%s%s%s", folder, *path == '/' ? "" : "/", path);
    if (strncmp(whole, the.root, the.root_length) != 0 ||
        (whole[the.root_length] != '/' && whole[the.root_length] != '\0'))
        return false;
    size_t n = 0; /* without doubled slashes and ones at the end */
    for (const char *p = whole + the.root_length; *p; p++)
        if (*p != '/' || (p[1] != '/' && p[1] != '\0'))
            out[n++] = *p;
    out[n] = '\0';
    return true;
}
