/* ddp-runs diff: in what two runs differ, side by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ddp-runs.h"
#include "differ.h"

enum { ALL = 1, JSON };

static const struct ddp_option options[] = {
    {"--all", "-a", NULL, ALL, "Whole values, however long; otherwise 44 characters of each."},
    {"--json", NULL, NULL, JSON, "As a JSON object: section, key, a, b."},
    DDP_COMMON_OPTIONS,
    {0},
};
static const char *const usage[] = {"A B [options]", NULL};

const struct ddp_manual ddp_runs_diff_manual = {
    .name = "ddp-runs diff",
    .summary = "show in what two runs differ: config, code, data, libraries, machine, job, result",
    .usage = usage,
    .about = "A mark stands before what can have changed the result: * where results are a function of it, ? "
             "where "
             "they may be. Exit code 1: they differ in something other than names, places and times.",
    .options = options,
};

/* Every two runs differ in these. */
static bool is_own(const struct ddp_difference *d)
{
    static const char *const own[] = {"run.dir",
                                      "run.name",
                                      "command",
                                      "best.path",
                                      "train.samples_per_s",
                                      "train.images_per_s",
                                      "train.wall_s",
                                      "train.time_to_first_step_s",
                                      "train.peak_rss_mb"};
    for (size_t i = 0; i < DDP_COUNT(own); i++)
        if (strcmp(d->key, own[i]) == 0)
            return true;
    return strncmp(d->key, "train.startup_s.", strlen("train.startup_s.")) == 0;
}

static void print_json(const struct ddp_differences *d)
{
    static const char *const weights[] = {"results", "perhaps", "evaluation", "length", "none", "result"};
    json_t *list = json_array();
    for (int i = 0; i < d->n; i++) {
        const struct ddp_difference *x = &d->item[i];
        json_t *o = json_object();
        json_object_set_new(o, "section", json_string(ddp_section_name(x->section)));
        json_object_set_new(o, "key", json_string(x->key));
        json_object_set_new(o, "a", json_string(x->a));
        json_object_set_new(o, "b", json_string(x->b));
        json_object_set_new(o, "affects", json_string(weights[x->weight]));
        json_array_append_new(list, o);
    }
    char *text = json_dumps(list, JSON_INDENT(2));
    puts(text ? text : "[]");
    free(text);
    json_decref(list);
}

static void print_table(const struct ddp_differences *d, const struct ddp_past *a, const struct ddp_past *b,
                        bool all)
{
    struct ddp_grid t;
    ddp_grid_init(&t, 3);
    ddp_grid_add(&t, "");
    ddp_grid_add(&t, a->name);
    ddp_grid_add(&t, b->name);
    enum ddp_section last = DDP_SECTIONS;
    for (int i = 0; i < d->n; i++) {
        const struct ddp_difference *x = &d->item[i];
        if (x->section != last) {
            ddp_grid_add(&t, ddp_section_name(x->section));
            ddp_grid_add(&t, "");
            ddp_grid_add(&t, "");
        }
        last = x->section;
        struct ddp_text key;
        ddp_text_init(&key);
        ddp_text_add(&key, "%s%s",
                     x->weight == DDP_WEIGHT_BITS    ? "* "
                     : x->weight == DDP_WEIGHT_DOUBT ? "? "
                                                     : "  ",
                     x->key);
        ddp_grid_add(&t, key.s);
        ddp_text_finish(&key);
        ddp_grid_take(&t, ddp_strdup(x->a), all ? 0 : 44);
        ddp_grid_take(&t, ddp_strdup(x->b), all ? 0 : 44);
    }
    ddp_grid_finish(&t);
}

int ddp_runs_diff_main(int argc, char **argv)
{
    struct ddp_runs_pair pair;
    struct ddp_differences d;
    bool flags[3] = {false};
    int code;
    if (!ddp_runs_pair_read(argc, argv, &ddp_runs_diff_manual, flags, 3, &pair, &code))
        return code;
    ddp_differ(&pair.a, &pair.b, &d);
    bool differ = false;
    for (int i = 0; i < d.n; i++)
        differ = differ || !is_own(&d.item[i]);
    if (flags[JSON])
        print_json(&d);
    else if (d.n > 0)
        print_table(&d, &pair.a, &pair.b, flags[ALL]);
    ddp_differences_finish(&d);
    ddp_runs_pair_finish(&pair);
    return differ ? DDP_RUNS_DIFFER : DDP_RUNS_SAME;
}
