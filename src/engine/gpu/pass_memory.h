/* Private to src/gpu: where activations, gradients and saved data of a shard lie on the device. As
 * src/model/memory_plan.h, with the sizes of the device's layouts; the life times are the same. */
#ifndef DDP_GPU_PASS_MEMORY_H
#define DDP_GPU_PASS_MEMORY_H

#include "engine/gpu/ops.h"

struct ddp_gpu_memory {
    int64_t *value, *grad; /* [nvalues] byte offsets in a shard's area; -1: does not exist */
    int64_t *saved;        /* [nstages] */
    size_t shard_bytes;
};

/* batch: samples of a shard. saved_bytes[nstages]. */
void ddp_gpu_memory_plan(const struct ddp_model *m, const size_t *saved_bytes, int batch, bool training,
                         enum ddp_gpu_type type, struct ddp_gpu_memory *out);
void ddp_gpu_memory_finish(struct ddp_gpu_memory *mem);

#endif
