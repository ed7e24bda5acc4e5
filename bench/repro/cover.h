/* Which cells of a model are run: so few that any `strength` values of different axes meet in one of them. */
#ifndef DDP_BENCH_REPRO_COVER_H
#define DDP_BENCH_REPRO_COVER_H

#include "bench/repro/cell.h"

struct repro_cells {
    struct repro_cell *cell; /* [n] */
    int n;
};

/* Adds them to *out. strength: 0 to 3; 0 adds none. A function of model and strength alone: the first of the
 * cells that add most, again and again, so the same ids on every machine. What can meet without an
 * emulator does so in a cell that needs none. The reference is not among them unless it covers something. */
void repro_cover(const struct repro_model *m, int strength, struct repro_cells *out);
void repro_cells_add(struct repro_cells *cells, const struct repro_cell *c);
void repro_cells_finish(struct repro_cells *cells);

#endif
