/* The line of text that says how far training is, and when it is due. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "telemetry/telemetry.h"

/* 12345 -> "12,345" */
static const char *grouped(double v, char *buf, size_t size)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.0f", isfinite(v) ? v : 0.0);
    size_t k = 0;
    for (int i = 0; i < n && k + 2 < size; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            buf[k++] = ',';
        buf[k++] = digits[i];
    }
    buf[k] = '\0';
    return buf;
}

static void eta_text(const struct ddp_step_metrics *s, int64_t total_steps, char eta[32])
{
    const double left =
        s->samples_per_s > 0 ? (double)(total_steps - s->step) * (double)s->count / s->samples_per_s : -1;
    snprintf(eta, 32, "-");
    if (left >= 3600)
        snprintf(eta, 32, "%d:%02d:%02d", (int)(left / 3600), (int)left / 60 % 60, (int)left % 60);
    else if (left >= 0)
        snprintf(eta, 32, "%d:%02d", (int)left / 60, (int)left % 60);
}

/* "" while nobody is late. */
static void slow_text(const struct ddp_slow_rank *slow, int nslow, char *buf, size_t size)
{
    const struct ddp_slow_rank *latest = NULL;
    int n = 0;
    for (int i = 0; i < nslow; i++) {
        if (slow[i].over)
            continue;
        if (!latest || slow[i].late > latest->late)
            latest = &slow[i];
        n++;
    }
    buf[0] = '\0';
    if (n > 0)
        snprintf(buf, size, "rank %d on %s %.0f ms late", latest->rank, latest->host, 1e3 * latest->late);
    if (n > 1)
        snprintf(buf + strlen(buf), size - strlen(buf), " (and %d more)", n - 1);
}

void ddp_progress_line(const struct ddp_step_metrics *s, int64_t total_steps, int64_t epochs,
                       const struct ddp_slow_rank *slow, int nslow, int columns, char *buf, int size)
{
    enum { PARTS = 9 };
    /* in the order of the line; those of a higher number are left out first */
    static const int dispensable[PARTS] = {0, 5, 1, 4, 6, 7, 8, 3, 2};
    char part[PARTS][128], rate[40], eta[32];
    eta_text(s, total_steps, eta);
    snprintf(part[0], sizeof part[0], "step %lld/%lld", (long long)s->step, (long long)total_steps);
    snprintf(part[1], sizeof part[1], "epoch %lld/%lld", (long long)s->epoch + 1, (long long)epochs);
    snprintf(part[2], sizeof part[2], "loss %.4f", s->loss);
    snprintf(part[3], sizeof part[3], "acc %.2f %%", 100 * s->accuracy);
    if (isnan(s->accuracy)) /* real targets */
        part[3][0] = '\0';
    snprintf(part[4], sizeof part[4], "%s samples/s", grouped(s->samples_per_s, rate, sizeof rate));
    snprintf(part[5], sizeof part[5], "data %.0f %%", 100 * s->data_wait);
    snprintf(part[6], sizeof part[6], "comm %.0f %%", 100 * s->comm_wait);
    snprintf(part[7], sizeof part[7], "ETA %s", eta);
    slow_text(slow, nslow, part[8], sizeof part[8]);
    for (int most = PARTS - 1; most >= 0; most--) {
        int n = 0;
        for (int i = 0; i < PARTS; i++)
            if (dispensable[i] <= most && part[i][0] && n < size)
                n += snprintf(buf + n, (size_t)(size - n), "%s%s", n ? "  " : "", part[i]);
        if (columns <= 0 || n < columns)
            return;
    }
    if (columns < size)
        buf[columns - 1] = '\0'; /* not even that fits: the cursor stays in its row */
}

bool ddp_progress_due(struct ddp_progress *p, double now, double every)
{
    const double gap = ddp_log_is_terminal() ? 0.5 : every;
    if (p->begun && now - p->last < gap)
        return false;
    p->last = now;
    p->begun = true;
    return true;
}
