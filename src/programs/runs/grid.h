/* Rows of text in columns on standard output; what a terminal would obey is shown as '?'. */
#ifndef DDP_RUNS_GRID_H
#define DDP_RUNS_GRID_H

#include "base/base.h"

struct ddp_grid {
    int columns, cells;
    char **cell; /* row by row */
};

void ddp_grid_init(struct ddp_grid *t, int columns);
/* The next cell, which takes text over (malloc'd); cut to `most` characters (0: whole). */
void ddp_grid_take(struct ddp_grid *t, char *text, int most);
void ddp_grid_add(struct ddp_grid *t, const char *text); /* copied */
/* Print it, and free all. */
void ddp_grid_finish(struct ddp_grid *t);

/* Print a line, made plain. */
void ddp_line(const char *fmt, ...) DDP_PRINTF(1, 2);

#endif
