/* The phases of a start, as seconds in a table. */
#include "base/startup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define ROW(NAME, name, words) {name, words},
static const struct {
    const char *name, *words;
} phases[] = {DDP_STARTUP(ROW)};

static _Thread_local struct {
    double last; /* when the phase before ended */
    double seconds[DDP_STARTUP_COUNT];
} at;

void ddp_startup_begin(double started)
{
    memset(&at, 0, sizeof at);
    at.last = started;
}

void ddp_startup_end(enum ddp_startup phase)
{
    const double now = ddp_now();
    at.seconds[phase] += now - at.last;
    at.last = now;
}

double ddp_startup_seconds(enum ddp_startup phase)
{
    return at.seconds[phase];
}

const char *ddp_startup_name(enum ddp_startup phase)
{
    return phases[phase].name;
}

const char *ddp_startup_words(enum ddp_startup phase)
{
    return phases[phase].words;
}

const char *ddp_startup_tell(char buf[DDP_STARTUP_TEXT])
{
    int n = 0;
    buf[0] = '\0';
    for (int i = 0; i < DDP_STARTUP_START && n < DDP_STARTUP_TEXT; i++) /* microseconds: no locale */
        n += snprintf(buf + n, (size_t)(DDP_STARTUP_TEXT - n), "%s%lld", i ? " " : "",
                      (long long)(at.seconds[i] * 1e6));
    return buf;
}

void ddp_startup_take(double started, const char *told)
{
    ddp_startup_begin(started);
    for (int i = 0; told && *told && i < DDP_STARTUP_START; i++) {
        char *end;
        const double s = (double)strtoll(told, &end, 10) * 1e-6;
        if (end == told || s < 0)
            return;
        at.seconds[i] = s;
        at.last += s;
        told = end;
    }
}
