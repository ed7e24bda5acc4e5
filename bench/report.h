/* What every subcommand of ddp-bench reports, and how: where it was measured, how far the numbers can be
 * trusted, tables of rows and columns, and the same as a file.
 *
 *   bench_report_create -> bench_report_begin               the machine; its load is watched from here
 *     -> bench_fact_*, bench_report_table, bench_row, ..    what was found
 *     -> bench_report_clock                                 between repetitions: is the frequency the same?
 *     -> bench_report_finish                                text on standard output, and the files asked for
 *     -> bench_report_destroy
 *
 * A JSON file is one object: the facts by their keys, the tables by theirs (arrays of rows by the columns'
 * keys), and beside them "command", "machine", "code", "load" and "warnings". CSV, and the plot, have the
 * first table. Numbers that are not finite are null, empty, or "-". */
#ifndef DDP_BENCH_REPORT_H
#define DDP_BENCH_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/base.h"

struct bench_report;
struct bench_table;

/* ---- where it goes ---- */

struct bench_outputs { /* borrowed; NULL: not asked for; "-": standard output, in place of the text */
    const char *json, *csv, *svg, *md;
};

/* Options that every subcommand has, and their ids, above a subcommand's own. */
enum { BENCH_JSON = 9001, BENCH_CSV, BENCH_SVG, BENCH_MD };
#define BENCH_REPORT_OPTIONS                                                                                 \
    {"--json", NULL, "F", BENCH_JSON, "Write all of the report to F as JSON (-: to standard output)."},      \
        {"--csv", NULL, "F", BENCH_CSV, "Its first table as CSV."},                                          \
        {"--svg", NULL, "F", BENCH_SVG, "Its plot."},                                                        \
    {                                                                                                        \
        "--md", NULL, "F", BENCH_MD, "All of it as a page of Markdown."                                      \
    }
/* False: id is none of them. */
bool bench_outputs_take(struct bench_outputs *o, int id, const char *value);

/* Read a subcommand's command line: --help and the like are answered, outputs are taken, and take() gets each
 * other option and word (a negative return is an error, which is said). Returns the exit status, or -1: go
 * on. */
typedef int bench_take(void *options, int id, const char *value, struct ddp_error *err);
int bench_options_read(int argc, char **argv, const struct ddp_manual *manual, struct bench_outputs *outputs,
                       bench_take *take, void *options);

/* ---- the report ---- */

/* name: "ddp-bench ops". argv: the command as it was given, borrowed as outputs are. */
struct bench_report *bench_report_create(const char *name, int argc, char **argv,
                                         const struct bench_outputs *outputs);
void bench_report_destroy(struct bench_report *r); /* NULL is fine */

/* Looks at the machine and begins to watch it: some milliseconds. DDP_E_IO: a file that was asked for cannot
 * be made. */
int bench_report_begin(struct bench_report *r, struct ddp_error *err);
/* Where threads and ranks ran, as text of one or more lines; without it: the CPUs that we may use. */
void bench_report_pinning(struct bench_report *r, const char *text);
/* What was measured beside ours, "OpenBLAS 0.3.21": it stands with the versions, and as "beside" in JSON. */
void bench_report_beside(struct bench_report *r, const char *version);
/* What is found does not depend on time: no warnings of load and clock. */
void bench_report_untimed(struct bench_report *r);
/* A probe of the clock's frequency, 2 ms on the CPU it runs on; begin and finish make one, too. */
void bench_report_clock(struct bench_report *r);
/* Why numbers cannot be trusted; it stands behind the tables and in every file. */
void bench_warn(struct bench_report *r, const char *fmt, ...) DDP_PRINTF(2, 3);
/* The spread of `what`, as a part of it (0.1: 10 %), against what makes it untrustworthy. */
void bench_warn_spread(struct bench_report *r, const char *what, double spread, double most);
/* A remark in text and Markdown, behind the tables. */
void bench_note(struct bench_report *r, const char *fmt, ...) DDP_PRINTF(2, 3);

/* A number or text that is none of a table: "key" of the JSON file, and a line "TITLE: VALUE" where title is
 * not NULL. format: of the number as text, "%.1f ms". */
void bench_fact_number(struct bench_report *r, const char *key, double value, const char *title,
                       const char *format);
void bench_fact_text(struct bench_report *r, const char *key, const char *value, const char *title);

/* ---- tables ---- */

struct bench_column {
    const char *key;    /* in JSON and CSV: "step_ms" */
    const char *title;  /* for people: "ms"; NULL: only in JSON and CSV, as a table of such alone */
    const char *format; /* of numbers, "%.2f"; NULL: it is text */
};

/* columns: [n], borrowed until destroy, n <= BENCH_COLUMNS. title: a line above it, or NULL. Owned by r. */
enum { BENCH_COLUMNS = 32 };
struct bench_table *bench_report_table(struct bench_report *r, const char *key, const char *title,
                                       const struct bench_column *columns, int n);

struct bench_cell {
    const char *text; /* copied */
    double number;
};
#define BENCH_TEXT(s)   ((struct bench_cell){.text = (s)})
#define BENCH_NUMBER(v) ((struct bench_cell){.number = (double)(v)})
/* A row of as many cells as there are columns. */
void bench_row_add(struct bench_table *t, const struct bench_cell *cells, int n);
#define bench_row(t, ...)                                                                                    \
    bench_row_add((t), (const struct bench_cell[]){__VA_ARGS__},                                             \
                  (int)(sizeof((const struct bench_cell[]){__VA_ARGS__}) / sizeof(struct bench_cell)))

/* ---- the plot ---- */

enum bench_plot_kind {
    BENCH_LINES, /* y over x, a line for each value of `series` */
    BENCH_BARS,  /* for each row a bar of the columns `parts`, stacked */
};
struct bench_plot {
    enum bench_plot_kind kind;
    const char *title, *x_title, *y_title;
    const char *x; /* column: numbers for lines, names of bars */
    const char *y; /* lines: column; with low and high, of its error bars, or NULL */
    const char *low, *high;
    const char *series; /* lines: column of text; NULL: one line */
    const char *ideal;  /* lines: column of a dashed line beside them; NULL: none */
    bool log_x, log_y;
    const char *parts[BENCH_COLUMNS]; /* bars: columns, from below; ends with NULL */
};
/* Of this table; strings are borrowed until destroy. The last one counts. */
void bench_report_plot(struct bench_report *r, const struct bench_table *t, const struct bench_plot *p);

/* Ends the watch, prints the text, writes the files. */
int bench_report_finish(struct bench_report *r, struct ddp_error *err);

#endif
