/* What the passes of all devices share. A pass runs the graph of src/model for one rank: forward and backward
 * of its shards, in memory that was planned before step 0 (cpu/pass.h, gpu/pass.h: the same calls). */
#ifndef DDP_ENGINE_PASS_H
#define DDP_ENGINE_PASS_H

#include "model/model.h"

/* Called when the blocks [lo, hi) of leaf i are final and their parameters are no longer read. */
typedef void (*ddp_pass_ready_fn)(void *ctx, int i, int64_t lo, int64_t hi);

/* Pieces of the text about a value that is not finite. Of x: "nan", "inf" or "-inf". Of a tensor with its
 * elements `values` in any layout: "parameter 'fc.weight' holds nan (...)"; false when all are finite. */
const char *ddp_pass_bad_kind(float x);
bool ddp_pass_bad_param(const struct ddp_flat_tensor *t, const float *values, char *text, int size);

#endif
