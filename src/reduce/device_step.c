/* One step of the reduction on a device. Everything here is enqueued:
 *
 *     compute stream   backward, merges    leaf buffers: the pass and merges write them
 *     side stream      exchange, stages    leaf buffers: my slices of buffer 0 become sums, the rest is read
 *
 * A bucket's event, recorded on the compute stream when the last of its blocks is final, is what the side
 * stream waits for; `done`, recorded on the side stream in finish(), is what the compute stream waits for. So
 * leaves are not overwritten by the next step before they were sent and summed, parameters not read before
 * they are new. Staging areas are used by one bucket after the other, in the order of the side stream. */
#include "reduce/device_private.h"

/* The statistics behind what is trained. */
static struct ddp_range rest_part(const struct ddp_gpu_reduce *r, struct ddp_range a)
{
    return ddp_range_clip(a, (struct ddp_range){r->conf.flat->stats, r->conf.flat->metrics});
}

/* The values of every owner's trained blocks. A double travels as two floats: moving leaves bits alone. */
static void spread_values(struct ddp_gpu_reduce *r, int64_t b)
{
    const struct ddp_range trained = {0, r->conf.flat->stats / DDP_BLOCK};
    ddp_gpu_wire_spread(r, b, trained, r->at[DDP_REGION_VALUES], 2 * (int64_t)r->conf.block_values, 0);
}

/* ---- my node's sums ---- */

/* In place of each cover's first input; nobody else reads that over my share. */
static void sum_covers(struct ddp_gpu_reduce *r, int64_t b)
{
    const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
    const struct ddp_range share = ddp_gpu_reduce_moved(r, ddp_range_elements(k->share));
    const int32_t *inner = (const int32_t *)r->at[DDP_REGION_MERGES] + r->nodes;
    for (int i = 0; i < r->covers && share.lo < share.hi; i++) {
        const struct ddp_gpu_reduce_cover *c = &r->cover[i];
        if (c->inputs > 1)
            r->api->kernels->flat->sum_nodes(
                r->side,
                &(struct ddp_gpu_sum_args){.count = ddp_range_size(share),
                                           .nodes = {c->inputs, k->inputs + c->first, inner + c->first},
                                           .out = ddp_gpu_reduce_cover_at(r, k, i, share.lo)});
    }
}

/* ---- stages over what I update of a bucket ---- */

static struct ddp_gpu_slice slice_of(const struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_bucket *k,
                                     struct ddp_range a, int nodes, const float *const *node)
{
    const int32_t *merges = (const int32_t *)r->at[DDP_REGION_MERGES] + r->nodes + r->inputs;
    return (struct ddp_gpu_slice){.lo = a.lo,
                                  .hi = a.hi,
                                  .nodes = {nodes, node, merges},
                                  .sum = ddp_gpu_reduce_buffer(r, 0) + a.lo,
                                  .kept = k->kept + (a.lo - k->mine.lo * DDP_BLOCK)};
}

/* Statistics wait for the last stage in the sum: the staging area does not last until finish. */
static void keep_stats(struct ddp_gpu_reduce *r, const struct ddp_gpu_slice *s)
{
    if (s->nodes.n > 1)
        r->api->kernels->flat->sum_nodes(
            r->side, &(struct ddp_gpu_sum_args){.count = s->hi - s->lo, .nodes = s->nodes, .out = s->sum});
}

static void run_stage(struct ddp_gpu_reduce *r, int64_t b, int stage)
{
    const struct ddp_gpu_apply *apply = r->apply;
    const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
    const struct ddp_range mine = ddp_range_elements(k->mine);
    const struct ddp_range trained = ddp_gpu_reduce_trained(r, mine), rest = rest_part(r, mine);
    const bool first = stage == 0, last = stage + 1 == apply->stages;
    if (trained.lo < trained.hi) {
        const struct ddp_gpu_slice s = slice_of(r, k, trained, first ? r->terms : 0, k->trained);
        apply->run(apply->ctx, stage, &s, r->at[DDP_REGION_VALUES], r->side);
    }
    if (rest.lo < rest.hi && (first || last)) {
        const struct ddp_gpu_slice s =
            slice_of(r, k, rest, first ? r->terms : 1, first ? k->stats : k->summed);
        if (last)
            apply->stats(apply->ctx, &s, r->side);
        else
            keep_stats(r, &s);
    }
}

/* My nodes' metrics are final: whether this step may update anything is known before its first bucket is. */
static void guard(struct ddp_gpu_reduce *r)
{
    r->api->record(r->losses, r->compute);
    r->api->wait(r->side, r->losses);
    ddp_gpu_wire_metrics(r);
    r->api->kernels->stats->guard(r->side, &r->guard);
}

/* A bucket in which my nodes are final; last: of all. */
static void reduce_bucket(struct ddp_gpu_reduce *r, int64_t b, bool last)
{
    const struct ddp_range all = ddp_gpu_reduce_moved(r, ddp_range_elements(r->bucket[b].all));
    r->api->record(r->bucket[b].complete, r->compute);
    r->api->wait(r->side, r->bucket[b].complete);
    if (r->conf.fast && r->conf.size > 1 && all.lo < all.hi)
        r->api->allreduce(r->comm, r->side, ddp_gpu_reduce_buffer(r, 0) + all.lo, (size_t)(all.hi - all.lo));
    if (!ddp_gpu_reduce_alone(r))
        ddp_gpu_wire_inputs(r, b);
    if (r->several) {
        sum_covers(r, b);
        ddp_gpu_wire_covers(r, b);
    }
    run_stage(r, b, 0);
    if (r->apply->stages == 1)
        ddp_gpu_reduce_publish(r, b, last);
    else
        spread_values(r, b);
}

/* All buckets have passed stage 0: the others, each over all buckets. */
static void later_stages(struct ddp_gpu_reduce *r)
{
    const struct ddp_gpu_apply *apply = r->apply;
    for (int stage = 1; stage < apply->stages; stage++) {
        apply->between(apply->ctx, stage - 1, r->at[DDP_REGION_VALUES], r->side);
        for (int64_t b = 0; b < r->layout.buckets; b++) {
            run_stage(r, b, stage);
            if (stage + 1 == apply->stages)
                ddp_gpu_reduce_publish(r, b, b + 1 == r->layout.buckets);
            else
                spread_values(r, b);
        }
    }
}

/* ---- the step ---- */

void ddp_gpu_reduce_begin(struct ddp_gpu_reduce *r, const struct ddp_gpu_apply *apply)
{
    ddp_ledger_open(&r->ledger);
    r->apply = apply;
    r->reduced = 0;
}

float *ddp_gpu_reduce_leaf(struct ddp_gpu_reduce *r, int shard)
{
    const int buffer = ddp_ledger_leaf(&r->ledger, shard);
    return buffer < 0 ? NULL : ddp_gpu_reduce_buffer(r, buffer);
}

static void merge(struct ddp_gpu_reduce *r, const struct ddp_ledger_entry *e)
{
    const struct ddp_range a = ddp_range_elements(e->blocks);
    for (int i = 0; i < e->merges; i++)
        r->api->kernels->flat->add_range(
            r->compute, &(struct ddp_gpu_range_args){.count = ddp_range_size(a),
                                                     .a = ddp_gpu_reduce_buffer(r, e->merge[i].into) + a.lo,
                                                     .b = ddp_gpu_reduce_buffer(r, e->merge[i].from) + a.lo});
}

void ddp_gpu_reduce_ready(struct ddp_gpu_reduce *r, int shard, int64_t lo, int64_t hi)
{
    struct ddp_ledger_entry e;
    if (!ddp_ledger_report(&r->ledger, shard, lo, hi, &e))
        return;
    merge(r, &e);
    if (e.early)
        guard(r);
    for (int64_t b = e.complete.lo; b < e.complete.hi; b++)
        reduce_bucket(r, b, ++r->reduced == r->layout.buckets);
}

int ddp_gpu_reduce_finish(struct ddp_gpu_reduce *r, struct ddp_error *err)
{
    const int code = ddp_ledger_close(&r->ledger, err);
    if (code != 0)
        return code;
    later_stages(r);
    r->api->record(r->done, r->side);
    r->api->wait(r->compute, r->done);
    return 0;
}
