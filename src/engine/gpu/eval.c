/* The held-out pass on the device: forward of my shards, batch after batch; losses stay on the device until
 * the end. */
#include <string.h>

#include "engine/gpu/private.h"

int ddp_gpu_engine_eval(struct ddp_engine *base, const struct ddp_batch *batch, int64_t index,
                        struct ddp_error *err)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    struct ddp_gpu_slot *s = &e->eval_slot[index % DDP_GPU_PENDING];
    const struct ddp_gpu_step step = {.epoch = 0, .count = batch->count};
    if (s->used) {
        const int status = ddp_gpu_engine_wait(e, s->done, "evaluation", err);
        if (status)
            return status;
    }
    if (index == 0) { /* NCCL: what was captured is over before this begins (nccl.c) */
        const int status = ddp_gpu_engine_drain(e, e->compute, "the last step", err);
        if (status)
            return status;
        ddp_gpu_updater_gather(&e->updater);
    }
    ddp_gpu_slot_fill(e, &e->eval_layout, s, batch, &step);
    for (int i = 0; i < e->base.eval_shards; i++) {
        const int64_t at = index * e->base.eval_shards + i;
        ddp_gpu_pass_forward(e->eval, e->compute, ddp_gpu_eval_params(e), ddp_gpu_eval_weights(e),
                             s->shard + i, 1, ddp_gpu_slot_step(s), NULL, e->eval_loss + at,
                             e->eval_correct + at);
    }
    e->api->record(s->done, e->compute);
    s->used = true;
    return 0;
}

int ddp_gpu_engine_eval_end(struct ddp_engine *base, struct ddp_engine_eval *out, struct ddp_error *err)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    const size_t count = (size_t)e->base.eval_batches * (size_t)e->base.eval_shards;
    e->api->copy(e->compute, e->eval_host, e->eval_loss, count * (sizeof(float) + sizeof(int32_t)));
    const int status = ddp_gpu_engine_drain(e, e->compute, "evaluation", err);
    if (status)
        return status;
    const void *score = e->eval_host + count * sizeof(float);
    *out = (struct ddp_engine_eval){.loss = (const float *)(const void *)e->eval_host,
                                    .correct = e->targets ? NULL : score,
                                    .error = e->targets ? score : NULL};
    return 0;
}
