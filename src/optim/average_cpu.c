/* The exponential moving average of the weights on CPUs:
 *
 *   e = e + (1 - decay) * (p - e)
 *
 * which is decay * e + (1 - decay) * p, and leaves e alone where it equals p. Runs over a block behind its
 * update, while that is in cache: reads p, e and writes e, 12 bytes and 3 FLOPs an element. Sibling:
 * update.cuh. */
#include "ops/cpu/vec.h"
#include "optim/average.h"

static void step(float blend, int64_t n, const float *param, float *average)
{
    vf b = SET1(blend);
    for (int64_t i = 0; i < n; i += VL) {
        vf e = LDU(average + i);
        STU(average + i, FMA(b, LDU(param + i) - e, e));
    }
}

const struct ddp_average_cpu ISA(ddp_average_cpu) = {.step = step};
