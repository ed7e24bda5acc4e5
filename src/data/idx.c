/* IDX files, the format of MNIST, Fashion-MNIST and EMNIST (yann.lecun.com/exdb/mnist): big-endian.
 *
 *   00 00 08 D   magic, D being the number of dimensions
 *   D sizes      of 32 bits
 *   bytes
 *
 * Plain files are mapped (all ranks of a node share the pages); .gz ones are unpacked into memory of the
 * process. */
#include <stdlib.h>
#include <string.h>

#include "data/formats.h"
#include "data/gunzip.h"

enum { TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS, FILES };

static const char *const default_files[FILES] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                                 "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

struct idx_file {
    char *path;
    const uint8_t *data; /* header and all */
    size_t bytes;
    bool mapped;
    int ndim;
    uint32_t dims[3];
    const uint8_t *payload;
};

struct idx {
    struct idx_file images, labels; /* of the split */
    bool transposed;                /* EMNIST stores columns first */
    struct ddp_dataset_info info;
};

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Header -> dims and the number of bytes that the whole file must have. */
static int read_header(const char *path, const uint8_t *head, size_t have, int ndim, uint32_t dims[3],
                       size_t *total, struct ddp_error *err)
{
    size_t need = 4 + 4 * (size_t)ndim;
    if (have < need)
        return ddp_fail(err, DDP_E_DATA, "%s is truncated: %zu bytes, its header alone takes %zu", path, have,
                        need);
    if (head[0] || head[1] || head[2] != 8 || head[3] != ndim)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is no IDX file of bytes with %d dimension%s: it starts with %02x %02x %02x "
                        "%02x, not 00 00 08 %02x",
                        path, ndim, ndim == 1 ? "" : "s", head[0], head[1], head[2], head[3], (unsigned)ndim);
    size_t payload = 1;
    for (int i = 0; i < ndim; i++) {
        dims[i] = big_endian(head + 4 + 4 * i);
        if (dims[i] == 0)
            return ddp_fail(err, DDP_E_DATA, "%s is empty: size %d in its header is 0", path, i);
        if (__builtin_mul_overflow(payload, (size_t)dims[i], &payload) || payload > SIZE_MAX / 2)
            return ddp_fail(err, DDP_E_DATA,
                            "%s is damaged: its header promises more bytes than any file holds", path);
    }
    *total = need + payload;
    return 0;
}

static int check_size(const char *path, size_t have, size_t total, struct ddp_error *err)
{
    if (have < total)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is truncated: it holds %zu bytes, its header promises %zu; fetch it again", path,
                        have, total);
    if (have > total)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is damaged: bytes follow the %zu that its header promises; fetch it again", path,
                        total);
    return 0;
}

/* glance: the header alone. */
static int unpack(struct idx_file *f, int ndim, bool glance, struct ddp_error *err)
{
    enum { HEAD = 16 };
    uint8_t head[HEAD], beyond;
    const size_t want = 4 + 4 * (size_t)ndim;
    size_t total = 0, got, more = 0;
    struct ddp_gunzip *gz;
    int rc = ddp_gunzip_open(f->path, &gz, err);
    if (rc)
        return rc;
    rc = ddp_gunzip_read(gz, head, want, &got, err);
    if (!rc)
        rc = read_header(f->path, head, got, ndim, f->dims, &total, err);
    if (rc)
        goto close;
    /* deflate packs at most 1032 to 1: a header that promises more lies, and must not make us allocate */
    if (total / 1100 > ddp_gunzip_packed(gz)) {
        rc = ddp_fail(err, DDP_E_DATA,
                      "%s is damaged: its header promises %zu bytes, more than %zu packed bytes can hold",
                      f->path, total, ddp_gunzip_packed(gz));
        goto close;
    }
    if (glance)
        goto close;
    uint8_t *data = ddp_pages_alloc(total);
    if (!data) {
        rc = ddp_fail(err, DDP_E_RESOURCE, "no memory for the %zu bytes of %s", total, f->path);
        goto close;
    }
    memcpy(data, head, want);
    f->data = data;
    f->bytes = total;
    rc = ddp_gunzip_read(gz, data + want, total - want, &got, err);
    if (!rc)
        rc = ddp_gunzip_read(gz, &beyond, 1, &more, err); /* also checks length and CRC at the end */
    if (!rc)
        rc = check_size(f->path, want + got + more, total, err);
close:
    ddp_gunzip_close(gz);
    return rc;
}

static void idx_file_close(struct idx_file *f)
{
    if (f->mapped)
        ddp_file_unmap(f->data, f->bytes);
    else if (f->data)
        ddp_pages_free((void *)(uintptr_t)f->data, f->bytes);
    free(f->path);
    memset(f, 0, sizeof *f);
}

/* The file `name` of the set: as it is, with .gz, or spelt with a dot ("train-images.idx3-ubyte"). */
static char *find_file(const struct ddp_dataset_conf *conf, const char *name)
{
    char dotted[512];
    snprintf(dotted, sizeof dotted, "%s", name);
    char *dash = strstr(dotted, "-idx");
    if (dash)
        *dash = '.';
    for (int i = 0; i < 4; i++) {
        char with[600];
        snprintf(with, sizeof with, "%s%s", i / 2 ? dotted : name, i % 2 ? ".gz" : "");
        char *path = ddp_data_path(conf, with);
        if (ddp_path_exists(path))
            return path;
        free(path);
    }
    return NULL;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int idx_file_open(const struct ddp_dataset_conf *conf, int which, struct idx_file *f,
                         struct ddp_error *err)
{
    const char *name = conf->files.n == FILES ? conf->files.v[which] : default_files[which];
    memset(f, 0, sizeof *f);
    f->ndim = which == TRAIN_IMAGES || which == TEST_IMAGES ? 3 : 1;
    f->path = find_file(conf, name);
    if (!f->path) {
        char what[600];
        snprintf(what, sizeof what, "%s (plain or .gz)", name);
        return ddp_data_missing(conf, what, err);
    }
    int rc;
    if (ends_with(f->path, ".gz")) {
        rc = unpack(f, f->ndim, conf->glance && f->ndim == 3, err);
    } else {
        const void *data;
        size_t total = 0;
        rc = ddp_file_map(f->path, &data, &f->bytes, err);
        if (!rc) {
            f->data = data;
            f->mapped = true;
            rc = read_header(f->path, f->data, f->bytes, f->ndim, f->dims, &total, err);
        }
        if (!rc)
            rc = check_size(f->path, f->bytes, total, err);
    }
    if (rc) {
        idx_file_close(f);
        return rc;
    }
    f->payload = f->data ? f->data + 4 + 4 * f->ndim : NULL;
    return 0;
}

/* How many classes there are: known sets by their file names, others from the training labels. A label far
 * above the number of different labels is damage, not a class. */
static int count_classes(const struct ddp_dataset_conf *conf, const struct idx_file *train, int *classes,
                         struct ddp_error *err)
{
    static const struct {
        const char *part;
        int classes;
    } emnist[] = {{"emnist-balanced", 47}, {"emnist-byclass", 62}, {"emnist-bymerge", 47},
                  {"emnist-digits", 10},   {"emnist-letters", 27}, {"emnist-mnist", 10}};
    for (size_t i = 0; i < DDP_COUNT(emnist); i++)
        if (strstr(train->path, emnist[i].part)) {
            *classes = emnist[i].classes;
            return 0;
        }
    const char *last = strrchr(conf->path, '/');
    last = last ? last + 1 : conf->path;
    if (strcmp(last, "mnist") == 0 || strcmp(last, "fashion-mnist") == 0) {
        *classes = 10;
        return 0;
    }
    bool seen[256] = {false};
    int distinct = 0, highest = 0;
    for (uint32_t i = 0; i < train->dims[0]; i++) {
        int label = train->payload[i];
        distinct += !seen[label];
        seen[label] = true;
        if (label > highest)
            highest = label;
    }
    if (highest > distinct) /* labels may start at 1, so highest == distinct is fine */
        return ddp_fail(err, DDP_E_DATA,
                        "%s: label %d is out of range: only %d different labels occur, so 0..%d are "
                        "allowed; the file is damaged or its labels have holes (renumber them)",
                        train->path, highest, distinct, distinct);
    *classes = highest + 1;
    return 0;
}

static int check_labels(const struct idx_file *labels, int classes, struct ddp_error *err)
{
    for (uint32_t i = 0; i < labels->dims[0]; i++)
        if (labels->payload[i] >= classes)
            return ddp_fail(err, DDP_E_DATA, "%s: label %d of sample %u is out of range; allowed are 0..%d",
                            labels->path, labels->payload[i], (unsigned)i, classes - 1);
    return 0;
}

/* Mean and deviation of the training split: what everybody uses where the set is known, measured else. */
static int statistics(const struct ddp_dataset_conf *conf, const struct idx_file *train_labels, struct idx *d,
                      enum ddp_split split, struct ddp_error *err)
{
    static const char mnist_labels[] = "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5";
    struct ddp_sha256 sha;
    char hex[65];
    ddp_sha256_init(&sha);
    ddp_sha256_update(&sha, train_labels->data, train_labels->bytes);
    ddp_sha256_hex(&sha, hex);
    bool usual = train_labels->dims[0] == 60000 && d->info.shape.h == 28 && d->info.shape.w == 28;
    if (usual && strcmp(hex, mnist_labels) == 0) {
        d->info.mean[0] = 0.1307;
        d->info.std[0] = 0.3081;
        return 0;
    }
    if (usual && strstr(train_labels->path, "fashion")) {
        d->info.mean[0] = 0.2860;
        d->info.std[0] = 0.3530;
        return 0;
    }
    struct idx_file other = {0};
    const struct idx_file *images = &d->images;
    if (split != DDP_SPLIT_TRAIN) {
        int rc = idx_file_open(conf, TRAIN_IMAGES, &other, err);
        if (rc)
            return ddp_data_blame(conf, DDP_SPLIT_TRAIN, rc);
        images = &other;
    }
    struct ddp_pixel_stats stats = {0};
    struct ddp_shape shape = {1, (int)images->dims[1], (int)images->dims[2]};
    for (uint32_t i = 0; i < images->dims[0]; i++)
        ddp_pixel_stats_add(&stats, shape, images->payload + (size_t)i * images->dims[1] * images->dims[2]);
    ddp_pixel_stats_result(&stats, 1, d->info.mean, d->info.std);
    idx_file_close(&other);
    return 0;
}

static void idx_close(void *ds)
{
    struct idx *d = ds;
    idx_file_close(&d->images);
    idx_file_close(&d->labels);
    free(d);
}

static int idx_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                    struct ddp_error *err)
{
    if (conf->files.n != 0 && conf->files.n != FILES)
        return ddp_fail(err, DDP_E_CONFIG,
                        "data.files has %d names; format \"idx\" takes four: training images, training "
                        "labels, test images, test labels",
                        conf->files.n);
    struct idx *d = ddp_calloc(1, sizeof *d);
    struct idx_file train_labels = {0};
    bool train = split == DDP_SPLIT_TRAIN;
    int rc = idx_file_open(conf, train ? TRAIN_IMAGES : TEST_IMAGES, &d->images, err);
    if (!rc)
        rc = idx_file_open(conf, train ? TRAIN_LABELS : TEST_LABELS, &d->labels, err);
    if (!rc)
        rc = ddp_data_blame(conf, DDP_SPLIT_TRAIN, idx_file_open(conf, TRAIN_LABELS, &train_labels, err));
    if (rc)
        goto fail;
    if (d->images.dims[0] != d->labels.dims[0]) {
        rc = ddp_fail(err, DDP_E_DATA, "%s holds %u pictures and %s %u labels; they must be as many",
                      d->images.path, (unsigned)d->images.dims[0], d->labels.path,
                      (unsigned)d->labels.dims[0]);
        goto fail;
    }
    if (d->images.dims[1] > 32768 || d->images.dims[2] > 32768) {
        rc = ddp_fail(err, DDP_E_DATA, "%s has pictures of %u x %u pixels; at most 32768 a side are allowed",
                      d->images.path, (unsigned)d->images.dims[1], (unsigned)d->images.dims[2]);
        goto fail;
    }
    d->transposed = strstr(d->images.path, "emnist") != NULL || strstr(d->images.path, "EMNIST") != NULL;
    d->info.count = d->images.dims[0];
    d->info.shape = (struct ddp_shape){1, (int)d->images.dims[1], (int)d->images.dims[2]};
    if (d->transposed)
        d->info.shape = (struct ddp_shape){1, (int)d->images.dims[2], (int)d->images.dims[1]};
    rc = ddp_data_blame(conf, DDP_SPLIT_TRAIN, count_classes(conf, &train_labels, &d->info.classes, err));
    if (!rc)
        rc = check_labels(&d->labels, d->info.classes, err);
    if (!rc && !conf->glance)
        rc = statistics(conf, &train_labels, d, split, err);
    if (rc)
        goto fail;
    idx_file_close(&train_labels);
    *out = d;
    return 0;
fail:
    idx_file_close(&train_labels);
    idx_close(d);
    return rc;
}

static void idx_info(const void *ds, struct ddp_dataset_info *info)
{
    *info = ((const struct idx *)ds)->info;
}

static int idx_get(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err)
{
    const struct idx *d = ds;
    if (index < 0 || index >= (int64_t)d->images.dims[0])
        return ddp_fail(err, DDP_E_DATA, "%s: sample %lld of %u asked for", d->images.path, (long long)index,
                        (unsigned)d->images.dims[0]);
    size_t rows = d->images.dims[1], cols = d->images.dims[2];
    const uint8_t *from = d->images.payload + (size_t)index * rows * cols;
    if (!d->transposed)
        memcpy(pixels, from, rows * cols);
    else
        for (size_t y = 0; y < cols; y++)
            for (size_t x = 0; x < rows; x++)
                pixels[y * rows + x] = from[x * cols + y];
    *label = d->labels.payload[index];
    return 0;
}

static int idx_label(const void *ds, int64_t index, int32_t *label, struct ddp_error *err)
{
    (void)err;
    *label = ((const struct idx *)ds)->labels.payload[index];
    return 0;
}

static int idx_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    (void)err;
    const struct idx *d = ds;
    struct ddp_sha256 sha;
    ddp_sha256_init(&sha);
    ddp_sha256_update(&sha, d->images.data, d->images.bytes);
    ddp_sha256_update(&sha, d->labels.data, d->labels.bytes);
    ddp_sha256_hex(&sha, hex);
    return 0;
}

static const char *idx_file(const void *ds, int i)
{
    const struct idx *d = ds;
    const char *const paths[] = {d->images.path, d->labels.path, NULL};
    return paths[i];
}

const struct ddp_dataset_ops ddp_idx_format = {
    .name = "idx",
    .doc = "IDX files, plain or .gz: MNIST, Fashion-MNIST, EMNIST",
    .open = idx_open,
    .info = idx_info,
    .get = idx_get,
    .digest = idx_digest,
    .close = idx_close,
    .label = idx_label,
    .file = idx_file,
};
