/* LAMB (You et al. 2020, algorithm 2, with phi the identity); t counts from 1:
 *   m = m + (1 - beta1) * (g - m)
 *   v = beta2 * v + (1 - beta2) * g^2
 *   u = m / (1 - beta1^t) / (sqrt(v) / sqrt(1 - beta2^t) + eps) + decay * p
 *   p = p - lr * |p| / |u| * u            (norms over the tensor, taken between the two kernels)
 * Shapes [n]. update: reads sum, m, v, p and writes u (over sum), m, v: 28 bytes; apply: 12 bytes an element.
 */
#include "ops/cpu/vec.h"
#include "optim/kernels.h"

static void update(const struct ddp_adam_args *a, int64_t n, float *sum, float *m, float *v,
                   const float *param)
{
    vf scale = SET1(a->scale), blend1 = SET1(a->blend1), beta2 = SET1(a->beta2), blend2 = SET1(a->blend2);
    vf inv1 = SET1(a->inv1), inv_sqrt2 = SET1(a->inv_sqrt2), eps = SET1(a->eps), decay = SET1(a->decay);
    for (int64_t i = 0; i < n; i += VL) {
        vf g = LDU(sum + i) * scale;
        vf m0 = LDU(m + i);
        vf m1 = FMA(blend1, g - m0, m0);
        vf v1 = FMA(blend2 * g, g, beta2 * LDU(v + i));
        vf denominator = FMA(VSQRT(v1), inv_sqrt2, eps);
        STU(m + i, m1);
        STU(v + i, v1);
        STU(sum + i, FMA(decay, LDU(param + i), (m1 * inv1) / denominator));
    }
}

static void apply(float rate, int64_t n, const float *u, float *param)
{
    vf r = SET1(-rate);
    for (int64_t i = 0; i < n; i += VL)
        STU(param + i, FMA(r, LDU(u + i), LDU(param + i)));
}

const struct ddp_lamb_kernels ISA(ddp_lamb_kernels) = {.update = update, .apply = apply};
