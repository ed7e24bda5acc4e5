/* What a reduction needs, planned and allocated before step 0. The step itself is in exchange.c. */
#include "reduce/private.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_VALUES = 4 };

struct layout {
    size_t arrivals, values[2], buffers, bytes; /* offsets in the segment */
};

/* Blocks in a bucket. */
static int64_t bucket_blocks(const struct ddp_reduce_conf *conf)
{
    return conf->bucket > DDP_BLOCK ? conf->bucket / DDP_BLOCK : 1;
}

static size_t page_up(size_t n)
{
    return (n + 4095) / 4096 * 4096;
}

static struct layout lay_out(const struct ddp_reduce_conf *conf, int ranks)
{
    struct layout l;
    int64_t blocks = conf->total / DDP_BLOCK, each = bucket_blocks(conf);
    size_t values = (size_t)blocks * (size_t)conf->block_values * sizeof(double), buffers = 0;
    for (int r = 0; r < ranks; r++)
        buffers += (size_t)ddp_schedule_buffers(conf, ranks, r);
    l.arrivals = sizeof(struct ddp_reduce_control);
    l.values[0] =
        page_up(l.arrivals + (size_t)ddp_bucket_count(blocks, each) * sizeof(struct ddp_reduce_arrivals));
    l.values[1] = page_up(l.values[0] + values);
    l.buffers = page_up(l.values[1] + values);
    l.bytes = l.buffers + buffers * (size_t)conf->total * sizeof(float);
    return l;
}

void ddp_reduce_bytes(const struct ddp_reduce_conf *conf, int ranks, size_t *shared, size_t *private_)
{
    int64_t blocks = conf->total / DDP_BLOCK, each = bucket_blocks(conf);
    *shared = lay_out(conf, ranks).bytes;
    *private_ = sizeof(struct ddp_reduce) + (size_t)blocks * sizeof(int) +
                (size_t)ddp_bucket_count(blocks, each) * sizeof(struct ddp_reduce_bucket);
}

static int check_conf(const struct ddp_reduce_conf *c, const struct ddp_comm *comm, struct ddp_error *err)
{
    if (c->shards < 1 || c->shards > DDP_TREE_MAX_SHARDS)
        return ddp_fail(err, DDP_E_USAGE, "reduce: %d shards; 1 to %d are possible", c->shards,
                        DDP_TREE_MAX_SHARDS);
    if (ddp_ranks_check_shards(comm->size, c->shards, 1, err) != 0)
        return DDP_E_CONFIG;
    if (c->total < DDP_BLOCK || c->total % DDP_BLOCK != 0)
        return ddp_fail(err, DDP_E_USAGE, "reduce: %lld elements are not a multiple of the block, %d",
                        (long long)c->total, DDP_BLOCK);
    if (c->bucket < 1)
        return ddp_fail(err, DDP_E_USAGE, "reduce: buckets of %lld elements; at least 1 is possible",
                        (long long)c->bucket);
    if (c->block_values < 0 || c->block_values > MAX_VALUES)
        return ddp_fail(err, DDP_E_USAGE, "reduce: %d values per block; 0 to %d are possible",
                        c->block_values, MAX_VALUES);
    if (!(comm->ops->caps & DDP_COMM_SHARED))
        return ddp_fail(err, DDP_E_COMM,
                        "reduce: the ranks of transport '%s' do not share memory, which is needed",
                        comm->ops->name);
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

/* Where every rank's nodes lie, and in which order the owner adds them. */
static void plan_combine(struct ddp_reduce *r, const struct layout *l)
{
    float *buffers = (float *)((char *)r->shared + l->buffers);
    int ranks = r->comm->size, n = 0, room = 0;
    struct ddp_tree_node *nodes = NULL;
    for (int rank = 0; rank < ranks; rank++) {
        struct ddp_schedule s;
        ddp_schedule_init(&s, &r->conf, ranks, rank);
        if (rank == r->comm->rank)
            r->own = buffers;
        if (n + s.nodes > room) {
            room = 2 * (n + s.nodes);
            nodes = ddp_realloc(nodes, (size_t)room * sizeof *nodes);
            r->node = ddp_realloc(r->node, (size_t)room * sizeof *r->node);
        }
        for (int i = 0; i < s.nodes; i++, n++) {
            nodes[n] = s.node[i];
            r->node[n] = buffers + s.node_buffer[i] * r->conf.total;
        }
        buffers += s.buffers * r->conf.total;
        ddp_schedule_finish(&s);
    }
    if (!r->conf.fast)
        ddp_combine_init(&r->combine, r->conf.shards, nodes, n);
    free(nodes);
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
    r->conf = *conf;
    r->comm = comm;
    r->pool = pool;
    r->blocks = conf->total / DDP_BLOCK;
    r->each = bucket_blocks(conf);
    r->nbuckets = ddp_bucket_count(r->blocks, r->each);
    struct layout l = lay_out(conf, comm->size);
    code = ddp_comm_shared_alloc(comm, l.bytes, &r->shared, err);
    if (code != 0) {
        ddp_error_prefix(err, "memory for gradients (%d shards on %d ranks)", conf->shards, comm->size);
        goto fail;
    }
    r->shared_bytes = l.bytes;
    r->control = r->shared;
    r->arrivals = (struct ddp_reduce_arrivals *)((char *)r->shared + l.arrivals);
    for (int i = 0; i < 2; i++)
        r->values[i] = (double *)((char *)r->shared + l.values[i]);

    ddp_schedule_init(&r->schedule, conf, comm->size, comm->rank);
    plan_combine(r, &l);
    r->bucket = ddp_calloc((size_t)r->nbuckets, sizeof *r->bucket);
    for (int64_t b = 0; b < r->nbuckets; b++) {
        r->bucket[b].all = ddp_bucket_span(r->blocks, r->each, b);
        r->bucket[b].mine = ddp_bucket_slice(r->blocks, r->each, b, comm->size, comm->rank);
    }
    r->next_shard = ddp_calloc((size_t)r->blocks, sizeof *r->next_shard);
    r->temp = ddp_calloc((size_t)ddp_pool_threads(pool) * (size_t)(r->combine.temps + 1),
                         DDP_REDUCE_PIECE * sizeof *r->temp);
    *out = r;
    return 0;

fail:
    ddp_reduce_destroy(r);
    return code;
}

void ddp_reduce_destroy(struct ddp_reduce *r)
{
    if (r == NULL)
        return;
    free(r->temp);
    free(r->next_shard);
    free(r->bucket);
    free(r->node);
    ddp_combine_finish(&r->combine);
    ddp_schedule_finish(&r->schedule);
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
