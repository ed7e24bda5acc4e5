/* What both halves of dropout share. */
#ifndef DDP_OPS_DROPOUT_H
#define DDP_OPS_DROPOUT_H

#include "ddp/op_device.h"

struct ddp_dropout_conf {
    double p;
};

extern const struct ddp_op_device ddp_dropout_device; /* dropout_device.c */

#endif
