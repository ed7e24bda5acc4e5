/* Seconds since some moment, and since 1970. */
#include "base/clock.h"

#include <time.h>

static double read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double ddp_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}
double ddp_wall(void)
{
    return read_clock(CLOCK_REALTIME);
}
