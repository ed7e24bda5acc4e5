/* What the lead tells the world: run directory, records, progress, checkpoints, run.json. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "train/promise.h"
#include "train/report.h"

enum { MOST_SLOW = 32 };

struct ddp_run_log {
    struct ddp_trainer *t;
    int lock; /* holds the run directory against a second process; -1: none */
    struct ddp_snapshot *snapshot;
    struct ddp_saver *saver;
    struct ddp_metrics *metrics;
    struct ddp_trail *trail; /* NULL: off */
    struct ddp_progress progress;
    char set_aside[64]; /* in checkpoints/; "": nothing was */
    int64_t saved_ms;   /* what is saved next is later */
    /* What a new run directory is made of: the first step waits for no disk, the first checkpoint does. NULL:
     * a run that goes on. */
    struct ddp_later *later;

    int64_t *order, order_epoch; /* of the training samples, for the trail; NULL, -1: of no epoch yet */

    struct ddp_slow_rank slow[MOST_SLOW]; /* that the launcher has told of, each time */
    int nslow;

    double in_steps;   /* seconds */
    int64_t samples;   /* trained by this process */
    int64_t from_step; /* it began with this many done */
    struct {           /* since the last record */
        double s, part[DDP_TIME_REST];
        int64_t samples, steps;
    } window;
};

/* ---- run.json and configs ---- */

/* The job script that all this runs in, if there is one. */
static void keep_script(const struct ddp_trainer *t)
{
    const char *script = getenv("DDP_BATCH_SCRIPT");
    struct ddp_error why = {0};
    char path[1100], *text;
    size_t bytes;
    if (!script || !*script)
        return;
    snprintf(path, sizeof path, "%s/job.sh", t->run_dir);
    int status = ddp_file_read(script, 1 << 20, &text, &bytes, &why);
    if (status == 0) {
        status = ddp_file_write(path, text, bytes, &why);
        free(text);
    }
    if (status)
        ddp_log(DDP_LOG_WARN, "DDP_BATCH_SCRIPT: the job's script is not kept: %s", why.text);
}

/* Of a new run. */
static int write_configs(const struct ddp_run_log *log, struct ddp_error *err)
{
    const struct ddp_trainer *t = log->t;
    char path[1100], *text;
    int status = ddp_config_dump(t->cfg, true, &text, err);
    if (status)
        return status;
    snprintf(path, sizeof path, "%s/config.cfg", t->run_dir);
    status = ddp_later_file(log->later, path, text, strlen(text), err);
    free(text);
    if (status || (status = ddp_config_dump_json(t->cfg, &text, err)))
        return status;
    snprintf(path, sizeof path, "%s/config.json", t->run_dir);
    status = ddp_later_file(log->later, path, text, strlen(text), err);
    free(text);
    if (status == 0)
        keep_script(t);
    return status;
}

static double peak_rss_mb(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024.0 * 1.048576;
}

/* The checkpoint of the lowest held-out loss, here or in the run that this one forked from. */
static bool best_path(const struct ddp_run_log *log, char path[1200])
{
    const struct ddp_trainer *t = log->t;
    const char *const runs[] = {t->run_dir, t->leg.run};
    char name[32], at[1100];
    snprintf(name, sizeof name, "/step-%08lld", (long long)t->state.best_step);
    for (int i = 0; t->state.best_step >= 0 && i < 2; i++) {
        snprintf(path, 1200, "%s/checkpoints%s", runs[i], name);
        if (*runs[i] && ddp_path_exists(path))
            return true;
    }
    snprintf(path, 1200, "%s@best", t->leg.run);
    if (t->state.best_step < 0 || !*t->leg.run || ddp_run_resolve(path, at, sizeof at, NULL) != 0)
        return false;
    snprintf(path, 1200, "%s", at);
    return strstr(path, name) != NULL;
}

/* The last evaluation of the run. A leg that made none has that of the legs before it, up to the checkpoint
 * that it goes on from. */
static void add_evaluation(const struct ddp_trainer *t, const struct ddp_result *result,
                           struct ddp_run_info *info)
{
    struct ddp_eval_metrics last = {.count = result->eval_count,
                                    .loss = result->eval_loss,
                                    .accuracy = result->eval_accuracy,
                                    .error = result->eval_error};
    if (last.count == 0 && !ddp_metrics_last_eval(t->run_dir, &last))
        return;
    info->eval_accuracy = last.accuracy;
    info->eval_error = last.error;
    info->eval_loss = last.loss;
    info->eval_count = last.count;
}

static int write_run(const struct ddp_run_log *log, bool opens, const char *status, const char *reason,
                     bool finished, const struct ddp_result *result, struct ddp_error *err)
{
    const struct ddp_trainer *t = log->t;
    char host[256] = "", best[1200];
    gethostname(host, sizeof host - 1);
    const char **hosts = ddp_calloc((size_t)t->comm->nodes, sizeof *hosts);
    for (int n = 0; n < t->comm->nodes; n++)
        hosts[n] = t->comm->nodes > 1 ? t->comm->at[n].host : host;
    const char *broken[DDP_PROMISE_KEYS];
    struct ddp_run_info info = {
        .broken = broken,
        .nbroken = ddp_promise_broken(t->cfg, broken),
        .run_dir = t->run_dir,
        .argc = t->opt.argc,
        .command = t->opt.command,
        .program = t->opt.program,
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
        .network = t->opt.network,
        .nhosts = t->comm->nodes,
        .hosts = hosts,
        .ndata = 2,
        .data = t->data,
        .init = {*t->init_sha256 ? t->init_file : NULL, t->init_sha256},
        .inputs = &t->train_set->inputs,
        .targets = &t->train_set->targets,
        .opens = opens,
        .later = opens ? log->later : NULL,
        .resumed_from = *t->resumed_from ? t->resumed_from : NULL,
        .from_step = log->from_step,
        .forked_from = t->leg.kind == DDP_LEG_FORK ? t->leg.run : NULL,
        .fork_reason = t->leg.why,
        .nchanges = t->leg.nchanges,
        .changes = t->leg.change,
        .set_aside = *log->set_aside ? log->set_aside : NULL,
        .nslow = log->nslow,
        .slow = log->slow,
        .best = {.step = t->state.best_step,
                 .loss = t->state.best_loss,
                 .accuracy = t->test_set->info.targets > 0 ? NAN : t->state.best_accuracy,
                 .path = best_path(log, best) ? best : NULL},
        .finished = finished,
        .status = status,
        .parameters = ddp_model_parameters(t->model),
        .times = &t->summary,
        .error = reason,
    };
    if (finished) {
        snprintf(info.weights_hash, sizeof info.weights_hash, "%s", result->weights_hash);
        add_evaluation(t, result, &info);
        info.steps = result->steps;
        info.epochs = result->epochs;
        info.samples_per_s = result->samples_per_s;
        info.wall_s = result->wall_s;
        info.time_to_first_step_s = result->time_to_first_step_s;
        info.peak_rss_mb = peak_rss_mb();
    }
    const int code = ddp_runjson_write(t->cfg, &info, err);
    free(hosts);
    return code;
}

/* ---- life ---- */

/* The engine's own file into the run directory and into every checkpoint. */
static int keep_file(const struct ddp_run_log *log, struct ddp_error *err)
{
    const struct ddp_engine *e = log->t->engine;
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", log->t->run_dir, e->file);
    ddp_saver_attach(log->saver, e->file, e->file_text);
    return ddp_later_file(log->later, path, e->file_text, strlen(e->file_text), err);
}

/* The resolved config into every checkpoint. */
static int keep_config(const struct ddp_run_log *log, struct ddp_error *err)
{
    char *text;
    int status = ddp_config_dump(log->t->cfg, false, &text, err);
    if (status)
        return status;
    ddp_saver_attach(log->saver, "config.cfg", text);
    free(text);
    return 0;
}

/* A copy of a record of steps that training turns back from. */
static int copy_aside(const char *run_dir, const char *name, const char *folder, struct ddp_error *err)
{
    char from[1100], to[1300], *data;
    size_t bytes;
    snprintf(from, sizeof from, "%s/%s", run_dir, name);
    snprintf(to, sizeof to, "%s/checkpoints/%s/%s", run_dir, folder, name);
    if (!ddp_path_exists(from))
        return 0;
    int status = ddp_file_read(from, 0, &data, &bytes, err);
    if (status)
        return status;
    status = ddp_file_write(to, data, bytes, err);
    free(data);
    return status;
}

/* Training goes on from an earlier checkpoint than the newest: what came after it is another future now, and
 * is never taken for this one's. */
static int set_aside_future(struct ddp_run_log *log, struct ddp_error *err)
{
    const struct ddp_trainer *t = log->t;
    char dir[1100];
    int n;
    snprintf(dir, sizeof dir, "%s/checkpoints", t->run_dir);
    int status = ddp_checkpoint_set_aside(dir, t->state.step, log->set_aside, sizeof log->set_aside, &n, err);
    if (status || n == 0)
        return status;
    status = copy_aside(t->run_dir, "metrics.jsonl", log->set_aside, err);
    if (status == 0)
        status = copy_aside(t->run_dir, "weights.trail", log->set_aside, err);
    ddp_log(DDP_LOG_WARN, "%s goes back to step %lld: %d later checkpoint%s %s now in checkpoints/%s",
            t->run_dir, (long long)t->state.step, n, n == 1 ? "" : "s", n == 1 ? "is" : "are",
            log->set_aside);
    return status;
}

/* The directory, held for this process, and its log. */
static int open_directory(struct ddp_run_log *log, bool resumed, struct ddp_error *err)
{
    struct ddp_trainer *t = log->t;
    char path[1100];
    int status = 0;
    if (resumed)
        snprintf(t->run_dir, sizeof t->run_dir, "%s", t->leg.run);
    else
        status = ddp_rundir_create(t->cfg, log->later, t->run_dir, sizeof t->run_dir, err);
    if (status == 0)
        status = ddp_run_lock(t->run_dir, &log->lock, err);
    if (status == 0 && resumed) {
        ddp_rundir_tidy(t->run_dir);
        status = set_aside_future(log, err);
    }
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
    if (status == 0)
        status = keep_config(log, err);
    if (status == 0 && t->engine->file)
        status = keep_file(log, err);
    const struct ddp_records_from checkpoint = {t->state.step,
                                                ddp_train_plan_eval_owed(&t->plan, cfg, &t->state)};
    const struct ddp_records_from *from = resumed ? &checkpoint : NULL;
    if (status == 0)
        status = ddp_metrics_open(t->run_dir, from, log->later, &log->metrics, err);
    if (status == 0 && cfg->train.trail_every)
        status = ddp_trail_open(t->run_dir, from, log->later, &log->trail, err);
    if (status == 0) {
        ddp_saver_settle_first(log->saver, log->later);
        ddp_saver_sync_first(log->saver, ddp_metrics_fd(log->metrics));
        ddp_saver_sync_first(log->saver, ddp_trail_fd(log->trail));
    }
    return status;
}

/* What a checkpoint says that it was made under. */
static void identify_state(struct ddp_trainer *t)
{
    struct ddp_train_state *s = &t->state;
    strcpy(s->config_hash, t->experiment);
    strcpy(s->engine, t->engine->identity);
    ddp_config_experiment(t->cfg, s->experiment);
    strcpy(s->train_data, t->data[0].sha256);
    strcpy(s->test_data, t->data[1].sha256);
}

static void say_fork(const struct ddp_trainer *t)
{
    char text[4096];
    snprintf(text, sizeof text,
             "--resume: a new run %s goes on from %s, which stays as it is. It differs in: %s", t->run_dir,
             t->resumed_from, t->leg.why);
    ddp_lifeline_notice(text);
}

int ddp_run_log_open(struct ddp_trainer *t, struct ddp_run_log **out, struct ddp_error *err)
{
    struct ddp_run_log *log = ddp_calloc(1, sizeof *log);
    const bool resumed = t->leg.kind == DDP_LEG_APPEND;
    log->t = t;
    log->lock = -1;
    log->order_epoch = -1;
    log->from_step = t->state.step;
    log->saved_ms = t->state.saved_ms;
    if (!resumed) {
        log->later = ddp_later_create();
        const int64_t last = ddp_rundir_last_ms(t->cfg);
        log->saved_ms = last > log->saved_ms ? last : log->saved_ms;
    }
    ddp_runs_close(t->cfg->run.dir);
    int status = open_directory(log, resumed, err);
    if (status == 0 && !resumed)
        status = write_configs(log, err);
    if (status == 0)
        status = ddp_rundir_keep_diff(t->run_dir, log->later, err);
    if (status == 0)
        status = open_records(log, resumed, err);
    if (status == 0) {
        ddp_lifeline_run(t->run_dir); /* before it is open: whoever dies now leaves one who can close it */
        status = write_run(log, true, "running", NULL, false, NULL, err);
    }
    if (status) {
        ddp_run_log_destroy(log);
        return status;
    }
    identify_state(t);
    if (t->leg.kind == DDP_LEG_FORK)
        say_fork(t);
    ddp_log(
        DDP_LOG_INFO,
        "%s %s: %lld step%s (%lld epoch%s of %lld), batch %lld in %d shard%s on %d rank%s x %d thread%s, %s",
        resumed ? "resuming" : "run", t->run_dir, (long long)t->plan.last_step, ddp_plural(t->plan.last_step),
        (long long)t->cfg->train.epochs, ddp_plural(t->cfg->train.epochs), (long long)t->plan.per_epoch,
        (long long)t->plan.batch, t->plan.ranks.shards, ddp_plural(t->plan.ranks.shards), t->comm->size,
        ddp_plural(t->comm->size), t->opt.threads, ddp_plural(t->opt.threads), t->engine->name);
    *out = log;
    return 0;
}

void ddp_run_log_destroy(struct ddp_run_log *log)
{
    if (!log)
        return;
    ddp_saver_destroy(log->saver); /* first: what it still saves syncs the records before */
    ddp_metrics_close(log->metrics);
    ddp_trail_close(log->trail);
    ddp_snapshot_destroy(log->snapshot);
    ddp_later_settle(log->later, NULL); /* of a run that failed before its first checkpoint */
    ddp_later_destroy(log->later);
    ddp_run_unlock(log->lock);
    free(log->order);
    free(log);
}

/* ---- records ---- */

/* What cannot be written to a directory that is not there any more has that for its reason. */
static int settle(const struct ddp_run_log *log, int status, struct ddp_error *err)
{
    struct ddp_error gone = {0};
    if (status == 0 || ddp_run_still_there(log->t->run_dir, log->lock, &gone) == 0)
        return status;
    return ddp_fail(err, DDP_E_IO, "%s", gone.text);
}

/* Milliseconds since 1970; grows whatever the clock does. */
static int64_t save_time(struct ddp_run_log *log)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    return log->saved_ms = ms > log->saved_ms ? ms : log->saved_ms + 1;
}

/* Of the host's state; the saver has the snapshot until it is done. */
static int take_snapshot(struct ddp_run_log *log, struct ddp_error *err)
{
    int status = ddp_saver_wait(log->saver, err);
    if (status == 0)
        status = ddp_run_still_there(log->t->run_dir, log->lock, err);
    log->t->state.saved_ms = save_time(log);
    if (status == 0)
        ddp_snapshot_take(log->snapshot, log->t->engine->params, &log->t->state);
    return status;
}

static struct ddp_step_metrics step_metrics(const struct ddp_run_log *log)
{
    const struct ddp_trainer *t = log->t;
    const struct ddp_engine_result *r = &t->result;
    const double *part = log->window.part;
    return (struct ddp_step_metrics){
        .step = t->state.step,
        .epoch = t->now->epoch,
        .count = r->count,
        .loss = r->loss_sum / (double)r->count,
        .accuracy = t->test_set->info.targets > 0 ? NAN : (double)r->correct / (double)r->count,
        .lr = ddp_trainer_lr(t),
        .grad_norm = r->norm,
        .samples_per_s = (double)log->window.samples / log->window.s,
        .step_s = log->window.s / (double)log->window.steps,
        .data_wait = part[DDP_TIME_DATA] / log->window.s,
        .comm_wait = part[DDP_TIME_WAIT] / log->window.s,
        .forward = part[DDP_TIME_FORWARD] / log->window.s,
        .backward = part[DDP_TIME_BACKWARD] / log->window.s,
        .optimizer = part[DDP_TIME_OPTIMIZER] / log->window.s,
        .reduce = part[DDP_TIME_REDUCE] / log->window.s,
        .time = ddp_now() - t->opt.started,
    };
}

/* Recorded when it begins and when it is over; run.json has the newest numbers. */
static int take_slow(struct ddp_run_log *log, const struct ddp_slow_rank *s, struct ddp_error *err)
{
    int i = 0;
    while (i < log->nslow && (log->slow[i].rank != s->rank || log->slow[i].from != s->from))
        i++;
    if (i == MOST_SLOW)
        return 0;
    const bool begins = i == log->nslow;
    log->nslow += begins;
    log->slow[i] = *s;
    return begins || s->over ? ddp_metrics_slow(log->metrics, log->t->state.step, s, err) : 0;
}

/* Hash of the indices of the samples of the step that was made last, in their order. */
static void hash_samples(struct ddp_run_log *log, char hex[65])
{
    const struct ddp_trainer *t = log->t;
    const int64_t count = t->train_set->info.count;
    struct ddp_sha256 h;
    if (log->order_epoch != t->now->epoch) {
        log->order = log->order ? log->order : ddp_malloc((size_t)count * sizeof *log->order);
        ddp_order_epoch((uint64_t)t->cfg->seed, t->now->epoch, count, t->cfg->data.shuffle, log->order);
        log->order_epoch = t->now->epoch;
    }
    const int64_t first = t->now->index * t->plan.batch;
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, log->order + first, (size_t)t->now->count * sizeof *log->order);
    ddp_sha256_hex(&h, hex);
}

int ddp_run_log_trail(struct ddp_run_log *log, struct ddp_error *err)
{
    const struct ddp_trainer *t = log->t;
    struct ddp_trail_point p = {.step = t->state.step, .seed = t->cfg->seed};
    char samples[65];
    if (!log->trail)
        return 0;
    if (t->now) {
        hash_samples(log, samples);
        p.samples = samples;
        p.epoch = t->now->epoch;
    }
    const int status = ddp_run_still_there(t->run_dir, log->lock, err);
    return settle(log, status ? status : ddp_trail_add(log->trail, &p, t->engine, err), err);
}

int ddp_run_log_step(struct ddp_run_log *log, double seconds, struct ddp_error *err)
{
    struct ddp_trainer *t = log->t;
    const int64_t step = t->state.step;
    struct ddp_slow_rank slow;
    int status = 0;
    while (status == 0 && ddp_lifeline_slow(&slow))
        status = take_slow(log, &slow, err);
    if (status == 0 && ddp_train_plan_trail_due(t->cfg, step))
        status = ddp_run_log_trail(log, err);
    log->in_steps += seconds;
    log->samples += t->now->count;
    log->window.s += seconds;
    log->window.samples += t->now->count;
    log->window.steps++;
    for (int p = 0; p < DDP_TIME_REST; p++)
        log->window.part[p] += t->times.now[p];

    const bool last = step == t->plan.last_step, record = ddp_train_plan_log_due(&t->plan, t->cfg, step);
    const bool progress = t->cfg->log.progress &&
                          (ddp_progress_due(&log->progress, ddp_now(), t->cfg->log.progress_every) || last);
    if (status || (!record && !progress))
        return settle(log, status, err);
    const struct ddp_step_metrics m = step_metrics(log);
    if (record && (status = ddp_run_still_there(t->run_dir, log->lock, err)) == 0)
        status = ddp_metrics_step(log->metrics, &m, err);
    if (progress) {
        char line[384];
        ddp_progress_line(&m, t->plan.last_step, t->cfg->train.epochs, log->slow, log->nslow,
                          ddp_log_columns(), line, sizeof line);
        ddp_log_progress(line, last);
    }
    memset(&log->window, 0, sizeof log->window);
    return settle(log, status, err);
}

int ddp_run_log_eval(struct ddp_run_log *log, double seconds, bool best, struct ddp_error *err)
{
    const struct ddp_trainer *t = log->t;
    char score[64];
    const struct ddp_eval_metrics e = {
        .step = t->state.step,
        .epoch = t->state.epoch,
        .count = t->eval.count,
        .loss = t->eval.loss,
        .accuracy = t->eval.accuracy,
        .error = t->eval.error,
        .seconds = seconds,
        .time = ddp_now() - t->opt.started,
        .best = best,
        .train_loss = t->epoch.loss,
        .train_accuracy = t->epoch.accuracy,
    };
    ddp_log(DDP_LOG_INFO, "eval after step %lld (epoch %lld): %s, loss %.4f over %lld sample%s%s",
            (long long)e.step, (long long)e.epoch, ddp_trainer_score(t, score), e.loss, (long long)e.count,
            ddp_plural(e.count), best ? ", the best so far" : "");
    const int status = ddp_run_still_there(t->run_dir, log->lock, err);
    return status ? status : settle(log, ddp_metrics_eval(log->metrics, &e, err), err);
}

int ddp_run_log_save(struct ddp_run_log *log, bool best, struct ddp_error *err)
{
    const int status = take_snapshot(log, err);
    return settle(log, status ? status : ddp_saver_save(log->saver, log->snapshot, best, err), err);
}

double ddp_run_log_rate(const struct ddp_run_log *log)
{
    return log->in_steps > 0 ? (double)log->samples / log->in_steps : 0;
}

/* ---- the end ---- */

/* Of a run of some steps: where their time went. */
static void say_times(const struct ddp_run_log *log)
{
    const struct ddp_time_summary *s = &log->t->summary;
    char text[256];
    if (s->ranks == 0 || s->steps == 0)
        return;
    ddp_times_text(s, text, sizeof text);
    ddp_log(DDP_LOG_INFO, "%s", text);
}

int ddp_run_log_close(struct ddp_run_log *log, const char *status_text, struct ddp_result *result,
                      struct ddp_error *err)
{
    char path[1100], best[1200], accuracy[48] = "";
    if (log->t->test_set->info.targets == 0)
        snprintf(accuracy, sizeof accuracy, ", accuracy %.2f %%", 100 * log->t->state.best_accuracy);
    snprintf(path, sizeof path, "%s/model.safetensors", log->t->run_dir);
    int status = take_snapshot(log, err);
    if (status)
        return settle(log, status, err);
    ddp_snapshot_hash(log->snapshot, result->weights_hash);
    status = ddp_snapshot_write_model(log->snapshot, path, err);
    say_times(log);
    snprintf(path, sizeof path, "%s/model_ema.safetensors", log->t->run_dir);
    if (status == 0 && ddp_snapshot_has_average(log->snapshot))
        status = ddp_snapshot_write_average(log->snapshot, path, err);
    if (status == 0)
        status = ddp_saver_finish(log->saver, err); /* the record that says "done" comes last */
    if (status == 0)
        status = write_run(log, false, status_text, NULL, true, result, err);
    if (status == 0 && best_path(log, best))
        ddp_log(DDP_LOG_INFO, "best weights by held-out loss (%.4f%s, after step %lld): %s",
                log->t->state.best_loss, accuracy, (long long)log->t->state.best_step, best);
    return settle(log, status, err);
}

void ddp_run_log_fail(struct ddp_run_log *log, const char *reason)
{
    struct ddp_trainer *t = log->t;
    char there[sizeof t->run_dir];
    strcpy(there, t->run_dir);
    if (ddp_run_still_there(there, log->lock, NULL) != 0) /* the record itself, wherever it is now */
        snprintf(t->run_dir, sizeof t->run_dir, "/proc/self/fd/%d", log->lock);
    write_run(log, false, "failed", reason, false, NULL, NULL);
    strcpy(t->run_dir, there);
}
