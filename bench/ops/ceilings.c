/* What a core gives at most, round by round: multiply-adds in registers, and floats that stream through
 * arrays of several sizes, from those that the nearest cache holds to those that none does. */
#include <math.h>
#include <time.h>

#include "bench/bench.h"
#include "bench/ops/ops.h"
#include "bench/stats.h"

double ops_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of one array; each level is four times as large. */
static long floats_at(int level)
{
    return 4096L << 2 * level;
}

/* Three arrays that do not lie at the same place of a page: loads would wait for stores. */
enum { APART = 208 };
static double stream(float *array, long n)
{
    return bench_peak_kernels()->triad(array, array + n + APART, array + 2 * (n + APART), n);
}

double ops_level_bytes(int level)
{
    return 3.0 * sizeof(float) * (double)floats_at(level);
}

void ops_ceilings_measure(struct ops_ceilings *c, int round)
{
    static float *array;
    const long most = floats_at(OPS_LEVELS - 1);
    float sink = 0;
    if (!array) {
        array = ops_floats(3 * (most + APART));
        ops_fill(array, 3 * (most + APART));
    }
    double from = ops_now();
    const double flops = bench_peak_kernels()->run(3000000, &sink);
    c->flops[round] = flops / (ops_now() - from);
    for (int level = 0; level < OPS_LEVELS; level++) {
        const long n = floats_at(level), repeat = most / n;
        double bytes = 0;
        stream(array, n);
        from = ops_now();
        for (long i = 0; i < repeat; i++)
            bytes += stream(array, n);
        c->bytes[level][round] = bytes / (ops_now() - from);
    }
}

double ops_ceiling_at(const struct ops_ceilings *c, double bytes)
{
    const double at = fmin(fmax(log2(bytes / ops_level_bytes(0)) / 2, 0), OPS_LEVELS - 1);
    const int below = (int)fmin(at, OPS_LEVELS - 2);
    const double low = bench_median(c->bytes[below], OPS_ROUNDS),
                 high = bench_median(c->bytes[below + 1], OPS_ROUNDS);
    return low * pow(high / low, at - below);
}
