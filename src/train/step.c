/* One training step. */
#include <math.h>
#include <string.h>

#include "train/trainer.h"

static void apply(void *ctx, int stage, int64_t lo, int64_t hi, float *sum, double *values);
static void between(void *ctx, int stage, const double *values, int64_t blocks);
static void ready(void *ctx, int i, int64_t lo, int64_t hi);
static int check_losses(struct ddp_trainer *t, int first, int n, struct ddp_error *err);
static void write_metrics(struct ddp_trainer *t, int shard, float *leaf);

static struct ddp_reduce_apply applier(struct ddp_trainer *t)
{
    return (struct ddp_reduce_apply){
        .ctx = t, .stages = ddp_optim_stages(t->cfg), .run = apply, .between = between};
}

int ddp_trainer_step(struct ddp_trainer *t, bool *stop, struct ddp_error *err)
{
    const struct ddp_reduce_apply apply_mine = applier(t);
    if (t->engine)
        return ddp_trainer_gpu_step(t, stop, err);
    int status = ddp_loader_next(t->loader, &t->now, err);
    if (status)
        return status;

    ddp_optim_begin(t->optim, t->state.step, t->now->count);
    ddp_reduce_begin(t->reduce);
    for (t->group = 0; t->group < t->my_shards; t->group += t->resident) {
        int n = t->my_shards - t->group < t->resident ? t->my_shards - t->group : t->resident;
        status = ddp_cpu_pass_forward(t->exec, t->params, t->now->shard + t->group, n, t->now->epoch,
                                      t->now->count, t->loss + t->group, t->correct + t->group, err);
        if (status || (status = check_losses(t, t->group, n, err)))
            return status;

        for (int i = 0; i < n; i++)
            t->leaf[i] = ddp_reduce_leaf(t->reduce, t->first_shard + t->group + i);
        status = ddp_cpu_pass_backward(t->exec, t->params, t->leaf, n, ready, t, err);
        if (status)
            return status;
        for (int i = 0; i < n; i++) {
            write_metrics(t, t->group + i, t->leaf[i]);
            ready(t, i, t->flat->metrics, t->flat->total);
        }
    }
    status = ddp_reduce_finish(t->reduce, &apply_mine, ddp_lifeline_stop_requested(), stop, err);
    if (status)
        return status;

    const float *sums = t->params + t->flat->metrics;
    ddp_trainer_count_step(t, t->now->count, sums[DDP_METRIC_LOSS], sums[DDP_METRIC_CORRECT]);
    t->step_norm = ddp_optim_norm(t->optim);
    ddp_trainer_advance(t);
    return 0;
}

void ddp_trainer_advance(struct ddp_trainer *t)
{
    t->state.step++;
    t->state.batches_tracked++;
    t->state.epoch = t->now->epoch + (t->now->index + 1 == t->per_epoch);
    t->state.batch = (t->now->index + 1) % t->per_epoch;
}

void ddp_trainer_count_step(struct ddp_trainer *t, int64_t count, double loss, double correct)
{
    t->step_loss = loss;
    t->step_correct = correct;
    t->step_count = count;
    t->state.epoch_loss_sum += loss;
    t->state.epoch_correct += (int64_t)correct;
    t->state.epoch_count += count;
}

/* [lo, hi) of the leaf of resident shard i is final. */
static void ready(void *ctx, int i, int64_t lo, int64_t hi)
{
    struct ddp_trainer *t = ctx;
    const struct ddp_reduce_apply apply_mine = applier(t);
    ddp_reduce_ready(t->reduce, t->first_shard + t->group + i, lo, hi, &apply_mine);
}

/* The owner's part: sums of [lo, hi) -> new parameters, running statistics, metrics. */
static void apply(void *ctx, int stage, int64_t lo, int64_t hi, float *sum, double *values)
{
    struct ddp_trainer *t = ctx;
    const struct ddp_flat *f = t->flat;
    bool last = stage == ddp_optim_stages(t->cfg) - 1;
    if (lo < f->stats)
        ddp_optim_run(t->optim, stage, lo, hi < f->stats ? hi : f->stats, sum, values);
    if (!last)
        return;
    int64_t from = lo > f->stats ? lo : f->stats, to = hi < f->metrics ? hi : f->metrics;
    if (from < to)
        ddp_model_apply_stats(t->model, t->now->count, t->shards, from, to, sum + (from - lo), t->params);
    if (hi > f->metrics)
        memcpy(t->params + f->metrics, sum + (f->metrics - lo), DDP_METRICS * sizeof(float));
}

static void between(void *ctx, int stage, const double *values, int64_t blocks)
{
    struct ddp_trainer *t = ctx;
    ddp_optim_between(t->optim, stage, values, blocks);
}

static void write_metrics(struct ddp_trainer *t, int shard, float *leaf)
{
    float *m = leaf + t->flat->metrics;
    memset(m, 0, (size_t)(t->flat->total - t->flat->metrics) * sizeof *m);
    m[DDP_METRIC_LOSS] = t->loss[shard];
    m[DDP_METRIC_CORRECT] = (float)t->correct[shard]; /* exact; so is the sum of a step, up to 2^24 */
}

static int check_losses(struct ddp_trainer *t, int first, int n, struct ddp_error *err)
{
    for (int i = first; i < first + n; i++) {
        if (isfinite(t->loss[i]))
            continue;
        char where[256];
        ddp_cpu_pass_find_bad(t->exec, t->params, i - first, where, sizeof where);
        return ddp_fail(
            err, DDP_E_NUMERIC,
            "step %lld: the loss of shard %d (rank %d) is %s; first bad tensor: %s. Checkpoints "
            "are from before this step; try a lower optim.lr, more optim.warmup_steps, or optim.clip_norm",
            (long long)t->state.step + 1, t->first_shard + i, t->comm->rank,
            isnan(t->loss[i]) ? "nan" : "infinite", where);
    }
    return 0;
}
