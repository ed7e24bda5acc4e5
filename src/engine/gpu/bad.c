/* A batch whose loss was not finite, once more: the host hears of it late, when its outputs have been
 * overwritten; but nothing was updated since, so the same forward gives the same values again. */
#include <stdio.h>

#include "engine/gpu/private.h"

/* The shard's forward, not as part of a graph; returns the resident that holds it. */
static int run_training(struct ddp_gpu_engine *e, struct ddp_gpu_slot *s, int mine)
{
    const struct ddp_gpu_step *step = ddp_gpu_slot_step(s);
    const bool all = ddp_model_needs_sync(e->base.conf.model);
    const int first = all ? 0 : mine, n = all ? e->base.my_shards : 1;
    if (mine < 0 && !all)
        return -1;
    ddp_gpu_pass_forward(e->train, e->compute, e->params, e->weights, s->shard + first, n, step,
                         ddp_gpu_reduce_scale(e->reduce), e->loss + first, e->correct + first);
    return mine - first;
}

static int run_eval(struct ddp_gpu_engine *e, struct ddp_gpu_slot *s, int mine)
{
    ddp_gpu_pass_forward(e->eval, e->compute, ddp_gpu_eval_params(e), ddp_gpu_eval_weights(e),
                         s->shard + mine, 1, ddp_gpu_slot_step(s), NULL, e->eval_loss, e->eval_correct);
    return 0;
}

static int find_bad(struct ddp_gpu_engine *e, bool training, const struct ddp_batch *batch, int64_t step,
                    int mine, char *text, int size, struct ddp_error *err)
{
    struct ddp_gpu_slot *s = training ? &e->slot[0] : &e->eval_slot[0];
    const struct ddp_gpu_step values = {.step = step, .epoch = batch->epoch, .count = batch->count};
    int status = ddp_gpu_engine_drain(e, e->compute, "waiting for the steps behind one that failed", err);
    if (status)
        return status;
    ddp_gpu_slot_fill(e, training ? &e->layout : &e->eval_layout, s, batch, &values);
    const int resident = (training ? run_training : run_eval)(e, s, mine);
    status = ddp_gpu_engine_drain(e, e->compute, "a step that failed, once more", err);
    if (status || mine < 0)
        return status;
    return ddp_gpu_pass_find_bad(training ? e->train : e->eval, e->compute,
                                 training ? e->params : ddp_gpu_eval_params(e),
                                 training ? e->weights : ddp_gpu_eval_weights(e), resident, text, size, err);
}

void ddp_gpu_engine_find_bad(struct ddp_engine *base, bool training, int64_t step,
                             const struct ddp_batch *batch, int shard, char *text, int size)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    const int first = training ? base->conf.ranks.first : base->conf.ranks.eval_first;
    struct ddp_error error = {0};
    if (batch && find_bad(e, training, batch, step, shard < 0 ? -1 : shard - first, text, size, &error) != 0)
        snprintf(text, (size_t)size, "not found: %.200s", error.text);
}
