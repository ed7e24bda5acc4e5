/* What the command line of ddp-bench repro asks for. */
#ifndef DDP_BENCH_REPRO_REQUEST_H
#define DDP_BENCH_REPRO_REQUEST_H

#include "bench/report.h"
#include "bench/repro/cover.h"
#include "bench/repro/ranks.h"

struct repro_request {
    struct repro_cells cells; /* named by --cell */
    const char *models;       /* list of names; NULL: all of the table */
    bool quick, list;
    int cost;       /* pairs of runs; 0: not asked for */
    int64_t random; /* drawn models; 0: none */
    uint64_t seed;
    int jobs;
    struct bench_outputs outputs;
    const char *keep, *program, *neon;  /* NULL: not asked for */
    struct repro_ranks_request threads; /* ranks 0: not asked for */
    const char **words;                 /* of threads, or of all cells; owned, ends with NULL */
    int nwords;
};

extern const struct ddp_manual bench_repro_manual;

/* An exit status, or -1: go on. Finish it in any case. */
int repro_request_parse(int argc, char **argv, struct repro_request *out);
void repro_request_finish(struct repro_request *r);
/* The cells that it names, in words or by number. DDP_E_USAGE: a model that there is not. */
int repro_request_cells(const struct repro_request *r, struct repro_cells *out, struct ddp_error *err);

#endif
