/* The jobs of a scaling curve: all points in turn, again and again, so that what else goes on hits them
 * alike. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ceilings.h"
#include "bench/scaling/scaling.h"
#include "bench/stats.h"

enum { MOST_COPIES = 256 };

struct trial { /* what one point is measured by */
    bool strong;
    int ranks, copies;                         /* copies: ranks on one host */
    long batch, local;                         /* of all, of one */
    const struct trial *same;                  /* of the other kind, with the same jobs; NULL: none */
    bool has_alone;                            /* else the base is it */
    struct bench_took *job, *alone, *together; /* [rounds] */
    struct bench_ceilings at_once;
};

struct measuring {
    struct bench_curve *s;
    struct bench_job *job;
    struct trial trial[2 * BENCH_SCALING_SIZES];
    int n, rounds;
    struct bench_ceilings one;
};

/* ---- one job --------------------------------------------------------------------------------- */

static int start(struct measuring *m, int ranks, long batch, long shards, int copies, struct bench_took *out,
                 struct ddp_error *err)
{
    char words[4][64];
    const char *const ours[] = {words[0], words[1], words[2], words[3], NULL};
    snprintf(words[0], sizeof words[0], "train.batch=%ld", batch);
    snprintf(words[1], sizeof words[1], "train.batch_per_rank=0");
    snprintf(words[2], sizeof words[2], "optim.lr_rule=none");
    snprintf(words[3], sizeof words[3], "train.shards=%ld", shards);
    struct bench_took took[MOST_COPIES];
    copies = copies < MOST_COPIES ? copies : MOST_COPIES;
    const int status = bench_job_run(m->job, ranks, ours, copies, took, err);
    if (status == 0)
        bench_took_join(took, copies, out);
    return status ? ddp_error_prefix(err, "%d rank%s%s", ranks, ranks == 1 ? "" : "s",
                                     copies > 1 ? ", several jobs at once" : "")
                  : 0;
}

/* Shards of a job, and of one of its ranks alone. */
static long shards_of(const struct measuring *m, const struct trial *t)
{
    return m->s->o->shards > 0 ? m->s->o->shards : t->ranks;
}

static int measure(struct measuring *m, struct trial *t, int round, struct ddp_error *err)
{
    if (t->same) {
        t->job[round] = t->same->job[round];
        return 0;
    }
    const long shards = shards_of(m, t), each = (shards + t->ranks - 1) / t->ranks;
    int status = start(m, t->ranks, t->batch, shards, 1, &t->job[round], err);
    if (status == 0 && t->has_alone)
        status = start(m, 1, t->local, each, 1, &t->alone[round], err);
    if (status == 0 && t->copies > 1)
        status = start(m, 1, t->local, each, t->copies, &t->together[round], err);
    return status;
}

/* ---- what there is to measure ---------------------------------------------------------------- */

/* Hosts in "a,b:4,c". */
static int count_hosts(const char *hosts)
{
    int n = 1;
    for (const char *c = hosts; c && *c; c++)
        n += *c == ',';
    return n;
}

static void plan_kind(struct measuring *m, bool strong)
{
    const struct bench_scaling_options *o = m->s->o;
    const long batch = o->batch > 0 ? o->batch : m->job->facts.batch;
    const int hosts = count_hosts(o->job.hosts);
    for (int i = 0; i < o->nranks; i++) {
        struct trial *t = &m->trial[m->n++];
        *t = (struct trial){.strong = strong, .ranks = (int)o->ranks[i]};
        t->batch = strong ? batch : batch * t->ranks;
        t->same = strong && o->weak && i == 0 && t->ranks == 1 ? &m->trial[0] : NULL;
        t->local = (t->batch + t->ranks - 1) / t->ranks;
        t->has_alone = i > 0 && (strong || o->ranks[0] > 1);
        t->copies = t->ranks > 1 ? (t->ranks + hosts - 1) / hosts : 1;
        t->job = ddp_calloc((size_t)o->most, sizeof *t->job);
        t->alone = ddp_calloc((size_t)o->most, sizeof *t->alone);
        t->together = ddp_calloc((size_t)o->most, sizeof *t->together);
    }
}

/* How many ranks a host has, once each. */
static void note_machine(struct bench_curve *s, int ranks, const struct bench_ceilings *each)
{
    for (int i = 0; i < s->nmachine; i++)
        if (s->machine[i].ranks == ranks)
            return;
    if (s->nmachine <= BENCH_SCALING_SIZES)
        s->machine[s->nmachine++] = (struct bench_at_once){ranks, *each};
}

static int measure_clocks(struct measuring *m, struct ddp_error *err)
{
    const long threads = m->s->o->job.threads > 0 ? m->s->o->job.threads : 1;
    int status = bench_ceilings_measure((int)threads, &m->one, err);
    note_machine(m->s, 1, &m->one);
    for (int i = 0; i < m->n && status == 0; i++) {
        struct trial *t = &m->trial[i];
        status = bench_ceilings_measure((int)(threads * t->copies), &t->at_once, err);
        note_machine(m->s, t->copies, &t->at_once);
    }
    return status;
}

/* ---- rounds, and their end ------------------------------------------------------------------- */

static struct bench_interval rate_of(const struct trial *t, int rounds)
{
    double rate[BENCH_SCALING_ROUNDS];
    for (int i = 0; i < rounds; i++)
        rate[i] = t->job[i].samples_per_s;
    return bench_median_interval(rate, rounds);
}

/* The widest of all points' intervals; *covers: the chance of each to hold its median. */
static double widest(const struct measuring *m, double *covers)
{
    double most = 0;
    for (int i = 0; i < m->n; i++) {
        const struct bench_interval c = rate_of(&m->trial[i], m->rounds);
        most = fmax(most, bench_interval_width(&c));
        *covers = c.covers;
    }
    return most;
}

/* Fewer than six rounds tell a range, and no interval of 95 %. */
static bool enough(struct measuring *m, double began)
{
    const struct bench_scaling_options *o = m->s->o;
    double covers = 0;
    const double width = 100 * widest(m, &covers), spent = ddp_now() - began;
    const bool sure = covers >= 0.95, known = sure && width <= 100 * o->within;
    const bool most = m->rounds >= o->most, late = spent + spent / m->rounds > o->budget_s;
    char state[128];
    if (!known && !most && !late)
        return false;
    snprintf(state, sizeof state, "the least known median is known within %.1f %% (95 %%), not %.1f %%",
             width, 100 * o->within);
    if (!sure)
        snprintf(
            state, sizeof state,
            "too few for intervals of 95 %%: from .. to is their range, which holds the median with %.0f %%",
            100 * covers);
    if (known)
        snprintf(m->s->stopped, sizeof m->s->stopped,
                 "stopped after %d rounds: every median is known within %.1f %% (95 %%)", m->rounds, width);
    else
        snprintf(m->s->stopped, sizeof m->s->stopped, "stopped after %d round%s, %s; %s", m->rounds,
                 ddp_plural(m->rounds),
                 most ? "the most that were asked for (--repeat)" : "as another would take too long (--time)",
                 state);
    return true;
}

/* ---- from measurements to points ------------------------------------------------------------- */

static const struct trial *base_of(const struct measuring *m, bool strong)
{
    const struct trial *base = NULL;
    for (int i = 0; i < m->n; i++)
        if (m->trial[i].strong == strong && (!base || m->trial[i].ranks < base->ranks))
            base = &m->trial[i];
    return base;
}

static void explain(const struct measuring *m, const struct trial *t, struct bench_point *p)
{
    const struct trial *b = base_of(m, t->strong);
    struct bench_took job, base, alone, together;
    bench_took_median(t->job, m->rounds, &job);
    bench_took_median(b->job, m->rounds, &base);
    bench_took_median(t->has_alone ? t->alone : b->job, m->rounds, &alone);
    if (t->copies > 1)
        bench_took_median(t->together, m->rounds, &together);
    const struct bench_evidence e = {.job = &job,
                                     .base = &base,
                                     .alone = &alone,
                                     .together = t->copies > 1 ? &together : NULL,
                                     .share = t->strong ? (double)b->ranks / t->ranks : 1,
                                     .ghz_alone = m->one.ghz,
                                     .ghz_all = t->at_once.ghz};
    p->nodes = job.hosts > 0 ? job.hosts : 1;
    p->ranks_per_node = ceil(t->ranks / p->nodes);
    p->steps_needed = bench_steps_needed(job.low, job.step, job.high, m->s->o->within);
    p->step = bench_parts_sum(job.part);
    p->has_loss = t != b;
    if (p->has_loss)
        bench_loss_explain(&e, &p->loss);
}

static void make_points(struct measuring *m)
{
    struct bench_curve *s = m->s;
    for (int i = 0; i < m->n && s->npoints < BENCH_POINTS; i++) {
        const struct trial *t = &m->trial[i];
        const struct bench_interval c = rate_of(t, m->rounds);
        struct bench_point *p = &s->point[s->npoints++];
        *p = (struct bench_point){.strong = t->strong,
                                  .local_batch = (double)t->batch / t->ranks,
                                  .ranks = t->ranks,
                                  .rate = c.median,
                                  .low = c.low,
                                  .high = c.high,
                                  .covers = c.covers,
                                  .rounds = m->rounds};
        explain(m, t, p);
    }
}

int bench_scaling_measure(struct bench_curve *s, struct bench_job *job, struct bench_report *r,
                          struct ddp_error *err)
{
    struct measuring *m = ddp_calloc(1, sizeof *m);
    m->s = s;
    m->job = job;
    if (s->o->weak)
        plan_kind(m, false);
    if (s->o->strong)
        plan_kind(m, true);
    int status = measure_clocks(m, err);
    const double began = ddp_now();
    for (bool done = false; status == 0 && !done;) {
        for (int i = 0; i < m->n && status == 0; i++)
            status = measure(m, &m->trial[i], m->rounds, err);
        bench_report_clock(r);
        m->rounds += status == 0;
        done = status == 0 && enough(m, began);
    }
    if (status == 0) {
        make_points(m);
        bench_report_pinning(r, m->trial[m->n - 1].job[0].placement);
    }
    for (int i = 0; i < m->n; i++) {
        free(m->trial[i].job);
        free(m->trial[i].alone);
        free(m->trial[i].together);
    }
    free(m);
    return status;
}
