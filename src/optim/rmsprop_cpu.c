/* RMSprop on CPUs: rmsprop_args.h has the equations. Reads sum, s, p and writes s, p, and reads and writes b
 * and c where they are: 20 to 36 bytes, some 9 to 14 FLOPs, a root and a division an element. */
#include "ops/cpu/vec.h"
#include "optim/kind.h"
#include "optim/rmsprop_args.h"

/* Whether there are b and c are constants where this is called: four loops without branches in them. */
INLINE void rows(const struct ddp_rmsprop_args *a, const struct ddp_optim_block *k, bool momentum,
                 bool centered)
{
    float *param = k->param, *s = k->state[DDP_RMSPROP_SQUARES], *b = k->state[DDP_RMSPROP_BUFFER];
    float *c = k->state[DDP_RMSPROP_MEAN];
    vf scale = SET1(a->scale), decay = SET1(a->decay), alpha = SET1(a->alpha), blend = SET1(a->blend);
    vf eps = SET1(a->eps), mu = SET1(a->momentum), rate = SET1(-a->lr);
    for (int64_t i = 0; i < k->n; i += VL) {
        vf p = LDU(param + i);
        vf d = FMA(decay, p, LDU(k->sum + i) * scale);
        vf s1 = FMA(blend * d, d, alpha * LDU(s + i)), variance = s1;
        STU(s + i, s1);
        if (centered) {
            vf c0 = LDU(c + i);
            vf c1 = FMA(blend, d - c0, c0);
            STU(c + i, c1);
            variance = RELU(FMA(-c1, c1, s1));
        }
        vf u = d / (VSQRT(variance) + eps);
        if (momentum) {
            u = FMA(mu, LDU(b + i), u);
            STU(b + i, u);
        }
        STU(param + i, FMA(rate, u, p));
    }
}

static void step(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                 const struct ddp_optim_block *k)
{
    const struct ddp_rmsprop_args a = ddp_rmsprop_args(h, t);
    if (k->state[DDP_RMSPROP_BUFFER] && k->state[DDP_RMSPROP_MEAN])
        rows(&a, k, true, true);
    else if (k->state[DDP_RMSPROP_BUFFER])
        rows(&a, k, true, false);
    else if (k->state[DDP_RMSPROP_MEAN])
        rows(&a, k, false, true);
    else
        rows(&a, k, false, false);
}

const struct ddp_optim_cpu ISA(ddp_rmsprop_cpu) = {.stage = {step}};
