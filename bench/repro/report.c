/* A table of the axes' values by models, one of the models' hashes, one of all cells for other programs. */
#include "bench/repro/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_MODELS = BENCH_COLUMNS - 3 };

/* ---- by axis and model ----------------------------------------------------------------------------- */

/* "31", "30 of 31", "-" */
static const char *count_text(const struct repro_count *n, char buf[32])
{
    const int ran = n->equal + n->differs + n->failed;
    if (ran == 0)
        return "-";
    if (n->equal == ran)
        snprintf(buf, 32, "%d", ran);
    else
        snprintf(buf, 32, "%d of %d", n->equal, ran);
    return buf;
}

/* Two of the axis, the models of the table that take part, and all. */
static int make_columns(const struct repro_matrix *m, struct bench_column *column)
{
    int n = 0;
    column[n++] = (struct bench_column){"axis", "axis", NULL};
    column[n++] = (struct bench_column){"value", "value", NULL};
    for (int i = 0; i < m->references && n < MOST_MODELS; i++) {
        const struct repro_model *model = &m->reference[i].cell.model;
        if (model->config)
            column[n++] = (struct bench_column){model->name, model->name, NULL};
    }
    column[n++] = (struct bench_column){"all", "all", NULL};
    return n;
}

static void add_row(const struct repro_matrix *m, const struct bench_column *column, int n, int axis,
                    int value, struct bench_table *t)
{
    char text[BENCH_COLUMNS][32];
    struct bench_cell cell[BENCH_COLUMNS] = {BENCH_TEXT(axis < 0 ? "cells" : repro_axes[axis].name),
                                             BENCH_TEXT(axis < 0 ? "" : repro_axes[axis].value[value])};
    const struct repro_count all = repro_matrix_count(m, NULL, axis, value);
    if (all.equal + all.differs + all.failed == 0)
        return;
    for (int i = 2; i < n; i++) {
        const struct repro_count count = repro_matrix_count(m, i + 1 < n ? column[i].key : NULL, axis, value);
        cell[i] = BENCH_TEXT(count_text(&count, text[i]));
    }
    bench_row_add(t, cell, n);
}

static void add_axes(const struct repro_matrix *m, const struct bench_column *column, int n,
                     struct bench_report *r)
{
    struct bench_table *t =
        bench_report_table(r, "axes", "Cells that have the bits of their model's reference", column, n);
    add_row(m, column, n, -1, 0, t);
    for (int a = 0; a < REPRO_AXES; a++)
        for (int v = 0; v < repro_axis_values(a); v++)
            add_row(m, column, n, a, v, t);
}

/* ---- by model, by cell ----------------------------------------------------------------------------- */

static const struct bench_column model_columns[] = {{"model", "model", NULL},
                                                    {"weights", "weights of all its cells", NULL},
                                                    {"reference", "reference", NULL}};

static void add_models(const struct repro_matrix *m, struct bench_report *r)
{
    struct bench_table *t = NULL;
    char id[REPRO_ID_SIZE];
    for (int i = 0; i < m->references; i++) {
        const struct repro_task *k = &m->reference[i];
        if (!k->cell.model.config)
            continue;
        if (!t)
            t = bench_report_table(r, "models", NULL, model_columns, DDP_COUNT(model_columns));
        bench_row(t, BENCH_TEXT(k->cell.model.name),
                  BENCH_TEXT(*k->outcome.weights ? k->outcome.weights : "-"),
                  BENCH_TEXT(repro_cell_id(&k->cell, id)));
    }
}

static const struct bench_column cell_columns[] = {{"id", NULL, NULL},
                                                   {"result", NULL, NULL},
                                                   {"weights", NULL, NULL},
                                                   {"seconds", NULL, "%.3f"},
                                                   {"says", NULL, NULL}};

static void add_cells(const struct repro_matrix *m, struct bench_report *r)
{
    struct bench_table *t = bench_report_table(r, "cells", NULL, cell_columns, DDP_COUNT(cell_columns));
    char id[REPRO_ID_SIZE];
    for (int i = 0; i < m->tasks; i++) {
        const struct repro_outcome *o = &m->task[i].outcome;
        bench_row(t, BENCH_TEXT(repro_cell_id(&m->task[i].cell, id)),
                  BENCH_TEXT(repro_result_names[o->result]), BENCH_TEXT(o->weights), BENCH_NUMBER(o->seconds),
                  BENCH_TEXT(o->says ? o->says : ""));
    }
}

/* ---- words ----------------------------------------------------------------------------------------- */

/* Why a cell was skipped; NULL: it was not. */
static const char *skipped_why(const struct repro_outcome *o)
{
    return o->result == REPRO_SKIPPED && o->says ? o->says : NULL;
}

/* Why cells were skipped, each reason once. */
static void note_skipped(const struct repro_matrix *m, struct bench_report *r)
{
    for (int i = 0; i < m->tasks; i++) {
        const char *why = skipped_why(&m->task[i].outcome), *other;
        int before = 0, n = 0;
        for (int k = 0; k < m->tasks && why; k++)
            if ((other = skipped_why(&m->task[k].outcome)) && strcmp(other, why) == 0) {
                before += k < i;
                n++;
            }
        if (why && before == 0)
            bench_note(r, "%d cell%s skipped: %s", n, ddp_plural(n), why);
    }
}

static void add_indented(const char *text, struct ddp_text *out)
{
    for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        ddp_text_add(out, "    %.*s\n", (int)(end - line), line);
    }
}

/* To run one again as it was run here. */
static void add_command(const struct repro_site *site, const char *id, struct ddp_text *out)
{
    ddp_text_add(out, "ddp-bench repro --cell %s", id);
    if (site->program) {
        ddp_text_add(out, " --program ");
        ddp_words_quote(site->program, out);
    }
    for (int i = 0; site->words && site->words[i]; i++) {
        ddp_text_add(out, " ");
        ddp_words_quote(site->words[i], out);
    }
}

static void note_bad(const struct repro_matrix *m, const struct repro_task *t, bool reference,
                     struct bench_report *r)
{
    char id[REPRO_ID_SIZE];
    struct ddp_text text;
    const bool ran = t->outcome.command != NULL; /* or there is no reference: that is noted for itself */
    if (!ran || (t->outcome.result != REPRO_DIFFERS && t->outcome.result != REPRO_FAILED))
        return;
    ddp_text_init(&text);
    repro_cell_id(&t->cell, id);
    ddp_text_add(&text, "%s%s %s; to run it again: ", reference ? "the reference " : "", id,
                 repro_result_names[t->outcome.result]);
    add_command(&m->site, id, &text);
    ddp_text_add(&text, "\n\n");
    add_indented(t->outcome.command, &text);
    if (t->outcome.says)
        add_indented(t->outcome.says, &text);
    if (!t->cell.model.config) {
        char *config = repro_model_config(&t->cell.model);
        add_indented("with this config:", &text);
        add_indented(config, &text);
        free(config);
    }
    bench_note(r, "%s", text.s);
    ddp_text_finish(&text);
}

static void note_controls(const struct repro_matrix *m, struct bench_report *r)
{
    char id[REPRO_ID_SIZE];
    for (int i = 0; i < m->controls; i++) {
        const struct repro_outcome *o = &m->control[i].outcome;
        repro_cell_id(&m->control[i].cell, id);
        if (o->result == REPRO_DIFFERS)
            bench_note(r, "Control: with reduce.mode=fast %s differs, as it must.", id);
        else if (o->result == REPRO_SKIPPED)
            bench_note(r, "Control: %s was skipped: %s", id, o->says);
        else
            bench_note(r, "Control: with reduce.mode=fast %s must differ, and %s: differences are not found.",
                       id, o->result == REPRO_EQUAL ? "is equal" : o->says);
    }
}

static void add_sum(const struct repro_matrix *m, struct bench_report *r)
{
    const struct repro_count n = repro_matrix_count(m, NULL, -1, 0);
    const time_t now = time(NULL);
    struct tm tm;
    char date[32], text[160];
    int k = snprintf(text, sizeof text, "%d of %d cells equal", n.equal, n.equal + n.differs + n.failed);
    if (n.differs)
        k += snprintf(text + k, sizeof text - (size_t)k, ", %d different", n.differs);
    if (n.failed)
        k += snprintf(text + k, sizeof text - (size_t)k, ", %d failed", n.failed);
    if (n.skipped)
        snprintf(text + k, sizeof text - (size_t)k, ", %d skipped", n.skipped);
    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%Y-%m-%d", &tm);
    bench_fact_text(r, "date", date, "date");
    bench_fact_text(r, "result", text, "result");
    bench_fact_number(r, "equal", n.equal, NULL, "%.0f");
    bench_fact_number(r, "differs", n.differs, NULL, "%.0f");
    bench_fact_number(r, "failed", n.failed, NULL, "%.0f");
    bench_fact_number(r, "skipped", n.skipped, NULL, "%.0f");
}

void repro_report_fill(const struct repro_matrix *m, struct bench_report *r, struct repro_kept *kept)
{
    kept->column = ddp_calloc(BENCH_COLUMNS, sizeof *kept->column);
    const int n = make_columns(m, kept->column);
    add_sum(m, r);
    add_axes(m, kept->column, n, r);
    add_models(m, r);
    add_cells(m, r);
    note_skipped(m, r);
    note_controls(m, r);
    for (int i = 0; i < m->references; i++)
        note_bad(m, &m->reference[i], true, r);
    for (int i = 0; i < m->tasks; i++)
        note_bad(m, &m->task[i], false, r);
}

void repro_kept_finish(struct repro_kept *kept)
{
    free(kept->column);
}
