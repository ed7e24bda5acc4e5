/* AdamW on CPUs: adamw_args.h has the equations. Reads sum, m, v, p and writes m, v, p: 28 bytes, some 14
 * FLOPs, a root and a division an element. */
#include "ops/cpu/vec.h"
#include "optim/adamw_args.h"
#include "optim/kind.h"

static void step(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                 const struct ddp_optim_block *b)
{
    const struct ddp_adamw_args a = ddp_adamw_args(h, t);
    const struct ddp_moments_args *s = &a.moments;
    const float *sum = b->sum;
    float *param = b->param, *m = b->state[0], *v = b->state[1];
    vf scale = SET1(s->scale), blend1 = SET1(s->blend1), beta2 = SET1(s->beta2), blend2 = SET1(s->blend2);
    vf inv_sqrt2 = SET1(s->inv_sqrt2), eps = SET1(s->eps), keep = SET1(a.keep), rate = SET1(-a.step);
    for (int64_t i = 0; i < b->n; i += VL) {
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

const struct ddp_optim_cpu ISA(ddp_adamw_cpu) = {.stage = {step}};
