/* One step of the reduction on a device. Everything here is enqueued:
 *
 *   compute stream   backward, merges        leaf buffers: the pass and merges write them
 *   side stream      exchange, sums, updates leaf buffers: my slices of buffer 0 become sums, the rest is
 * read
 *
 * A bucket's event, recorded on the compute stream when the last of its blocks is final, is what the side
 * stream waits for; `done`, recorded on the side stream in finish(), is what the compute stream waits for. So
 * leaves are not overwritten by the next step before they were sent and summed, parameters not read before
 * they are new. The staging area is used by one bucket after the other, in the order of the side stream. */
#include "engine/gpu/reduce_private.h"
#include "ops/point/point_kernels.h"

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
    return moved(r, ddp_range_elements(ddp_bucket_slice(r->blocks, r->each, b, r->conf.size, rank)));
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
    if (alone(r))
        return;
    r->api->group_begin(r->comm);
    for (int rank = 0; rank < r->conf.size; rank++) {
        struct ddp_range a = trained_part(r, slice(r, b, rank));
        if (a.lo < a.hi)
            r->api->bcast(r->comm, r->side,
                          (float *)((double *)r->at[DDP_REGION_VALUES] + a.lo / DDP_BLOCK * 4),
                          (size_t)((a.hi - a.lo) / DDP_BLOCK * 8), rank);
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

/* ---- kernels over what I update of a bucket ---- */

/* state[at - k->state ..]: kernels count from the flat index. */
static float *state_at(const struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_bucket *k, int i)
{
    const uintptr_t state = (uintptr_t)r->at[DDP_REGION_STATE0 + i];
    const int64_t shift = k->state - k->mine.lo * DDP_BLOCK;
    return state ? (float *)(state + (uintptr_t)(shift * (int64_t)sizeof(float))) : NULL;
}

/* The trained part of mine; nodes: 0 reads the sum. False when there is none. */
static bool update_args(const struct ddp_gpu_reduce *r, int64_t b, int nodes, struct ddp_gpu_update_args *out)
{
    const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
    const struct ddp_range a = trained_part(r, ddp_range_elements(k->mine));
    *out = r->update;
    out->lo = a.lo;
    out->hi = a.hi;
    out->nodes.n = nodes;
    out->nodes.node = k->trained;
    out->sum = ddp_gpu_reduce_buffer(r, 0) + a.lo;
    out->state0 = state_at(r, k, 0);
    out->state1 = state_at(r, k, 1);
    return a.lo < a.hi;
}

static void sum(struct ddp_gpu_reduce *r, int64_t b)
{
    const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
    const struct ddp_range rest = rest_part(r, ddp_range_elements(k->mine));
    struct ddp_gpu_update_args args;
    if (update_args(r, b, r->nodes, &args)) {
        args.moments = !r->factored;
        r->api->kernels->update->sum_nodes(r->side, &args);
    }
    if (rest.lo < rest.hi && r->nodes > 1) /* the staging area will not last until finish */
        r->api->kernels->flat->sum_small(
            r->side, &(struct ddp_gpu_sum_args){.count = rest.hi - rest.lo,
                                                .nodes = {r->nodes, k->stats, r->stats.nodes.merges},
                                                .out = ddp_gpu_reduce_buffer(r, 0) + rest.lo});
}

/* From the nodes, or from what sum() left. */
static void update(struct ddp_gpu_reduce *r, int64_t b, bool summed)
{
    const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
    const struct ddp_range rest = rest_part(r, ddp_range_elements(k->mine));
    struct ddp_gpu_update_args args;
    if (update_args(r, b, summed ? 0 : r->nodes, &args))
        r->api->kernels->update->update(r->side, &args);
    if (rest.lo < rest.hi) {
        struct ddp_gpu_stats_args stats = r->stats;
        stats.lo = rest.lo;
        stats.hi = rest.hi;
        stats.nodes.n = summed ? 1 : r->nodes;
        stats.nodes.node = summed ? k->summed : k->stats;
        r->api->kernels->stats->stats(r->side, &stats);
    }
}

/* My nodes' metrics are final: whether this step may update anything is known before its first bucket is. */
static void guard(struct ddp_gpu_reduce *r)
{
    r->api->record(r->losses, r->compute);
    r->api->wait(r->side, r->losses);
    exchange_metrics(r);
    r->api->kernels->stats->guard(r->side, &r->guard);
    r->guarded = true;
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
    if (r->two_phases) {
        sum(r, b);
        exchange_values(r, b);
    } else {
        update(r, b, false);
        publish(r, b);
    }
}

/* LAMB whose sums had to wait: the moments, and the trust ratios from them. */
static void late_moments(struct ddp_gpu_reduce *r)
{
    struct ddp_gpu_between_args trust = r->between;
    for (int64_t b = 0; b < r->nbuckets; b++) {
        struct ddp_gpu_update_args args;
        if (update_args(r, b, 0, &args)) {
            args.moments = true;
            r->api->kernels->update->sum_nodes(r->side, &args);
        }
        exchange_values(r, b);
    }
    trust.clip_norm = 0;
    trust.scale = NULL;
    trust.factor = NULL;
    r->api->kernels->update->between(r->side, &trust);
}

static void second_phase(struct ddp_gpu_reduce *r)
{
    const bool late = r->factored && r->update.optim == DDP_GPU_LAMB;
    struct ddp_gpu_between_args between = r->between;
    if (late)
        between.optim = DDP_GPU_SGD; /* no trust ratios yet */
    r->api->kernels->update->between(r->side, &between);
    if (late)
        late_moments(r);
    for (int64_t b = 0; b < r->nbuckets; b++) {
        update(r, b, true);
        publish(r, b);
    }
}

/* ---- the step ---- */

void ddp_gpu_reduce_begin(struct ddp_gpu_reduce *r, const struct ddp_gpu_step *step)
{
    r->update.step = step;
    r->stats.step = step;
    r->between.step = step;
    r->guarded = false;
    for (int64_t b = 0; b < r->nbuckets; b++)
        r->bucket[b].missing = r->bucket[b].all.hi - r->bucket[b].all.lo;
    for (int64_t block = 0; block < r->blocks; block++)
        r->next_shard[block] = r->schedule.first;
}

float *ddp_gpu_reduce_leaf(struct ddp_gpu_reduce *r, int shard)
{
    if (shard < r->schedule.first || shard >= r->schedule.last)
        return NULL;
    return ddp_gpu_reduce_buffer(r, r->schedule.leaf[shard - r->schedule.first]);
}

/* Whether [lo, hi) of a shard may be reported now; notes it. */
static bool accept(struct ddp_gpu_reduce *r, int shard, int64_t lo, int64_t hi)
{
    if (r->fault.code != 0)
        return false;
    if (shard < r->schedule.first || shard >= r->schedule.last || lo < 0 || hi > r->total || lo > hi ||
        lo % DDP_BLOCK != 0 || hi % DDP_BLOCK != 0) {
        ddp_fail(
            &r->fault, DDP_E_USAGE,
            "device reduction: [%lld, %lld) of shard %d was reported; this rank has shards %d to %d, and "
            "ranges are whole blocks of %d in [0, %lld)",
            (long long)lo, (long long)hi, shard, r->schedule.first, r->schedule.last - 1, DDP_BLOCK,
            (long long)r->total);
        return false;
    }
    for (int64_t block = lo / DDP_BLOCK; block < hi / DDP_BLOCK; block++) {
        if (r->next_shard[block] != shard) {
            ddp_fail(
                &r->fault, DDP_E_USAGE,
                "device reduction: block %lld of shard %d was reported when shard %d was due: each block "
                "once per shard, shard after shard",
                (long long)block, shard, r->next_shard[block]);
            return false;
        }
        r->next_shard[block]++;
    }
    return true;
}

void ddp_gpu_reduce_ready(struct ddp_gpu_reduce *r, int shard, int64_t lo, int64_t hi)
{
    if (!accept(r, shard, lo, hi) || lo == hi)
        return;
    const struct ddp_schedule *s = &r->schedule;
    const int mine = shard - s->first;
    for (int i = s->start[mine]; i < s->start[mine + 1]; i++)
        r->api->kernels->flat->add_range(
            r->compute, &(struct ddp_gpu_range_args){.count = hi - lo,
                                                     .a = ddp_gpu_reduce_buffer(r, s->merge[i].into) + lo,
                                                     .b = ddp_gpu_reduce_buffer(r, s->merge[i].from) + lo});
    if (shard + 1 < s->last)
        return;
    if (hi == r->total)
        guard(r);
    const int64_t from = lo / DDP_BLOCK, to = hi / DDP_BLOCK;
    for (int64_t b = ddp_bucket_of(r->blocks, r->each, to - 1); b <= ddp_bucket_of(r->blocks, r->each, from);
         b++) {
        struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        k->missing -= (to < k->all.hi ? to : k->all.hi) - (from > k->all.lo ? from : k->all.lo);
        if (k->missing > 0)
            continue;
        if (!r->guarded) {
            ddp_fail(
                &r->fault, DDP_E_USAGE,
                "device reduction: [%lld, %lld) of shard %d was reported and completes a bucket, but the "
                "shard's metrics [%lld, %lld) were not; they come first",
                (long long)lo, (long long)hi, shard, (long long)r->conf.flat->metrics, (long long)r->total);
            return;
        }
        reduce_bucket(r, b);
    }
}

int ddp_gpu_reduce_finish(struct ddp_gpu_reduce *r, struct ddp_error *err)
{
    if (r->fault.code != 0)
        return ddp_fail(err, r->fault.code, "%s", r->fault.text);
    for (int64_t block = 0; block < r->blocks; block++)
        if (r->next_shard[block] != r->schedule.last)
            return ddp_fail(err, DDP_E_USAGE,
                            "device reduction: finish before block %lld of shard %d was reported ready",
                            (long long)block, r->next_shard[block]);
    if (r->two_phases)
        second_phase(r);
    r->api->record(r->done, r->side);
    r->api->wait(r->compute, r->done);
    return 0;
}

void ddp_gpu_reduce_small(struct ddp_gpu_reduce *r, struct ddp_gpu_stream *stream, int width,
                          const float *leaves, float *out)
{
    const struct ddp_gpu_reduce_conf *c = &r->conf;
    const int64_t row = c->small_width;
    float *all = r->at[DDP_REGION_SMALL];
    for (int s = r->schedule.first; s < r->schedule.last; s++)
        r->api->copy(stream, all + s * row, leaves + (int64_t)(s - r->schedule.first) * width,
                     (size_t)width * sizeof *all);
    if (c->size > 1) {
        r->api->group_begin(r->comm);
        for (int rank = 0; rank < c->size; rank++) {
            int first = ddp_tree_first_shard(c->shards, c->size, rank);
            int last = ddp_tree_first_shard(c->shards, c->size, rank + 1);
            for (int s = first; s < last; s++)
                r->api->bcast(r->comm, stream, all + s * row, (size_t)width, rank);
        }
        r->api->group_end(r->comm);
    }
    r->api->kernels->flat->sum_small(
        stream, &(struct ddp_gpu_sum_args){
                    .count = width,
                    .nodes = {c->shards, r->at[DDP_REGION_SMALL_NODE], r->at[DDP_REGION_SMALL_MERGES]},
                    .out = out});
}
