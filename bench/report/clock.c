/* How fast the clock ticks: a chain of additions that wait for one another takes one cycle each on every core
 * that there is, whatever else its units do. */
#include <math.h>
#include <stdint.h>
#include <time.h>

#include "bench/report/private.h"

enum { TRIES = 8, ROUNDS = 40000, CHAIN = 8 };

static double thread_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The best of some tries: what disturbs one makes it longer. */
double bench_clock_probe(void)
{
    double least = INFINITY;
    uint64_t x = 1;
    for (int k = 0; k < TRIES; k++) {
        const double from = thread_now();
        for (int i = 0; i < ROUNDS; i++)
            for (int j = 0; j < CHAIN; j++) {
                x += (uint64_t)i;
                __asm__ volatile("" : "+r"(x));
            }
        const double s = thread_now() - from;
        least = s < least ? s : least;
    }
    return (double)ROUNDS * CHAIN / least * 1e-9;
}

void bench_report_clock(struct bench_report *r)
{
    if (r->nclocks < BENCH_CLOCKS)
        r->clock[r->nclocks++] = bench_clock_probe();
}
