/* A report for programs: JSON, and its first table as CSV. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/private.h"

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

/* Whole numbers stay whole. */
static json_t *cell_value(const struct bench_cell *c)
{
    if (c->text)
        return json_string(c->text);
    return c->number == floor(c->number) && fabs(c->number) < 9e15 ? json_integer((json_int_t)c->number)
                                                                   : number(c->number);
}

static json_t *table_rows(const struct bench_table *t)
{
    json_t *rows = json_array();
    for (int row = 0; row < t->nrows; row++) {
        json_t *o = json_object();
        for (int i = 0; i < t->ncolumns; i++)
            json_object_set_new(o, t->column[i].key, cell_value(&t->cell[row * t->ncolumns + i]));
        json_array_append_new(rows, o);
    }
    return rows;
}

static json_t *load(const struct bench_report *r)
{
    const struct bench_load *l = &r->load;
    json_t *o = json_object(), *clocks = json_array();
    json_object_set_new(o, "wall_s", number(l->wall_s));
    json_object_set_new(o, "cpus", json_integer(l->cpus));
    json_object_set_new(o, "own_cpus", number(l->own_cpus));
    json_object_set_new(o, "other_cpus", number(l->other_cpus));
    json_object_set_new(o, "steal_percent", number(l->steal_percent));
    json_object_set_new(o, "pressure_percent", number(l->pressure_percent));
    json_object_set_new(o, "average_before", number(l->before));
    json_object_set_new(o, "average_after", number(l->after));
    for (int i = 0; i < r->nclocks; i++)
        json_array_append_new(clocks, number(r->clock[i]));
    json_object_set_new(o, "clock_ghz", clocks);
    return o;
}

static json_t *strings(char *const *list, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, json_string(list[i]));
    return a;
}

int bench_write_json(const struct bench_report *r, struct ddp_text *out, struct ddp_error *err)
{
    json_t *o = json_object();
    json_object_set_new(o, "report", json_string(r->name));
    for (int i = 0; i < r->nfacts; i++) {
        const struct bench_fact *f = &r->fact[i];
        json_object_set_new(o, f->key,
                            f->format ? cell_value(&BENCH_NUMBER(f->number)) : json_string(f->text));
    }
    for (int i = 0; i < r->ntables; i++)
        json_object_set_new(o, r->table[i]->key, table_rows(r->table[i]));
    json_object_set(o, "command", r->command);
    json_object_set(o, "machine", r->machine);
    json_object_set(o, "code", r->code);
    json_object_set_new(o, "beside", r->beside ? json_string(r->beside) : json_null());
    json_object_set_new(o, "pinning", r->pinning ? json_string(r->pinning) : json_null());
    json_object_set_new(o, "load", load(r));
    json_object_set_new(o, "notes", strings(r->note, r->nnotes));
    json_object_set_new(o, "warnings", strings(r->warning, r->nwarnings));
    char *text = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(o);
    if (!text)
        return ddp_fail(err, DDP_E_INTERNAL,
                        "the report cannot be written as JSON (a text that is not UTF-8?)");
    ddp_text_add(out, "%s\n", text);
    free(text);
    return 0;
}

/* RFC 4180: quoted where it must be. */
static void csv_text(struct ddp_text *out, const char *s)
{
    if (!strpbrk(s, ",\"\n")) {
        ddp_text_add(out, "%s", s);
        return;
    }
    ddp_text_add(out, "\"");
    for (; *s; s++)
        ddp_text_add(out, *s == '"' ? "\"%c" : "%c", *s);
    ddp_text_add(out, "\"");
}

void bench_write_csv(const struct bench_report *r, struct ddp_text *out)
{
    const struct bench_table *t = r->ntables > 0 ? r->table[0] : NULL;
    for (int row = -1; t && row < t->nrows; row++) {
        for (int i = 0; i < t->ncolumns; i++) {
            const struct bench_cell *c = row < 0 ? NULL : &t->cell[row * t->ncolumns + i];
            ddp_text_add(out, "%s", i ? "," : "");
            if (!c)
                csv_text(out, t->column[i].key);
            else if (c->text)
                csv_text(out, c->text);
            else if (isfinite(c->number))
                ddp_text_add(out, "%.9g", c->number);
        }
        ddp_text_add(out, "\n");
    }
}
