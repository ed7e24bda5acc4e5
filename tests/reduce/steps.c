/* Steps of a reduction with gradients that are known, and the sums that they must give. */
#include "reduce/steps.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reduce/tree.h"

/* Sizes spread over 2^24, so that nearly every sum of three is rounded and its order shows. */
static float value(int step, int shard, int64_t i)
{
    uint32_t h = (uint32_t)i * 2654435761u ^ (uint32_t)(shard * 40503 + step * 7919 + 1) * 2246822519u;
    h = (h ^ h >> 16) * 0x7feb352du;
    h = (h ^ h >> 15) * 0x846ca68bu;
    h ^= h >> 16;
    return ((float)(h & 0xfffff) / 1048576.0f - 0.48f) * (float)(1 << (h >> 20 & 7)) *
           (h & 1u << 30 ? 256.0f : 1.0f);
}

static bool is_empty(const struct plan *p, int step, int shard)
{
    return p->empties && (shard + step) % 5 == 4;
}

static void fill(const struct plan *p, int step, int shard, int64_t lo, int64_t hi, float *leaf)
{
    for (int64_t i = lo; i < hi; i++)
        leaf[i] = is_empty(p, step, shard) ? 0 : value(step, shard, i);
}

static void tree(const struct plan *p, int step, int lo, int hi, float *out)
{
    int64_t total = (int64_t)p->blocks * DDP_BLOCK;
    if (hi - lo == 1) {
        fill(p, step, lo, 0, total, out);
        return;
    }
    int half = 1;
    while (2 * half < hi - lo)
        half *= 2;
    float *right = malloc((size_t)total * sizeof *right);
    tree(p, step, lo, lo + half, out);
    tree(p, step, lo + half, hi, right);
    for (int64_t i = 0; i < total; i++)
        out[i] = out[i] + right[i];
    free(right);
}

static void left_to_right(const struct plan *p, int step, int ranks, float *out)
{
    int64_t total = (int64_t)p->blocks * DDP_BLOCK;
    float *part = malloc((size_t)total * sizeof *part), *one = malloc((size_t)total * sizeof *one);
    for (int r = 0; r < ranks; r++) {
        int first = r * p->shards / ranks, last = (r + 1) * p->shards / ranks;
        fill(p, step, first, 0, total, part);
        for (int s = first + 1; s < last; s++) {
            fill(p, step, s, 0, total, one);
            for (int64_t i = 0; i < total; i++)
                part[i] += one[i];
        }
        for (int64_t i = 0; i < total; i++)
            out[i] = r == 0 ? part[i] : out[i] + part[i];
    }
    free(part);
    free(one);
}

void steps_prepare(struct plan *p, int ranks)
{
    int64_t total = (int64_t)p->blocks * DDP_BLOCK;
    p->want = malloc((size_t)p->steps * (size_t)total * sizeof *p->want);
    p->scale = calloc((size_t)p->steps * (size_t)total, sizeof *p->scale);
    for (int step = 0; step < p->steps; step++) {
        float *want = p->want + step * total, *scale = p->scale + step * total;
        if (p->fast && p->exact == 1)
            left_to_right(p, step, ranks, want);
        else
            tree(p, step, 0, p->shards, want);
        for (int s = 0; s < p->shards && p->exact == 0; s++)
            for (int64_t i = 0; i < total; i++)
                scale[i] += fabsf(value(step, s, i));
    }
}

void steps_forget(struct plan *p)
{
    free(p->want);
    free(p->scale);
    p->want = p->scale = NULL;
}

static const struct plan plans[] = {
    {.shards = 1, .blocks = 5, .bucket_blocks = 2, .stages = 1, .order = BACKWARD, .threads = 1, .steps = 4},
    {.shards = 8, .blocks = 9, .bucket_blocks = 4, .stages = 1, .order = BACKWARD, .threads = 1, .steps = 6},
    {.shards = 8, .blocks = 9, .bucket_blocks = 4, .stages = 3, .order = BACKWARD, .threads = 1, .steps = 6},
    {.shards = 8, .blocks = 40, .bucket_blocks = 100, .stages = 1, .order = WHOLE, .threads = 2, .steps = 3},
    {.shards = 8,
     .blocks = 41,
     .bucket_blocks = 13,
     .stages = 3,
     .order = FORWARD_THREES,
     .threads = 3,
     .steps = 3},
    {.shards = 13,
     .blocks = 7,
     .bucket_blocks = 1,
     .stages = 1,
     .order = SCRAMBLED,
     .threads = 1,
     .steps = 5},
    {.shards = 13,
     .blocks = 7,
     .bucket_blocks = 3,
     .stages = 1,
     .order = FORWARD_THREES,
     .threads = 2,
     .steps = 3},
    {.shards = 13,
     .blocks = 7,
     .bucket_blocks = 3,
     .stages = 3,
     .order = SCRAMBLED,
     .threads = 1,
     .steps = 3,
     .empties = true},
    {.shards = 24,
     .blocks = 4,
     .bucket_blocks = 2,
     .stages = 1,
     .order = BACKWARD,
     .threads = 1,
     .steps = 3,
     .empties = true},
    {.shards = 6,
     .blocks = 3,
     .bucket_blocks = 1,
     .stages = 1,
     .order = WHOLE,
     .threads = 1,
     .steps = 3,
     .empties = true},
    {.shards = 13,
     .blocks = 7,
     .bucket_blocks = 2,
     .side_by_side = true,
     .stages = 1,
     .order = SCRAMBLED,
     .threads = 1,
     .steps = 3},
    {.shards = 11,
     .blocks = 7,
     .bucket_blocks = 2,
     .side_by_side = true,
     .interleaved = true,
     .stages = 3,
     .order = BACKWARD,
     .threads = 2,
     .steps = 3},
    {.shards = 3, .blocks = 1, .bucket_blocks = 1, .stages = 1, .order = WHOLE, .threads = 1, .steps = 12},
};

int steps_canonical(struct ddp_comm *c, int n, const int *node)
{
    for (size_t i = 0; i < DDP_COUNT(plans); i++) {
        struct plan p = plans[i];
        if (n > p.shards)
            continue;
        p.exact = 1;
        steps_prepare(&p, n);
        int line = c != NULL ? steps_run(c, &p) : ranks_run_on(n, node, steps_run, &p);
        steps_forget(&p);
        if (line != 0) {
            fprintf(stderr, "plan %zu on %d ranks\n", i, n);
            return line;
        }
    }
    return 0;
}

/* What the callbacks of a rank see. */
struct rank {
    const struct plan *plan;
    const struct ddp_comm *comm;
    int step;
    float *result;       /* shared */
    atomic_int *applied; /* shared, [blocks]: calls of run per block */
    atomic_bool bad;
    struct ddp_pool *pool;
    unsigned random;
    int betweens;
};

static double block_value(const struct rank *k, int64_t block)
{
    return k->plan->want[(int64_t)k->step * k->plan->blocks * DDP_BLOCK + block * DDP_BLOCK];
}

/* One stage copies. Three: norms, scaling in place, copying; each checks what the stage before left. */
/* Every third block is refused by who owns it, in the last step: the last of `blocks`. */
static int64_t last_refused(const struct rank *k, int64_t blocks)
{
    return k->step + 1 == k->plan->steps && blocks >= 2 ? (blocks - 2) / 3 * 3 + 1 : -1;
}

static int64_t run(void *ctx, int stage, int64_t lo, int64_t hi, float *sum, double *values)
{
    struct rank *k = ctx;
    const int64_t refused = last_refused(k, hi / DDP_BLOCK);
    if (lo % DDP_BLOCK != 0 || hi % DDP_BLOCK != 0 || lo >= hi)
        k->bad = true;
    for (int64_t block = lo / DDP_BLOCK; block < hi / DDP_BLOCK; block++) {
        atomic_fetch_add(&k->applied[block], 1);
        if (k->plan->stages == 1)
            continue;
        double *v = values + 2 * block;
        if (stage == 0) {
            v[0] = sum[block * DDP_BLOCK - lo];
        } else if (stage == 1) {
            k->bad = k->bad || v[0] != block_value(k, block);
            v[0] = -v[0];
            v[1] = 3 * v[0];
        } else {
            k->bad = k->bad || v[0] != -block_value(k, block) || v[1] != 3 * v[0];
            v[0] = v[1] = 1e30;
        }
    }
    if (k->plan->stages == 3 && stage == 1)
        for (int64_t i = 0; i < hi - lo; i++)
            sum[i] *= 2;
    if (stage == k->plan->stages - 1)
        memcpy(k->result + lo, sum, (size_t)(hi - lo) * sizeof *sum);
    return stage == 0 && refused >= lo / DDP_BLOCK ? refused : -1;
}

/* A slow rank still reads the values when the others are in the next stage. */
static void between(void *ctx, int stage, const double *values, int64_t blocks)
{
    struct rank *k = ctx;
    if (k->comm->rank == k->step % k->comm->size)
        usleep(300);
    k->bad = k->bad || blocks != k->plan->blocks || stage != k->betweens % 2;
    k->betweens++;
    for (int64_t block = 0; block < blocks; block++) {
        double want = block_value(k, block);
        if (stage == 0)
            k->bad = k->bad || values[2 * block] != want;
        else
            k->bad = k->bad || values[2 * block] != -want || values[2 * block + 1] != -3 * want;
    }
}

/* The n-th range that an order reports; false when there are no more. */
static bool range_of(const struct plan *p, int n, int64_t *lo, int64_t *hi)
{
    int64_t block;
    switch (p->order) {
    case WHOLE:
        *lo = 0, *hi = (int64_t)p->blocks * DDP_BLOCK;
        return n == 0;
    case FORWARD_THREES:
        *lo = (int64_t)3 * n * DDP_BLOCK;
        *hi = *lo + 3 * DDP_BLOCK;
        if (*hi > (int64_t)p->blocks * DDP_BLOCK)
            *hi = (int64_t)p->blocks * DDP_BLOCK;
        return 3 * n < p->blocks;
    case BACKWARD:
        block = p->blocks - 1 - n;
        break;
    default: /* every second one, then those left out */
        block = 2 * n < p->blocks ? 2 * n : 2 * (n - (p->blocks + 1) / 2) + 1;
    }
    *lo = block * DDP_BLOCK, *hi = *lo + DDP_BLOCK;
    return n < p->blocks;
}

static void nap(void *ctx, int task)
{
    (void)ctx, (void)task;
    usleep(120);
}

/* Nothing, a pause, or computing of a few tasks. */
static void stir(struct rank *k)
{
    k->random = k->random * 1664525u + 1013904223u;
    const unsigned what = k->random >> 16;
    if (k->plan->stir == 0 || what % 3 == 0)
        return;
    if (what % 3 == 1)
        usleep(what % 400);
    else
        ddp_parallel(k->pool, (int)(what % 23), nap, NULL);
}

static void report(struct ddp_reduce *r, struct rank *k, int shard, float *leaf, int n,
                   const struct ddp_reduce_apply *apply)
{
    int64_t lo, hi;
    if (range_of(k->plan, n, &lo, &hi)) {
        fill(k->plan, k->step, shard, lo, hi, leaf);
        ddp_reduce_ready(r, shard, lo, hi, apply);
        stir(k);
    }
}

static int one_step(struct ddp_comm *c, struct ddp_reduce *r, struct rank *k,
                    const struct ddp_reduce_apply *apply)
{
    const struct plan *p = k->plan;
    int first = ddp_reduce_first_shard(r), last = ddp_reduce_last_shard(r);
    float *leaf[64];
    ddp_reduce_begin(r);
    for (int s = first; p->side_by_side && s < last; s++) {
        leaf[s - first] = ddp_reduce_leaf(r, s);
        for (int t = first; t < s; t++)
            CHECK(c, leaf[t - first] != leaf[s - first]);
    }
    if (p->interleaved) {
        for (int n = 0; n < p->blocks; n++)
            for (int s = first; s < last; s++)
                report(r, k, s, leaf[s - first], n, apply);
        return 0;
    }
    for (int s = first; s < last; s++) {
        if (is_empty(p, k->step, s)) {
            ddp_reduce_empty(r, s, apply);
            continue;
        }
        float *mine = p->side_by_side ? leaf[s - first] : ddp_reduce_leaf(r, s);
        for (int n = 0; n < p->blocks; n++)
            report(r, k, s, mine, n, apply);
    }
    return 0;
}

static int check_step(struct ddp_comm *c, const struct rank *k)
{
    const struct plan *p = k->plan;
    int64_t total = (int64_t)p->blocks * DDP_BLOCK, differ = 0;
    const float *want = p->want + k->step * total, *scale = p->scale + k->step * total;
    float factor = p->stages == 3 ? 2 : 1;
    CHECK(c, !k->bad);
    CHECK(c, k->betweens == (k->step + 1) * (p->stages - 1));
    for (int64_t block = 0; block < p->blocks && c->nodes == 1; block++)
        CHECK(c, k->applied[block] == (k->step + 1) * p->stages); /* one owner, each stage once */
    for (int64_t i = 0; i < total; i++) {
        float w = factor * want[i];
        differ += memcmp(&k->result[i], &w, sizeof w) != 0;
        if (p->exact == 0)
            CHECK(c, fabsf(k->result[i] - w) <= 2e-6f * scale[i]);
    }
    CHECK(c, p->exact != 1 || differ == 0);
    CHECK(c, p->exact != -1 || differ > total / 4);
    return 0;
}

/* Over all nodes: one owner, each stage once in each step. */
static int check_owners(struct ddp_comm *c, const struct rank *k)
{
    const struct plan *p = k->plan;
    struct ddp_error err = {0};
    const size_t bytes = (size_t)p->blocks * sizeof(atomic_int);
    int *all = malloc((size_t)c->size * bytes);
    CHECK_OK(c, ddp_comm_allgather(c, k->applied, all, bytes, &err), &err);
    for (int64_t block = 0; block < p->blocks; block++) {
        int calls = 0;
        for (int n = 0; n < c->nodes; n++)
            calls += all[(int64_t)c->at[n].first * p->blocks + block];
        CHECK(c, calls == p->steps * p->stages);
    }
    free(all);
    return 0;
}

int steps_run(struct ddp_comm *c, void *ctx)
{
    const struct plan *p = ctx;
    struct ddp_error err = {0};
    struct ddp_pool *pool = NULL;
    struct ddp_reduce *r = NULL;
    int64_t total = (int64_t)p->blocks * DDP_BLOCK;
    size_t bytes = (size_t)total * sizeof(float) + (size_t)p->blocks * sizeof(atomic_int);
    void *base = NULL;
    struct ddp_reduce_conf conf = {.shards = p->shards,
                                   .fast = p->fast,
                                   .side_by_side = p->side_by_side,
                                   .total = total,
                                   .bucket = (int64_t)p->bucket_blocks * DDP_BLOCK + 17,
                                   .block_values = p->stages == 3 ? 2 : 0};
    CHECK_OK(c, ddp_comm_shared_alloc(c, bytes, &base, &err), &err);
    conf.result = base;
    CHECK_OK(c, ddp_pool_create(p->threads, NULL, c->spin, &pool, &err), &err);
    CHECK_OK(c, ddp_reduce_create(&conf, c, pool, &r, &err), &err);
    struct rank k = {.plan = p, .comm = c, .result = base, .applied = (atomic_int *)((float *)base + total)};
    k.pool = pool;
    k.random = p->stir * 7919u + (unsigned)c->rank;
    struct ddp_reduce_apply apply = {.ctx = &k, .stages = p->stages, .run = run, .between = between};

    long allocations = 0;
    for (k.step = 0; k.step < p->steps; k.step++) {
        /* votes: nobody, one rank, nobody, all, ... in steps next to each other */
        bool vote = k.step % 4 == 3 || (k.step % 4 == 1 && c->rank == k.step % c->size), stop = !vote;
        int line = one_step(c, r, &k, &apply);
        if (line != 0)
            return line;
        CHECK_OK(c, ddp_reduce_finish(r, &apply, vote, &stop, &err), &err);
        CHECK(c, stop == (k.step % 2 == 1));
        CHECK(c, ddp_reduce_refused(r) == last_refused(&k, p->blocks));
        line = check_step(c, &k);
        if (line != 0)
            return line;
        if (k.step <= 1) { /* the first steps may allocate in the transport */
            CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
            allocations = ddp_alloc_count();
            CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
        }
    }
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    CHECK(c, p->steps <= 2 || p->may_allocate || ddp_alloc_count() == allocations);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    const int line = check_owners(c, &k);
    if (line != 0)
        return line;
    ddp_reduce_destroy(r);
    ddp_pool_destroy(pool);
    ddp_comm_shared_free(c, base, bytes);
    return 0;
}

/* ---- small sums ---- */

static double small_value(int round, int shard, int i)
{
    uint32_t h = (uint32_t)(round * 7919 + shard * 131 + i) * 2654435761u;
    h ^= h >> 15;
    return ((double)(h & 0xffff) - 30000) * (1 << (h >> 16 & 7)) / 1025; /* more digits than a float has */
}

int steps_small(struct ddp_comm *c, void *ctx)
{
    int shards = *(int *)ctx;
    enum { WIDTH = 37, ROUNDS = 50 };
    struct ddp_error err = {0};
    struct ddp_small *s = NULL;
    static const int widths[] = {1, 5, WIDTH};
    static _Thread_local double leaves[64 * WIDTH], all[64 * WIDTH];
    double want[WIDTH], got[WIDTH + 1];
    CHECK_OK(c, ddp_small_create(c, shards, WIDTH, &s, &err), &err);
    CHECK(c, ddp_small_sum(s, 0, leaves, got, &err) == DDP_E_USAGE);
    CHECK(c, ddp_small_sum(s, WIDTH + 1, leaves, got, &err) == DDP_E_USAGE);
    int first = ddp_tree_first_shard(shards, c->size, c->seat),
        last = ddp_tree_first_shard(shards, c->size, c->seat + 1);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    long allocations = ddp_alloc_count();
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    for (int round = 0; round < ROUNDS; round++) {
        int width = widths[round % 3];
        for (int k = 0; k < shards; k++)
            for (int i = 0; i < width; i++) {
                all[k * width + i] = small_value(round, k, i);
                if (k >= first && k < last)
                    leaves[(k - first) * width + i] = all[k * width + i];
            }
        got[width] = 77;
        CHECK_OK(c, ddp_small_sum(s, width, leaves, got, &err), &err);
        ddp_tree_sum_double(shards, width, all, want);
        CHECK(c, memcmp(got, want, (size_t)width * sizeof *got) == 0 && got[width] == 77);
    }
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    CHECK(c, ddp_alloc_count() == allocations);
    CHECK_OK(c, ddp_comm_barrier(c, &err), &err);
    ddp_small_destroy(s);
    return 0;
}
