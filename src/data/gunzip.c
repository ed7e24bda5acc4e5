/* A file mapped, its members inflated one after the other. */
#include "data/gunzip.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { GZIP = 15 + 16, SKIP = 1 << 16 }; /* window bits, and gzip's head and checksum around it */

struct ddp_gunzip {
    char *path;
    const uint8_t *data;
    size_t bytes, at; /* at: the next byte to give to zlib */
    z_stream z;
    bool inside; /* of a member */
};

int ddp_gunzip_open(const char *path, struct ddp_gunzip **out, struct ddp_error *err)
{
    struct ddp_gunzip *g = ddp_calloc(1, sizeof *g);
    const void *data;
    int status = ddp_file_map(path, &data, &g->bytes, err);
    if (status) {
        free(g);
        return status;
    }
    g->data = data;
    g->path = ddp_strdup(path);
    if (inflateInit2(&g->z, GZIP) != Z_OK) {
        ddp_gunzip_close(g);
        return ddp_fail(err, DDP_E_RESOURCE, "%s: no memory to unpack it", path);
    }
    *out = g;
    return 0;
}

void ddp_gunzip_close(struct ddp_gunzip *g)
{
    if (!g)
        return;
    inflateEnd(&g->z);
    ddp_file_unmap(g->data, g->bytes);
    free(g->path);
    free(g);
}

size_t ddp_gunzip_packed(const struct ddp_gunzip *g)
{
    return g->bytes;
}

/* Behind a member, or at the beginning: the file's end, or the next member. */
static int next_member(struct ddp_gunzip *g, struct ddp_error *err)
{
    const size_t left = g->bytes - g->at;
    if (left < 2 || g->data[g->at] != 0x1f || g->data[g->at + 1] != 0x8b)
        return g->at ? ddp_fail(
                           err, DDP_E_DATA,
                           "%s is damaged: %zu bytes that are no gzip follow the packed data; fetch it again",
                           g->path, left)
                     : ddp_fail(err, DDP_E_DATA, "%s does not unpack (it is no gzip file); fetch it again",
                                g->path);
    inflateReset(&g->z);
    g->inside = true;
    return 0;
}

/* One call of zlib: room bytes to `to` at most. */
static int inflate_some(struct ddp_gunzip *g, uint8_t *to, size_t room, size_t *got, struct ddp_error *err)
{
    const size_t left = g->bytes - g->at;
    const uInt in = left > UINT_MAX / 2 ? UINT_MAX / 2 : (uInt)left;
    const uInt space = room > UINT_MAX / 2 ? UINT_MAX / 2 : (uInt)room;
    g->z.next_in = (Bytef *)(uintptr_t)(g->data + g->at);
    g->z.avail_in = in;
    g->z.next_out = to;
    g->z.avail_out = space;
    const int rc = inflate(&g->z, Z_NO_FLUSH);
    g->at += in - g->z.avail_in;
    *got = space - g->z.avail_out;
    if (rc == Z_STREAM_END)
        g->inside = false;
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
        return ddp_fail(err, DDP_E_DATA, "%s is damaged: it does not unpack (%s); fetch it again", g->path,
                        g->z.msg ? g->z.msg : zError(rc));
    else if (g->at == g->bytes && *got == 0)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is truncated: it does not unpack (the packed data has no end); fetch it "
                        "again",
                        g->path);
    return 0;
}

int ddp_gunzip_read(struct ddp_gunzip *g, void *to, size_t n, size_t *got, struct ddp_error *err)
{
    uint8_t *scratch = to ? NULL : ddp_malloc(SKIP);
    int status = 0;
    *got = 0;
    while (*got < n && status == 0 && (g->inside || g->at < g->bytes || g->at == 0)) {
        size_t some = 0, room = to || n - *got < SKIP ? n - *got : SKIP;
        if (!g->inside)
            status = next_member(g, err);
        if (status == 0)
            status = inflate_some(g, to ? (uint8_t *)to + *got : scratch, room, &some, err);
        *got += some;
    }
    free(scratch);
    return status;
}
