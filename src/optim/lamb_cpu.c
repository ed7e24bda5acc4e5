/* LAMB on CPUs: lamb_args.h has the equations. moments: reads sum, m, v, p and writes u (over sum), m, v, 28
 * bytes an element; apply: 12 bytes. */
#include "ops/cpu/vec.h"
#include "optim/kind.h"
#include "optim/lamb_args.h"

static void moments(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                    const struct ddp_optim_block *b)
{
    const struct ddp_lamb_args a = ddp_lamb_args(h, t);
    const struct ddp_moments_args *s = &a.moments;
    const float *param = b->param;
    float *sum = b->sum, *m = b->state[0], *v = b->state[1];
    vf scale = SET1(s->scale), blend1 = SET1(s->blend1), beta2 = SET1(s->beta2), blend2 = SET1(s->blend2);
    vf inv1 = SET1(a.inv1), inv_sqrt2 = SET1(s->inv_sqrt2), eps = SET1(s->eps), decay = SET1(a.decay);
    for (int64_t i = 0; i < b->n; i += VL) {
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

static void apply(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                  const struct ddp_optim_block *b)
{
    const struct ddp_lamb_args a = ddp_lamb_args(h, t);
    const float *u = b->sum;
    float *param = b->param;
    vf r = SET1(-a.rate);
    for (int64_t i = 0; i < b->n; i += VL)
        STU(param + i, FMA(r, LDU(u + i), LDU(param + i)));
}

const struct ddp_optim_cpu ISA(ddp_lamb_cpu) = {.stage = {moments, apply}};
