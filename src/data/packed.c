/* The format "packed": one mapped file, made by `ddp-data pack`. See packed.h for its layout. */
#include "data/packed.h"

#include <stdlib.h>
#include <string.h>
#include <nettle/sha2.h>

struct packed {
    char *path;
    const uint8_t *map;
    size_t bytes;
    struct ddp_packed_head head;
    struct ddp_packed_tail tail;
    enum ddp_split split;
    const char **names;
    const int32_t *labels; /* of the split, in the map */
    const uint8_t *pixels;
    size_t picture;
};

static void sha_of(const void *a, size_t na, const void *b, size_t nb, uint8_t out[32])
{
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    sha256_update(&ctx, na, a);
    if (nb)
        sha256_update(&ctx, nb, b);
    sha256_digest(&ctx, 32, out);
}

bool ddp_packed_layout(struct ddp_packed_head *head)
{
    uint64_t picture, samples, labels, pixels;
    if (__builtin_mul_overflow((uint64_t)head->c * head->h, (uint64_t)head->w, &picture) ||
        __builtin_add_overflow(head->count[0], head->count[1], &samples) ||
        __builtin_mul_overflow(samples, sizeof(int32_t), &labels) ||
        __builtin_mul_overflow(samples, picture, &pixels) || head->names_bytes > UINT64_C(1) << 40 ||
        labels > UINT64_C(1) << 60 || pixels > UINT64_C(1) << 60)
        return false;
    head->labels_at = (DDP_PACKED_HEAD_BYTES + head->names_bytes + 63) / 64 * 64;
    head->pixels_at = (head->labels_at + labels + 4095) / 4096 * 4096;
    head->tail_at = (head->pixels_at + pixels + 63) / 64 * 64;
    head->file_bytes = head->tail_at + sizeof(struct ddp_packed_tail);
    return true;
}

void ddp_packed_seal_head(struct ddp_packed_head *head, const char *names)
{
    sha_of(head, offsetof(struct ddp_packed_head, sha256), names, head->names_bytes, head->sha256);
}

void ddp_packed_seal_tail(struct ddp_packed_tail *tail)
{
    sha_of(tail, offsetof(struct ddp_packed_tail, sha256), NULL, 0, tail->sha256);
}

/* Head, names, sizes and tail, in that order: nothing is believed before what it stands on is checked. */
static int check_head(const struct packed *d, struct ddp_error *err)
{
    const struct ddp_packed_head *h = &d->head;
    if (memcmp(h->magic, DDP_PACKED_MAGIC, sizeof h->magic) != 0)
        return ddp_fail(err, DDP_E_DATA, "%s is no packed data set; make one with `ddp-data pack DIR OUT`",
                        d->path);
    if (h->order != DDP_PACKED_ORDER)
        return ddp_fail(err, DDP_E_DATA,
                        "%s was packed on a machine of the other byte order; pack it again on this one",
                        d->path);
    if (h->version != DDP_PACKED_VERSION)
        return ddp_fail(err, DDP_E_DATA,
                        "%s has version %u of the packed format, this program reads version %d; pack it "
                        "again",
                        d->path, (unsigned)h->version, DDP_PACKED_VERSION);
    struct ddp_packed_head want = *h;
    uint8_t sha[32];
    bool names_there = h->names_bytes <= d->bytes - sizeof *h;
    if (names_there) {
        sha_of(h, offsetof(struct ddp_packed_head, sha256), d->map + sizeof *h, h->names_bytes, sha);
        names_there = memcmp(sha, h->sha256, sizeof sha) == 0;
    }
    if (!names_there || !ddp_packed_layout(&want) || memcmp(&want, h, sizeof want) != 0)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is damaged: its header does not match its checksum; pack it again", d->path);
    if (h->file_bytes != d->bytes)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is %s: it has %zu bytes, its header says %llu; pack or copy it again", d->path,
                        d->bytes < h->file_bytes ? "truncated" : "damaged", d->bytes,
                        (unsigned long long)h->file_bytes);
    if (h->c < 1 || h->c > 4 || h->h < 1 || h->h > 32768 || h->w < 1 || h->w > 32768 || h->classes < 1 ||
        h->classes > INT32_MAX)
        return ddp_fail(err, DDP_E_DATA,
                        "%s describes %u classes of pictures [%u, %u, %u], which no program writes", d->path,
                        (unsigned)h->classes, (unsigned)h->c, (unsigned)h->h, (unsigned)h->w);
    return 0;
}

static int check_tail(const struct packed *d, struct ddp_error *err)
{
    struct ddp_packed_tail want = d->tail;
    ddp_packed_seal_tail(&want);
    if (memcmp(want.magic, DDP_PACKED_MAGIC, sizeof want.magic) != 0 ||
        memcmp(want.sha256, d->tail.sha256, sizeof want.sha256) != 0)
        return ddp_fail(err, DDP_E_DATA, "%s is damaged: its end does not match its checksum; pack it again",
                        d->path);
    return 0;
}

static int read_names(struct packed *d, struct ddp_error *err)
{
    const char *s = (const char *)d->map + sizeof d->head, *end = s + d->head.names_bytes;
    uint64_t found = 0;
    for (const char *p = s; p < end; p++)
        found += *p == '\0';
    if (found != d->head.classes || (end > s && end[-1] != '\0'))
        return ddp_fail(err, DDP_E_DATA, "%s is damaged: %llu class names for %u classes", d->path,
                        (unsigned long long)found, (unsigned)d->head.classes);
    d->names = ddp_calloc(d->head.classes, sizeof *d->names);
    for (uint32_t i = 0; i < d->head.classes; i++, s += strlen(s) + 1)
        d->names[i] = s;
    return 0;
}

static int check_labels(const struct packed *d, struct ddp_error *err)
{
    for (uint64_t i = 0; i < d->head.count[d->split]; i++)
        if (d->labels[i] < 0 || d->labels[i] >= (int32_t)d->head.classes)
            return ddp_fail(err, DDP_E_DATA,
                            "%s is damaged: label %d of sample %llu is out of range; allowed are 0..%d",
                            d->path, (int)d->labels[i], (unsigned long long)i, (int)d->head.classes - 1);
    return 0;
}

static int check_pixels(const struct packed *d, struct ddp_error *err)
{
    uint8_t sha[32];
    sha_of(d->labels, d->head.count[d->split] * sizeof(int32_t), d->pixels,
           d->head.count[d->split] * d->picture, sha);
    if (memcmp(sha, d->tail.digest[d->split], sizeof sha) != 0)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is damaged: the pictures do not match their checksum; pack or copy it again",
                        d->path);
    return 0;
}

static void packed_close(void *ds)
{
    struct packed *d = ds;
    ddp_file_unmap(d->map, d->bytes);
    free(d->names);
    free(d->path);
    free(d);
}

static int packed_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                       struct ddp_error *err)
{
    if (!conf->path[0])
        return ddp_fail(err, DDP_E_CONFIG,
                        "data.path is not set: format \"packed\" wants the file that `ddp-data pack` wrote");
    struct packed *d = ddp_calloc(1, sizeof *d);
    d->split = split;
    d->path = ddp_data_path(conf, "");
    int rc;
    if (!ddp_path_exists(d->path)) {
        char what[600];
        snprintf(what, sizeof what, "packed file (made by `ddp-data pack DIR OUT`)");
        rc = ddp_data_missing(conf, what, err);
        goto fail;
    }
    const void *map;
    rc = ddp_file_map(d->path, &map, &d->bytes, err);
    if (rc)
        goto fail;
    d->map = map;
    if (d->bytes < sizeof d->head + sizeof d->tail) {
        rc = ddp_fail(err, DDP_E_DATA, "%s is truncated or no packed data set: %zu bytes, fewer than any has",
                      d->path, d->bytes);
        goto fail;
    }
    memcpy(&d->head, d->map, sizeof d->head);
    rc = check_head(d, err);
    if (rc)
        goto fail;
    memcpy(&d->tail, d->map + d->head.tail_at, sizeof d->tail);
    d->picture = (size_t)d->head.c * d->head.h * d->head.w;
    uint64_t skip = split == DDP_SPLIT_TEST ? d->head.count[0] : 0;
    d->labels = (const int32_t *)(const void *)(d->map + d->head.labels_at) + skip;
    d->pixels = d->map + d->head.pixels_at + skip * d->picture;
    rc = check_tail(d, err);
    if (!rc)
        rc = read_names(d, err);
    if (!rc)
        rc = check_labels(d, err);
    if (!rc && conf->verify)
        rc = check_pixels(d, err);
    if (rc)
        goto fail;
    *out = d;
    return 0;
fail:
    packed_close(d);
    return rc;
}

static void packed_info(const void *ds, struct ddp_dataset_info *info)
{
    const struct packed *d = ds;
    *info = (struct ddp_dataset_info){
        .count = (int64_t)d->head.count[d->split],
        .shape = {(int)d->head.c, (int)d->head.h, (int)d->head.w},
        .classes = (int)d->head.classes,
        .class_names = d->names,
    };
    memcpy(info->mean, d->tail.mean, sizeof info->mean);
    memcpy(info->std, d->tail.std, sizeof info->std);
}

static int packed_get(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err)
{
    const struct packed *d = ds;
    if (index < 0 || index >= (int64_t)d->head.count[d->split])
        return ddp_fail(err, DDP_E_DATA, "%s: sample %lld of %llu asked for", d->path, (long long)index,
                        (unsigned long long)d->head.count[d->split]);
    memcpy(pixels, d->pixels + (size_t)index * d->picture, d->picture);
    *label = d->labels[index];
    return 0;
}

static int packed_label(const void *ds, int64_t index, int32_t *label, struct ddp_error *err)
{
    (void)err;
    *label = ((const struct packed *)ds)->labels[index];
    return 0;
}

static int packed_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    (void)err;
    const struct packed *d = ds;
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", d->tail.digest[d->split][i]);
    return 0;
}

static const char *packed_file(const void *ds, int i)
{
    return i == 0 ? ((const struct packed *)ds)->path : NULL;
}

const struct ddp_dataset_ops ddp_packed_format = {
    .name = "packed",
    .doc = "one file made from folders of JPEG and PNG pictures by ddp-data pack",
    .open = packed_open,
    .info = packed_info,
    .get = packed_get,
    .digest = packed_digest,
    .close = packed_close,
    .label = packed_label,
    .file = packed_file,
};
