/* LARS (You, Gitman, Ginsburg 2017): SGD (sgd_args.h) whose gradient, decay included, is scaled per tensor by
 *
 *   trust = coefficient * |p| / (|g| + decay * |p| + eps)
 *
 * and by 1 where a norm is zero and for tensors without decay (norms, biases). As in SGD the
 * learning rate stands outside the momentum buffer; the paper's has it inside, which differs only
 * while the rate changes. */
#ifndef DDP_OPTIM_LARS_ARGS_H
#define DDP_OPTIM_LARS_ARGS_H

#include "optim/update_args.h"

enum { DDP_LARS_NORMS = 1 << DDP_VALUE_PARAM | 1 << DDP_VALUE_GRADIENT };

DDP_BOTH double ddp_lars_trust(const struct ddp_optim_hyper *h, double weight_decay, struct ddp_optim_norms n)
{
    return n.param > 0 && n.gradient > 0 ? h->trust * n.param / (n.gradient + weight_decay * n.param + h->eps)
                                         : 1;
}

#endif
