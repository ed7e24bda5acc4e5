/* Comparing two records, key by key. */
#include "differ.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

const char *ddp_section_name(enum ddp_section s)
{
    static const char *const names[DDP_SECTIONS] = {"config",  "code", "data",  "libraries",
                                                    "machine", "job",  "result"};
    return names[s];
}

/* What stands in the record. "a.*": every key of the object a. */
static const struct {
    const char *at;
    enum ddp_section section;
    enum ddp_weight weight;
} facts[] = {
    {"code.version", DDP_SECTION_CODE, DDP_WEIGHT_DOUBT},
    {"code.diff_sha256", DDP_SECTION_CODE, DDP_WEIGHT_DOUBT},
    {"code.binary_sha256", DDP_SECTION_CODE, DDP_WEIGHT_DOUBT},
    {"code.compiler", DDP_SECTION_CODE, DDP_WEIGHT_DOUBT},
    {"init.sha256", DDP_SECTION_DATA, DDP_WEIGHT_BITS},
    {"input_scaling.*", DDP_SECTION_DATA, DDP_WEIGHT_BITS},
    {"target_scaling.*", DDP_SECTION_DATA, DDP_WEIGHT_BITS},
    {"machine.libraries.*", DDP_SECTION_LIBRARIES, DDP_WEIGHT_NONE},
    {"gpu.versions.*", DDP_SECTION_LIBRARIES, DDP_WEIGHT_BITS},
    {"device", DDP_SECTION_MACHINE, DDP_WEIGHT_BITS},
    {"gpu.name", DDP_SECTION_MACHINE, DDP_WEIGHT_BITS},
    {"gpu.sms", DDP_SECTION_MACHINE, DDP_WEIGHT_BITS},
    {"gpu.compute_capability", DDP_SECTION_MACHINE, DDP_WEIGHT_BITS},
    {"gpu.plan_lock_sha256", DDP_SECTION_MACHINE, DDP_WEIGHT_BITS},
    {"gpu.uuid", DDP_SECTION_MACHINE, DDP_WEIGHT_NONE},
    {"machine.architecture", DDP_SECTION_MACHINE, DDP_WEIGHT_DOUBT},
    {"machine.system", DDP_SECTION_MACHINE, DDP_WEIGHT_DOUBT},
    {"machine.release", DDP_SECTION_MACHINE, DDP_WEIGHT_NONE},
    {"machine.cpu", DDP_SECTION_MACHINE, DDP_WEIGHT_NONE},
    {"machine.isa", DDP_SECTION_MACHINE, DDP_WEIGHT_NONE},
    {"hosts", DDP_SECTION_MACHINE, DDP_WEIGHT_NONE},
    {"network", DDP_SECTION_MACHINE, DDP_WEIGHT_NONE},
    {"ranks", DDP_SECTION_JOB, DDP_WEIGHT_NONE},
    {"threads", DDP_SECTION_JOB, DDP_WEIGHT_NONE},
    {"transport", DDP_SECTION_JOB, DDP_WEIGHT_NONE},
    {"placement", DDP_SECTION_JOB, DDP_WEIGHT_NONE},
    {"command", DDP_SECTION_JOB, DDP_WEIGHT_NONE},
    {"resumed_from", DDP_SECTION_JOB, DDP_WEIGHT_NONE},
    {"parent.checkpoint", DDP_SECTION_JOB, DDP_WEIGHT_NONE},
    {"environment.*", DDP_SECTION_JOB, DDP_WEIGHT_DOUBT},
    {"status", DDP_SECTION_RESULT, DDP_WEIGHT_RESULT},
    {"error", DDP_SECTION_RESULT, DDP_WEIGHT_RESULT},
    {"weights_hash", DDP_SECTION_RESULT, DDP_WEIGHT_RESULT},
    {"eval.*", DDP_SECTION_RESULT, DDP_WEIGHT_RESULT},
    {"best.*", DDP_SECTION_RESULT, DDP_WEIGHT_RESULT},
    {"train.*", DDP_SECTION_RESULT, DDP_WEIGHT_RESULT},
};

static void add(struct ddp_differences *d, enum ddp_section section, enum ddp_weight weight, const char *key,
                const json_t *a, const json_t *b)
{
    d->item = ddp_realloc(d->item, (size_t)(d->n + 1) * sizeof *d->item);
    d->item[d->n++] = (struct ddp_difference){section, weight, ddp_strdup(key), ddp_past_value_text(a),
                                              ddp_past_value_text(b)};
}

static bool same(const json_t *a, const json_t *b)
{
    if (!a || !b || json_is_null(a) || json_is_null(b))
        return (!a || json_is_null(a)) && (!b || json_is_null(b));
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b) != 0;
}

/* ---- config ---------------------------------------------------------------------------------- */

/* "model.layers[1].out" is of the key model.layers; NULL: of none that is known here. */
static const struct ddp_key *key_of(const char *path)
{
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
        const size_t n = strlen(k->name);
        if (strncmp(path, k->name, n) == 0 && (path[n] == '\0' || path[n] == '[' || path[n] == '.'))
            return k;
    }
    return NULL;
}

static enum ddp_weight key_weight(const char *path)
{
    static const char *const evaluated[] = {"data.test_count", "data.limit_test", "eval.", "optim.ema"};
    const struct ddp_key *k = key_of(path);
    for (size_t i = 0; i < DDP_COUNT(evaluated); i++)
        if (strncmp(path, evaluated[i], strlen(evaluated[i])) == 0)
            return DDP_WEIGHT_EVAL;
    if (k && (k->flags & DDP_KEY_END))
        return DDP_WEIGHT_END;
    if (k && !(k->flags & DDP_KEY_RESULT))
        return DDP_WEIGHT_NONE;
    return k ? DDP_WEIGHT_BITS : DDP_WEIGHT_DOUBT; /* of another version */
}

static void compare_config(struct ddp_differences *d, const char *path, const json_t *a, const json_t *b);

static void compare_objects(struct ddp_differences *d, const char *path, const json_t *a, const json_t *b)
{
    const char *key;
    json_t *value;
    char at[512];
    json_object_foreach((json_t *)a, key, value) /* NOLINT: only read */
    {
        snprintf(at, sizeof at, "%s%s%s", path, *path ? "." : "", key);
        compare_config(d, at, value, json_object_get(b, key));
    }
    json_object_foreach((json_t *)b, key, value) /* NOLINT: only read */
    {
        snprintf(at, sizeof at, "%s%s%s", path, *path ? "." : "", key);
        if (!json_object_get(a, key))
            compare_config(d, at, NULL, value);
    }
}

/* A list of values is one value; a list of layers is not. */
static bool is_deep(const json_t *a)
{
    return json_is_object(json_array_get(a, 0)) || json_is_array(json_array_get(a, 0));
}

/* Down to the values that differ. */
static void compare_config(struct ddp_differences *d, const char *path, const json_t *a, const json_t *b)
{
    char at[512];
    if (same(a, b) || strlen(path) > 400)
        return;
    if ((!a || json_is_object(a)) && (!b || json_is_object(b))) { /* a group that one of them lacks, too */
        compare_objects(d, path, a, b);
    } else if (is_deep(a) && is_deep(b) && json_array_size(a) == json_array_size(b)) {
        for (size_t i = 0; i < json_array_size(a); i++) {
            snprintf(at, sizeof at, "%s[%zu]", path, i);
            compare_config(d, at, json_array_get(a, i), json_array_get(b, i));
        }
    } else {
        add(d, DDP_SECTION_CONFIG, key_weight(path), path, a, b);
    }
}

/* ---- the record ------------------------------------------------------------------------------ */

static void compare_fact(struct ddp_differences *d, size_t i, const struct ddp_past *a,
                         const struct ddp_past *b)
{
    const size_t n = strlen(facts[i].at);
    const bool all = facts[i].at[n - 1] == '*';
    char at[128];
    snprintf(at, sizeof at, "%.*s", (int)(all ? n - 2 : n), facts[i].at);
    const json_t *x = ddp_past_at(a->record, at), *y = ddp_past_at(b->record, at);
    if (!all) {
        if (!same(x, y))
            add(d, facts[i].section, facts[i].weight, at, x, y);
        return;
    }
    const int before = d->n;
    compare_objects(d, at, json_is_object(x) ? x : NULL, json_is_object(y) ? y : NULL);
    for (int k = before; k < d->n; k++) {
        d->item[k].section = facts[i].section;
        d->item[k].weight = facts[i].weight;
    }
}

static void compare_data(struct ddp_differences *d, const struct ddp_past *a, const struct ddp_past *b)
{
    static const char *const at[2] = {"data[0].sha256", "data[1].sha256"};
    static const char *const names[2] = {"training data", "held-out data"};
    for (int i = 0; i < 2; i++) {
        const json_t *x = ddp_past_at(a->record, at[i]), *y = ddp_past_at(b->record, at[i]);
        if (!same(x, y))
            add(d, DDP_SECTION_DATA, i ? DDP_WEIGHT_EVAL : DDP_WEIGHT_BITS, names[i], x, y);
    }
}

/* A library that only one of them has loaded is no other library. */
static void compare_libraries(struct ddp_differences *d, const struct ddp_past *a, const struct ddp_past *b)
{
    const json_t *ours = ddp_past_at(a->record, "machine.loaded"),
                 *theirs = ddp_past_at(b->record, "machine.loaded");
    const char *name;
    json_t *x;
    json_object_foreach((json_t *)ours, name, x) /* NOLINT: only read */
    {
        const json_t *y = json_object_get(theirs, name);
        const json_t *p = json_object_get(x, "file"), *q = json_object_get(y, "file");
        const bool named = !same(p, q);
        char key[256];
        snprintf(key, sizeof key, "machine.loaded.%s", name);
        if (y && !same(json_object_get(x, "build_id"), json_object_get(y, "build_id")))
            add(d, DDP_SECTION_LIBRARIES, DDP_WEIGHT_DOUBT, key, named ? p : json_object_get(x, "build_id"),
                named ? q : json_object_get(y, "build_id"));
    }
}

/* Keys that a run was forked by are part of what it is, wherever its config begins. */
static void compare_forks(struct ddp_differences *d, const struct ddp_past *a, const struct ddp_past *b)
{
    const struct ddp_past *const run[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        const char *key;
        json_t *pair;
        json_object_foreach(ddp_past_at(run[i]->record, "parent.changed"), key, pair) {
            bool said = false;
            for (int k = 0; k < d->n; k++)
                said = said || strcmp(d->item[k].key, key) == 0;
            const json_t *from = json_object_get(pair, "from"), *to = json_object_get(pair, "to");
            if (!said)
                add(d, DDP_SECTION_CONFIG, key_weight(key), key, i ? from : to, i ? to : from);
        }
    }
}

/* Variables steer libraries of GPUs; on CPUs nothing that computes reads one. */
static void weigh_environment(struct ddp_differences *d, const struct ddp_past *a, const struct ddp_past *b)
{
    const bool gpu =
        json_is_object(ddp_past_at(a->record, "gpu")) || json_is_object(ddp_past_at(b->record, "gpu"));
    for (int i = 0; i < d->n; i++)
        if (strncmp(d->item[i].key, "environment.", 12) == 0 &&
            (!gpu || strncmp(d->item[i].key, "environment.DDP_", 16) == 0))
            d->item[i].weight = DDP_WEIGHT_NONE;
}

/* Where ranks add in an order of their own, results are a function of the ranks as well. */
static void weigh_fast_sums(struct ddp_differences *d, const struct ddp_past *a, const struct ddp_past *b)
{
    static const char *const counts[] = {"ranks", "transport", "hosts", "reduce.bucket_mb"};
    const json_t *x = ddp_past_at(a->config, "reduce.mode"), *y = ddp_past_at(b->config, "reduce.mode");
    const char *mode[2] = {json_string_value(x), json_string_value(y)};
    if (!mode[0] || !mode[1] || (strcmp(mode[0], "fast") != 0 && strcmp(mode[1], "fast") != 0))
        return;
    bool any = false;
    for (int i = 0; i < d->n; i++)
        for (size_t k = 0; k < DDP_COUNT(counts); k++)
            if (strcmp(d->item[i].key, counts[k]) == 0) {
                d->item[i].weight = DDP_WEIGHT_DOUBT;
                any = true;
            }
    if (any && same(x, y))
        add(d, DDP_SECTION_CONFIG, DDP_WEIGHT_BITS, "reduce.mode", x, y);
}

static int by_section(const void *x, const void *y)
{
    const struct ddp_difference *a = x, *b = y;
    return a->section != b->section ? (a->section < b->section ? -1 : 1) : strcmp(a->key, b->key);
}

void ddp_differ(const struct ddp_past *a, const struct ddp_past *b, struct ddp_differences *out)
{
    struct ddp_differences d = {0};
    compare_objects(&d, "", a->config, b->config);
    compare_forks(&d, a, b);
    compare_data(&d, a, b);
    compare_libraries(&d, a, b);
    for (size_t i = 0; i < DDP_COUNT(facts); i++)
        compare_fact(&d, i, a, b);
    weigh_environment(&d, a, b);
    weigh_fast_sums(&d, a, b);
    if (d.n > 1)
        qsort(d.item, (size_t)d.n, sizeof *d.item, by_section);
    *out = d;
}

void ddp_differ_configs(const json_t *a, const json_t *b, struct ddp_differences *out)
{
    *out = (struct ddp_differences){0};
    compare_objects(out, "", a, b);
}

void ddp_differences_finish(struct ddp_differences *d)
{
    for (int i = 0; i < d->n; i++) {
        free(d->item[i].key);
        free(d->item[i].a);
        free(d->item[i].b);
    }
    free(d->item);
    *d = (struct ddp_differences){0};
}
