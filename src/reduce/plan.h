/* One rank's part in a job: who it is, and which shards are its own. Computed once, when the config is known,
 * and handed down to all that need a piece of it: loaders, engines, reductions, evaluation. Pure data. */
#ifndef DDP_REDUCE_PLAN_H
#define DDP_REDUCE_PLAN_H

#include "comm/comm.h"

struct ddp_rank_plan {
    int rank, size;             /* in the world */
    int node, nodes;            /* where memory is shared */
    int local_rank, local_size; /* there */

    /* Shards are handed out in the order of seats (comm.h), so that those of a node lie together.
     * leaves of a step: shards = train.shards x train.accumulate, mine are [first, last), at least one */
    int shards, first, last;
    /* of a batch of the evaluation: eval_shards = train.shards, mine are [eval_first,
     * eval_last), may be none */
    int eval_shards, eval_first, eval_last;
};

/* The part of comm's rank. Local, with the same code on all ranks; *out is set on success only.
 * DDP_E_CONFIG: more ranks than shards. */
int ddp_rank_plan_init(const struct ddp_comm *comm, int train_shards, int accumulate,
                       struct ddp_rank_plan *out, struct ddp_error *err);

/* How many shards are mine. */
static inline int ddp_rank_plan_mine(const struct ddp_rank_plan *p)
{
    return p->last - p->first;
}

#endif
