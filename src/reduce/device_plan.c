/* What a reduction on a device consists of, before anything is there: pure functions of its conf. */
#include <stdlib.h>

#include "reduce/device_private.h"

/* Every rank's memory is its own, and NCCL knows nodes better than we do: one node. */
static struct ddp_reduce_layout_conf layout_conf(const struct ddp_gpu_reduce_conf *c)
{
    return (struct ddp_reduce_layout_conf){
        .shards = c->shards, .total = c->flat->total, .bucket = c->bucket, .nodes = 1, .size = c->size};
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
            .rank = all[i].rank,
            .buffer = all[i].buffer,
            .slot = mine ? -1 : r->others++,
            .merges = ddp_tree_merges_after(conf.shards, 0, all[i].node.lo, all[i].node.hi)};
    }
    free(all);
}

/* The buckets, my largest slice and what I update in all, in elements. */
static void plan_buckets(struct ddp_gpu_reduce *r, int64_t *largest, int64_t *updated)
{
    r->bucket = ddp_calloc((size_t)r->layout.buckets, sizeof *r->bucket);
    *largest = *updated = 0;
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        k->all = ddp_reduce_layout_bucket(&r->layout, b);
        k->owned = ddp_reduce_layout_slice(&r->layout, b, r->conf.rank);
        k->mine = r->conf.fast ? k->all : k->owned;
        k->kept = *updated;
        const int64_t n = ddp_range_size(ddp_range_elements(k->mine));
        *updated += n;
        if (n > *largest)
            *largest = n;
    }
}

static void plan_regions(struct ddp_gpu_reduce *r, int64_t largest)
{
    const struct ddp_gpu_reduce_conf *c = &r->conf;
    const size_t total = (size_t)r->total, trained = (size_t)c->flat->stats / DDP_BLOCK,
                 nodes = (size_t)r->nodes;
    const size_t shards = c->small_width > 0 ? (size_t)c->shards : 0;
    size_t *n = r->bytes;
    n[DDP_REGION_PARAMS] = total * sizeof(float);
    n[DDP_REGION_WEIGHTS] = c->type == DDP_GPU_F32 ? 0 : total * ddp_gpu_type_bytes(c->type);
    n[DDP_REGION_LEAVES] = (size_t)r->schedule.buffers * total * sizeof(float);
    n[DDP_REGION_STAGING] = (size_t)r->others * (size_t)largest * sizeof(float);
    n[DDP_REGION_VALUES] = trained * (size_t)c->block_values * sizeof(double);
    n[DDP_REGION_NODE] = (size_t)r->layout.buckets * (2 * nodes + 1) * sizeof(float *);
    n[DDP_REGION_MERGES] = nodes * sizeof(int32_t);
    n[DDP_REGION_SCALE] = sizeof(struct ddp_gpu_scale);
    n[DDP_REGION_GUARD] = (c->fast ? 1 : (size_t)r->others) * DDP_GPU_METRICS * sizeof(float);
    n[DDP_REGION_GUARD_NODE] = nodes * sizeof(float *);
    n[DDP_REGION_SMALL] = shards * (size_t)c->small_width * sizeof(double);
    n[DDP_REGION_SMALL_MERGES] = shards * sizeof(int32_t);
}

void ddp_gpu_reduce_plan(struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_conf *conf)
{
    const struct ddp_reduce_layout_conf layout = layout_conf(conf);
    const struct ddp_schedule_conf schedule = schedule_conf(conf);
    int64_t largest;
    r->conf = *conf;
    r->total = conf->flat->total;
    ddp_reduce_layout_init(&r->layout, &layout);
    ddp_schedule_init(&r->schedule, &schedule, conf->size, conf->rank);
    plan_nodes(r);
    plan_buckets(r, &largest, &r->kept);
    plan_regions(r, largest);
}

void ddp_gpu_reduce_unplan(struct ddp_gpu_reduce *r)
{
    ddp_reduce_layout_finish(&r->layout);
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
    const struct ddp_reduce_layout_conf layout = layout_conf(c);
    const int code = ddp_reduce_layout_check(&layout, err);
    if (code != 0)
        return code;
    if (c->block_values < 0 || c->block_values > 4 || c->block_values % 2 != 0)
        return ddp_fail(err, DDP_E_USAGE, "device reduction: %d values per block; 0, 2 and 4 are possible",
                        c->block_values);
    return 0;
}
