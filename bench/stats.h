/* Statistics of repetitions: medians, how sure they are, and when to stop. Pure. */
#ifndef DDP_BENCH_STATS_H
#define DDP_BENCH_STATS_H

#include <stdbool.h>

/* Of v[n], n >= 1, in any order; v stays as it is. */
double bench_median(const double *v, int n);
/* The q-th quantile, between neighbours in proportion. */
double bench_quantile(const double *v, int n, double q);

/* An interval that holds the median of what v[n] was drawn from with probability `covers`, by the order of
 * the values alone: no distribution is assumed. The narrowest with at least 95 %; with fewer than 6 values
 * there is none, and it is the whole range. */
struct bench_interval {
    double median, low, high, covers;
};
struct bench_interval bench_median_interval(const double *v, int n);
/* Half its width, as a part of the median. */
double bench_interval_width(const struct bench_interval *i);
/* The middle half's width as a part of the median: what a single outlier does not move. */
double bench_spread(const double *v, int n);

/* Least squares of y = a * f[0] + b * f[1] + .. over n points; x: [n][terms]; weight: [n] or NULL. False:
 * fewer points than terms, or terms that the points do not tell apart. */
enum { BENCH_TERMS = 4 };
bool bench_fit(const double *x, const double *y, const double *weight, int n, int terms, double *out);
/* The same with no coefficient below 0: what would be is left out. */
bool bench_fit_positive(const double *x, const double *y, const double *weight, int n, int terms,
                        double *out);

#endif
