/* What a reduction over several nodes holds beside that of one: where the sums of a node are left, where
 * those of others come in, and in which order the owner of a slice adds them.
 *
 * Staging lies in the node's memory, lane after lane, bucket after bucket, and holds there the other nodes'
 * tree nodes over the part that the lane owns here:
 *
 *   | lane 0                                       | lane 1 ..
 *   | bucket 0                 | bucket 1 ..       |
 *   | node 1's covers, node 2's|                   |
 */
#include "reduce/host_private.h"

#include <stdlib.h>

static int other_covers(const struct ddp_reduce_layout *l, int node)
{
    struct ddp_tree_node cover[DDP_TREE_MAX_NODES];
    int n = 0;
    for (int other = 0; other < l->nodes; other++)
        n += other == node ? 0 : ddp_reduce_layout_cover(l, other, cover);
    return n;
}

/* Elements that a lane owns on a node. */
static int64_t lane_elements(const struct ddp_reduce_layout *l, int lane, int node)
{
    int64_t blocks = 0;
    for (int64_t b = 0; b < l->buckets; b++)
        blocks += ddp_range_size(ddp_reduce_layout_part(l, b, lane, node));
    return blocks * DDP_BLOCK;
}

int64_t ddp_reduce_staging(const struct ddp_reduce_layout *l, int node)
{
    int64_t elements = 0;
    for (int lane = 0; lane < l->lanes && l->nodes > 1; lane++)
        elements += lane_elements(l, lane, node);
    return elements * other_covers(l, node);
}

/* The cover of my node, from what its ranks ship. */
static void plan_covers(struct ddp_reduce *r, float *const *buffer)
{
    const struct ddp_reduce_layout *l = &r->layout;
    const struct ddp_schedule_conf schedule = {l->shards, r->conf.fast, r->conf.side_by_side ? l->shards : 1};
    const int first = l->first[r->place.node], last = l->first[r->place.node + 1];
    struct ddp_tree_node top[DDP_TREE_MAX_NODES];
    struct ddp_shipment *all = NULL;
    const int n = ddp_schedule_shipments(&schedule, l->size, &all);
    struct ddp_tree_node *nodes = ddp_calloc((size_t)n, sizeof *nodes);
    int at = 0;
    while (all[at].rank < first)
        at++;
    r->covers = ddp_reduce_layout_cover(l, r->place.node, top);
    r->cover = ddp_calloc((size_t)r->covers, sizeof *r->cover);
    for (int i = 0; i < r->covers; i++) {
        struct ddp_reduce_cover *k = &r->cover[i];
        int inputs = 0;
        k->input = ddp_calloc((size_t)n, sizeof *k->input);
        for (; at < n && all[at].rank < last && all[at].node.hi <= top[i].hi; at++, inputs++) {
            float *from = buffer[all[at].rank - first] + all[at].buffer * r->conf.total;
            nodes[inputs] = all[at].node;
            k->input[inputs] = from;
            k->sum = inputs == 0 ? from : k->sum;
        }
        ddp_combine_init(&k->combine, top[i], nodes, inputs);
        r->temps = k->combine.temps > r->temps ? k->combine.temps : r->temps;
    }
    free(nodes);
    free(all);
}

/* Where each of the nodes' tree nodes lies over my slice of a bucket; those of others begin at `staged`.
 * Returns where those of the next bucket do. */
static const float *find_inputs(struct ddp_reduce *r, int64_t bucket, const float *staged)
{
    const struct ddp_reduce_layout *l = &r->layout;
    const struct ddp_range part = ddp_reduce_layout_part(l, bucket, r->place.lane, r->place.node);
    const int64_t lo = r->bucket[bucket].mine.lo, each = ddp_range_size(part) * DDP_BLOCK;
    struct ddp_tree_node cover[DDP_TREE_MAX_NODES];
    int n = 0;
    for (int node = 0; node < l->nodes; node++) {
        const int covers = ddp_reduce_layout_cover(l, node, cover);
        for (int i = 0; i < covers; i++) {
            const bool own = node == r->place.node;
            r->bucket[bucket].input[n++] =
                own ? r->cover[i].sum + lo * DDP_BLOCK : staged + (lo - part.lo) * DDP_BLOCK;
            staged += own ? 0 : each;
        }
    }
    return staged;
}

void ddp_reduce_plan_nodes(struct ddp_reduce *r, float *const *buffer)
{
    const struct ddp_reduce_layout *l = &r->layout;
    if (r->conf.fast)
        return; /* the transport sums, over all nodes */
    plan_covers(r, buffer);

    struct ddp_tree_node *nodes = ddp_calloc((size_t)l->nodes * DDP_TREE_MAX_NODES, sizeof *nodes);
    int n = 0;
    for (int node = 0; node < l->nodes; node++)
        n += ddp_reduce_layout_cover(l, node, nodes + n);
    ddp_combine_init(&r->combine, (struct ddp_tree_node){0, l->shards}, nodes, n);
    r->temps = r->combine.temps > r->temps ? r->combine.temps : r->temps;
    free(nodes);

    int64_t before = 0;
    for (int lane = 0; lane < r->place.lane; lane++)
        before += lane_elements(l, lane, r->place.node);
    r->staging += before * other_covers(l, r->place.node); /* my lane's */
    r->inputs = ddp_calloc((size_t)l->buckets * (size_t)n, sizeof *r->inputs);
    const float *staged = r->staging;
    for (int64_t b = 0; b < l->buckets; b++) {
        r->bucket[b].input = r->inputs + b * n;
        staged = find_inputs(r, b, staged);
    }
}

void ddp_reduce_forget_nodes(struct ddp_reduce *r)
{
    for (int i = 0; i < r->covers; i++) {
        ddp_combine_finish(&r->cover[i].combine);
        free(r->cover[i].input);
    }
    free(r->cover);
}
