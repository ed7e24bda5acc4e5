/* Who is late, in how many steps, and why. */
#include "launcher/slow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double FLOOR_S = 0.005, PART = 0.1, LATEST = 0.7, BLATANT = 0.3;
static const double BLATANT_STEPS = 8, STEPS = 30, STEPS_S = 10, CROWDED_S = 30;
static const double USED_UP = 2;  /* by a step that is not late */
static const double MOST = 60;    /* steps, and seconds, of evidence that count */
static const double SLOWER = 0.9; /* clock against the others' */

void ddp_slow_init(struct ddp_slow *w, int ranks)
{
    *w = (struct ddp_slow){.ranks = ranks};
    w->rank = ddp_calloc((size_t)ranks, sizeof *w->rank);
    w->work = ddp_calloc((size_t)ranks, sizeof *w->work);
}

void ddp_slow_finish(struct ddp_slow *w)
{
    free(w->rank);
    free(w->work);
    *w = (struct ddp_slow){0};
}

void ddp_slow_take(struct ddp_slow *w, int rank, const struct ddp_sample *s)
{
    if (rank < 0 || rank >= w->ranks)
        return;
    struct ddp_pace *p = &w->rank[rank];
    p->blind = s == NULL;
    if (!s)
        return;
    p->span += s->span;
    p->ran += s->ran;
    p->queued += s->queued;
    if (s->fresh > 0) {
        p->s = *s;
        p->fresh += s->fresh;
    }
}

void ddp_slow_left(struct ddp_slow *w, int rank)
{
    if (rank >= 0 && rank < w->ranks)
        w->rank[rank].left = true;
}

/* ---- a round: new steps of every rank -------------------------------------------------------- */

struct share { /* of a step, seconds */
    double wall, busy, data, aside, queue, idle;
};

static struct share share_of(const struct ddp_pace *p)
{
    struct share s = {.wall = p->s.wall, .busy = p->s.busy, .data = p->s.data, .aside = p->s.aside};
    if (p->span > 0) {
        const double steps = s.wall / p->span;
        s.queue = p->queued * steps;
        s.idle = fmax(0, s.busy - p->ran * steps - s.queue);
    }
    return s;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The lower one of two in the middle. */
static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return v[(n - 1) / 2];
}

enum part { BUSY, DATA, ASIDE, QUEUE, IDLE, CLOCK };

static double part_of(const struct ddp_pace *p, enum part part)
{
    const struct share s = share_of(p);
    switch (part) {
    case BUSY:
        return s.busy;
    case DATA:
        return s.data;
    case ASIDE:
        return s.aside;
    case QUEUE:
        return s.queue;
    case IDLE:
        return s.idle;
    case CLOCK:
        return p->s.mhz;
    }
    return 0;
}

/* In the middle of the other ranks. BUSY: with this rank's share of the work. */
static double of_others(struct ddp_slow *w, int rank, enum part part)
{
    int n = 0;
    const int mine = w->rank[rank].s.shards;
    for (int k = 0; k < w->ranks; k++) {
        const struct ddp_pace *p = &w->rank[k];
        if (k == rank || p->left)
            continue;
        const bool more = part == BUSY && mine > p->s.shards && p->s.shards > 0;
        w->work[n++] = part_of(p, part) * (more ? (double)mine / p->s.shards : 1);
    }
    return median(w->work, n);
}

static double lateness(struct ddp_slow *w, int rank)
{
    return part_of(&w->rank[rank], BUSY) - of_others(w, rank, BUSY);
}

static void cause_of(const struct ddp_pace *p, char *buf, size_t size)
{
    const double half = 0.5 * p->lateness;
    if (p->data >= half)
        snprintf(buf, size, "it waits %.0f ms longer for its data", 1e3 * p->data);
    else if (p->aside >= half)
        snprintf(buf, size, "records, hooks or evaluations take it %.0f ms", 1e3 * p->aside);
    else if (p->queue >= half)
        snprintf(buf, size, "it is ready and has no core for %.0f ms: its cores are shared", 1e3 * p->queue);
    else if (p->idle >= half)
        snprintf(buf, size, "it is asleep for %.0f ms in the midst of its work", 1e3 * p->idle);
    else if (p->mhz > 0 && p->mhz < SLOWER * p->mhz_others)
        snprintf(buf, size, "its core runs at %d MHz, those of others at %d", p->mhz, p->mhz_others);
    else
        snprintf(buf, size, "it computes longer");
}

/* Means over all steps since it was first late. */
static void add_up(struct ddp_slow *w, int rank, double late)
{
    struct ddp_pace *p = &w->rank[rank];
    const int n = p->fresh;
    if (p->n == 0) {
        const int64_t first = p->s.step - n + 1;
        p->lateness = p->data = p->aside = p->queue = p->idle = 0;
        p->word = (struct ddp_slow_rank){.rank = rank, .from = first > 1 ? first : 1};
    }
    p->n += n;
    const double part = n / p->n;
    p->lateness += part * (late - p->lateness);
    p->data += part * (part_of(p, DATA) - of_others(w, rank, DATA) - p->data);
    p->aside += part * (part_of(p, ASIDE) - of_others(w, rank, ASIDE) - p->aside);
    p->queue += part * (part_of(p, QUEUE) - of_others(w, rank, QUEUE) - p->queue);
    p->idle += part * (part_of(p, IDLE) - of_others(w, rank, IDLE) - p->idle);
    p->mhz = p->s.mhz;
    p->mhz_others = (int)of_others(w, rank, CLOCK);
    p->word.to = p->s.step;
    p->word.late = p->lateness;
    p->word.lost += late * n;
    cause_of(p, p->word.cause, sizeof p->word.cause);
}

static double capped(double v)
{
    return v < 0 ? 0 : v > MOST ? MOST : v;
}

static void weigh(struct ddp_slow *w, int rank, double late, double latest, double wall)
{
    struct ddp_pace *p = &w->rank[rank];
    const double n = p->fresh, limit = fmax(FLOOR_S, PART * wall);
    const double queue = fmax(0, part_of(p, QUEUE) - of_others(w, rank, QUEUE));
    double lates = -USED_UP * n, blatants = lates, crowds = lates;
    if (late > limit && late >= LATEST * latest) {
        add_up(w, rank, late);
        crowds = n;
        if (late - queue > limit)
            lates = n;
        if (late - queue > BLATANT * wall)
            blatants = n;
    }
    p->late.blatant = capped(p->late.blatant + blatants);
    p->late.steps = capped(p->late.steps + lates);
    p->late.seconds = capped(p->late.seconds + lates * wall);
    p->late.crowded = capped(p->late.crowded + crowds);
    p->late.crowded_s = capped(p->late.crowded_s + crowds * wall);
    if (!p->named && p->late.crowded == 0)
        p->n = 0;
}

static bool is_slow(const struct ddp_pace *p)
{
    return p->late.blatant >= BLATANT_STEPS || (p->late.steps >= STEPS && p->late.seconds >= STEPS_S) ||
           (p->late.crowded >= STEPS && p->late.crowded_s >= CROWDED_S);
}

/* Whether every rank has new steps. */
static bool is_complete(const struct ddp_slow *w)
{
    int alive = 0;
    for (int i = 0; i < w->ranks; i++) {
        const struct ddp_pace *p = &w->rank[i];
        if (!p->left && (p->blind || p->fresh == 0))
            return false;
        alive += !p->left;
    }
    return alive > 1;
}

static void judge_round(struct ddp_slow *w)
{
    double latest = 0;
    for (int i = 0; i < w->ranks; i++)
        if (!w->rank[i].left)
            latest = fmax(latest, lateness(w, i));
    for (int i = 0; i < w->ranks; i++)
        if (!w->rank[i].left)
            weigh(w, i, lateness(w, i), latest, w->rank[i].s.wall);
    for (int i = 0; i < w->ranks; i++) {
        struct ddp_pace *p = &w->rank[i];
        p->fresh = 0;
        p->span = p->ran = p->queued = 0;
    }
}

/* One time after the other. */
static struct ddp_slow_rank join(const struct ddp_slow_rank *past, const struct ddp_slow_rank *now)
{
    struct ddp_slow_rank both = *now;
    if (past->to > 0) {
        both.from = past->from;
        both.lost += past->lost;
    }
    return both;
}

enum ddp_slow_says ddp_slow_judge(struct ddp_slow *w, const struct ddp_slow_rank **out)
{
    if (!w->due && is_complete(w)) {
        judge_round(w);
        w->due = true;
        w->next = 0;
    }
    while (w->due && w->next < w->ranks) {
        struct ddp_pace *p = &w->rank[w->next++];
        *out = &p->word;
        if (!p->named && is_slow(p)) {
            p->named = true;
            return DDP_SLOW_NAMES;
        }
        if (p->named && p->late.crowded == 0) {
            p->named = false;
            p->n = 0;
            p->word.over = true;
            p->past = join(&p->past, &p->word);
            return DDP_SLOW_RELIEVED;
        }
        if (p->named)
            return DDP_SLOW_GOES_ON;
    }
    w->due = false;
    return DDP_SLOW_NOTHING;
}

bool ddp_slow_total(const struct ddp_slow *w, int rank, struct ddp_slow_rank *out)
{
    const struct ddp_pace *p = &w->rank[rank];
    *out = p->named ? join(&p->past, &p->word) : p->past;
    return out->to > 0;
}

/* ---- words ----------------------------------------------------------------------------------- */

void ddp_slow_text(const struct ddp_slow_rank *s, enum ddp_slow_says says, char *buf, int size)
{
    const long long from = s->from, to = s->to;
    const double ms = 1e3 * s->late;
    if (says == DDP_SLOW_NAMES)
        snprintf(
            buf, (size_t)size,
            "is slow: since step %lld it comes %.0f ms late to each, and the others wait (until step %lld); "
            "%s",
            from, ms, to, s->cause);
    else if (says == DDP_SLOW_RELIEVED)
        snprintf(buf, (size_t)size, "is slow no more after step %lld", to);
    else
        snprintf(buf, (size_t)size, "was slow from step %lld to %lld: %.0f ms a step, %.1f s in all; %s",
                 from, to, ms, s->lost, s->cause);
}
