/* What the lead tells the world: run directory, records, progress, checkpoints, run.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "train/trainer.h"

static int write_configs(struct ddp_trainer *t, struct ddp_error *err)
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

static int write_run(struct ddp_trainer *t, const char *status, const char *reason, bool finished,
                     struct ddp_result *result, struct ddp_error *err)
{
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
        .config_hash = t->config_hash,
        .map = t->opt.map,
        .nhosts = 1,
        .hosts = hosts,
        .ndata = t->train_set ? 2 : 1,
        .data = t->train_set ? t->data_id : t->data_id + 1,
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
        info.images_per_s = result->images_per_s;
        info.wall_s = result->wall_s;
        info.time_to_first_step_s = result->time_to_first_step_s;
        info.peak_rss_mb = peak_rss_mb();
    }
    return ddp_runjson_write(t->cfg, &info, err);
}

static int identify_data(struct ddp_trainer *t, struct ddp_error *err)
{
    struct ddp_dataset *set[2] = {t->train_set, t->test_set};
    for (int i = 0; i < 2; i++) {
        if (!set[i])
            continue;
        snprintf(t->data_id[i].name, sizeof t->data_id[i].name, "%.50s/%s", t->cfg->data.name,
                 i ? "test" : "train");
        int status = set[i]->ops->digest(set[i]->self, t->data_id[i].sha256, err);
        if (status)
            return status;
    }
    return 0;
}

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
static int keep_file(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_engine *e = t->engine;
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", t->run_dir, e->file);
    ddp_saver_attach(t->saver, e->file, e->file_text);
    return ddp_file_write(path, e->file_text, strlen(e->file_text), err);
}

int ddp_trainer_open_run(struct ddp_trainer *t, struct ddp_error *err)
{
    int status = 0;
    bool resumed = *t->resumed_from && resume_directory(t);
    if (!resumed)
        status = ddp_rundir_create(t->cfg, t->run_dir, sizeof t->run_dir, err);
    char path[1100];
    if (status == 0)
        status = ddp_rundir_lock(t->run_dir, &t->lock, err);
    if (status == 0 && resumed)
        ddp_rundir_tidy(t->run_dir);
    snprintf(path, sizeof path, "%s/log/rank-0.log", t->run_dir);
    if (status == 0)
        status = ddp_log_file(path, ddp_log_level_of(t->cfg->log.level), err);
    if (status == 0)
        status = write_configs(t, err);
    if (status == 0)
        status = identify_data(t, err);
    if (status == 0)
        status = ddp_snapshot_create(t->model, t->engine->optim, &t->snapshot, err);
    snprintf(path, sizeof path, "%s/checkpoints", t->run_dir);
    if (status == 0)
        status = ddp_saver_create(path, (int)t->cfg->checkpoint.keep, t->cfg->checkpoint.background,
                                  &t->saver, err);
    if (status == 0 && t->engine->file)
        status = keep_file(t, err);
    if (status == 0)
        status = ddp_metrics_open(t->run_dir, resumed, t->state.step, &t->metrics, err);
    if (status == 0 && t->cfg->train.trail_every)
        status = ddp_trail_open(t->run_dir, resumed, t->state.step, &t->trail, err);
    if (status == 0)
        status = write_run(t, "running", NULL, false, NULL, err);
    if (status)
        return status;
    ddp_saver_sync_first(t->saver, ddp_metrics_fd(t->metrics));
    ddp_saver_sync_first(t->saver, ddp_trail_fd(t->trail));
    strcpy(t->state.config_hash, t->config_hash);
    ddp_log(DDP_LOG_INFO,
            "%s %s: %lld steps (%lld epochs of %lld), batch %lld in %d shards on %d rank%s x %d thread%s, %s",
            resumed ? "resuming" : "run", t->run_dir, (long long)t->last_step,
            (long long)t->cfg->train.epochs, (long long)t->per_epoch, (long long)t->batch, t->shards,
            t->comm->size, t->comm->size == 1 ? "" : "s", t->opt.threads, t->opt.threads == 1 ? "" : "s",
            t->engine->name);
    return 0;
}

bool ddp_trainer_trail_due(const struct ddp_trainer *t)
{
    return t->cfg->train.trail_every && t->state.step % t->cfg->train.trail_every == 0;
}

static int record_trail(struct ddp_trainer *t, struct ddp_error *err)
{
    int status = ddp_saver_wait(t->saver, err); /* the snapshot is its until then */
    if (status)
        return status;
    ddp_snapshot_take(t->snapshot, t->engine->params, &t->state);
    return ddp_trail_add(t->trail, t->state.step, t->snapshot, err);
}

int ddp_trainer_record_step(struct ddp_trainer *t, double seconds, struct ddp_error *err)
{
    if (t->trail && ddp_trainer_trail_due(t)) {
        int failed = record_trail(t, err);
        if (failed)
            return failed;
    }
    t->in_steps += seconds;
    t->samples += t->now->count;
    t->window_s += seconds;
    t->window_samples += t->now->count;
    t->window_steps++;
    t->window_data += ddp_loader_waited(t->loader);
    double now = ddp_now();
    bool last = t->state.step == t->last_step;
    bool record = t->state.step % t->cfg->log.every_steps == 0 || last;
    bool progress = t->cfg->log.progress && (ddp_progress_due(&t->progress, now - t->began) || last);
    if (!record && !progress)
        return 0;
    struct ddp_step_metrics m = {
        .step = t->state.step,
        .epoch = t->now->epoch,
        .count = t->step_count,
        .loss = t->step_loss / (double)t->step_count,
        .accuracy = t->step_correct / (double)t->step_count,
        .lr = ddp_trainer_lr(t),
        .grad_norm = t->step_norm,
        .images_per_s = (double)t->window_samples / t->window_s,
        .step_s = t->window_s / (double)t->window_steps,
        .data_wait = t->window_data / t->window_s,
        .comm_wait = t->window_comm / t->window_s,
        .time = now - t->opt.started,
    };
    int status = record ? ddp_metrics_step(t->metrics, &m, err) : 0;
    if (progress) {
        char line[256];
        ddp_progress_line(&m, t->last_step, t->cfg->train.epochs, line, sizeof line);
        ddp_log_progress(line, last);
    }
    t->window_s = t->window_data = t->window_comm = 0;
    t->window_samples = t->window_steps = 0;
    return status;
}

int ddp_trainer_record_eval(struct ddp_trainer *t, double seconds, bool best, struct ddp_error *err)
{
    struct ddp_eval_metrics e = {
        .step = t->state.step,
        .epoch = t->state.epoch,
        .count = t->eval_count,
        .loss = t->eval_loss,
        .accuracy = t->eval_accuracy,
        .seconds = seconds,
        .time = ddp_now() - t->opt.started,
        .best = best,
        .train_loss = t->epoch_loss,
        .train_accuracy = t->epoch_accuracy,
    };
    if (t->opt.eval_only)
        ddp_log(DDP_LOG_INFO, "eval of %s: accuracy %.2f %%, loss %.4f over %lld samples", t->run_dir,
                100 * e.accuracy, e.loss, (long long)e.count);
    else
        ddp_log(DDP_LOG_INFO,
                "eval after step %lld (epoch %lld): accuracy %.2f %%, loss %.4f over %lld samples%s",
                (long long)e.step, (long long)e.epoch, 100 * e.accuracy, e.loss, (long long)e.count,
                best ? ", the best so far" : "");
    return t->metrics ? ddp_metrics_eval(t->metrics, &e, err) : 0;
}

int ddp_trainer_save(struct ddp_trainer *t, bool best, struct ddp_error *err)
{
    int status = ddp_saver_wait(t->saver, err);
    if (status)
        return status;
    ddp_snapshot_take(t->snapshot, t->engine->params, &t->state);
    return ddp_saver_save(t->saver, t->snapshot, best, err);
}

int ddp_trainer_close_run(struct ddp_trainer *t, const char *status_text, struct ddp_result *result,
                          struct ddp_error *err)
{
    int status = ddp_saver_wait(t->saver, err);
    if (status)
        return status;
    char path[1100];
    ddp_snapshot_take(t->snapshot, t->engine->params, &t->state);
    ddp_snapshot_hash(t->snapshot, result->weights_hash);
    snprintf(path, sizeof path, "%s/model.safetensors", t->run_dir);
    status = ddp_snapshot_write_model(t->snapshot, path, err);
    if (status == 0)
        status = write_run(t, status_text, NULL, true, result, err);
    return status;
}

void ddp_trainer_fail_run(struct ddp_trainer *t, const char *reason)
{
    struct ddp_error ignored;
    if (t->metrics) /* the run was opened */
        write_run(t, "failed", reason, false, NULL, &ignored);
}
