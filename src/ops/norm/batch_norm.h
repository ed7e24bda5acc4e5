/* What both halves of batch_norm share. */
#ifndef DDP_OPS_BATCH_NORM_H
#define DDP_OPS_BATCH_NORM_H

#include "ddp/op_device.h"

struct ddp_batch_norm_conf {
    double eps, momentum;
    bool affine, sync;
};

extern const struct ddp_op_device ddp_batch_norm_device; /* batch_norm_device.c */

#endif
