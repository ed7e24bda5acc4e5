/* The files of ddp-bench scaling: scaling.c the command line, measure.c the jobs and when to stop, parts.c
 * why a point falls short, points.c the curve, csv.c its CSV, models.c fits, tell.c the report. */
#ifndef DDP_BENCH_SCALING_H
#define DDP_BENCH_SCALING_H

#include "bench/ceilings.h"
#include "bench/report.h"
#include "bench/scaling/points.h"

enum { BENCH_SCALING_SIZES = 16, BENCH_SCALING_ROUNDS = 100 };

struct bench_scaling_options {
    struct bench_job_conf job;
    long ranks[BENCH_SCALING_SIZES]; /* ascending */
    int nranks;
    bool weak, strong;
    long batch;              /* of a rank (weak), of all (strong); 0: the config's */
    long shards;             /* 0: one for each rank */
    long most;               /* rounds */
    double within, budget_s; /* half width of each median's interval; time for all rounds */
    double target;           /* samples: for time to target */
    long predict[BENCH_SCALING_SIZES];
    int npredict;
    const char *read; /* points are read from this CSV, nothing is measured; NULL: no */
    struct bench_outputs outputs;
};

/* What a rank has of its host when so many are on it. */
struct bench_at_once {
    int ranks;
    struct bench_ceilings each; /* of its threads, each */
};

struct bench_curve {
    const struct bench_scaling_options *o;
    struct bench_point point[BENCH_POINTS];
    int npoints;
    struct bench_at_once machine[BENCH_SCALING_SIZES + 1];
    int nmachine;
    char stopped[256]; /* why the rounds ended */
    char model[64];
};

/* Rounds over all points, until their medians are known well enough; fills in points with their losses. */
int bench_scaling_measure(struct bench_curve *s, struct bench_job *job, struct bench_report *r,
                          struct ddp_error *err);
void bench_scaling_tell(struct bench_curve *s, struct bench_report *r);

#endif
