/* Private to src/engine/gpu: one rank's memory for a model on the device, and the state of the pass that
 * runs in it. */
#ifndef DDP_GPU_PASS_PRIVATE_H
#define DDP_GPU_PASS_PRIVATE_H

#include "engine/gpu/branches.h"
#include "engine/gpu/pass.h"
#include "model/memory_plan.h"

/* One stage as the device sees it. */
struct ddp_gpu_stage {
    const struct ddp_op_device *op;
    struct ddp_shape in[DDP_OP_MAX_IN], out; /* out: {0} for a loss */
    struct ddp_device_plan plan;
};

struct ddp_gpu_pass {
    struct ddp_gpu_pass_conf conf;
    const struct ddp_stages *plan;
    struct ddp_gpu_stage *stage; /* [nstages] */
    size_t workspace_bytes;
    struct ddp_memory mem;
    bool synced; /* all shards at once */
    struct ddp_gpu_branches *branch;
    /* device memory */
    void *memory;
    char **area; /* [beside] */
    void *workspace[DDP_GPU_MAX_BRANCHES], *scratch[DDP_GPU_MAX_BRANCHES];
    double *sync_leaves, *sync_sum;
    /* of the forward that was enqueued last */
    struct ddp_gpu_shard *shard; /* [beside] */
    const struct ddp_gpu_step *step;
    const struct ddp_gpu_scale *scale;
    float *loss;
    int32_t *correct;
};

/* pass_memory.c: the memory plan with shards of `batch` samples, once the stages are planned. */
void ddp_gpu_pass_plan_memory(const struct ddp_gpu_pass *p, int batch, struct ddp_memory *out);

#endif
