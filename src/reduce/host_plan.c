/* What a reduction on the host needs, planned and allocated before step 0. The step itself is in host.c. */
#include "reduce/host_private.h"
#include "reduce/plan.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_VALUES = 4 };

/* The shared segment: control | arrivals | values, twice | buffers of rank 0, of rank 1, ... */
struct segment {
    size_t arrivals, values[2], buffers, bytes; /* offsets */
};

/* All ranks share memory: one node. */
static struct ddp_reduce_layout_conf layout_conf(const struct ddp_reduce_conf *c, int ranks)
{
    return (struct ddp_reduce_layout_conf){
        .shards = c->shards, .total = c->total, .bucket = c->bucket, .nodes = 1, .size = ranks};
}

static struct ddp_schedule_conf schedule_conf(const struct ddp_reduce_conf *c)
{
    return (struct ddp_schedule_conf){c->shards, c->fast, c->side_by_side};
}

static size_t page_up(size_t n)
{
    return (n + 4095) / 4096 * 4096;
}

static struct segment lay_out(const struct ddp_reduce_conf *conf, const struct ddp_reduce_layout *l)
{
    const struct ddp_schedule_conf schedule = schedule_conf(conf);
    struct segment s;
    size_t values = (size_t)l->blocks * (size_t)conf->block_values * sizeof(double), buffers = 0;
    for (int r = 0; r < l->size; r++)
        buffers += (size_t)ddp_schedule_buffers(&schedule, l->size, r);
    s.arrivals = sizeof(struct ddp_reduce_control);
    s.values[0] = page_up(s.arrivals + (size_t)l->buckets * sizeof(struct ddp_reduce_arrivals));
    s.values[1] = page_up(s.values[0] + values);
    s.buffers = page_up(s.values[1] + values);
    s.bytes = s.buffers + buffers * (size_t)conf->total * sizeof(float);
    return s;
}

void ddp_reduce_bytes(const struct ddp_reduce_conf *conf, int ranks, size_t *shared, size_t *private_)
{
    const struct ddp_reduce_layout_conf c = layout_conf(conf, ranks);
    struct ddp_reduce_layout l;
    ddp_reduce_layout_init(&l, &c);
    *shared = lay_out(conf, &l).bytes;
    *private_ = sizeof(struct ddp_reduce) + ddp_ledger_bytes(&l) +
                (size_t)l.buckets * sizeof(struct ddp_reduce_bucket);
    ddp_reduce_layout_finish(&l);
}

static int check_conf(const struct ddp_reduce_conf *c, const struct ddp_comm *comm, struct ddp_error *err)
{
    const struct ddp_reduce_layout_conf layout = layout_conf(c, comm->size);
    int code = ddp_reduce_layout_check(&layout, err);
    if (code != 0)
        return code;
    if (c->block_values < 0 || c->block_values > MAX_VALUES)
        return ddp_fail(err, DDP_E_USAGE, "reduce: %d values per block; 0 to %d are possible",
                        c->block_values, MAX_VALUES);
    code = ddp_ranks_check_one_node(comm, err);
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

/* Where every rank's tree nodes lie, and in which order the owner adds them. */
static void plan_combine(struct ddp_reduce *r, const struct segment *segment)
{
    const struct ddp_schedule_conf schedule = schedule_conf(&r->conf);
    const float *buffers = (const float *)((const char *)r->shared + segment->buffers);
    struct ddp_shipment *all = NULL;
    int n = ddp_schedule_shipments(&schedule, r->layout.size, &all), rank = 0;
    struct ddp_tree_node *nodes = ddp_calloc((size_t)n, sizeof *nodes);
    r->node = ddp_calloc((size_t)n, sizeof *r->node);
    for (int i = 0; i < n; i++) {
        for (; rank < all[i].rank; rank++)
            buffers += ddp_schedule_buffers(&schedule, r->layout.size, rank) * r->conf.total;
        nodes[i] = all[i].node;
        r->node[i] = buffers + all[i].buffer * r->conf.total;
    }
    if (!r->conf.fast)
        ddp_combine_init(&r->combine, (struct ddp_tree_node){0, r->conf.shards}, nodes, n);
    free(nodes);
    free(all);
}

/* Where my buffers begin. */
static float *find_own(const struct ddp_reduce *r, const struct segment *segment)
{
    const struct ddp_schedule_conf schedule = schedule_conf(&r->conf);
    float *buffers = (float *)((char *)r->shared + segment->buffers);
    for (int rank = 0; rank < r->comm->rank; rank++)
        buffers += ddp_schedule_buffers(&schedule, r->layout.size, rank) * r->conf.total;
    return buffers;
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
    const struct ddp_reduce_layout_conf layout = layout_conf(conf, comm->size);
    const struct ddp_schedule_conf schedule = schedule_conf(conf);
    r->conf = *conf;
    r->comm = comm;
    r->pool = pool;
    ddp_reduce_layout_init(&r->layout, &layout);
    ddp_schedule_init(&r->schedule, &schedule, comm->size, comm->rank);

    struct segment segment = lay_out(conf, &r->layout);
    code = ddp_comm_shared_alloc(comm, segment.bytes, &r->shared, err);
    if (code != 0) {
        ddp_error_prefix(err, "memory for gradients (%d shards on %d ranks)", conf->shards, comm->size);
        ddp_reduce_destroy(r);
        return code;
    }
    ddp_ledger_init(&r->ledger, &(struct ddp_ledger_conf){
                                    .layout = &r->layout, .schedule = &r->schedule, .rank = comm->rank});
    r->shared_bytes = segment.bytes;
    r->control = r->shared;
    r->arrivals = (struct ddp_reduce_arrivals *)((char *)r->shared + segment.arrivals);
    for (int i = 0; i < 2; i++)
        r->values[i] = (double *)((char *)r->shared + segment.values[i]);
    r->own = find_own(r, &segment);
    plan_combine(r, &segment);
    r->bucket = ddp_calloc((size_t)r->layout.buckets, sizeof *r->bucket);
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        r->bucket[b].all = ddp_reduce_layout_bucket(&r->layout, b);
        r->bucket[b].mine = ddp_reduce_layout_slice(&r->layout, b, comm->rank);
    }
    r->temp = ddp_calloc((size_t)ddp_pool_threads(pool) * (size_t)(r->combine.temps + 1),
                         DDP_REDUCE_PIECE * sizeof *r->temp);
    *out = r;
    return 0;
}

void ddp_reduce_destroy(struct ddp_reduce *r)
{
    if (r == NULL)
        return;
    free(r->temp);
    free(r->bucket);
    free(r->node);
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
