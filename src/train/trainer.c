/* The life of a run: set up, train until the end or a stop, evaluate, save, report. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/trainer.h"

static bool early_stop_reached(const struct ddp_trainer *t)
{
    return t->cfg->train.early_stop && t->state.evals_since_best >= t->cfg->train.early_stop;
}

/* Whether the step that was just made, or resumed at, ends an epoch after which eval.every_epochs asks for an
 * evaluation. */
static bool evaluation_scheduled(const struct ddp_trainer *t)
{
    int64_t every = t->cfg->eval.every_epochs;
    return every && t->state.step > 0 && t->state.batch == 0 && t->state.epoch % every == 0;
}

/* Evaluate and report. *best: better than all before. Only an evaluation that `counts`, being due wherever
 * training ends, is remembered for what is best and for early stopping: one that is made because
 * train.max_steps ends the run here would not have been made without it, and going on from here must give the
 * same bits. *enough is set when early stopping says so. Collective. */
static int evaluate(struct ddp_trainer *t, bool counts, bool *best, bool *enough, struct ddp_error *err)
{
    double began = ddp_now();
    int status = ddp_trainer_evaluate(t, err);
    if (status)
        return status;
    struct ddp_train_state *s = &t->state;
    *best = s->best_step < 0 || t->eval_loss < s->best_loss;
    if (counts) {
        s->evaluations++;
        s->evals_since_best = *best ? 0 : s->evals_since_best + 1;
    }
    if (counts && *best) {
        s->best_step = s->step;
        s->best_loss = t->eval_loss;
        s->best_accuracy = t->eval_accuracy;
    }
    *enough = counts && early_stop_reached(t);
    return t->lead ? ddp_trainer_record_eval(t, ddp_now() - began, *best, err) : 0;
}

/* What is due after a step: evaluation, checkpoint. *end is set when training is over. Collective. */
static int after_step(struct ddp_trainer *t, bool stop, bool *end, struct ddp_error *err)
{
    const struct ddp_config *cfg = t->cfg;
    struct ddp_train_state *s = &t->state;
    bool epoch_over = s->batch == 0, best = false, enough = false;
    *end = stop || s->step >= t->last_step;
    t->epoch_loss = s->epoch_loss_sum / (double)s->epoch_count;
    t->epoch_accuracy = (double)s->epoch_correct / (double)s->epoch_count;
    if (epoch_over) {
        s->epoch_loss_sum = 0;
        s->epoch_correct = s->epoch_count = 0;
    }
    bool scheduled = evaluation_scheduled(t);
    if (!stop && (scheduled || *end)) { /* who asks for a stop may not leave the time for it */
        int status = evaluate(t, scheduled, &best, &enough, err);
        if (status)
            return status;
        if (enough && !*end) {
            *end = true;
            if (t->lead)
                ddp_log(DDP_LOG_INFO, "early stop: no better evaluation in the last %lld (best: step %lld)",
                        (long long)s->evals_since_best, (long long)s->best_step);
        }
    }
    bool save_due =
        (cfg->checkpoint.every_steps && s->step % cfg->checkpoint.every_steps == 0) ||
        (cfg->checkpoint.every_epochs && epoch_over && s->epoch % cfg->checkpoint.every_epochs == 0) ||
        (cfg->checkpoint.best && best) || *end;
    int status = save_due ? ddp_trainer_fetch(t, err) : 0;
    if (status == 0 && save_due && t->lead)
        status = ddp_trainer_save(t, cfg->checkpoint.best && best, err);
    /* The snapshot was taken from shared arrays: nobody may go on to change them before it is complete. */
    if (save_due && status == 0)
        status = ddp_comm_barrier(t->comm, err);
    return status;
}

double ddp_trainer_lr(const struct ddp_trainer *t)
{
    return ddp_schedule_lr(t->cfg, t->state.step - 1, t->total_steps, t->per_epoch);
}

static int call_hook(struct ddp_trainer *t, bool *end, struct ddp_error *err)
{
    uint32_t wants = 0;
    if (t->lead) {
        struct ddp_step_info info = {
            .step = t->state.step,
            .epoch = t->now->epoch,
            .loss = t->step_loss / (double)t->step_count,
            .accuracy = t->step_correct / (double)t->step_count,
            .lr = ddp_trainer_lr(t),
            .images_per_s = t->in_steps > 0 ? (double)t->samples / t->in_steps : 0,
        };
        wants = t->opt.hooks.on_step(t->opt.hooks.user, &info);
    }
    int status = ddp_comm_bcast(t->comm, &wants, sizeof wants, 0, err);
    *end = wants != 0;
    return status;
}

/* Where a run is resumed: an evaluation that a stop by signal left out is made up for. A run that was over is
 * evaluated once more, for the report only. */
static int begin(struct ddp_trainer *t, bool *end, struct ddp_error *err)
{
    const struct ddp_train_state *s = &t->state;
    if (evaluation_scheduled(t) && s->evaluations < s->epoch / t->cfg->eval.every_epochs)
        return after_step(t, false, end, err);
    *end = s->step >= t->last_step || early_stop_reached(t);
    int status = *end ? ddp_trainer_evaluate(t, err) : 0;
    if (*end && status == 0 && t->lead)
        ddp_log(DDP_LOG_INFO,
                "nothing left to train after step %lld: accuracy %.2f %%, loss %.4f over %lld samples",
                (long long)s->step, 100 * t->eval_accuracy, t->eval_loss, (long long)t->eval_count);
    return status;
}

static int train(struct ddp_trainer *t, struct ddp_error *err)
{
    t->began = ddp_now();
    bool end;
    int begun = begin(t, &end, err);
    if (begun)
        return begun;
    while (!end) {
        double before = ddp_now();
        bool stop = false, hook_end = false;
        int status = ddp_trainer_step(t, &stop, err);
        if (status)
            return status;
        if (t->first_step_at == 0)
            t->first_step_at = ddp_now() - t->opt.started;
        if (ddp_trainer_trail_due(t))
            status = ddp_trainer_fetch(t, err);
        if (status == 0 && t->lead)
            status = ddp_trainer_record_step(t, ddp_now() - before, err);
        if (status == 0 && t->opt.hooks.on_step)
            status = call_hook(t, &hook_end, err);
        if (hook_end)
            t->last_step = t->state.step;
        if (status == 0)
            status = after_step(t, stop, &end, err);
        if (status)
            return status;
        t->stopped = stop;
    }
    return 0;
}

static void fill_result(const struct ddp_trainer *t, struct ddp_result *r)
{
    r->steps = t->state.step;
    r->epochs = t->state.epoch;
    r->eval_accuracy = t->eval_accuracy;
    r->eval_loss = t->eval_loss;
    r->eval_count = t->eval_count;
    r->images_per_s = t->in_steps > 0 ? (double)t->samples / t->in_steps : 0;
    r->wall_s = ddp_now() - t->began;
    r->time_to_first_step_s = t->first_step_at;
    r->ranks = t->comm->size;
    r->rank = t->comm->rank;
    snprintf(r->run_dir, sizeof r->run_dir, "%s", t->run_dir);
}

static int evaluate_only(struct ddp_trainer *t, struct ddp_result *r, struct ddp_error *err)
{
    bool best, enough;
    t->began = ddp_now();
    int status = evaluate(t, false, &best, &enough, err);
    if (status == 0 && t->lead) {
        status = ddp_snapshot_create(t->model, NULL, &t->snapshot, err);
        if (status == 0) {
            ddp_snapshot_take(t->snapshot, t->engine->params, &t->state);
            ddp_snapshot_hash(t->snapshot, r->weights_hash);
        }
    }
    fill_result(t, r);
    return status;
}

static int open_log(struct ddp_trainer *t, struct ddp_error *err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/log/rank-%d.log", t->run_dir, t->comm->rank);
    return ddp_log_file(path, ddp_log_level_of(t->cfg->log.level), err);
}

static int train_and_report(struct ddp_trainer *t, bool *agreed, struct ddp_result *r, struct ddp_error *err)
{
    int status = t->lead ? ddp_trainer_open_run(t, err) : 0;
    status = ddp_comm_agree(t->comm, status, err);
    if (status == 0)
        status = ddp_comm_bcast(t->comm, t->run_dir, sizeof t->run_dir, 0, err);
    if (status)
        return status;
    *agreed = false;
    status = t->lead ? 0 : open_log(t, err);
    if (status == 0)
        status = train(t, err);
    if (status)
        return status;
    fill_result(t, r);
    if (t->lead)
        status = ddp_trainer_close_run(t, t->stopped ? "stopped" : "done", r, err);
    if (status)
        return status;
    if (t->stopped)
        return ddp_fail(err, DDP_E_STOPPED, "stopped by request after step %lld; go on with --resume %s",
                        (long long)t->state.step, t->run_dir);
    return 0;
}

int ddp_train_run(const struct ddp_train_options *opt, struct ddp_result *result, struct ddp_error *err)
{
    struct ddp_trainer *t = ddp_calloc(1, sizeof *t);
    memset(result, 0, sizeof *result);
    t->opt = *opt;
    t->cfg = opt->cfg;
    t->comm = opt->comm;
    t->lead = opt->comm->rank == 0;
    t->lock = -1;
    t->epoch_loss = t->epoch_accuracy = NAN;
    ddp_float_mode();
    bool agreed = true;
    int status = ddp_trainer_setup(t, err);
    if (status == 0)
        status = opt->eval_only ? evaluate_only(t, result, err) : train_and_report(t, &agreed, result, err);
    if (status && status != DDP_E_STOPPED && t->lead)
        ddp_trainer_fail_run(t, err ? err->text : "");
    if (opt->agreed)
        *opt->agreed = agreed || t->failed_together || status == DDP_E_STOPPED;
    ddp_metrics_close(t->metrics);
    ddp_trail_close(t->trail);
    ddp_saver_destroy(t->saver);
    ddp_snapshot_destroy(t->snapshot);
    ddp_rundir_unlock(t->lock);
    ddp_trainer_teardown(t, status && status != DDP_E_STOPPED);
    ddp_log_close();
    free(t);
    return status;
}
