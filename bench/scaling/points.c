/* Points of a scaling curve, and the CSV they are read from. */
#include "bench/scaling/points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/stats.h"

double bench_steps_needed(double low, double median, double high, double within)
{
    const double sigma = (high - low) / 1.349;
    if (!(median > 0))
        return NAN;
    const double n = pow(1.96 * 1.253 * sigma / (within * median), 2);
    return fmax(1, ceil(n));
}

void bench_points_compare(struct bench_point *p, int n)
{
    for (int i = 0; i < n; i++) {
        const struct bench_point *base = &p[i];
        for (int k = 0; k < n; k++)
            if (p[k].strong == p[i].strong && p[k].ranks < base->ranks)
                base = &p[k];
        const double one = base->rate / base->ranks; /* of a rank of the base */
        p[i].speedup = p[i].rate / one;
        p[i].speedup_low = p[i].low / one;
        p[i].speedup_high = p[i].high / one;
        p[i].efficiency = p[i].speedup / p[i].ranks;
    }
}

/* ---- CSV ---- */

enum column { NODES, PER_NODE, BATCH, RATE, KIND, LOW, HIGH, COLUMNS };

static const struct {
    const char *names; /* between bars */
    bool required;
} columns[COLUMNS] = {
    [NODES] = {"|nodes|num_nodes|nnodes|n_nodes|hosts|", true},
    [PER_NODE] = {"|ranks_per_node|gpus_per_node|procs_per_node|tasks_per_node|ntasks_per_node|", true},
    [BATCH] = {"|local_batch|local_batch_size|batch_per_rank|batch_size|batch_per_gpu|", true},
    [RATE] = {"|samples_per_s|images_per_s|samples_per_sec|images_per_sec|throughput|samples/s|images/s|",
              true},
    [KIND] = {"|scaling|kind|", false},
    [LOW] = {"|low|", false},
    [HIGH] = {"|high|", false},
};

enum { FIELDS = 64, FIELD = 64 };

/* A line cut at commas, blanks and quotes around fields taken off. Returns how many. */
static int cut(const char *line, size_t length, char field[FIELDS][FIELD])
{
    int n = 0;
    for (const char *at = line, *end = line + length; at <= end && n < FIELDS; n++) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;
        const char *from = at, *to = stop;
        while (from < to && strchr(" \t\"\r", *from))
            from++;
        while (to > from && strchr(" \t\"\r", to[-1]))
            to--;
        snprintf(field[n], FIELD, "%.*s", (int)(to - from), from);
        at = stop + 1;
    }
    return n;
}

static int find_columns(const char *path, char field[FIELDS][FIELD], int n, int where[COLUMNS],
                        struct ddp_error *err)
{
    for (int c = 0; c < COLUMNS; c++) {
        where[c] = -1;
        for (int i = 0; i < n && where[c] < 0; i++) {
            char word[FIELD + 2];
            snprintf(word, sizeof word, "|%s|", field[i]);
            for (char *l = word; *l; l++)
                *l = *l >= 'A' && *l <= 'Z' ? (char)(*l + 32) : *l == ' ' || *l == '-' ? '_' : *l;
            where[c] = strstr(columns[c].names, word) ? i : -1;
        }
        if (where[c] < 0 && columns[c].required)
            return ddp_fail(err, DDP_E_DATA,
                            "%s:1: has no column %.*s (nodes, ranks_per_node, local_batch and "
                            "samples_per_s are needed)",
                            path, (int)strcspn(columns[c].names + 1, "|"), columns[c].names + 1);
    }
    return 0;
}

static int take_row(const char *path, int line, char field[FIELDS][FIELD], int n, const int where[COLUMNS],
                    struct bench_point *p, struct ddp_error *err)
{
    double v[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) {
        v[c] = NAN;
        if (where[c] < 0 || c == KIND)
            continue;
        const char *text = where[c] < n ? field[where[c]] : "";
        const bool read = ddp_parse_double(text, &v[c]);
        if (columns[c].required && !(read && isfinite(v[c]) && v[c] > 0))
            return ddp_fail(err, DDP_E_DATA, "%s:%d: column %.*s holds \"%s\", which is no number above 0",
                            path, line, (int)strcspn(columns[c].names + 1, "|"), columns[c].names + 1, text);
    }
    *p = (struct bench_point){.nodes = v[NODES],
                              .ranks_per_node = v[PER_NODE],
                              .local_batch = v[BATCH],
                              .ranks = v[NODES] * v[PER_NODE],
                              .rate = v[RATE],
                              .low = v[LOW],
                              .high = v[HIGH],
                              .steps_needed = NAN,
                              .rounds = 1};
    p->strong = where[KIND] >= 0 && where[KIND] < n && strcasecmp(field[where[KIND]], "strong") == 0;
    p->step = p->ranks * p->local_batch / p->rate;
    return 0;
}

/* Where no row says which: the global batch is the same in all, on different numbers of ranks. */
static bool is_strong(const struct bench_point *p, int n)
{
    bool same = true, one = true;
    for (int i = 1; i < n; i++) {
        same = same && fabs(p[i].ranks * p[i].local_batch / (p[0].ranks * p[0].local_batch) - 1) < 0.01;
        one = one && p[i].ranks == p[0].ranks;
    }
    return n > 1 && same && !one;
}

static bool alike(const struct bench_point *a, const struct bench_point *b)
{
    return a->strong == b->strong && a->ranks == b->ranks && a->nodes == b->nodes &&
           fabs(a->local_batch / b->local_batch - 1) < 1e-9;
}

/* Rows of the same job are repetitions of it: their median, and their interval. */
static int merge(struct bench_point *p, int n)
{
    double rate[BENCH_POINTS];
    int kept = 0;
    for (int i = 0; i < n; i++) {
        bool seen = false;
        int rounds = 0;
        for (int k = 0; k < kept; k++)
            seen = seen || alike(&p[k], &p[i]);
        if (seen)
            continue;
        for (int k = i; k < n; k++)
            if (alike(&p[k], &p[i]))
                rate[rounds++] = p[k].rate;
        struct bench_point one = p[i];
        if (rounds > 1) {
            const struct bench_interval c = bench_median_interval(rate, rounds);
            one.rate = c.median;
            one.low = c.low;
            one.high = c.high;
            one.covers = c.covers;
            one.rounds = rounds;
            one.step = one.ranks * one.local_batch / one.rate;
        }
        p[kept++] = one;
    }
    return kept;
}

int bench_points_read(const char *path, struct bench_point out[BENCH_POINTS], struct ddp_error *err)
{
    char *text, field[FIELDS][FIELD];
    size_t bytes;
    int where[COLUMNS], n = 0, line = 1;
    memset(where, -1, sizeof where);
    int status = ddp_file_read(path, 1 << 20, &text, &bytes, err);
    if (status)
        return status;
    for (const char *at = text; *at && status == 0; line++) {
        const size_t length = strcspn(at, "\n");
        const int fields = cut(at, length, field);
        if (line == 1)
            status = find_columns(path, field, fields, where, err);
        else if (fields > 1 && n == BENCH_POINTS)
            status = ddp_fail(err, DDP_E_DATA, "%s:%d: more than %d rows", path, line, BENCH_POINTS);
        else if (fields > 1)
            status = take_row(path, line, field, fields, where, &out[n++], err);
        at += length + (at[length] == '\n');
    }
    if (status == 0 && n == 0)
        status = ddp_fail(err, DDP_E_DATA, "%s: has no rows", path);
    if (status == 0 && where[KIND] < 0 && is_strong(out, n))
        for (int i = 0; i < n; i++)
            out[i].strong = true;
    free(text);
    return status ? status : merge(out, n);
}
