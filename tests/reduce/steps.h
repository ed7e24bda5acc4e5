/* Whole steps of a reduction on any transport, checked against the definition of the tree on every rank. */
#ifndef DDP_TESTS_REDUCE_STEPS_H
#define DDP_TESTS_REDUCE_STEPS_H

#include "comm/ranks.h"
#include "reduce/reduce.h"

/* In which ranges, and in which order, a leaf is reported. */
enum order { WHOLE, BACKWARD, FORWARD_THREES, SCRAMBLED, ORDERS };

struct plan {
    int shards, blocks, bucket_blocks;
    bool fast, side_by_side, interleaved; /* interleaved: for each range, shard after shard */
    int stages;                           /* 1 or 3 */
    enum order order;
    int threads, steps;
    bool empties;      /* some shards have no samples */
    bool may_allocate; /* the transport does, in steps */
    /* not 0: ranks pause and compute at random between reports, which lets them look up from it (several
     * nodes) */
    unsigned stir;
    /* what the sums must be, [steps][blocks * DDP_BLOCK]: made by steps_prepare */
    float *want;
    float *scale; /* sums of magnitudes, for fast */
    /* 1: to the bit; 0: within rounding (fast on a backend that sums as it likes); -1: must differ */
    int exact;
};

/* ranks: whose order of sums is wanted when plan->fast and exact (the threads
 * transport adds in rank order). */
void steps_prepare(struct plan *plan, int ranks);
void steps_forget(struct plan *plan);

/* The body for ranks_run. */
int steps_run(struct ddp_comm *c, void *plan);
/* Plans of all kinds, each on c's number of ranks; c NULL: on n threads, on pseudo-nodes where node is given.
 * Returns as ranks_run does. */
int steps_canonical(struct ddp_comm *c, int n, const int *node);

/* A body: small sums of many widths; shards: an int. */
int steps_small(struct ddp_comm *c, void *shards);

#endif
