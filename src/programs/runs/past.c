/* Reading run.json and config.json of a run that may be in any state. */
#include "past.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/record.h"

enum { MOST_BYTES = 64 << 20, TAIL_BYTES = 1 << 16 };

const char *ddp_past_state_name(enum ddp_past_state state)
{
    static const char *const names[] = {"done", "stopped",   "failed", "running",
                                        "gone", "half made", "damaged"};
    return names[state];
}

/* NULL: the file is not there, or is no JSON object; why says which. */
static json_t *read_object(const char *dir, const char *name, char *why, size_t size)
{
    char path[4200], *data;
    size_t bytes;
    struct ddp_error err = {0};
    json_error_t at;
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) { /* a pipe would be waited for */
        snprintf(why, size, "%s is no file", name);
        return NULL;
    }
    if (ddp_file_read(path, MOST_BYTES, &data, &bytes, &err) != 0) {
        snprintf(why, size, "%.300s", err.text);
        return NULL;
    }
    json_t *o = json_loadb(data, bytes, 0, &at);
    free(data);
    if (!o)
        snprintf(why, size, "%s is no JSON (line %d: %.200s)", name, at.line, at.text);
    else if (!json_is_object(o))
        snprintf(why, size, "%s holds no record", name);
    if (o && !json_is_object(o)) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

/* Whether a directory without a record can be that of a run. */
static bool has_shape(const char *path)
{
    static const char *const parts[] = {"log", "checkpoints"};
    for (size_t i = 0; i < DDP_COUNT(parts); i++) {
        char at[4200];
        struct stat st;
        snprintf(at, sizeof at, "%s/%s", path, parts[i]);
        if (stat(at, &st) != 0 || !S_ISDIR(st.st_mode))
            return false;
    }
    return true;
}

static enum ddp_past_state state_of(struct ddp_past *p)
{
    static const struct {
        const char *word;
        enum ddp_past_state state;
    } words[] = {{"done", DDP_PAST_DONE},
                 {"stopped", DDP_PAST_STOPPED},
                 {"failed", DDP_PAST_FAILED},
                 {"running", DDP_PAST_RUNNING}};
    const char *status = json_string_value(json_object_get(p->record, "status"));
    for (size_t i = 0; status && i < DDP_COUNT(words); i++)
        if (strcmp(status, words[i].word) == 0)
            return words[i].state == DDP_PAST_RUNNING && ddp_run_is_abandoned(p->path) ? DDP_PAST_GONE
                                                                                       : words[i].state;
    snprintf(p->fault, sizeof p->fault, "run.json has no status that a run has%s%.40s%s", status ? " ('" : "",
             status ? status : "", status ? "')" : "");
    return DDP_PAST_DAMAGED;
}

/* Runs that ended before their first evaluation had "count": 0 and a loss of 0 in it once: that is none. */
static void drop_empty_eval(json_t *record)
{
    const json_t *count = json_object_get(json_object_get(record, "eval"), "count");
    if (json_is_integer(count) && json_integer_value(count) == 0)
        json_object_set_new(record, "eval", json_null());
}

int ddp_past_read(const char *path, struct ddp_past *out, struct ddp_error *err)
{
    char file[4200], why[400] = "", none[400];
    struct stat st;
    struct ddp_past p = {0};
    if (snprintf(p.path, sizeof p.path, "%s", path) >= (int)sizeof p.path)
        return ddp_fail(err, DDP_E_USAGE, "%.60s...: the path is too long", path);
    for (size_t n = strlen(p.path); n > 1 && p.path[n - 1] == '/'; n--)
        p.path[n - 1] = '\0';
    if (stat(p.path, &st) != 0 && !strchr(path, '/') && strlen(path) < 1024)
        snprintf(p.path, sizeof p.path, "runs/%s", path);
    if (stat(p.path, &st) != 0 || !S_ISDIR(st.st_mode))
        return ddp_fail(err, DDP_E_USAGE,
                        "%s: there is no such run directory (ddp-runs list DIR names those in a folder)",
                        path);
    if (access(p.path, X_OK) != 0)
        return ddp_fail(err, DDP_E_USAGE, "%s: it cannot be looked into: %s", p.path, strerror(errno));
    snprintf(file, sizeof file, "%s/run.json", p.path);
    const bool recorded = ddp_path_exists(file);
    if (!recorded && !has_shape(p.path))
        return ddp_fail(err, DDP_E_USAGE, "%s is no run directory: there is no run.json in it", p.path);
    p.config = read_object(p.path, "config.json", none, sizeof none);
    p.record = recorded ? read_object(p.path, "run.json", why, sizeof why) : NULL;
    if (p.record) {
        p.state = state_of(&p);
        drop_empty_eval(p.record);
    } else {
        p.state = recorded ? DDP_PAST_DAMAGED : DDP_PAST_HALF;
        snprintf(p.fault, sizeof p.fault, "%s", recorded ? why : "it has no run.json (yet)");
    }
    *out = p;
    const char *slash = strrchr(out->path, '/');
    out->name = slash && slash[1] ? slash + 1 : out->path;
    return 0;
}

int ddp_past_read_whole(const char *path, struct ddp_past *out, struct ddp_error *err)
{
    const int status = ddp_past_read(path, out, err);
    if (status || out->state < DDP_PAST_HALF)
        return status;
    ddp_fail(err, DDP_E_DATA, "%s: %s: %s", path, ddp_past_state_name(out->state), out->fault);
    ddp_past_finish(out);
    return DDP_E_DATA;
}

void ddp_past_finish(struct ddp_past *p)
{
    json_decref(p->record);
    json_decref(p->config);
    p->record = p->config = NULL;
}

json_t *ddp_past_at(const json_t *o, const char *path)
{
    json_t *at = (json_t *)o; /* NOLINT: jansson's getters take const, and give what may be changed */
    while (at && *path) {
        const size_t n = strcspn(path, ".[");
        char part[128];
        if (n >= sizeof part)
            return NULL;
        if (n > 0) {
            memcpy(part, path, n);
            part[n] = '\0';
            at = json_object_get(at, part);
        }
        path += n;
        if (*path == '[') {
            char *end;
            const unsigned long i = strtoul(path + 1, &end, 10);
            if (*end != ']')
                return NULL;
            at = json_array_get(at, i);
            path = end + 1;
        }
        path += *path == '.';
    }
    return at;
}

const char *ddp_past_text(const struct ddp_past *p, const char *key)
{
    const char *s = json_string_value(ddp_past_at(p->record, key));
    return s ? s : "";
}

/* The "step" of the last whole line of metrics.jsonl. */
static int64_t last_metric(const char *run)
{
    char path[4200], *tail = ddp_malloc(TAIL_BYTES + 1);
    struct stat st;
    int64_t step = -1;
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
                    ? pread(fd, tail, TAIL_BYTES, st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0)
                    : 0;
    if (fd >= 0)
        close(fd);
    for (tail[n > 0 ? n : 0] = '\0'; step < 0 && n > 0;) {
        char *end = memrchr(tail, '\n', (size_t)n);
        if (!end)
            break;
        *end = '\0';
        char *line = memrchr(tail, '\n', (size_t)(end - tail));
        json_t *o = json_loads(line ? line + 1 : tail, 0, NULL);
        const json_t *at = json_object_get(o, "step");
        step = json_is_integer(at) ? json_integer_value(at) : -1;
        json_decref(o);
        n = end - tail;
    }
    free(tail);
    return step;
}

int64_t ddp_past_steps(const struct ddp_past *p)
{
    const json_t *steps = ddp_past_at(p->record, "train.steps");
    return json_is_integer(steps) ? json_integer_value(steps) : last_metric(p->path);
}

bool ddp_past_is_marked(const struct ddp_past *p)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/" DDP_PAST_MARK, p->path);
    return ddp_path_exists(path);
}
