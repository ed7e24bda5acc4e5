/* What LARS takes of SGD: its step and its buffer. */
#ifndef DDP_OPTIM_SGD_H
#define DDP_OPTIM_SGD_H

#include "optim/kind.h"

static inline bool ddp_sgd_has_buffer(const struct ddp_optim_hyper *h)
{
    return h->momentum > 0;
}

#endif
