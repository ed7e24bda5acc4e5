/* LAMB (You et al. 2020, algorithm 2, with phi the identity), m and v as in moments_args.h; t counts from 1:
 *
 *   u = m / (1 - beta1^t) / (sqrt(v) / sqrt(1 - beta2^t) + eps) + decay * p
 *   p = p - lr * |p| / |u| * u      norms over the tensor
 *
 * The ratio |p| / |u| is 1 where a norm is zero and for tensors without decay (norms, biases). */
#ifndef DDP_OPTIM_LAMB_ARGS_H
#define DDP_OPTIM_LAMB_ARGS_H

#include "optim/moments_args.h"

enum { DDP_LAMB_NORMS = 1 << DDP_VALUE_PARAM | 1 << DDP_VALUE_UPDATE };

struct ddp_lamb_args {
    struct ddp_moments_args moments;
    float inv1; /* 1 / (1 - beta1^t) */
    float decay;
};

DDP_BOTH struct ddp_lamb_args ddp_lamb_args(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t)
{
    struct ddp_lamb_args a;
    a.moments = ddp_moments_args(h, t);
    a.inv1 = (float)(1 / t->bias1);
    a.decay = (float)t->weight_decay;
    return a;
}

/* The second stage's: lr * |p| / |u|. */
struct ddp_lamb_apply_args {
    float rate;
};

DDP_BOTH struct ddp_lamb_apply_args ddp_lamb_apply_args(const struct ddp_optim_now *t)
{
    struct ddp_lamb_apply_args a;
    a.rate = (float)(t->lr * t->trust);
    return a;
}

DDP_BOTH double ddp_lamb_trust(const struct ddp_optim_hyper *h, double weight_decay, struct ddp_optim_norms n)
{
    (void)h;
    (void)weight_decay;
    return n.param > 0 && n.update > 0 ? n.param / n.update : 1;
}

#endif
