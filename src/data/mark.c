/* Telling data sets apart without reading all of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/data.h"

enum { PARTS = 16, PART = 4096 };

/* Its size, and PARTS pieces of it from the first byte to the last. */
static int add_file(const char *path, struct ddp_sha256 *sha, struct ddp_error *err)
{
    uint8_t piece[PART];
    struct stat st = {0};
    char size[32];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    int status = 0;
    if (fd < 0 || fstat(fd, &st) != 0)
        status = ddp_fail(err, DDP_E_IO, "%s: cannot open: %s", path, strerror(errno));
    if (status == 0)
        ddp_sha256_update(sha, size, (size_t)snprintf(size, sizeof size, "%lld\n", (long long)st.st_size));
    for (int i = 0; i < PARTS && status == 0; i++) {
        const off_t last = st.st_size > PART ? st.st_size - PART : 0,
                    at = last / (PARTS - 1) * i + last % (PARTS - 1) * i / (PARTS - 1);
        const ssize_t n = pread(fd, piece, sizeof piece, at);
        if (n < 0)
            status = ddp_fail(err, DDP_E_IO, "%s: cannot read: %s", path, strerror(errno));
        else
            ddp_sha256_update(sha, piece, (size_t)n);
    }
    if (fd >= 0)
        close(fd);
    return status;
}

static int mark_files(const struct ddp_dataset *ds, char hex[65], struct ddp_error *err)
{
    struct ddp_sha256 sha;
    const char *path;
    int status = 0;
    ddp_sha256_init(&sha);
    for (int i = 0; status == 0 && (path = ds->ops->file(ds->self, i)) != NULL; i++)
        status = add_file(path, &sha, err);
    ddp_sha256_hex(&sha, hex);
    return status;
}

int ddp_dataset_digest(const struct ddp_config *cfg, enum ddp_split split, char hex[65],
                       struct ddp_error *err)
{
    struct ddp_dataset *ds = NULL;
    int status = ddp_dataset_open(cfg, split, &ds, err);
    if (status == 0)
        status = ds->ops->digest(ds->self, hex, err);
    ddp_dataset_close(ds);
    return status;
}

int ddp_dataset_mark(const struct ddp_config *cfg, enum ddp_split split, char hex[65], struct ddp_error *err)
{
    struct ddp_dataset *ds = NULL;
    int status = ddp_dataset_glance(cfg, split, &ds, err);
    const bool files = status == 0 && ds->ops->file;
    if (files)
        status = mark_files(ds, hex, err);
    ddp_dataset_close(ds);
    return files || status ? status : ddp_dataset_digest(cfg, split, hex, err);
}
