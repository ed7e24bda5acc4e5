/* What a table of runs can show, sort and filter by. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "past.h"

const struct ddp_past_column ddp_past_columns[] = {
    {"name", "the folder's name"},
    {"state", "done, stopped, failed, running, gone, half made or damaged"},
    {"began", "when its first leg began, UTC"},
    {"legs", "how often it was started or resumed"},
    {"steps", "steps done"},
    {"loss", "of the last evaluation"},
    {"accuracy", "of the last evaluation"},
    {"error", "of the last evaluation, with real targets"},
    {"best_loss", "the lowest held-out loss"},
    {"samples_per_s", "of training"},
    {"wall_s", "seconds of training"},
    {"ranks", "of the last leg"},
    {"threads", "of each rank"},
    {"hosts", "how many"},
    {"device", "cpu or cuda"},
    {"version", "of the program"},
    {"weights", "hash of the final weights"},
    {"config", "hash of the keys that change results"},
    {"data", "hash of the training data"},
    {"parent", "the run that it forked from"},
    {"mark", "whether gc leaves it"},
    {NULL, NULL},
};

/* Columns that stand somewhere in the record. */
static const struct {
    const char *name, *at;
} places[] = {
    {"began", "legs[0].began"},    {"loss", "eval.loss"},
    {"accuracy", "eval.accuracy"}, {"error", "eval.mean_absolute_error"},
    {"best_loss", "best.loss"},    {"samples_per_s", "train.samples_per_s"},
    {"wall_s", "train.wall_s"},    {"ranks", "ranks"},
    {"threads", "threads"},        {"device", "device"},
    {"version", "code.version"},   {"weights", "weights_hash"},
    {"config", "config_hash"},     {"data", "data[0].sha256"},
    {"parent", "parent.run"},
};

static bool is_key(const char *name)
{
    const size_t n = strcspn(name, "[");
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++)
        if (strncmp(k->name, name, n) == 0 && k->name[n] == '\0')
            return true;
    return false;
}

int ddp_past_column_check(const char *name, struct ddp_error *err)
{
    const char *nearest = ddp_past_columns[0].name;
    int least = 1000;
    for (const struct ddp_past_column *c = ddp_past_columns; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return 0;
        const int d = ddp_edit_distance(name, c->name);
        nearest = d < least ? c->name : nearest;
        least = d < least ? d : least;
    }
    if (is_key(name))
        return 0;
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++) {
        const int d = ddp_edit_distance(name, k->name);
        nearest = d < least ? k->name : nearest;
        least = d < least ? d : least;
    }
    return ddp_fail(
        err, DDP_E_USAGE,
        "there is no column and no config key '%s'; the nearest is '%s' (ddp-runs list --help has "
        "the columns, ddp-launch --help-config the keys)",
        name, nearest);
}

static json_t *or_null(json_t *value)
{
    return value ? value : json_null();
}

json_t *ddp_past_column_value(const struct ddp_past *p, const char *name)
{
    if (strcmp(name, "name") == 0)
        return or_null(json_string(p->name));
    if (strcmp(name, "state") == 0)
        return json_string(ddp_past_state_name(p->state));
    if (strcmp(name, "mark") == 0)
        return json_boolean(ddp_past_is_marked(p));
    if (strcmp(name, "legs") == 0)
        return json_integer((json_int_t)json_array_size(ddp_past_at(p->record, "legs")));
    if (strcmp(name, "hosts") == 0)
        return json_integer((json_int_t)json_array_size(ddp_past_at(p->record, "hosts")));
    if (strcmp(name, "steps") == 0) {
        const int64_t steps = ddp_past_steps(p);
        return steps < 0 ? json_null() : json_integer(steps);
    }
    for (size_t i = 0; i < DDP_COUNT(places); i++)
        if (strcmp(places[i].name, name) == 0)
            return or_null(json_incref(ddp_past_at(p->record, places[i].at)));
    return or_null(json_incref(ddp_past_at(p->config, name)));
}

char *ddp_past_value_text(const json_t *value)
{
    char buf[64];
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_STRING:
        return ddp_strdup(json_string_value(value));
    case JSON_INTEGER:
        snprintf(buf, sizeof buf, "%lld", (long long)json_integer_value(value));
        return ddp_strdup(buf);
    case JSON_REAL:
        snprintf(buf, sizeof buf, "%.7g", json_real_value(value));
        return ddp_strdup(buf);
    case JSON_TRUE:
        return ddp_strdup("yes");
    case JSON_FALSE:
        return ddp_strdup("no");
    case JSON_NULL:
        return ddp_strdup("-");
    default: {
        char *s = json_dumps(value, JSON_COMPACT), *own = ddp_strdup(s ? s : "-");
        free(s);
        return own;
    }
    }
}

int ddp_past_value_order(const json_t *a, const json_t *b)
{
    const bool na = json_is_number(a), nb = json_is_number(b);
    const bool none_a = !a || json_is_null(a), none_b = !b || json_is_null(b);
    if (none_a || none_b)
        return (int)none_a - (int)none_b;
    if (na && nb) {
        const double x = json_number_value(a), y = json_number_value(b);
        return x < y ? -1 : x > y;
    }
    if (na != nb)
        return na ? -1 : 1;
    char *s = ddp_past_value_text(a), *t = ddp_past_value_text(b);
    const int order = strcmp(s, t);
    free(s);
    free(t);
    return order;
}
