/* The steps of SGD and LARS on CPUs: sgd_args.h has the equations. Reads sum, b, p and writes b, p: 20 bytes
 * and 8 FLOPs an element (12 bytes without momentum). */
#include "ops/cpu/vec.h"
#include "optim/kind.h"
#include "optim/sgd_args.h"

INLINE vf direction(const struct ddp_sgd_args *a, const float *sum, vf p)
{
    vf g = LDU(sum) * SET1(a->scale);
    return SET1(a->trust) * FMA(SET1(a->decay), p, g);
}

static void plain(const struct ddp_sgd_args *a, int64_t n, const float *sum, float *param)
{
    vf lr = SET1(-a->lr);
    for (int64_t i = 0; i < n; i += VL) {
        vf p = LDU(param + i);
        STU(param + i, FMA(lr, direction(a, sum + i, p), p));
    }
}

/* first and nesterov are constants where this is called: four loops without branches in them. */
INLINE void buffered(const struct ddp_sgd_args *a, int64_t n, const float *sum, float *buffer, float *param,
                     bool first, bool nesterov)
{
    vf lr = SET1(-a->lr), momentum = SET1(a->momentum), undamped = SET1(a->undamped);
    for (int64_t i = 0; i < n; i += VL) {
        vf p = LDU(param + i);
        vf d = direction(a, sum + i, p);
        vf b = first ? d : FMA(momentum, LDU(buffer + i), undamped * d);
        STU(buffer + i, b);
        STU(param + i, FMA(lr, nesterov ? FMA(momentum, b, d) : b, p));
    }
}

static void step(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t,
                 const struct ddp_optim_block *b)
{
    const struct ddp_sgd_args a = ddp_sgd_args(h, t);
    float *buffer = b->state[0];
    if (!buffer)
        plain(&a, b->n, b->sum, b->param);
    else if (a.first && a.nesterov)
        buffered(&a, b->n, b->sum, buffer, b->param, true, true);
    else if (a.first)
        buffered(&a, b->n, b->sum, buffer, b->param, true, false);
    else if (a.nesterov)
        buffered(&a, b->n, b->sum, buffer, b->param, false, true);
    else
        buffered(&a, b->n, b->sum, buffer, b->param, false, false);
}

/* SGD has it as its only stage, LARS behind its norms. */
const struct ddp_optim_cpu ISA(ddp_sgd_cpu) = {.stage = {step}};
const struct ddp_optim_cpu ISA(ddp_lars_cpu) = {.stage = {NULL, step}};
