/* The canonical tree over S shards as index arithmetic: tree(lo, hi) = leaf when hi - lo = 1, else
 * tree(lo, mid) + tree(mid, hi), mid - lo the largest power of two below hi - lo.
 *
 * A rank streams its shards lo..hi-1 in order through a stack of buffers, merging only nodes of tree(0, S);
 * what is left covers its range. The schedule is fixed before step 0. */
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

/* After leaf `shard` was written into buffer `depth` (0-based stack position), how many merges follow: each
 * adds buffer top into top-1. Returns the number; *buffer is where the leaf goes. */
int ddp_tree_merges(int shards, int first, int shard, int *buffer);
/* The nodes that a rank's range [first, last) leaves, in order; node i is in buffer i. Returns how many. */
int ddp_tree_cover(int shards, int first, int last, struct ddp_tree_node nodes[DDP_TREE_MAX_NODES]);
/* Buffers a rank needs at most. */
int ddp_tree_buffers(int shards, int first, int last);

/* Sum leafs v[0..shards-1][width] into out[width] in tree order (statistics, losses); v is overwritten. */
void ddp_tree_sum_float(int shards, int width, float *v, float *out);
void ddp_tree_sum_double(int shards, int width, double *v, double *out);

#endif
