/* Training on GPUs: the same run, its steps enqueued on a device. The host runs one step ahead: the sums of a
 * step are read while the next one computes, except where something has to be written or decided after
 * exactly this step. Which steps those are follows from the config alone, so all ranks see a request to stop
 * after the same step. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/trainer.h"

/* ---- set-up ---- */

/* Config and plan lock together are the experiment. */
static void hash_experiment(struct ddp_trainer *t)
{
    char both[130];
    ddp_config_hash(t->cfg, t->config_hash);
    snprintf(both, sizeof both, "%s%s", t->config_hash, ddp_gpu_engine_about(t->engine)->lock_hash);
    ddp_sha256_text(both, strlen(both), t->config_hash);
}

int ddp_trainer_gpu_create(struct ddp_trainer *t, struct ddp_error *err)
{
    char lock[1100];
    snprintf(lock, sizeof lock, "%s/" DDP_GPU_LOCK_FILE, t->resumed_from);
    const struct ddp_gpu_engine_conf conf = {
        .api = t->gpu_api,
        .cfg = t->cfg,
        .model = t->model,
        .comm = t->comm,
        .train_set = t->train_set,
        .test_set = t->test_set,
        .optim = t->optim,
        .gpu = t->opt.place && t->opt.place->gpu[0] ? t->opt.place->gpu : NULL,
        .total_steps = t->total_steps,
        .steps_per_epoch = t->per_epoch,
        .shards = t->shards,
        .first_shard = t->first_shard,
        .my_shards = t->my_shards,
        .lock_path = *t->resumed_from && ddp_path_exists(lock) ? lock : NULL, /* of a CPU run there is none */
        .relock = t->opt.relock,
    };
    const int status = ddp_gpu_engine_create(&conf, &t->engine, err);
    if (status == 0)
        hash_experiment(t);
    return status;
}

int ddp_trainer_gpu_upload(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_gpu_scaler scaler = {t->state.loss_scale, t->state.loss_scale_good,
                                          t->state.loss_scale_skipped};
    return ddp_gpu_engine_upload(t->engine, t->params, &scaler, err);
}

int ddp_trainer_fetch(struct ddp_trainer *t, struct ddp_error *err)
{
    if (!t->engine)
        return 0;
    struct ddp_gpu_scaler scaler;
    int status = ddp_gpu_engine_download(t->engine, t->lead ? t->params : NULL, &scaler, err);
    if (status == 0) {
        t->state.loss_scale = scaler.scale;
        t->state.loss_scale_good = scaler.good;
        t->state.loss_scale_skipped = scaler.skipped;
    }
    return ddp_comm_agree(t->comm, status, err); /* a barrier: the lead reads what all have written */
}

/* ---- a step ---- */

/* Whether what happens after step `step` (from 1) wants its results. */
static bool wanted_now(const struct ddp_trainer *t)
{
    const struct ddp_config *cfg = t->cfg;
    const int64_t step = t->state.step;
    /* the first step of a process: it says when training began, and ends the warm-up */
    return t->first_step_at == 0 || t->state.batch == 0 || step >= t->last_step ||
           step % cfg->log.every_steps == 0 || ddp_trainer_trail_due(t) ||
           (cfg->checkpoint.every_steps && step % cfg->checkpoint.every_steps == 0) || t->opt.hooks.on_step;
}

static const char *kind_of(float loss)
{
    return isnan(loss) ? "nan" : "infinite";
}

/* A batch of `loader` that was there before. */
static int take_again(struct ddp_loader *loader, int64_t epoch, int64_t index, const struct ddp_batch **batch,
                      struct ddp_error *err)
{
    const int status = ddp_loader_seek(loader, epoch, index, err);
    return status ? status : ddp_loader_next(loader, batch, err);
}

/* All ranks read the same sums, so all come here together; who has the shard words it. */
static int loss_failed(struct ddp_trainer *t, const struct ddp_gpu_result *r, struct ddp_error *err)
{
    const struct ddp_batch *again = NULL;
    struct ddp_error ignored = {0};
    char where[512] = "not found: its batch could not be loaded again";
    int status = take_again(t->loader, r->epoch, r->index, &again, &ignored);
    if (ddp_comm_agree(t->comm, status, &ignored) == 0 && again)
        ddp_gpu_engine_find_bad(t->engine, true, r->step, again, r->bad_shard, where, sizeof where);
    status = 0;
    if (r->bad_shard >= 0)
        status = ddp_fail(
            err, DDP_E_NUMERIC,
            "step %lld: the loss of shard %d (rank %d) is %s; first bad tensor: %s. Checkpoints "
            "are from before this step; try a lower optim.lr, more optim.warmup_steps, or optim.clip_norm",
            (long long)r->step + 1, r->bad_shard, t->comm->rank, kind_of(r->bad_loss), where);
    status = ddp_comm_agree(t->comm, status, err);
    t->failed_together = true;
    return status ? status
                  : ddp_fail(err, DDP_E_NUMERIC,
                             "step %lld: the loss of every shard is finite, their sum is not; try a lower "
                             "optim.lr, more optim.warmup_steps, or optim.clip_norm",
                             (long long)r->step + 1);
}

static int collect(struct ddp_trainer *t, bool *stop, struct ddp_error *err)
{
    struct ddp_gpu_result r;
    const int status = ddp_gpu_engine_collect(t->engine, &r, err);
    if (status)
        return status;
    if (!isfinite(r.loss_sum))
        return loss_failed(t, &r, err);
    ddp_trainer_count_step(t, r.count, r.loss_sum, (double)r.correct);
    t->step_norm = r.norm;
    *stop |= r.stop;
    return 0;
}

int ddp_trainer_gpu_step(struct ddp_trainer *t, bool *stop, struct ddp_error *err)
{
    int status = ddp_loader_next(t->loader, &t->now, err);
    if (status)
        return status;
    ddp_optim_begin(t->optim, t->state.step, t->now->count); /* for records: the device has its own */
    status = ddp_gpu_engine_enqueue(t->engine, t->now, t->state.step, ddp_lifeline_stop_requested(), err);
    if (status)
        return status;
    ddp_trainer_advance(t);
    *stop = false;
    int leave = wanted_now(t) ? 0 : 1;
    while (status == 0 && ddp_gpu_engine_pending(t->engine) > leave) {
        status = collect(t, stop, err);
        leave = *stop ? 0 : leave; /* what is on its way is part of the run */
    }
    return status;
}

/* ---- evaluation ---- */

static int eval_failed(struct ddp_trainer *t, int64_t batch, int shard, float loss, struct ddp_error *err)
{
    const struct ddp_batch *again = NULL;
    struct ddp_error ignored = {0};
    char where[512] = "not found: its batch could not be loaded again";
    if (take_again(t->eval_loader, 0, batch, &again, &ignored) == 0)
        ddp_gpu_engine_find_bad(t->engine, false, 0, again, shard, where, sizeof where);
    return ddp_fail(err, DDP_E_NUMERIC,
                    "evaluation after step %lld: the loss of shard %d (rank %d) is %s; first bad tensor: %s. "
                    "This state is not saved; try a lower optim.lr, more optim.warmup_steps, or "
                    "optim.clip_norm",
                    (long long)t->state.step, shard, t->comm->rank, kind_of(loss), where);
}

int ddp_trainer_gpu_evaluate(struct ddp_trainer *t, struct ddp_error *err)
{
    const int S = t->ranks.eval_shards, first = t->ranks.eval_first, mine = t->ranks.eval_last - first;
    const int64_t batches = ddp_loader_batches(t->eval_loader);
    const float *loss;
    const int32_t *correct;
    int status = ddp_loader_seek(t->eval_loader, 0, 0, err);
    for (int64_t b = 0; b < batches && status == 0; b++) {
        const struct ddp_batch *batch;
        status = ddp_loader_next(t->eval_loader, &batch, err);
        if (status == 0)
            status = ddp_gpu_engine_eval(t->engine, batch, b, err);
    }
    if (status == 0)
        status = ddp_gpu_engine_eval_end(t->engine, &loss, &correct, err);
    for (int64_t b = 0; b < batches && status == 0; b++)
        for (int s = 0; s < mine && status == 0; s++) {
            const int64_t at = b * mine + s;
            if (!isfinite(loss[at]))
                status = eval_failed(t, b, first + s, loss[at], err);
            else
                t->eval_leaf[b * S + first + s] = (struct ddp_eval_leaf){loss[at], correct[at]};
        }
    return status;
}
