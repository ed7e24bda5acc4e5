/* Who owns what: arithmetic on ranks, nodes and blocks. */
#include "reduce/layout.h"

#include <stdlib.h>
#include <string.h>

static int ranks_of(const struct ddp_reduce_layout_conf *c, int node)
{
    return c->ranks != NULL ? c->ranks[node] : c->size;
}

static int check_nodes(const struct ddp_reduce_layout_conf *c, struct ddp_error *err)
{
    int64_t ranks = 0;
    if (c->nodes < 1 || (c->ranks == NULL && c->nodes != 1))
        return ddp_fail(err, DDP_E_USAGE, "reduce: %d nodes; at least 1, each with its ranks", c->nodes);
    for (int node = 0; node < c->nodes; node++) {
        if (ranks_of(c, node) < 1)
            return ddp_fail(err, DDP_E_USAGE, "reduce: node %d has %d ranks; at least 1 is possible", node,
                            ranks_of(c, node));
        ranks += ranks_of(c, node);
    }
    if (ranks != c->size)
        return ddp_fail(err, DDP_E_USAGE, "reduce: %lld ranks lie on nodes, and there are %d",
                        (long long)ranks, c->size);
    return 0;
}

int ddp_reduce_layout_check(const struct ddp_reduce_layout_conf *c, struct ddp_error *err)
{
    if (c->shards < 1 || c->shards > DDP_TREE_MAX_SHARDS)
        return ddp_fail(err, DDP_E_USAGE, "reduce: %d shards; 1 to %d are possible", c->shards,
                        DDP_TREE_MAX_SHARDS);
    int code = check_nodes(c, err);
    if (code != 0)
        return code;
    code = ddp_ranks_check_shards(c->size, c->shards, 1, err);
    if (code != 0)
        return code;
    if (c->total < DDP_BLOCK || c->total % DDP_BLOCK != 0)
        return ddp_fail(err, DDP_E_USAGE, "reduce: %lld elements are not a multiple of the block, %d",
                        (long long)c->total, DDP_BLOCK);
    if (c->bucket < 1)
        return ddp_fail(err, DDP_E_USAGE, "reduce: buckets of %lld elements; at least 1 is possible",
                        (long long)c->bucket);
    if (c->front < 0)
        return ddp_fail(err, DDP_E_USAGE, "reduce: a front bucket of %lld elements; at least 0 is possible",
                        (long long)c->front);
    return 0;
}

void ddp_reduce_layout_init(struct ddp_reduce_layout *l, const struct ddp_reduce_layout_conf *c)
{
    *l = (struct ddp_reduce_layout){.shards = c->shards,
                                    .size = c->size,
                                    .nodes = c->nodes,
                                    .lanes = c->size,
                                    .blocks = c->total / DDP_BLOCK,
                                    .each = c->bucket > DDP_BLOCK ? c->bucket / DDP_BLOCK : 1};
    const int64_t front = c->front / DDP_BLOCK;
    l->front = l->blocks > l->each && front > 0 && front < l->each ? front : 0;
    l->buckets = (l->blocks - l->front + l->each - 1) / l->each + (l->front > 0);
    l->first = ddp_calloc((size_t)l->nodes + 1, sizeof *l->first);
    for (int node = 0; node < l->nodes; node++) {
        l->first[node + 1] = l->first[node] + ranks_of(c, node);
        if (ranks_of(c, node) < l->lanes)
            l->lanes = ranks_of(c, node);
    }
    l->slot = ddp_calloc((size_t)l->lanes * (size_t)l->nodes + 1, sizeof *l->slot);
    for (int lane = 0; lane < l->lanes; lane++)
        for (int node = 0; node < l->nodes; node++) {
            int *begin = &l->slot[lane * l->nodes + node];
            begin[1] = begin[0] + ddp_reduce_layout_members(l, lane, node);
        }
}

void ddp_reduce_layout_finish(struct ddp_reduce_layout *l)
{
    free(l->first);
    free(l->slot);
    memset(l, 0, sizeof *l);
}

struct ddp_reduce_place ddp_reduce_layout_place(const struct ddp_reduce_layout *l, int rank)
{
    struct ddp_reduce_place p = {0};
    while (rank >= l->first[p.node + 1])
        p.node++;
    p.local = rank - l->first[p.node];
    p.lane = p.local % l->lanes;
    p.member = p.local / l->lanes;
    return p;
}

int ddp_reduce_layout_members(const struct ddp_reduce_layout *l, int lane, int node)
{
    return (l->first[node + 1] - l->first[node] - lane + l->lanes - 1) / l->lanes;
}

int ddp_reduce_layout_port(const struct ddp_reduce_layout *l, int lane, int node)
{
    return l->first[node] + lane;
}

int ddp_reduce_layout_member(const struct ddp_reduce_layout *l, int lane, int node, int member)
{
    return ddp_reduce_layout_port(l, lane, node) + member * l->lanes;
}

int ddp_reduce_layout_slot(const struct ddp_reduce_layout *l, int rank)
{
    const struct ddp_reduce_place p = ddp_reduce_layout_place(l, rank);
    return l->slot[p.lane * l->nodes + p.node] + p.member;
}

/* ---- blocks ---- */

struct ddp_range ddp_reduce_layout_bucket(const struct ddp_reduce_layout *l, int64_t bucket)
{
    if (l->front > 0 && bucket + 1 == l->buckets)
        return (struct ddp_range){0, l->front};
    const int64_t hi = l->blocks - bucket * l->each, lo = hi - l->each;
    return (struct ddp_range){lo > l->front ? lo : l->front, hi};
}

int64_t ddp_reduce_layout_bucket_of(const struct ddp_reduce_layout *l, int64_t block)
{
    return block < l->front ? l->buckets - 1 : (l->blocks - 1 - block) / l->each;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Where slice `slot` begins. Blocks left over in the buckets before went to the slots before `turn`; those of
 * this bucket, `rest`, go to turn, turn + 1, ..., and round. */
static int64_t begin_of(const struct ddp_reduce_layout *l, int64_t bucket, int slot)
{
    struct ddp_range all = ddp_reduce_layout_bucket(l, bucket);
    int64_t base = ddp_range_size(all) / l->size, rest = ddp_range_size(all) % l->size;
    int64_t turn = (l->blocks - all.hi) % l->size, round = turn + rest > l->size ? turn + rest - l->size : 0;
    int64_t straight = slot > turn ? least(slot - turn, rest) : 0;
    return all.lo + slot * base + least(slot, round) + straight;
}

static struct ddp_range slots(const struct ddp_reduce_layout *l, int64_t bucket, int from, int to)
{
    return (struct ddp_range){begin_of(l, bucket, from), begin_of(l, bucket, to)};
}

struct ddp_range ddp_reduce_layout_lane(const struct ddp_reduce_layout *l, int64_t bucket, int lane)
{
    return slots(l, bucket, l->slot[lane * l->nodes], l->slot[(lane + 1) * l->nodes]);
}

struct ddp_range ddp_reduce_layout_part(const struct ddp_reduce_layout *l, int64_t bucket, int lane, int node)
{
    const int *begin = &l->slot[lane * l->nodes + node];
    return slots(l, bucket, begin[0], begin[1]);
}

struct ddp_range ddp_reduce_layout_slice(const struct ddp_reduce_layout *l, int64_t bucket, int rank)
{
    const int slot = ddp_reduce_layout_slot(l, rank);
    return slots(l, bucket, slot, slot + 1);
}

struct ddp_range ddp_reduce_layout_share(const struct ddp_reduce_layout *l, int64_t bucket, int rank)
{
    struct ddp_reduce_place p = ddp_reduce_layout_place(l, rank);
    struct ddp_range all = ddp_reduce_layout_lane(l, bucket, p.lane);
    int members = ddp_reduce_layout_members(l, p.lane, p.node);
    return (struct ddp_range){all.lo + ddp_range_size(all) * p.member / members,
                              all.lo + ddp_range_size(all) * (p.member + 1) / members};
}

/* ---- shards ---- */

struct ddp_range ddp_reduce_layout_shards(const struct ddp_reduce_layout *l, int rank)
{
    return (struct ddp_range){ddp_tree_first_shard(l->shards, l->size, rank),
                              ddp_tree_first_shard(l->shards, l->size, rank + 1)};
}

struct ddp_range ddp_reduce_layout_node_shards(const struct ddp_reduce_layout *l, int node)
{
    return (struct ddp_range){ddp_tree_first_shard(l->shards, l->size, l->first[node]),
                              ddp_tree_first_shard(l->shards, l->size, l->first[node + 1])};
}

int ddp_reduce_layout_cover(const struct ddp_reduce_layout *l, int node,
                            struct ddp_tree_node cover[DDP_TREE_MAX_NODES])
{
    struct ddp_range s = ddp_reduce_layout_node_shards(l, node);
    return ddp_tree_cover(l->shards, (int)s.lo, (int)s.hi, cover);
}
