/* Files that are complete or absent, and the gate for injected faults. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fileio.h"
#include "base/fileio_fault.h"
#include "base/text.h"

/* ---- faults
 * -------------------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    bool read_env;
    long fail_from; /* 0: never */
    int error;
    char substring[256];
    long counted;
} fault = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void read_environment(void)
{
    fault.read_env = true;
    const char *env = getenv("DDP_TEST_FAULT");
    if (!env)
        return;
    char text[512];
    snprintf(text, sizeof text, "%s", env);
    char *save = NULL, *n = strtok_r(text, ":", &save), *e = strtok_r(NULL, ":", &save),
         *s = strtok_r(NULL, "", &save);
    int64_t from = 0, error = 0;
    if (n && e && ddp_parse_int(n, &from) && ddp_parse_int(e, &error)) {
        fault.fail_from = from;
        fault.error = (int)error;
        snprintf(fault.substring, sizeof fault.substring, "%s", s ? s : "");
    }
}

bool ddp_fault_hit(const char *path)
{
    pthread_mutex_lock(&fault.lock);
    if (!fault.read_env)
        read_environment();
    bool hit = false;
    if (strstr(path, fault.substring)) {
        fault.counted++;
        hit = fault.fail_from && fault.counted >= fault.fail_from;
    }
    int error = fault.error;
    pthread_mutex_unlock(&fault.lock);
    if (hit)
        errno = error;
    return hit;
}

long ddp_fileio_fault(long n, int errno_value, const char *substring)
{
    pthread_mutex_lock(&fault.lock);
    fault.read_env = true;
    long counted = fault.counted;
    fault.counted = 0;
    fault.fail_from = n;
    fault.error = errno_value;
    snprintf(fault.substring, sizeof fault.substring, "%s", substring ? substring : "");
    pthread_mutex_unlock(&fault.lock);
    return counted;
}

const char *ddp_write_reason(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
        return "the disk is full; free some space or choose another folder with run.dir";
    case EDQUOT:
        return "the disk quota is used up; free some space or choose another folder with run.dir";
    case EROFS:
        return "the file system is read-only; choose another folder with run.dir";
    case EACCES:
        return "permission denied; choose a folder of your own with run.dir";
    default:
        return strerror(errno_value);
    }
}

/* ---- files written aside
 * ------------------------------------------------------------------------------------- */

struct ddp_outfile {
    int fd;
    char *path, *temporary;
};

static void release(struct ddp_outfile *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->path);
    free(f->temporary);
    free(f);
}

int ddp_outfile_create(const char *path, struct ddp_outfile **out, struct ddp_error *err)
{
    struct ddp_outfile *f = ddp_calloc(1, sizeof *f);
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "%s.tmp-%d", path, (int)getpid());
    f->path = ddp_strdup(path);
    f->temporary = t.s;
    f->fd = ddp_fault_hit(path) ? -1 : open(f->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0) {
        int e = errno;
        release(f);
        return ddp_fail(err, DDP_E_IO, "%s: cannot create: %s", path, ddp_write_reason(e));
    }
    *out = f;
    return 0;
}

int ddp_outfile_write(struct ddp_outfile *f, const void *data, size_t bytes, struct ddp_error *err)
{
    return ddp_file_append(f->fd, f->path, data, bytes, err);
}

int ddp_outfile_commit(struct ddp_outfile *f, struct ddp_error *err)
{
    int status = 0;
    if (ddp_fault_hit(f->path) || fsync(f->fd) != 0)
        status = ddp_fail(err, DDP_E_IO, "%s: cannot sync: %s", f->path, ddp_write_reason(errno));
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0 && status == 0)
        status = ddp_fail(err, DDP_E_IO, "%s: cannot close: %s", f->path, ddp_write_reason(errno));
    if (status == 0)
        status = ddp_path_rename(f->temporary, f->path, err);
    if (status != 0)
        unlink(f->temporary);
    release(f);
    return status;
}

void ddp_outfile_abort(struct ddp_outfile *f)
{
    if (!f)
        return;
    unlink(f->temporary);
    release(f);
}

int ddp_file_write(const char *path, const void *data, size_t bytes, struct ddp_error *err)
{
    struct ddp_outfile *f = NULL;
    int status = ddp_outfile_create(path, &f, err);
    if (status || !f)
        return status;
    status = ddp_outfile_write(f, data, bytes, err);
    if (status) {
        ddp_outfile_abort(f);
        return status;
    }
    return ddp_outfile_commit(f, err);
}
