/* Rows of text in columns on standard output; what a terminal would obey is shown as '?'. */
#ifndef DDP_RUNS_TABLE_H
#define DDP_RUNS_TABLE_H

#include "base/base.h"

struct ddp_table {
    int columns, cells;
    char **cell; /* row by row */
};

void ddp_table_init(struct ddp_table *t, int columns);
/* The next cell, which takes text over (malloc'd); cut to `most` characters (0: whole). */
void ddp_table_take(struct ddp_table *t, char *text, int most);
void ddp_table_add(struct ddp_table *t, const char *text); /* copied */
/* Print it, and free all. */
void ddp_table_finish(struct ddp_table *t);

/* Print a line, made plain. */
void ddp_line(const char *fmt, ...) DDP_PRINTF(1, 2);

#endif
