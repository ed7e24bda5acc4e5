/* Files of one JSON object a line in the order of their steps: weights.trail, metrics.jsonl. What a crash or
 * a power cut left in them is passed over and counted. */
#ifndef DDP_RUNS_LINES_H
#define DDP_RUNS_LINES_H

#include <jansson.h>
#include <stdio.h>

#include "base/base.h"

struct ddp_lines {
    FILE *file; /* NULL: there is none, or it was read to its end */
    char *line;
    size_t room;
    char path[2200];
    json_t *now;          /* the record at hand; NULL: none is left */
    int64_t step;         /* of it */
    int64_t version;      /* of the format; 0: it has no first line of its own */
    int64_t records, bad; /* read so far; lines that are no record, or go back in steps */
    char fault[256];      /* why the file as a whole cannot be read; "": it can, or is not there */
};

/* RUN/NAME, at its first record. format: what its first line has to say ("ddp-trail"), with version 1; NULL:
 * the first line is a record. */
void ddp_lines_open(struct ddp_lines *l, const char *run, const char *name, const char *format);
void ddp_lines_next(struct ddp_lines *l);
void ddp_lines_close(struct ddp_lines *l);

#endif
