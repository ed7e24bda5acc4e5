/* Packing: scan folders -> head, names and labels -> decode, resize and write pictures in chunks -> tail.
 * Pictures are written as they come, so that a set larger than memory can be packed. */
#include "data/pack.h"

#include <stdlib.h>
#include <string.h>

#include "data/image.h"
#include "data/pack_scan.h"
#include "data/packed.h"

enum { CHUNK_BYTES = 32 << 20, CHUNK_MOST = 512 };

/* One chunk of pictures, decoded by all threads. */
struct chunk {
    const struct ddp_pack_options *opt;
    const struct ddp_pack_item *item, *first; /* first: the picture that set the size */
    struct ddp_shape shape;
    uint8_t *pixels;              /* [n][c][h][w] */
    struct ddp_error *err, worst; /* err: [n]; worst: of the first bad picture */
};

static void decode_one(void *ctx, int task)
{
    struct chunk *k = ctx;
    const char *path = k->item[task].path;
    struct ddp_error *err = &k->err[task];
    size_t picture = (size_t)k->shape.c * (size_t)k->shape.h * (size_t)k->shape.w;
    uint8_t *to = k->pixels + (size_t)task * picture;
    struct ddp_image image = {0};
    err->code = 0;
    if (ddp_image_read(path, k->shape.c, k->opt->max_pixels, &image, err))
        return;
    if (image.h == k->shape.h && image.w == k->shape.w) {
        memcpy(to, image.p, picture);
    } else if (k->opt->width) {
        struct ddp_image small = {k->shape.c, k->shape.h, k->shape.w, to};
        ddp_image_resize(&image, !k->opt->stretch, &small);
    } else {
        ddp_fail(err, DDP_E_DATA,
                 "%s has %d x %d pixels, but %s has %d x %d; say --size WxH to bring all to one size", path,
                 image.w, image.h, k->first->path, k->shape.w, k->shape.h);
    }
    ddp_image_finish(&image);
}

static int write_zeros(struct ddp_outfile *f, uint64_t from, uint64_t to, struct ddp_error *err)
{
    static const uint8_t zeros[4096];
    return to > from ? ddp_outfile_write(f, zeros, (size_t)(to - from), err) : 0; /* gaps are below 4096 */
}

static int write_front(struct ddp_outfile *f, struct ddp_packed_head *head, const struct ddp_pack_scan *scan,
                       const char *names, struct ddp_error *err)
{
    ddp_packed_seal_head(head, names);
    int rc = ddp_outfile_write(f, head, sizeof *head, err);
    if (!rc)
        rc = ddp_outfile_write(f, names, head->names_bytes, err);
    if (!rc)
        rc = write_zeros(f, sizeof *head + head->names_bytes, head->labels_at, err);
    for (int s = 0; !rc && s < 2; s++) {
        int32_t *label = ddp_malloc((size_t)scan->count[s] * sizeof *label);
        for (int64_t i = 0; i < scan->count[s]; i++)
            label[i] = scan->item[s][i].label;
        rc = ddp_outfile_write(f, label, (size_t)scan->count[s] * sizeof *label, err);
        free(label);
    }
    uint64_t labels_end = head->labels_at + (head->count[0] + head->count[1]) * sizeof(int32_t);
    return rc ? rc : write_zeros(f, labels_end, head->pixels_at, err);
}

static bool stopped(const struct ddp_pack_options *opt)
{
    return opt->stop && *opt->stop;
}

static int stopped_error(const struct ddp_pack_options *opt, struct ddp_error *err)
{
    return ddp_fail(err, DDP_E_STOPPED, "stopped; %s was not written", opt->out);
}

/* Decode items [at, at + n) of a split. Returns how many of them are bad, and tells of each; out (may be
 * NULL) marks them. */
static int64_t decode_chunk(struct chunk *k, const struct ddp_pack_scan *scan, int split, int64_t at, int n,
                            struct ddp_pool *pool, bool *out)
{
    int64_t bad = 0;
    k->item = scan->item[split] + at;
    ddp_parallel(pool, n, decode_one, k);
    for (int i = 0; i < n; i++) {
        if (out)
            out[at + i] = k->err[i].code != 0;
        if (!k->err[i].code)
            continue;
        bad++;
        if (!k->worst.code)
            k->worst = k->err[i];
        if (k->opt->bad)
            k->opt->bad(k->opt->user, k->err[i].text);
    }
    return bad;
}

/* Pictures of one split: decode a chunk, then write, count and hash it in order. After a bad one the
 * others are still decoded, so that all bad ones are told of, and no longer written. */
static int write_split(struct ddp_outfile *f, struct chunk *k, const struct ddp_pack_scan *scan, int split,
                       struct ddp_pool *pool, int most, struct ddp_pixel_stats *stats, struct ddp_sha256 *sha,
                       int64_t *bad, struct ddp_error *err)
{
    const struct ddp_pack_options *opt = k->opt;
    int64_t total = scan->count[0] + scan->count[1], done = split ? scan->count[0] : 0;
    size_t picture = (size_t)k->shape.c * (size_t)k->shape.h * (size_t)k->shape.w;
    for (int64_t i = 0; i < scan->count[split]; i++)
        ddp_sha256_update(sha, &scan->item[split][i].label, sizeof(int32_t));
    for (int64_t at = 0; at < scan->count[split]; at += most) {
        int n = scan->count[split] - at < most ? (int)(scan->count[split] - at) : most;
        if (stopped(opt))
            return stopped_error(opt, err);
        *bad += decode_chunk(k, scan, split, at, n, pool, NULL);
        if (opt->progress)
            opt->progress(opt->user, done + at + n, total);
        if (*bad)
            continue;
        for (int i = 0; i < n && split == 0; i++)
            ddp_pixel_stats_add(stats, k->shape, k->pixels + (size_t)i * picture);
        ddp_sha256_update(sha, k->pixels, (size_t)n * picture);
        int rc = ddp_outfile_write(f, k->pixels, (size_t)n * picture, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* skip_bad: decode everything once and take out of the scan what is bad. */
static int drop_bad(struct chunk *k, struct ddp_pack_scan *scan, struct ddp_pool *pool, int most,
                    int64_t *bad, struct ddp_error *err)
{
    for (int s = 0; s < 2; s++) {
        bool *out = ddp_calloc((size_t)scan->count[s] + 1, sizeof *out);
        for (int64_t at = 0; at < scan->count[s] && !stopped(k->opt); at += most) {
            int n = scan->count[s] - at < most ? (int)(scan->count[s] - at) : most;
            *bad += decode_chunk(k, scan, s, at, n, pool, out);
        }
        if (!stopped(k->opt))
            ddp_pack_scan_drop(scan, s, out);
        free(out);
        if (stopped(k->opt))
            return stopped_error(k->opt, err);
        if (scan->count[s] == 0)
            return ddp_fail(err, DDP_E_DATA, "no picture of %s is left for %s: all are bad", k->opt->dir,
                            s ? "testing" : "training");
    }
    return 0;
}

static void unhex(const char *hex, uint8_t out[32])
{
    for (int i = 0; i < 32; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(two, NULL, 16);
    }
}

/* Channels of the set: asked for, else three if any picture has colour. */
static int settle_channels(const struct ddp_pack_options *opt, const struct ddp_pack_scan *scan, bool *mixed,
                           struct ddp_error *err)
{
    int64_t colour = 0;
    if (opt->channels)
        return opt->channels;
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < scan->count[s]; i++) {
            bool has = false;
            if (ddp_image_colour(scan->item[s][i].path, &has, err) != 0)
                has = false; /* decoding it will say why */
            colour += has;
        }
    *mixed = colour > 0 && colour < scan->count[0] + scan->count[1];
    return colour ? 3 : 1;
}

/* The shape that all pictures will have: asked for, or that of the first one that is good. */
static int settle_shape(const struct ddp_pack_options *opt, const struct ddp_pack_scan *scan,
                        struct ddp_shape *shape, const struct ddp_pack_item **first, bool *mixed,
                        struct ddp_error *err)
{
    const int channels = settle_channels(opt, scan, mixed, err);
    *first = &scan->item[0][0];
    *shape = (struct ddp_shape){channels, opt->height, opt->width};
    int rc = 0;
    for (int64_t i = 0; !opt->height && i < scan->count[0]; i++) {
        struct ddp_image image = {0};
        rc = ddp_image_read(scan->item[0][i].path, channels, opt->max_pixels, &image, err);
        if (rc)
            continue;
        *first = &scan->item[0][i];
        *shape = (struct ddp_shape){channels, image.h, image.w};
        ddp_image_finish(&image);
        break;
    }
    return rc;
}

int ddp_pack_run(const struct ddp_pack_options *opt, struct ddp_pack_result *result, struct ddp_error *err)
{
    if ((opt->width > 0) != (opt->height > 0) || opt->width < 0 || opt->height < 0 || opt->width > 32768 ||
        opt->height > 32768 || opt->threads < 1 || !(opt->test_fraction >= 0.0 && opt->test_fraction < 1.0) ||
        (opt->channels != 0 && opt->channels != 1 && opt->channels != 3))
        return ddp_fail(err, DDP_E_USAGE,
                        "pack: a size is 1x1 to 32768x32768, a test fraction from 0 to below 1");

    struct ddp_pack_scan scan;
    int rc = ddp_pack_scan(opt, &scan, err);
    if (rc)
        return rc;
    struct chunk chunk = {.opt = opt};
    struct ddp_pool *pool = NULL;
    struct ddp_outfile *file = NULL;
    struct ddp_packed_head head = {
        .magic = DDP_PACKED_MAGIC, .order = DDP_PACKED_ORDER, .version = DDP_PACKED_VERSION};
    struct ddp_packed_tail tail = {.magic = DDP_PACKED_MAGIC};
    struct ddp_pixel_stats stats = {0};
    struct ddp_pack_result r = {.classes = scan.classes, .ignored = scan.ignored};
    struct ddp_text names;
    ddp_text_init(&names);

    rc = settle_shape(opt, &scan, &chunk.shape, &chunk.first, &r.mixed, err);
    if (rc)
        goto out;
    size_t picture = (size_t)chunk.shape.c * (size_t)chunk.shape.h * (size_t)chunk.shape.w;
    int most = CHUNK_BYTES / picture < 1            ? 1
               : CHUNK_BYTES / picture > CHUNK_MOST ? CHUNK_MOST
                                                    : (int)(CHUNK_BYTES / picture);
    chunk.pixels = ddp_malloc((size_t)most * picture);
    chunk.err = ddp_calloc((size_t)most, sizeof *chunk.err);
    rc = ddp_pool_create(opt->threads, NULL, 0, &pool, err);
    if (!rc && opt->skip_bad)
        rc = drop_bad(&chunk, &scan, pool, most, &r.bad, err);
    if (rc)
        goto out;
    r.count[0] = scan.count[0];
    r.count[1] = scan.count[1];
    for (int i = 0; i < scan.classes; i++)
        ddp_text_append(&names, scan.class_names[i], strlen(scan.class_names[i]) + 1);
    head.c = (uint32_t)chunk.shape.c;
    head.h = (uint32_t)chunk.shape.h;
    head.w = (uint32_t)chunk.shape.w;
    head.classes = (uint32_t)scan.classes;
    head.count[0] = (uint64_t)scan.count[0];
    head.count[1] = (uint64_t)scan.count[1];
    head.names_bytes = names.len;
    if (!ddp_packed_layout(&head)) {
        rc = ddp_fail(err, DDP_E_DATA, "the pictures of %s are too many for one file", opt->dir);
        goto out;
    }
    int64_t bad = 0;
    rc = ddp_outfile_create(opt->out, &file, err);
    if (!rc)
        rc = write_front(file, &head, &scan, names.s, err);
    for (int s = 0; !rc && s < 2; s++) {
        struct ddp_sha256 sha;
        ddp_sha256_init(&sha);
        rc = write_split(file, &chunk, &scan, s, pool, most, &stats, &sha, &bad, err);
        ddp_sha256_hex(&sha, r.digest[s]);
        unhex(r.digest[s], tail.digest[s]);
    }
    if (!rc && bad)
        rc = ddp_fail(err, chunk.worst.code,
                      "%lld of %lld pictures are bad (--skip-bad leaves them out), the first: %s",
                      (long long)bad, (long long)scan.count[0] + (long long)scan.count[1], chunk.worst.text);
    if (!rc && stopped(opt))
        rc = stopped_error(opt, err);
    if (!rc)
        rc = write_zeros(file, head.pixels_at + (head.count[0] + head.count[1]) * picture, head.tail_at, err);
    ddp_pixel_stats_result(&stats, chunk.shape.c, tail.mean, tail.std);
    ddp_packed_seal_tail(&tail);
    if (!rc)
        rc = ddp_outfile_write(file, &tail, sizeof tail, err);
    if (rc)
        goto out;
    rc = ddp_outfile_commit(file, err);
    file = NULL;
    if (rc)
        goto out;
    r.c = chunk.shape.c;
    r.h = chunk.shape.h;
    r.w = chunk.shape.w;
    *result = r;
out:
    ddp_outfile_abort(file);
    ddp_pool_destroy(pool);
    free(chunk.err);
    free(chunk.pixels);
    ddp_text_finish(&names);
    ddp_pack_scan_finish(&scan);
    return rc;
}
