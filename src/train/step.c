/* One training step: a batch is enqueued, results are collected. Where an engine's results come late the host
 * runs ahead of them, except where something has to be written or decided after exactly this step. Which
 * steps those are follows from the config alone, so all ranks see a request to stop after the same step. */
#include <math.h>

#include "train/trainer.h"

/* t->now is done, or on its way. */
static void advance(struct ddp_trainer *t)
{
    t->state.step++;
    t->state.batches_tracked++;
    t->state.epoch = t->now->epoch + (t->now->index + 1 == t->plan.per_epoch);
    t->state.batch = (t->now->index + 1) % t->plan.per_epoch;
}

/* Whether what happens after the step that was enqueued last wants its results. */
static bool wanted_now(const struct ddp_trainer *t)
{
    const struct ddp_config *cfg = t->cfg;
    const int64_t step = t->state.step;
    /* the first step of a process: it says when training began, and ends the warm-up */
    return t->first_step_s == 0 || t->state.batch == 0 || ddp_train_plan_log_due(&t->plan, cfg, step) ||
           ddp_train_plan_trail_due(cfg, step) || ddp_train_plan_save_due(cfg, step) || t->opt.hooks.on_step;
}

/* All ranks read the same sums, so all come here together; who has the shard words it. */
static int loss_failed(struct ddp_trainer *t, const struct ddp_engine_result *r, struct ddp_error *err)
{
    const struct ddp_bad_loss bad = {.training = true,
                                     .step = r->step,
                                     .epoch = r->epoch,
                                     .index = r->index,
                                     .shard = r->bad_shard,
                                     .loss = r->bad_loss};
    int status = ddp_trainer_bad_loss(t, &bad, err);
    status = ddp_comm_agree(t->comm, status, err);
    t->failed_together = true;
    return status
               ? status
               : ddp_fail(
                     err, DDP_E_NUMERIC,
                     "step %lld: the loss of every shard is finite, their sum overflowed; " DDP_NUMERIC_CURE,
                     (long long)r->step + 1);
}

/* The tensor that block `block` of the flat space belongs to. */
static const struct ddp_flat_tensor *tensor_of(const struct ddp_flat *flat, int64_t block)
{
    int i = flat->ntensors - 1;
    while (i > 0 && flat->tensor[i].offset > block * DDP_BLOCK)
        i--;
    return &flat->tensor[i];
}

/* All ranks know of the last block, and so of the tensor that comes first in the order of computing:
 * statistics come with forward, gradients from the last layer on. They leave together: who is late would be
 * ended else. */
static int sums_failed(struct ddp_trainer *t, const struct ddp_engine_result *r, struct ddp_error *err)
{
    const struct ddp_flat_tensor *tensor = tensor_of(t->engine->flat, r->refused);
    const char *kind =
        tensor->param.role == DDP_PARAM_TRAINED ? "gradient of parameter" : "running statistic";
    int status = 0;
    if (t->lead)
        status =
            ddp_fail(err, DDP_E_NUMERIC,
                     "step %lld: the loss is finite, but sums over the batch are not; first bad tensor: %s "
                     "'%s'. Nothing was updated with it. Checkpoints are from before this "
                     "step; " DDP_NUMERIC_CURE,
                     (long long)r->step + 1, kind, tensor->name);
    status = ddp_comm_agree(t->comm, status, err);
    t->failed_together = true;
    return status;
}

static void note_times(struct ddp_trainer *t, const struct ddp_engine_result *r)
{
    double *now = t->times.now;
    now[DDP_TIME_FORWARD] += r->forward;
    now[DDP_TIME_BACKWARD] += r->backward;
    now[DDP_TIME_OPTIMIZER] += r->optimizer;
    now[DDP_TIME_REDUCE] += r->reduce;
    now[DDP_TIME_WAIT] += r->waited;
}

static int collect(struct ddp_trainer *t, bool *stop, struct ddp_error *err)
{
    struct ddp_engine_result r;
    const int status = ddp_engine_collect(t->engine, &r, err);
    if (status)
        return status;
    if (!isfinite(r.loss_sum))
        return loss_failed(t, &r, err);
    if (r.refused >= 0)
        return sums_failed(t, &r, err);
    t->result = r;
    note_times(t, &r);
    t->state.epoch_loss_sum += r.loss_sum;
    t->state.epoch_correct += r.correct;
    t->state.epoch_count += r.count;
    *stop |= r.stop;
    return 0;
}

/* The sums of an epoch stay until the next one begins: an evaluation that is made up for wants them. */
static void begin_epoch(struct ddp_train_state *s)
{
    s->epoch_loss_sum = 0;
    s->epoch_correct = s->epoch_count = 0;
}

int ddp_trainer_step(struct ddp_trainer *t, bool *stop, struct ddp_error *err)
{
    const double began = ddp_now();
    ddp_pulse_step(t->state.step + 1);
    if (t->state.batch == 0)
        begin_epoch(&t->state);
    t->state.end_eval_owed = false;
    int status = ddp_loader_next(t->loader, &t->now, err);
    t->times.now[DDP_TIME_DATA] = ddp_now() - began;
    if (status == 0)
        status = ddp_engine_enqueue(t->engine, t->now, t->state.step, err);
    if (status)
        return status;
    advance(t);
    if (t->probe) /* first: a step whose loss is not finite ends the run */
        status = ddp_probe_log_add(t->probe, t->state.step, t->engine, err);
    *stop = false;
    int leave = wanted_now(t) ? 0 : t->engine->ops->depth - 1;
    while (status == 0 && t->engine->pending > leave) {
        status = collect(t, stop, err);
        leave = *stop ? 0 : leave; /* what is on its way is part of the run */
    }
    ddp_pulse_step_done();
    return status;
}

int ddp_trainer_fetch(struct ddp_trainer *t, struct ddp_error *err)
{
    const int status = ddp_engine_download(t->engine, err);
    if (status)
        return status;
    t->state.loss_scale = t->engine->loss_scale.scale;
    t->state.loss_scale_good = t->engine->loss_scale.good;
    t->state.loss_scale_skipped = t->engine->loss_scale.skipped;
    return 0;
}

double ddp_trainer_lr(const struct ddp_trainer *t)
{
    return ddp_schedule_lr(t->cfg, t->state.step - 1, t->plan.total_steps, t->plan.per_epoch);
}
