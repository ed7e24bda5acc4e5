/* The reduction on devices: the same bits from any number of ranks on any nodes, in any order that its events
 * allow. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

#include "emu.h"
#include "base/base.h"
#include "reduce/gpu_steps.h"
#include "reduce/layout.h"
#include "reduce/tree.h"

static const struct setup setups[] = {
    {"sgd", DDP_OPTIM_SGD, 0.9, 0, 0, DDP_GPU_F32, false, 1},
    {"sgd, side by side", DDP_OPTIM_SGD, 0, 0, 0, DDP_GPU_BF16, false, MAX_SHARDS},
    {"sgd, clipped", DDP_OPTIM_SGD, 0.9, 0.1, 0, DDP_GPU_BF16, false, 1},
    {"adamw", DDP_OPTIM_ADAMW, 0, 0, 0, DDP_GPU_BF16, false, 1},
    {"adamw, scaled", DDP_OPTIM_ADAMW, 0, 0, 512, DDP_GPU_F16, false, 1},
    {"lars", DDP_OPTIM_LARS, 0.9, 0, 0, DDP_GPU_F32, false, 1},
    {"lars, clipped, side by side", DDP_OPTIM_LARS, 0.9, 0.1, 0, DDP_GPU_F32, false, MAX_SHARDS},
    {"lamb", DDP_OPTIM_LAMB, 0, 0, 0, DDP_GPU_F32, false, 1},
    {"lamb, clipped, scaled, groups of 3", DDP_OPTIM_LAMB, 0, 0.1, 512, DDP_GPU_F16, false, 3},
    {"sgd, fast", DDP_OPTIM_SGD, 0.9, 0, 0, DDP_GPU_BF16, true, 1},
    {"adam, clipped, all in fp32", DDP_OPTIM_ADAM, 0, 0.1, 0, DDP_GPU_BF16, false, 1},
    {"rmsprop, groups of 2", DDP_OPTIM_RMSPROP, 0.9, 0, 0, DDP_GPU_F32, false, 2},
    {"adamw, averaged", DDP_OPTIM_ADAMW, 0, 0, 0, DDP_GPU_BF16, false, 1},
    {"lamb, averaged, scaled, fast", DDP_OPTIM_LAMB, 0, 0, 512, DDP_GPU_F16, true, 1},
    {"lamb, fast, clipped, groups of 4", DDP_OPTIM_LAMB, 0, 0.1, 0, DDP_GPU_F32, true, 4},
};
enum { SETUPS = sizeof setups / sizeof *setups };

static const struct {
    int shards, ranks, blocks; /* of a bucket */
} shapes[] = {{5, 1, 2}, {5, 2, 2}, {5, 5, 1}, {5, 3, 9}, {8, 1, 1}, {8, 3, 4}, {8, 8, 3}};

static void test_reduce_is_the_same_on_any_number_of_ranks(void **state)
{
    (void)state;
    static struct outcome want[MAX_SHARDS + 1], got;
    gpu_blow = -1;
    for (int i = 0; i < SETUPS; i++) {
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
            int shards = shapes[k].shards;
            char which[64];
            snprintf(which, sizeof which, "%d shards on %d ranks", shards, shapes[k].ranks);
            if (shapes[k].ranks == 1)
                gpu_run(&setups[i], shards, 1, 9, 1, &want[shards]);
            gpu_run(&setups[i], shards, shapes[k].ranks, shapes[k].blocks, (uint32_t)(10 * k) + 7, &got);
            gpu_same(&setups[i], &got, &want[shards], which);
        }
    }
}

/* Equal nodes and unequal ones, whole subtrees and not, with slices that are equal and that are not. */
static const struct gpu_shape on_nodes[] = {
    {5, 2, 2, {1, 1}},
    {5, 9, 2, {2, 1}},
    {8, 4, 2, {2, 2}},
    {8, 1, 2, {1, 3}},
    {8, 8, 2, {4, 4}},
    {8, 3, 3, {3, 2, 1}},
    {8, 6, 3, {2, 1, 2}},
    {5, 1, 4, {1, 1, 1, 2}},
    {8, 2, 1, {8}},
    {8, 8, 4, {2, 2, 2, 2}},
    {8, 9, 8, {1, 1, 1, 1, 1, 1, 1, 1}},
};

static void test_reduce_is_the_same_on_any_nodes(void **state)
{
    (void)state;
    static struct outcome want[MAX_SHARDS + 1], got;
    for (int i = 0; i < SETUPS; i++) {
        gpu_run(&setups[i], 5, 1, 9, 1, &want[5]);
        gpu_run(&setups[i], 8, 1, 9, 1, &want[8]);
        for (size_t k = (size_t)i % 2; k < DDP_COUNT(on_nodes); k += 2) { /* each with half of the setups */
            const struct gpu_shape *shape = &on_nodes[k];
            char which[64];
            snprintf(which, sizeof which, "shape %zu: %d shards on %d nodes", k, shape->shards, shape->nodes);
            gpu_run_nodes(&setups[i], shape, (uint32_t)(10 * k) + 3, &got);
            gpu_same(&setups[i], &got, &want[shape->shards], which);
        }
    }
}

/* What the nodes' networks carry in a step beside what is published: each node's covers once, less what it
 * owns itself. */
static int64_t on_the_network(const struct gpu_shape *shape)
{
    const int64_t moved = TOTAL / DDP_BLOCK - 1; /* not the metrics, which are the last block */
    struct ddp_reduce_layout l;
    struct ddp_tree_node cover[DDP_TREE_MAX_NODES];
    int64_t blocks = 0;
    const int size = gpu_size(shape),
              each = shape->blocks >= size ? shape->blocks / size * size : shape->blocks;
    ddp_reduce_layout_init(&l, &(struct ddp_reduce_layout_conf){.shards = shape->shards,
                                                                .total = TOTAL,
                                                                .bucket = (int64_t)each * DDP_BLOCK,
                                                                .nodes = shape->nodes,
                                                                .ranks = shape->ranks,
                                                                .size = size});
    for (int node = 0; node < l.nodes; node++) {
        int64_t owned = 0;
        for (int64_t b = 0; b < l.buckets; b++)
            for (int lane = 0; lane < l.lanes; lane++)
                owned += ddp_range_size(
                    ddp_range_clip(ddp_reduce_layout_part(&l, b, lane, node), (struct ddp_range){0, moved}));
        blocks += ddp_reduce_layout_cover(&l, node, cover) * (moved - owned);
    }
    ddp_reduce_layout_finish(&l);
    return blocks * DDP_BLOCK;
}

static void test_reduce_sends_a_node_once(void **state)
{
    (void)state;
    static struct outcome got;
    for (size_t k = 0; k < DDP_COUNT(on_nodes); k++) {
        gpu_run_nodes(&setups[0], &on_nodes[k], 5, &got);
        assert_int_equal(gpu_traffic.across, 0);
        assert_int_equal(gpu_traffic.lanes, STEPS * on_the_network(&on_nodes[k]));
    }
}

/* New parameters where all have slices of one size: in one call. The metrics of a step are one, too. */
static void test_reduce_publishes_equal_slices_in_place(void **state)
{
    (void)state;
    static struct outcome got;
    static const struct {
        struct gpu_shape shape;
        int gathers; /* of buckets, in a step; beside them metrics, and what was refused */
    } cases[] = {
        /* 9 blocks: buckets of 2 blocks and the front one of 1 */
        {{8, 3, 2, {1, 1}}, 4}, {{8, 2, 1, {2}}, 4}, {{8, 5, 2, {2, 2}}, 2}, /* of 4, 4 and 1 */
        {{8, 9, 1, {3}}, 1},                                                 /* one bucket */
        {{8, 9, 1, {2}}, 1},                                                 /* of 8 and 1 */
        {{8, 1, 1, {2}}, 0},
    };
    for (size_t k = 0; k < DDP_COUNT(cases); k++) {
        gpu_run_nodes(&setups[0], &cases[k].shape, 5, &got);
        assert_int_equal(gpu_traffic.gathers, STEPS * (2 + cases[k].gathers));
    }
}

/* A front bucket of its own size, to the next multiple of the ranks, is published in place, and what is left
 * by broadcasts. */
static void test_reduce_ends_with_a_small_bucket(void **state)
{
    (void)state;
    static struct outcome want, got;
    static const struct {
        struct gpu_shape shape;
        int front, gathers; /* as above */
    } cases[] = {
        {{8, 5, 1, {1}}, 2, 0},                               /* of 5, 2 and 2 */
        {{8, 4, 1, {2}}, 1, 2},                               /* of 4, 3 and 2 */
        {{8, 6, 1, {3}}, 1, 2},    {{8, 6, 2, {2, 1}}, 3, 2}, /* of 6 and 3 */
        {{8, 4, 2, {2, 2}}, 1, 2},                            /* of 4, 4 and 1: 4 are no less than a bucket */
    };
    for (int i = 0; i < SETUPS; i += 3) {
        const struct setup *s = &setups[i];
        gpu_front = 0;
        gpu_run(s, 8, 1, 9, 1, &want);
        for (size_t k = (size_t)i % 2; k<DDP_COUNT(cases); k += i> 0 ? 2 : 1) {
            gpu_front = cases[k].front;
            gpu_run_nodes(s, &cases[k].shape, (uint32_t)k, &got);
            gpu_same(s, &got, &want, "a small front bucket");
            if (i == 0 && gpu_size(&cases[k].shape) > 1)
                assert_int_equal(gpu_traffic.gathers, STEPS * (2 + cases[k].gathers));
        }
    }
    gpu_front = 0;
}

/* In bf16 the others get parameters in bf16, and beside them the elements of biases and statistics in fp32,
 * each rank a row of the same length. */
static void test_reduce_publishes_what_is_read(void **state)
{
    (void)state;
    static struct outcome got;
    static const struct {
        struct gpu_shape shape;
        int row;
    } cases[] = {
        {{8, 9, 1, {3}}, 48}, /* blocks 0-2, 3-5, 6-8; biases of 48 in block 3, of 16 in 6; statistics in 7 */
        {{8, 9, 1, {2}}, 48}, /* of 8: 1-4, 5-8; the front one by broadcasts */
        {{8, 3, 2, {1, 1}}, 64},    /* of 2: 7 and 8, 5 and 6, 3 and 4: the first has blocks 7 and 3 */
        {{8, 9, 3, {2, 1, 1}}, 48}, /* of 8, and 1 by broadcasts */
    };
    struct setup narrow = setups[0];
    narrow.type = DDP_GPU_BF16;
    for (size_t k = 0; k < DDP_COUNT(cases); k++) {
        const int64_t rows = (int64_t)gpu_size(&cases[k].shape) * cases[k].row;
        gpu_run_nodes(&setups[0], &cases[k].shape, 5, &got);
        const int64_t before = gpu_traffic.spread, gathers = gpu_traffic.gathers;
        gpu_run_nodes(&narrow, &cases[k].shape, 5, &got);
        assert_int_equal(gpu_traffic.spread, before - STEPS * (TOTAL / 2 - rows));
        assert_int_equal(gpu_traffic.gathers, gathers + STEPS);
    }
}

/* src/optim on the tree sum of the leaves. */
static void test_reduce_has_the_cpus_bits(void **state)
{
    (void)state;
    static struct outcome got;
    static float work[MAX_SHARDS * TOTAL];
    static const int cases[] = {0, 1, 3};
    gpu_blow = -1;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct setup *s = &setups[cases[k]];
        struct problem p;
        const int shards = 5;
        gpu_run(s, shards, 2, 2, 3, &got);
        gpu_start(&p, s);
        gpu_make_leaves(&p, shards, false, 1);
        for (int step = 0; step < STEPS; step++) {
            memcpy(work, gpu_leaf[step], sizeof *gpu_leaf[step] * (size_t)shards);
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
        for (gpu_blow = 0; gpu_blow < STEPS; gpu_blow++) {
            gpu_run(s, 5, 1, 3, 1, &want);
            gpu_run(s, 5, 3, 2, 2, &got);
            gpu_same(s, &got, &want, "skipping");
            assert_int_equal(got.scale.skipped, 1);
            for (int64_t i = 0; i < TRAINED; i++)
                assert_true(isfinite(got.params[i]) && isfinite(got.state[0][i]));
        }
    }
    gpu_blow = -1;
}

/* A shard of one rank has a loss of nan: on all ranks that step and those behind it leave everything as it
 * was before, though all were enqueued at once. Only the metrics say what happened. */
static void test_reduce_halts_on_all_ranks(void **state)
{
    (void)state;
    static struct outcome want, got;
    gpu_blow = -1;
    for (int i = 0; i < SETUPS; i++) {
        const struct setup *s = &setups[i];
        for (int at = 0; at + 1 < STEPS; at++) {
            const int64_t metrics = TOTAL - DDP_BLOCK;
            gpu_poison = -1;
            gpu_steps = at;
            gpu_run(s, 5, 1, 3, 1, &want);
            assert_int_equal(want.scale.halted, 0);
            for (int ranks = 1; ranks <= 3; ranks++) {
                gpu_poison = at;
                gpu_steps = at + 1; /* ends with that step, or goes on */
                gpu_run(s, 5, ranks, 2, (uint32_t)ranks, &got);
                assert_true(isnan(got.params[metrics + DDP_METRIC_LOSS]));
                gpu_steps = STEPS;
                gpu_run(s, 5, ranks, 2, (uint32_t)ranks, &got);
                assert_true(isfinite(got.params[metrics + DDP_METRIC_LOSS]));
                assert_int_equal(got.scale.halted, 1);
                assert_int_equal(got.scale.skip, 1);
                got.scale.halted = 0;
                got.scale.skip = want.scale.skip;
                memcpy(got.params + metrics, want.params + metrics, DDP_BLOCK * sizeof *got.params);
                gpu_same(s, &got, &want, "halted");
            }
        }
    }
    gpu_poison = -1;
    gpu_steps = STEPS;
}

/* One sum is infinite under a loss that is finite: all ranks know of its block behind the step, and nothing
 * of the sum arrives anywhere. Where norms come before updates nothing at all is updated. */
static void test_reduce_refuses_sums_on_all_ranks(void **state)
{
    (void)state;
    static struct outcome want, got;
    static const struct gpu_shape ways[] = {{5, 3, 1, {1}}, {5, 2, 1, {3}}, {5, 9, 2, {2, 1}}};
    for (int i = 0; i < 2 * SETUPS; i++) {
        const struct setup *s = &setups[i / 2];
        if (s->loss_scale > 0)
            continue;
        const bool stats = i % 2 == 1,
                   norms = s->clip_norm > 0 || s->optim == DDP_OPTIM_LARS || s->optim == DDP_OPTIM_LAMB;
        struct problem p;
        gpu_start(&p, s);
        const int64_t blown = p.tensor[2].offset;
        problem_finish(&p);
        gpu_steps = STEPS - 1;
        gpu_run(s, 5, 1, 3, 1, &want);
        assert_int_equal(want.refused, 0);
        gpu_blow = STEPS - 1;
        gpu_blow_at = stats ? TRAINED : -1;
        gpu_steps = STEPS;
        for (size_t k = 0; k < DDP_COUNT(ways); k++) {
            gpu_run_nodes(s, &ways[k], (uint32_t)k, &got);
            const int64_t at = (int64_t)(got.refused - 1) * DDP_BLOCK;
            assert_int_equal(at, stats ? TRAINED : blown);
            for (int64_t e = 0; e < TOTAL - DDP_BLOCK; e++)
                assert_true(isfinite(got.params[e]) && isfinite(got.state[0][e]) &&
                            isfinite(got.state[1][e]));
            if (!stats)
                assert_memory_equal(got.params + at + 100, want.params + at + 100, sizeof(float));
            if (norms && !stats)
                assert_memory_equal(got.params, want.params, TRAINED * sizeof(float));
            if (stats)
                assert_memory_equal(got.params + TRAINED, want.params + TRAINED, sizeof(float));
        }
        gpu_blow = gpu_blow_at = -1;
    }
    gpu_steps = STEPS;
}

/* Work orders other than the first give the same. */
static void test_reduce_waits_for_what_it_needs(void **state)
{
    (void)state;
    static struct outcome want, got;
    gpu_blow = -1;
    for (int i = 0; i < SETUPS; i += 2) {
        gpu_run(&setups[i], 8, 3, 2, 1, &want);
        for (uint32_t seed = 2; seed < 6; seed++) {
            gpu_run(&setups[i], 8, 3, 2, 100 * seed, &got);
            gpu_same(&setups[i], &got, &want, "another order");
            if (setups[i].fast)
                continue;
            gpu_run_nodes(&setups[i], &(struct gpu_shape){8, 2, 2, {2, 3}}, 100 * seed, &got);
            gpu_same(&setups[i], &got, &want, "another order, on nodes");
        }
    }
}

static void test_reduce_small_is_the_canonical_tree(void **state)
{
    (void)state;
    enum { WIDTH = 8 };
    static const struct gpu_shape cases[] = {{7, 2, 1, {1}}, {7, 2, 1, {2}},    {7, 2, 1, {3}},
                                             {7, 2, 1, {4}}, {7, 2, 2, {2, 2}}, {7, 2, 3, {1, 2, 1}}};
    const struct setup *s = &setups[1];
    for (size_t n = 0; n < DDP_COUNT(cases); n++) {
        const int ranks = gpu_size(&cases[n]);
        struct problem p;
        struct rank k[4];
        struct fake_world *w = fake_world_create(ranks);
        double leaves[7 * WIDTH], work[7 * WIDTH], want[WIDTH], got[WIDTH], *out[4];
        gpu_start(&p, s);
        for (int i = 0; i < 7 * WIDTH; i++)
            work[i] = leaves[i] =
                ddp_uniform(ddp_philox4((uint32_t)i, 0, 0, 3, 9).v[0]) / 3.0 * (i % 3 ? 1 : 999);
        ddp_tree_sum_double(7, WIDTH, work, want);
        for (int r = 0; r < ranks; r++) {
            struct ddp_gpu_reduce_conf conf = gpu_conf(&p, s, &cases[n], r);
            gpu_open_rank(w, &k[r], &conf, &p, p.params);
            int first = ddp_gpu_reduce_first_shard(k[r].r), last = ddp_gpu_reduce_last_shard(k[r].r);
            out[r] = gpu_take(fake_gpu(w, k[r].device), sizeof want);
            emu_copy_in(k[r].source[0][0], leaves + first * WIDTH, (size_t)(last - first) * sizeof want);
            ddp_gpu_reduce_small(k[r].r, k[r].compute, WIDTH, (double *)(void *)k[r].source[0][0], out[r]);
        }
        fake_run(w, 1);
        assert_int_equal(fake_gathers(w), ranks > 1); /* one, whoever has how many shards */
        for (int r = 0; r < ranks; r++) {
            emu_copy_out(got, out[r], sizeof got);
            assert_memory_equal(got, want, sizeof want);
            fake_api()->release(fake_gpu(w, k[r].device), out[r]);
            gpu_close_rank(w, &k[r]);
        }
        fake_world_destroy(w);
        problem_finish(&p);
    }
    assert_int_equal(emu_faults(), 0);
}

/* What one run stored, another takes up, on another number of ranks, and on nodes. */
static void test_reduce_state_goes_out_and_in(void **state)
{
    (void)state;
    static struct outcome want, got;
    gpu_blow = -1;
    for (int i = 0; i < SETUPS; i++) {
        const struct gpu_shape shape = {5, 4, i % 2 + 1, {3 - i % 2, i % 2}};
        const struct setup *s = &setups[i];
        struct ddp_error err = {0};
        struct problem p;
        struct rank k[3];
        struct fake_world *w = fake_world_create(3);
        gpu_run(s, 5, 2, 2, 1, &want);
        gpu_start(&p, s);
        const int arrays = ddp_optim_array_count(&p.cfg);
        int64_t lo, hi, owned = 0;
        for (int r = 0; r < 3; r++) {
            struct ddp_gpu_reduce_conf conf = gpu_conf(&p, s, &shape, r);
            gpu_open_rank(w, &k[r], &conf, &p, want.params);
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
        gpu_collect(k, 3, &p, s, &got);
        gpu_same(s, &got, &want, "stored");
        for (int r = 0; r < 3; r++)
            gpu_close_rank(w, &k[r]);
        fake_world_destroy(w);
        problem_finish(&p);
    }
}

static void test_reduce_refuses_what_does_not_fit(void **state)
{
    (void)state;
    const struct gpu_shape shape = {2, 2, 1, {2}};
    struct problem p;
    gpu_start(&p, &setups[0]);
    struct fake_world *w = fake_world_create(2);
    struct ddp_gpu_reduce *r = NULL;
    struct ddp_gpu_reduce_conf good = gpu_conf(&p, &setups[0], &shape, 0), bad;
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
        gpu_open_rank(w, &k, &good, &p, p.params);
        assert_null(ddp_gpu_reduce_leaf(k.r, 1));
        ddp_gpu_reduce_begin(k.r, &k.updater.apply);
        if (i < sizeof wrong / sizeof *wrong)
            ddp_gpu_reduce_ready(k.r, wrong[i].shard, wrong[i].lo, wrong[i].hi);
        assert_int_equal(ddp_gpu_reduce_finish(k.r, &err), DDP_E_USAGE);
        gpu_close_rank(w, &k);
    }
    struct rank k;
    gpu_open_rank(w, &k, &good, &p, p.params);
    ddp_gpu_reduce_begin(k.r, &k.updater.apply);
    ddp_gpu_reduce_ready(k.r, 0, 0, TRAINED); /* the metrics come before a whole bucket */
    ddp_gpu_reduce_ready(k.r, 0, TRAINED, TOTAL);
    assert_int_equal(ddp_gpu_reduce_finish(k.r, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "they come first"));
    gpu_close_rank(w, &k);
    fake_world_destroy(w);
    problem_finish(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduce_is_the_same_on_any_number_of_ranks),
        cmocka_unit_test(test_reduce_is_the_same_on_any_nodes),
        cmocka_unit_test(test_reduce_sends_a_node_once),
        cmocka_unit_test(test_reduce_publishes_equal_slices_in_place),
        cmocka_unit_test(test_reduce_ends_with_a_small_bucket),
        cmocka_unit_test(test_reduce_publishes_what_is_read),
        cmocka_unit_test(test_reduce_has_the_cpus_bits),
        cmocka_unit_test(test_reduce_skips_on_all_ranks),
        cmocka_unit_test(test_reduce_halts_on_all_ranks),
        cmocka_unit_test(test_reduce_refuses_sums_on_all_ranks),
        cmocka_unit_test(test_reduce_waits_for_what_it_needs),
        cmocka_unit_test(test_reduce_small_is_the_canonical_tree),
        cmocka_unit_test(test_reduce_state_goes_out_and_in),
        cmocka_unit_test(test_reduce_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
