/* The data set format "idx_real": IDX files of numbers (yann.lecun.com/exdb/mnist), big-endian, for real
 * targets:
 *
 *   00 00 T D    magic: T = 08 bytes, 0D floats, 0E doubles; D dimensions
 *   D sizes      of 32 bits
 *   numbers
 *
 * Inputs are [n][d], pictures [n][h][w] or [n][c][h][w], targets [n] or [n][t]. All are read into the memory
 * of each rank as floats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/formats.h"

enum { MAX_DIMS = 4 };

struct numbers {
    int ndim;
    uint32_t dims[MAX_DIMS];
    size_t each; /* values of a sample */
    float *value;
};

struct idx_real {
    struct numbers in, out;
};

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static float number_at(const uint8_t *p, int type)
{
    if (type == 8)
        return (float)*p;
    uint64_t bits = big_endian(p);
    float f;
    double d;
    if (type == 0xd) {
        const uint32_t word = (uint32_t)bits;
        memcpy(&f, &word, sizeof f);
        return f;
    }
    bits = bits << 32 | big_endian(p + 4);
    memcpy(&d, &bits, sizeof d);
    return (float)d;
}

static int read_numbers(const char *path, const uint8_t *data, size_t bytes, struct numbers *out,
                        struct ddp_error *err)
{
    const int type = bytes > 4 ? data[2] : 0, ndim = bytes > 4 ? data[3] : 0;
    const size_t size = type == 8 ? 1 : type == 0xd ? 4 : type == 0xe ? 8 : 0, head = 4 + 4 * (size_t)ndim;
    if (bytes < 4 || data[0] || data[1] || !size || ndim < 1 || ndim > MAX_DIMS || bytes < head)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is no IDX file of bytes, floats or doubles with 1 to %d dimensions", path,
                        MAX_DIMS);
    out->ndim = ndim;
    out->each = 1;
    size_t total = 1;
    for (int i = 0; i < ndim; i++) {
        out->dims[i] = big_endian(data + 4 + 4 * i);
        if (out->dims[i] == 0 || __builtin_mul_overflow(total, (size_t)out->dims[i], &total))
            return ddp_fail(err, DDP_E_DATA, "%s is damaged or empty: size %d in its header is %u", path, i,
                            (unsigned)out->dims[i]);
        out->each *= i ? out->dims[i] : 1;
    }
    if (total > (bytes - head) / size || bytes - head != total * size)
        return ddp_fail(err, DDP_E_DATA, "%s is truncated or damaged: %zu bytes for %zu numbers of %zu", path,
                        bytes - head, total, size);
    out->value = ddp_malloc(total * sizeof *out->value);
    for (size_t i = 0; i < total; i++) {
        out->value[i] = number_at(data + head + i * size, type);
        if (!isfinite(out->value[i]))
            return ddp_fail(err, DDP_E_DATA, "%s: a number of sample %zu is not finite", path, i / out->each);
    }
    return 0;
}

static int read_file(const struct ddp_dataset_conf *conf, int which, struct numbers *out,
                     struct ddp_error *err)
{
    static const char *const names[] = {"train-inputs.idx", "train-targets.idx", "test-inputs.idx",
                                        "test-targets.idx"};
    char *path = ddp_data_path(conf, conf->files.n == 4 ? conf->files.v[which] : names[which]);
    const void *data = NULL;
    size_t bytes = 0;
    int status = ddp_path_exists(path) ? ddp_file_map(path, &data, &bytes, err)
                                       : ddp_data_missing(conf, strrchr(path, '/') + 1, err);
    if (status == 0) {
        status = read_numbers(path, data, bytes, out, err);
        ddp_file_unmap(data, bytes);
    }
    free(path);
    return status;
}

static void idx_real_close(void *ds)
{
    struct idx_real *d = ds;
    free(d->in.value);
    free(d->out.value);
    free(d);
}

static int check(const struct idx_real *d, struct ddp_error *err)
{
    if (d->in.dims[0] != d->out.dims[0])
        return ddp_fail(err, DDP_E_DATA, "there are %u inputs and %u targets; they must be as many",
                        (unsigned)d->in.dims[0], (unsigned)d->out.dims[0]);
    if (d->in.ndim < 2 || d->out.ndim > 2 || d->in.each > 1 << 24 || d->out.each > 1 << 16)
        return ddp_fail(
            err, DDP_E_DATA,
            "inputs have %d dimensions and targets %d; wanted are [n][d], [n][h][w] or [n][c][h][w], "
            "and [n] or [n][t]",
            d->in.ndim, d->out.ndim);
    return 0;
}

static int idx_real_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                         struct ddp_error *err)
{
    if (conf->files.n != 0 && conf->files.n != 4)
        return ddp_fail(err, DDP_E_CONFIG,
                        "data.files has %d names; format \"idx_real\" takes four: training inputs, training "
                        "targets, test inputs, test targets",
                        conf->files.n);
    const int first = split == DDP_SPLIT_TRAIN ? 0 : 2;
    struct idx_real *d = ddp_calloc(1, sizeof *d);
    int status = read_file(conf, first, &d->in, err);
    if (status == 0)
        status = read_file(conf, first + 1, &d->out, err);
    if (status == 0)
        status = check(d, err);
    if (status)
        idx_real_close(d);
    else
        *out = d;
    return status;
}

static void idx_real_info(const void *ds, struct ddp_dataset_info *info)
{
    const struct numbers *in = &((const struct idx_real *)ds)->in, *out = &((const struct idx_real *)ds)->out;
    *info = (struct ddp_dataset_info){.count = in->dims[0],
                                      .shape = {in->ndim == 3 ? 1 : (int)in->dims[1],
                                                in->ndim > 2 ? (int)in->dims[in->ndim - 2] : 1,
                                                in->ndim > 2 ? (int)in->dims[in->ndim - 1] : 1},
                                      .real = true,
                                      .targets = (int)out->each};
}

static int idx_real_get(const void *ds, int64_t index, void *x, void *y, struct ddp_error *err)
{
    const struct idx_real *d = ds;
    (void)err;
    memcpy(x, d->in.value + (size_t)index * d->in.each, d->in.each * sizeof(float));
    memcpy(y, d->out.value + (size_t)index * d->out.each, d->out.each * sizeof(float));
    return 0;
}

/* Shapes and numbers, whatever they were stored as. */
static int idx_real_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    const struct idx_real *d = ds;
    struct ddp_sha256 sha;
    (void)err;
    ddp_sha256_init(&sha);
    for (int i = 0; i < 2; i++) {
        const struct numbers *n = i ? &d->out : &d->in;
        ddp_sha256_update(&sha, n->dims, (size_t)n->ndim * sizeof *n->dims);
        ddp_sha256_update(&sha, n->value, n->dims[0] * n->each * sizeof *n->value);
    }
    ddp_sha256_hex(&sha, hex);
    return 0;
}

const struct ddp_dataset_ops ddp_idx_real_format = {
    .name = "idx_real",
    .doc = "IDX files of numbers: inputs and real targets",
    .open = idx_real_open,
    .info = idx_real_info,
    .get_real = idx_real_get,
    .digest = idx_real_digest,
    .close = idx_real_close,
};
