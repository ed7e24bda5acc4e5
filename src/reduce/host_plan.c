/* What a reduction on the host needs, planned and allocated before step 0. The step itself is in host.c. */
#include "reduce/host_private.h"
#include "reduce/tags.h"

#include <stdlib.h>
#include <string.h>

/* The shared segment of a node: control | arrivals | crossings | values, twice | buffers of its first rank,
 * of its second, ... | staging */
struct segment {
    size_t arrivals, crossings, values[2], buffers, staging, bytes; /* offsets */
};

/* ranks: [nodes], filled in; in use until the layout is made. */
static struct ddp_reduce_layout_conf layout_conf(const struct ddp_reduce_conf *c, const struct ddp_comm *comm,
                                                 int *ranks)
{
    for (int node = 0; node < comm->nodes; node++)
        ranks[node] = comm->nodes > 1 ? comm->at[node].size : comm->size;
    return (struct ddp_reduce_layout_conf){.shards = c->shards,
                                           .total = c->total,
                                           .bucket = c->bucket,
                                           .nodes = comm->nodes,
                                           .ranks = ranks,
                                           .size = comm->size};
}

static void init_layout(const struct ddp_reduce_conf *c, const struct ddp_comm *comm,
                        struct ddp_reduce_layout *out)
{
    int *ranks = ddp_calloc((size_t)comm->nodes, sizeof *ranks);
    const struct ddp_reduce_layout_conf conf = layout_conf(c, comm, ranks);
    ddp_reduce_layout_init(out, &conf);
    free(ranks);
}

static struct ddp_schedule_conf schedule_conf(const struct ddp_reduce_conf *c)
{
    return (struct ddp_schedule_conf){c->shards, c->fast, c->side_by_side ? c->shards : 1};
}

static size_t page_up(size_t n)
{
    return (n + 4095) / 4096 * 4096;
}

static struct segment lay_out(const struct ddp_reduce_conf *conf, const struct ddp_reduce_layout *l, int node)
{
    const struct ddp_schedule_conf schedule = schedule_conf(conf);
    struct segment s;
    size_t values = (size_t)l->blocks * (size_t)conf->block_values * sizeof(double), buffers = 0;
    const size_t crossings = l->nodes > 1 ? (size_t)l->buckets * (size_t)l->lanes : 0;
    for (int seat = l->first[node]; seat < l->first[node + 1]; seat++)
        buffers += (size_t)ddp_schedule_buffers(&schedule, l->size, seat);
    s.arrivals = sizeof(struct ddp_reduce_control);
    s.crossings = s.arrivals + (size_t)l->buckets * sizeof(struct ddp_reduce_arrivals);
    s.values[0] = page_up(s.crossings + crossings * sizeof(struct ddp_reduce_crossing));
    s.values[1] = page_up(s.values[0] + values);
    s.buffers = page_up(s.values[1] + values);
    s.staging = s.buffers + buffers * (size_t)conf->total * sizeof(float);
    s.bytes = s.staging + (conf->fast ? 0 : (size_t)ddp_reduce_staging(l, node) * sizeof(float));
    return s;
}

void ddp_reduce_bytes(const struct ddp_reduce_conf *conf, const struct ddp_comm *comm, size_t *shared,
                      size_t *private_)
{
    struct ddp_reduce_layout l;
    init_layout(conf, comm, &l);
    *shared = lay_out(conf, &l, comm->node).bytes;
    *private_ = sizeof(struct ddp_reduce) + ddp_ledger_bytes(&l) +
                (size_t)l.buckets * sizeof(struct ddp_reduce_bucket);
    ddp_reduce_layout_finish(&l);
}

static int check_nodes(const struct ddp_reduce_conf *c, const struct ddp_comm *comm, struct ddp_error *err)
{
    const int64_t blocks = c->total / DDP_BLOCK, each = c->bucket > DDP_BLOCK ? c->bucket / DDP_BLOCK : 1;
    if (comm->nodes == 1)
        return 0;
    if (!(comm->ops->caps & DDP_COMM_MESSAGES))
        return ddp_fail(err, DDP_E_COMM, "reduce: %d nodes, but transport '%s' has no messages between them",
                        comm->nodes, comm->ops->name);
    if (c->result == NULL)
        return ddp_fail(err, DDP_E_USAGE, "reduce: %d nodes, but no results to be sent between them",
                        comm->nodes);
    if ((blocks + each - 1) / each > DDP_TAG_BUCKETS)
        return ddp_fail(err, DDP_E_CONFIG,
                        "reduce: %lld buckets; between nodes at most %d: make reduce.bucket_mb larger",
                        (long long)((blocks + each - 1) / each), DDP_TAG_BUCKETS);
    return 0;
}

static int check_conf(const struct ddp_reduce_conf *c, const struct ddp_comm *comm, struct ddp_error *err)
{
    int *ranks = ddp_calloc((size_t)comm->nodes, sizeof *ranks);
    const struct ddp_reduce_layout_conf layout = layout_conf(c, comm, ranks);
    int code = ddp_reduce_layout_check(&layout, err);
    free(ranks);
    if (code != 0)
        return code;
    if (c->block_values < 0 || c->block_values > DDP_REDUCE_VALUES)
        return ddp_fail(err, DDP_E_USAGE, "reduce: %d values per block; 0 to %d are possible",
                        c->block_values, DDP_REDUCE_VALUES);
    code = check_nodes(c, comm, err);
    if (code != 0)
        return code;
    if (c->fast && !(comm->ops->caps & DDP_COMM_ALLREDUCE))
        return ddp_fail(err, DDP_E_COMM,
                        "reduce: transport '%s' has no all-reduce: use reduce.mode = \"canonical\"",
                        comm->ops->name);
    return 0;
}

/* A rank with another configuration would wait for what never comes. */
static int check_same(const struct ddp_reduce_conf *c, struct ddp_comm *comm, struct ddp_error *err)
{
    int64_t mine[6] = {c->shards, c->fast, c->total, c->bucket, c->block_values, c->side_by_side};
    int64_t(*all)[6] = ddp_calloc((size_t)comm->size, sizeof *all);
    int code = ddp_comm_allgather(comm, mine, all, sizeof mine, err);
    for (int r = 0; code == 0 && r < comm->size; r++)
        if (memcmp(all[r], all[0], sizeof mine) != 0)
            code = ddp_fail(
                err, DDP_E_COMM,
                "reduce: rank %d was configured differently from rank 0 (shards %lld and %lld, elements "
                "%lld and %lld): all ranks need the same config and program",
                r, (long long)all[r][0], (long long)all[0][0], (long long)all[r][2], (long long)all[0][2]);
    free(all);
    return code;
}

/* Where the buffers of my node's ranks begin: [local size], to be freed. */
static float **find_buffers(const struct ddp_reduce *r, const struct segment *segment)
{
    const struct ddp_schedule_conf schedule = schedule_conf(&r->conf);
    float *at = (float *)((char *)r->shared + segment->buffers);
    float **buffer = ddp_calloc((size_t)r->comm->local_size, sizeof *buffer);
    for (int i = 0; i < r->comm->local_size; i++) {
        const int seat = r->layout.first[r->place.node] + i;
        buffer[i] = at;
        at += ddp_schedule_buffers(&schedule, r->layout.size, seat) * r->conf.total;
    }
    return buffer;
}

/* One node: where every rank's tree nodes lie over my slices, and in which order I add them. */
static void plan_combine(struct ddp_reduce *r, float *const *buffer)
{
    const struct ddp_schedule_conf schedule = schedule_conf(&r->conf);
    struct ddp_shipment *all = NULL;
    const int n = ddp_schedule_shipments(&schedule, r->layout.size, &all);
    struct ddp_tree_node *nodes = ddp_calloc((size_t)n, sizeof *nodes);
    r->inputs = ddp_calloc((size_t)r->layout.buckets * (size_t)n, sizeof *r->inputs);
    for (int i = 0; i < n; i++)
        nodes[i] = all[i].node;
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        r->bucket[b].input = r->inputs + b * n;
        for (int i = 0; i < n; i++)
            r->bucket[b].input[i] =
                buffer[all[i].rank] + all[i].buffer * r->conf.total + r->bucket[b].mine.lo * DDP_BLOCK;
    }
    if (!r->conf.fast)
        ddp_combine_init(&r->combine, (struct ddp_tree_node){0, r->conf.shards}, nodes, n);
    r->temps = r->combine.temps;
    free(nodes);
    free(all);
}

static void plan_sums(struct ddp_reduce *r, const struct segment *segment)
{
    float **buffer = find_buffers(r, segment);
    r->own = buffer[r->comm->local_rank];
    if (r->layout.nodes > 1)
        ddp_reduce_plan_nodes(r, buffer);
    else
        plan_combine(r, buffer);
    free(buffer);
    r->temp = ddp_calloc((size_t)ddp_pool_threads(r->pool) * (size_t)(r->temps + 1),
                         DDP_REDUCE_PIECE * sizeof *r->temp);
}

static void place_shared(struct ddp_reduce *r, const struct segment *segment)
{
    char *base = r->shared;
    r->control = r->shared;
    r->arrivals = (struct ddp_reduce_arrivals *)(base + segment->arrivals);
    r->crossing = (struct ddp_reduce_crossing *)(base + segment->crossings);
    for (int i = 0; i < 2; i++)
        r->values[i] = (double *)(base + segment->values[i]);
    r->staging = (float *)(base + segment->staging);
}

/* Nodes may need different amounts, and are asked for the same: the most. */
static int alloc_shared(struct ddp_reduce *r, struct ddp_error *err)
{
    size_t bytes = 0;
    for (int node = 0; node < r->layout.nodes; node++) {
        const size_t its = lay_out(&r->conf, &r->layout, node).bytes;
        bytes = its > bytes ? its : bytes;
    }
    r->shared_bytes = bytes;
    return ddp_comm_shared_alloc(r->comm, bytes, &r->shared, err);
}

int ddp_reduce_create(const struct ddp_reduce_conf *conf, struct ddp_comm *comm, struct ddp_pool *pool,
                      struct ddp_reduce **out, struct ddp_error *err)
{
    int code = ddp_comm_agree(comm, check_conf(conf, comm, err), err);
    if (code == 0)
        code = check_same(conf, comm, err);
    if (code != 0)
        return code;

    struct ddp_reduce *r = ddp_calloc(1, sizeof *r);
    const struct ddp_schedule_conf schedule = schedule_conf(conf);
    r->conf = *conf;
    r->comm = comm;
    r->pool = pool;
    init_layout(conf, comm, &r->layout);
    r->place = ddp_reduce_layout_place(&r->layout, comm->seat);
    ddp_schedule_init(&r->schedule, &schedule, comm->size, comm->seat);

    struct segment segment = lay_out(conf, &r->layout, r->place.node);
    code = alloc_shared(r, err);
    if (code != 0) {
        ddp_error_prefix(err, "memory for gradients (%d shards on %d ranks)", conf->shards, comm->size);
        ddp_reduce_destroy(r);
        return code;
    }
    ddp_ledger_init(&r->ledger, &(struct ddp_ledger_conf){
                                    .layout = &r->layout, .schedule = &r->schedule, .rank = comm->rank});
    place_shared(r, &segment);
    r->bucket = ddp_calloc((size_t)r->layout.buckets, sizeof *r->bucket);
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        r->bucket[b].all = ddp_reduce_layout_bucket(&r->layout, b);
        r->bucket[b].mine = ddp_reduce_layout_slice(&r->layout, b, comm->seat);
        r->bucket[b].share = ddp_reduce_layout_share(&r->layout, b, comm->seat);
    }
    plan_sums(r, &segment);
    if (ddp_reduce_is_port(r))
        code = ddp_wire_create(r, err);
    if (comm->nodes > 1)
        code = ddp_comm_agree(comm, code, err);
    if (code != 0) {
        ddp_reduce_destroy(r);
        return code;
    }
    if (comm->nodes > 1)
        ddp_pool_between(pool, ddp_reduce_look_up, r);
    *out = r;
    return 0;
}

void ddp_reduce_destroy(struct ddp_reduce *r)
{
    if (r == NULL)
        return;
    if (r->layout.nodes > 1)
        ddp_pool_between(r->pool, NULL, NULL);
    ddp_wire_destroy(r);
    ddp_reduce_forget_nodes(r);
    free(r->temp);
    free(r->bucket);
    free(r->inputs);
    ddp_combine_finish(&r->combine);
    ddp_ledger_finish(&r->ledger);
    ddp_schedule_finish(&r->schedule);
    ddp_reduce_layout_finish(&r->layout);
    ddp_comm_shared_free(r->comm, r->shared, r->shared_bytes);
    free(r);
}

int ddp_reduce_first_shard(const struct ddp_reduce *r)
{
    return r->schedule.first;
}
int ddp_reduce_last_shard(const struct ddp_reduce *r)
{
    return r->schedule.last;
}
