/* Ranks that are threads of this process: what transport threads of the matrix runs. */
#ifndef DDP_BENCH_REPRO_RANKS_H
#define DDP_BENCH_REPRO_RANKS_H

#include "base/base.h"

struct repro_ranks_request {
    int ranks;
    int64_t pause_after; /* steps, then it waits to be killed; 0: never */
    const char *resume;  /* NULL: from the start */
    const char *config;
    const char *const *words; /* key=value */
    int nwords;
    int argc; /* the command, for run.json */
    const char *const *command;
};

/* Trains, and prints 'run: ..' and 'weights: ..' as ddp-train does; an exit code. */
int repro_ranks_train(const struct repro_ranks_request *r);

#endif
