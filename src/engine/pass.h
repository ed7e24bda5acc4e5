/* What the passes of all devices share. A pass carries out the plan of model/stages.h for one rank: forward
 * and backward of its shards, in memory that was planned before step 0 (cpu/pass.h, gpu/pass.h: the same
 * calls). */
#ifndef DDP_ENGINE_PASS_H
#define DDP_ENGINE_PASS_H

#include "model/model.h"

/* Called when the blocks [lo, hi) of leaf i are final and their parameters are no longer read. */
typedef void (*ddp_pass_ready_fn)(void *ctx, int i, int64_t lo, int64_t hi);

#endif
