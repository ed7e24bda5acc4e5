/* Lines that wait for the same line of other ranks. */
#include "launcher/fold.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64 };

void ddp_fold_init(struct ddp_fold *f, struct ddp_sink *sink, int ranks)
{
    *f = (struct ddp_fold){.sink = sink, .ranks = ranks};
    f->last = ddp_calloc((size_t)ranks + 1, sizeof *f->last);
    for (int i = 0; i < ranks; i++)
        f->last[i] = -1;
}

void ddp_fold_finish(struct ddp_fold *f)
{
    for (int i = 0; i < f->n; i++) {
        free(f->line[i].text);
        free(f->line[i].who);
    }
    free(f->last);
    *f = (struct ddp_fold){0};
}

/* ---- out ------------------------------------------------------------------------------------- */

static bool has_said(const struct ddp_fold_line *l, int rank)
{
    return l->who[rank / WORD] >> (rank % WORD) & 1;
}

/* "0-3,7" */
static void add_ranges(const struct ddp_fold *f, const struct ddp_fold_line *l, struct ddp_text *out)
{
    const char *comma = "";
    for (int first = 0; first < f->ranks; first++) {
        int end = first;
        while (end < f->ranks && has_said(l, end))
            end++;
        if (end - first > 1)
            ddp_text_add(out, "%s%d-%d", comma, first, end - 1);
        else if (end > first)
            ddp_text_add(out, "%s%d", comma, first);
        comma = end > first ? "," : comma;
        first = end > first ? end : first; /* nobody at `end` */
    }
}

/* What stands before a line. */
static void add_mark(const struct ddp_fold *f, const struct ddp_fold_line *l, struct ddp_text *out)
{
    if (!l->who) {
        if (l->count > 1)
            ddp_text_add(out, "%d times: ", l->count);
    } else if (l->count == 1) {
        if (!has_said(l, 0)) {
            ddp_text_add(out, "rank ");
            add_ranges(f, l, out);
            ddp_text_add(out, ": ");
        }
    } else if (l->count == f->ranks) {
        ddp_text_add(out, "all %d ranks: ", l->count);
    } else {
        ddp_text_add(out, "%d ranks (", l->count);
        add_ranges(f, l, out);
        ddp_text_add(out, "): ");
    }
}

static void forget(struct ddp_fold *f, int from, int n)
{
    for (int i = from; i < from + n; i++) {
        f->bytes -= f->line[i].n;
        free(f->line[i].text);
        free(f->line[i].who);
    }
    f->n -= n;
    memmove(f->line + from, f->line + from + n, (size_t)(f->n - from) * sizeof *f->line);
}

static bool reads_as(const struct ddp_fold_line *a, const char *text, size_t n)
{
    return a->n == n && memcmp(a->text, text, n) == 0;
}

/* The first `n` lines go on. */
static void pass_on(struct ddp_fold *f, int n)
{
    struct ddp_text mark;
    for (int i = 0; i < n; i++) {
        struct ddp_fold_line *l = &f->line[i];
        ddp_text_init(&mark);
        add_mark(f, l, &mark);
        ddp_sink_put(f->sink, f, mark.s, mark.len);
        ddp_sink_put(f->sink, f, l->text, l->n);
        ddp_text_finish(&mark);
    }
    forget(f, 0, n);
    f->gone += n;
}

/* The first n lines, of nobody in particular, come once more behind themselves. */
static bool is_repeated(const struct ddp_fold *f, int n)
{
    for (int i = 0; i < n; i++) {
        const struct ddp_fold_line *a = &f->line[i], *b = &f->line[n + i];
        if (a->who || b->who || !reads_as(a, b->text, b->n))
            return false;
    }
    return true;
}

/* How many lines go on together, after repetitions of them were counted. */
static int count_group(struct ddp_fold *f)
{
    int n = 1;
    while (2 * n <= f->n && !is_repeated(f, n))
        n++;
    if (2 * n > f->n)
        return 1;
    while (2 * n <= f->n && is_repeated(f, n)) {
        for (int i = 0; i < n; i++)
            f->line[i].count += f->line[n + i].count;
        forget(f, n, n);
    }
    return n;
}

double ddp_fold_due(const struct ddp_fold *f)
{
    return f->n > 0 ? f->line[0].due : HUGE_VAL;
}

void ddp_fold_move(struct ddp_fold *f, double now)
{
    while (f->n > 0 && f->line[0].due <= now)
        pass_on(f, count_group(f));
}

/* ---- in -------------------------------------------------------------------------------------- */

/* The first waiting line that this one may join, if it reads the same. */
static int first_for(const struct ddp_fold *f, int rank)
{
    if (rank < 0)
        return f->n > 0 ? f->n - 1 : 0;
    const int64_t behind = f->last[rank] + 1 - f->gone;
    return behind > 0 ? (int)behind : 0;
}

static struct ddp_fold_line *find_same(struct ddp_fold *f, int rank, const char *line, size_t n)
{
    for (int i = first_for(f, rank); i < f->n; i++) {
        if (reads_as(&f->line[i], line, n))
            return &f->line[i];
    }
    return NULL;
}

static struct ddp_fold_line *add(struct ddp_fold *f, int rank, const char *line, size_t n)
{
    while (f->n == DDP_FOLD_LINES || (f->n > 0 && f->bytes + n > DDP_FOLD_BYTES))
        pass_on(f, count_group(f));
    struct ddp_fold_line *l = &f->line[f->n++];
    *l = (struct ddp_fold_line){.text = ddp_malloc(n), .n = n};
    memcpy(l->text, line, n);
    l->who = rank < 0 ? NULL : ddp_calloc((size_t)f->ranks / WORD + 1, sizeof *l->who);
    f->bytes += n;
    return l;
}

void ddp_fold_put(struct ddp_fold *f, int rank, const char *line, size_t n, double now)
{
    struct ddp_fold_line *l = find_same(f, rank, line, n);
    if (!l) {
        l = add(f, rank, line, n);
        l->due = now + (f->ranks > 1 ? DDP_FOLD_S : 0);
    }
    l->count++;
    if (rank >= 0) {
        l->who[rank / WORD] |= (uint64_t)1 << rank % WORD;
        f->last[rank] = f->gone + (l - f->line);
    }
    ddp_fold_move(f, now);
}

void ddp_fold_part(struct ddp_fold *f, int rank, const void *who, const char *s, size_t n)
{
    for (int left = rank < 0 ? f->n : first_for(f, rank); left > 0;) {
        const int waiting = f->n;
        pass_on(f, count_group(f));
        left -= waiting - f->n;
    }
    ddp_sink_put(f->sink, who, s, n);
}
