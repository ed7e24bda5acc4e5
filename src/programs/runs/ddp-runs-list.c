/* ddp-runs list: the runs of a folder as a table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ddp-runs.h"
#include "shelf.h"

enum { SORT = 1, REVERSE, COLUMNS, JSON, MOST_WORDS = 64 };

static const struct ddp_option options[] = {
    {"--sort", "-s", "COLUMN", SORT, "Sort by it, the smallest first; by default by when they began."},
    {"--reverse", "-r", NULL, REVERSE, "The other way round."},
    {"--columns", "-c", "COLUMN[,..]", COLUMNS, "Show these as well: optim.lr,wall_s"},
    {"--json", NULL, NULL, JSON, "As a list of JSON objects."},
    DDP_COMMON_OPTIONS,
    {0},
};

static const char *const usage[] = {"[DIR] [COLUMN=VALUE ...] [options]", NULL};

const struct ddp_manual ddp_runs_list_manual = {
    .name = "ddp-runs list",
    .summary = "list the runs of a folder, sorted and filtered",
    .usage = usage,
    .about =
        "DIR\tthe folder that they lie in; runs, unless it is given\n"
        "COLUMN=VALUE\tonly runs of which it holds; COLUMN!=VALUE: of which it does not. VALUE is a number, "
        "or a pattern (*, ?, [..]): optim.lr=0.1 state=done name='cnn-*'\n"
        "\n"
        "A column is a config key (optim.lr, model.layers[1].out), or one of: name, state, began, legs, "
        "steps, "
        "loss, accuracy, error, best_loss, samples_per_s, wall_s, ranks, threads, hosts, device, version, "
        "weights, config, data, parent, mark.\n"
        "\n"
        "State: done; stopped (it can go on); failed; running; gone (it says that it is running, and its "
        "process is not there); half made; damaged.",
    .options = options,
};

struct request {
    const char *dir, *sort;
    bool reverse, json;
    const char *column[MOST_WORDS];
    int columns;
    struct ddp_shelf_filter filter[MOST_WORDS];
    int filters;
    char *list; /* of --columns, cut at its commas */
};

static int add_column(struct request *r, const char *name, struct ddp_error *err)
{
    for (int i = 0; i < r->columns; i++)
        if (strcmp(r->column[i], name) == 0)
            return 0;
    const int status = ddp_past_column_check(name, err);
    if (status == 0 && r->columns < MOST_WORDS)
        r->column[r->columns++] = name;
    return status;
}

static int add_columns(struct request *r, const char *list, struct ddp_error *err)
{
    int status = 0;
    char *save = NULL;
    free(r->list);
    r->list = ddp_strdup(list);
    for (char *w = strtok_r(r->list, ",", &save); w && status == 0; w = strtok_r(NULL, ",", &save))
        status = add_column(r, w, err);
    return status;
}

static int add_filter(struct request *r, const char *word, struct ddp_error *err)
{
    if (r->filters == MOST_WORDS)
        return ddp_fail(err, DDP_E_USAGE, "more than %d filters", MOST_WORDS);
    struct ddp_shelf_filter *f = &r->filter[r->filters];
    int status = ddp_shelf_filter_parse(word, f, err);
    if (status)
        return status;
    r->filters++;
    return add_column(r, f->column, err);
}

/* *done: an option has answered all. */
static int parse(int argc, char **argv, struct request *r, bool *done, struct ddp_error *err)
{
    static const char *const first[] = {"name",     "state",         "steps", "loss",
                                        "accuracy", "samples_per_s", "ranks", "weights"};
    struct ddp_option_walk walk = {argc, argv, 1, false};
    const char *value;
    int status = 0;
    for (size_t i = 0; i < DDP_COUNT(first); i++)
        r->column[r->columns++] = first[i];
    for (int id = DDP_OPTION_WORD; status == 0 && id != DDP_OPTION_END;) {
        status = ddp_option_next(&walk, &ddp_runs_list_manual, &id, &value, err);
        if (status == 0 && ddp_manual_answer(&ddp_runs_list_manual, id)) {
            *done = true;
            return 0;
        }
        if (status == 0 && id == SORT && (status = ddp_past_column_check(value, err)) == 0)
            r->sort = value;
        r->reverse |= id == REVERSE;
        r->json |= id == JSON;
        if (status == 0 && id == COLUMNS)
            status = add_columns(r, value, err);
        if (status || id != DDP_OPTION_WORD)
            continue;
        if (strchr(value, '=') && !ddp_path_exists(value))
            status = add_filter(r, value, err);
        else if (r->dir)
            status = ddp_fail(err, DDP_E_USAGE, "one folder is listed, '%s' is a second", value);
        else
            r->dir = value;
    }
    return status;
}

static json_t *row(const struct request *r, const struct ddp_past *p)
{
    json_t *o = json_object();
    json_object_set_new(o, "path", json_string(p->path));
    for (int c = 0; c < r->columns; c++)
        json_object_set_new(o, r->column[c], ddp_past_column_value(p, r->column[c]));
    if (*p->fault)
        json_object_set_new(o, "fault", json_string(p->fault));
    return o;
}

static void print_json(const struct request *r, const struct ddp_shelf *s)
{
    json_t *list = json_array();
    for (int i = 0; i < s->n; i++)
        json_array_append_new(list, row(r, &s->run[i]));
    char *text = json_dumps(list, JSON_INDENT(2));
    puts(text ? text : "[]");
    free(text);
    json_decref(list);
}

static void print_table(const struct request *r, const struct ddp_shelf *s)
{
    struct ddp_grid t;
    ddp_grid_init(&t, r->columns);
    for (int c = 0; c < r->columns; c++)
        ddp_grid_add(&t, r->column[c]);
    for (int i = 0; i < s->n; i++)
        for (int c = 0; c < r->columns; c++) {
            json_t *value = ddp_past_column_value(&s->run[i], r->column[c]);
            const bool hash = strcmp(r->column[c], "weights") == 0 || strcmp(r->column[c], "config") == 0 ||
                              strcmp(r->column[c], "data") == 0;
            ddp_grid_take(&t, ddp_past_value_text(value), hash ? 12 : 60);
            json_decref(value);
        }
    ddp_grid_finish(&t);
    for (int i = 0; i < s->n; i++)
        if (*s->run[i].fault)
            ddp_line("%s: %s: %s", s->run[i].name, ddp_past_state_name(s->run[i].state), s->run[i].fault);
}

int ddp_runs_list_main(int argc, char **argv)
{
    struct request r = {0};
    struct ddp_error err = {0};
    struct ddp_shelf shelf;
    bool done = false;
    int status = parse(argc, argv, &r, &done, &err);
    if (status == 0 && !done && (status = ddp_shelf_read(r.dir ? r.dir : "runs", &shelf, &err)) == 0) {
        ddp_shelf_keep(&shelf, r.filter, r.filters);
        if (r.sort || r.reverse)
            ddp_shelf_sort(&shelf, r.sort ? r.sort : "began", r.reverse);
        if (r.json)
            print_json(&r, &shelf);
        else if (shelf.n > 0)
            print_table(&r, &shelf);
        else
            ddp_say("ddp-runs", "%s: no run there%s", r.dir ? r.dir : "runs",
                    r.filters ? " of which all that holds" : "");
        if (shelf.closed > 0)
            ddp_say("ddp-runs", "%s: %d folder%s there cannot be looked into: Permission denied",
                    r.dir ? r.dir : "runs", shelf.closed, ddp_plural(shelf.closed));
        ddp_shelf_finish(&shelf);
    }
    free(r.list);
    return status ? ddp_report("ddp-runs", &err) : 0;
}
