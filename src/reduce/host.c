/* One step of the reduction on the host, in memory that all ranks of a node see. Who writes what, and what
 * orders it:
 *
 *     leaf buffers   their rank, until it counts the bucket in `arrived`; then the slice of a rank is read by
 *                    that rank only, its owner, who leaves the sum in buffer 0 of its own, where nobody else
 *                    looks for it
 *     block values   the owner of the block, in two copies: stages write them in turn, so that one may write
 *                    while slower ranks still read those of the stage before
 *     parameters     (behind apply) the owner
 *
 * All of these are published by the barrier that ends each stage; the last one ends the step. Counters only
 * ever grow (step * ranks): nothing is reset, and nobody can be a step ahead unseen.
 *
 * Where there are several nodes, a bucket takes two turns more (layout.h):
 *
 *     arrived    every rank of the node   its share of the node's sums is this rank's to read and to write
 *     shared     every member of a lane   the lane's port sends the sums; nobody writes them but the owner
 *                                         of a slice, when they are here from all nodes
 *     came       the port                 the other nodes' sums are in staging: owners add up and apply
 *     applied    every member             the port sends the results
 *
 * What can be done of that is done a few blocks at a time between the tasks of backward, where a port moves
 * its messages on, too: a layer may take longer than a bucket on the wire. A port waits for nobody asleep
 * while a message is under way; the others sleep on `moved`, which counts all that they may wait for. */
#include "reduce/host_private.h"

#include <sched.h>
#include <string.h>

#define LOOK_S 3e-4 /* between two looks at what others have done, while this rank computes */
enum { LOOK_BLOCKS = 8 };

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
    int64_t lo = e->blocks.lo + (int64_t)task * DDP_REDUCE_TASK_BLOCKS,
            hi = ddp_reduce_least(lo + DDP_REDUCE_TASK_BLOCKS, e->blocks.hi);
    for (int64_t block = lo; block < hi; block++) {
        for (int i = 0; i < e->merges; i++) {
            float *into = m->r->own + e->merge[i].into * total + block * DDP_BLOCK;
            const float *from = m->r->own + e->merge[i].from * total + block * DDP_BLOCK;
            ddp_reduce_add(into, from, into, DDP_BLOCK);
        }
    }
}

static void merge(struct ddp_reduce *r, const struct ddp_ledger_entry *e)
{
    struct merging m = {r, e};
    if (e->merges > 0)
        ddp_parallel(r->pool, (int)ddp_reduce_tasks(ddp_range_size(e->blocks)), merge_task, &m);
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
    if (before + 1 == r->step * (uint32_t)r->comm->local_size) /* only the last one wakes who sleeps */
    {
        ddp_wait_add(&a->done, 1);
        if (r->layout.nodes > 1)
            ddp_wait_add(&r->control->moved, 1);
    }
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

/* ---- what follows from the others ---- */

/* Whether what I own of a bucket can be added up. */
static bool is_here(const struct ddp_reduce *r, int64_t b)
{
    const ddp_word *word = r->layout.nodes > 1 ? &ddp_reduce_crossing(r, b)->came : &r->arrivals[b].done;
    return ddp_reduce_reached(r, word, 1);
}

/* Whether my share of what the node's ranks have finished can be added up. */
static bool is_share_due(const struct ddp_reduce *r, int64_t b)
{
    return r->layout.nodes > 1 && !r->bucket[b].shared && ddp_reduce_reached(r, &r->arrivals[b].done, 1);
}

static void note_shared(struct ddp_reduce *r, int64_t b)
{
    r->bucket[b].shared = true;
    atomic_fetch_add_explicit(&ddp_reduce_crossing(r, b)->shared, 1, memory_order_acq_rel);
}

static void note_applied(struct ddp_reduce *r, int64_t b)
{
    if (r->layout.nodes > 1)
        atomic_fetch_add_explicit(&ddp_reduce_crossing(r, b)->applied, 1, memory_order_acq_rel);
}

/* A stage for what I own of a bucket; behind the last one it may be sent. */
static void apply_one(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, int stage, int64_t b)
{
    ddp_reduce_apply_slice(r, apply, stage, b);
    if (stage + 1 == apply->stages)
        note_applied(r, b);
}

/* All that can be done without waiting: shares, and stage 0 (apply NULL: not yet). Returns the first bucket
 * that stage 0 is still to do. */
static int64_t advance(struct ddp_reduce *r, const struct ddp_reduce_apply *apply)
{
    int64_t first = r->layout.buckets;
    r->busy = true;
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        if (r->bucket[b].applied)
            continue;
        if (is_share_due(r, b)) {
            const double from = ddp_now();
            ddp_reduce_share(r, b);
            note_shared(r, b);
            r->worked += ddp_now() - from;
        }
        if (apply != NULL && is_here(r, b)) {
            const double from = ddp_now();
            apply_one(r, apply, 0, b);
            r->bucket[b].applied = true;
            r->worked += ddp_now() - from;
        } else if (first == r->layout.buckets) {
            first = b;
        }
    }
    if (r->wire != NULL)
        ddp_wire_poll(r);
    r->busy = false;
    return first;
}

/* The same for a few blocks of the first bucket where something can be done. False: there is none. */
static bool do_some(struct ddp_reduce *r)
{
    const struct ddp_reduce_apply *apply = r->apply.run != NULL ? &r->apply : NULL;
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        struct ddp_reduce_bucket *k = &r->bucket[b];
        if (k->applied || !k->complete)
            continue;
        if (is_share_due(r, b)) {
            if (ddp_reduce_share_some(r, b, LOOK_BLOCKS))
                note_shared(r, b);
            return true;
        }
        if (apply != NULL && is_here(r, b)) {
            k->applied = ddp_reduce_apply_some(r, apply, b, LOOK_BLOCKS);
            if (k->applied)
                note_applied(r, b);
            return true;
        }
    }
    return false;
}

void ddp_reduce_look_up(void *ctx)
{
    struct ddp_reduce *r = ctx;
    if (!r->open || r->conf.fast || r->fault.code != 0)
        return;
    const double now = ddp_now();
    if (now - r->looked < LOOK_S)
        return;
    if (r->wire != NULL)
        ddp_wire_poll(r);
    const bool more = !r->busy && do_some(r);
    const double after = ddp_now();
    r->spent.under += r->within ? 0 : after - now;
    r->looked = more ? 0 : after;
}

/* ---- the step ---- */

void ddp_reduce_begin(struct ddp_reduce *r)
{
    ddp_ledger_open(&r->ledger);
    r->step++;
    r->begun = 0;
    for (int64_t b = 0; b < r->layout.buckets; b++)
        r->bucket[b].complete = r->bucket[b].shared = r->bucket[b].applied = false;
    for (int64_t b = 0; b < r->layout.buckets && r->layout.nodes > 1; b++)
        r->bucket[b].shared_blocks = r->bucket[b].applied_blocks = 0;
    r->apply.run = NULL;
    r->open = true;
    if (r->wire != NULL)
        ddp_wire_begin(r);
}

float *ddp_reduce_leaf(struct ddp_reduce *r, int shard)
{
    int buffer = ddp_ledger_leaf(&r->ledger, shard);
    return buffer < 0 ? NULL : r->own + buffer * r->conf.total;
}

/* What follows from a report that the ledger has taken. */
static void follow(struct ddp_reduce *r, const struct ddp_ledger_entry *e,
                   const struct ddp_reduce_apply *apply)
{
    merge(r, e);
    if (apply != NULL && apply->stages == 1)
        r->apply = *apply;
    for (int64_t b = e->complete.lo; b < e->complete.hi; b++) {
        r->bucket[b].complete = true;
        if (!r->conf.fast)
            announce(r, b);
    }
    if (r->conf.fast)
        begin_allreduces(r);
    else if (e->last && apply != NULL && apply->stages == 1)
        advance(r, apply);
    else if (e->last && r->layout.nodes > 1)
        advance(r, NULL);
}

void ddp_reduce_ready(struct ddp_reduce *r, int shard, int64_t lo, int64_t hi,
                      const struct ddp_reduce_apply *apply)
{
    struct ddp_ledger_entry e;
    if (!ddp_ledger_report(&r->ledger, shard, lo, hi, &e))
        return;
    const double from = ddp_now();
    r->within = true;
    follow(r, &e, apply);
    r->within = false;
    r->spent.under += ddp_now() - from;
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

/* What ended a wait. */
static int fail(const struct ddp_reduce *r, struct ddp_error *err)
{
    if (r->fault.code != 0)
        return ddp_fail(err, r->fault.code, "%s", r->fault.text);
    return ddp_fail(err, DDP_E_COMM, "reduce: another rank ended the job in step %u", r->step);
}

/* A port between two looks at its messages: whoever else wants the core has it. False: there is nothing to
 * wait for any more. */
static bool rest(const struct ddp_reduce *r)
{
    const ddp_word *stop = r->comm->stop_word;
    if (r->fault.code != 0 || (stop != NULL && atomic_load_explicit(stop, memory_order_acquire) != 0))
        return false;
    sched_yield();
    return true;
}

static bool wait_for(struct ddp_reduce *r, int64_t bucket, ddp_word *word, uint32_t target)
{
    const double from = ddp_pulse_wait_begin(DDP_WAIT_BUCKET, bucket);
    const bool reached = ddp_wait_reached(word, target, r->comm->spin, r->comm->stop_word);
    r->waited += ddp_pulse_wait_end(from);
    return reached;
}

/* A port looks at its messages again and again, until something can be done; what it can do of other buckets
 * meanwhile is no waiting. */
static bool wait_awake(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, int64_t bucket)
{
    bool on = true;
    const double worked = r->worked, from = ddp_pulse_wait_begin(DDP_WAIT_BUCKET, bucket);
    while (on && advance(r, apply) == bucket)
        on = rest(r);
    r->waited += ddp_pulse_wait_end(from) - (r->worked - worked);
    return on && r->fault.code == 0;
}

/* Stage 0 on all I own, waiting for the other ranks' buckets. */
static bool finish_canonical(struct ddp_reduce *r, const struct ddp_reduce_apply *apply)
{
    for (;;) {
        const uint32_t moved = atomic_load_explicit(&r->control->moved, memory_order_acquire);
        const int64_t b = advance(r, apply);
        if (r->fault.code != 0 || b == r->layout.buckets)
            return r->fault.code == 0;
        const bool on = r->wire != NULL       ? wait_awake(r, apply, b)
                        : r->layout.nodes > 1 ? wait_for(r, b, &r->control->moved, moved + 1)
                                              : wait_for(r, b, &r->arrivals[b].done, r->step);
        if (!on)
            return false;
    }
}

static bool finish_fast(struct ddp_reduce *r, const struct ddp_reduce_apply *apply)
{
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        double from = ddp_pulse_wait_begin(DDP_WAIT_BUCKET, b);
        int code = ddp_comm_allreduce_end(r->comm, r->bucket[b].request, &r->fault);
        r->waited += ddp_pulse_wait_end(from);
        if (code != 0)
            return false;
        apply_one(r, apply, 0, b);
        if (r->wire != NULL)
            ddp_wire_poll(r);
    }
    return r->fault.code == 0;
}

static bool meet(struct ddp_reduce *r)
{
    if (r->comm->local_size == 1)
        return true;
    double from = ddp_pulse_wait_begin(DDP_WAIT_STEP, 0);
    bool all = ddp_barrier_wait(&r->control->barrier, r->comm, &r->round);
    r->waited += ddp_pulse_wait_end(from);
    return all;
}

/* A stage's block values, where all ranks read them. */
static bool publish_values(struct ddp_reduce *r, int stage)
{
    if (r->wire != NULL)
        ddp_wire_flush(r); /* nobody may wait for what only moves when this rank is awake */
    if (r->fault.code != 0 || !meet(r))
        return false;
    if (r->layout.nodes == 1)
        return true;
    if (r->wire != NULL)
        ddp_wire_values(r, r->values[stage % 2]);
    return r->fault.code == 0 && meet(r);
}

/* Everybody's results are here, and what was mine to send is gone. */
static bool publish_results(struct ddp_reduce *r)
{
    bool on = true;
    if (r->wire != NULL && !ddp_wire_is_through(r)) {
        const double from = ddp_pulse_wait_begin(DDP_WAIT_MESSAGE, 0);
        for (ddp_wire_poll(r); on && !ddp_wire_is_through(r); ddp_wire_poll(r))
            on = rest(r);
        r->waited += ddp_pulse_wait_end(from);
    }
    r->open = false;
    return on && r->fault.code == 0 && meet(r);
}

static bool run_stages(struct ddp_reduce *r, const struct ddp_reduce_apply *apply)
{
    if (!(r->conf.fast ? finish_fast(r, apply) : finish_canonical(r, apply)))
        return false;
    for (int stage = 1; stage < apply->stages; stage++) {
        if (!publish_values(r, stage - 1))
            return false;
        if (apply->between != NULL)
            apply->between(apply->ctx, stage - 1, r->values[(stage - 1) % 2], r->layout.blocks);
        for (int64_t b = 0; b < r->layout.buckets; b++) {
            apply_one(r, apply, stage, b);
            if (r->wire != NULL)
                ddp_wire_poll(r);
        }
    }
    if (r->layout.nodes > 1) /* its vote goes with its node's last results, and waits for nothing else */
        atomic_fetch_add_explicit(&r->control->voted, 1, memory_order_acq_rel);
    return publish_results(r);
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
    r->within = true;
    const bool done = run_stages(r, apply);
    r->within = false;
    if (!done)
        return fail(r, err);
    *stop = atomic_load_explicit(vote, memory_order_relaxed) == r->step;
    return 0;
}

int64_t ddp_reduce_refused(const struct ddp_reduce *r)
{
    return (int64_t)atomic_load_explicit(&r->control->refused, memory_order_relaxed) - 1;
}

bool ddp_reduce_own(const struct ddp_reduce *r, int64_t i, struct ddp_range *blocks, const float **sum)
{
    if (i >= r->layout.buckets)
        return false;
    *blocks = r->bucket[i].mine;
    *sum = r->own + blocks->lo * DDP_BLOCK;
    return true;
}

struct ddp_reduce_spent ddp_reduce_spent(const struct ddp_reduce *r)
{
    return r->spent;
}

double ddp_reduce_waited(struct ddp_reduce *r)
{
    double waited = r->waited;
    r->waited = 0;
    return waited;
}
