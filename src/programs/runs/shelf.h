/* The runs of a folder, chosen and in order. */
#ifndef DDP_RUNS_SHELF_H
#define DDP_RUNS_SHELF_H

#include "past.h"

/* "optim.lr=0.1", "state!=done": a column, and a number, or a pattern (*, ?, [..]) for its text. */
struct ddp_shelf_filter {
    char column[128];
    bool not ;
    const char *wanted; /* borrowed */
};
/* DDP_E_USAGE: no "=" in it, or no such column. */
int ddp_shelf_filter_parse(const char *word, struct ddp_shelf_filter *out, struct ddp_error *err);
bool ddp_shelf_filter_holds(const struct ddp_shelf_filter *f, const struct ddp_past *p);

struct ddp_shelf {
    struct ddp_past *run;
    int n;
    int others; /* entries of the folder that are no runs */
    int closed; /* folders among them that this process may not look into */
};

/* All runs in dir, the one that began first in front; links are not followed. DDP_E_USAGE where there is no
 * such folder. A run that vanishes meanwhile is left out. */
int ddp_shelf_read(const char *dir, struct ddp_shelf *out, struct ddp_error *err);
void ddp_shelf_finish(struct ddp_shelf *s);
/* Leave those for which a filter does not hold. */
void ddp_shelf_keep(struct ddp_shelf *s, const struct ddp_shelf_filter *filter, int n);
/* By a column, stable. */
void ddp_shelf_sort(struct ddp_shelf *s, const char *column, bool reverse);

#endif
