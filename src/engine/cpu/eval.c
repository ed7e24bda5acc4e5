/* The held-out pass on CPUs, and the tensor where a loss stopped being finite. */
#include <stdio.h>

#include "engine/cpu/private.h"

/* What evaluations read: the average that optim.ema keeps, else the parameters. */
static const float *weights(const struct ddp_cpu_engine *e)
{
    const float *average = e->base.conf.train_set ? ddp_optim_average(e->base.optim) : NULL;
    return average ? average : e->base.params;
}

/* Forward of one of my shards. */
static int run(struct ddp_cpu_engine *e, const struct ddp_batch *batch, int mine, float *loss,
               int64_t *correct, struct ddp_error *err)
{
    return ddp_cpu_pass_forward(e->eval, weights(e), batch->shard + mine, 1, 0, batch->count, loss, correct,
                                err);
}

/* The average is its owners' until somebody needs it: those of other nodes. */
int ddp_cpu_eval_begin(struct ddp_engine *base, struct ddp_error *err)
{
    struct ddp_cpu_engine *e = (struct ddp_cpu_engine *)base;
    float *average = base->conf.train_set ? ddp_optim_average(base->optim) : NULL;
    return average ? ddp_reduce_move(e->reduce, average, DDP_REDUCE_TO_ALL, err) : 0;
}

int ddp_cpu_eval(struct ddp_engine *base, const struct ddp_batch *batch, int64_t index, struct ddp_error *err)
{
    struct ddp_cpu_engine *e = (struct ddp_cpu_engine *)base;
    const int shards = base->eval_shards;
    int status = 0;
    for (int s = 0; s < shards && status == 0; s++) {
        const int64_t at = index * shards + s;
        int64_t correct = 0;
        status = run(e, batch, s, &e->eval_loss[at], &correct, err);
        e->eval_correct[at] = (int32_t)correct;
        e->eval_error[at] = ddp_cpu_pass_error(e->eval, 0);
    }
    return status;
}

int ddp_cpu_eval_end(struct ddp_engine *base, struct ddp_engine_eval *out, struct ddp_error *err)
{
    struct ddp_cpu_engine *e = (struct ddp_cpu_engine *)base;
    const bool targets = base->conf.test_set->info.targets > 0;
    (void)err;
    *out = (struct ddp_engine_eval){.loss = e->eval_loss,
                                    .correct = targets ? NULL : e->eval_correct,
                                    .error = targets ? e->eval_error : NULL};
    return 0;
}

void ddp_cpu_find_bad(struct ddp_engine *base, bool training, int64_t step, const struct ddp_batch *batch,
                      int shard, char *text, int size)
{
    struct ddp_cpu_engine *e = (struct ddp_cpu_engine *)base;
    float loss;
    int64_t correct;
    (void)step;
    if (shard < 0)
        return;
    if (training)
        snprintf(text, (size_t)size, "%s", e->bad);
    else if (batch && run(e, batch, shard - base->conf.ranks.eval_first, &loss, &correct, NULL) == 0)
        ddp_cpu_pass_find_bad(e->eval, weights(e), 0, text, size);
}
