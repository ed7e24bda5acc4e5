/* What a folder of runs could do without, and removing it. */
#ifndef DDP_RUNS_CLEAR_H
#define DDP_RUNS_CLEAR_H

#include "shelf.h"

struct ddp_clear_options {
    double older_s; /* nothing was written to it for so long */
    bool stopped;   /* also runs that could go on from a checkpoint */
};

/* Why a run may go ("failed", "its process is gone", ..), into why[size], or why not. A run may go when it is
 * unfinished, unmarked, of nobody's parents in the shelf, written to by nobody, and has no file in it that no
 * run writes. */
bool ddp_clear_may(const struct ddp_shelf *shelf, const struct ddp_past *p,
                   const struct ddp_clear_options *opt, char *why, int size);
/* Bytes in all files of a directory. */
int64_t ddp_clear_bytes(const char *dir);
/* Hold it, look again, and remove it. DDP_E_RESOURCE: it may not go any more, with the reason. */
int ddp_clear_remove(const struct ddp_shelf *shelf, const struct ddp_past *p,
                     const struct ddp_clear_options *opt, struct ddp_error *err);

#endif
