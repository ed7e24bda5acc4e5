/* Jobs that have too many ranks, worded once: the launcher, a rank that something else started, and what is
 * made of ranks (reductions, placements) all find it out for themselves, whichever comes first. */
#ifndef DDP_BASE_RANKS_H
#define DDP_BASE_RANKS_H

#include <stdint.h>

#include "ddp/error.h"

/* "9 ranks, but only 8 shards". shards: leaves of a step, train.shards x accumulate; every rank needs one.
 * 0 where there are enough of them, else DDP_E_CONFIG with the way out. */
int ddp_ranks_check_shards(int ranks, int64_t shards, int64_t accumulate, struct ddp_error *err);

/* "8 ranks, but 1 GPU on this host". 0 where there are enough of them, else DDP_E_RESOURCE
 * with the way out. */
int ddp_ranks_check_gpus(int ranks, int gpus, struct ddp_error *err);

#endif
