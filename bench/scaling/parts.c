/* The loss of a step, cut into causes. */
#include "bench/scaling/parts.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "bench/stats.h"

#define CAUSE_WORDS(NUMBER, key, words) words,
static const char *const cause_words[] = {BENCH_CAUSES(CAUSE_WORDS)};

const char *bench_cause_words(enum bench_cause cause)
{
    return cause_words[cause];
}

double bench_parts_sum(const double part[DDP_TIME_COUNT])
{
    double sum = 0;
    for (int p = 0; p < DDP_TIME_COUNT; p++)
        sum += part[p];
    return sum;
}

double bench_parts_work(const double part[DDP_TIME_COUNT])
{
    return bench_parts_sum(part) - part[DDP_TIME_WAIT];
}

/* ---- several measurements of one thing ---- */

/* The numbers of a struct bench_took that stand beside each other. */
static const struct {
    size_t offset;
    int n;
} fields[] = {
#define FIELD(name, n)                                                                                       \
    {                                                                                                        \
        offsetof(struct bench_took, name), n                                                                 \
    }
    FIELD(step, 1),
    FIELD(low, 1),
    FIELD(high, 1),
    FIELD(part, DDP_TIME_COUNT),
    FIELD(imbalance, 1),
    FIELD(busiest, DDP_TIME_COUNT),
    FIELD(busiest_delayed, 1),
    FIELD(delayed, 1),
    FIELD(least, DDP_TIME_COUNT),
    FIELD(most, DDP_TIME_COUNT),
    FIELD(rss_mb, 1),
    FIELD(cpu, 1),
    FIELD(samples_per_s, 1),
#undef FIELD
};

static double *at(const struct bench_took *t, size_t offset)
{
    return (double *)(void *)((char *)(uintptr_t)t + offset);
}

static void fold(const struct bench_took *v, int n, double (*of)(const double *v, int n),
                 struct bench_took *out)
{
    enum { MOST = 4096 };
    static double value[MOST];
    n = n < MOST ? n : MOST;
    *out = v[0];
    for (size_t f = 0; f < DDP_COUNT(fields); f++)
        for (int k = 0; k < fields[f].n; k++) {
            const size_t offset = fields[f].offset + (size_t)k * sizeof(double);
            for (int i = 0; i < n; i++)
                value[i] = *at(&v[i], offset);
            *at(out, offset) = of(value, n);
        }
}

static double mean(const double *v, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += v[i] / n;
    return sum;
}

void bench_took_median(const struct bench_took *v, int n, struct bench_took *out)
{
    fold(v, n, bench_median, out);
}

void bench_took_join(const struct bench_took *v, int n, struct bench_took *out)
{
    fold(v, n, mean, out);
}

/* ---- causes ---- */

static double passes(const double part[DDP_TIME_COUNT])
{
    return part[DDP_TIME_FORWARD] + part[DDP_TIME_BACKWARD];
}

static double known(double v)
{
    return isfinite(v) ? v : 0;
}

static double within(double v, double low, double high)
{
    return fmin(fmax(v, low), fmax(low, high));
}

/* Waits that differ from step to step: beyond what the ranks differ in the long run. */
static double jitter(const struct bench_took *t)
{
    const double lasting = bench_parts_work(t->busiest) - bench_parts_work(t->part);
    return within(t->imbalance - lasting, 0, t->busiest[DDP_TIME_WAIT]);
}

/* Of the passes of a rank, what it was without a CPU. */
static double delay_in(double delayed, double in)
{
    return within(known(delayed), 0, in);
}

/* How much longer the passes take where others do the same at the same time. */
static double machine(const struct bench_evidence *e)
{
    if (!e->together)
        return 0;
    const double alone = passes(e->alone->part), all = passes(e->together->part);
    return fmax(0,
                (all - delay_in(e->together->delayed, all)) - (alone - delay_in(e->alone->delayed, alone)));
}

/* Of all ranks but the busiest, on average. */
static double delay_of_others(const struct bench_took *t)
{
    return t->ranks > 1 ? (known(t->delayed) * t->ranks - known(t->busiest_delayed)) / (t->ranks - 1)
                        : known(t->delayed);
}

static void explain_passes(const struct bench_evidence *e, struct bench_loss *out)
{
    const struct bench_took *j = e->job;
    const double busiest = passes(j->busiest), fastest = passes(j->least),
                 base = e->share * passes(e->base->part), more = busiest - base;
    double *part = out->part;
    part[BENCH_CAUSE_SHARED_CORE] =
        within(known(j->busiest_delayed) - e->share * known(e->base->busiest_delayed), 0, more);
    const double uneven =
        (busiest - delay_in(j->busiest_delayed, busiest)) - (fastest - delay_in(delay_of_others(j), fastest));
    part[BENCH_CAUSE_IMBALANCE] = fmax(0, uneven) + jitter(j);
    const double slower = machine(e), clock = e->ghz_all > 0 ? e->ghz_alone / e->ghz_all - 1 : 0;
    part[BENCH_CAUSE_FREQUENCY] = within(passes(e->alone->part) * clock, 0, slower);
    part[BENCH_CAUSE_MEMORY] = slower - part[BENCH_CAUSE_FREQUENCY];
}

void bench_loss_explain(const struct bench_evidence *e, struct bench_loss *out)
{
    const struct bench_took *j = e->job, *b = e->base;
    const double s = e->share;
    *out = (struct bench_loss){.ideal = s * bench_parts_sum(b->part)};
    out->loss = bench_parts_sum(j->part) - out->ideal;
    double *part = out->part, sum = 0;
    explain_passes(e, out);
    part[BENCH_CAUSE_DATA] = j->busiest[DDP_TIME_DATA] - s * b->part[DDP_TIME_DATA];
    part[BENCH_CAUSE_COMMUNICATION] = j->busiest[DDP_TIME_REDUCE] + j->busiest[DDP_TIME_WAIT] - jitter(j) -
                                      s * (b->part[DDP_TIME_REDUCE] + b->part[DDP_TIME_WAIT]);
    part[BENCH_CAUSE_SERIAL] = j->busiest[DDP_TIME_OPTIMIZER] + j->busiest[DDP_TIME_REST] -
                               s * (b->part[DDP_TIME_OPTIMIZER] + b->part[DDP_TIME_REST]) +
                               (passes(e->alone->part) - s * passes(b->part));
    for (int c = 0; c < BENCH_CAUSE_REMAINDER; c++)
        sum += part[c];
    part[BENCH_CAUSE_REMAINDER] = out->loss - sum;
    for (int c = 0; c < BENCH_CAUSE_COUNT; c++)
        if (part[c] > part[out->first])
            out->first = (enum bench_cause)c;
}
