/* AdamW on CPUs: adamw_args.h has the equations. Reads sum, m, v, p and writes m, v, p: 28 bytes, some 14
 * FLOPs, a root and a division an element. */
#include "optim/adamw_args.h"
#include "optim/kind.h"
#include "optim/moments_cpu.h"

static void step(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                 const struct ddp_optim_block *b)
{
    const struct ddp_adamw_args a = ddp_adamw_args(h, t);
    const struct moments s = moments_of(&a.moments);
    const float *sum = b->sum;
    float *param = b->param, *m = b->state[0], *v = b->state[1];
    vf keep = SET1(a.keep), rate = SET1(-a.step), m1;
    for (int64_t i = 0; i < b->n; i += VL) {
        vf denominator = moments_step(&s, LDU(sum + i) * s.scale, m + i, v + i, &m1);
        STU(param + i, FMA(rate, m1 / denominator, LDU(param + i) * keep));
    }
}

const struct ddp_optim_cpu ISA(ddp_adamw_cpu) = {.stage = {step}};
