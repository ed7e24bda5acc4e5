/* One step of the reduction on a device. Everything here is enqueued:
 *
 *     compute stream   backward, merges    leaf buffers: the pass and merges write them
 *     side stream      exchange, stages    leaf buffers: my slices of buffer 0 become sums, the rest is read
 *
 * A bucket's event, recorded on the compute stream when the last of its blocks is final, is what the side
 * stream waits for; `done`, recorded on the side stream in finish(), is what the compute stream waits for. So
 * leaves are not overwritten by the next step before they were sent and summed, parameters not read before
 * they are new. The staging area is used by one bucket after the other, in the order of the side stream. */
#include "ops/point/point_kernels.h"
#include "reduce/device_private.h"

static float *params_at(const struct ddp_gpu_reduce *r, int64_t at)
{
    return (float *)r->at[DDP_REGION_PARAMS] + at;
}

/* Without the metrics, which travel before everything else. */
static struct ddp_range moved(const struct ddp_gpu_reduce *r, struct ddp_range a)
{
    return ddp_range_clip(a, (struct ddp_range){0, r->conf.flat->metrics});
}

/* Its trained part, and the statistics behind. */
static struct ddp_range trained_part(const struct ddp_gpu_reduce *r, struct ddp_range a)
{
    return ddp_range_clip(a, (struct ddp_range){0, r->conf.flat->stats});
}

static struct ddp_range rest_part(const struct ddp_gpu_reduce *r, struct ddp_range a)
{
    return ddp_range_clip(a, (struct ddp_range){r->conf.flat->stats, r->conf.flat->metrics});
}

/* Slice of a rank in a bucket. */
static struct ddp_range slice(const struct ddp_gpu_reduce *r, int64_t b, int rank)
{
    return moved(r, ddp_range_elements(ddp_reduce_layout_slice(&r->layout, b, rank)));
}

static bool alone(const struct ddp_gpu_reduce *r)
{
    return r->conf.size == 1 || r->conf.fast;
}

/* ---- exchanges, on the side stream ---- */

/* My nodes' metrics to everybody, the others' to me; with `fast` their sum. */
static void exchange_metrics(struct ddp_gpu_reduce *r)
{
    float *rows = r->at[DDP_REGION_GUARD];
    const int64_t metrics = r->conf.flat->metrics;
    if (r->conf.fast) {
        r->api->copy(r->side, rows, ddp_gpu_reduce_buffer(r, 0) + metrics, DDP_GPU_METRICS * sizeof *rows);
        if (r->conf.size > 1)
            r->api->allreduce(r->comm, r->side, rows, DDP_GPU_METRICS);
        return;
    }
    if (r->conf.size == 1)
        return;
    r->api->group_begin(r->comm);
    for (int i = 0; i < r->nodes; i++) {
        const struct ddp_gpu_reduce_node *node = &r->node[i];
        if (node->slot >= 0)
            r->api->recv(r->comm, r->side, rows + (int64_t)node->slot * DDP_GPU_METRICS, DDP_GPU_METRICS,
                         node->rank);
        for (int rank = 0; node->slot < 0 && rank < r->conf.size; rank++)
            if (rank != r->conf.rank)
                r->api->send(r->comm, r->side, ddp_gpu_reduce_buffer(r, node->buffer) + metrics,
                             DDP_GPU_METRICS, rank);
    }
    r->api->group_end(r->comm);
}

/* My nodes' slices to who owns them, the others' nodes of my slice into the staging area. Between two ranks
 * messages match in their order: node after node on both sides. */
static void exchange_nodes(struct ddp_gpu_reduce *r, int64_t b)
{
    const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
    const int64_t row = (k->mine.hi - k->mine.lo) * DDP_BLOCK;
    const struct ddp_range mine = moved(r, ddp_range_elements(k->mine));
    if (alone(r))
        return;
    r->api->group_begin(r->comm);
    for (int i = 0; i < r->nodes; i++) {
        const struct ddp_gpu_reduce_node *node = &r->node[i];
        if (node->slot >= 0 && mine.lo < mine.hi)
            r->api->recv(r->comm, r->side, (float *)r->at[DDP_REGION_STAGING] + node->slot * row,
                         (size_t)(mine.hi - mine.lo), node->rank);
        for (int rank = 0; node->slot < 0 && rank < r->conf.size; rank++) {
            struct ddp_range theirs = slice(r, b, rank);
            if (rank != r->conf.rank && theirs.lo < theirs.hi)
                r->api->send(r->comm, r->side, ddp_gpu_reduce_buffer(r, node->buffer) + theirs.lo,
                             (size_t)(theirs.hi - theirs.lo), rank);
        }
    }
    r->api->group_end(r->comm);
}

/* The values of every owner's trained blocks in a bucket, to all. A double travels as two floats: broadcasts
 * leave bits alone. */
static void exchange_values(struct ddp_gpu_reduce *r, int64_t b)
{
    const int64_t n = r->conf.block_values;
    if (alone(r) || n == 0)
        return;
    r->api->group_begin(r->comm);
    for (int rank = 0; rank < r->conf.size; rank++) {
        struct ddp_range a = trained_part(r, slice(r, b, rank));
        if (a.lo < a.hi)
            r->api->bcast(r->comm, r->side,
                          (float *)((double *)r->at[DDP_REGION_VALUES] + a.lo / DDP_BLOCK * n),
                          (size_t)((a.hi - a.lo) / DDP_BLOCK * n * 2), rank);
    }
    r->api->group_end(r->comm);
}

static void convert(struct ddp_gpu_reduce *r, struct ddp_range a)
{
    const struct ddp_gpu_cast_args cast = {.type = r->conf.type,
                                           .count = a.hi - a.lo,
                                           .f = params_at(r, a.lo),
                                           .t = (char *)r->at[DDP_REGION_WEIGHTS] +
                                                (size_t)a.lo * ddp_gpu_type_bytes(r->conf.type)};
    if (a.lo < a.hi)
        r->api->kernels->point->cast_from_float(r->side, &cast);
}

/* New parameters from their owners to all, and the others' into the compute type. */
static void publish(struct ddp_gpu_reduce *r, int64_t b)
{
    if (alone(r))
        return;
    r->api->group_begin(r->comm);
    for (int rank = 0; rank < r->conf.size; rank++) {
        struct ddp_range a = slice(r, b, rank);
        if (a.lo < a.hi)
            r->api->bcast(r->comm, r->side, params_at(r, a.lo), (size_t)(a.hi - a.lo), rank);
    }
    r->api->group_end(r->comm);
    if (r->conf.type == DDP_GPU_F32)
        return;
    const struct ddp_range all = trained_part(r, ddp_range_elements(r->bucket[b].all));
    const struct ddp_range mine = trained_part(r, ddp_range_elements(r->bucket[b].mine));
    convert(r, (struct ddp_range){all.lo, mine.lo});
    convert(r, (struct ddp_range){mine.hi, all.hi});
}

/* ---- stages over what I update of a bucket ---- */

static struct ddp_gpu_slice slice_of(const struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_bucket *k,
                                     struct ddp_range a, int nodes, const float *const *node)
{
    return (struct ddp_gpu_slice){.lo = a.lo,
                                  .hi = a.hi,
                                  .nodes = {nodes, node, r->at[DDP_REGION_MERGES]},
                                  .sum = ddp_gpu_reduce_buffer(r, 0) + a.lo,
                                  .kept = k->kept + (a.lo - k->mine.lo * DDP_BLOCK)};
}

/* Statistics wait for the last stage in the sum: the staging area does not last until finish. */
static void keep_stats(struct ddp_gpu_reduce *r, const struct ddp_gpu_slice *s)
{
    if (s->nodes.n > 1)
        r->api->kernels->flat->sum_small(
            r->side, &(struct ddp_gpu_sum_args){.count = s->hi - s->lo, .nodes = s->nodes, .out = s->sum});
}

static void run_stage(struct ddp_gpu_reduce *r, int64_t b, int stage)
{
    const struct ddp_gpu_apply *apply = r->apply;
    const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
    const struct ddp_range mine = ddp_range_elements(k->mine);
    const struct ddp_range trained = trained_part(r, mine), rest = rest_part(r, mine);
    const bool first = stage == 0, last = stage + 1 == apply->stages;
    if (trained.lo < trained.hi) {
        const struct ddp_gpu_slice s = slice_of(r, k, trained, first ? r->nodes : 0, k->trained);
        apply->run(apply->ctx, stage, &s, r->at[DDP_REGION_VALUES], r->side);
    }
    if (rest.lo < rest.hi && (first || last)) {
        const struct ddp_gpu_slice s =
            slice_of(r, k, rest, first ? r->nodes : 1, first ? k->stats : k->summed);
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
    exchange_metrics(r);
    r->api->kernels->stats->guard(r->side, &r->guard);
}

/* A bucket in which my nodes are final. */
static void reduce_bucket(struct ddp_gpu_reduce *r, int64_t b)
{
    const struct ddp_range all = moved(r, ddp_range_elements(r->bucket[b].all));
    r->api->record(r->bucket[b].complete, r->compute);
    r->api->wait(r->side, r->bucket[b].complete);
    if (r->conf.fast && r->conf.size > 1 && all.lo < all.hi)
        r->api->allreduce(r->comm, r->side, ddp_gpu_reduce_buffer(r, 0) + all.lo, (size_t)(all.hi - all.lo));
    exchange_nodes(r, b);
    run_stage(r, b, 0);
    if (r->apply->stages == 1)
        publish(r, b);
    else
        exchange_values(r, b);
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
                publish(r, b);
            else
                exchange_values(r, b);
        }
    }
}

/* ---- the step ---- */

void ddp_gpu_reduce_begin(struct ddp_gpu_reduce *r, const struct ddp_gpu_apply *apply)
{
    ddp_ledger_open(&r->ledger);
    r->apply = apply;
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
        reduce_bucket(r, b);
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

void ddp_gpu_reduce_gather(struct ddp_gpu_reduce *r, const float *kept, float *full)
{
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        const struct ddp_range mine = trained_part(r, ddp_range_elements(k->mine));
        if (mine.lo < mine.hi)
            r->api->copy(r->side, full + mine.lo, kept + k->kept,
                         (size_t)ddp_range_size(mine) * sizeof *full);
        if (alone(r))
            continue;
        r->api->group_begin(r->comm);
        for (int rank = 0; rank < r->conf.size; rank++) {
            const struct ddp_range a = trained_part(r, slice(r, b, rank));
            if (a.lo < a.hi)
                r->api->bcast(r->comm, r->side, full + a.lo, (size_t)ddp_range_size(a), rank);
        }
        r->api->group_end(r->comm);
    }
    r->api->record(r->done, r->side);
    r->api->wait(r->compute, r->done);
}

void ddp_gpu_reduce_small(struct ddp_gpu_reduce *r, struct ddp_gpu_stream *stream, int width,
                          const double *leaves, double *out)
{
    const struct ddp_gpu_reduce_conf *c = &r->conf;
    const int64_t row = c->small_width;
    double *all = r->at[DDP_REGION_SMALL];
    for (int s = r->schedule.first; s < r->schedule.last; s++)
        r->api->copy(stream, all + s * row, leaves + (int64_t)(s - r->schedule.first) * width,
                     (size_t)width * sizeof *all);
    if (c->size > 1) {
        r->api->group_begin(r->comm);
        for (int rank = 0; rank < c->size; rank++) {
            const struct ddp_range shards = ddp_reduce_layout_shards(&r->layout, rank);
            for (int64_t s = shards.lo; s < shards.hi; s++)
                r->api->bcast(r->comm, stream, (float *)(void *)(all + s * row), 2 * (size_t)width,
                              rank); /* moved as they are */
        }
        r->api->group_end(r->comm);
    }
    r->api->kernels->flat->sum_shards(stream,
                                      &(struct ddp_gpu_shards_args){.count = width,
                                                                    .shards = c->shards,
                                                                    .row = row,
                                                                    .leaves = all,
                                                                    .merges = r->at[DDP_REGION_SMALL_MERGES],
                                                                    .out = out});
}
