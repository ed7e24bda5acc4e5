/* A table of numbers out of a CSV file (RFC 4180: a line of names, then lines of fields; fields in quotes may
 * hold commas, quotes are doubled). Private to src/data and its tests. */
#ifndef DDP_DATA_TABLE_H
#define DDP_DATA_TABLE_H

#include "base/base.h"
#include "ddp/key.h"

struct ddp_table {
    int64_t rows;
    int columns;
    char **name;  /* [columns] */
    float *value; /* [rows][columns] */
};

/* The names of a file's columns, in its order. */
int ddp_table_names(const char *path, struct ddp_table *out, struct ddp_error *err);
/* Whether a file of these names has each of the columns once. */
int ddp_table_find(const char *path, const struct ddp_table *all, const struct ddp_strings *names,
                   struct ddp_error *err);
/* Those columns of the file, in the order of `names`, which differ; what stands in others is not looked at.
 * Errors name file, line and column. *out is to be finished when it was made. */
int ddp_table_read(const char *path, const struct ddp_strings *names, struct ddp_table *out,
                   struct ddp_error *err);
void ddp_table_finish(struct ddp_table *t);

#endif
