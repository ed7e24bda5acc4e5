/* The data set format "friedman": a regression problem that is generated, so that it needs no files. Friedman
 * 1991, "Multivariate adaptive regression splines", his first: ten inputs, uniform in [0, 1), of which five
 * count,
 *
 *   y = 10 sin(pi x0 x1) + 20 (x2 - 1/2)^2 + 10 x3 + 5 x4 + noise,   noise normal with deviation 1
 *
 * so that no model has a mean squared error below 1 on samples it has not seen. A pure function of data.seed,
 * split and index. */
#include <stdlib.h>

#include "data/formats.h"

enum { INPUTS = 10, VERSION = 1 }; /* VERSION goes into the digest; raise it when any number changes */

struct friedman {
    uint64_t seed;
    enum ddp_split split;
    int64_t count;
};

static int friedman_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                         struct ddp_error *err)
{
    const int64_t count = split == DDP_SPLIT_TRAIN ? conf->train_count : conf->test_count;
    if (count < 1 || count > UINT32_MAX)
        return ddp_fail(err, DDP_E_CONFIG, "data.%s_count = %lld; allowed are 1 to 4294967295",
                        split == DDP_SPLIT_TRAIN ? "train" : "test", (long long)count);
    struct friedman *d = ddp_calloc(1, sizeof *d);
    *d = (struct friedman){.seed = conf->seed, .split = split, .count = count};
    *out = d;
    return 0;
}

static void friedman_info(const void *ds, struct ddp_dataset_info *info)
{
    static const char *const names[] = {"y"};
    *info = (struct ddp_dataset_info){.count = ((const struct friedman *)ds)->count,
                                      .shape = {INPUTS, 1, 1},
                                      .real = true,
                                      .targets = 1,
                                      .target_names = names};
}

/* Word i of a sample's stream, in [0, 1) by steps of 2^-24. */
static double uniform(const struct friedman *d, int64_t index, uint32_t i)
{
    const struct ddp_philox4 words =
        ddp_philox4(i / 4, (uint32_t)index, (uint32_t)d->split, DDP_STREAM_FRIEDMAN, d->seed);
    return (double)(words.v[i % 4] >> 8) * 0x1p-24;
}

static int friedman_get(const void *ds, int64_t index, void *inputs, void *target, struct ddp_error *err)
{
    static const double pi = 3.14159265358979323846;
    const struct friedman *d = ds;
    (void)err;
    double x[INPUTS];
    for (uint32_t i = 0; i < INPUTS; i++) {
        x[i] = uniform(d, index, i);
        ((float *)inputs)[i] = (float)x[i]; /* exact */
    }
    const double radius = ddp_sqrt(-2 * ddp_ln(1 - uniform(d, index, INPUTS)));
    const double noise = radius * ddp_cos(2 * pi * uniform(d, index, INPUTS + 1)); /* Box and Muller */
    const double bend = x[2] - 0.5;
    *(float *)target =
        (float)(10 * ddp_sin(pi * x[0] * x[1]) + 20 * bend * bend + 10 * x[3] + 5 * x[4] + noise);
    return 0;
}

static int friedman_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    const struct friedman *d = ds;
    struct ddp_sha256 sha;
    char id[128];
    ddp_sha256_init(&sha);
    int n = snprintf(id, sizeof id, "friedman %d seed %llu split %d count %lld\n", VERSION,
                     (unsigned long long)d->seed, (int)d->split, (long long)d->count);
    ddp_sha256_update(&sha, id, (size_t)n);
    for (int64_t i = 0; i < 256 && i < d->count; i++) { /* this machine makes them so */
        float sample[INPUTS + 1];
        friedman_get(d, i, sample, sample + INPUTS, err);
        ddp_sha256_update(&sha, sample, sizeof sample);
    }
    ddp_sha256_hex(&sha, hex);
    return 0;
}

static void friedman_close(void *ds)
{
    free(ds);
}

const struct ddp_dataset_ops ddp_friedman_format = {
    .name = "friedman",
    .doc = "a generated regression problem: ten inputs, one real target with noise",
    .open = friedman_open,
    .info = friedman_info,
    .get_real = friedman_get,
    .digest = friedman_digest,
    .close = friedman_close,
};
