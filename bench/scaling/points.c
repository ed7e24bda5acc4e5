/* Points of a scaling curve. */
#include "bench/scaling/points.h"

#include <math.h>

#include "bench/stats.h"

double bench_steps_needed(double low, double median, double high, double within)
{
    const double sigma = (high - low) / 1.349;
    if (!(median > 0))
        return NAN;
    const double n = pow(1.96 * 1.253 * sigma / (within * median), 2);
    return fmax(1, ceil(n));
}

void bench_points_compare(struct bench_point *p, int n)
{
    for (int i = 0; i < n; i++) {
        const struct bench_point *base = &p[i];
        for (int k = 0; k < n; k++)
            if (p[k].strong == p[i].strong && p[k].ranks < base->ranks)
                base = &p[k];
        const double one = base->rate / base->ranks; /* of a rank of the base */
        p[i].speedup = p[i].rate / one;
        p[i].speedup_low = p[i].low / one;
        p[i].speedup_high = p[i].high / one;
        p[i].efficiency = p[i].speedup / p[i].ranks;
    }
}
