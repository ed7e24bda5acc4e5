/* The report of a scaling curve: the curve, why it bends, models and what they predict. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/scaling/models.h"
#include "bench/scaling/scaling.h"

static const char *kind(bool strong)
{
    return strong ? "strong" : "weak";
}

/* ---- the curve: its first columns are those of a course's CSV ---------------------------------- */

static const struct bench_column curve_columns[] = {
    {"nodes", "nodes", "%.0f"},
    {"ranks_per_node", "a node", "%.0f"},
    {"local_batch", "batch", "%.4g"},
    {"samples_per_s", "samples/s", "%.1f"},
    {"scaling", "scaling", NULL},
    {"low", "from", "%.1f"},
    {"high", "to", "%.1f"},
    {"ranks", "ranks", "%.0f"},
    {"rounds", NULL, "%.0f"},
    {"covers", NULL, "%.2f"},
    {"step_ms", "ms", "%.3f"},
    {"speedup", "speed-up", "%.2f"},
    {"speedup_low", NULL, "%.2f"},
    {"speedup_high", NULL, "%.2f"},
    {"ideal", "ideal", "%.0f"},
    {"efficiency_percent", "efficiency %", "%.1f"},
    {"steps_needed", "steps needed", "%.0f"},
    {"hours", "hours", "%.4g"},
    {"rank_hours", "rank-hours", "%.4g"},
    {"best", "", NULL},
};

static bool is_least(const struct bench_curve *s, const struct bench_point *p,
                     double (*of)(const struct bench_point *))
{
    for (int i = 0; i < s->npoints; i++)
        if (of(&s->point[i]) < of(p) || (&s->point[i] < p && of(&s->point[i]) <= of(p)))
            return false; /* of equals the first */
    return true;
}

static double time_of(const struct bench_point *p)
{
    return 1 / p->rate;
}

static double price_of(const struct bench_point *p)
{
    return p->ranks / p->rate;
}

static struct bench_table *tell_curve(const struct bench_curve *s, struct bench_report *r)
{
    char title[160];
    snprintf(title, sizeof title, "the curve; hours and rank-hours are those of %.4g samples", s->o->target);
    struct bench_table *t = bench_report_table(r, "curve", title, curve_columns, DDP_COUNT(curve_columns));
    for (int i = 0; i < s->npoints; i++) {
        const struct bench_point *p = &s->point[i];
        const bool fastest = is_least(s, p, time_of), cheapest = is_least(s, p, price_of);
        const double hours = s->o->target / p->rate / 3600;
        bench_row(t, BENCH_NUMBER(p->nodes), BENCH_NUMBER(p->ranks_per_node), BENCH_NUMBER(p->local_batch),
                  BENCH_NUMBER(p->rate), BENCH_TEXT(kind(p->strong)), BENCH_NUMBER(p->low),
                  BENCH_NUMBER(p->high), BENCH_NUMBER(p->ranks), BENCH_NUMBER(p->rounds),
                  BENCH_NUMBER(p->covers), BENCH_NUMBER(p->step * 1e3), BENCH_NUMBER(p->speedup),
                  BENCH_NUMBER(p->speedup_low), BENCH_NUMBER(p->speedup_high), BENCH_NUMBER(p->ranks),
                  BENCH_NUMBER(100 * p->efficiency), BENCH_NUMBER(p->steps_needed), BENCH_NUMBER(hours),
                  BENCH_NUMBER(hours * p->ranks),
                  BENCH_TEXT(fastest && cheapest ? "fastest, cheapest"
                             : fastest           ? "fastest"
                             : cheapest          ? "cheapest"
                                                 : ""));
    }
    return t;
}

/* ---- why it bends ------------------------------------------------------------------------------ */

#define CAUSE_COLUMN(NUMBER, key, words) {#key "_ms", words, "%.3f"},
static const struct bench_column loss_columns[] = {
    {"scaling", "scaling", NULL},
    {"ranks", "ranks", "%.0f"},
    {"ideal_ms", "ideal ms", "%.3f"},
    {"step_ms", "ms", "%.3f"},
    {"loss_ms", "loss", "%.3f"},
    {"loss_percent", "%", "%.1f"},
    BENCH_CAUSES(CAUSE_COLUMN){"first", "first", NULL},
};

static void note_loss(struct bench_report *r, const struct bench_point *p)
{
    const struct bench_loss *l = &p->loss;
    char text[512];
    int n = snprintf(text, sizeof text, "%s, %.0f ranks: %.2f times as fast as 1.", kind(p->strong), p->ranks,
                     p->speedup);
    if (l->loss > 0.01 * p->step) {
        n += snprintf(text + n, sizeof text - (size_t)n, " Of each step %.1f %% are lost, most of it to: %s",
                      100 * l->loss / p->step, bench_cause_words(l->first));
        snprintf(text + n, sizeof text - (size_t)n, " (%.1f %%).", 100 * l->part[l->first] / p->step);
    }
    bench_note(r, "%s", text);
}

static void tell_losses(const struct bench_curve *s, struct bench_report *r)
{
    bool any = false;
    for (int i = 0; i < s->npoints; i++)
        any |= s->point[i].has_loss;
    if (!any)
        return;
    struct bench_table *t = bench_report_table(
        r, "losses", "why it is not N times: ms of a step lost against the ideal, by cause", loss_columns,
        DDP_COUNT(loss_columns));
    for (int i = 0; i < s->npoints; i++) {
        const struct bench_point *p = &s->point[i];
        struct bench_cell row[DDP_COUNT(loss_columns)];
        int at = 0;
        if (!p->has_loss)
            continue;
        row[at++] = BENCH_TEXT(kind(p->strong));
        row[at++] = BENCH_NUMBER(p->ranks);
        row[at++] = BENCH_NUMBER(p->loss.ideal * 1e3);
        row[at++] = BENCH_NUMBER(p->step * 1e3);
        row[at++] = BENCH_NUMBER(p->loss.loss * 1e3);
        row[at++] = BENCH_NUMBER(100 * p->loss.loss / p->step);
        for (int c = 0; c < BENCH_CAUSE_COUNT; c++)
            row[at++] = BENCH_NUMBER(p->loss.part[c] * 1e3);
        row[at++] = BENCH_TEXT(bench_cause_words(p->loss.first));
        bench_row_add(t, row, at);
        note_loss(r, p);
    }
}

/* ---- the machine ------------------------------------------------------------------------------- */

static const struct bench_column machine_columns[] = {{"ranks_per_host", "ranks on a host", "%.0f"},
                                                      {"ghz", "GHz", "%.2f"},
                                                      {"gflops", "GFLOP/s", "%.1f"},
                                                      {"gb_s", "GB/s", "%.1f"}};

/* What stands behind memory and frequency. */
static void tell_machine(const struct bench_curve *s, struct bench_report *r)
{
    if (s->nmachine < 2)
        return;
    struct bench_table *t =
        bench_report_table(r, "machine_at_once", "what each thread has when so many work at once",
                           machine_columns, DDP_COUNT(machine_columns));
    for (int i = 0; i < s->nmachine; i++)
        bench_row(t, BENCH_NUMBER(s->machine[i].ranks), BENCH_NUMBER(s->machine[i].each.ghz),
                  BENCH_NUMBER(s->machine[i].each.flops * 1e-9),
                  BENCH_NUMBER(s->machine[i].each.bytes * 1e-9));
}

/* ---- models ------------------------------------------------------------------------------------ */

static const struct bench_column model_columns[] = {
    {"scaling", "scaling", NULL},
    {"model", "model", NULL},
    {"equation", "seconds a step", NULL},
    {"a_ms", "1st", "%.3f"},
    {"b_ms", "2nd", "%.3f"},
    {"c_ms", "3rd ms", "%.3f"},
    {"inside_percent", "left out %", "%.1f"},
    {"outside_percent", "largest N %", "%.1f"},
};
static const struct bench_column predict_columns[] = {
    {"scaling", "scaling", NULL},    {"ranks", "ranks", "%.0f"}, {"samples_per_s", "samples/s", "%.1f"},
    {"low", "from", "%.1f"},         {"high", "to", "%.1f"},     {"speedup", "speed-up", "%.2f"},
    {"model", "by the model", NULL},
};

struct tables {
    struct bench_table *models, *predictions;
};

static void predict(const struct bench_curve *s, const struct bench_model *m, const struct bench_point *base,
                    struct bench_table *t)
{
    const double error = fmax(isnan(m->inside) ? NAN : m->inside, m->outside);
    for (int i = 0; i < s->o->npredict; i++) {
        const double n = (double)s->o->predict[i], time = bench_model_time(m, n);
        const double samples = m->strong ? base->local_batch * base->ranks : base->local_batch * n;
        const double rate = samples / time;
        bench_row(t, BENCH_TEXT(kind(m->strong)), BENCH_NUMBER(n), BENCH_NUMBER(rate),
                  BENCH_NUMBER(rate / (1 + error)), BENCH_NUMBER(error < 1 ? rate / (1 - error) : NAN),
                  BENCH_NUMBER(rate / base->rate * base->ranks), BENCH_TEXT(m->name));
    }
}

/* What is not divided bounds the speed-up, whatever the number of ranks. */
static void note_amdahl(struct bench_report *r, const struct bench_model *m, int n)
{
    for (int i = 0; i < n; i++) {
        const double serial = m[i].coefficient[0], whole = serial + m[i].coefficient[1];
        if (strcmp(m[i].name, "Amdahl") == 0 && serial > 0 && whole > 1.001 * serial)
            bench_note(r,
                       "By Amdahl's law %.1f %% of the step is serial: never more than %.0f times as fast.",
                       100 * serial / whole, whole / serial);
    }
}

/* Returns of how many numbers of ranks. */
static int tell_models(const struct bench_curve *s, bool strong, struct bench_report *r, struct tables *t)
{
    double ranks[BENCH_POINTS], seconds[BENCH_POINTS];
    const struct bench_point *base = NULL;
    struct bench_model m[BENCH_MODELS];
    int n = 0;
    for (int i = 0; i < s->npoints; i++) {
        const struct bench_point *p = &s->point[i];
        if (p->strong != strong)
            continue;
        ranks[n] = p->ranks;
        seconds[n++] = p->ranks * p->local_batch / p->rate;
        base = !base || p->ranks < base->ranks ? p : base;
    }
    const int sizes = bench_models_sizes(ranks, n),
              found = sizes > 1 ? bench_models_fit(strong, ranks, seconds, n, m) : 0;
    for (int i = 0; i < found; i++)
        bench_row(t->models, BENCH_TEXT(kind(strong)), BENCH_TEXT(m[i].name), BENCH_TEXT(m[i].equation),
                  BENCH_NUMBER(m[i].coefficient[0] * 1e3),
                  BENCH_NUMBER(m[i].terms > 1 ? m[i].coefficient[1] * 1e3 : NAN),
                  BENCH_NUMBER(m[i].terms > 2 ? m[i].coefficient[2] * 1e3 : NAN),
                  BENCH_NUMBER(100 * m[i].inside), BENCH_NUMBER(100 * m[i].outside));
    note_amdahl(r, m, found);
    if (found > 0 && isfinite(m[0].inside))
        predict(s, &m[0], base, t->predictions);
    return sizes;
}

static void tell_all_models(const struct bench_curve *s, struct bench_report *r)
{
    static const char few[] =
        "With fewer than 3 numbers of ranks no error of a model can be told, and nothing is predicted.";
    if (s->npoints < 2) {
        bench_note(r, "%s", few);
        return;
    }
    struct tables t = {bench_report_table(r, "models",
                                          "models; left out: the error of points that the others predict",
                                          model_columns, DDP_COUNT(model_columns)),
                       bench_report_table(r, "predictions", "predictions of the best model, with its error",
                                          predict_columns, DDP_COUNT(predict_columns))};
    const int weak = tell_models(s, false, r, &t), strong = tell_models(s, true, r, &t);
    if (weak < 3 && strong < 3)
        bench_note(r, "%s", few);
}

/* ---- all of it --------------------------------------------------------------------------------- */

static void note_length(const struct bench_curve *s, struct bench_report *r)
{
    double steps = 0, seconds = 0;
    for (int i = 0; i < s->npoints; i++) {
        const struct bench_point *p = &s->point[i];
        if (isfinite(p->steps_needed)) {
            steps = fmax(steps, p->steps_needed);
            seconds = fmax(seconds, p->steps_needed * p->step);
        }
    }
    if (steps > 0)
        bench_note(
            r,
            "How long a run must be: %.0f steps (%.1f s) tell its speed within %.1f %%, beside the 10 that "
            "warm up; this one had %ld.",
            steps, seconds, 100 * s->o->within, s->o->job.steps);
    if (steps > (double)s->o->job.steps)
        bench_warn(r, "runs are short for how much their steps differ: --steps %.0f would do", steps);
}

void bench_scaling_tell(struct bench_curve *s, struct bench_report *r)
{
    static const struct bench_plot plot = {.kind = BENCH_LINES,
                                           .title = "How many times as fast",
                                           .x = "ranks",
                                           .y = "speedup",
                                           .low = "speedup_low",
                                           .high = "speedup_high",
                                           .x_title = "ranks",
                                           .y_title = "speed-up",
                                           .series = "scaling",
                                           .ideal = "ideal",
                                           .log_x = true,
                                           .log_y = true};
    bench_points_compare(s->point, s->npoints);
    bench_report_plot(r, tell_curve(s, r), &plot);
    tell_losses(s, r);
    tell_machine(s, r);
    tell_all_models(s, r);
    if (*s->stopped)
        bench_note(r, "%s.", s->stopped);
    note_length(s, r);
    for (int i = 0; i < s->npoints; i++) {
        const struct bench_point *p = &s->point[i];
        char what[64];
        snprintf(what, sizeof what, "%s, %.0f rank%s", kind(p->strong), p->ranks, p->ranks == 1 ? "" : "s");
        if (isfinite(p->low))
            bench_warn_spread(r, what, (p->high - p->low) / p->rate, 0.1);
    }
}
