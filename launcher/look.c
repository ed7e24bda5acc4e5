/* Looks at ranks: what has changed since the last one. */
#include "launcher/look.h"

#include <stdio.h>
#include <stdlib.h>

#include "launcher/doing.h"
#include "launcher/process.h"

enum { WARM_UP = 2, CLOCK_EVERY = 16 }; /* first steps of a process; looks */
static const double STILL_S = 0.4;      /* from then on the system is asked what the process does */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

/* Medians over the steps that are new. */
static void sum_up(const struct ddp_pulse *p, int64_t seen, struct ddp_sample *out)
{
    double wall[DDP_PULSE_STEPS], busy[DDP_PULSE_STEPS], data[DDP_PULSE_STEPS], aside[DDP_PULSE_STEPS];
    int64_t first = seen > WARM_UP ? seen : WARM_UP;
    int n = 0;
    if (p->steps - first > DDP_PULSE_STEPS)
        first = p->steps - DDP_PULSE_STEPS;
    for (int64_t i = first; i < p->steps; i++, n++) {
        const struct ddp_pulse_step *s = &p->recent[i % DDP_PULSE_STEPS];
        wall[n] = s->wall;
        busy[n] = s->wall - s->waited;
        data[n] = s->data;
        aside[n] = s->aside;
    }
    out->fresh = n;
    if (n == 0)
        return;
    out->wall = median(wall, n);
    out->busy = median(busy, n);
    out->data = median(data, n);
    out->aside = median(aside, n);
}

/* How long steps and this phase have lately taken, without waits. */
static double longest(const struct ddp_pulse *p)
{
    double most = p->longest[p->phase];
    const int n = p->steps < DDP_PULSE_STEPS ? (int)p->steps : DDP_PULSE_STEPS;
    for (int i = 0; i < n; i++) {
        const struct ddp_pulse_step *s = &p->recent[i];
        const double own = s->wall - s->waited - s->aside;
        most = own > most ? own : most;
    }
    return most;
}

void ddp_look_at(struct ddp_look *look, const struct ddp_pulse_page *page, pid_t process, double now,
                 struct ddp_sample *out)
{
    struct ddp_pulse p;
    const double gap = look->at > 0 ? now - look->at : 0;
    double ran = 0, queued = 0;
    ddp_pulse_read(page, &p);
    *out = (struct ddp_sample){.pid = (int)process,
                               .phase = p.phase,
                               .wait = p.wait,
                               .which = p.which,
                               .step = p.step,
                               .shards = p.shards,
                               .steps = p.steps,
                               .longest = longest(&p)};
    sum_up(&p, look->steps, out);
    /* whoever was paused, or had no core to look from, has not seen a rank stand still */
    if (p.beats == look->beats)
        look->still += gap < 2 * DDP_LOOK_S ? gap : 2 * DDP_LOOK_S;
    else
        look->still = 0;
    out->still = look->still;
    if (ddp_process_times(process, &ran, &queued) && look->at > 0) {
        out->span = gap;
        out->ran = ran - look->ran;
        out->queued = queued - look->queued;
    }
    if (out->fresh > 0 && look->looks++ % CLOCK_EVERY == 0)
        look->mhz = ddp_process_mhz(process);
    out->mhz = look->mhz;
    if (out->still >= STILL_S) {
        const char state = ddp_process_state(process, NULL);
        out->traced = state == 't';
        out->halted = state == 'T' || state == 't';
        if (out->halted || p.wait == DDP_WAIT_NONE)
            ddp_process_doing(process, out->doing, sizeof out->doing);
    }
    look->at = now;
    look->beats = p.beats;
    look->steps = p.steps;
    look->ran = ran;
    look->queued = queued;
}
