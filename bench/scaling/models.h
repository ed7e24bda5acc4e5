/* Models of how the time of a step depends on the number of ranks, fitted to what was measured, and what they
 * are worth. Pure. */
#ifndef DDP_BENCH_SCALING_MODELS_H
#define DDP_BENCH_SCALING_MODELS_H

#include <stdbool.h>

/*   Amdahl          T = serial + parallel / N                  strong: what of the work is not divided
 *   communication   T = serial + parallel / N + c log2 N       strong: and a tree of messages
 *   constant        T = a                                      weak: nothing is lost
 *   tree            T = a + c log2 N                           weak: and a tree of messages
 *   shared          T = a + c (N - 1)                          weak: all share one thing (memory, a link)
 * No coefficient is below 0. */
enum { BENCH_MODELS = 5, BENCH_MODEL_TERMS = 3 };

struct bench_model {
    const char *name, *equation;
    bool strong;
    int terms;
    double coefficient[BENCH_MODEL_TERMS]; /* seconds */
    bool fits;                             /* there are points enough */
    double inside;  /* root mean square of the relative errors of points left out one after the other; nan */
    double outside; /* relative error for the largest N, from the others alone; nan: too few points */
};

/* All models of this kind of scaling, for n points of `ranks` and seconds of a step. The best comes first:
 * the one with the smallest error of points left out, or the simplest where that cannot be told. Returns
 * how many. */
int bench_models_fit(bool strong, const double *ranks, const double *seconds, int n,
                     struct bench_model out[BENCH_MODELS]);
/* How many different numbers of ranks there are. Of fewer than three no error is told. */
int bench_models_sizes(const double *ranks, int n);
double bench_model_time(const struct bench_model *m, double ranks);

#endif
