/* What is fixed before step 0: in which buffer each shard's leaf is written, what is merged after it, and how
 * the owner of an element adds what the ranks ship. Pure functions of the configuration. */
#ifndef DDP_REDUCE_SCHEDULE_H
#define DDP_REDUCE_SCHEDULE_H

#include "reduce/reduce.h"
#include "reduce/tree.h"

struct ddp_merge {
    int into, from; /* buffers: into = into + from; `into` holds the lower shards */
};

/* One rank's part. */
struct ddp_schedule {
    int first, last; /* shards */
    int buffers;
    int *leaf;  /* [last - first] buffer of each shard's leaf */
    int *start; /* [last - first + 1] merges after shard s are merge[start[s - first] .. start[s - first + 1])
                 */
    struct ddp_merge *merge;
    int nodes; /* what is shipped, in order of shards; always begins in buffer 0 */
    struct ddp_tree_node node[DDP_TREE_MAX_NODES];
    int node_buffer[DDP_TREE_MAX_NODES];
};

/* canonical: a stack on absolute shard indices. side_by_side: the same merges, a buffer per shard. fast: left
 * to right. */
void ddp_schedule_init(struct ddp_schedule *s, const struct ddp_reduce_conf *conf, int ranks, int rank);
void ddp_schedule_finish(struct ddp_schedule *s);
/* Buffers that init would find, without making the schedule. */
int ddp_schedule_buffers(const struct ddp_reduce_conf *conf, int ranks, int rank);

/* dst = x + y, where x and y are shipped nodes (0 ..) or temporaries (-1 - t); dst is temporary `dst`. */
struct ddp_add {
    int x, y, dst;
};

/* The owner's program over all shipped nodes: the top of tree(0, shards). */
struct ddp_combine {
    int nadds; /* nodes - 1; the last one's result is the sum */
    struct ddp_add *add;
    int temps; /* temporaries in use */
};

/* nodes: [n], in order, together covering [0, shards). */
void ddp_combine_init(struct ddp_combine *c, int shards, const struct ddp_tree_node *nodes, int n);
void ddp_combine_finish(struct ddp_combine *c);

#endif
