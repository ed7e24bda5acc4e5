/* AdamW as torch.optim.AdamW defines it (Loshchilov and Hutter 2019); t counts from 1:
 *   m = m + (1 - beta1) * (g - m)
 *   v = beta2 * v + (1 - beta2) * g^2
 *   p = p * (1 - lr * decay) - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 * Shapes [n]. Reads sum, m, v, p and writes m, v, p: 28 bytes, some 14 FLOPs, a root and a division an
 * element. */
#include "ops/cpu/vec.h"
#include "optim/kernels.h"

static void step(const struct ddp_adam_args *a, int64_t n, const float *sum, float *m, float *v, float *param)
{
    vf scale = SET1(a->scale), blend1 = SET1(a->blend1), beta2 = SET1(a->beta2), blend2 = SET1(a->blend2);
    vf inv_sqrt2 = SET1(a->inv_sqrt2), eps = SET1(a->eps), keep = SET1(a->keep), rate = SET1(-a->step);
    for (int64_t i = 0; i < n; i += VL) {
        vf g = LDU(sum + i) * scale;
        vf m0 = LDU(m + i);
        vf m1 = FMA(blend1, g - m0, m0);
        vf v1 = FMA(blend2 * g, g, beta2 * LDU(v + i));
        vf denominator = FMA(VSQRT(v1), inv_sqrt2, eps);
        STU(m + i, m1);
        STU(v + i, v1);
        STU(param + i, FMA(rate, m1 / denominator, LDU(param + i) * keep));
    }
}

const struct ddp_adamw_kernels ISA(ddp_adamw_kernels) = {.step = step};
