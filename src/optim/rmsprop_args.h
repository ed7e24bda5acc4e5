/* RMSprop as torch.optim.RMSprop defines it (Tieleman and Hinton 2012; centered: Graves 2013), its decay
 * coupled:
 *
 *   d = g + decay * p
 *   s = alpha * s + (1 - alpha) * d^2
 *   c = c + (1 - alpha) * (d - c)                       centered; else there is no c, and c^2 below is 0
 *   u = d / (sqrt(s - c^2) + eps)                       a difference below 0, of rounding, counts as 0
 *   b = momentum * b + u;  p = p - lr * b               with momentum
 *   p = p - lr * u                                      without */
#ifndef DDP_OPTIM_RMSPROP_ARGS_H
#define DDP_OPTIM_RMSPROP_ARGS_H

#include "optim/update_args.h"

enum { DDP_RMSPROP_SQUARES, DDP_RMSPROP_BUFFER, DDP_RMSPROP_MEAN }; /* state: s, b, c */

struct ddp_rmsprop_args {
    float scale, decay;
    float alpha, blend; /* blend: 1 - alpha */
    float eps, momentum, lr;
};

DDP_BOTH struct ddp_rmsprop_args ddp_rmsprop_args(const struct ddp_optim_hyper *h,
                                                  const struct ddp_optim_now *t)
{
    struct ddp_rmsprop_args a;
    a.scale = (float)t->mean;
    a.decay = (float)t->weight_decay;
    a.alpha = (float)h->alpha;
    a.blend = (float)(1 - h->alpha);
    a.eps = (float)h->eps;
    a.momentum = (float)h->momentum;
    a.lr = (float)t->lr;
    return a;
}

#endif
