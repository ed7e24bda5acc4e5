/* Where the time of training steps goes: what all ranks have noted of their steps, in a few numbers. Pure. */
#include <stdlib.h>
#include <string.h>

#include "telemetry/telemetry.h"

enum { FEW = 8 }; /* steps, of which no tails are cut off */

static const char *const names[] = {
#define NAME(NUMBER, name) #name,
    DDP_TIMES(NAME)
#undef NAME
};

const char *ddp_time_name(enum ddp_time part)
{
    return names[part];
}

static double wall_of(const struct ddp_step_time *t)
{
    double sum = 0;
    for (int p = 0; p < DDP_TIME_COUNT; p++)
        sum += (double)t->part[p];
    return sum;
}

/* Without what it waits for others. */
static double work_of(const struct ddp_step_time *t)
{
    return wall_of(t) - (double)t->part[DDP_TIME_WAIT];
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile(const double *sorted, int n, double q)
{
    const double at = q * (n - 1);
    const int i = (int)at, next = i + 1 < n ? i + 1 : i;
    return sorted[i] + (at - i) * (sorted[next] - sorted[i]);
}

int ddp_times_warm_up(int steps)
{
    return steps > 40 ? 10 : steps / 4;
}

/* Of one step that counts. */
static void add_step(const struct ddp_step_time *t, int steps, int ranks, int step,
                     struct ddp_time_summary *s)
{
    double most = 0, sum = 0;
    for (int r = 0; r < ranks; r++) {
        const struct ddp_step_time *mine = &t[(size_t)r * (size_t)steps + (size_t)step];
        const double work = work_of(mine);
        most = work > most ? work : most;
        sum += work;
        for (int p = 0; p < DDP_TIME_COUNT; p++)
            s->rank[r].part[p] += (double)mine->part[p];
    }
    s->imbalance += most - sum / ranks;
}

void ddp_times_summarize(const struct ddp_step_time *t, int ranks, int steps, struct ddp_time_summary *s)
{
    const int skip = ddp_times_warm_up(steps), n = steps - skip;
    s->ranks = ranks;
    s->steps = n;
    s->median = s->low = s->high = s->imbalance = 0;
    memset(s->mean, 0, sizeof s->mean);
    for (int r = 0; r < ranks; r++)
        memset(s->rank[r].part, 0, sizeof s->rank[r].part);
    if (n < 1)
        return;
    double *wall = ddp_calloc(2 * (size_t)n, sizeof *wall), *sorted = wall + n;
    for (int i = 0; i < n; i++) {
        for (int r = 0; r < ranks; r++)
            wall[i] += wall_of(&t[(size_t)r * (size_t)steps + (size_t)(skip + i)]) / ranks;
        sorted[i] = wall[i];
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    s->median = quantile(sorted, n, 0.5);
    s->low = quantile(sorted, n, 0.25);
    s->high = quantile(sorted, n, 0.75);
    int counted = 0;
    for (int i = 0; i < n; i++)
        if (n < FEW || (wall[i] >= s->low && wall[i] <= s->high)) {
            add_step(t, steps, ranks, skip + i, s);
            counted++;
        }
    free(wall);
    s->imbalance /= counted;
    for (int r = 0; r < ranks; r++)
        for (int p = 0; p < DDP_TIME_COUNT; p++) {
            s->rank[r].part[p] /= counted;
            s->mean[p] += s->rank[r].part[p] / ranks;
        }
}

void ddp_times_text(const struct ddp_time_summary *s, char *buf, int size)
{
    double whole = 0;
    for (int p = 0; p < DDP_TIME_COUNT; p++)
        whole += s->mean[p];
    int n = snprintf(buf, (size_t)size, "a step takes %.2f ms", s->median * 1e3);
    for (int p = 0; p < DDP_TIME_COUNT && whole > 0 && n < size; p++)
        n += snprintf(buf + n, (size_t)(size - n), "%s %s %.1f %%", p ? "," : ":", names[p],
                      100 * s->mean[p] / whole);
}
