/* What a reduction on a device consists of, before anything is there: pure functions of its conf. */
#include <stdlib.h>

#include "reduce/device_private.h"

static int64_t bucket_blocks(const struct ddp_gpu_reduce_conf *c)
{
    return c->bucket > DDP_BLOCK ? c->bucket / DDP_BLOCK : 1;
}

static struct ddp_schedule_conf schedule_conf(const struct ddp_gpu_reduce_conf *c)
{
    return (struct ddp_schedule_conf){c->shards, c->fast, c->side_by_side};
}

/* All nodes of all ranks in order; with `fast` the one sum. */
static void plan_nodes(struct ddp_gpu_reduce *r)
{
    const struct ddp_schedule_conf conf = schedule_conf(&r->conf);
    struct ddp_shipment *all = NULL;
    r->nodes = ddp_schedule_shipments(&conf, r->conf.fast ? 1 : r->conf.size, &all);
    r->node = ddp_calloc((size_t)r->nodes, sizeof *r->node);
    for (int i = 0; i < r->nodes; i++) {
        const bool mine = r->conf.fast || all[i].rank == r->conf.rank;
        r->node[i] = (struct ddp_gpu_reduce_node){
            .rank = all[i].rank, .buffer = all[i].buffer, .slot = mine ? -1 : r->others++};
    }
    free(all);
}

/* The buckets, my largest slice and what I update in all, in elements. */
static void plan_buckets(struct ddp_gpu_reduce *r, int64_t *largest, int64_t *updated)
{
    r->bucket = ddp_calloc((size_t)r->nbuckets, sizeof *r->bucket);
    *largest = *updated = 0;
    for (int64_t b = 0; b < r->nbuckets; b++) {
        struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        k->all = ddp_bucket_span(r->blocks, r->each, b);
        k->owned = ddp_bucket_slice(r->blocks, r->each, b, r->conf.size, r->conf.rank);
        k->mine = r->conf.fast ? k->all : k->owned;
        k->kept = *updated;
        int64_t n = (k->mine.hi - k->mine.lo) * DDP_BLOCK;
        *updated += n;
        if (n > *largest)
            *largest = n;
    }
}

static void plan_regions(struct ddp_gpu_reduce *r, int64_t largest)
{
    const struct ddp_gpu_reduce_conf *c = &r->conf;
    const size_t total = (size_t)r->total, trained = (size_t)r->trained, nodes = (size_t)r->nodes;
    const size_t shards = c->small_width > 0 ? (size_t)c->shards : 0;
    size_t *n = r->bytes;
    n[DDP_REGION_PARAMS] = total * sizeof(float);
    n[DDP_REGION_WEIGHTS] = c->type == DDP_GPU_F32 ? 0 : total * ddp_gpu_type_bytes(c->type);
    n[DDP_REGION_LEAVES] = (size_t)r->schedule.buffers * total * sizeof(float);
    n[DDP_REGION_STAGING] = (size_t)r->others * (size_t)largest * sizeof(float);
    n[DDP_REGION_VALUES] = trained * (size_t)c->block_values * sizeof(double);
    n[DDP_REGION_NODE] = (size_t)r->nbuckets * (2 * nodes + 1) * sizeof(float *);
    n[DDP_REGION_MERGES] = nodes * sizeof(int32_t);
    n[DDP_REGION_SCALE] = sizeof(struct ddp_gpu_scale);
    n[DDP_REGION_GUARD] = (c->fast ? 1 : (size_t)r->others) * DDP_GPU_METRICS * sizeof(float);
    n[DDP_REGION_GUARD_NODE] = nodes * sizeof(float *);
    n[DDP_REGION_SMALL] = shards * (size_t)c->small_width * sizeof(float);
    n[DDP_REGION_SMALL_NODE] = shards * sizeof(float *);
    n[DDP_REGION_SMALL_MERGES] = shards * sizeof(int32_t);
}

void ddp_gpu_reduce_plan(struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_conf *conf)
{
    const struct ddp_schedule_conf schedule = schedule_conf(conf);
    int64_t largest;
    r->conf = *conf;
    r->total = conf->flat->total;
    r->blocks = r->total / DDP_BLOCK;
    r->trained = conf->flat->stats / DDP_BLOCK;
    r->each = bucket_blocks(conf);
    r->nbuckets = ddp_bucket_count(r->blocks, r->each);
    ddp_schedule_init(&r->schedule, &schedule, conf->size, conf->rank);
    plan_nodes(r);
    plan_buckets(r, &largest, &r->kept);
    plan_regions(r, largest);
}

void ddp_gpu_reduce_unplan(struct ddp_gpu_reduce *r)
{
    ddp_schedule_finish(&r->schedule);
    free(r->node);
    free(r->bucket);
}

size_t ddp_gpu_reduce_bytes(const struct ddp_gpu_reduce_conf *conf)
{
    struct ddp_gpu_reduce r = {0};
    size_t bytes = 0;
    ddp_gpu_reduce_plan(&r, conf);
    for (int i = 0; i < DDP_REGIONS; i++)
        bytes += ddp_gpu_align(r.bytes[i]);
    ddp_gpu_reduce_unplan(&r);
    return bytes;
}

int64_t ddp_gpu_reduce_kept(const struct ddp_gpu_reduce_conf *conf)
{
    struct ddp_gpu_reduce r = {0};
    ddp_gpu_reduce_plan(&r, conf);
    ddp_gpu_reduce_unplan(&r);
    return r.kept;
}

int ddp_gpu_reduce_check(const struct ddp_gpu_reduce_conf *c, const struct ddp_gpu_comm *comm,
                         struct ddp_error *err)
{
    if (c->size < 1 || c->rank < 0 || c->rank >= c->size || (c->size > 1 && comm == NULL))
        return ddp_fail(err, DDP_E_USAGE, "device reduction: rank %d of %d%s", c->rank, c->size,
                        c->size > 1 && comm == NULL ? " has no communicator" : " does not exist");
    if (c->shards < 1 || c->shards > DDP_TREE_MAX_SHARDS)
        return ddp_fail(err, DDP_E_USAGE, "device reduction: %d shards; 1 to %d are possible", c->shards,
                        DDP_TREE_MAX_SHARDS);
    if (ddp_ranks_check_shards(c->size, c->shards, 1, err) != 0)
        return DDP_E_CONFIG;
    if (c->bucket < 1)
        return ddp_fail(err, DDP_E_USAGE,
                        "device reduction: buckets of %lld elements; at least 1 is possible",
                        (long long)c->bucket);
    if (c->block_values < 0 || c->block_values > 4 || c->block_values % 2 != 0)
        return ddp_fail(err, DDP_E_USAGE, "device reduction: %d values per block; 0, 2 and 4 are possible",
                        c->block_values);
    return 0;
}
