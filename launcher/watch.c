/* Who stands still, who waits for it, and for how long that may be. */
#include "launcher/watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double USUAL = 20;   /* times what is usual */
static const double PATIENCE = 3; /* times the limit of the warning, at least, until the end */
static const double STEPS_S = 10, NEW_S = 60;
static const double DONE_S = 5;
static const double TOLD_WITH_ANOTHER = -1;
static const double SEEN_STILL_S = 0.5; /* no part of a step that goes on */
static const double LOOKED_S = 1;       /* time between judgements that counts at most */
enum { LEARNED = 2 };                   /* steps */

void ddp_watch_init(struct ddp_watch *w, int ranks, double stuck_after)
{
    *w = (struct ddp_watch){.ranks = ranks, .stuck_after = stuck_after};
    w->rank = ddp_calloc((size_t)ranks, sizeof *w->rank);
}

void ddp_watch_finish(struct ddp_watch *w)
{
    free(w->rank);
    w->rank = NULL;
}

static struct ddp_watched *find(struct ddp_watch *w, int rank)
{
    return rank >= 0 && rank < w->ranks && w->rank[rank].state != DDP_LEFT ? &w->rank[rank] : NULL;
}

void ddp_watch_take(struct ddp_watch *w, int rank, const struct ddp_sample *s)
{
    struct ddp_watched *r = find(w, rank);
    if (!r)
        return;
    r->state = s ? DDP_SEEN : DDP_BLIND;
    r->told = fmax(r->told, 0);
    if (s)
        r->s = *s;
}

void ddp_watch_left(struct ddp_watch *w, int rank)
{
    struct ddp_watched *r = find(w, rank);
    if (r)
        r->state = DDP_LEFT;
}

void ddp_watch_done(struct ddp_watch *w)
{
    w->done = true;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static double floor_of(const struct ddp_watch *w, const struct ddp_sample *s)
{
    static const bool in_steps[DDP_PHASE_COUNT] = {[DDP_PHASE_DATA] = true,
                                                   [DDP_PHASE_FORWARD] = true,
                                                   [DDP_PHASE_BACKWARD] = true,
                                                   [DDP_PHASE_UPDATE] = true};
    const double least = s && in_steps[s->phase] && s->steps >= LEARNED ? STEPS_S : NEW_S;
    return w->stuck_after > 0 ? fmin(least, w->stuck_after / PATIENCE) : least;
}

static double warn_after(const struct ddp_watch *w, const struct ddp_sample *s)
{
    return fmax(floor_of(w, s), s ? USUAL * s->longest : 0);
}

/* HUGE_VAL: it is not ended for this. */
static double end_after(const struct ddp_watch *w, const struct ddp_sample *s)
{
    const bool spared = s && (s->traced || (s->phase == DDP_PHASE_OWN && !s->halted));
    return w->stuck_after > 0 && !spared ? fmax(w->stuck_after, PATIENCE * warn_after(w, s)) : HUGE_VAL;
}

/* ---- words ----------------------------------------------------------------------------------- */

static const char *duration(double s, char buf[32])
{
    if (s < 120)
        snprintf(buf, 32, "%.0f s", s);
    else
        snprintf(buf, 32, "%.0f min", s / 60);
    return buf;
}

static bool waits(const struct ddp_watched *r)
{
    return r->state == DDP_SEEN && r->s.wait != DDP_WAIT_NONE && !r->s.halted;
}

static bool is_halted(const struct ddp_watched *r)
{
    return r->state == DDP_SEEN && r->s.halted;
}

/* ", and rank 0 waits for it in bucket 2 of step 57 (3 ranks in all)" */
static void add_waiting(const struct ddp_watch *w, struct ddp_text *t)
{
    int n = 0, first = -1;
    char where[96];
    for (int i = w->ranks - 1; i >= 0; i--)
        if (waits(&w->rank[i])) {
            n++;
            first = i;
        }
    if (n == 0)
        return;
    const struct ddp_sample *s = &w->rank[first].s;
    ddp_text_add(t, ", and rank %d waits for it %s", first,
                 ddp_wait_text(s->wait, s->which, s->step, where, sizeof where));
    if (n > 1)
        ddp_text_add(t, " (%d ranks wait in all)", n);
}

/* Ranks that have not reported either. */
static int count_unseen(const struct ddp_watch *w, const struct ddp_watched *but)
{
    int n = 0;
    for (int i = 0; i < w->ranks; i++)
        n += w->rank[i].state == DDP_UNSEEN && &w->rank[i] != but;
    return n;
}

static void tell_unseen(const struct ddp_watch *w, const struct ddp_watched *r, double still,
                        struct ddp_text *t)
{
    char time[32];
    const int others = count_unseen(w, r);
    ddp_text_add(t, "has not reported to ddp-launch for %s", duration(still, time));
    if (others > 0)
        ddp_text_add(t, ", nor %s %d other%s", others == 1 ? "has" : "have", others, others == 1 ? "" : "s");
}

static void tell_rank(const struct ddp_watch *w, const struct ddp_watched *r, double still,
                      struct ddp_text *t)
{
    char phase[96], time[32];
    const struct ddp_sample *s = r->state == DDP_SEEN ? &r->s : NULL;
    if (s)
        ddp_text_add(t, "has been %s for %s", ddp_phase_text(s->phase, s->step, phase, sizeof phase),
                     duration(still, time));
    else
        tell_unseen(w, r, still, t);
    add_waiting(w, t);
    if (s && *s->doing)
        ddp_text_add(t, "; %s", s->doing);
}

int ddp_watch_culprit(const struct ddp_watch *w, char *text, int size)
{
    const struct ddp_watched *most = NULL;
    struct ddp_text t;
    int waiting = 0;
    for (int i = 0; i < w->ranks; i++) {
        const struct ddp_watched *r = &w->rank[i];
        waiting += waits(r);
        if (r->state == DDP_SEEN && !waits(r) && r->s.still >= SEEN_STILL_S &&
            (!most || r->s.still > most->s.still))
            most = r;
    }
    if (!most || waiting == 0)
        return -1;
    ddp_text_init(&t);
    tell_rank(w, most, most->s.still, &t);
    snprintf(text, (size_t)size, "%s", t.s);
    ddp_text_finish(&t);
    return (int)(most - w->rank);
}

static void add_limit(const struct ddp_watch *w, double end, bool over, struct ddp_text *t)
{
    char limit[32];
    if (over)
        ddp_text_add(t, ". The job is ended for it (launch.stuck_after = %g)", w->stuck_after);
    else if (isfinite(end))
        ddp_text_add(t, ". After %s of it the job is ended (launch.stuck_after)", duration(end, limit));
}

static void describe(const struct ddp_watch *w, const struct ddp_watched *r, double still, bool over,
                     struct ddp_text *t)
{
    tell_rank(w, r, still, t);
    add_limit(w, end_after(w, r->state == DDP_SEEN ? &r->s : NULL), over, t);
}

/* ---- judgement ------------------------------------------------------------------------------- */

struct crowd {
    int alive, waiting, halted;
};

static struct crowd count(const struct ddp_watch *w)
{
    struct crowd c = {0};
    for (int i = 0; i < w->ranks; i++) {
        c.alive += w->rank[i].state != DDP_LEFT;
        c.waiting += waits(&w->rank[i]);
        c.halted += is_halted(&w->rank[i]);
    }
    return c;
}

/* Whether others are held up by it, or the whole job is: nobody works who could come to wait for it. */
static bool holds_up(const struct ddp_watched *r, const struct crowd *c)
{
    if (r->state == DDP_UNSEEN || c->waiting > 0)
        return true;
    if (is_halted(r))
        return c->halted == c->alive;
    return c->alive == 1 && r->s.phase != DDP_PHASE_OWN;
}

static double still_for(const struct ddp_watch *w, const struct ddp_watched *r)
{
    return r->state == DDP_SEEN ? r->s.still : r->state == DDP_UNSEEN ? w->since : 0;
}

static enum ddp_watch_says judge_rank(struct ddp_watch *w, struct ddp_watched *r, struct ddp_text *t)
{
    const struct ddp_sample *s = r->state == DDP_SEEN ? &r->s : NULL;
    const double still = still_for(w, r);
    char time[32];
    if (still >= end_after(w, s)) {
        describe(w, r, still, true, t);
        return DDP_WATCH_ENDS;
    }
    if (r->told > 0 && still < r->told) {
        ddp_text_add(t, "goes on after %s", duration(r->told, time));
        r->told = 0;
        return DDP_WATCH_RELIEVED;
    }
    if (r->told == 0 && still >= warn_after(w, s)) {
        describe(w, r, still, false, t);
        for (int i = 0; i < w->ranks && r->state == DDP_UNSEEN; i++)
            if (w->rank[i].state == DDP_UNSEEN)
                w->rank[i].told = TOLD_WITH_ANOTHER;
        r->told = still;
        return DDP_WATCH_WARNS;
    }
    if (r->told > 0)
        r->told = still;
    return DDP_WATCH_NOTHING;
}

/* Nobody works, all wait: in different places, or for somebody who has left. */
static enum ddp_watch_says judge_all(struct ddp_watch *w, struct ddp_text *t)
{
    double least = HUGE_VAL;
    char time[32], where[96];
    int named = 0;
    for (int i = 0; i < w->ranks; i++)
        if (waits(&w->rank[i]))
            least = fmin(least, w->rank[i].s.still);
    if (w->done && least < DONE_S)
        return DDP_WATCH_NOTHING;
    if (w->done) {
        ddp_text_add(t, "all ranks are done, and the end of MPI does not come: the job is ended");
        return DDP_WATCH_DONE;
    }
    const double warn = floor_of(w, NULL), end = end_after(w, NULL);
    const bool over = least >= end;
    if (least < warn)
        w->told_all = false;
    if (!over && (least < warn || w->told_all))
        return DDP_WATCH_NOTHING;
    w->told_all = true;
    ddp_text_add(t, "all ranks have waited for one another for %s: ", duration(least, time));
    for (int i = 0; i < w->ranks && named < 4; i++) {
        const struct ddp_sample *s = &w->rank[i].s;
        if (waits(&w->rank[i]))
            ddp_text_add(t, "%srank %d %s", named++ ? ", " : "", i,
                         ddp_wait_text(s->wait, s->which, s->step, where, sizeof where));
    }
    add_limit(w, end, over, t);
    return over ? DDP_WATCH_ENDS : DDP_WATCH_WARNS;
}

enum ddp_watch_says ddp_watch_judge(struct ddp_watch *w, double now, int *rank, char *text, int size)
{
    const double gap = w->at > 0 ? now - w->at : 0;
    enum ddp_watch_says says = DDP_WATCH_NOTHING;
    struct ddp_text t;
    w->at = now;
    w->since += fmin(gap, LOOKED_S);
    const struct crowd c = count(w);
    ddp_text_init(&t);
    *rank = -1;
    if (c.alive > 0 && c.waiting == c.alive)
        says = judge_all(w, &t);
    for (int i = 0; i < w->ranks && says == DDP_WATCH_NOTHING; i++) {
        struct ddp_watched *r = &w->rank[i];
        const bool judged = (r->state == DDP_UNSEEN || r->state == DDP_SEEN) && !waits(r) && holds_up(r, &c);
        if (!judged && r->told == 0)
            continue;
        says = judge_rank(w, r, &t);
        *rank = i;
    }
    snprintf(text, (size_t)size, "%s", t.s ? t.s : "");
    ddp_text_finish(&t);
    return says;
}
