/* AdamW as torch.optim.AdamW defines it (Loshchilov and Hutter 2019), m and v as in moments_args.h; t counts
 * from 1:
 *
 *   p = p * (1 - lr * decay) - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps) */
#ifndef DDP_OPTIM_ADAMW_ARGS_H
#define DDP_OPTIM_ADAMW_ARGS_H

#include "optim/moments_args.h"

struct ddp_adamw_args {
    struct ddp_moments_args moments;
    float keep; /* 1 - lr * decay */
    float step; /* lr / (1 - beta1^t) */
};

DDP_BOTH struct ddp_adamw_args ddp_adamw_args(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t)
{
    struct ddp_adamw_args a;
    a.moments = ddp_moments_args(h, t);
    a.keep = (float)(1 - t->lr * t->weight_decay);
    a.step = (float)(t->lr / t->bias1);
    return a;
}

#endif
