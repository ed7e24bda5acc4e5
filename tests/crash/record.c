/* The recorder of file operations: a library to preload, which writes down what a program does to the files
 * below one folder. README.md says what comes of it. Calls are made as system calls here, so that nothing is
 * recorded twice. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record.h"

#define API __attribute__((visibility("default")))

enum { DESCRIPTORS = 1024 };
static bool watched[DESCRIPTORS];

static bool is_watched(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && watched[fd];
}

static uint64_t ino_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* Where an open file is now, in below; NULL: nowhere that is watched. */
static const char *path_of(int fd, char below[RECORD_PATH])
{
    char link[64], path[RECORD_PATH];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return record_below(AT_FDCWD, path, below) ? below : NULL;
}

/* The end of every recorded call. */
static long finish(struct record *r, long result)
{
    const int e = errno;
    r->error = result < 0 ? e : 0;
    record_put(r);
    record_unlock();
    errno = e;
    return result;
}

/* ---- opening and closing ---- */

static int open_at(int dirfd, const char *path, int flags, mode_t mode)
{
    char below[RECORD_PATH];
    if (!record_below(dirfd, path, below))
        return (int)syscall(SYS_openat, dirfd, path, flags, mode);
    struct record r = {.kind = RECORD_OPEN, .flags = flags, .path = below};
    const bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
    record_lock();
    const int fd =
        changes && record_inject(&r, NULL) ? -1 : (int)syscall(SYS_openat, dirfd, path, flags, mode);
    if (fd >= 0 && fd < DESCRIPTORS)
        watched[fd] = true;
    r.ino = fd >= 0 ? ino_of(fd) : 0;
    return (int)finish(&r, fd);
}

static mode_t mode_of(int flags, va_list ap)
{
    return flags & O_CREAT ? (mode_t)va_arg(ap, unsigned) : 0;
}

API int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    const mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return open_at(AT_FDCWD, path, flags, mode);
}

API int openat(int dirfd, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    const mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return open_at(dirfd, path, flags, mode);
}

API int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

API int close(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        watched[fd] = false;
    return (int)syscall(SYS_close, fd);
}

/* ---- contents ---- */

/* at < 0: where the descriptor stands, or the end. */
static ssize_t write_at(int fd, const void *data, size_t bytes, off_t at)
{
    if (!is_watched(fd))
        return at < 0 ? syscall(SYS_write, fd, data, bytes) : syscall(SYS_pwrite64, fd, data, bytes, at);
    char below[RECORD_PATH];
    struct record r = {.kind = RECORD_WRITE, .data = data, .bytes = bytes, .path = path_of(fd, below)};
    record_lock();
    ssize_t n = -1;
    if (!record_inject(&r, &bytes))
        n = at < 0 ? syscall(SYS_write, fd, data, bytes) : syscall(SYS_pwrite64, fd, data, bytes, at);
    r.ino = ino_of(fd);
    r.bytes = n > 0 ? (size_t)n : 0;
    r.at = at < 0 && n >= 0 ? lseek(fd, 0, SEEK_CUR) - n : at;
    return finish(&r, n);
}

API ssize_t write(int fd, const void *data, size_t bytes)
{
    return write_at(fd, data, bytes, -1);
}

API ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
    return write_at(fd, data, bytes, at);
}

API int ftruncate(int fd, off_t size)
{
    if (!is_watched(fd))
        return (int)syscall(SYS_ftruncate, fd, size);
    struct record r = {.kind = RECORD_TRUNCATE, .ino = ino_of(fd), .at = size};
    record_lock();
    return (int)finish(&r, record_inject(&r, NULL) ? -1 : syscall(SYS_ftruncate, fd, size));
}

static int sync_with(long call, int fd)
{
    if (!is_watched(fd))
        return (int)syscall(call, fd);
    char below[RECORD_PATH];
    struct record r = {.kind = RECORD_SYNC, .ino = ino_of(fd), .path = path_of(fd, below)};
    record_lock();
    return (int)finish(&r, record_inject(&r, NULL) ? -1 : syscall(call, fd));
}

API int fsync(int fd)
{
    return sync_with(SYS_fsync, fd);
}

API int fdatasync(int fd)
{
    return sync_with(SYS_fdatasync, fd);
}

/* What the model does not know: there must be none of these. */
static void other(int fd)
{
    struct record r = {.kind = RECORD_OTHER, .ino = ino_of(fd)};
    record_lock();
    finish(&r, 0);
}

API ssize_t writev(int fd, const struct iovec *part, int n)
{
    if (is_watched(fd))
        other(fd);
    return syscall(SYS_writev, fd, part, n);
}

/* ---- names ---- */

API int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char a[RECORD_PATH], b[RECORD_PATH];
    if (!record_below(from_dir, from, a) || !record_below(to_dir, to, b))
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
    struct record r = {.kind = RECORD_RENAME, .path = a, .to = b};
    record_lock();
    return (int)finish(&r,
                       record_inject(&r, NULL) ? -1 : syscall(SYS_renameat2, from_dir, from, to_dir, to, 0));
}

API int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

API int mkdirat(int dirfd, const char *path, mode_t mode)
{
    char below[RECORD_PATH];
    if (!record_below(dirfd, path, below))
        return (int)syscall(SYS_mkdirat, dirfd, path, mode);
    struct record r = {.kind = RECORD_MKDIR, .path = below};
    record_lock();
    return (int)finish(&r, record_inject(&r, NULL) ? -1 : syscall(SYS_mkdirat, dirfd, path, mode));
}

API int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

API int unlinkat(int dirfd, const char *path, int flags)
{
    char below[RECORD_PATH];
    if (!record_below(dirfd, path, below))
        return (int)syscall(SYS_unlinkat, dirfd, path, flags);
    struct record r = {.kind = flags & AT_REMOVEDIR ? RECORD_RMDIR : RECORD_UNLINK, .path = below};
    record_lock();
    return (int)finish(&r, record_inject(&r, NULL) ? -1 : syscall(SYS_unlinkat, dirfd, path, flags));
}

API int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

API int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

API int remove(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) ? rmdir(path) : unlink(path);
}

/* Names of the same calls where files are large by another name. */
API int open64(const char *path, int flags, ...) __attribute__((alias("open")));
API int openat64(int dirfd, const char *path, int flags, ...) __attribute__((alias("openat")));
API ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t at) __attribute__((alias("pwrite")));
API int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));
