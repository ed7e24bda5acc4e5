/* Additions on the host: one program of the tree over some floats, a rank's share of its node's sums, and the
 * sums of what it owns, applied. */
#include "reduce/host_private.h"

#include <string.h>

/* x and y are each either dst itself or apart from it. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

void ddp_reduce_add(const float *x, const float *y, float *dst, int64_t n)
{
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        dst[i] = x[i] + y[i];
}

void ddp_reduce_add_up(const struct ddp_combine *c, const float *const *input, int64_t at, float *dst,
                       int64_t n, float *temp)
{
    for (int i = 0; i < c->nadds; i++) {
        const struct ddp_add *a = &c->add[i];
        const float *x = a->x < 0 ? temp + (-1 - a->x) * DDP_REDUCE_PIECE : input[a->x] + at;
        const float *y = a->y < 0 ? temp + (-1 - a->y) * DDP_REDUCE_PIECE : input[a->y] + at;
        ddp_reduce_add(x, y, i + 1 < c->nadds ? temp + a->dst * DDP_REDUCE_PIECE : dst, n);
    }
}

/* ---- a rank's share ---- */

/* Blocks [lo, hi): all tree nodes of my node's cover. */
static void share_blocks(struct ddp_reduce *r, int64_t lo, int64_t hi, float *temp)
{
    for (int i = 0; i < r->covers; i++) {
        const struct ddp_reduce_cover *k = &r->cover[i];
        for (int64_t at = lo * DDP_BLOCK; at < hi * DDP_BLOCK && k->combine.nadds > 0; at += DDP_REDUCE_PIECE)
            ddp_reduce_add_up(&k->combine, k->input, at, k->sum + at, DDP_REDUCE_PIECE, temp);
    }
}

struct sharing {
    struct ddp_reduce *r;
    struct ddp_range range; /* blocks */
    int tasks;
};

/* Task t of the threads: a part of the share. */
static void share_task(void *ctx, int task)
{
    const struct sharing *s = ctx;
    const int64_t blocks = ddp_range_size(s->range);
    share_blocks(s->r, s->range.lo + blocks * task / s->tasks, s->range.lo + blocks * (task + 1) / s->tasks,
                 s->r->temp + (int64_t)task * s->r->temps * DDP_REDUCE_PIECE);
}

void ddp_reduce_share(struct ddp_reduce *r, int64_t bucket)
{
    struct sharing s = {r, r->bucket[bucket].share, 0};
    s.range.lo += r->bucket[bucket].shared_blocks;
    const int64_t blocks = ddp_range_size(s.range), threads = ddp_pool_threads(r->pool);
    s.tasks = (int)(blocks < threads ? blocks : threads);
    ddp_parallel(r->pool, s.tasks, share_task, &s);
}

bool ddp_reduce_share_some(struct ddp_reduce *r, int64_t bucket, int64_t blocks)
{
    struct ddp_reduce_bucket *b = &r->bucket[bucket];
    const int64_t lo = b->share.lo + b->shared_blocks, hi = ddp_reduce_least(lo + blocks, b->share.hi);
    share_blocks(r, lo, hi, r->temp);
    b->shared_blocks += hi - lo;
    return hi == b->share.hi;
}

/* ---- the owner's part ---- */

struct applying {
    struct ddp_reduce *r;
    const struct ddp_reduce_apply *apply;
    int stage, tasks;
    struct ddp_range range; /* blocks */
    const struct ddp_reduce_bucket *bucket;
};

/* timed: in the calling thread, whose time is counted. */
static void apply_blocks(const struct applying *j, int64_t lo, int64_t hi, float *temp, bool timed)
{
    struct ddp_reduce *r = j->r;
    double *values = r->values[j->stage % 2];
    if (j->stage == 0) {
        for (int64_t at = lo * DDP_BLOCK; at < hi * DDP_BLOCK; at += DDP_REDUCE_PIECE)
            ddp_reduce_add_up(&r->combine, j->bucket->input, at - j->bucket->mine.lo * DDP_BLOCK, r->own + at,
                              DDP_REDUCE_PIECE, temp);
    } else {
        size_t each = (size_t)r->conf.block_values;
        memcpy(values + (size_t)lo * each, r->values[(j->stage - 1) % 2] + (size_t)lo * each,
               (size_t)(hi - lo) * each * sizeof *values);
    }
    const double from = timed ? ddp_now() : 0;
    const int64_t refused = j->apply->run(j->apply->ctx, j->stage, lo * DDP_BLOCK, hi * DDP_BLOCK,
                                          r->own + lo * DDP_BLOCK, values);
    if (timed)
        r->spent.apply += ddp_now() - from;
    if (refused >= 0)
        ddp_reduce_refuse(r, (uint32_t)refused + 1);
}

/* Task t of the threads: a part of the range, a few blocks at a time. */
static void apply_task(void *ctx, int task)
{
    const struct applying *j = ctx;
    float *temp = j->r->temp + (int64_t)task * j->r->temps * DDP_REDUCE_PIECE;
    const struct ddp_range range = j->range;
    int64_t chunks = ddp_reduce_tasks(range.hi - range.lo);
    int64_t from = chunks * task / j->tasks, to = chunks * (task + 1) / j->tasks;
    for (int64_t i = from; i < to; i++) {
        int64_t lo = range.lo + i * DDP_REDUCE_TASK_BLOCKS;
        apply_blocks(j, lo, ddp_reduce_least(lo + DDP_REDUCE_TASK_BLOCKS, range.hi), temp, task == 0);
    }
}

void ddp_reduce_apply_slice(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, int stage, int64_t b)
{
    struct ddp_range left = r->bucket[b].mine;
    left.lo += stage == 0 ? r->bucket[b].applied_blocks : 0;
    int64_t chunks = ddp_reduce_tasks(left.hi - left.lo);
    struct applying j = {r,    apply,        stage, (int)ddp_reduce_least(ddp_pool_threads(r->pool), chunks),
                         left, &r->bucket[b]};
    ddp_parallel(r->pool, j.tasks, apply_task, &j);
}

bool ddp_reduce_apply_some(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, int64_t bucket,
                           int64_t blocks)
{
    struct ddp_reduce_bucket *b = &r->bucket[bucket];
    const int64_t lo = b->mine.lo + b->applied_blocks, hi = ddp_reduce_least(lo + blocks, b->mine.hi);
    const struct applying j = {r, apply, 0, 1, {lo, hi}, b};
    if (lo < hi)
        apply_blocks(&j, lo, hi, r->temp, true);
    b->applied_blocks += hi - lo;
    return hi == b->mine.hi;
}
