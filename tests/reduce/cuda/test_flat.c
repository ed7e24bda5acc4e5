/* Conversions, merging, small tree sums, rows and metrics over the flat space. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

#include "base/base.h"
#include "model/stats_kernels.h"
#include "ops/point/point_kernels.h"
#include "reduce/flat_kernels.h"
#include "emu.h"
#include "reduce/tree.h"

static float uniform(int64_t i, uint32_t stream)
{
    return ddp_uniform(ddp_philox4((uint32_t)i, 0, 0, stream, 7).v[0]) * 2 - 1;
}

static void *device_of(const void *host, size_t bytes)
{
    void *p = emu_alloc(bytes);
    assert_non_null(p);
    emu_copy_in(p, host, bytes);
    return p;
}

static const int64_t counts[] = {1, 7, 8, 9, 2047, 2048, 4096, 4099, 9000};
enum { COUNTS = sizeof counts / sizeof *counts, MAX = 9000 };

/* bf16 is the upper half of a float, rounded to nearest even. */
static uint16_t bf16_of(float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static void test_cast_rounds_to_nearest_even(void **state)
{
    (void)state;
    static float f[MAX], back[MAX];
    static uint16_t t[MAX];
    for (int c = 0; c < COUNTS; c++) {
        size_t n = (size_t)counts[c];
        for (size_t i = 0; i < n; i++)
            f[i] = uniform((int64_t)i, 1);
        float *df = device_of(f, n * 4), *db = emu_alloc(n * 4);
        void *dt = emu_alloc(n * 2), *same = emu_alloc(n * 4);
        struct ddp_gpu_cast_args a = {.type = DDP_GPU_BF16, .count = counts[c], .f = df, .t = dt};
        ddp_cuda_point_kernels.cast_from_float(NULL, &a);
        emu_copy_out(t, dt, n * 2);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(t[i], bf16_of(f[i]));
        a.f = db;
        ddp_cuda_point_kernels.cast_to_float(NULL, &a);
        emu_copy_out(back, db, n * 4);
        for (size_t i = 0; i < n; i++) {
            uint32_t u;
            memcpy(&u, &back[i], 4);
            assert_int_equal(u, (uint32_t)t[i] << 16);
        }
        a = (struct ddp_gpu_cast_args){.type = DDP_GPU_F16, .count = counts[c], .f = df, .t = dt};
        ddp_cuda_point_kernels.cast_from_float(NULL, &a);
        a.f = db;
        ddp_cuda_point_kernels.cast_to_float(NULL, &a);
        emu_copy_out(back, db, n * 4);
        for (size_t i = 0; i < n; i++) /* 11 bits of significand */
            assert_true(fabsf(back[i] - f[i]) <= ldexpf(fabsf(f[i]), -11) + 0x1p-25f);
        a = (struct ddp_gpu_cast_args){.type = DDP_GPU_F32, .count = counts[c], .f = df, .t = same};
        ddp_cuda_point_kernels.cast_from_float(NULL, &a);
        emu_copy_out(back, same, n * 4);
        assert_memory_equal(back, f, n * 4);
        emu_poison(db, n * 4);
        a.f = db;
        ddp_cuda_point_kernels.cast_to_float(NULL, &a);
        emu_copy_out(back, db, n * 4);
        assert_memory_equal(back, f, n * 4);
        emu_free(df), emu_free(db), emu_free(dt), emu_free(same);
    }
    assert_int_equal(emu_faults(), 0);
}

static void test_add_range_keeps_the_order(void **state)
{
    (void)state;
    static float x[MAX], y[MAX], out[MAX];
    for (int c = 0; c < COUNTS; c++) {
        size_t n = (size_t)counts[c];
        for (size_t i = 0; i < n; i++)
            x[i] = uniform((int64_t)i, 2), y[i] = uniform((int64_t)i, 3) * 1e-3f;
        float *dx = device_of(x, n * 4), *dy = device_of(y, n * 4);
        ddp_cuda_add_range(NULL, &(struct ddp_gpu_range_args){.count = counts[c], .a = dx, .b = dy});
        emu_copy_out(out, dx, n * 4);
        for (size_t i = 0; i < n; i++)
            assert_true(out[i] == x[i] + y[i]);
        emu_free(dx), emu_free(dy);
    }
    assert_int_equal(emu_faults(), 0);
}

static void test_metrics_fill_their_block(void **state)
{
    (void)state;
    float loss = 3.25f, out[DDP_BLOCK];
    int32_t correct = 17;
    struct ddp_gpu_step step = {.stop_vote = 1};
    float *dl = device_of(&loss, 4), *leaf = emu_alloc(sizeof out);
    int32_t *dc = device_of(&correct, 4);
    struct ddp_gpu_step *ds = device_of(&step, sizeof step);
    for (int vote = 0; vote < 2; vote++) {
        ddp_cuda_metrics(NULL, &(struct ddp_gpu_metrics_args){
                                   .loss = dl, .correct = dc, .step = vote ? ds : NULL, .leaf = leaf});
        emu_copy_out(out, leaf, sizeof out);
        assert_true(out[0] == 3.25f && out[1] == 17 && out[2] == (float)vote);
        for (int i = 3; i < DDP_BLOCK; i++)
            assert_true(out[i] == 0);
    }
    emu_free(dl), emu_free(dc), emu_free(ds), emu_free(leaf);
    assert_int_equal(emu_faults(), 0);
}

/* Sum over `shards` leaves that lie as the nodes of `ranks` ranks, against the tree over the leaves. */
static void check_tree(int shards, int ranks, int width)
{
    float *leaves = ddp_calloc((size_t)shards * (size_t)width, 4),
          *work = ddp_calloc((size_t)shards * (size_t)width, 4);
    float *want = ddp_calloc((size_t)width, 4), *got = ddp_calloc((size_t)width, 4);
    const float **node = ddp_calloc((size_t)shards, sizeof *node);
    int32_t *merges = ddp_calloc((size_t)shards, sizeof *merges);
    for (int64_t i = 0; i < (int64_t)shards * width; i++)
        leaves[i] = uniform(i, 4) * (i % 3 ? 1 : 1000);
    size_t row = (size_t)width;
    int n = 0;
    for (int r = 0; r < ranks; r++) {
        struct ddp_tree_node nodes[DDP_TREE_MAX_NODES], before[DDP_TREE_MAX_NODES];
        int first = ddp_tree_first_shard(shards, ranks, r), last = ddp_tree_first_shard(shards, ranks, r + 1);
        int k = ddp_tree_cover(shards, first, last, nodes);
        for (int i = 0; i < k; i++, n++) {
            size_t under = (size_t)(nodes[i].hi - nodes[i].lo);
            memcpy(work, leaves + (size_t)nodes[i].lo * row, under * row * 4);
            ddp_tree_sum_float((int)under, width, work, want);
            node[n] = device_of(want, row * 4);
            merges[n] = ddp_tree_cover(shards, 0, nodes[i].lo, before) + 1 -
                        ddp_tree_cover(shards, 0, nodes[i].hi, before);
        }
    }
    memcpy(work, leaves, (size_t)shards * row * 4);
    ddp_tree_sum_float(shards, width, work, want);

    const float **dnode = device_of(node, (size_t)n * sizeof *node);
    int32_t *dmerges = device_of(merges, (size_t)n * sizeof *merges);
    float *out = emu_alloc(row * 4);
    ddp_cuda_sum_nodes(NULL,
                       &(struct ddp_gpu_sum_args){.count = width, .nodes = {n, dnode, dmerges}, .out = out});
    emu_copy_out(got, out, row * 4);
    if (memcmp(got, want, row * 4) != 0)
        fail_msg("%d shards on %d ranks: another sum", shards, ranks);
    for (int i = 0; i < n; i++)
        emu_free((void *)(uintptr_t)node[i]);
    emu_free(dnode), emu_free(dmerges), emu_free(out);
    free(leaves), free(work), free(want), free(got), free(node), free(merges);
}

static void test_sum_nodes_is_the_canonical_tree(void **state)
{
    (void)state;
    for (int shards = 1; shards <= 16; shards++)
        for (int ranks = 1; ranks <= shards; ranks++)
            check_tree(shards, ranks, 5);
    check_tree(300, 100, 300);
    check_tree(257, 257, 1);
    assert_int_equal(emu_faults(), 0);
}

static void test_results_of_a_step(void **state)
{
    (void)state;
    enum { ROWS = 300, ROW = 4, LOSSES = 260 };
    float loss[LOSSES], loss_out[LOSSES], metrics[4] = {1.5f, 7, 1, 9};
    double factor[2] = {0.25, 12.5};
    int32_t refused[ROWS * ROW] = {0};
    for (int i = 0; i < LOSSES; i++)
        loss[i] = (float)i / 8;
    for (int i = 0; i < ROWS * ROW; i++)
        refused[i] = i % ROW ? 9999 : i % 7; /* only the first of a row counts */
    refused[270 * ROW] = 41;
    struct ddp_gpu_results_args a = {.metrics = device_of(metrics, sizeof metrics),
                                     .refused = device_of(refused, sizeof refused),
                                     .rows = ROWS,
                                     .row = ROW,
                                     .loss = device_of(loss, sizeof loss),
                                     .losses = LOSSES,
                                     .out = emu_alloc(sizeof(struct ddp_gpu_outcome)),
                                     .loss_out = emu_alloc(sizeof loss)};
    double *df = device_of(factor, sizeof factor);
    for (int clips = 0; clips < 2; clips++) {
        struct ddp_gpu_outcome out;
        a.factor = clips ? df : NULL;
        ddp_cuda_results(NULL, &a);
        emu_copy_out(out.metrics, a.out, sizeof out.metrics);
        emu_copy_out(out.factor, a.out->factor, sizeof out.factor);
        emu_copy_out(&out.refused, &a.out->refused, sizeof out.refused);
        emu_copy_out(loss_out, a.loss_out, sizeof loss_out);
        assert_memory_equal(out.metrics, metrics, sizeof metrics);
        assert_true(out.factor[0] == (clips ? 0.25 : 1) && out.factor[1] == (clips ? 12.5 : -1));
        assert_int_equal(out.refused, 41);
        assert_memory_equal(loss_out, loss, sizeof loss);
    }
    emu_free((void *)a.metrics), emu_free((void *)a.refused), emu_free((void *)a.loss), emu_free(df);
    emu_free(a.out), emu_free(a.loss_out);
    assert_int_equal(emu_faults(), 0);
}

/* In doubles, over rows that are longer than what is summed; placed: they lie in another order. */
static void check_rows(int shards, int width, int row, bool placed)
{
    const size_t all = (size_t)shards * (size_t)row;
    double *leaves = ddp_calloc(all, 8), *work = ddp_calloc((size_t)shards * (size_t)width, 8);
    double *want = ddp_calloc((size_t)width, 8), *got = ddp_calloc((size_t)width, 8);
    int32_t *merges = ddp_calloc((size_t)shards, sizeof *merges);
    int32_t *place = ddp_calloc((size_t)shards, sizeof *place);
    for (int s = 0; s < shards; s++) {
        merges[s] = ddp_tree_merges_after(shards, 0, s, s + 1);
        place[s] = placed ? shards - 1 - s : s;
        double *leaf = leaves + (int64_t)place[s] * row;
        for (int i = 0; i < row; i++)
            leaf[i] = uniform(s * row + i, 6) / 3.0 * (i % 3 ? 1 : 1000);
        memcpy(work + (int64_t)s * width, leaf, (size_t)width * 8);
    }
    ddp_tree_sum_double(shards, width, work, want);
    double *dleaves = device_of(leaves, all * 8), *out = emu_alloc((size_t)width * 8);
    int32_t *dmerges = device_of(merges, (size_t)shards * sizeof *merges);
    int32_t *dplace = device_of(place, (size_t)shards * sizeof *place);
    ddp_cuda_sum_shards(NULL, &(struct ddp_gpu_shards_args){.count = width,
                                                            .row = row,
                                                            .shards = shards,
                                                            .leaves = dleaves,
                                                            .place = placed ? dplace : NULL,
                                                            .merges = dmerges,
                                                            .out = out});
    emu_copy_out(got, out, (size_t)width * 8);
    if (memcmp(got, want, (size_t)width * 8) != 0)
        fail_msg("%d shards: another sum", shards);
    emu_free(dleaves), emu_free(dmerges), emu_free(dplace), emu_free(out);
    free(leaves), free(work), free(want), free(got), free(merges), free(place);
}

static void test_sum_shards_is_the_canonical_tree(void **state)
{
    (void)state;
    for (int shards = 1; shards <= 16; shards++)
        check_rows(shards, 5, 7, shards % 2);
    check_rows(257, 300, 300, false);
    check_rows(64, 300, 300, true);
    assert_int_equal(emu_faults(), 0);
}

/* Whole blocks and a few elements of others, to rows and back into another array; nothing else is touched. */
static void test_spans_move_to_rows_and_back(void **state)
{
    (void)state;
    enum { BLOCKS = 6, ROWS = 2 * DDP_BLOCK + 64 };
    static const struct ddp_gpu_span spans[] = {{5 * DDP_BLOCK, 0, 12, 0},
                                                {1 * DDP_BLOCK, 16, DDP_BLOCK, 0},
                                                {2 * DDP_BLOCK, DDP_BLOCK + 16, DDP_BLOCK, 0},
                                                {0, 2 * DDP_BLOCK + 20, 4, 0}};
    static float flat[BLOCKS * DDP_BLOCK], rows[ROWS], want[BLOCKS * DDP_BLOCK], got[BLOCKS * DDP_BLOCK];
    for (int i = 0; i < BLOCKS * DDP_BLOCK; i++)
        flat[i] = uniform(i, 8), want[i] = -1;
    for (int i = 0; i < ROWS; i++)
        rows[i] = -2;
    for (size_t k = 0; k < DDP_COUNT(spans); k++)
        memcpy(want + spans[k].flat, flat + spans[k].flat, (size_t)spans[k].count * 4);
    struct ddp_gpu_spans_args a = {.span = device_of(spans, sizeof spans),
                                   .spans = DDP_COUNT(spans),
                                   .flat = device_of(flat, sizeof flat),
                                   .rows = device_of(rows, sizeof rows),
                                   .pack = true};
    ddp_cuda_move_spans(NULL, &a);
    emu_copy_out(rows, a.rows, sizeof rows);
    for (size_t k = 0; k < DDP_COUNT(spans); k++) {
        assert_memory_equal(rows + spans[k].row, flat + spans[k].flat, (size_t)spans[k].count * 4);
        assert_true(rows[spans[k].row + spans[k].count] == (k == 1 ? flat[2 * DDP_BLOCK] : -2));
    }
    for (int i = 0; i < BLOCKS * DDP_BLOCK; i++)
        got[i] = -1;
    emu_copy_in(a.flat, got, sizeof got);
    a.pack = false;
    ddp_cuda_move_spans(NULL, &a);
    emu_copy_out(got, a.flat, sizeof got);
    assert_memory_equal(got, want, sizeof got);
    emu_free((void *)(uintptr_t)a.span), emu_free(a.flat), emu_free(a.rows);
    assert_int_equal(emu_faults(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cast_rounds_to_nearest_even),
        cmocka_unit_test(test_add_range_keeps_the_order),
        cmocka_unit_test(test_metrics_fill_their_block),
        cmocka_unit_test(test_results_of_a_step),
        cmocka_unit_test(test_sum_nodes_is_the_canonical_tree),
        cmocka_unit_test(test_sum_shards_is_the_canonical_tree),
        cmocka_unit_test(test_spans_move_to_rows_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
