/* Fits and their errors. Points count by their relative errors. */
#include "bench/scaling/models.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "bench/stats.h"

enum { MOST_POINTS = 64 };

static double one(double n)
{
    (void)n;
    return 1;
}
static double inverse(double n)
{
    return 1 / n;
}
static double tree(double n)
{
    return log2(n);
}
static double others(double n)
{
    return n - 1;
}

static const struct {
    const char *name, *equation;
    bool strong;
    int terms;
    double (*term[BENCH_MODEL_TERMS])(double n);
} models[BENCH_MODELS] = {
    {"Amdahl", "serial + parallel / N", true, 2, {one, inverse}},
    {"communication", "serial + parallel / N + c log2 N", true, 3, {one, inverse, tree}},
    {"constant", "a", false, 1, {one}},
    {"tree", "a + c log2 N", false, 2, {one, tree}},
    {"shared", "a + c (N - 1)", false, 2, {one, others}},
};

static int index_of(const struct bench_model *m)
{
    int i = 0;
    while (i < BENCH_MODELS - 1 && strcmp(models[i].name, m->name) != 0)
        i++;
    return i;
}

double bench_model_time(const struct bench_model *m, double ranks)
{
    const int which = index_of(m);
    double t = 0;
    for (int k = 0; k < m->terms; k++)
        t += m->coefficient[k] * models[which].term[k](ranks);
    return t;
}

/* Without point `left` (-1: with all). */
static bool fit(struct bench_model *m, const double *ranks, const double *seconds, int n, int left)
{
    const int which = index_of(m);
    double x[MOST_POINTS * BENCH_MODEL_TERMS], y[MOST_POINTS], weight[MOST_POINTS];
    int points = 0;
    for (int i = 0; i < n; i++) {
        if (i == left)
            continue;
        for (int k = 0; k < m->terms; k++)
            x[points * m->terms + k] = models[which].term[k](ranks[i]);
        y[points] = seconds[i];
        weight[points++] = 1 / (seconds[i] * seconds[i]);
    }
    return points >= m->terms && bench_fit_positive(x, y, weight, points, m->terms, m->coefficient);
}

static int largest(const double *ranks, int n)
{
    int at = 0;
    for (int i = 1; i < n; i++)
        at = ranks[i] > ranks[at] ? i : at;
    return at;
}

int bench_models_sizes(const double *ranks, int n)
{
    int sizes = 0;
    for (int i = 0; i < n; i++) {
        bool seen = false;
        for (int k = 0; k < i; k++)
            seen = seen || ranks[k] == ranks[i];
        sizes += !seen;
    }
    return sizes;
}

/* A point is told by the others only where these are more than the terms: else any line goes through them. */
static void judge(struct bench_model *m, const double *ranks, const double *seconds, int n)
{
    double sum = 0;
    m->inside = m->outside = NAN;
    if (n - 1 < m->terms || bench_models_sizes(ranks, n) < 3)
        return;
    for (int i = 0; i < n; i++) {
        struct bench_model part = *m;
        if (!fit(&part, ranks, seconds, n, i))
            return;
        const double error = bench_model_time(&part, ranks[i]) / seconds[i] - 1;
        sum += error * error / n;
        if (i == largest(ranks, n))
            m->outside = fabs(error);
    }
    m->inside = sqrt(sum);
}

static int by_error(const void *a, const void *b)
{
    const struct bench_model *x = a, *y = b;
    const double ex = isnan(x->inside) ? 1e9 + x->terms : x->inside,
                 ey = isnan(y->inside) ? 1e9 + y->terms : y->inside;
    return ex < ey ? -1 : ex > ey;
}

int bench_models_fit(bool strong, const double *ranks, const double *seconds, int n,
                     struct bench_model out[BENCH_MODELS])
{
    int found = 0;
    n = n < MOST_POINTS ? n : MOST_POINTS;
    for (int i = 0; i < BENCH_MODELS; i++) {
        if (models[i].strong != strong)
            continue;
        struct bench_model *m = &out[found];
        *m = (struct bench_model){.name = models[i].name,
                                  .equation = models[i].equation,
                                  .strong = strong,
                                  .terms = models[i].terms};
        m->fits = fit(m, ranks, seconds, n, -1);
        if (!m->fits)
            continue;
        judge(m, ranks, seconds, n);
        found++;
    }
    qsort(out, (size_t)found, sizeof *out, by_error);
    return found;
}
