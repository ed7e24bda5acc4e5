/* Loss scaling from step to step, and running statistics. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

#include "base/base.h"
#include "model/stats_kernels.h"
#include "optim/update_kernels.h"
#include "reduce/flat_kernels.h"
#include "ops/point/point_kernels.h"
#include "emu.h"
#include "model/graph.h"
#include "reduce/tree.h"

static void *device_of(const void *host, size_t bytes)
{
    void *p = emu_alloc(bytes);
    assert_non_null(p);
    emu_copy_in(p, host, bytes);
    return p;
}

static float uniform(int64_t i, uint32_t stream)
{
    return ddp_uniform(ddp_philox4((uint32_t)i, 0, 0, stream, 7).v[0]) * 2 - 1;
}

/* One tensor of one block, SGD with lr 1 on gradients that are `value` everywhere, made with the scale. */
struct run {
    struct ddp_gpu_update_args a;
    struct ddp_gpu_between_args b;
    struct ddp_gpu_scale *scale; /* on the device */
    float host[DDP_BLOCK];
};

static void run_start(struct run *r, float scale, double clip_norm)
{
    static const int32_t zero = 0;
    struct ddp_gpu_step step = {.count = 4, .lr = 1};
    struct ddp_gpu_setting setting = {.lr_scale = 1, .trust = 1, .blocks = 1, .end = DDP_BLOCK};
    struct ddp_gpu_scale s = {.scale = scale, .inverse = 1 / scale};
    double values[4] = {0}, factor[2] = {1, -1};
    memset(r->host, 0, sizeof r->host);
    r->scale = device_of(&s, sizeof s);
    r->a = (struct ddp_gpu_update_args){.hi = DDP_BLOCK,
                                        .step = device_of(&step, sizeof step),
                                        .scale = r->scale,
                                        .setting = device_of(&setting, sizeof setting),
                                        .tensor = device_of(&zero, sizeof zero),
                                        .factor = device_of(factor, sizeof factor),
                                        .params = device_of(r->host, sizeof r->host),
                                        .sum = device_of(r->host, sizeof r->host),
                                        .values = device_of(values, sizeof values),
                                        .layout = {4, {0, 1, 2, 3}},
                                        .leaves = 1 << DDP_VALUE_GRADIENT | 1 << DDP_VALUE_BAD};
    r->b = (struct ddp_gpu_between_args){.values = r->a.values,
                                         .layout = r->a.layout,
                                         .blocks = 1,
                                         .step = r->a.step,
                                         .clip_norm = clip_norm,
                                         .setting = (struct ddp_gpu_setting *)(uintptr_t)r->a.setting,
                                         .ntensors = 1,
                                         .decide = true,
                                         .scale = r->scale,
                                         .interval = 3,
                                         .factor = (double *)(uintptr_t)r->a.factor};
}

static void run_finish(struct run *r)
{
    emu_free((void *)(uintptr_t)r->a.step), emu_free(r->scale), emu_free(r->b.setting);
    emu_free((void *)(uintptr_t)r->a.tensor), emu_free(r->b.factor), emu_free(r->a.params);
    emu_free(r->a.sum), emu_free(r->a.values);
}

static struct ddp_gpu_scale run_step(struct run *r, float value, float *param)
{
    struct ddp_gpu_scale s;
    emu_copy_out(&s, r->a.scale, sizeof s);
    for (int i = 0; i < DDP_BLOCK; i++)
        r->host[i] = value * s.scale;
    emu_copy_in(r->a.sum, r->host, sizeof r->host);
    ddp_cuda_norms(NULL, &r->a);
    ddp_cuda_between(NULL, &r->b);
    ddp_cuda_sgd.stage[0](NULL, &r->a);
    emu_copy_out(&s, r->a.scale, sizeof s);
    emu_copy_out(r->host, r->a.params, sizeof r->host);
    for (int i = 1; i < DDP_BLOCK; i++)
        assert_true(r->host[i] == r->host[0]);
    *param = r->host[0];
    return s;
}

static void test_scale_halves_skips_and_grows(void **state)
{
    (void)state;
    static const struct {
        float value, scale;
        int good, skip, skipped;
        float moved; /* updates so far */
    } steps[] = {
        {2, 1024, 1, 0, 0, 1}, {2, 1024, 2, 0, 0, 2},        {2, 2048, 0, 0, 0, 3},
        {2, 2048, 1, 0, 0, 4}, {INFINITY, 1024, 0, 1, 1, 4}, {NAN, 512, 0, 1, 2, 4},
        {2, 512, 1, 0, 2, 5},  {-INFINITY, 256, 0, 1, 3, 5}, {2, 256, 1, 0, 3, 6},
        {2, 256, 2, 0, 3, 7},  {2, 512, 0, 0, 3, 8},
    };
    struct run r;
    run_start(&r, 1024, 0);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        float param;
        struct ddp_gpu_scale s = run_step(&r, steps[i].value, &param);
        assert_true(s.scale == steps[i].scale);
        assert_int_equal(s.good, steps[i].good);
        assert_int_equal(s.skip, steps[i].skip);
        assert_int_equal(s.skipped, steps[i].skipped);
        assert_true(param == steps[i].moved * -0.5f); /* 2 / 4 samples */
    }
    assert_int_equal(emu_faults(), 0);
    run_finish(&r);
}

static void test_scale_stays_in_its_range(void **state)
{
    (void)state;
    float param;
    struct run r;
    run_start(&r, 2, 0);
    assert_true(run_step(&r, NAN, &param).scale == 1);
    assert_true(run_step(&r, NAN, &param).scale == 1);
    run_finish(&r);
    run_start(&r, 0x1p24f, 0);
    for (int i = 0; i < 7; i++)
        assert_true(run_step(&r, 1, &param).scale == 0x1p24f);
    run_finish(&r);
    assert_int_equal(emu_faults(), 0);
}

/* The norm is that of the gradients without the scale. */
static void test_scale_leaves_clipping_alone(void **state)
{
    (void)state;
    float param[2];
    double factor[2][2];
    for (int i = 0; i < 2; i++) {
        struct run r;
        run_start(&r, i ? 65536 : 1, 0.25);
        run_step(&r, 3, &param[i]);
        emu_copy_out(factor[i], r.a.factor, sizeof factor[i]);
        run_finish(&r);
    }
    assert_memory_equal(factor[0], factor[1], sizeof factor[0]);
    assert_float_equal(factor[0][1], 0.75 * 64, 1e-9);
    assert_true(param[0] == param[1]);
    assert_int_equal(emu_faults(), 0);
}

/* ---- statistics ---- */

enum { MEAN = 5000, VAR = 48, STATS = 4 * DDP_BLOCK };

static void test_stats_have_the_cpus_bits(void **state)
{
    (void)state;
    static float sum[STATS], want[STATS], got[STATS];
    struct ddp_flat_tensor tensor[3] = {{.param = {.role = DDP_PARAM_RUNNING_MEAN, .momentum = 0.1},
                                         .offset = 0,
                                         .size = MEAN,
                                         .stat_pixels = 49},
                                        {.param = {.role = DDP_PARAM_RUNNING_VAR, .momentum = 0.01},
                                         .offset = 2 * DDP_BLOCK,
                                         .size = VAR,
                                         .stat_pixels = 1},
                                        {.param = {.role = DDP_PARAM_RUNNING_VAR, .momentum = 0.2},
                                         .offset = 3 * DDP_BLOCK,
                                         .size = VAR,
                                         .stat_pixels = 1,
                                         .stat_synced = true}};
    struct ddp_model model = {.flat = {.ntensors = 3, .tensor = tensor, .metrics = STATS}};
    struct ddp_gpu_stat stat[3] = {
        {.lo = 0, .hi = MEAN, .pixels = 49, .momentum = 0.1},
        {.lo = 2 * DDP_BLOCK, .hi = 2 * DDP_BLOCK + VAR, .pixels = 1, .momentum = 0.01, .var = 1},
        {.lo = 3 * DDP_BLOCK,
         .hi = 3 * DDP_BLOCK + VAR,
         .pixels = 1,
         .momentum = 0.2,
         .var = 1,
         .synced = 1}};
    static const struct {
        int64_t count;
        int shards;
        bool skip;
    } cases[] = {{64, 4, false},     {5, 4, false}, {3, 4, false},
                 {1000, 700, false}, {64, 4, true}, {1, 4, false}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        for (int64_t i = 0; i < STATS; i++)
            sum[i] = uniform(i, 1), want[i] = uniform(i, 2);
        struct ddp_gpu_step step = {.count = cases[k].count};
        struct ddp_gpu_scale scale = {.scale = 1, .skip = cases[k].skip};
        float *dsum = device_of(sum, sizeof sum), *params = device_of(want, sizeof want);
        const float *node = dsum;
        int32_t merges = 0;
        if (!cases[k].skip)
            ddp_model_apply_stats(&model, cases[k].count, cases[k].shards, 0, STATS, sum, want);
        struct ddp_gpu_stats_args a = {.hi = STATS,
                                       .nodes = {1, device_of(&node, sizeof node), device_of(&merges, 4)},
                                       .step = device_of(&step, sizeof step),
                                       .scale = device_of(&scale, sizeof scale),
                                       .shards = cases[k].shards,
                                       .nstats = 3,
                                       .stat = device_of(stat, sizeof stat),
                                       .params = params};
        ddp_cuda_stats(NULL, &a);
        emu_copy_out(got, params, sizeof got);
        assert_memory_equal(got, want, sizeof got);
        emu_free(dsum), emu_free(params), emu_free((void *)(uintptr_t)a.nodes.node);
        emu_free((void *)(uintptr_t)a.nodes.merges), emu_free((void *)(uintptr_t)a.step);
        emu_free((void *)(uintptr_t)a.scale), emu_free((void *)(uintptr_t)a.stat);
    }
    assert_int_equal(emu_faults(), 0);
}

/* ---- guard ---- */

/* Tree of three nodes, the last two of which belong together; a loss that is not finite halts for
 * good, other sums do not matter; a skipped step before is over. */
static void test_guard_halts_for_good(void **state)
{
    (void)state;
    static const int32_t merges[] = {0, 0, 2};
    static const struct {
        float loss, correct;
        int halted;
    } steps[] = {{1, 2, 0}, {3e38f, 2, 0}, {1, INFINITY, 0}, {-INFINITY, 2, 1}, {1, 2, 1}, {NAN, 2, 1}};
    float leaf[4][DDP_GPU_METRICS] = {{0.1f, 1}, {0.2f, 2}, {0.3f, 3}}, got[DDP_GPU_METRICS];
    struct ddp_gpu_scale s = {.scale = 4, .good = 1, .skip = 1, .skipped = 1, .inverse = 0.25f};
    float *row[3] = {emu_alloc(sizeof leaf[0]), emu_alloc(sizeof leaf[0]), emu_alloc(sizeof leaf[0])};
    struct ddp_gpu_guard_args a = {.nodes = {3, device_of(row, sizeof row), device_of(merges, sizeof merges)},
                                   .scale = device_of(&s, sizeof s),
                                   .metrics = emu_alloc(sizeof got)};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        leaf[1][0] = steps[i].loss;
        leaf[1][1] = steps[i].correct;
        for (int k = 0; k < 3; k++)
            emu_copy_in(row[k], leaf[k], sizeof leaf[k]);
        ddp_cuda_guard(NULL, &a);
        emu_copy_out(got, a.metrics, sizeof got);
        emu_copy_out(&s, a.scale, sizeof s);
        for (int k = 0; k < DDP_GPU_METRICS; k++) {
            const float want = leaf[0][k] + (leaf[1][k] + leaf[2][k]);
            assert_memory_equal(&got[k], &want, isnan(want) ? 0 : sizeof want);
        }
        assert_int_equal(s.halted, steps[i].halted);
        assert_int_equal(s.skip, steps[i].halted);
    }
    assert_true(s.scale == 4 && s.good == 1 && s.skipped == 1 && s.inverse == 0.25f);
    for (int k = 0; k < 3; k++)
        emu_free(row[k]);
    emu_free((void *)(uintptr_t)a.nodes.node), emu_free((void *)(uintptr_t)a.nodes.merges);
    emu_free(a.scale), emu_free(a.metrics);
    assert_int_equal(emu_faults(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale_halves_skips_and_grows), cmocka_unit_test(test_scale_stays_in_its_range),
        cmocka_unit_test(test_scale_leaves_clipping_alone),  cmocka_unit_test(test_stats_have_the_cpus_bits),
        cmocka_unit_test(test_guard_halts_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
