/* One step of the reduction on the host, in memory that all ranks see. Who writes what, and what orders it:
 *
 *     leaf buffers   their rank, until it counts the bucket in `arrived`; then the slice of a rank is read by
 *                    that rank only, its owner, who leaves the sum in buffer 0 of its own, where nobody else
 *                    looks for it
 *     block values   the owner of the block, in two copies: stages write them in turn, so that one may write
 *                    while slower ranks still read those of the stage before
 *     parameters     (behind apply) the owner
 *
 * All of these are published by the barrier that ends each stage; the last one ends the step. Counters only
 * ever grow (step * ranks): nothing is reset, and nobody can be a step ahead unseen. */
#include "reduce/host_private.h"

#include <string.h>

enum { TASK_BLOCKS = 4 }; /* merged or applied by one thread at a time */

/* x and y are each either dst itself or apart from it. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

static void add(const float *x, const float *y, float *dst, int64_t n)
{
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        dst[i] = x[i] + y[i];
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t tasks_for(int64_t blocks)
{
    return (blocks + TASK_BLOCKS - 1) / TASK_BLOCKS;
}

/* ---- a leaf is ready ---- */

struct merging {
    struct ddp_reduce *r;
    const struct ddp_ledger_entry *entry;
};

/* All merges that follow a report, for a few blocks: what was just written is still in cache. One addition
 * each, left operand first: 3 * 4 bytes per FLOP. */
static void merge_task(void *ctx, int task)
{
    const struct merging *m = ctx;
    const struct ddp_ledger_entry *e = m->entry;
    const int64_t total = m->r->conf.total;
    int64_t lo = e->blocks.lo + (int64_t)task * TASK_BLOCKS, hi = least(lo + TASK_BLOCKS, e->blocks.hi);
    for (int64_t block = lo; block < hi; block++) {
        for (int i = 0; i < e->merges; i++) {
            float *into = m->r->own + e->merge[i].into * total + block * DDP_BLOCK;
            const float *from = m->r->own + e->merge[i].from * total + block * DDP_BLOCK;
            add(into, from, into, DDP_BLOCK);
        }
    }
}

static void merge(struct ddp_reduce *r, const struct ddp_ledger_entry *e)
{
    struct merging m = {r, e};
    if (e->merges > 0)
        ddp_parallel(r->pool, (int)tasks_for(ddp_range_size(e->blocks)), merge_task, &m);
}

/* Tell the others that my nodes are final in this bucket. */
static void announce(struct ddp_reduce *r, int64_t b)
{
    struct ddp_reduce_arrivals *a = &r->arrivals[b];
    if (r->comm->size == 1) {
        atomic_store_explicit(&a->done, r->step, memory_order_relaxed);
        return;
    }
    uint32_t before = atomic_fetch_add_explicit(&a->arrived, 1, memory_order_acq_rel);
    if (before + 1 == r->step * (uint32_t)r->comm->size) /* only the last one wakes who sleeps */
        ddp_wait_add(&a->done, 1);
}

/* fast: hand finished buckets to the transport, in the same order on all ranks. */
static void begin_allreduces(struct ddp_reduce *r)
{
    while (r->begun < r->layout.buckets && r->bucket[r->begun].complete && r->fault.code == 0) {
        struct ddp_reduce_bucket *b = &r->bucket[r->begun];
        if (ddp_comm_allreduce_begin(r->comm, r->own + b->all.lo * DDP_BLOCK,
                                     (size_t)(b->all.hi - b->all.lo) * DDP_BLOCK, &b->request,
                                     &r->fault) == 0)
            r->begun++;
    }
}

/* ---- the owner's part ---- */

struct applying {
    struct ddp_reduce *r;
    const struct ddp_reduce_apply *apply;
    int stage, tasks;
    struct ddp_range range;
};

/* The top of the tree for some floats at `at` of the flat space, into buffer 0 of mine. With M shipped nodes:
 * M - 1 additions, M + 1 floats of memory traffic per element. */
static void combine(struct ddp_reduce *r, int64_t at, int64_t n, float *temp)
{
    const struct ddp_combine *c = &r->combine;
    for (int i = 0; i < c->nadds; i++) {
        const struct ddp_add *a = &c->add[i];
        const float *x = a->x < 0 ? temp + (-1 - a->x) * DDP_REDUCE_PIECE : r->node[a->x] + at;
        const float *y = a->y < 0 ? temp + (-1 - a->y) * DDP_REDUCE_PIECE : r->node[a->y] + at;
        add(x, y, i + 1 < c->nadds ? temp + a->dst * DDP_REDUCE_PIECE : r->own + at, n);
    }
}

static void apply_blocks(const struct applying *j, int64_t lo, int64_t hi, float *temp)
{
    struct ddp_reduce *r = j->r;
    double *values = r->values[j->stage % 2];
    if (j->stage == 0) {
        for (int64_t at = lo * DDP_BLOCK; at < hi * DDP_BLOCK; at += DDP_REDUCE_PIECE)
            combine(r, at, DDP_REDUCE_PIECE, temp);
    } else {
        size_t each = (size_t)r->conf.block_values;
        memcpy(values + (size_t)lo * each, r->values[(j->stage - 1) % 2] + (size_t)lo * each,
               (size_t)(hi - lo) * each * sizeof *values);
    }
    j->apply->run(j->apply->ctx, j->stage, lo * DDP_BLOCK, hi * DDP_BLOCK, r->own + lo * DDP_BLOCK, values);
}

/* Task t of the threads: a part of the range, a few blocks at a time. */
static void apply_task(void *ctx, int task)
{
    const struct applying *j = ctx;
    float *temp = j->r->temp + (int64_t)task * j->r->combine.temps * DDP_REDUCE_PIECE;
    int64_t chunks = tasks_for(j->range.hi - j->range.lo);
    int64_t from = chunks * task / j->tasks, to = chunks * (task + 1) / j->tasks;
    for (int64_t i = from; i < to; i++) {
        int64_t lo = j->range.lo + i * TASK_BLOCKS;
        apply_blocks(j, lo, least(lo + TASK_BLOCKS, j->range.hi), temp);
    }
}

static void apply_slice(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, int stage, int64_t b)
{
    struct ddp_range mine = r->bucket[b].mine;
    int64_t chunks = tasks_for(mine.hi - mine.lo);
    struct applying j = {r, apply, stage, (int)least(ddp_pool_threads(r->pool), chunks), mine};
    ddp_parallel(r->pool, j.tasks, apply_task, &j);
}

/* Stage 0 of every bucket that all ranks have finished, without waiting. Returns the first bucket still to
 * do. */
static int64_t apply_complete(struct ddp_reduce *r, const struct ddp_reduce_apply *apply)
{
    int64_t first = r->layout.buckets;
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        if (r->bucket[b].applied)
            continue;
        if (atomic_load_explicit(&r->arrivals[b].done, memory_order_acquire) == r->step) {
            apply_slice(r, apply, 0, b);
            r->bucket[b].applied = true;
        } else if (first == r->layout.buckets) {
            first = b;
        }
    }
    return first;
}

/* ---- the step ---- */

void ddp_reduce_begin(struct ddp_reduce *r)
{
    ddp_ledger_open(&r->ledger);
    r->step++;
    r->begun = 0;
    for (int64_t b = 0; b < r->layout.buckets; b++)
        r->bucket[b].complete = r->bucket[b].applied = false;
}

float *ddp_reduce_leaf(struct ddp_reduce *r, int shard)
{
    int buffer = ddp_ledger_leaf(&r->ledger, shard);
    return buffer < 0 ? NULL : r->own + buffer * r->conf.total;
}

void ddp_reduce_ready(struct ddp_reduce *r, int shard, int64_t lo, int64_t hi,
                      const struct ddp_reduce_apply *apply)
{
    struct ddp_ledger_entry e;
    if (!ddp_ledger_report(&r->ledger, shard, lo, hi, &e))
        return;
    merge(r, &e);
    for (int64_t b = e.complete.lo; b < e.complete.hi; b++) {
        r->bucket[b].complete = true;
        if (!r->conf.fast)
            announce(r, b);
    }
    if (r->conf.fast)
        begin_allreduces(r);
    else if (e.last && apply != NULL && apply->stages == 1)
        apply_complete(r, apply);
}

void ddp_reduce_empty(struct ddp_reduce *r, int shard, const struct ddp_reduce_apply *apply)
{
    float *leaf = ddp_reduce_leaf(r, shard);
    if (leaf != NULL)
        memset(leaf, 0, (size_t)r->conf.total * sizeof *leaf);
    ddp_reduce_ready(r, shard, 0, r->conf.total, apply);
}

static int check_finish(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, struct ddp_error *err)
{
    if (r->fault.code != 0)
        return ddp_fail(err, r->fault.code, "%s", r->fault.text);
    if (apply == NULL || apply->run == NULL || apply->stages < 1)
        return ddp_fail(err, DDP_E_USAGE,
                        "reduce: finish needs an apply with a run function and at least 1 stage");
    return ddp_ledger_close(&r->ledger, err);
}

static int gone(const struct ddp_reduce *r, struct ddp_error *err)
{
    return ddp_fail(err, DDP_E_COMM, "reduce: another rank ended the job in step %u", r->step);
}

/* Stage 0 on all I own, waiting for the other ranks' buckets. */
static int finish_canonical(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, struct ddp_error *err)
{
    int64_t b;
    while ((b = apply_complete(r, apply)) < r->layout.buckets) {
        double from = ddp_pulse_wait_begin(DDP_WAIT_BUCKET, b);
        bool reached = ddp_wait_reached(&r->arrivals[b].done, r->step, r->comm->spin, r->comm->stop_word);
        r->waited += ddp_pulse_wait_end(from);
        if (!reached)
            return gone(r, err);
    }
    return 0;
}

static int finish_fast(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, struct ddp_error *err)
{
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        double from = ddp_pulse_wait_begin(DDP_WAIT_BUCKET, b);
        int code = ddp_comm_allreduce_end(r->comm, r->bucket[b].request, err);
        r->waited += ddp_pulse_wait_end(from);
        if (code != 0)
            return code;
        apply_slice(r, apply, 0, b);
    }
    return 0;
}

static bool meet(struct ddp_reduce *r)
{
    if (r->comm->size == 1)
        return true;
    double from = ddp_pulse_wait_begin(DDP_WAIT_STEP, 0);
    bool all = ddp_barrier_wait(&r->control->barrier, r->comm, &r->round);
    r->waited += ddp_pulse_wait_end(from);
    return all;
}

int ddp_reduce_finish(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, bool stop_vote, bool *stop,
                      struct ddp_error *err)
{
    int code = check_finish(r, apply, err);
    if (code != 0)
        return code;
    ddp_word *vote = &r->control->vote[r->step % 2].step;
    if (stop_vote)
        atomic_store_explicit(vote, r->step, memory_order_relaxed); /* the barrier publishes it */

    code = r->conf.fast ? finish_fast(r, apply, err) : finish_canonical(r, apply, err);
    if (code != 0)
        return code;
    if (!meet(r))
        return gone(r, err);
    for (int stage = 1; stage < apply->stages; stage++) {
        if (apply->between != NULL)
            apply->between(apply->ctx, stage - 1, r->values[(stage - 1) % 2], r->layout.blocks);
        for (int64_t b = 0; b < r->layout.buckets; b++)
            apply_slice(r, apply, stage, b);
        if (!meet(r))
            return gone(r, err);
    }
    *stop = atomic_load_explicit(vote, memory_order_relaxed) == r->step;
    return 0;
}

double ddp_reduce_waited(struct ddp_reduce *r)
{
    double waited = r->waited;
    r->waited = 0;
    return waited;
}
