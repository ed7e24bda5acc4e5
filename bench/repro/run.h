/* One cell, from its first command to its bits. */
#ifndef DDP_BENCH_REPRO_RUN_H
#define DDP_BENCH_REPRO_RUN_H

#include "bench/repro/legs.h"

enum repro_result { REPRO_EQUAL, REPRO_DIFFERS, REPRO_FAILED, REPRO_SKIPPED };
extern const char *const repro_result_names[]; /* "equal", "differs", .. */

struct repro_outcome {
    enum repro_result result;
    char weights[65];
    char run[1024]; /* its run directory, as long as the folder is kept */
    char *command;  /* a line for each leg; NULL: skipped */
    char *says;     /* why it failed or was skipped; where it parts, in the words of ddp-runs verify; NULL */
    double seconds;
};
void repro_outcome_finish(struct repro_outcome *o);

/* Why this machine cannot run such a cell; NULL: it can. */
const char *repro_cell_skip(const struct repro_site *site, const struct repro_cell *c);
/* Runs all legs with everything in `folder` (made). reference: what the cell is held against; NULL: it is
 * one itself, and ends as REPRO_EQUAL when it ran. What fails is in *out. Several threads may call it. */
void repro_cell_run(const struct repro_site *site, const struct repro_cell *c, const char *folder,
                    const struct repro_outcome *reference, struct repro_outcome *out);

#endif
