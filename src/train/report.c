/* What the lead tells the world: run directory, records, progress, checkpoints, run.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "train/report.h"

struct ddp_run_log {
    struct ddp_trainer *t;
    int lock; /* holds the run directory against a second process; -1: none */
    struct ddp_snapshot *snapshot;
    struct ddp_saver *saver;
    struct ddp_metrics *metrics;
    struct ddp_trail *trail; /* NULL: off */
    struct ddp_progress progress;
    struct ddp_data_id data_id[2];

    double in_steps; /* seconds */
    int64_t samples; /* trained by this process */
    struct {         /* since the last record */
        double s, data;
        int64_t samples, steps;
    } window;
};

/* ---- run.json and configs ---- */

static int write_configs(const struct ddp_trainer *t, struct ddp_error *err)
{
    char path[1100], *text;
    int status = ddp_config_dump(t->cfg, true, &text, err);
    if (status)
        return status;
    snprintf(path, sizeof path, "%s/config.cfg", t->run_dir);
    status = ddp_file_write(path, text, strlen(text), err);
    free(text);
    if (status || (status = ddp_config_dump_json(t->cfg, &text, err)))
        return status;
    snprintf(path, sizeof path, "%s/config.json", t->run_dir);
    status = ddp_file_write(path, text, strlen(text), err);
    free(text);
    return status;
}

static double peak_rss_mb(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024.0 * 1.048576;
}

static int write_run(const struct ddp_run_log *log, const char *status, const char *reason, bool finished,
                     const struct ddp_result *result, struct ddp_error *err)
{
    const struct ddp_trainer *t = log->t;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    const char *hosts[] = {host};
    struct ddp_run_info info = {
        .run_dir = t->run_dir,
        .argc = t->opt.argc,
        .command = t->opt.command,
        .ranks = t->comm->size,
        .threads = t->opt.threads,
        .shards = (int)t->cfg->train.shards,
        .transport = t->comm->ops->name,
        .transport_version = t->comm->ops->library ? t->comm->ops->library() : NULL,
        .isa = ddp_cpu_isa(),
        .facts = t->engine->fact,
        .nfacts = t->engine->nfacts,
        .config_hash = t->experiment,
        .map = t->opt.map,
        .nhosts = 1,
        .hosts = hosts,
        .ndata = 2,
        .data = log->data_id,
        .resumed_from = *t->resumed_from ? t->resumed_from : NULL,
        .finished = finished,
        .status = status,
        .parameters = ddp_model_parameters(t->model),
        .error = reason,
    };
    if (finished) {
        snprintf(info.weights_hash, sizeof info.weights_hash, "%s", result->weights_hash);
        info.eval_accuracy = result->eval_accuracy;
        info.eval_loss = result->eval_loss;
        info.eval_count = result->eval_count;
        info.steps = result->steps;
        info.epochs = result->epochs;
        info.samples_per_s = result->samples_per_s;
        info.wall_s = result->wall_s;
        info.time_to_first_step_s = result->time_to_first_step_s;
        info.peak_rss_mb = peak_rss_mb();
    }
    return ddp_runjson_write(t->cfg, &info, err);
}

static int identify_data(struct ddp_run_log *log, struct ddp_error *err)
{
    const struct ddp_trainer *t = log->t;
    struct ddp_dataset *set[2] = {t->train_set, t->test_set};
    for (int i = 0; i < 2; i++) {
        struct ddp_data_id *id = &log->data_id[i];
        snprintf(id->name, sizeof id->name, "%.50s/%s", t->cfg->data.name, i ? "test" : "train");
        int status = set[i]->ops->digest(set[i]->self, id->sha256, err);
        if (status)
            return status;
    }
    return 0;
}

/* ---- life ---- */

/* A resumed run goes on in its own directory; DIR/checkpoints/step-N is where it was found. */
static bool resume_directory(struct ddp_trainer *t)
{
    snprintf(t->run_dir, sizeof t->run_dir, "%s", t->resumed_from);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(t->run_dir, '/');
        if (!slash)
            return false;
        *slash = '\0';
    }
    char sub[1100];
    snprintf(sub, sizeof sub, "%s/checkpoints", t->run_dir);
    return ddp_path_exists(sub);
}

/* The engine's own file into the run directory and into every checkpoint. */
static int keep_file(const struct ddp_run_log *log, struct ddp_error *err)
{
    const struct ddp_engine *e = log->t->engine;
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", log->t->run_dir, e->file);
    ddp_saver_attach(log->saver, e->file, e->file_text);
    return ddp_file_write(path, e->file_text, strlen(e->file_text), err);
}

/* The directory, held for this process, and its log. */
static int open_directory(struct ddp_run_log *log, bool resumed, struct ddp_error *err)
{
    struct ddp_trainer *t = log->t;
    char path[1100];
    int status = resumed ? 0 : ddp_rundir_create(t->cfg, t->run_dir, sizeof t->run_dir, err);
    if (status == 0)
        status = ddp_rundir_lock(t->run_dir, &log->lock, err);
    if (status == 0 && resumed)
        ddp_rundir_tidy(t->run_dir);
    snprintf(path, sizeof path, "%s/log/rank-0.log", t->run_dir);
    return status ? status : ddp_log_file(path, ddp_log_level_of(t->cfg->log.level), err);
}

static int open_records(struct ddp_run_log *log, bool resumed, struct ddp_error *err)
{
    struct ddp_trainer *t = log->t;
    const struct ddp_config *cfg = t->cfg;
    char path[1100];
    int status = ddp_snapshot_create(t->model, t->engine->optim, &log->snapshot, err);
    snprintf(path, sizeof path, "%s/checkpoints", t->run_dir);
    if (status == 0)
        status =
            ddp_saver_create(path, (int)cfg->checkpoint.keep, cfg->checkpoint.background, &log->saver, err);
    if (status == 0 && t->engine->file)
        status = keep_file(log, err);
    if (status == 0)
        status = ddp_metrics_open(t->run_dir, resumed, t->state.step, &log->metrics, err);
    if (status == 0 && cfg->train.trail_every)
        status = ddp_trail_open(t->run_dir, resumed, t->state.step, &log->trail, err);
    return status;
}

int ddp_run_log_open(struct ddp_trainer *t, struct ddp_run_log **out, struct ddp_error *err)
{
    struct ddp_run_log *log = ddp_calloc(1, sizeof *log);
    const bool resumed = *t->resumed_from && resume_directory(t);
    log->t = t;
    log->lock = -1;
    int status = open_directory(log, resumed, err);
    if (status == 0)
        status = write_configs(t, err);
    if (status == 0)
        status = identify_data(log, err);
    if (status == 0)
        status = open_records(log, resumed, err);
    if (status == 0)
        status = write_run(log, "running", NULL, false, NULL, err);
    if (status) {
        ddp_run_log_destroy(log);
        return status;
    }
    strcpy(t->state.config_hash, t->experiment);
    ddp_log(DDP_LOG_INFO,
            "%s %s: %lld steps (%lld epochs of %lld), batch %lld in %d shards on %d rank%s x %d thread%s, %s",
            resumed ? "resuming" : "run", t->run_dir, (long long)t->plan.last_step,
            (long long)t->cfg->train.epochs, (long long)t->plan.per_epoch, (long long)t->plan.batch,
            t->plan.ranks.shards, t->comm->size, t->comm->size == 1 ? "" : "s", t->opt.threads,
            t->opt.threads == 1 ? "" : "s", t->engine->name);
    *out = log;
    return 0;
}

void ddp_run_log_destroy(struct ddp_run_log *log)
{
    if (!log)
        return;
    ddp_metrics_close(log->metrics);
    ddp_trail_close(log->trail);
    ddp_saver_destroy(log->saver);
    ddp_snapshot_destroy(log->snapshot);
    ddp_rundir_unlock(log->lock);
    free(log);
}

/* ---- records ---- */

/* Of the host's state; the saver has the snapshot until it is done. */
static int take_snapshot(struct ddp_run_log *log, struct ddp_error *err)
{
    const int status = ddp_saver_wait(log->saver, err);
    if (status == 0)
        ddp_snapshot_take(log->snapshot, log->t->engine->params, &log->t->state);
    return status;
}

static struct ddp_step_metrics step_metrics(const struct ddp_run_log *log)
{
    const struct ddp_trainer *t = log->t;
    const struct ddp_engine_result *r = &t->result;
    return (struct ddp_step_metrics){
        .step = t->state.step,
        .epoch = t->now->epoch,
        .count = r->count,
        .loss = r->loss_sum / (double)r->count,
        .accuracy = (double)r->correct / (double)r->count,
        .lr = ddp_trainer_lr(t),
        .grad_norm = r->norm,
        .samples_per_s = (double)log->window.samples / log->window.s,
        .step_s = log->window.s / (double)log->window.steps,
        .data_wait = log->window.data / log->window.s,
        .comm_wait = t->waited / log->window.s,
        .time = ddp_now() - t->opt.started,
    };
}

int ddp_run_log_step(struct ddp_run_log *log, double seconds, struct ddp_error *err)
{
    struct ddp_trainer *t = log->t;
    const int64_t step = t->state.step;
    int status = 0;
    if (log->trail && ddp_train_plan_trail_due(t->cfg, step)) {
        status = take_snapshot(log, err);
        if (status == 0)
            status = ddp_trail_add(log->trail, step, log->snapshot, err);
    }
    log->in_steps += seconds;
    log->samples += t->now->count;
    log->window.s += seconds;
    log->window.samples += t->now->count;
    log->window.steps++;
    log->window.data += ddp_loader_waited(t->loader);

    const bool last = step == t->plan.last_step, record = ddp_train_plan_log_due(&t->plan, t->cfg, step);
    const bool progress =
        t->cfg->log.progress && (ddp_progress_due(&log->progress, ddp_now() - t->began) || last);
    if (status || (!record && !progress))
        return status;
    const struct ddp_step_metrics m = step_metrics(log);
    if (record)
        status = ddp_metrics_step(log->metrics, &m, err);
    if (progress) {
        char line[256];
        ddp_progress_line(&m, t->plan.last_step, t->cfg->train.epochs, line, sizeof line);
        ddp_log_progress(line, last);
    }
    memset(&log->window, 0, sizeof log->window);
    t->waited = 0;
    return status;
}

int ddp_run_log_eval(struct ddp_run_log *log, double seconds, bool best, struct ddp_error *err)
{
    const struct ddp_trainer *t = log->t;
    const struct ddp_eval_metrics e = {
        .step = t->state.step,
        .epoch = t->state.epoch,
        .count = t->eval.count,
        .loss = t->eval.loss,
        .accuracy = t->eval.accuracy,
        .seconds = seconds,
        .time = ddp_now() - t->opt.started,
        .best = best,
        .train_loss = t->epoch.loss,
        .train_accuracy = t->epoch.accuracy,
    };
    ddp_log(DDP_LOG_INFO,
            "eval after step %lld (epoch %lld): accuracy %.2f %%, loss %.4f over %lld samples%s",
            (long long)e.step, (long long)e.epoch, 100 * e.accuracy, e.loss, (long long)e.count,
            best ? ", the best so far" : "");
    return ddp_metrics_eval(log->metrics, &e, err);
}

int ddp_run_log_save(struct ddp_run_log *log, bool best, struct ddp_error *err)
{
    const int status = take_snapshot(log, err);
    return status ? status : ddp_saver_save(log->saver, log->snapshot, best, err);
}

double ddp_run_log_rate(const struct ddp_run_log *log)
{
    return log->in_steps > 0 ? (double)log->samples / log->in_steps : 0;
}

/* ---- the end ---- */

int ddp_run_log_close(struct ddp_run_log *log, const char *status_text, struct ddp_result *result,
                      struct ddp_error *err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/model.safetensors", log->t->run_dir);
    int status = take_snapshot(log, err);
    if (status)
        return status;
    ddp_snapshot_hash(log->snapshot, result->weights_hash);
    status = ddp_snapshot_write_model(log->snapshot, path, err);
    snprintf(path, sizeof path, "%s/model_ema.safetensors", log->t->run_dir);
    if (status == 0 && ddp_snapshot_has_average(log->snapshot))
        status = ddp_snapshot_write_average(log->snapshot, path, err);
    return status ? status : write_run(log, status_text, NULL, true, result, err);
}

void ddp_run_log_fail(struct ddp_run_log *log, const char *reason)
{
    struct ddp_error ignored;
    write_run(log, "failed", reason, false, NULL, &ignored);
}
