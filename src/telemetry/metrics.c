/* metrics.jsonl: a record per logged step and per evaluation. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "telemetry/records.h"
#include "telemetry/telemetry.h"

struct ddp_metrics {
    int fd;
    char path[1100];
};

int ddp_metrics_open(const char *run_dir, const struct ddp_records_from *from, struct ddp_later *later,
                     struct ddp_metrics **out, struct ddp_error *err)
{
    struct ddp_metrics *m = ddp_calloc(1, sizeof *m);
    snprintf(m->path, sizeof m->path, "%s/metrics.jsonl", run_dir);
    int status = ddp_records_open(m->path, "", from, later, &m->fd, err);
    if (status) {
        free(m);
        return status;
    }
    *out = m;
    return 0;
}

/* ,"name":value with null for what JSON cannot say. */
static void add(struct ddp_text *t, const char *name, double v)
{
    char buf[32];
    ddp_text_add(t, ",\"%s\":%s", name, isfinite(v) ? ddp_double_text(v, buf) : "null");
}

static int put(struct ddp_metrics *m, struct ddp_text *t, struct ddp_error *err)
{
    ddp_text_add(t, "}\n");
    const off_t whole = lseek(m->fd, 0, SEEK_END);
    int status = ddp_file_append(m->fd, m->path, t->s, t->len, err);
    ddp_text_finish(t);
    if (status && whole >= 0 && ftruncate(m->fd, whole) != 0) /* a full disk leaves half a line */
        ddp_log(DDP_LOG_DEBUG, "%s: its last line is torn", m->path);
    return status ? ddp_error_prefix(err, "run.dir") : 0;
}

int ddp_metrics_step(struct ddp_metrics *m, const struct ddp_step_metrics *s, struct ddp_error *err)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "{\"type\":\"step\",\"step\":%lld,\"epoch\":%lld,\"count\":%lld", (long long)s->step,
                 (long long)s->epoch, (long long)s->count);
    add(&t, "time", s->time);
    add(&t, "loss", s->loss);
    if (!isnan(s->accuracy))
        add(&t, "accuracy", s->accuracy);
    add(&t, "lr", s->lr);
    if (s->grad_norm >= 0)
        add(&t, "grad_norm", s->grad_norm);
    add(&t, "samples_per_s", s->samples_per_s);
    add(&t, "images_per_s", s->samples_per_s); /* the old name: docs/run.md */
    add(&t, "step_s", s->step_s);
    add(&t, "data_wait", s->data_wait);
    add(&t, "comm_wait", s->comm_wait);
    add(&t, "forward", s->forward);
    add(&t, "backward", s->backward);
    add(&t, "optimizer", s->optimizer);
    add(&t, "reduce", s->reduce);
    return put(m, &t, err);
}

static void add_score(struct ddp_text *t, const struct ddp_eval_metrics *e)
{
    if (isnan(e->accuracy))
        add(t, "mean_absolute_error", e->error);
    else
        add(t, "accuracy", e->accuracy);
}

int ddp_metrics_eval(struct ddp_metrics *m, const struct ddp_eval_metrics *e, struct ddp_error *err)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "{\"type\":\"eval\",\"step\":%lld,\"epoch\":%lld,\"count\":%lld", (long long)e->step,
                 (long long)e->epoch, (long long)e->count);
    add(&t, "time", e->time);
    add(&t, "loss", e->loss);
    add_score(&t, e);
    add(&t, "train_loss", e->train_loss);
    if (!isnan(e->accuracy))
        add(&t, "train_accuracy", e->train_accuracy);
    add(&t, "seconds", e->seconds);
    ddp_text_add(&t, ",\"best\":%s", e->best ? "true" : "false");
    return put(m, &t, err);
}

static double number_of(const json_t *record, const char *key)
{
    const json_t *v = json_object_get(record, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static bool read_eval(const json_t *record, struct ddp_eval_metrics *out)
{
    const char *type = json_string_value(json_object_get(record, "type"));
    if (!type || strcmp(type, "eval") != 0)
        return false;
    *out = (struct ddp_eval_metrics){.step = json_integer_value(json_object_get(record, "step")),
                                     .epoch = json_integer_value(json_object_get(record, "epoch")),
                                     .count = json_integer_value(json_object_get(record, "count")),
                                     .loss = number_of(record, "loss"),
                                     .accuracy = number_of(record, "accuracy"),
                                     .error = number_of(record, "mean_absolute_error"),
                                     .seconds = number_of(record, "seconds"),
                                     .time = number_of(record, "time"),
                                     .best = json_is_true(json_object_get(record, "best")),
                                     .train_loss = number_of(record, "train_loss"),
                                     .train_accuracy = number_of(record, "train_accuracy")};
    return out->count > 0;
}

bool ddp_metrics_last_eval(const char *run_dir, struct ddp_eval_metrics *out)
{
    char path[1100], *data;
    size_t bytes;
    bool found = false;
    snprintf(path, sizeof path, "%s/metrics.jsonl", run_dir);
    if (ddp_file_read(path, 0, &data, &bytes, NULL) != 0)
        return false;
    for (char *end = data + bytes; !found && end > data;) { /* line by line from the end */
        char *before = memrchr(data, '\n', (size_t)(end - 1 - data)), *line = before ? before + 1 : data;
        json_t *o = json_loadb(line, (size_t)(end - line), 0, NULL);
        found = read_eval(o, out);
        json_decref(o);
        end = line;
    }
    free(data);
    return found;
}

int ddp_metrics_slow(struct ddp_metrics *m, int64_t step, const struct ddp_slow_rank *s,
                     struct ddp_error *err)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(
        &t,
        "{\"type\":\"slow\",\"step\":%lld,\"rank\":%d,\"host\":\"%s\",\"from_step\":%lld,\"to_step\":%lld",
        (long long)step, s->rank, s->host, (long long)s->from, (long long)s->to);
    add(&t, "late_s", s->late);
    add(&t, "lost_s", s->lost);
    ddp_text_add(&t, ",\"over\":%s,\"cause\":\"%s\"", s->over ? "true" : "false", s->cause);
    return put(m, &t, err);
}

int ddp_metrics_fd(const struct ddp_metrics *m)
{
    return m ? m->fd : -1;
}

void ddp_metrics_close(struct ddp_metrics *m)
{
    if (!m)
        return;
    close(m->fd);
    free(m);
}
