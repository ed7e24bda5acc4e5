/* What was found of an all-reduce, as tables. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/allreduce/allreduce.h"
#include "bench/stats.h"

static const char *bytes_text(long bytes, char buf[32])
{
    if (bytes % (1 << 20) == 0)
        snprintf(buf, 32, "%ld MB", bytes >> 20);
    else if (bytes % 1024 == 0)
        snprintf(buf, 32, "%ld KB", bytes >> 10);
    else
        snprintf(buf, 32, "%ld B", bytes);
    return buf;
}

static const struct bench_column columns[] = {
    {"way", "way", NULL},       {"bytes", NULL, "%.0f"},       {"size", "size", NULL},
    {"us", "us", "%.1f"},       {"best_us", "best", "%.1f"},   {"low_us", "from", "%.1f"},
    {"high_us", "to", "%.1f"},  {"algbw_gbs", "GB/s", "%.2f"}, {"busbw_gbs", "bus GB/s", "%.2f"},
    {"wrong", "wrong", "%.0f"},
};
static const struct bench_column against[] = {
    {"bytes", NULL, "%.0f"},
    {"size", "size", NULL},
    {"ours", "ours", NULL},
    {"ours_us", "us", "%.1f"},
    {"other", "best other", NULL},
    {"other_us", "us", "%.1f"},
    {"ratio", "times as fast", "%.2f"},
    {"best_ratio", "at best", "%.2f"},
};
static const struct bench_plot plot = {.kind = BENCH_LINES,
                                       .title = "All-reduce",
                                       .x = "bytes",
                                       .x_title = "bytes",
                                       .y = "us",
                                       .y_title = "us",
                                       .low = "low_us",
                                       .high = "high_us",
                                       .series = "way",
                                       .log_x = true,
                                       .log_y = true};

static void tell_all(const struct bench_reduce_sweep *w, struct bench_report *r, double *spread,
                     double *wrong)
{
    const double n = (double)w->ranks;
    struct bench_table *t =
        bench_report_table(r, "allreduce", "by way and size", columns, DDP_COUNT(columns));
    char size[32];
    for (int way = 0; way < bench_reduce_nways; way++) {
        for (int i = 0; i < w->nsizes; i++) {
            const struct bench_reduce_found *f = &w->found[way][i];
            if (f->n == 0)
                continue;
            const struct bench_interval s = bench_median_interval(f->seconds, f->n);
            const double rate = (double)w->bytes[i] / s.median * 1e-9, own = bench_spread(f->seconds, f->n);
            bench_row(t, BENCH_TEXT(bench_reduce_ways[way].name), BENCH_NUMBER(w->bytes[i]),
                      BENCH_TEXT(bytes_text(w->bytes[i], size)), BENCH_NUMBER(s.median * 1e6),
                      BENCH_NUMBER(bench_quantile(f->seconds, f->n, 0) * 1e6), BENCH_NUMBER(s.low * 1e6),
                      BENCH_NUMBER(s.high * 1e6), BENCH_NUMBER(rate), BENCH_NUMBER(rate * 2 * (n - 1) / n),
                      BENCH_NUMBER(f->wrong));
            *spread = own > *spread ? own : *spread;
            *wrong += f->wrong;
        }
    }
    bench_report_plot(r, t, &plot);
}

/* By the q-th quantile of its times, the fastest of what trains in canonical order (ours), or of all others
 * in host memory; -1: there is none. */
static int best_of(const struct bench_reduce_sweep *w, int size, bool ours, double q, double *seconds)
{
    int best = -1;
    *seconds = NAN;
    for (int way = 0; way < bench_reduce_nways; way++) {
        const struct bench_reduce_found *f = &w->found[way][size];
        const struct bench_reduce_way *k = &bench_reduce_ways[way];
        if (f->n == 0 || (ours ? !k->trains : k->ours || k->device))
            continue;
        const double s = bench_quantile(f->seconds, f->n, q);
        if (best < 0 || s < *seconds) {
            best = way;
            *seconds = s;
        }
    }
    return best;
}

static void tell_against(const struct bench_reduce_sweep *w, struct bench_report *r)
{
    struct bench_table *t = NULL;
    char size[32];
    for (int i = 0; i < w->nsizes; i++) {
        double mine, other, my_best, other_best;
        const int a = best_of(w, i, true, 0.5, &mine), b = best_of(w, i, false, 0.5, &other);
        if (a < 0 || b < 0)
            continue;
        best_of(w, i, true, 0, &my_best);
        best_of(w, i, false, 0, &other_best);
        if (!t)
            t = bench_report_table(r, "against",
                                   "ours as it trains, in canonical order, against the best other way",
                                   against, DDP_COUNT(against));
        bench_row(t, BENCH_NUMBER(w->bytes[i]), BENCH_TEXT(bytes_text(w->bytes[i], size)),
                  BENCH_TEXT(bench_reduce_ways[a].name), BENCH_NUMBER(mine * 1e6),
                  BENCH_TEXT(bench_reduce_ways[b].name), BENCH_NUMBER(other * 1e6),
                  BENCH_NUMBER(other / mine), BENCH_NUMBER(other_best / my_best));
    }
}

void bench_reduce_tell(const struct bench_reduce_sweep *w, struct bench_report *r)
{
    double spread = 0, wrong = 0;
    bench_fact_number(r, "ranks", (double)w->ranks, "ranks", "%.0f");
    tell_all(w, r, &spread, &wrong);
    tell_against(w, r);
    for (int way = 0; way < bench_reduce_nways; way++)
        if (*w->lacks[way])
            bench_note(r, "%s: not measured: %s", bench_reduce_ways[way].name, w->lacks[way]);
    bench_warn_spread(r, "the row that moves most", spread, 0.3);
    if (wrong > 0)
        bench_warn(r, "%.0f sums were wrong: see the column", wrong);
}
