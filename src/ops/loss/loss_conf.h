/* What both halves of the losses share. */
#ifndef DDP_OPS_LOSS_CONF_H
#define DDP_OPS_LOSS_CONF_H

#include "ddp/op_device.h"

struct ddp_softmax_cross_entropy_conf {
    double label_smoothing;
};

struct ddp_huber_conf {
    double delta;
};

extern const struct ddp_op_device ddp_softmax_cross_entropy_device, ddp_mse_device, ddp_mae_device,
    ddp_huber_device; /* loss_device.c */

#endif
