/* Who owns what: bucket -> lane -> node -> slice. Pure: the same on every rank, from a few numbers; an
 * executor moves what it says.
 *
 * Ranks are numbered node after node, and shards are handed to ranks in order, so that the shards of a node
 * are a range, as those of a rank are. A `node` is the ranks that share memory, a `lane` the ranks with the
 * same local rank on every node. The smallest node says how many lanes there are; on a larger one
 *
 *     lane = local rank modulo lanes,   member = local rank / lanes
 *
 * and member 0 is the lane's port: what crosses the network goes through it. Two nodes, of 3 ranks and of 2:
 *
 *     rank   node   local   lane   member
 *     0      0      0       0      0
 *     1      0      1       1      0
 *     2      0      2       0      1
 *     3      1      0       0      0
 *     4      1      1       1      0
 *
 * The flat space is cut at blocks of DDP_BLOCK elements. Bucket 0 is its end (backward finishes there
 * first), the last one is what is left at the front; or the front has a size of its own, and what is left is
 * the one before it, so that less remains to be sent when backward ends. A bucket is cut into one slice a
 * rank, in the order lane, node, member; blocks that do not divide evenly go round, so that over all buckets
 * no rank owns two blocks more than another:
 *
 *     lane    | 0                    | 1             |
 *     part    | node 0       | node 1| node 0| node 1|
 *     slice   | rank 0 rank 2| rank 3| rank 1| rank 4|
 *
 * The way of a bucket:
 *
 *     1   each rank     adds its node's leaves over its share of its lane, which leaves the tree nodes that
 *                       cover the node's shards
 *     2   port to port  lane l of node a sends part (l, m) of each of them to lane l of node m
 *     3   each rank     adds all nodes' tree nodes over its slice in tree order, and applies the sum
 *     4   port to port  lane l of node m sends part (l, m) of the result to lane l of every node
 *
 * so that all lanes are busy, the flat space crosses the network of a node once in and once out for each
 * of its tree nodes (one, where its shards are a whole subtree) and once with the results, each time
 * less what it owns itself, and a port sends (nodes - 1) * (tree nodes + 1) messages a bucket, however
 * many ranks there are.
 *
 * On one node a rank is a lane, slices lie in the order of ranks, a share is the slice, and 1
 * and 3 are one sum. */
#ifndef DDP_REDUCE_LAYOUT_H
#define DDP_REDUCE_LAYOUT_H

#include "base/base.h"
#include "base/range.h"
#include "reduce/tree.h"

struct ddp_reduce_layout_conf {
    int shards;     /* leaves of the tree */
    int64_t total;  /* elements, whole blocks */
    int64_t bucket; /* target size in elements, cut to whole blocks, at least one */
    int nodes;
    const int *ranks; /* [nodes] ranks of each, borrowed; NULL: one node of `size` ranks */
    int size;         /* ranks in all */
    /* Size of the front bucket, where there are several: in elements, cut to whole blocks. 0, or no less than
     * a bucket: what is left. */
    int64_t front;
};

struct ddp_reduce_layout {
    int shards, size, nodes, lanes;
    int64_t blocks, each, front, buckets; /* each: blocks in a bucket; front: in the last, or 0 */
    int *first;                           /* [nodes + 1] first rank of each node */
    int *slot; /* [lanes * nodes + 1] where part (lane, node) begins in the order of slices */
};

struct ddp_reduce_place {
    int node, local, lane, member;
};

/* DDP_E_USAGE: sizes out of range; DDP_E_CONFIG: more ranks than shards. */
int ddp_reduce_layout_check(const struct ddp_reduce_layout_conf *conf, struct ddp_error *err);

/* conf: as check() lets it pass. */
void ddp_reduce_layout_init(struct ddp_reduce_layout *l, const struct ddp_reduce_layout_conf *conf);
void ddp_reduce_layout_finish(struct ddp_reduce_layout *l);

struct ddp_reduce_place ddp_reduce_layout_place(const struct ddp_reduce_layout *l, int rank);
int ddp_reduce_layout_members(const struct ddp_reduce_layout *l, int lane, int node);
int ddp_reduce_layout_port(const struct ddp_reduce_layout *l, int lane, int node);               /* a rank */
int ddp_reduce_layout_member(const struct ddp_reduce_layout *l, int lane, int node, int member); /* a rank */
/* Which slice of a bucket, counted from its front, is a rank's: in the order lane, node, member. */
int ddp_reduce_layout_slot(const struct ddp_reduce_layout *l, int rank);

/* ---- in blocks ---- */

struct ddp_range ddp_reduce_layout_bucket(const struct ddp_reduce_layout *l, int64_t bucket);
int64_t ddp_reduce_layout_bucket_of(const struct ddp_reduce_layout *l, int64_t block);
/* What a rank owns of a bucket; may be empty, as may all that follow. */
struct ddp_range ddp_reduce_layout_slice(const struct ddp_reduce_layout *l, int64_t bucket, int rank);
/* The slices of a lane on all nodes, and on one. */
struct ddp_range ddp_reduce_layout_lane(const struct ddp_reduce_layout *l, int64_t bucket, int lane);
struct ddp_range ddp_reduce_layout_part(const struct ddp_reduce_layout *l, int64_t bucket, int lane,
                                        int node);
/* What of its lane a rank adds over the leaves of its node: the lane, where it is alone in it. */
struct ddp_range ddp_reduce_layout_share(const struct ddp_reduce_layout *l, int64_t bucket, int rank);

/* ---- in shards ---- */

struct ddp_range ddp_reduce_layout_shards(const struct ddp_reduce_layout *l, int rank);
struct ddp_range ddp_reduce_layout_node_shards(const struct ddp_reduce_layout *l, int node);
/* The tree nodes that a node's shards come down to, in order. Returns how many. */
int ddp_reduce_layout_cover(const struct ddp_reduce_layout *l, int node,
                            struct ddp_tree_node cover[DDP_TREE_MAX_NODES]);

#endif
