/* Whole reads, maps, and files written aside, synced and renamed; every call through the fault gate. */
#include "base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fileio_fault.h"

int ddp_file_read(const char *path, size_t limit, char **data, size_t *bytes, struct ddp_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ddp_fail(err, DDP_E_IO, "%s: cannot open: %s", path, strerror(errno));
    size_t cap = 65536, len = 0;
    char *buf = ddp_malloc(cap);
    for (;;) {
        if (cap - len < 32768) {
            cap *= 2;
            buf = ddp_realloc(buf, cap);
        }
        ssize_t n = read(fd, buf + len, cap - len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int e = errno;
            close(fd);
            free(buf);
            return ddp_fail(err, DDP_E_IO, "%s: cannot read: %s", path, strerror(e));
        }
        if (n == 0)
            break;
        len += (size_t)n;
        if (limit && len > limit) {
            close(fd);
            free(buf);
            return ddp_fail(err, DDP_E_IO, "%s: larger than the %zu bytes that are allowed here", path,
                            limit);
        }
    }
    close(fd);
    buf[len] = '\0';
    *data = buf;
    *bytes = len;
    return 0;
}

int ddp_file_append(int fd, const char *path, const void *data, size_t bytes, struct ddp_error *err)
{
    if (ddp_fault_hit(path))
        return ddp_fail(err, DDP_E_IO, "%s: cannot write: %s", path, ddp_write_reason(errno, path));
    const char *p = data;
    while (bytes > 0) {
        ssize_t n = write(fd, p, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ddp_fail(err, DDP_E_IO, "%s: cannot write: %s", path, ddp_write_reason(errno, path));
        p += n;
        bytes -= (size_t)n;
    }
    return 0;
}

int ddp_file_sync(int fd, const char *path, struct ddp_error *err)
{
    if (ddp_fault_hit(path) ||
        (fdatasync(fd) != 0 && errno != EINVAL)) /* EINVAL: a pipe, or the file system cannot */
        return ddp_fail(err, DDP_E_IO, "%s: cannot sync: %s", path, ddp_write_reason(errno, path));
    return 0;
}

char *ddp_path_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return ddp_strdup(".");
    char *parent = ddp_strdup(path);
    parent[slash == path ? 1 : slash - path] = '\0';
    return parent;
}

/* What was made, renamed or removed in the folder of `path` is there after a power cut. */
static int sync_parent(void *user, const char *path, struct ddp_error *err)
{
    (void)user;
    char *parent = ddp_path_parent(path);
    const int status = ddp_dir_sync(parent, err);
    free(parent);
    return status;
}

int ddp_dir_make(const char *path, struct ddp_error *err)
{
    return ddp_dir_make_each(path, sync_parent, NULL, err);
}

int ddp_dir_make_each(const char *path, int (*each)(void *user, const char *folder, struct ddp_error *err),
                      void *user, struct ddp_error *err)
{
    char *copy = ddp_strdup(path);
    int status = 0;
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char old = *p;
        *p = '\0';
        struct stat st;
        bool there = stat(copy, &st) == 0;
        if (there && !S_ISDIR(st.st_mode)) {
            status = ddp_fail(err, DDP_E_IO, "%s: cannot make this folder: %s is a file", path, copy);
            break;
        }
        if (!there && (ddp_fault_hit(copy) || (mkdir(copy, 0777) != 0 && errno != EEXIST))) {
            status = ddp_fail(err, DDP_E_IO, "%s: cannot make this folder: %s", path,
                              ddp_write_reason(errno, path));
            break;
        }
        if (!there && (status = each(user, copy, err)))
            break;
        *p = old;
        if (old == '\0')
            break;
    }
    free(copy);
    return status;
}

int ddp_dir_add(const char *path, struct ddp_error *err)
{
    if (ddp_fault_hit(path) || (mkdir(path, 0777) != 0 && errno != EEXIST))
        return ddp_fail(err, DDP_E_IO, "%s: cannot make this folder: %s", path,
                        ddp_write_reason(errno, path));
    return 0;
}

int ddp_dir_sync(const char *path, struct ddp_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES)
        return 0; /* a folder that may be written and not read: there is no way to sync it */
    if (fd < 0)
        return ddp_fail(err, DDP_E_IO, "%s: cannot open: %s", path, strerror(errno));
    int bad = ddp_fault_hit(path) || (fsync(fd) != 0 && errno != EINVAL); /* EINVAL: the file system cannot */
    int e = errno;
    close(fd);
    return bad ? ddp_fail(err, DDP_E_IO, "%s: cannot sync: %s", path, ddp_write_reason(e, path)) : 0;
}

int ddp_path_replace(const char *from, const char *to, struct ddp_error *err)
{
    if (ddp_fault_hit(to) || rename(from, to) != 0) {
        const int e = errno;
        const int status =
            ddp_fail(err, DDP_E_IO, "%s: cannot rename from %s: %s", to, from, ddp_write_reason(e, to));
        errno = e;
        return status;
    }
    errno = 0;
    return 0;
}

int ddp_path_rename(const char *from, const char *to, struct ddp_error *err)
{
    const int status = ddp_path_replace(from, to, err);
    return status ? status : sync_parent(NULL, to, err);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path) != 0 && errno != ENOENT;
}

int ddp_dir_remove(const char *path, struct ddp_error *err)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return ddp_fail(err, DDP_E_IO, "%s: cannot remove: %s", path, strerror(errno));
    return 0;
}

bool ddp_path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}
