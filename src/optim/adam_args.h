/* Adam as torch.optim.Adam defines it (Kingma and Ba 2015), its decay coupled: part of the gradient, and so
 * of the moments. m and v as in moments_args.h, of g + decay * p in place of g; t counts from 1:
 *
 *   p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *
 * Without decay it is AdamW without decay. */
#ifndef DDP_OPTIM_ADAM_ARGS_H
#define DDP_OPTIM_ADAM_ARGS_H

#include "optim/moments_args.h"

struct ddp_adam_args {
    struct ddp_moments_args moments;
    float decay;
    float step; /* lr / (1 - beta1^t) */
};

DDP_BOTH struct ddp_adam_args ddp_adam_args(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t)
{
    struct ddp_adam_args a;
    a.moments = ddp_moments_args(h, t);
    a.decay = (float)t->weight_decay;
    a.step = (float)(t->lr / t->bias1);
    return a;
}

#endif
