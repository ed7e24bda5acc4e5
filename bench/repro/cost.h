/* What the order of sums costs: steps with reduce.mode=canonical against steps with fast, interleaved. */
#ifndef DDP_BENCH_REPRO_COST_H
#define DDP_BENCH_REPRO_COST_H

#include "bench/report.h"
#include "bench/repro/legs.h"

enum { REPRO_COST_RANKS = 2, REPRO_COST_STEPS = 12, REPRO_COST_WARM = 2 };

/* Runs both sides `rounds` times, the first of a round in turn, below `folder`, and adds a table. */
int repro_cost(const struct repro_site *site, const char *folder, int rounds, struct bench_report *r,
               struct ddp_error *err);

#endif
