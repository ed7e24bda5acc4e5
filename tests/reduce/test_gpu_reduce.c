/* The reduction on devices: the same bits from any number of ranks, in any order that its events allow. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

#include "emu.h"
#include "reduce/fake_device.h"
#include "engine/gpu/update.h"
#include "optim/problem.h"
#include "reduce/tree.h"

enum { STEPS = 3, MAX_SHARDS = 8, COUNT = 29, STATS_SIZE = 16 };

struct setup {
    const char *what;
    int64_t optim;
    double momentum, clip_norm, loss_scale;
    enum ddp_gpu_type type;
    bool fast, side_by_side;
};

/* What a run ends with. */
struct outcome {
    float params[TOTAL], state[3][TOTAL];
    struct ddp_gpu_scale scale;
};

struct rank {
    struct ddp_gpu_reduce *r;
    struct ddp_gpu_updater updater;
    struct ddp_gpu_stream *compute;
    struct ddp_gpu_step *step;        /* [STEPS] on the device */
    float *source[STEPS][MAX_SHARDS]; /* gradients of my shards, on the device */
};

static int blow;        /* step whose gradients are infinite in one place; -1: none */
static int poison = -1; /* step in which the loss of one shard is nan, and with it gradients; -1: none */
static int steps = STEPS;
static float leaf[STEPS][MAX_SHARDS][TOTAL];

static void *take(struct ddp_gpu *gpu, size_t bytes)
{
    void *p = NULL;
    assert_int_equal(fake_api()->alloc(gpu, bytes, &p, NULL), 0);
    return p;
}

/* Gradients, statistics and metrics of every shard; zero in the padding. whole: integers, so that every order
 * of addition is exact. */
static void make_leaves(const struct problem *p, int shards, bool whole, float scale)
{
    memset(leaf, 0, sizeof leaf);
    for (int step = 0; step < STEPS; step++)
        for (int s = 0; s < shards; s++)
            for (int64_t i = 0; i < TOTAL; i++) {
                uint32_t v = ddp_philox4((uint32_t)i, (uint32_t)(step * 100 + s), 0, 5, 42).v[0];
                float g = whole ? (float)(v % 17) - 8 : ddp_uniform(v) * 2 - 1;
                if (i >= p->flat.metrics ? i < p->flat.metrics + DDP_METRICS
                                         : ddp_flat_find(&p->flat, i) >= 0)
                    leaf[step][s][i] = g * (i < TRAINED ? scale : 1);
            }
}

static void start(struct problem *p, const struct setup *s)
{
    problem_init(p);
    p->tensor[TENSORS].stat_pixels = 4;
    p->tensor[TENSORS].param.momentum = 0.1;
    p->cfg.optim.type = s->optim;
    p->cfg.optim.momentum = s->momentum;
    p->cfg.optim.weight_decay = 0.01;
    p->cfg.optim.clip_norm = s->clip_norm;
    p->cfg.optim.ema = strstr(s->what, "averaged") ? 0.9 : 0;
    problem_start(p);
}

static struct ddp_gpu_reduce_conf conf_of(const struct problem *p, const struct setup *s, int shards,
                                          int ranks, int rank, int blocks)
{
    return (struct ddp_gpu_reduce_conf){.flat = &p->flat,
                                        .rank = rank,
                                        .size = ranks,
                                        .shards = shards,
                                        .fast = s->fast,
                                        .side_by_side = s->side_by_side,
                                        .bucket = (int64_t)blocks * DDP_BLOCK,
                                        .type = s->type,
                                        .loss_scale = s->loss_scale,
                                        .block_values =
                                            ddp_optim_device_block_values(&p->cfg, s->loss_scale > 0),
                                        .small_width = 12};
}

static void open_rank(struct fake_world *w, struct rank *k, const struct ddp_gpu_reduce_conf *conf,
                      const struct problem *p, const float *params)
{
    const struct ddp_optim_device_conf optim = {.cfg = &p->cfg,
                                                .flat = &p->flat,
                                                .kept = ddp_gpu_reduce_kept(conf),
                                                .type = conf->type,
                                                .scaled = conf->loss_scale > 0,
                                                .interval = 1};
    struct ddp_error err = {0};
    struct ddp_gpu *gpu = fake_gpu(w, conf->rank);
    assert_int_equal(fake_api()->stream_create(gpu, false, &k->compute, &err), 0);
    size_t before = fake_bytes(w, conf->rank);
    if (ddp_gpu_reduce_create(conf, fake_api(), gpu, fake_comm(w, conf->rank), k->compute, &k->r, &err))
        fail_msg("%s", err.text);
    if (ddp_gpu_updater_init(&k->updater, &optim, conf->shards, k->r, &err))
        fail_msg("%s", err.text);
    assert_int_equal(fake_bytes(w, conf->rank) - before,
                     ddp_gpu_reduce_bytes(conf) + ddp_gpu_updater_bytes(&optim));
    assert_int_equal(ddp_gpu_reduce_params_set(k->r, params, &err), 0);
    k->step = take(gpu, STEPS * sizeof *k->step);
    for (int s = 0; s < STEPS * MAX_SHARDS; s++)
        k->source[s / MAX_SHARDS][s % MAX_SHARDS] = take(gpu, TOTAL * sizeof(float));
}

static void close_rank(struct fake_world *w, struct rank *k, int rank)
{
    struct ddp_gpu *gpu = fake_gpu(w, rank);
    ddp_gpu_updater_finish(&k->updater);
    ddp_gpu_reduce_destroy(k->r);
    for (int s = 0; s < STEPS * MAX_SHARDS; s++)
        fake_api()->release(gpu, k->source[s / MAX_SHARDS][s % MAX_SHARDS]);
    fake_api()->release(gpu, k->step);
    fake_api()->stream_destroy(k->compute);
}

/* As a backward does it: statistics first, then the trained parameters from the end in odd pieces. */
static void backward(struct rank *k, int shard, const float *from)
{
    float *to = ddp_gpu_reduce_leaf(k->r, shard);
    int64_t cuts[] = {TOTAL, TRAINED, 6 * DDP_BLOCK, 5 * DDP_BLOCK, 2 * DDP_BLOCK, 0};
    for (int i = 0; i + 1 < (int)(sizeof cuts / sizeof *cuts); i++) {
        int64_t lo = cuts[i + 1], hi = cuts[i];
        fake_api()->copy(k->compute, to + lo, from + lo, (size_t)(hi - lo) * sizeof *to);
        ddp_gpu_reduce_ready(k->r, shard, lo, hi);
    }
}

static void enqueue_step(struct rank *k, const struct problem *p, int step, int shards)
{
    struct ddp_error err = {0};
    struct ddp_gpu_step s = {.step = step, .count = COUNT};
    ddp_optim_device_step(&p->cfg, step, 100, 10, &s);
    emu_copy_in(&k->step[step], &s, sizeof s);
    ddp_gpu_updater_begin(&k->updater, &k->step[step]);
    ddp_gpu_reduce_begin(k->r, &k->updater.apply);
    int first = ddp_gpu_reduce_first_shard(k->r), last = ddp_gpu_reduce_last_shard(k->r);
    assert_true(last <= shards);
    for (int shard = first; shard < last; shard++) {
        emu_copy_in(k->source[step][shard - first], leaf[step][shard], sizeof leaf[step][shard]);
        backward(k, shard, k->source[step][shard - first]);
    }
    if (ddp_gpu_reduce_finish(k->r, &err) != 0)
        fail_msg("%s", err.text);
}

/* The trained part of weights on the device: `params`, rounded to bf16. */
static void check_rounded(const void *weights, const float *params)
{
    static uint16_t got[TOTAL];
    emu_copy_out(got, weights, sizeof got);
    for (int64_t i = 0; i < TRAINED; i++) {
        uint32_t u;
        memcpy(&u, &params[i], sizeof u);
        assert_int_equal(got[i], (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16));
    }
}

/* The average of all ranks on each of them: trained parameters from their owners, the rest from the
 * parameters. */
static void check_gathered(const struct rank *k, const struct outcome *o, int arrays, enum ddp_gpu_type type)
{
    static float got[TOTAL];
    if (!k->updater.average)
        return;
    emu_copy_out(got, k->updater.average, sizeof got);
    assert_memory_equal(got, o->state[arrays - 1], TRAINED * sizeof *got);
    assert_memory_equal(got + TRAINED, o->params + TRAINED, (TOTAL - TRAINED) * sizeof *got);
    if (type == DDP_GPU_BF16)
        check_rounded(k->updater.average_weights, got);
}

static void collect(struct rank *k, int ranks, const struct problem *p, const struct setup *s,
                    struct outcome *out)
{
    static float other[TOTAL];
    struct ddp_error err = {0};
    memset(out, 0, sizeof *out);
    for (int r = 0; r < ranks; r++) {
        assert_int_equal(ddp_gpu_reduce_params_get(k[r].r, r ? other : out->params, &err), 0);
        if (r > 0)
            assert_memory_equal(other, out->params, sizeof other);
        for (int i = 0; i < ddp_optim_array_count(&p->cfg); i++)
            assert_int_equal(ddp_gpu_reduce_kept_get(k[r].r, ddp_optim_device_array(k[r].updater.optim, i),
                                                     out->state[i], &err),
                             0);
        assert_int_equal(ddp_gpu_reduce_scale_get(k[r].r, &out->scale, &err), 0);
        if (s->type == DDP_GPU_BF16)
            check_rounded(ddp_gpu_reduce_weights(k[r].r), out->params);
    }
}

static void run(const struct setup *s, int shards, int ranks, int blocks, uint32_t seed, struct outcome *out)
{
    struct problem p;
    struct rank k[MAX_SHARDS];
    struct fake_world *w = fake_world_create(ranks);
    start(&p, s);
    make_leaves(&p, shards, s->fast, s->loss_scale > 0 ? (float)s->loss_scale : 1);
    if (blow >= 0)
        leaf[blow][shards - 1][p.tensor[2].offset + 100] = INFINITY;
    if (poison >= 0) {
        leaf[poison][shards / 2][p.flat.metrics + DDP_METRIC_LOSS] = NAN;
        leaf[poison][shards / 2][p.tensor[2].offset + 100] = NAN;
        leaf[poison][shards / 2][TRAINED] = NAN;
    }
    for (int r = 0; r < ranks; r++) {
        struct ddp_gpu_reduce_conf conf = conf_of(&p, s, shards, ranks, r, blocks);
        open_rank(w, &k[r], &conf, &p, p.params);
    }
    for (int step = 0; step < steps; step++) /* nothing runs before all is enqueued */
        for (int r = 0; r < ranks; r++)
            enqueue_step(&k[r], &p, step, shards);
    fake_run(w, seed);
    for (int r = 0; r < ranks; r++)
        ddp_gpu_updater_gather(&k[r].updater, k[r].compute);
    fake_run(w, seed);
    collect(k, ranks, &p, s, out);
    for (int r = 0; r < ranks; r++)
        check_gathered(&k[r], out, ddp_optim_array_count(&p.cfg), s->type);
    assert_int_equal(emu_faults(), 0);
    for (int r = 0; r < ranks; r++)
        close_rank(w, &k[r], r);
    fake_world_destroy(w);
    problem_finish(&p);
}

static void same(const struct setup *s, const struct outcome *a, const struct outcome *b, const char *which)
{
    for (int64_t i = 0; i < TOTAL; i++)
        if (memcmp(&a->params[i], &b->params[i], 4) != 0)
            fail_msg("%s, %s: parameter %lld is %.9g, not %.9g", s->what, which, (long long)i, a->params[i],
                     b->params[i]);
    assert_memory_equal(a->state, b->state, sizeof a->state);
    assert_memory_equal(&a->scale, &b->scale, sizeof a->scale);
}

static const struct setup setups[] = {
    {"sgd", DDP_OPTIM_SGD, 0.9, 0, 0, DDP_GPU_F32, false, false},
    {"sgd, side by side", DDP_OPTIM_SGD, 0, 0, 0, DDP_GPU_BF16, false, true},
    {"sgd, clipped", DDP_OPTIM_SGD, 0.9, 0.1, 0, DDP_GPU_BF16, false, false},
    {"adamw", DDP_OPTIM_ADAMW, 0, 0, 0, DDP_GPU_BF16, false, false},
    {"adamw, scaled", DDP_OPTIM_ADAMW, 0, 0, 512, DDP_GPU_F16, false, false},
    {"lars", DDP_OPTIM_LARS, 0.9, 0, 0, DDP_GPU_F32, false, false},
    {"lars, clipped, side by side", DDP_OPTIM_LARS, 0.9, 0.1, 0, DDP_GPU_F32, false, true},
    {"lamb", DDP_OPTIM_LAMB, 0, 0, 0, DDP_GPU_F32, false, false},
    {"lamb, clipped, scaled", DDP_OPTIM_LAMB, 0, 0.1, 512, DDP_GPU_F16, false, false},
    {"sgd, fast", DDP_OPTIM_SGD, 0.9, 0, 0, DDP_GPU_BF16, true, false},
    {"adam, clipped", DDP_OPTIM_ADAM, 0, 0.1, 0, DDP_GPU_BF16, false, false},
    {"rmsprop", DDP_OPTIM_RMSPROP, 0.9, 0, 0, DDP_GPU_F32, false, false},
    {"adamw, averaged", DDP_OPTIM_ADAMW, 0, 0, 0, DDP_GPU_BF16, false, false},
    {"lamb, averaged, scaled, fast", DDP_OPTIM_LAMB, 0, 0, 512, DDP_GPU_F16, true, false},
    {"lamb, fast, clipped", DDP_OPTIM_LAMB, 0, 0.1, 0, DDP_GPU_F32, true, false},
};
enum { SETUPS = sizeof setups / sizeof *setups };

static const struct {
    int shards, ranks, blocks; /* of a bucket */
} shapes[] = {{5, 1, 2}, {5, 2, 2}, {5, 5, 1}, {5, 3, 9}, {8, 1, 1}, {8, 3, 4}, {8, 8, 3}};

static void test_reduce_is_the_same_on_any_number_of_ranks(void **state)
{
    (void)state;
    static struct outcome want[MAX_SHARDS + 1], got;
    blow = -1;
    for (int i = 0; i < SETUPS; i++) {
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
            int shards = shapes[k].shards;
            char which[64];
            snprintf(which, sizeof which, "%d shards on %d ranks", shards, shapes[k].ranks);
            if (shapes[k].ranks == 1)
                run(&setups[i], shards, 1, 9, 1, &want[shards]);
            run(&setups[i], shards, shapes[k].ranks, shapes[k].blocks, (uint32_t)(10 * k) + 7, &got);
            same(&setups[i], &got, &want[shards], which);
        }
    }
}

/* src/optim on the tree sum of the leaves. */
static void test_reduce_has_the_cpus_bits(void **state)
{
    (void)state;
    static struct outcome got;
    static float work[MAX_SHARDS * TOTAL];
    static const int cases[] = {0, 1, 3};
    blow = -1;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct setup *s = &setups[cases[k]];
        struct problem p;
        const int shards = 5;
        run(s, shards, 2, 2, 3, &got);
        start(&p, s);
        make_leaves(&p, shards, false, 1);
        for (int step = 0; step < STEPS; step++) {
            memcpy(work, leaf[step], sizeof *leaf[step] * (size_t)shards);
            ddp_tree_sum_float(shards, TOTAL, work, p.sum);
            ddp_optim_begin(p.optim, step, COUNT);
            ddp_optim_run(p.optim, 0, 0, TRAINED, p.sum, p.values);
            for (int i = 0; i < STATS_SIZE; i++)
                p.params[TRAINED + i] =
                    (float)((1 - 0.1) * p.params[TRAINED + i] + 0.1 * (p.sum[TRAINED + i] / (COUNT * 4.0)));
            memcpy(p.params + p.flat.metrics, p.sum + p.flat.metrics, DDP_BLOCK * sizeof *p.sum);
        }
        assert_memory_equal(got.params, p.params, sizeof got.params);
        for (int i = 0; i < ddp_optim_arrays(p.optim); i++) {
            const char *name;
            assert_memory_equal(got.state[i], ddp_optim_array(p.optim, i, &name), sizeof got.state[i]);
        }
        problem_finish(&p);
    }
}

/* A shard of one rank has an infinite gradient: all skip that step, and only that. */
static void test_reduce_skips_on_all_ranks(void **state)
{
    (void)state;
    static struct outcome want, got;
    static const int cases[] = {4, 8};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct setup *s = &setups[cases[k]];
        for (blow = 0; blow < STEPS; blow++) {
            run(s, 5, 1, 3, 1, &want);
            run(s, 5, 3, 2, 2, &got);
            same(s, &got, &want, "skipping");
            assert_int_equal(got.scale.skipped, 1);
            for (int64_t i = 0; i < TRAINED; i++)
                assert_true(isfinite(got.params[i]) && isfinite(got.state[0][i]));
        }
    }
    blow = -1;
}

/* A shard of one rank has a loss of nan: on all ranks that step and those behind it leave everything as it
 * was before, though all were enqueued at once. Only the metrics say what happened. */
static void test_reduce_halts_on_all_ranks(void **state)
{
    (void)state;
    static struct outcome want, got;
    blow = -1;
    for (int i = 0; i < SETUPS; i++) {
        const struct setup *s = &setups[i];
        for (int at = 0; at + 1 < STEPS; at++) {
            const int64_t metrics = TOTAL - DDP_BLOCK;
            poison = -1;
            steps = at;
            run(s, 5, 1, 3, 1, &want);
            assert_int_equal(want.scale.halted, 0);
            for (int ranks = 1; ranks <= 3; ranks++) {
                poison = at;
                steps = at + 1; /* ends with that step, or goes on */
                run(s, 5, ranks, 2, (uint32_t)ranks, &got);
                assert_true(isnan(got.params[metrics + DDP_METRIC_LOSS]));
                steps = STEPS;
                run(s, 5, ranks, 2, (uint32_t)ranks, &got);
                assert_true(isfinite(got.params[metrics + DDP_METRIC_LOSS]));
                assert_int_equal(got.scale.halted, 1);
                assert_int_equal(got.scale.skip, 1);
                got.scale.halted = 0;
                got.scale.skip = want.scale.skip;
                memcpy(got.params + metrics, want.params + metrics, DDP_BLOCK * sizeof *got.params);
                same(s, &got, &want, "halted");
            }
        }
    }
    poison = -1;
    steps = STEPS;
}

/* Work orders other than the first give the same. */
static void test_reduce_waits_for_what_it_needs(void **state)
{
    (void)state;
    static struct outcome want, got;
    blow = -1;
    for (int i = 0; i < SETUPS; i += 2) {
        run(&setups[i], 8, 3, 2, 1, &want);
        for (uint32_t seed = 2; seed < 6; seed++) {
            run(&setups[i], 8, 3, 2, 100 * seed, &got);
            same(&setups[i], &got, &want, "another order");
        }
    }
}

static void test_reduce_small_is_the_canonical_tree(void **state)
{
    (void)state;
    enum { WIDTH = 8 };
    const struct setup *s = &setups[1];
    for (int ranks = 1; ranks <= 4; ranks++) {
        struct problem p;
        struct rank k[4];
        struct fake_world *w = fake_world_create(ranks);
        double leaves[7 * WIDTH], work[7 * WIDTH], want[WIDTH], got[WIDTH], *out[4];
        start(&p, s);
        for (int i = 0; i < 7 * WIDTH; i++)
            work[i] = leaves[i] =
                ddp_uniform(ddp_philox4((uint32_t)i, 0, 0, 3, 9).v[0]) / 3.0 * (i % 3 ? 1 : 999);
        ddp_tree_sum_double(7, WIDTH, work, want);
        for (int r = 0; r < ranks; r++) {
            struct ddp_gpu_reduce_conf conf = conf_of(&p, s, 7, ranks, r, 2);
            open_rank(w, &k[r], &conf, &p, p.params);
            int first = ddp_gpu_reduce_first_shard(k[r].r), last = ddp_gpu_reduce_last_shard(k[r].r);
            out[r] = take(fake_gpu(w, r), sizeof want);
            emu_copy_in(k[r].source[0][0], leaves + first * WIDTH, (size_t)(last - first) * sizeof want);
            ddp_gpu_reduce_small(k[r].r, k[r].compute, WIDTH, (double *)(void *)k[r].source[0][0], out[r]);
        }
        fake_run(w, 1);
        for (int r = 0; r < ranks; r++) {
            emu_copy_out(got, out[r], sizeof got);
            assert_memory_equal(got, want, sizeof want);
            fake_api()->release(fake_gpu(w, r), out[r]);
            close_rank(w, &k[r], r);
        }
        fake_world_destroy(w);
        problem_finish(&p);
    }
    assert_int_equal(emu_faults(), 0);
}

/* What one run stored, another takes up, on another number of ranks. */
static void test_reduce_state_goes_out_and_in(void **state)
{
    (void)state;
    static struct outcome want, got;
    blow = -1;
    for (int i = 0; i < SETUPS; i++) {
        const struct setup *s = &setups[i];
        struct ddp_error err = {0};
        struct problem p;
        struct rank k[3];
        struct fake_world *w = fake_world_create(3);
        run(s, 5, 2, 2, 1, &want);
        start(&p, s);
        const int arrays = ddp_optim_array_count(&p.cfg);
        int64_t lo, hi, owned = 0;
        for (int r = 0; r < 3; r++) {
            struct ddp_gpu_reduce_conf conf = conf_of(&p, s, 5, 3, r, 4);
            open_rank(w, &k[r], &conf, &p, want.params);
            for (int j = 0; j < arrays; j++)
                assert_int_equal(ddp_gpu_reduce_kept_set(k[r].r,
                                                         ddp_optim_device_array(k[r].updater.optim, j),
                                                         want.state[j], &err),
                                 0);
            assert_int_equal(ddp_gpu_reduce_scale_set(k[r].r, &want.scale, &err), 0);
            for (int j = 0; ddp_gpu_reduce_owned(k[r].r, j, &lo, &hi); j++)
                owned += hi - lo;
            assert_null(ddp_optim_device_array(k[r].updater.optim, arrays));
        }
        assert_int_equal(owned, TOTAL);
        collect(k, 3, &p, s, &got);
        same(s, &got, &want, "stored");
        for (int r = 0; r < 3; r++)
            close_rank(w, &k[r], r);
        fake_world_destroy(w);
        problem_finish(&p);
    }
}

static void test_reduce_refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct problem p;
    start(&p, &setups[0]);
    struct fake_world *w = fake_world_create(2);
    struct ddp_gpu_reduce *r = NULL;
    struct ddp_gpu_reduce_conf good = conf_of(&p, &setups[0], 2, 2, 0, 2), bad;
    struct ddp_error err = {0};
#define REFUSES(code, change)                                                                                \
    bad = good;                                                                                              \
    bad.change;                                                                                              \
    assert_int_equal(                                                                                        \
        ddp_gpu_reduce_create(&bad, fake_api(), fake_gpu(w, 0), fake_comm(w, 0), NULL, &r, &err), code);     \
    assert_null(r)
    REFUSES(DDP_E_CONFIG, size = 3);
    REFUSES(DDP_E_USAGE, rank = 2);
    REFUSES(DDP_E_USAGE, shards = 0);
    REFUSES(DDP_E_USAGE, bucket = 0);
    REFUSES(DDP_E_USAGE, block_values = 1);
    REFUSES(DDP_E_USAGE, block_values = 6);
    assert_int_equal(ddp_gpu_reduce_create(&good, fake_api(), fake_gpu(w, 0), NULL, NULL, &r, &err),
                     DDP_E_USAGE);
#undef REFUSES

    static const struct {
        int shard;
        int64_t lo, hi;
    } wrong[] = {{0, 0, 100}, {1, 0, DDP_BLOCK}, {0, TOTAL, TOTAL + DDP_BLOCK}, {0, -DDP_BLOCK, 0}};
    for (size_t i = 0; i <= sizeof wrong / sizeof *wrong; i++) {
        struct rank k;
        open_rank(w, &k, &good, &p, p.params);
        assert_null(ddp_gpu_reduce_leaf(k.r, 1));
        ddp_gpu_reduce_begin(k.r, &k.updater.apply);
        if (i < sizeof wrong / sizeof *wrong)
            ddp_gpu_reduce_ready(k.r, wrong[i].shard, wrong[i].lo, wrong[i].hi);
        assert_int_equal(ddp_gpu_reduce_finish(k.r, &err), DDP_E_USAGE);
        close_rank(w, &k, 0);
    }
    struct rank k;
    open_rank(w, &k, &good, &p, p.params);
    ddp_gpu_reduce_begin(k.r, &k.updater.apply);
    ddp_gpu_reduce_ready(k.r, 0, 0, TRAINED); /* the metrics come before a whole bucket */
    ddp_gpu_reduce_ready(k.r, 0, TRAINED, TOTAL);
    assert_int_equal(ddp_gpu_reduce_finish(k.r, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "they come first"));
    close_rank(w, &k, 0);
    fake_world_destroy(w);
    problem_finish(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduce_is_the_same_on_any_number_of_ranks),
        cmocka_unit_test(test_reduce_has_the_cpus_bits),
        cmocka_unit_test(test_reduce_skips_on_all_ranks),
        cmocka_unit_test(test_reduce_halts_on_all_ranks),
        cmocka_unit_test(test_reduce_waits_for_what_it_needs),
        cmocka_unit_test(test_reduce_small_is_the_canonical_tree),
        cmocka_unit_test(test_reduce_state_goes_out_and_in),
        cmocka_unit_test(test_reduce_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
