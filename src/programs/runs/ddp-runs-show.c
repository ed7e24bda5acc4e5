/* ddp-runs show: what a run's directory tells of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ddp-runs.h"

static const struct ddp_option options[] = {DDP_COMMON_OPTIONS, {0}};
static const char *const usage[] = {"RUN ...", NULL};

const struct ddp_manual ddp_runs_show_manual = {
    .name = "ddp-runs show",
    .summary = "show what was run, where, from what, and what came of it",
    .usage = usage,
    .about = "All of it is in RUN/run.json, which other programs can read (docs/run.md).",
    .options = options,
};

static void add_row(struct ddp_grid *t, const char *what, const json_t *value)
{
    if (!value || json_is_null(value))
        return;
    ddp_grid_add(t, what);
    ddp_grid_take(t, ddp_past_value_text(value), 0);
}

/* "name version, name version" of an object of texts, or the texts of a list; malloc'd. */
static char *joined(const json_t *o, const char *between)
{
    struct ddp_text t;
    const char *key;
    json_t *value;
    size_t i;
    ddp_text_init(&t);
    json_object_foreach((json_t *)o, key, value) /* NOLINT: only read */
    {
        char *s = ddp_past_value_text(value);
        ddp_text_add(&t, "%s%s %s", t.len ? between : "", key, s);
        free(s);
    }
    json_array_foreach(o, i, value) {
        char *s = ddp_past_value_text(value);
        ddp_text_add(&t, "%s%s", t.len ? between : "", s);
        free(s);
    }
    char *all = ddp_strdup(t.s);
    ddp_text_finish(&t);
    return all;
}

static void add_joined(struct ddp_grid *t, const char *what, const json_t *o, const char *between)
{
    char *s = joined(o, between);
    if (*s) {
        ddp_grid_add(t, what);
        ddp_grid_take(t, s, 0);
    } else {
        free(s);
    }
}

/* In the order of the page. */
static const struct {
    const char *what, *at;
} facts[] = {
    {"error", "error"},
    {"weights", "weights_hash"},
    {"loss", "eval.loss"},
    {"accuracy", "eval.accuracy"},
    {"mean absolute error", "eval.mean_absolute_error"},
    {"best held-out loss", "best.loss"},
    {"  its checkpoint", "best.path"},
    {"epochs", "train.epochs"},
    {"samples/s", "train.samples_per_s"},
    {"seconds", "train.wall_s"},
    {"parameters", "parameters"},
    {"config", "config_hash"},
    {"seed", "seed"},
    {"code", "code.version"},
    {"  changed since", "code.dirty"},
    {"  program", "code.binary_sha256"},
    {"system", "machine.system"},
    {"  release", "machine.release"},
    {"  processor", "machine.cpu"},
    {"  kernels for", "machine.isa"},
    {"device", "device"},
    {"GPU", "gpu.name"},
    {"ranks", "ranks"},
    {"threads of each", "threads"},
    {"shards", "shards"},
    {"transport", "transport"},
    {"network", "network"},
    {"forked from", "parent.checkpoint"},
    {"  because of", "parent.reason"},
};

static void show_facts(const struct ddp_past *p)
{
    struct ddp_grid t;
    ddp_grid_init(&t, 2);
    ddp_grid_add(&t, "state");
    ddp_grid_add(&t, ddp_past_state_name(p->state));
    if (*p->fault) {
        ddp_grid_add(&t, "fault");
        ddp_grid_add(&t, p->fault);
    }
    json_t *steps = ddp_past_column_value(p, "steps");
    add_row(&t, "steps", steps);
    json_decref(steps);
    if (json_is_null(ddp_past_at(p->record, "eval"))) { /* it ended before there was one */
        ddp_grid_add(&t, "loss");
        ddp_grid_add(&t, "-");
    }
    for (size_t i = 0; i < DDP_COUNT(facts); i++)
        add_row(&t, facts[i].what, ddp_past_at(p->record, facts[i].at));
    add_joined(&t, "command", ddp_past_at(p->record, "command"), " ");
    add_joined(&t, "hosts", ddp_past_at(p->record, "hosts"), ", ");
    add_joined(&t, "libraries", ddp_past_at(p->record, "machine.libraries"), ", ");
    add_joined(&t, "environment", ddp_past_at(p->record, "environment"), ", ");
    json_t *data;
    size_t i;
    json_array_foreach(ddp_past_at(p->record, "data"), i, data) {
        struct ddp_text line;
        ddp_text_init(&line);
        const char *name = json_string_value(json_object_get(data, "name")),
                   *hash = json_string_value(json_object_get(data, "sha256"));
        ddp_text_add(&line, "%s %s", name ? name : "?", hash ? hash : "?");
        ddp_grid_add(&t, "data");
        ddp_grid_add(&t, line.s);
        ddp_text_finish(&line);
    }
    ddp_grid_finish(&t);
}

/* One line for each time that it was started. */
static void show_legs(const struct ddp_past *p)
{
    static const char *const parts[] = {"began", "status",  "from_step", "steps",
                                        "ranks", "threads", "host",      "code"};
    const json_t *legs = ddp_past_at(p->record, "legs");
    json_t *leg;
    size_t i;
    struct ddp_grid t;
    if (json_array_size(legs) == 0)
        return;
    ddp_grid_init(&t, (int)DDP_COUNT(parts) + 1);
    ddp_grid_add(&t, "leg");
    for (size_t k = 0; k < DDP_COUNT(parts); k++)
        ddp_grid_add(&t, parts[k]);
    json_array_foreach(legs, i, leg) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i + 1);
        ddp_grid_add(&t, number);
        for (size_t k = 0; k < DDP_COUNT(parts); k++)
            ddp_grid_take(&t, ddp_past_value_text(json_object_get(leg, parts[k])), 40);
    }
    puts("");
    ddp_grid_finish(&t);
}

int ddp_runs_show_main(int argc, char **argv)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    int worst = 0, shown = 0, id;
    const char *value;
    for (;;) {
        if (ddp_option_next(&walk, &ddp_runs_show_manual, &id, &value, &err) != 0)
            return ddp_report("ddp-runs", &err);
        if (ddp_manual_answer(&ddp_runs_show_manual, id))
            return 0;
        if (id == DDP_OPTION_END)
            break;
        struct ddp_past p;
        if (ddp_past_read(value, &p, &err) != 0) {
            worst = ddp_report("ddp-runs", &err);
            shown++;
            continue;
        }
        ddp_line("%s%s", shown++ ? "\n" : "", p.path);
        show_facts(&p);
        show_legs(&p);
        if (p.state >= DDP_PAST_HALF)
            worst = DDP_EXIT_RESOURCE;
        ddp_past_finish(&p);
    }
    return shown ? worst : ddp_usage(&ddp_runs_show_manual, "%s", "a run is wanted");
}
