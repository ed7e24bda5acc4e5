/* What a report is made of. Private to bench/report. */
#ifndef DDP_BENCH_REPORT_PRIVATE_H
#define DDP_BENCH_REPORT_PRIVATE_H

#include <jansson.h>

#include "bench/report.h"

struct bench_fact {
    char *key, *title, *text; /* text: as people read it; title NULL: they do not */
    const char *format;       /* NULL: it is text */
    double number;
};

struct bench_table {
    char *key, *title;
    const struct bench_column *column;
    int ncolumns, nrows, room;
    struct bench_cell *cell; /* [nrows][ncolumns], texts owned */
};

/* load.c: what else was going on, from begin to end. */
struct bench_load {
    double wall_s;
    int cpus;             /* that this process may use */
    double own_cpus;      /* CPU seconds a second: of this process and the children that are gone */
    double other_cpus;    /* of all others on those CPUs */
    double steal_percent; /* of those CPUs' time, taken by the host of a virtual machine */
    double
        pressure_percent; /* of the time in which something waited for a CPU; nan: the system does not tell */
    double before, after; /* load average of a minute */
};
struct bench_load_mark {
    double now, own, busy, steal, all, pressure, average; /* seconds */
};
void bench_load_mark(struct bench_load_mark *m);
void bench_load_between(const struct bench_load_mark *from, const struct bench_load_mark *to,
                        struct bench_load *out);
/* The CPU times of `cpus` CPUs that allowed(cpu) names, from the text of /proc/stat: seconds. */
void bench_load_parse(const char *stat, bool (*allowed)(int cpu), double tick, double *busy, double *steal,
                      double *all);
/* The microseconds behind "some .. total=" as seconds; nan: it is not there. */
double bench_load_pressure(const char *text);

/* machine.c: JSON {"code": .., "machine": ..}, both of run.json's form and what a benchmark adds. */
int bench_machine_look(json_t **machine, json_t **code, struct ddp_error *err);

enum { BENCH_CLOCKS = 4096 };

struct bench_report {
    const char *name;
    struct bench_outputs outputs;
    json_t *command, *machine, *code;
    char *pinning; /* NULL: not said */
    char *beside;  /* NULL: nothing */
    bool untimed;
    struct bench_load_mark began;
    struct bench_load load;
    double clock[BENCH_CLOCKS]; /* probes in GHz */
    int nclocks;

    int nfacts, ntables, nwarnings, nnotes;
    struct bench_fact *fact;
    struct bench_table **table;
    char **warning, **note;
    struct bench_plot plot;
    const struct bench_table *plotted; /* NULL: nothing */
};

/* A cell as people read it; buf [32] or the text itself. */
const char *bench_cell_text(const struct bench_column *c, const struct bench_cell *cell, char *buf);
int bench_table_column(const struct bench_table *t, const char *key);        /* -1: none */
bool bench_table_is_plain(const struct bench_table *t, int row, int column); /* a finite number */

/* clock.c: GHz of this CPU now, as far as a chain of dependent additions tells. */
double bench_clock_probe(void);

/* Writers: into text. */
void bench_write_text(const struct bench_report *r, struct ddp_text *out);
void bench_write_md(const struct bench_report *r, struct ddp_text *out);
void bench_write_csv(const struct bench_report *r, struct ddp_text *out);
void bench_write_svg(const struct bench_report *r, struct ddp_text *out);
int bench_write_json(const struct bench_report *r, struct ddp_text *out, struct ddp_error *err);
/* Lines "TITLE: VALUE" of machine, pinning and load, each told to `line`. */
void bench_write_where(const struct bench_report *r, struct ddp_text *out,
                       void (*line)(struct ddp_text *out, const char *title, const char *text));

#endif
