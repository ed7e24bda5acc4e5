/* A look at a rank as a line of text: whole numbers, times in microseconds, then words. */
#include "launcher/sample.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NUMBERS = 20 };

static int64_t us(double seconds)
{
    return (int64_t)(seconds * 1e6 + 0.5);
}

void ddp_sample_format(const struct ddp_sample *s, char *buf)
{
    const int64_t v[NUMBERS] = {s->pid,      s->phase,      s->wait,        s->which,     s->step,
                                s->shards,   us(s->still),  us(s->longest), s->steps,     s->fresh,
                                us(s->wall), us(s->busy),   us(s->data),    us(s->aside), us(s->span),
                                us(s->ran),  us(s->queued), s->mhz,         s->halted,    s->traced};
    int n = 0;
    for (int i = 0; i < NUMBERS; i++)
        n += snprintf(buf + n, (size_t)(DDP_SAMPLE_TEXT - n), "%" PRId64 " ", v[i]);
    snprintf(buf + n, (size_t)(DDP_SAMPLE_TEXT - n), "%s", s->doing);
}

bool ddp_sample_parse(const char *text, struct ddp_sample *out)
{
    int64_t v[NUMBERS];
    for (int i = 0; i < NUMBERS; i++) {
        int n = 0;
        if (sscanf(text, "%" SCNd64 " %n", &v[i], &n) != 1 || n == 0)
            return false;
        text += n;
    }
    if (v[1] < 0 || v[1] >= DDP_PHASE_COUNT || v[2] < 0 || v[2] >= DDP_WAIT_COUNT)
        return false;
    *out = (struct ddp_sample){
        .pid = (int)v[0],
        .phase = (enum ddp_phase)v[1],
        .wait = (enum ddp_pulse_wait)v[2],
        .which = v[3],
        .step = v[4],
        .shards = (int)v[5],
        .still = (double)v[6] * 1e-6,
        .longest = (double)v[7] * 1e-6,
        .steps = v[8],
        .fresh = (int)v[9],
        .wall = (double)v[10] * 1e-6,
        .busy = (double)v[11] * 1e-6,
        .data = (double)v[12] * 1e-6,
        .aside = (double)v[13] * 1e-6,
        .span = (double)v[14] * 1e-6,
        .ran = (double)v[15] * 1e-6,
        .queued = (double)v[16] * 1e-6,
        .mhz = (int)v[17],
        .halted = v[18] != 0,
        .traced = v[19] != 0,
    };
    snprintf(out->doing, sizeof out->doing, "%s", text);
    return true;
}
