/* Files and folders that are synced later, together. */
#include "base/later.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fileio.h"

struct ddp_later {
    int n;
    struct {
        char *path;
        bool folder;
    } * item; /* in the order in which they were written, each once */
};

struct ddp_later *ddp_later_create(void)
{
    return ddp_calloc(1, sizeof(struct ddp_later));
}

static void forget(struct ddp_later *l)
{
    for (int i = 0; i < l->n; i++)
        free(l->item[i].path);
    free(l->item);
    *l = (struct ddp_later){0};
}

void ddp_later_destroy(struct ddp_later *l)
{
    if (l)
        forget(l);
    free(l);
}

static void note(struct ddp_later *l, const char *path, bool folder)
{
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->item[i].path, path) == 0)
            return;
    l->item = ddp_realloc(l->item, (size_t)(l->n + 1) * sizeof *l->item);
    l->item[l->n].path = ddp_strdup(path);
    l->item[l->n++].folder = folder;
}

int ddp_later_made(struct ddp_later *l, const char *path, struct ddp_error *err)
{
    char *parent = ddp_path_parent(path);
    int status = 0;
    if (l)
        note(l, parent, true);
    else
        status = ddp_dir_sync(parent, err);
    free(parent);
    return status;
}

static int note_parent(void *l, const char *path, struct ddp_error *err)
{
    return ddp_later_made(l, path, err);
}

int ddp_later_file(struct ddp_later *l, const char *path, const void *data, size_t bytes,
                   struct ddp_error *err)
{
    if (!l)
        return ddp_file_write(path, data, bytes, err);
    struct ddp_outfile *f = NULL;
    int status = ddp_outfile_of(path, data, bytes, &f, err);
    if (status == 0)
        status = ddp_outfile_publish(f, err);
    if (status)
        return status;
    note(l, path, false);
    return ddp_later_made(l, path, err);
}

int ddp_later_dir(struct ddp_later *l, const char *path, struct ddp_error *err)
{
    return l ? ddp_dir_make_each(path, note_parent, l, err) : ddp_dir_make(path, err);
}

static int sync_file(const char *path, struct ddp_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ddp_fail(err, DDP_E_IO, "%s: cannot open: %s", path, strerror(errno));
    const int status = ddp_file_sync(fd, path, err);
    close(fd);
    return status;
}

int ddp_later_settle(struct ddp_later *l, struct ddp_error *err)
{
    int status = 0;
    for (int i = 0; l && status == 0 && i < l->n; i++)
        status = l->item[i].folder ? ddp_dir_sync(l->item[i].path, err) : sync_file(l->item[i].path, err);
    if (l && status == 0)
        forget(l);
    return status;
}
