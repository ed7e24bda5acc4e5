/* The data set format "noise": random pictures of any size and random labels, to measure with: a sample costs
 * a copy, so what is measured is everything else. Pictures are windows of one stretch of random bytes, a pure
 * function of data.seed, split and index. Nothing can be learnt from them. */
#include <stdlib.h>
#include <string.h>

#include "data/formats.h"

enum { STRETCH = 1 << 20, VERSION = 1 }; /* VERSION goes into the digest; raise it when any byte changes */

struct noise {
    uint64_t seed;
    enum ddp_split split;
    int64_t count;
    struct ddp_shape shape;
    int classes;
    size_t bytes;   /* of a picture */
    uint8_t *pixel; /* [STRETCH + bytes]; NULL: only glanced at */
};

static uint8_t *make_stretch(const struct noise *d)
{
    const size_t bytes = STRETCH + d->bytes;
    uint8_t *p = ddp_malloc(bytes + sizeof(struct ddp_philox4));
    for (size_t at = 0; at < bytes; at += sizeof(struct ddp_philox4)) {
        const struct ddp_philox4 words =
            ddp_philox4((uint32_t)(at / sizeof words), 0, (uint32_t)d->split, DDP_STREAM_NOISE, d->seed);
        memcpy(p + at, &words, sizeof words);
    }
    return p;
}

static int noise_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                      struct ddp_error *err)
{
    const int64_t count = split == DDP_SPLIT_TRAIN ? conf->train_count : conf->test_count;
    if (count < 1 || count > UINT32_MAX || conf->classes < 1)
        return ddp_fail(err, DDP_E_CONFIG,
                        "noise: %lld samples of %d classes; allowed are 1 to 4294967295 (data.train_count, "
                        "data.test_count) and at least 1 (data.classes)",
                        (long long)count, conf->classes);
    struct noise *d = ddp_calloc(1, sizeof *d);
    *d = (struct noise){.seed = conf->seed,
                        .split = split,
                        .count = count,
                        .shape = conf->shape,
                        .classes = conf->classes,
                        .bytes = (size_t)conf->shape.c * (size_t)conf->shape.h * (size_t)conf->shape.w};
    d->pixel = conf->glance ? NULL : make_stretch(d);
    *out = d;
    return 0;
}

static void noise_info(const void *ds, struct ddp_dataset_info *info)
{
    const struct noise *d = ds;
    *info = (struct ddp_dataset_info){.count = d->count, .shape = d->shape, .classes = d->classes};
    for (int c = 0; c < 4; c++) {
        info->mean[c] = 0.5;
        info->std[c] = 0.2887; /* of even numbers in 0 to 1 */
    }
}

static int noise_get(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err)
{
    const struct noise *d = ds;
    (void)err;
    const struct ddp_philox4 words =
        ddp_philox4((uint32_t)index, 1, (uint32_t)d->split, DDP_STREAM_NOISE, d->seed);
    memcpy(pixels, d->pixel + words.v[0] % STRETCH, d->bytes);
    *label = (int32_t)(words.v[1] % (uint32_t)d->classes);
    return 0;
}

static int noise_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    const struct noise *d = ds;
    struct ddp_sha256 sha;
    char id[160];
    (void)err;
    const int n =
        snprintf(id, sizeof id, "noise %d seed %llu split %d count %lld shape %d %d %d classes %d\n", VERSION,
                 (unsigned long long)d->seed, (int)d->split, (long long)d->count, d->shape.c, d->shape.h,
                 d->shape.w, d->classes);
    ddp_sha256_init(&sha);
    ddp_sha256_update(&sha, id, (size_t)n);
    ddp_sha256_hex(&sha, hex);
    return 0;
}

static void noise_close(void *ds)
{
    struct noise *d = ds;
    free(d->pixel);
    free(d);
}

const struct ddp_dataset_ops ddp_noise_format = {
    .name = "noise",
    .doc = "random pictures and labels, to measure with",
    .open = noise_open,
    .info = noise_info,
    .get = noise_get,
    .digest = noise_digest,
    .close = noise_close,
};
