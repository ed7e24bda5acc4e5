/* The two moments that Adam's family keeps; t counts from 1:
 *
 *   m = m + (1 - beta1) * (g - m)
 *   v = beta2 * v + (1 - beta2) * g^2
 *
 * and what the step is divided by:
 *
 *   sqrt(v) / sqrt(1 - beta2^t) + eps */
#ifndef DDP_OPTIM_MOMENTS_ARGS_H
#define DDP_OPTIM_MOMENTS_ARGS_H

#include "optim/update_args.h"

struct ddp_moments_args {
    float scale;
    float blend1;        /* 1 - beta1 */
    float beta2, blend2; /* blend2: 1 - beta2 */
    float inv_sqrt2;     /* 1 / sqrt(1 - beta2^t) */
    float eps;
};

DDP_BOTH struct ddp_moments_args ddp_moments_args(const struct ddp_optim_hyper *h,
                                                  const struct ddp_optim_now *t)
{
    struct ddp_moments_args a;
    a.scale = (float)t->mean;
    a.blend1 = (float)(1 - h->beta1);
    a.beta2 = (float)h->beta2;
    a.blend2 = (float)(1 - h->beta2);
    a.inv_sqrt2 = (float)(1 / sqrt(t->bias2));
    a.eps = (float)h->eps;
    return a;
}

#endif
