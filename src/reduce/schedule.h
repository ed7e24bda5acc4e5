/* What is fixed before step 0: in which buffer each shard's leaf is written, what is merged after it, which
 * tree nodes are left and where, and how they are added. Pure. The stack of rank 0 of 1, 8 shards:
 *
 *     shard          0     1     2     3       4      5       6       7
 *     leaf in        0     1     1     2       1      2       2       3
 *     merges         -     0+1   -     1+2     -      1+2     -       2+3
 *                                      0+1                            1+2
 *                                                                     0+1
 *     buffer 0       0     0..1  0..1  0..3    0..3   0..3    0..3    0..7
 *     buffer 1                   2             4      4..5    4..5
 *     buffer 2                                                6
 *
 * With 4 beside each other the leaves of shards 0 to 3 are in buffers 0 to 3, and as these came down to
 * buffer 0, those of shards 4 to 7 in buffers 1 to 4. */
#ifndef DDP_REDUCE_SCHEDULE_H
#define DDP_REDUCE_SCHEDULE_H

#include "reduce/tree.h"

struct ddp_schedule_conf {
    int shards;
    bool fast; /* left to right instead of the tree: one sum a rank */
    /* Leaves in memory at once, a buffer for each; 1 (0 is the same): a stack; as many as the rank has
     * shards: no stack at all. The same sums. */
    int beside;
};

struct ddp_merge {
    int into, from; /* buffers: into = into + from; `into` holds the lower shards */
};

/* One rank's part. */
struct ddp_schedule {
    int first, last; /* shards */
    int buffers;
    int *leaf; /* [last - first] buffer of each shard's leaf */
    /* [last - first + 1] after shard s come merge[start[s - first]] up to, not including, merge[start[s -
     * first + 1]]. */
    int *start;
    struct ddp_merge *merge;
    int nodes; /* tree nodes that are left, in order of shards; the first in buffer 0 */
    struct ddp_tree_node node[DDP_TREE_MAX_NODES];
    int node_buffer[DDP_TREE_MAX_NODES];
};

void ddp_schedule_init(struct ddp_schedule *s, const struct ddp_schedule_conf *conf, int ranks, int rank);
void ddp_schedule_finish(struct ddp_schedule *s);
/* Buffers that init finds. */
int ddp_schedule_buffers(const struct ddp_schedule_conf *conf, int ranks, int rank);

/* A tree node that a rank is left with. */
struct ddp_shipment {
    int rank, buffer; /* of that rank */
    struct ddp_tree_node node;
};

/* Those of all ranks in order of shards: together they cover [0, shards). Returns how many; *out is
 * freed by the caller. */
int ddp_schedule_shipments(const struct ddp_schedule_conf *conf, int ranks, struct ddp_shipment **out);

/* dst = x + y, where x and y are inputs (0 ..) or temporaries (-1 - t); dst is temporary `dst`. */
struct ddp_add {
    int x, y, dst;
};

/* A program that adds inputs up to one tree node. ((0 + 1) + 2) of tree(0, 3), from three leaves:
 *
 *     temp 0 = in 0 + in 1
 *     temp 0 = temp 0 + in 2   the sum */
struct ddp_combine {
    int nadds; /* inputs - 1; the last one's result is the sum */
    struct ddp_add *add;
    int temps; /* temporaries in use */
};

/* nodes: [n] tree nodes below `top`, in order, together covering it: of the ranks of one
 * machine, or of all. */
void ddp_combine_init(struct ddp_combine *c, struct ddp_tree_node top, const struct ddp_tree_node *nodes,
                      int n);
void ddp_combine_finish(struct ddp_combine *c);

#endif
