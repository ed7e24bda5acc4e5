/* Facts, tables and remarks of a report: what is added, and how a cell reads. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/private.h"

static void *grown(void *list, int n, size_t size)
{
    return n & (n - 1) ? list : ddp_realloc(list, (size_t)(n ? 2 * n : 1) * size); /* at powers of two */
}

static struct bench_fact *add_fact(struct bench_report *r, const char *key, const char *title)
{
    r->fact = grown(r->fact, r->nfacts, sizeof *r->fact);
    struct bench_fact *f = &r->fact[r->nfacts++];
    *f = (struct bench_fact){.key = ddp_strdup(key), .title = title ? ddp_strdup(title) : NULL};
    return f;
}

void bench_fact_number(struct bench_report *r, const char *key, double value, const char *title,
                       const char *format)
{
    struct bench_fact *f = add_fact(r, key, title);
    char text[96] = "-";
    f->format = format;
    f->number = value;
    if (isfinite(value) && title)
        snprintf(text, sizeof text, format, value); /* NOLINT: the caller's, as printf's */
    f->text = ddp_strdup(text);
}

void bench_fact_text(struct bench_report *r, const char *key, const char *value, const char *title)
{
    add_fact(r, key, title)->text = ddp_strdup(value);
}

static char *worded(const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    char *text = ddp_malloc((size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

void bench_warn(struct bench_report *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    r->warning = grown(r->warning, r->nwarnings, sizeof *r->warning);
    r->warning[r->nwarnings++] = worded(fmt, args);
    va_end(args);
}

void bench_note(struct bench_report *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    r->note = grown(r->note, r->nnotes, sizeof *r->note);
    r->note[r->nnotes++] = worded(fmt, args);
    va_end(args);
}

void bench_warn_spread(struct bench_report *r, const char *what, double spread, double most)
{
    if (spread > most)
        bench_warn(r,
                   "%s: repetitions differ by %.0f %%, more than %.0f %%: measure on a quieter machine, or "
                   "more often",
                   what, 100 * spread, 100 * most);
}

struct bench_table *bench_report_table(struct bench_report *r, const char *key, const char *title,
                                       const struct bench_column *columns, int n)
{
    struct bench_table *t = ddp_calloc(1, sizeof *t);
    *t = (struct bench_table){.key = ddp_strdup(key),
                              .title = title ? ddp_strdup(title) : NULL,
                              .column = columns,
                              .ncolumns = n < BENCH_COLUMNS ? n : BENCH_COLUMNS};
    r->table = grown(r->table, r->ntables, sizeof *r->table); /* NOLINT: of pointers */
    return r->table[r->ntables++] = t;
}

void bench_row_add(struct bench_table *t, const struct bench_cell *cells, int n)
{
    const size_t columns = (size_t)t->ncolumns;
    t->cell = ddp_realloc(t->cell, (size_t)(t->nrows + 1) * columns * sizeof *t->cell);
    struct bench_cell *row = t->cell + (size_t)t->nrows++ * columns;
    for (int i = 0; i < t->ncolumns; i++) {
        row[i] = i < n ? cells[i] : (struct bench_cell){.number = NAN};
        row[i].text = row[i].text ? ddp_strdup(row[i].text) : NULL;
    }
}

void bench_report_plot(struct bench_report *r, const struct bench_table *t, const struct bench_plot *p)
{
    r->plot = *p;
    r->plotted = t;
}

const char *bench_cell_text(const struct bench_column *c, const struct bench_cell *cell, char *buf)
{
    if (cell->text)
        return cell->text;
    if (!c->format || !isfinite(cell->number))
        return "-";
    snprintf(buf, 32, c->format, cell->number); /* NOLINT: a column's own */
    return buf;
}

int bench_table_column(const struct bench_table *t, const char *key)
{
    for (int i = 0; key && i < t->ncolumns; i++)
        if (strcmp(t->column[i].key, key) == 0)
            return i;
    return -1;
}

bool bench_table_is_plain(const struct bench_table *t, int row, int column)
{
    const struct bench_cell *c = &t->cell[row * t->ncolumns + column];
    return !c->text && isfinite(c->number);
}
