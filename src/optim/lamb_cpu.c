/* LAMB on CPUs: lamb_args.h has the equations. update: reads sum, m, v, p and writes u (over sum), m, v, 28
 * bytes an element; apply: 12 bytes. */
#include "optim/kind.h"
#include "optim/lamb_args.h"
#include "optim/moments_cpu.h"

static void update(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                   const struct ddp_optim_block *b)
{
    const struct ddp_lamb_args a = ddp_lamb_args(h, t);
    const struct moments s = moments_of(&a.moments);
    const float *param = b->param;
    float *sum = b->sum, *m = b->state[0], *v = b->state[1];
    vf inv1 = SET1(a.inv1), decay = SET1(a.decay), m1;
    for (int64_t i = 0; i < b->n; i += VL) {
        vf denominator = moments_step(&s, LDU(sum + i) * s.scale, m + i, v + i, &m1);
        STU(sum + i, FMA(decay, LDU(param + i), (m1 * inv1) / denominator));
    }
}

static void apply(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                  const struct ddp_optim_block *b)
{
    const struct ddp_lamb_apply_args a = ddp_lamb_apply_args(t);
    (void)h;
    const float *u = b->sum;
    float *param = b->param;
    vf r = SET1(-a.rate);
    for (int64_t i = 0; i < b->n; i += VL)
        STU(param + i, FMA(r, LDU(u + i), LDU(param + i)));
}

const struct ddp_optim_cpu ISA(ddp_lamb_cpu) = {.stage = {update, apply}};
