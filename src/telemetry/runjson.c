/* run.json: what was trained, with what, on what, and what came of it. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "ddp/ddp.h"
#include "ddp_version.h"
#include "telemetry/telemetry.h"

const char *ddp_version(void)
{
    return DDP_VERSION;
}

#ifdef __clang__
#define DDP_COMPILER __VERSION__
#else
#define DDP_COMPILER "gcc " __VERSION__
#endif

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

/* Hash of the running program: two builds of one source may differ in their compiler. */
static json_t *binary_hash(void)
{
    const void *data;
    size_t bytes;
    struct ddp_error err;
    if (ddp_file_map("/proc/self/exe", &data, &bytes, &err))
        return json_null();
    struct ddp_sha256 h;
    char hex[65];
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, data, bytes);
    ddp_sha256_hex(&h, hex);
    ddp_file_unmap(data, bytes);
    return json_string(hex);
}

static json_t *code(void)
{
    char version[64];
    snprintf(version, sizeof version, *DDP_GIT ? "%s+%s" : "%s", DDP_VERSION, DDP_GIT);
    json_t *o = json_object();
    json_object_set_new(o, "version", json_string(version));
    json_object_set_new(o, "dirty", DDP_DIRTY < 0 ? json_null() : json_boolean(DDP_DIRTY));
    json_object_set_new(o, "diff_sha256", *DDP_DIFF ? json_string(DDP_DIFF) : json_null());
    json_object_set_new(o, "binary_sha256", binary_hash());
    json_object_set_new(o, "compiler", json_string(DDP_COMPILER));
    return o;
}

static json_t *machine(const struct ddp_run_info *info)
{
    struct utsname u;
    json_t *o = json_object();
    if (uname(&u) == 0) {
        json_object_set_new(o, "system", text(u.sysname));
        json_object_set_new(o, "release", text(u.release));
        json_object_set_new(o, "architecture", text(u.machine));
    }
    json_object_set_new(o, "isa", text(info->isa));
    json_t *libs = json_object();
    char list[] = DDP_LIBRARIES, *save = NULL; /* "name version,name version" */
    for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        char *space = strchr(word, ' ');
        if (!space)
            continue;
        *space = '\0';
        json_object_set_new(libs, word, json_string(space + 1));
    }
    if (info->transport_version)
        json_object_set_new(libs, info->transport, json_string(info->transport_version));
    json_object_set_new(o, "libraries", libs);
    return o;
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

static void add_result(json_t *o, const struct ddp_run_info *info)
{
    json_object_set_new(o, "weights_hash", text(info->weights_hash));
    json_t *e = json_object();
    json_object_set_new(e, "accuracy", number(info->eval_accuracy));
    json_object_set_new(e, "loss", number(info->eval_loss));
    json_object_set_new(e, "count", json_integer(info->eval_count));
    json_object_set_new(o, "eval", e);
    json_t *t = json_object();
    json_object_set_new(t, "steps", json_integer(info->steps));
    json_object_set_new(t, "epochs", json_integer(info->epochs));
    json_object_set_new(t, "samples_per_s", number(info->samples_per_s));
    json_object_set_new(t, "images_per_s", number(info->samples_per_s)); /* the old name: docs/run.md */
    json_object_set_new(t, "wall_s", number(info->wall_s));
    json_object_set_new(t, "time_to_first_step_s", number(info->time_to_first_step_s));
    json_object_set_new(t, "peak_rss_mb", number(info->peak_rss_mb));
    json_object_set_new(o, "train", t);
}

int ddp_runjson_write(const struct ddp_config *cfg, const struct ddp_run_info *info, struct ddp_error *err)
{
    char path[1100];
    json_t *o = json_object();
    char when[40];
    time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S%z", localtime_r(&now, &tm));
    json_object_set_new(o, "status", text(info->status));
    json_object_set_new(o, "written", text(when));
    if (info->error)
        json_object_set_new(o, "error", text(info->error));
    json_object_set_new(o, "command", strings(info->argc, info->command));
    json_object_set_new(o, "config_hash", text(info->config_hash));
    json_object_set_new(o, "seed", json_integer(cfg->seed));
    json_object_set_new(o, "code", code());
    json_object_set_new(o, "machine", machine(info));
    json_object_set_new(o, "hosts", strings(info->nhosts, info->hosts));
    json_object_set_new(o, "ranks", json_integer(info->ranks));
    json_object_set_new(o, "threads", json_integer(info->threads));
    json_object_set_new(o, "shards", json_integer(info->shards));
    json_object_set_new(o, "transport", text(info->transport));
    json_object_set_new(o, "placement", text(info->map));
    for (int i = 0; i < info->nfacts; i++)
        add_fact(o, &info->facts[i]);
    json_object_set_new(o, "resumed_from", text(info->resumed_from));
    json_object_set_new(o, "parameters", json_integer(info->parameters));
    json_object_set_new(o, "data", data_list(info));
    if (info->finished)
        add_result(o, info);
    char *dump = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(o);
    if (!dump)
        return ddp_fail(err, DDP_E_INTERNAL,
                        "run.json: cannot be written as JSON (a text that is not UTF-8?)");
    snprintf(path, sizeof path, "%s/run.json", info->run_dir);
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "%s\n", dump);
    int status = ddp_file_write(path, t.s, t.len, err);
    ddp_text_finish(&t);
    free(dump);
    return status;
}
