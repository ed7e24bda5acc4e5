/* Private to src/engine/gpu: one rank's memory for a model on the device, and the state of the pass that runs in it.
 */
#ifndef DDP_GPU_PASS_PRIVATE_H
#define DDP_GPU_PASS_PRIVATE_H

#include "engine/gpu/pass.h"
#include "engine/gpu/pass_memory.h"

struct ddp_gpu_pass {
    struct ddp_gpu_pass_conf conf;
    struct ddp_gpu_stage *stage; /* [nstages] */
    size_t *saved_bytes;         /* [nstages] */
    size_t workspace_bytes, scratch_bytes;
    int max_sync;
    struct ddp_gpu_memory mem;
    /* device memory */
    void *memory;
    char **area; /* [resident] */
    void *workspace, *scratch;
    float *sync_leaves, *sync_sum;
    /* of the forward that was enqueued last */
    struct ddp_gpu_shard *shard; /* [resident] */
    const struct ddp_gpu_step *step;
    const struct ddp_gpu_scale *scale;
    float *loss;
    int32_t *correct;
};

/* Value of resident shard i. */
void *ddp_gpu_pass_value(const struct ddp_gpu_pass *p, int i, int value);

#endif
