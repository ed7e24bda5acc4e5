/* The CSV that points of a scaling curve are read from: fields, columns, rows, and whether the rows are one
 * curve of each kind. */
#include "bench/scaling/points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/stats.h"

enum column { NODES, PER_NODE, BATCH, RATE, KIND, LOW, HIGH, COLUMNS };

static const struct {
    const char *names; /* between bars */
    bool required, whole;
    double most;
} columns[COLUMNS] = {
    [NODES] = {"|nodes|num_nodes|nnodes|n_nodes|hosts|", true, true, 1e6},
    [PER_NODE] = {"|ranks_per_node|gpus_per_node|procs_per_node|tasks_per_node|ntasks_per_node|", true, true,
                  65536},
    [BATCH] = {"|local_batch|local_batch_size|batch_per_rank|batch_size|batch_per_gpu|", true, false, 1e9},
    [RATE] = {"|samples_per_s|images_per_s|samples_per_sec|images_per_sec|throughput|samples/s|images/s|",
              true, false, 1e12},
    [KIND] = {"|scaling|kind|", false, false, 0},
    [LOW] = {"|low|", false, false, 1e12},
    [HIGH] = {"|high|", false, false, 1e12},
};

enum { FIELDS = 64, FIELD = 64 };

struct table {
    const char *path;
    int line, names;    /* where we are; fields of the first line */
    int where[COLUMNS]; /* field of each column; -1: none */
    char field[FIELDS][FIELD];
};

static int first_name(int c, const char **name)
{
    *name = columns[c].names + 1;
    return (int)strcspn(*name, "|");
}

/* One field from *at on, which is put behind it: blanks around it go, and quotes, in which commas may be. */
static void cut_one(const char **at, const char *end, char field[FIELD])
{
    const char *p = *at;
    size_t n = 0;
    bool quoted = false;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    for (; p < end && (quoted || *p != ','); p++) {
        if (*p == '"')
            quoted = !quoted;
        else if (n < FIELD - 1)
            field[n++] = *p;
    }
    while (n > 0 && strchr(" \t\r", field[n - 1]))
        n--;
    field[n] = '\0';
    *at = p;
}

/* A line into t->field. Returns how many; 0: a blank line. More than FIELDS are counted, not kept. */
static int cut(struct table *t, const char *line, size_t length)
{
    const char *at = line, *end = line + length;
    char rest[FIELD];
    int n = 0;
    for (;; at++) {
        cut_one(&at, end, n < FIELDS ? t->field[n] : rest);
        n++;
        if (at == end)
            return n == 1 && !t->field[0][0] ? 0 : n;
    }
}

static int find_columns(struct table *t, int n, struct ddp_error *err)
{
    const char *name;
    t->names = n;
    if (n > FIELDS)
        return ddp_fail(err, DDP_E_DATA, "%s:1: %d columns; at most %d are read", t->path, n, FIELDS);
    for (int c = 0; c < COLUMNS; c++) {
        t->where[c] = -1;
        const int length = first_name(c, &name);
        for (int i = 0; i < n; i++) {
            char word[FIELD + 2];
            snprintf(word, sizeof word, "|%s|", t->field[i]);
            for (char *l = word; *l; l++)
                *l = *l >= 'A' && *l <= 'Z' ? (char)(*l + 32) : *l == ' ' || *l == '-' ? '_' : *l;
            if (!strstr(columns[c].names, word) || !t->field[i][0])
                continue;
            if (t->where[c] >= 0)
                return ddp_fail(err, DDP_E_DATA,
                                "%s:1: columns %d and %d, \"%s\" and \"%s\", are both %.*s; take one out",
                                t->path, t->where[c] + 1, i + 1, t->field[t->where[c]], t->field[i], length,
                                name);
            t->where[c] = i;
        }
        if (t->where[c] < 0 && columns[c].required)
            return ddp_fail(err, DDP_E_DATA,
                            "%s:1: has no column %.*s (nodes, ranks_per_node, local_batch and "
                            "samples_per_s are needed, with commas between them)",
                            t->path, length, name);
    }
    return 0;
}

static int take_number(const struct table *t, int c, double *v, struct ddp_error *err)
{
    const char *text = t->field[t->where[c]], *name;
    const int length = first_name(c, &name);
    *v = NAN;
    if (!columns[c].required && (!*text || strcasecmp(text, "nan") == 0 || strcmp(text, "-") == 0))
        return 0;
    if (!ddp_parse_double(text, v) || !(*v > 0))
        return ddp_fail(err, DDP_E_DATA, "%s:%d: column %.*s holds \"%s\", which is no number above 0",
                        t->path, t->line, length, name, text);
    if (*v > columns[c].most || (columns[c].whole && *v != floor(*v)))
        return ddp_fail(err, DDP_E_DATA, "%s:%d: column %.*s holds \"%s\"; wanted is a %snumber up to %.0f",
                        t->path, t->line, length, name, text, columns[c].whole ? "whole " : "",
                        columns[c].most);
    return 0;
}

static int take_row(const struct table *t, int n, struct bench_point *p, struct ddp_error *err)
{
    double v[COLUMNS];
    if (n != t->names)
        return ddp_fail(
            err, DDP_E_DATA,
            "%s:%d: %d field%s, but the first line has %d names (decimals are written with a point, "
            "thousands without a comma)",
            t->path, t->line, n, ddp_plural(n), t->names);
    for (int c = 0; c < COLUMNS; c++) {
        v[c] = NAN;
        if (t->where[c] >= 0 && c != KIND && take_number(t, c, &v[c], err) != 0)
            return DDP_E_DATA;
    }
    const char *kind = t->where[KIND] >= 0 ? t->field[t->where[KIND]] : "weak";
    *p = (struct bench_point){.nodes = v[NODES],
                              .ranks_per_node = v[PER_NODE],
                              .local_batch = v[BATCH],
                              .ranks = v[NODES] * v[PER_NODE],
                              .rate = v[RATE],
                              .low = v[LOW],
                              .high = v[HIGH],
                              .steps_needed = NAN,
                              .line = t->line,
                              .rounds = 1};
    p->strong = strcasecmp(kind, "strong") == 0;
    p->step = p->ranks * p->local_batch / p->rate;
    if (!p->strong && strcasecmp(kind, "weak") != 0)
        return ddp_fail(err, DDP_E_DATA, "%s:%d: column scaling holds \"%s\"; wanted is weak or strong",
                        t->path, t->line, kind);
    return 0;
}

/* ---- weak or strong ---- */

static bool same_local(const struct bench_point *a, const struct bench_point *b)
{
    return fabs(a->local_batch / b->local_batch - 1) < 0.01;
}

/* What a batch is short of where it is not divisible counts as the same. */
static bool same_global(const struct bench_point *a, const struct bench_point *b)
{
    const double x = a->ranks * a->local_batch, y = b->ranks * b->local_batch;
    return fabs(x / y - 1) < 0.01 || fabs(x - y) < fmax(a->ranks, b->ranks);
}

/* Where no row says which: the global batch is the same in all, on different numbers of ranks. */
static bool is_strong(const struct bench_point *p, int n)
{
    bool global = true, local = true;
    for (int i = 1; i < n; i++) {
        global = global && same_global(&p[i], &p[0]);
        local = local && same_local(&p[i], &p[0]);
    }
    return global && !local;
}

/* The rows of each kind are one curve: with one local batch, or with one global batch. */
static int check_kinds(const char *path, const struct bench_point *p, int n, bool said, struct ddp_error *err)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++) {
            if (p[i].strong != p[k].strong)
                continue;
            if (p[i].strong ? same_global(&p[i], &p[k]) : same_local(&p[i], &p[k]))
                break;
            if (said)
                return ddp_fail(
                    err, DDP_E_DATA,
                    "%s:%d: this row is one of %s scaling, and its %s batch is %g; in line %d it is "
                    "%g: put the rows of each curve into a file of their own",
                    path, p[i].line, p[i].strong ? "strong" : "weak", p[i].strong ? "global" : "local",
                    p[i].local_batch * (p[i].strong ? p[i].ranks : 1), p[k].line,
                    p[k].local_batch * (p[k].strong ? p[k].ranks : 1));
            return ddp_fail(
                err, DDP_E_DATA,
                "%s:%d: a local batch of %g on %.0f rank%s, and %g on %.0f in line %d, are neither weak "
                "scaling (one local batch) nor strong (one global batch): say which in a column "
                "\"scaling\" (weak, strong), or put the rows of each curve into a file of their own",
                path, p[i].line, p[i].local_batch, p[i].ranks, ddp_plural((long long)p[i].ranks),
                p[k].local_batch, p[k].ranks, p[k].line);
        }
    return 0;
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

static int take_lines(struct table *t, const char *text, struct bench_point out[BENCH_POINTS], int *n,
                      struct ddp_error *err)
{
    int status = 0;
    for (const char *at = text; *at && status == 0; t->line++) {
        const size_t length = strcspn(at, "\n");
        const int fields = cut(t, at, length);
        if (t->line == 1)
            status = find_columns(t, fields, err);
        else if (fields > 0 && *n == BENCH_POINTS)
            status = ddp_fail(err, DDP_E_DATA, "%s:%d: more than %d rows", t->path, t->line, BENCH_POINTS);
        else if (fields > 0)
            status = take_row(t, fields, &out[(*n)++], err);
        at += length + (at[length] == '\n');
    }
    return status;
}

int bench_points_read(const char *path, struct bench_point out[BENCH_POINTS], struct ddp_error *err)
{
    static const char mark[] = "\xef\xbb\xbf"; /* of the byte order, as spreadsheets write it */
    char *text;
    size_t bytes;
    int n = 0;
    int status = ddp_file_read(path, 1 << 20, &text, &bytes, err);
    if (status)
        return status;
    struct table *t = ddp_calloc(1, sizeof *t);
    t->path = path;
    t->line = 1;
    status = take_lines(t, text + (strncmp(text, mark, 3) == 0 ? 3 : 0), out, &n, err);
    if (status == 0 && n == 0)
        status = ddp_fail(err, DDP_E_DATA, "%s: has no rows", path);
    const bool said = n > 0 && t->where[KIND] >= 0;
    if (status == 0 && !said && is_strong(out, n))
        for (int i = 0; i < n; i++)
            out[i].strong = true;
    if (status == 0)
        status = check_kinds(path, out, n, said, err);
    free(t);
    free(text);
    return status ? status : merge(out, n);
}
