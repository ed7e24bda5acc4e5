/* run.json: what was trained, with what, on what, and what came of it. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ddp/ddp.h"
#include "ddp_version.h"
#include "telemetry/capture.h"
#include "telemetry/telemetry.h"

const char *ddp_version(void)
{
    return DDP_VERSION;
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}
static json_t *text(const char *s)
{
    return s ? json_string(s) : json_null();
}

static json_t *strings(int n, const char *const *v)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, text(v[i]));
    return a;
}

static json_t *data_list(const struct ddp_run_info *info)
{
    json_t *a = json_array();
    for (int i = 0; i < info->ndata; i++) {
        json_t *d = json_object();
        json_object_set_new(d, "name", text(info->data[i].name));
        json_object_set_new(d, "sha256", text(info->data[i].sha256));
        json_array_append_new(a, d);
    }
    return a;
}

static json_t *fact_value(const struct ddp_fact *f)
{
    switch (f->kind) {
    case DDP_FACT_TEXT:
        return text(f->text);
    case DDP_FACT_INTEGER:
        return json_integer(f->integer);
    case DDP_FACT_REAL:
        return number(f->real);
    default:
        return json_boolean(f->integer);
    }
}

/* "a.b": b in the object a, made where it is missing. */
static void add_fact(json_t *o, const struct ddp_fact *f)
{
    const char *key = f->key;
    char part[64];
    for (const char *dot; (dot = strchr(key, '.')); key = dot + 1) {
        snprintf(part, sizeof part, "%.*s", (int)(dot - key), key);
        json_t *in = json_object_get(o, part);
        if (!in)
            json_object_set_new(o, part, in = json_object());
        o = in;
    }
    json_object_set_new(o, key, fact_value(f));
}

static json_t *startup(void)
{
    json_t *o = json_object();
    for (int i = 0; i < DDP_STARTUP_COUNT; i++)
        json_object_set_new(o, ddp_startup_name((enum ddp_startup)i),
                            number(ddp_startup_seconds((enum ddp_startup)i)));
    return o;
}

static json_t *parts_ms(const double *part)
{
    json_t *o = json_object();
    for (int p = 0; p < DDP_TIME_COUNT; p++)
        json_object_set_new(o, ddp_time_name((enum ddp_time)p), number(part[p] * 1e3));
    return o;
}

static void add_times(json_t *o, const struct ddp_time_summary *s)
{
    if (!s || s->ranks == 0)
        return;
    json_t *t = json_object(), *ranks = json_array();
    json_object_set_new(t, "batch", json_integer(s->batch));
    json_object_set_new(t, "steps", json_integer(s->steps));
    json_object_set_new(t, "ms", number(s->median * 1e3));
    json_object_set_new(t, "low_ms", number(s->low * 1e3));
    json_object_set_new(t, "high_ms", number(s->high * 1e3));
    json_object_set_new(t, "parts_ms", parts_ms(s->mean));
    json_object_set_new(t, "imbalance_ms", number(s->imbalance * 1e3));
    for (int r = 0; r < s->ranks; r++) {
        json_t *one = parts_ms(s->rank[r].part);
        json_object_set_new(one, "delayed", number(s->rank[r].delayed * 1e3));
        json_object_set_new(one, "cpu", number(s->rank[r].cpu * 1e3));
        json_object_set_new(one, "rss_mb", number(s->rank[r].rss_mb));
        json_array_append_new(ranks, one);
    }
    json_object_set_new(t, "ranks", ranks);
    json_object_set_new(o, "step_time", t);
}

/* null: the run ended before the first one was over. */
static json_t *evaluation(const struct ddp_run_info *info)
{
    if (info->eval_count <= 0)
        return json_null();
    json_t *e = json_object();
    if (isnan(info->eval_accuracy))
        json_object_set_new(e, "mean_absolute_error", number(info->eval_error));
    else
        json_object_set_new(e, "accuracy", number(info->eval_accuracy));
    json_object_set_new(e, "loss", number(info->eval_loss));
    json_object_set_new(e, "count", json_integer(info->eval_count));
    return e;
}

static void add_result(json_t *o, const struct ddp_run_info *info)
{
    json_object_set_new(o, "weights_hash", text(info->weights_hash));
    json_object_set_new(o, "eval", evaluation(info));
    json_t *t = json_object();
    json_object_set_new(t, "steps", json_integer(info->steps));
    json_object_set_new(t, "epochs", json_integer(info->epochs));
    json_object_set_new(t, "samples_per_s", number(info->samples_per_s));
    json_object_set_new(t, "images_per_s", number(info->samples_per_s)); /* the old name: docs/run.md */
    json_object_set_new(t, "wall_s", number(info->wall_s));
    json_object_set_new(t, "time_to_first_step_s", number(info->time_to_first_step_s));
    json_object_set_new(t, "startup_s", startup());
    json_object_set_new(t, "peak_rss_mb", number(info->peak_rss_mb));
    json_object_set_new(o, "train", t);
    add_times(o, info->times);
}

/* "2026-11-27T06:19:10Z": legs are compared across hosts. */
static json_t *utc(void)
{
    char when[40];
    const time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    return json_string(when);
}

/* ---- legs ---- */

/* What a leg has from its beginning. */
static json_t *new_leg(const struct ddp_run_info *info)
{
    char version[64];
    snprintf(version, sizeof version, *DDP_GIT ? "%s+%s" : "%s", DDP_VERSION, DDP_GIT);
    json_t *o = json_object();
    json_object_set_new(o, "began", utc());
    json_object_set_new(o, "command", strings(info->argc, info->command));
    json_object_set_new(o, "code", json_string(version));
    json_object_set_new(o, "host", info->nhosts > 0 ? text(info->hosts[0]) : json_null());
    json_object_set_new(o, "pid", json_integer(getpid()));
    json_object_set_new(o, "hosts", strings(info->nhosts, info->hosts));
    json_object_set_new(o, "ranks", json_integer(info->ranks));
    json_object_set_new(o, "threads", json_integer(info->threads));
    json_object_set_new(o, "config_hash", text(info->config_hash));
    json_object_set_new(o, "data", data_list(info));
    json_object_set_new(o, "from", text(info->resumed_from));
    json_object_set_new(o, "from_step", json_integer(info->from_step));
    if (info->set_aside)
        json_object_set_new(o, "set_aside", json_string(info->set_aside));
    json_t *changes = json_object();
    for (int i = 0; i < info->nchanges; i++)
        json_object_set_new(changes, info->changes[i].key, text(info->changes[i].to));
    json_object_set_new(o, "changed", changes);
    return o;
}

static json_t *slow_ranks(const struct ddp_run_info *info)
{
    json_t *list = json_array();
    for (int i = 0; i < info->nslow; i++) {
        const struct ddp_slow_rank *s = &info->slow[i];
        json_t *o = json_object();
        json_object_set_new(o, "rank", json_integer(s->rank));
        json_object_set_new(o, "host", text(s->host));
        json_object_set_new(o, "from_step", json_integer(s->from));
        json_object_set_new(o, "to_step", json_integer(s->to));
        json_object_set_new(o, "late_s", number(s->late));
        json_object_set_new(o, "lost_s", number(s->lost));
        json_object_set_new(o, "cause", text(s->cause));
        json_array_append_new(list, o);
    }
    return list;
}

/* How it stands with it: at its beginning and at its end. */
static void set_leg(json_t *o, const struct ddp_run_info *info)
{
    if (info->nslow > 0)
        json_object_set_new(o, "slow", slow_ranks(info));
    json_object_set_new(o, "status", text(info->status));
    if (info->error)
        json_object_set_new(o, "error", text(info->error));
    if (strcmp(info->status, "running") != 0)
        json_object_set_new(o, "ended", utc());
    if (!info->finished)
        return;
    json_object_set_new(o, "steps", json_integer(info->steps));
    json_object_set_new(o, "weights_hash", text(info->weights_hash));
}

/* A run of the time before legs was one. */
static json_t *old_leg(const json_t *run)
{
    static const char *const keys[] = {"command", "hosts",  "ranks", "threads",     "config_hash",
                                       "data",    "status", "error", "weights_hash"};
    json_t *o = json_object(), *v;
    for (size_t i = 0; i < DDP_COUNT(keys); i++)
        if ((v = json_object_get(run, keys[i])))
            json_object_set(o, keys[i], v);
    json_object_set_new(o, "from", json_incref(json_object_get(run, "resumed_from")));
    json_object_set_new(o, "ended", json_incref(json_object_get(run, "written")));
    return o;
}

/* The run's legs as they are on disk, with this one opened or brought up to date. */
static json_t *legs(const char *path, const struct ddp_run_info *info, json_t **parent, json_t **init)
{
    json_t *run = json_load_file(path, 0, NULL), *list = json_incref(json_object_get(run, "legs"));
    *parent = json_incref(json_object_get(run, "parent"));
    *init = json_incref(json_object_get(run, "init"));
    if (!json_is_array(list)) {
        json_decref(list);
        list = json_array();
        if (run)
            json_array_append_new(list, old_leg(run));
    }
    json_decref(run);
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    const char *status = json_string_value(json_object_get(last, "status"));
    if (info->opens && status && strcmp(status, "running") == 0) {
        json_object_set_new(last, "status", json_string("failed"));
        json_object_set_new(last, "error", json_string("it ended without a word: its process is gone"));
    }
    if (info->opens || !last) {
        last = new_leg(info);
        json_array_append_new(list, last);
    }
    set_leg(last, info);
    return list;
}

static json_t *new_parent(const struct ddp_run_info *info)
{
    json_t *o = json_object();
    json_object_set_new(o, "run", text(info->forked_from));
    json_object_set_new(o, "checkpoint", text(info->resumed_from));
    json_object_set_new(o, "step", json_integer(info->from_step));
    json_object_set_new(o, "reason", text(info->fork_reason));
    json_t *changes = json_object();
    for (int i = 0; i < info->nchanges; i++) {
        json_t *pair = json_object();
        json_object_set_new(pair, "from", text(info->changes[i].from));
        json_object_set_new(pair, "to", text(info->changes[i].to));
        json_object_set_new(changes, info->changes[i].key, pair);
    }
    json_object_set_new(o, "changed", changes);
    return o;
}

/* What was taken off real inputs and targets and what they were divided by: whoever uses the weights
 * elsewhere has to do the same. */
static void add_scaling(json_t *o, const char *key, const struct ddp_scaling *s)
{
    if (!s || s->n == 0)
        return;
    json_t *mean = json_array(), *std = json_array();
    for (int i = 0; i < s->n; i++) {
        json_array_append_new(mean, number(s->mean[i]));
        json_array_append_new(std, number(s->std[i]));
    }
    json_object_set_new(o, key, json_pack("{s:o, s:o}", "mean", mean, "std", std));
}

static json_t *best(const struct ddp_run_info *info)
{
    if (info->best.step < 0)
        return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "by", json_string("held-out loss"));
    json_object_set_new(o, "step", json_integer(info->best.step));
    json_object_set_new(o, "loss", number(info->best.loss));
    json_object_set_new(o, "accuracy", number(info->best.accuracy));
    json_object_set_new(o, "path", text(info->best.path));
    return o;
}

int ddp_runjson_write(const struct ddp_config *cfg, const struct ddp_run_info *info, struct ddp_error *err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/run.json", info->run_dir);
    json_t *o = json_object(), *parent, *init, *list = legs(path, info, &parent, &init);
    if (info->opens && info->forked_from) {
        json_decref(parent);
        parent = new_parent(info);
    }
    char when[40];
    time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S%z", localtime_r(&now, &tm));
    json_object_set_new(o, "status", text(info->status));
    json_object_set_new(o, "written", text(when));
    if (info->error)
        json_object_set_new(o, "error", text(info->error));
    json_object_set_new(o, "command", strings(info->argc, info->command));
    if (info->program)
        json_object_set_new(o, "program", text(info->program));
    json_object_set_new(o, "config_hash", text(info->config_hash));
    json_object_set_new(o, "seed", json_integer(cfg->seed));
    static const char *const levels[] = {"bitwise", "warn", "fast"};
    json_object_set_new(o, "promise",
                        json_pack("{s:s, s:o}", "level", levels[cfg->repro.level], "broken_by",
                                  strings(info->nbroken, info->broken)));
    json_object_set_new(o, "code", ddp_capture_code());
    json_object_set_new(o, "machine",
                        ddp_capture_machine(info->isa, info->transport, info->transport_version));
    json_object_set_new(o, "hosts", strings(info->nhosts, info->hosts));
    json_object_set_new(o, "ranks", json_integer(info->ranks));
    json_object_set_new(o, "threads", json_integer(info->threads));
    json_object_set_new(o, "shards", json_integer(info->shards));
    json_object_set_new(o, "transport", text(info->transport));
    json_object_set_new(o, "placement", text(info->map));
    json_object_set_new(o, "network", text(info->network));
    json_object_set_new(o, "environment", ddp_capture_environment());
    for (int i = 0; i < info->nfacts; i++)
        add_fact(o, &info->facts[i]);
    json_object_set_new(o, "resumed_from", text(info->resumed_from));
    if (parent)
        json_object_set_new(o, "parent", parent);
    json_object_set_new(o, "best", best(info));
    json_object_set_new(o, "parameters", json_integer(info->parameters));
    json_object_set_new(o, "data", data_list(info));
    if (info->init.path) { /* else what an earlier leg began with */
        json_decref(init);
        init = json_pack("{s:s, s:s}", "path", info->init.path, "sha256", info->init.sha256);
    }
    if (init)
        json_object_set_new(o, "init", init);
    add_scaling(o, "input_scaling", info->inputs);
    add_scaling(o, "target_scaling", info->targets);
    if (info->finished)
        add_result(o, info);
    json_object_set_new(o, "legs", list);
    char *dump = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(12)),
         *compact = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(o);
    if (!dump)
        return ddp_fail(err, DDP_E_INTERNAL,
                        "run.json: cannot be written as JSON (a text that is not UTF-8?)");
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "%s\n", dump);
    int status = info->later ? ddp_later_file(info->later, path, t.s, t.len, err)
                             : ddp_run_write(info->run_dir, t.s, info->opens ? NULL : compact, err);
    ddp_text_finish(&t);
    free(dump);
    free(compact);
    return status;
}
