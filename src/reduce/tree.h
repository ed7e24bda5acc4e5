/* The canonical tree over S shards as index arithmetic:
 *
 *     tree(lo, hi) = leaf                             where hi - lo = 1
 *                  = tree(lo, mid) + tree(mid, hi)    mid - lo the largest power of two below hi - lo
 *
 * tree(0, 7), and what 3 ranks are left with: a rank streams its shards through a stack of buffers, merging
 * only nodes of the tree, and the stack ends as the cover of its range.
 *
 *                   .---------+--------.
 *              .----+----.         .---+---.
 *            .-+-.     .-+-.     .-+-.     |
 *            0   1     2   3     4   5     6      shards
 *
 *     rank   0   0     1   1     2   2     2
 *     cover  0..1      2..3      4..6
 */
#ifndef DDP_REDUCE_TREE_H
#define DDP_REDUCE_TREE_H

#include <stdbool.h>

enum { DDP_TREE_MAX_NODES = 32, DDP_TREE_MAX_SHARDS = 65536 };

struct ddp_tree_node {
    int lo, hi; /* shards covered */
};

int ddp_tree_split(int lo, int hi); /* mid */
bool ddp_tree_is_node(int shards, int lo, int hi);
/* First shard of rank r of n: r * shards / n. */
int ddp_tree_first_shard(int shards, int ranks, int rank);

/* A stack that covers [first, lo) gets node [lo, hi) on top: how many merges follow, each adding the top into
 * the one below, until it is the cover of [first, hi). */
int ddp_tree_merges_after(int shards, int first, int lo, int hi);
/* The nodes that a rank's range [first, last) leaves, in order. Returns how many. */
int ddp_tree_cover(int shards, int first, int last, struct ddp_tree_node nodes[DDP_TREE_MAX_NODES]);

/* Sum leaves v [shards][width] into out[width] in tree order (statistics, losses); v is overwritten. */
void ddp_tree_sum_float(int shards, int width, float *v, float *out);
void ddp_tree_sum_double(int shards, int width, double *v, double *out);

#endif
