/* Identical lines of several ranks become one line with a count. Lines wait here a moment, in the order in
 * which they came, for the same line of other ranks:
 *
 *   rank 0   A B .        all 3 ranks: A
 *   rank 1   A B C   ->   2 ranks (0-1): B
 *   rank 2   A . C        2 ranks (1-2): C
 *
 * A rank's line joins the first that reads the same behind all that this rank has waiting, so that what one
 * rank says keeps its order, and is never taken for a repetition of its own. Where nobody knows whose lines
 * they are (all ranks' output comes through mpirun or srun, and mpirun's --tag-output loses what it makes too
 * long) only lines, and groups of lines, that follow each other are counted: A B A B is 2 times A, 2 times B.
 * Nothing is held where a single rank speaks, and nothing for longer than DDP_FOLD_S. */
#ifndef DDP_LAUNCHER_FOLD_H
#define DDP_LAUNCHER_FOLD_H

#include "launcher/sink.h"

static const double DDP_FOLD_S = 0.25;

enum { DDP_FOLD_LINES = 256, DDP_FOLD_BYTES = 65536 }; /* that wait at most: the oldest goes on then */

struct ddp_fold_line {
    char *text; /* [n], with its newline */
    size_t n;
    double due;
    int count;     /* of those who said it */
    uint64_t *who; /* one bit a rank; NULL: nobody knows */
};

struct ddp_fold {
    struct ddp_sink *sink;
    int ranks;
    struct ddp_fold_line line[DDP_FOLD_LINES];
    int n;
    size_t bytes;
    int64_t gone;  /* lines that have gone on; line[0] has this number */
    int64_t *last; /* [ranks] number of the last line that a rank has said; -1: none */
};

/* ranks: of those whose lines come here; sink stays the caller's. */
void ddp_fold_init(struct ddp_fold *f, struct ddp_sink *sink, int ranks);
void ddp_fold_finish(struct ddp_fold *f);

/* A whole line of a rank (-1: nobody knows whose), at `now` (ddp_now()). Lines of rank 0 alone go on as they
 * are, those of others with their mark: "rank 3: ". */
void ddp_fold_put(struct ddp_fold *f, int rank, const char *line, size_t n, double now);
/* Part of a line, as it is, behind what its rank has waiting. who: of ddp_sink_put. */
void ddp_fold_part(struct ddp_fold *f, int rank, const void *who, const char *s, size_t n);

/* When the first line goes on; HUGE_VAL: none waits. */
double ddp_fold_due(const struct ddp_fold *f);
/* Pass on what is due at `now`; HUGE_VAL: everything. */
void ddp_fold_move(struct ddp_fold *f, double now);

#endif
