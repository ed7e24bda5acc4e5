/* Points of a scaling curve: measured, or read from a CSV file as course sessions write it. */
#ifndef DDP_BENCH_SCALING_POINTS_H
#define DDP_BENCH_SCALING_POINTS_H

#include "bench/scaling/parts.h"

enum { BENCH_POINTS = 64 };

struct bench_point {
    bool strong;
    double nodes, ranks_per_node, local_batch, ranks;
    double rate, low, high; /* samples/s: median, its interval; nan: not known */
    double covers;          /* its chance to hold the median */
    double step;            /* seconds */
    double steps_needed;    /* for a median within what was asked; nan */
    double speedup, speedup_low, speedup_high, efficiency; /* against the fewest ranks of its kind */
    int rounds;
    int line; /* of the CSV */
    bool has_loss;
    struct bench_loss loss;
};

/* Fills in what follows from rates: against the fewest ranks of the same kind. */
void bench_points_compare(struct bench_point *p, int n);

/* In csv.c. Columns by name, in any order: nodes, ranks_per_node, local_batch, samples_per_s (required), and
 * where they are there scaling (weak, strong), low, high. Also what other tools call them: num_nodes,
 * gpus_per_node, batch_size, images_per_sec, .. A kind is worked out where none is said: strong where the
 * global batch is the same in all rows, weak where the local batch is; other rows are refused. Returns how
 * many points; below 0: DDP_E_DATA with file, line and column. */
int bench_points_read(const char *path, struct bench_point out[BENCH_POINTS], struct ddp_error *err);

/* Steps that a run must have, for its median to be known within `within` (0.02) with 95 %: by the spread
 * of the middle half of its steps, as if they were independent draws from a normal distribution, whose
 * median has a deviation of 1.253 sigma / sqrt(n). */
double bench_steps_needed(double low, double median, double high, double within);

#endif
