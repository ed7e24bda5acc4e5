/* A data set of one's own: "stripes", 8x8 gray pictures whose class is the direction of their stripes
 * (horizontal, vertical, two diagonals), with noise: `format = "stripes"` in a data group. A pure function of
 * seed, split and index. */
#include <ddp/ddp.h>
#include <ddp/dataset.h>
#include <ddp/op.h> /* ddp_philox() */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 8 };

struct stripes {
    int64_t count;
    uint64_t seed;
    uint32_t split;
};

static int stripes_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                        struct ddp_error *err)
{
    struct stripes *s = malloc(sizeof *s);
    if (!s)
        return ddp_fail(err, DDP_E_RESOURCE, "stripes: out of memory");
    s->count = split == DDP_SPLIT_TRAIN ? conf->train_count : conf->test_count;
    s->seed = conf->seed;
    s->split = (uint32_t)split;
    if (s->count < 1) {
        free(s);
        return ddp_fail(err, DDP_E_CONFIG,
                        "stripes: data.train_count and data.test_count must be at least 1");
    }
    *out = s;
    return 0;
}

static void stripes_info(const void *ds, struct ddp_dataset_info *info)
{
    const struct stripes *s = ds;
    static const char *const names[] = {"horizontal", "vertical", "rising", "falling"};
    *info = (struct ddp_dataset_info){.count = s->count,
                                      .shape = {1, SIDE, SIDE},
                                      .classes = 4,
                                      .class_names = names,
                                      .mean = {0.5},
                                      .std = {0.3}};
}

static int stripes_get(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err)
{
    (void)err;
    const struct stripes *s = ds;
    uint32_t key[2] = {(uint32_t)s->seed, (uint32_t)(s->seed >> 32)}, word[4];
    ddp_philox((const uint32_t[4]){(uint32_t)index, (uint32_t)(index >> 32), s->split, 0}, key, word);
    int class = (int)(word[0] % 4), phase = (int)(word[1] % 4);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int along = class == 0 ? y : class == 1 ? x : class == 2 ? x + y : x - y + SIDE;
            uint32_t noise[4];
            ddp_philox((const uint32_t[4]){(uint32_t)index, (uint32_t)(index >> 32), s->split,
                                           1u + (uint32_t)(y * SIDE + x)},
                       key, noise);
            int v = ((along + phase) / 2 % 2 ? 180 : 40) + (int)(noise[0] % 70);
            pixels[y * SIDE + x] = (uint8_t)v;
        }
    *label = class;
    return 0;
}

/* Over all pixels and labels: whoever has the same digest has trained on the same pictures. */
static int stripes_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    enum { SAMPLE = SIDE * SIDE + 1 };
    const struct stripes *s = ds;
    uint8_t *all = malloc((size_t)s->count * SAMPLE);
    if (!all)
        return ddp_fail(err, DDP_E_RESOURCE, "stripes: no memory for the digest");
    for (int64_t i = 0; i < s->count; i++) {
        int32_t label;
        stripes_get(s, i, all + i * SAMPLE, &label, err);
        all[i * SAMPLE + SIDE * SIDE] = (uint8_t)label;
    }
    ddp_sha256_text(all, (size_t)s->count * SAMPLE, hex);
    free(all);
    return 0;
}

static const struct ddp_dataset_ops stripes_ops = {
    .name = "stripes",
    .doc = "8x8 pictures of stripes in four directions",
    .open = stripes_open,
    .info = stripes_info,
    .get = stripes_get,
    .digest = stripes_digest,
    .close = free,
};

int main(int argc, char **argv)
{
    struct ddp_error err = {0};
    struct ddp_session *session = NULL;
    struct ddp_result result;
    if (argc < 2) {
        fprintf(stderr, "usage: %s CONFIG [key=value ...]\n", argv[0]);
        return DDP_EXIT_USAGE;
    }
    int status = ddp_dataset_register(&stripes_ops, &err);
    if (status == 0)
        status = ddp_session_open(&argc, &argv, &session, &err);
    if (status == 0)
        status = ddp_session_config(session, argv[1], (const char *const *)argv + 2, argc - 2, &err);
    if (status == 0)
        status = ddp_session_train(session, NULL, &result, &err);
    if (status == 0 && result.rank == 0)
        printf("accuracy %.4f, weights %s, in %s\n", result.eval_accuracy, result.weights_hash,
               result.run_dir);
    else if (status && ddp_session_reports(session))
        fprintf(stderr, "%s\n", err.text);
    ddp_session_close(session, &err);
    return ddp_error_exit(status);
}
