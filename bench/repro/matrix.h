/* All cells that are asked for, several at once, each held against its model's reference. */
#ifndef DDP_BENCH_REPRO_MATRIX_H
#define DDP_BENCH_REPRO_MATRIX_H

#include "bench/repro/cover.h"
#include "bench/repro/run.h"

struct repro_task {
    struct repro_cell cell;
    int reference; /* index in reference[] */
    struct repro_outcome outcome;
};

struct repro_matrix {
    struct repro_site site;
    const char *folder; /* in which a folder is made for each cell */
    int jobs;           /* cells at once */
    bool keep;          /* folders of all cells stay; else only those of references, until the end */
    bool loud; /* a line on standard error for each cell that is not equal, and now and then how far it is */
    struct repro_task *reference, *task, *control;
    int references, tasks, controls;
};

/* Adds the cell, and the reference of its model where it is the first. */
void repro_matrix_add(struct repro_matrix *m, const struct repro_cell *c);
/* Adds what must differ, so that it shows that differences are found: the model on three ranks, summed in the
 * transport's own order. */
void repro_matrix_add_control(struct repro_matrix *m, const struct repro_model *model);
void repro_matrix_finish(struct repro_matrix *m);
/* Runs everything. A reference that fails fails its cells. Stops early when the process is asked to
 * (base/stop.h): what was not run is skipped. */
void repro_matrix_run(struct repro_matrix *m);

struct repro_count {
    int equal, differs, failed, skipped;
};
/* model NULL, axis -1: all. References and controls do not count. */
struct repro_count repro_matrix_count(const struct repro_matrix *m, const char *model, int axis,
                                      int value); /* Controls that did not differ, and were not skipped. */
int repro_matrix_blind(const struct repro_matrix *m);

#endif
