/* The life of a run: set up, train until the end or a stop, evaluate, save, report. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/report.h"
#include "train/trainer.h"

static bool early_stop_reached(const struct ddp_trainer *t)
{
    return t->cfg->train.early_stop && t->state.evals_since_best >= t->cfg->train.early_stop;
}

/* Evaluate and report, unless a stop breaks it off. Only an evaluation that `counts`, being due wherever
 * training ends, is remembered for what is best and for early stopping: one that is made because
 * train.max_steps ends the run here would not have been made without it, and going on from here must give the
 * same bits. *best: better than all before that counted, and counts itself (the first need not). *enough is
 * set when early stopping says so. Collective. */
static int evaluate(struct ddp_trainer *t, bool counts, bool *best, bool *enough, struct ddp_error *err)
{
    const double began = ddp_now();
    int status = ddp_trainer_evaluate(t, &t->stopped, err);
    ddp_pulse_phase(DDP_PHASE_RECORD);
    if (status || t->stopped)
        return status;
    struct ddp_train_state *s = &t->state;
    *best = s->best_step < 0 || (counts && t->eval.loss < s->best_loss);
    if (counts) {
        s->evaluations++;
        s->evals_since_best = *best ? 0 : s->evals_since_best + 1;
    }
    if (counts && *best) {
        s->best_step = s->step;
        s->best_loss = t->eval.loss;
        s->best_accuracy = ddp_trainer_real(t) ? 0 : t->eval.accuracy;
    }
    *enough = counts && early_stop_reached(t);
    return t->log ? ddp_run_log_eval(t->log, ddp_now() - began, *best, err) : 0;
}

/* The epoch's training means so far. */
static void sum_epoch(struct ddp_trainer *t)
{
    const struct ddp_train_state *s = &t->state;
    t->epoch.loss = s->epoch_loss_sum / (double)s->epoch_count;
    t->epoch.accuracy = ddp_trainer_real(t) ? NAN : (double)s->epoch_correct / (double)s->epoch_count;
}

static bool save_due(const struct ddp_trainer *t, bool best, bool end)
{
    const struct ddp_config *cfg = t->cfg;
    const struct ddp_train_state *s = &t->state;
    const int64_t epochs = cfg->checkpoint.every_epochs;
    return ddp_train_plan_save_due(cfg, s->step) || (epochs && s->batch == 0 && s->epoch % epochs == 0) ||
           (cfg->checkpoint.best && best) || end;
}

static int save(struct ddp_trainer *t, bool best, struct ddp_error *err)
{
    ddp_pulse_phase(DDP_PHASE_SAVE);
    int status = ddp_trainer_fetch(t, err);
    if (status == 0 && t->log)
        status = ddp_run_log_save(t->log, t->cfg->checkpoint.best && best, err);
    /* The snapshot was taken from shared arrays: nobody may go on to change them before it is complete. */
    return status ? status : ddp_comm_barrier(t->comm, err);
}

/* What is due after a step: evaluation, checkpoint. *end: training is over, set when it is found out here; so
 * is t->stopped, by a request that comes while it evaluates. Collective. */
static int after_step(struct ddp_trainer *t, bool *end, struct ddp_error *err)
{
    const bool last = t->state.step >= t->plan.last_step,
               scheduled = ddp_train_plan_eval_due(t->cfg, &t->state);
    bool best = false, enough = false;
    *end = *end || t->stopped || last;
    sum_epoch(t);
    if (!t->stopped && (scheduled || *end)) { /* who asks for a stop may not leave the time for it */
        const int status = evaluate(t, scheduled, &best, &enough, err);
        if (status)
            return status;
    }
    *end = *end || t->stopped;
    t->state.end_eval_owed = t->stopped && last && !scheduled;
    if (enough && !*end) {
        *end = true;
        if (t->lead)
            ddp_log(DDP_LOG_INFO, "early stop: no better evaluation in the last %lld (best: step %lld)",
                    (long long)t->state.evals_since_best, (long long)t->state.best_step);
    }
    return save_due(t, best, *end) ? save(t, best, err) : 0;
}

/* *end is set when the user's hook, on the lead, ends training. Collective. */
static int call_hook(struct ddp_trainer *t, bool *end, struct ddp_error *err)
{
    const struct ddp_engine_result *r = &t->result;
    uint32_t wants = 0;
    if (t->lead) {
        const struct ddp_step_info info = {
            .step = t->state.step,
            .epoch = t->now->epoch,
            .loss = r->loss_sum / (double)r->count,
            .accuracy = ddp_trainer_real(t) ? NAN : (double)r->correct / (double)r->count,
            .lr = ddp_trainer_lr(t),
            .samples_per_s = ddp_run_log_rate(t->log),
        };
        ddp_pulse_phase(DDP_PHASE_HOOK);
        wants = t->opt.hooks.on_step(t->opt.hooks.user, &info);
        ddp_pulse_phase(DDP_PHASE_RECORD);
    }
    const int status = ddp_comm_bcast(t->comm, &wants, sizeof wants, 0, err);
    *end = wants != 0;
    return status;
}

/* An evaluation that a stop by signal left out. */
static bool evaluation_owed(const struct ddp_trainer *t)
{
    return ddp_train_plan_eval_owed(&t->plan, t->cfg, &t->state);
}

static bool nothing_left(const struct ddp_trainer *t)
{
    return !evaluation_owed(t) && (t->state.step >= t->plan.last_step || early_stop_reached(t));
}

/* Where a run is resumed: an evaluation that is owed is made up for. A run that was over is evaluated once
 * more, for the report only. */
static int begin(struct ddp_trainer *t, bool *end, struct ddp_error *err)
{
    const struct ddp_train_state *s = &t->state;
    char score[64];
    *end = false;
    if (evaluation_owed(t))
        return after_step(t, end, err);
    *end = nothing_left(t);
    const int status = *end ? ddp_trainer_evaluate(t, &t->stopped, err) : 0;
    if (*end && status == 0 && !t->stopped && t->lead)
        ddp_log(DDP_LOG_INFO, "nothing left to train after step %lld: %s, loss %.4f over %lld sample%s",
                (long long)s->step, ddp_trainer_score(t, score), t->eval.loss, (long long)t->eval.count,
                ddp_plural(t->eval.count));
    return status;
}

/* A step and all that follows from it. */
static int step(struct ddp_trainer *t, bool *end, struct ddp_error *err)
{
    const double before = ddp_now();
    int status = ddp_trainer_step(t, &t->stopped, err);
    if (status)
        return status;
    ddp_pulse_phase(DDP_PHASE_RECORD);
    if (t->first_step_s == 0) {
        t->first_step_s = ddp_now() - t->opt.started;
        ddp_startup_end(DDP_STARTUP_STEP);
    }
    if (ddp_train_plan_trail_due(t->cfg, t->state.step))
        status = ddp_trainer_fetch(t, err);
    if (status == 0 && ddp_train_plan_trail_due(t->cfg, t->state.step))
        status = ddp_engine_digest(t->engine, true, err);
    if (status == 0 && t->log)
        status = ddp_run_log_step(t->log, ddp_now() - before, err);
    ddp_train_times_add(&t->times, ddp_now() - before);
    if (status == 0 && t->opt.hooks.on_step)
        status = call_hook(t, end, err);
    if (status == 0)
        status = after_step(t, end, err);
    return status;
}

/* The trail begins with the state before the first step: two runs may have begun with other weights. */
static int begin_trail(struct ddp_trainer *t, struct ddp_error *err)
{
    if (t->leg.kind != DDP_LEG_NEW || t->cfg->train.trail_every == 0)
        return 0;
    const int status = ddp_engine_digest(t->engine, false, err);
    return status || !t->log ? status : ddp_run_log_trail(t->log, err);
}

static int train(struct ddp_trainer *t, struct ddp_error *err)
{
    bool end;
    t->began = ddp_now();
    ddp_startup_end(DDP_STARTUP_RECORD);
    ddp_train_times_begin(&t->times, t->pool);
    if (t->lead && t->cfg->optim.ema > 0)
        ddp_log(DDP_LOG_INFO,
                "evaluations use the moving average of the weights (optim.ema = %g), which is saved as "
                "model_ema.safetensors",
                t->cfg->optim.ema);
    int status = begin_trail(t, err);
    if (status == 0)
        status = begin(t, &end, err);
    while (status == 0 && !end)
        status = step(t, &end, err);
    return status;
}

static void fill_result(const struct ddp_trainer *t, struct ddp_result *r)
{
    r->steps = t->state.step;
    r->epochs = t->state.epoch;
    r->eval_accuracy = t->eval.accuracy;
    r->eval_error = t->eval.error;
    r->eval_loss = t->eval.loss;
    r->eval_count = t->eval.count;
    r->samples_per_s = t->log ? ddp_run_log_rate(t->log) : 0;
    r->wall_s = ddp_now() - t->began;
    r->time_to_first_step_s = t->first_step_s;
    r->ranks = t->comm->size;
    r->rank = t->comm->rank;
    snprintf(r->run_dir, sizeof r->run_dir, "%s", t->run_dir);
}

static int hash_weights(const struct ddp_trainer *t, struct ddp_result *r, struct ddp_error *err)
{
    struct ddp_snapshot *snapshot;
    int status = ddp_snapshot_create(t->model, NULL, &snapshot, err);
    if (status)
        return status;
    ddp_snapshot_take(snapshot, t->engine->params, &t->state);
    ddp_snapshot_hash(snapshot, r->weights_hash);
    ddp_snapshot_destroy(snapshot);
    return 0;
}

/* Weights alone, which leave no record. */
static int evaluate_only(struct ddp_trainer *t, struct ddp_result *r, struct ddp_error *err)
{
    t->began = ddp_now();
    int status = ddp_trainer_evaluate(t, &t->stopped, err);
    fill_result(t, r);
    if (status == 0 && t->stopped)
        return ddp_fail(err, DDP_E_STOPPED, "stopped by request before the evaluation was over");
    if (status || !t->lead)
        return status;
    char score[64];
    ddp_log(DDP_LOG_INFO, "eval of %s: %s, loss %.4f over %lld sample%s", t->run_dir,
            ddp_trainer_score(t, score), t->eval.loss, (long long)t->eval.count, ddp_plural(t->eval.count));
    return hash_weights(t, r, err);
}

/* A finished run, looked at once more: its files are history. */
static int report_finished(struct ddp_trainer *t, struct ddp_result *r, struct ddp_error *err)
{
    bool end;
    t->began = ddp_now();
    snprintf(t->run_dir, sizeof t->run_dir, "%s", t->leg.run);
    if (t->lead) /* that it is finished may be the last word of a killed process, and not on disk yet */
        ddp_dir_sync(t->run_dir, NULL);
    int status = begin(t, &end, err);
    fill_result(t, r);
    if (status == 0 && t->lead)
        status = hash_weights(t, r, err);
    if (status == 0 && t->stopped)
        return ddp_fail(err, DDP_E_STOPPED, "stopped by request; nothing was left to train in %s",
                        t->run_dir);
    return status;
}

static int open_log(struct ddp_trainer *t, struct ddp_error *err)
{
    char path[1100];
    struct ddp_error why;
    snprintf(path, sizeof path, "%s/log", t->run_dir);
    /* where there is no file system in common with rank 0's host, each host keeps its own */
    if (t->comm->node > 0 && ddp_dir_make(path, &why) != 0) {
        ddp_log(DDP_LOG_DEBUG, "rank %d writes no log: %s", t->comm->rank, why.text);
        return 0;
    }
    snprintf(path, sizeof path, "%s/log/rank-%d.log", t->run_dir, t->comm->rank);
    return ddp_log_file(path, ddp_log_level_of(t->cfg->log.level), err);
}

/* How the run goes on, the same on all ranks. */
static int decide_leg(struct ddp_trainer *t, struct ddp_error *err)
{
    int status = t->lead ? ddp_leg_decide(t, nothing_left(t), &t->leg, err) : 0;
    if (status == 0 && t->leg.other_test) { /* of other data: not comparable */
        t->state.best_step = -1;
        t->state.best_loss = t->state.best_accuracy = 0;
        t->state.evals_since_best = 0;
    }
    status = ddp_comm_agree(t->comm, status, err);
    if (status == 0)
        status = ddp_comm_bcast(t->comm, &t->leg.kind, sizeof t->leg.kind, 0, err);
    return status ? status : ddp_comm_bcast(t->comm, &t->state, sizeof t->state, 0, err);
}

/* On every rank. */
static int open_probe(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_records_from checkpoint = {.step = t->state.step};
    if (t->cfg->probe.from == 0)
        return 0;
    return ddp_probe_log_open(t->run_dir, t->comm->rank, t->leg.kind == DDP_LEG_APPEND ? &checkpoint : NULL,
                              &t->probe, err);
}

static int train_and_report(struct ddp_trainer *t, bool *agreed, struct ddp_result *r, struct ddp_error *err)
{
    int status = decide_leg(t, err);
    if (status)
        return status;
    if (t->leg.kind == DDP_LEG_OVER)
        return report_finished(t, r, err);
    status = ddp_comm_agree(t->comm, t->lead ? ddp_run_log_open(t, &t->log, err) : 0, err);
    if (status == 0)
        status = ddp_comm_bcast(t->comm, t->run_dir, sizeof t->run_dir, 0, err);
    if (status)
        return status;
    *agreed = false;
    status = t->lead ? 0 : open_log(t, err);
    if (status == 0)
        status = open_probe(t, err);
    if (status == 0)
        status = train(t, err);
    if (status == 0) /* the same steps on all */
        status = ddp_train_times_gather(&t->times, t->pool, t->comm, &t->summary, err);
    t->summary.batch = t->plan.batch;
    if (status)
        return status;
    fill_result(t, r);
    ddp_pulse_phase(DDP_PHASE_SAVE);
    if (t->log)
        status = ddp_run_log_close(t->log, t->stopped ? "stopped" : "done", r, err);
    if (status)
        return status;
    if (t->stopped)
        return ddp_fail(err, DDP_E_STOPPED,
                        "stopped by request after step %lld; to go on: ddp-train --resume %s",
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
    t->epoch.loss = t->epoch.accuracy = NAN;
    ddp_float_mode();
    bool agreed = true;
    int status = ddp_trainer_setup(t, err);
    if (status == 0)
        status = opt->eval_only ? evaluate_only(t, result, err) : train_and_report(t, &agreed, result, err);
    const bool failed = status && status != DDP_E_STOPPED;
    if (failed && t->log)
        ddp_run_log_fail(t->log, err ? err->text : "");
    if (opt->agreed)
        *opt->agreed = agreed || t->failed_together || !failed;
    ddp_run_log_destroy(t->log);
    ddp_probe_log_close(t->probe);
    ddp_leg_finish(&t->leg);
    free(t->summary.rank);
    ddp_trainer_teardown(t, failed);
    ddp_log_close();
    free(t);
    return status;
}
