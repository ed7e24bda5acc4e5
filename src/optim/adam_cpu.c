/* Adam on CPUs: adam_args.h has the equations. Reads sum, m, v, p and writes m, v, p: 28 bytes, some 15
 * FLOPs, a root and a division an element. */
#include "optim/adam_args.h"
#include "optim/kind.h"
#include "optim/moments_cpu.h"

static void step(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                 const struct ddp_optim_block *b)
{
    const struct ddp_adam_args a = ddp_adam_args(h, t);
    const struct moments s = moments_of(&a.moments);
    const float *sum = b->sum;
    float *param = b->param, *m = b->state[0], *v = b->state[1];
    vf decay = SET1(a.decay), rate = SET1(-a.step), m1;
    for (int64_t i = 0; i < b->n; i += VL) {
        vf p = LDU(param + i);
        vf g = FMA(decay, p, LDU(sum + i) * s.scale);
        vf denominator = moments_step(&s, g, m + i, v + i, &m1);
        STU(param + i, FMA(rate, m1 / denominator, p));
    }
}

const struct ddp_optim_cpu ISA(ddp_adam_cpu) = {.stage = {step}};
