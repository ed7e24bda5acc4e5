/* What a reduction on a device consists of, before anything is there: pure functions of its conf. */
#include <stdlib.h>

#include "reduce/device_private.h"
#include "reduce/move.h"

static struct ddp_reduce_layout_conf layout_conf(const struct ddp_gpu_reduce_conf *c)
{
    const int64_t size = c->size > 0 ? c->size : 1;
    const int64_t blocks = c->bucket / DDP_BLOCK, equal = blocks - blocks % size;
    const int64_t front = (c->front / DDP_BLOCK + size - 1) / size * size;
    return (struct ddp_reduce_layout_conf){.shards = c->shards,
                                           .total = c->flat->total,
                                           .bucket = equal > 0 ? equal * DDP_BLOCK : c->bucket,
                                           .front = front * DDP_BLOCK,
                                           .nodes = c->ranks ? c->nodes : 1,
                                           .ranks = c->ranks,
                                           .size = c->size};
}

static struct ddp_schedule_conf schedule_conf(const struct ddp_gpu_reduce_conf *c)
{
    return (struct ddp_schedule_conf){c->shards, c->fast, c->beside};
}

/* The tree nodes of all ranks in order; with `fast` the one sum. */
static void plan_nodes(struct ddp_gpu_reduce *r)
{
    const struct ddp_schedule_conf conf = schedule_conf(&r->conf);
    struct ddp_shipment *all = NULL;
    r->nodes = ddp_schedule_shipments(&conf, r->conf.fast ? 1 : r->conf.size, &all);
    r->node = ddp_calloc((size_t)r->nodes, sizeof *r->node);
    for (int i = 0; i < r->nodes; i++) {
        const int nth = i > 0 && all[i].rank == all[i - 1].rank ? r->node[i - 1].nth + 1 : 0;
        r->node[i] = (struct ddp_gpu_reduce_node){
            .rank = r->conf.fast ? r->conf.rank : all[i].rank,
            .buffer = all[i].buffer,
            .nth = nth,
            .slot = -1,
            .merges = ddp_tree_merges_after(conf.shards, 0, all[i].node.lo, all[i].node.hi)};
        r->rows = nth + 1 > r->rows ? nth + 1 : r->rows;
    }
    free(all);
}

/* Which of them my node has, and what is sent to me of those. */
static void plan_inputs(struct ddp_gpu_reduce *r)
{
    const int *first = &r->layout.first[r->place.node];
    r->input = r->node;
    while (!r->conf.fast && r->input->rank < first[0])
        r->input++;
    for (struct ddp_gpu_reduce_node *n = r->input; n < r->node + r->nodes && n->rank < first[1]; n++) {
        n->slot = n->rank == r->conf.rank ? -1 : r->staged++;
        r->inputs++;
    }
    r->terms = r->inputs;
}

/* Several nodes: which of my node's inputs make up each of its covers. */
static void plan_covers(struct ddp_gpu_reduce *r)
{
    const struct ddp_schedule_conf conf = schedule_conf(&r->conf);
    struct ddp_tree_node top[DDP_TREE_MAX_NODES];
    struct ddp_shipment *all = NULL;
    (void)ddp_schedule_shipments(&conf, r->conf.size, &all);
    const struct ddp_shipment *mine = all + (r->input - r->node);
    int at = 0;
    r->covers = ddp_reduce_layout_cover(&r->layout, r->place.node, top);
    r->cover = ddp_calloc((size_t)r->covers, sizeof *r->cover);
    for (int i = 0; i < r->covers; i++) {
        r->cover[i].first = at;
        for (; at < r->inputs && mine[at].node.hi <= top[i].hi; at++)
            r->input[at].inner =
                ddp_tree_merges_after(conf.shards, top[i].lo, mine[at].node.lo, mine[at].node.hi);
        r->cover[i].inputs = at - r->cover[i].first;
    }
    free(all);
}

/* Several nodes: the covers of all. Where others of my node are in my lane they have a part of its sums. */
static void plan_terms(struct ddp_gpu_reduce *r)
{
    const struct ddp_reduce_layout *l = &r->layout;
    const bool whole = ddp_reduce_layout_members(l, r->place.lane, r->place.node) == 1;
    struct ddp_tree_node cover[DDP_TREE_MAX_NODES];
    r->terms = 0;
    r->term = ddp_calloc((size_t)l->nodes * DDP_TREE_MAX_NODES, sizeof *r->term);
    for (int node = 0; node < l->nodes; node++) {
        const int n = ddp_reduce_layout_cover(l, node, cover);
        for (int i = 0; i < n; i++)
            r->term[r->terms++] = (struct ddp_gpu_reduce_term){
                .node = node,
                .nth = i,
                .row = node == r->place.node && whole ? -1 : r->term_rows++,
                .merges = ddp_tree_merges_after(l->shards, 0, cover[i].lo, cover[i].hi)};
    }
}

/* In elements. */
struct sizes {
    int64_t share, slice; /* my largest */
};

static void plan_buckets(struct ddp_gpu_reduce *r, struct sizes *largest)
{
    *largest = (struct sizes){0, 0};
    r->bucket = ddp_calloc((size_t)r->layout.buckets, sizeof *r->bucket);
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        k->all = ddp_reduce_layout_bucket(&r->layout, b);
        k->share = ddp_reduce_layout_share(&r->layout, b, r->conf.rank);
        k->owned = ddp_reduce_layout_slice(&r->layout, b, r->conf.rank);
        k->mine = r->conf.fast ? k->all : k->owned;
        k->kept = r->kept;
        const int64_t share = ddp_range_size(k->share) * DDP_BLOCK, n = ddp_range_size(k->mine) * DDP_BLOCK;
        r->kept += n;
        largest->share = share > largest->share ? share : largest->share;
        largest->slice = n > largest->slice ? n : largest->slice;
    }
}

static void plan_regions(struct ddp_gpu_reduce *r, const struct sizes *largest)
{
    const struct ddp_gpu_reduce_conf *c = &r->conf;
    const size_t total = (size_t)r->total, trained = (size_t)c->flat->stats / DDP_BLOCK,
                 nodes = (size_t)r->nodes, inputs = (size_t)r->inputs, terms = (size_t)r->terms;
    const size_t shards = c->small_width > 0 ? (size_t)c->shards : 0;
    const size_t rows = c->small_width > 0 ? (size_t)c->size * (size_t)ddp_gpu_reduce_most(r) : 0;
    size_t *n = r->bytes;
    n[DDP_REGION_PARAMS] = total * sizeof(float);
    n[DDP_REGION_WEIGHTS] = c->type == DDP_GPU_F32 ? 0 : total * ddp_gpu_type_bytes(c->type);
    n[DDP_REGION_LEAVES] = (size_t)r->schedule.buffers * total * sizeof(float);
    n[DDP_REGION_STAGING] = (size_t)r->staged * (size_t)largest->share * sizeof(float);
    n[DDP_REGION_COVERS] = (size_t)r->term_rows * (size_t)largest->slice * sizeof(float);
    n[DDP_REGION_VALUES] = trained * (size_t)c->block_values * sizeof(double);
    n[DDP_REGION_NODE] = (size_t)r->layout.buckets * (inputs + 2 * terms + 1) * sizeof(float *);
    n[DDP_REGION_MERGES] = (nodes + inputs + terms) * sizeof(int32_t);
    n[DDP_REGION_SCALE] = sizeof(struct ddp_gpu_scale);
    n[DDP_REGION_GUARD] = (c->fast ? 1 : (size_t)(c->size * r->rows)) * DDP_GPU_METRICS * sizeof(float);
    n[DDP_REGION_REFUSED] = (size_t)ddp_gpu_reduce_rows(r) * DDP_GPU_REFUSED * sizeof(int32_t);
    n[DDP_REGION_ROWS] = (size_t)(c->size * r->row) * sizeof(float);
    n[DDP_REGION_SPANS] = (size_t)r->spans * sizeof *r->span;
    n[DDP_REGION_GUARD_NODE] = nodes * sizeof(float *);
    n[DDP_REGION_SMALL] = rows * (size_t)c->small_width * sizeof(double);
    n[DDP_REGION_SMALL_MERGES] = 2 * shards * sizeof(int32_t);
}

void ddp_gpu_reduce_plan(struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_conf *conf)
{
    const struct ddp_reduce_layout_conf layout = layout_conf(conf);
    const struct ddp_schedule_conf schedule = schedule_conf(conf);
    struct sizes largest;
    r->conf = *conf;
    r->conf.ranks = NULL; /* the layout knows */
    r->conf.masters = NULL;
    r->total = conf->flat->total;
    ddp_reduce_layout_init(&r->layout, &layout);
    r->place = ddp_reduce_layout_place(&r->layout, conf->rank);
    r->several = r->layout.nodes > 1 && !conf->fast;
    ddp_schedule_init(&r->schedule, &schedule, conf->size, conf->rank);
    plan_nodes(r);
    plan_inputs(r);
    if (r->several) {
        plan_covers(r);
        plan_terms(r);
    }
    plan_buckets(r, &largest);
    ddp_gpu_reduce_plan_spans(r, conf->masters);
    plan_regions(r, &largest);
}

void ddp_gpu_reduce_unplan(struct ddp_gpu_reduce *r)
{
    ddp_reduce_layout_finish(&r->layout);
    ddp_schedule_finish(&r->schedule);
    free(r->node);
    free(r->cover);
    free(r->term);
    free(r->span);
    free(r->bucket);
}

/* ---- places ---- */

float *ddp_gpu_reduce_input_at(const struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_bucket *k, int i,
                               int64_t at)
{
    const int64_t lo = k->share.lo * DDP_BLOCK, row = ddp_range_size(k->share) * DDP_BLOCK;
    if (r->input[i].slot < 0)
        return ddp_gpu_reduce_buffer(r, r->input[i].buffer) + at;
    return (float *)r->at[DDP_REGION_STAGING] + r->input[i].slot * row + (at - lo);
}

float *ddp_gpu_reduce_cover_at(const struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_bucket *k, int i,
                               int64_t at)
{
    return ddp_gpu_reduce_input_at(r, k, r->cover[i].first, at);
}

float *ddp_gpu_reduce_term_at(const struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_bucket *k, int i,
                              int64_t at)
{
    const int64_t lo = k->mine.lo * DDP_BLOCK, row = ddp_range_size(k->mine) * DDP_BLOCK;
    if (!r->several)
        return ddp_gpu_reduce_input_at(r, k, i, at);
    if (r->term[i].row < 0)
        return ddp_gpu_reduce_cover_at(r, k, r->term[i].nth, at);
    return (float *)r->at[DDP_REGION_COVERS] + r->term[i].row * row + (at - lo);
}

/* ---- questions of others ---- */

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

int ddp_gpu_reduce_comm_rank(const struct ddp_gpu_reduce_conf *conf)
{
    const struct ddp_reduce_layout_conf c = layout_conf(conf);
    struct ddp_reduce_layout layout;
    ddp_reduce_layout_init(&layout, &c);
    const int slot = ddp_reduce_layout_slot(&layout, conf->rank);
    ddp_reduce_layout_finish(&layout);
    return slot;
}

int ddp_gpu_reduce_move(const struct ddp_gpu_reduce_conf *conf, struct ddp_comm *ranks, float *host,
                        enum ddp_reduce_way way, struct ddp_error *err)
{
    const struct ddp_reduce_layout_conf c = layout_conf(conf);
    struct ddp_reduce_layout layout;
    ddp_reduce_layout_init(&layout, &c);
    const int code = ddp_reduce_move_parts(&layout, ranks, host, way, err);
    ddp_reduce_layout_finish(&layout);
    return code;
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
