/* The format "folder": pictures in folders of their classes, each decoded when it is asked for. What a folder
 * looks like is pack_scan.c's matter, so that packing it gives the same samples in the same order.
 *
 * The first training picture says which size all have, and whether they are in colour. Mean and deviation are
 * measured over at most STATS training pictures, evenly spread, all where there are fewer. */
#include <stdlib.h>
#include <string.h>

#include "data/formats.h"
#include "data/image.h"
#include "data/pack_scan.h"

enum { STATS = 2048, PROOFS = 16 };

struct folder {
    char *path;
    struct ddp_pack_scan scan;
    enum ddp_split split;
    struct ddp_dataset_info info;
};

static const struct ddp_pack_item *item_of(const struct folder *d, int split, int64_t index)
{
    return &d->scan.item[split][index];
}

/* A picture of any split in the form of the first. */
static int decode(const struct folder *d, const struct ddp_pack_item *item, uint8_t *pixels,
                  struct ddp_error *err)
{
    const struct ddp_shape *s = &d->info.shape;
    struct ddp_image image = {0};
    int status = ddp_image_read(item->path, s->c == 3 ? 3 : 0, 0, &image, err);
    if (status)
        return status;
    if (image.h != s->h || image.w != s->w)
        status =
            ddp_fail(err, DDP_E_DATA,
                     "%s has %d x %d pixels (width x height), and the first picture, %s, %d x %d: bring all "
                     "to one size (`ddp-data pack DIR OUT --size %dx%d` does), or move it away",
                     item->path, image.w, image.h, d->scan.item[0][0].path, s->w, s->h, s->w, s->h);
    else if (image.c != s->c)
        status = ddp_fail(err, DDP_E_DATA,
                          "%s is in colour, and the first picture, %s, is grey: make all grey or all colour "
                          "(`ddp-data pack DIR OUT` does), or move it away",
                          item->path, d->scan.item[0][0].path);
    else
        memcpy(pixels, image.p, (size_t)s->c * (size_t)s->h * (size_t)s->w);
    ddp_image_finish(&image);
    return status;
}

static int look_at_first(struct folder *d, struct ddp_error *err)
{
    struct ddp_image image = {0};
    const int status = ddp_image_read(item_of(d, 0, 0)->path, 0, 0, &image, err);
    if (status)
        return status;
    d->info.shape = (struct ddp_shape){image.c, image.h, image.w};
    d->info.count = d->scan.count[d->split];
    d->info.classes = d->scan.classes;
    d->info.left_out = d->scan.ignored;
    d->info.class_names = (const char *const *)d->scan.class_names;
    ddp_image_finish(&image);
    return 0;
}

/* Sample i of `most` that are spread evenly over n. */
static int64_t spread(int64_t i, int64_t most, int64_t n)
{
    return n <= most ? i : i * n / most;
}

static int measure(struct folder *d, struct ddp_error *err)
{
    const struct ddp_shape *s = &d->info.shape;
    const int64_t n = d->scan.count[0], most = n < STATS ? n : STATS;
    uint8_t *pixels = ddp_malloc((size_t)s->c * (size_t)s->h * (size_t)s->w);
    struct ddp_pixel_stats stats = {0};
    int status = 0;
    for (int64_t i = 0; i < most && status == 0; i++) {
        status = decode(d, item_of(d, 0, spread(i, most, n)), pixels, err);
        if (status == 0)
            ddp_pixel_stats_add(&stats, *s, pixels);
    }
    if (status == 0)
        ddp_pixel_stats_result(&stats, s->c, d->info.mean, d->info.std);
    free(pixels);
    return status;
}

static void folder_close(void *ds)
{
    struct folder *d = ds;
    ddp_pack_scan_finish(&d->scan);
    free(d->path);
    free(d);
}

static int folder_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                       struct ddp_error *err)
{
    if (!conf->path[0])
        return ddp_fail(err, DDP_E_CONFIG,
                        "data.path is not set: format \"folder\" wants the folder that holds train/CLASS and "
                        "test/CLASS, or CLASS");
    struct folder *d = ddp_calloc(1, sizeof *d);
    d->split = split;
    d->scan.at_fault = DDP_SPLITS_BOTH;
    d->path = ddp_data_path(conf, "");
    const struct ddp_pack_options opt = {.dir = d->path, .test_fraction = 0.1, .seed = conf->seed};
    int status = ddp_path_exists(d->path) ? ddp_pack_scan(&opt, &d->scan, err)
                                          : ddp_data_missing(conf, "folder of classes of pictures", err);
    ddp_data_blame(conf, d->scan.at_fault, status);
    if (status == 0)
        status = ddp_data_blame(conf, DDP_SPLIT_TRAIN, look_at_first(d, err));
    if (status == 0 && !conf->glance)
        status = ddp_data_blame(conf, DDP_SPLIT_TRAIN, measure(d, err));
    if (status) {
        folder_close(d);
        return status;
    }
    *out = d;
    return 0;
}

static void folder_info(const void *ds, struct ddp_dataset_info *info)
{
    *info = ((const struct folder *)ds)->info;
}

static int folder_get(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err)
{
    const struct folder *d = ds;
    if (index < 0 || index >= d->info.count)
        return ddp_fail(err, DDP_E_DATA, "%s: sample %lld of %lld asked for", d->path, (long long)index,
                        (long long)d->info.count);
    *label = item_of(d, d->split, index)->label;
    return decode(d, item_of(d, d->split, index), pixels, err);
}

static int folder_label(const void *ds, int64_t index, int32_t *label, struct ddp_error *err)
{
    (void)err;
    const struct folder *d = ds;
    *label = item_of(d, d->split, index)->label;
    return 0;
}

/* Of the files' bytes and their labels, in order; and of a few pictures as they are decoded, as another
 * version of the library may decode them otherwise. */
static int folder_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    const struct folder *d = ds;
    const struct ddp_shape *s = &d->info.shape;
    const int64_t n = d->info.count, proofs = n < PROOFS ? n : PROOFS;
    const size_t picture = (size_t)s->c * (size_t)s->h * (size_t)s->w;
    uint8_t *pixels = ddp_malloc(picture);
    struct ddp_sha256 sha;
    int status = 0;
    ddp_sha256_init(&sha);
    for (int64_t i = 0; i < n && status == 0; i++) {
        const struct ddp_pack_item *item = item_of(d, d->split, i);
        char *data;
        size_t bytes;
        status = ddp_file_read(item->path, (size_t)1 << 30, &data, &bytes, err);
        if (status)
            break;
        const int64_t head[2] = {(int64_t)bytes, item->label};
        ddp_sha256_update(&sha, head, sizeof head);
        ddp_sha256_update(&sha, data, bytes);
        free(data);
    }
    for (int64_t i = 0; i < proofs && status == 0; i++) {
        status = decode(d, item_of(d, d->split, spread(i, proofs, n)), pixels, err);
        if (status == 0)
            ddp_sha256_update(&sha, pixels, picture);
    }
    free(pixels);
    if (status == 0)
        ddp_sha256_hex(&sha, hex);
    return status;
}

static const char *folder_file(const void *ds, int i)
{
    const struct folder *d = ds;
    return i < d->info.count ? item_of(d, d->split, i)->path : NULL;
}

const struct ddp_dataset_ops ddp_folder_format = {
    .name = "folder",
    .doc = "folders of JPEG and PNG pictures, decoded as they are asked for",
    .open = folder_open,
    .info = folder_info,
    .get = folder_get,
    .digest = folder_digest,
    .close = folder_close,
    .label = folder_label,
    .file = folder_file,
};
