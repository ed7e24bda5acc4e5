/* SGD as torch.optim.SGD defines it, with LARS' trust ratio per tensor (1 for SGD):
 *
 *   d = trust * (g + decay * p)
 *   b = momentum * b + (1 - dampening) * d      the first step: b = d
 *   p = p - lr * (nesterov ? d + momentum * b : b)
 *
 * Without momentum there is no b: p = p - lr * d. */
#ifndef DDP_OPTIM_SGD_ARGS_H
#define DDP_OPTIM_SGD_ARGS_H

#include "optim/update_args.h"

/* Whether there is a b: the table of SGD and LARS says so. */
static inline bool ddp_sgd_has_buffer(const struct ddp_optim_hyper *h)
{
    return h->momentum > 0;
}

struct ddp_sgd_args {
    float scale, decay, trust;
    float momentum, undamped; /* undamped: 1 - dampening */
    float lr;
    bool nesterov, first;
};

DDP_BOTH struct ddp_sgd_args ddp_sgd_args(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t)
{
    struct ddp_sgd_args a;
    a.scale = (float)t->mean;
    a.decay = (float)t->weight_decay;
    a.trust = (float)t->trust;
    a.momentum = (float)h->momentum;
    a.undamped = (float)(1 - h->dampening);
    a.lr = (float)t->lr;
    a.nesterov = h->nesterov;
    a.first = t->first;
    return a;
}

#endif
