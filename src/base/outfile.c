/* Files that are complete or absent. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fileio.h"
#include "base/fileio_fault.h"
#include "base/text.h"

/* ---- files written aside --------------------------------------------------------------------- */

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
        ddp_fail(err, DDP_E_IO, "%s: cannot create: %s", path, ddp_write_reason(e, path));
        return DDP_E_IO;
    }
    *out = f;
    return 0;
}

int ddp_outfile_write(struct ddp_outfile *f, const void *data, size_t bytes, struct ddp_error *err)
{
    return ddp_file_append(f->fd, f->path, data, bytes, err);
}

/* Its name in place of the temporary one, if status is 0; f is gone. */
static int publish(struct ddp_outfile *f, int status, bool durable, struct ddp_error *err)
{
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0 && status == 0)
        status = ddp_fail(err, DDP_E_IO, "%s: cannot close: %s", f->path, ddp_write_reason(errno, f->path));
    if (status == 0)
        status = durable ? ddp_path_rename(f->temporary, f->path, err)
                         : ddp_path_replace(f->temporary, f->path, err);
    if (status != 0)
        unlink(f->temporary);
    release(f);
    return status;
}

int ddp_outfile_commit(struct ddp_outfile *f, struct ddp_error *err)
{
    int status = 0;
    if (ddp_fault_hit(f->path) || fsync(f->fd) != 0)
        status = ddp_fail(err, DDP_E_IO, "%s: cannot sync: %s", f->path, ddp_write_reason(errno, f->path));
    return publish(f, status, true, err);
}

int ddp_outfile_publish(struct ddp_outfile *f, struct ddp_error *err)
{
    return publish(f, 0, false, err);
}

void ddp_outfile_abort(struct ddp_outfile *f)
{
    if (!f)
        return;
    unlink(f->temporary);
    release(f);
}

int ddp_outfile_of(const char *path, const void *data, size_t bytes, struct ddp_outfile **out,
                   struct ddp_error *err)
{
    int status = ddp_outfile_create(path, out, err);
    if (status)
        return status;
    status = ddp_outfile_write(*out, data, bytes, err);
    if (status)
        ddp_outfile_abort(*out);
    return status;
}

int ddp_file_write(const char *path, const void *data, size_t bytes, struct ddp_error *err)
{
    struct ddp_outfile *f = NULL;
    const int status = ddp_outfile_of(path, data, bytes, &f, err);
    return status ? status : ddp_outfile_commit(f, err);
}
