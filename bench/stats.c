/* Statistics of repetitions, and least squares of a few terms. */
#include "bench/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double *sorted(const double *v, int n)
{
    double *s = ddp_malloc((size_t)n * sizeof *s);
    memcpy(s, v, (size_t)n * sizeof *s);
    qsort(s, (size_t)n, sizeof *s, by_value);
    return s;
}

static double quantile_of(const double *s, int n, double q)
{
    const double at = q * (n - 1);
    const int i = (int)floor(at), next = i + 1 < n ? i + 1 : i;
    return s[i] + (at - i) * (s[next] - s[i]);
}

double bench_quantile(const double *v, int n, double q)
{
    double *s = sorted(v, n);
    const double out = quantile_of(s, n, q);
    free(s);
    return out;
}

double bench_median(const double *v, int n)
{
    return bench_quantile(v, n, 0.5);
}

double bench_spread(const double *v, int n)
{
    double *s = sorted(v, n);
    const double m = quantile_of(s, n, 0.5), width = quantile_of(s, n, 0.75) - quantile_of(s, n, 0.25);
    free(s);
    return m > 0 ? width / m : 0;
}

/* The k-th smallest lies below the median with the probability of at least k heads in n throws: the interval
 * from the k-th smallest to the k-th largest covers 1 - 2 P(fewer than k heads). */
struct bench_interval bench_median_interval(const double *v, int n)
{
    double *s = sorted(v, n), below = 0, p = pow(0.5, n), covers = n > 1 ? 1 - 2 * p : 0;
    int k = 1;
    for (int i = 0; i < (n - 1) / 2; i++) { /* p: of exactly i heads */
        below += p;
        if (1 - 2 * below >= 0.95) {
            k = i + 1;
            covers = 1 - 2 * below;
        }
        p *= (double)(n - i) / (i + 1);
    }
    const struct bench_interval out = {quantile_of(s, n, 0.5), s[k - 1], s[n - k], covers};
    free(s);
    return out;
}

double bench_interval_width(const struct bench_interval *i)
{
    return i->median > 0 ? (i->high - i->low) / (2 * i->median) : 0;
}

/* ---- least squares ---- */

/* Normal equations by elimination with pivots; the terms are few. `use` has a bit for each of them. */
static bool solve(const double *x, const double *y, const double *weight, int n, int terms, unsigned use,
                  double *out)
{
    double a[BENCH_TERMS][BENCH_TERMS + 1] = {0};
    int term[BENCH_TERMS], m = 0;
    for (int t = 0; t < terms; t++)
        if (use & (1u << t))
            term[m++] = t;
    if (n < m || m == 0)
        return false;
    for (int p = 0; p < n; p++)
        for (int i = 0; i < m; i++) {
            const double w = weight ? weight[p] : 1, xi = x[p * terms + term[i]];
            for (int j = 0; j < m; j++)
                a[i][j] += w * xi * x[p * terms + term[j]];
            a[i][m] += w * xi * y[p];
        }
    double diagonal[BENCH_TERMS];
    for (int i = 0; i < m; i++)
        diagonal[i] = a[i][i];
    for (int i = 0; i < m; i++) {
        if (!(a[i][i] > 1e-9 * diagonal[i])) /* the matrix is positive: what is left of it tells */
            return false;
        for (int j = i + 1; j < m; j++) {
            const double f = a[j][i] / a[i][i];
            for (int k = i; k <= m; k++)
                a[j][k] -= f * a[i][k];
        }
    }
    for (int t = 0; t < terms; t++)
        out[t] = 0;
    for (int i = m - 1; i >= 0; i--) {
        double sum = a[i][m];
        for (int j = i + 1; j < m; j++)
            sum -= a[i][j] * out[term[j]];
        out[term[i]] = sum / a[i][i];
    }
    return true;
}

bool bench_fit(const double *x, const double *y, const double *weight, int n, int terms, double *out)
{
    return solve(x, y, weight, n, terms, (1u << terms) - 1, out);
}

static double residual(const double *x, const double *y, const double *weight, int n, int terms,
                       const double *c)
{
    double sum = 0;
    for (int p = 0; p < n; p++) {
        double d = y[p];
        for (int t = 0; t < terms; t++)
            d -= c[t] * x[p * terms + t];
        sum += (weight ? weight[p] : 1) * d * d;
    }
    return sum;
}

bool bench_fit_positive(const double *x, const double *y, const double *weight, int n, int terms, double *out)
{
    double best = INFINITY, c[BENCH_TERMS];
    for (unsigned use = 1; use < 1u << terms; use++) { /* all choices: there are at most 15 */
        bool positive = solve(x, y, weight, n, terms, use, c);
        for (int t = 0; positive && t < terms; t++)
            positive = c[t] >= 0;
        const double r = positive ? residual(x, y, weight, n, terms, c) : INFINITY;
        if (r < best) {
            best = r;
            memcpy(out, c, (size_t)terms * sizeof *out);
        }
    }
    return isfinite(best);
}
