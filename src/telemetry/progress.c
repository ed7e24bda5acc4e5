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

void ddp_progress_line(const struct ddp_step_metrics *s, int64_t total_steps, int64_t epochs, char *buf,
                       int size)
{
    char rate[40], eta[32] = "-";
    double left =
        s->samples_per_s > 0 ? (double)(total_steps - s->step) * (double)s->count / s->samples_per_s : -1;
    if (left >= 3600)
        snprintf(eta, sizeof eta, "%d:%02d:%02d", (int)(left / 3600), (int)left / 60 % 60, (int)left % 60);
    else if (left >= 0)
        snprintf(eta, sizeof eta, "%d:%02d", (int)left / 60, (int)left % 60);
    snprintf(buf, (size_t)size,
             "step %lld/%lld  epoch %lld/%lld  loss %.4f  acc %.2f %%  %s samples/s  data %.0f %%  comm %.0f "
             "%%  ETA %s",
             (long long)s->step, (long long)total_steps, (long long)s->epoch + 1, (long long)epochs, s->loss,
             100 * s->accuracy, grouped(s->samples_per_s, rate, sizeof rate), 100 * s->data_wait,
             100 * s->comm_wait, eta);
}

bool ddp_progress_due(struct ddp_progress *p, double now)
{
    static const double gaps[] = {1, 2, 5, 10, 20, 30, 60};
    if (ddp_log_is_terminal()) {
        if (now - p->last < 0.5)
            return false;
    } else {
        if (now - p->last < p->gap)
            return false;
        double next = gaps[DDP_COUNT(gaps) - 1];
        for (size_t i = DDP_COUNT(gaps); i-- > 0;)
            if (gaps[i] > p->gap)
                next = gaps[i];
        p->gap = next;
    }
    p->last = now;
    return true;
}
