/* Slow ranks as text: whole numbers, times in microseconds, then host and cause. */
#include "base/slow.h"

#include <stdio.h>

void ddp_slow_format(const struct ddp_slow_rank *s, char *buf)
{
    snprintf(buf, DDP_SLOW_TEXT, "%d %lld %lld %lld %lld %d %s %s", s->rank, (long long)s->from,
             (long long)s->to, (long long)(s->late * 1e6), (long long)(s->lost * 1e6), s->over,
             *s->host ? s->host : "-", s->cause);
}

bool ddp_slow_parse(const char *text, struct ddp_slow_rank *out)
{
    long long from, to, late, lost;
    int rank, over, n = 0;
    char host[64];
    if (sscanf(text, "%d %lld %lld %lld %lld %d %63s %n", &rank, &from, &to, &late, &lost, &over, host, &n) !=
            7 ||
        n == 0)
        return false;
    *out = (struct ddp_slow_rank){.rank = rank,
                                  .from = from,
                                  .to = to,
                                  .late = (double)late * 1e-6,
                                  .lost = (double)lost * 1e-6,
                                  .over = over != 0};
    snprintf(out->host, sizeof out->host, "%s", host);
    snprintf(out->cause, sizeof out->cause, "%s", text + n);
    for (char *s = out->host; *s; s++) /* it goes into JSON */
        *s = *s < ' ' || *s == '"' || *s == '\\' ? '?' : *s;
    for (char *s = out->cause; *s; s++)
        *s = *s < ' ' || *s == '"' || *s == '\\' ? '?' : *s;
    return true;
}
