/* What both halves of the elementwise ops share. */
#ifndef DDP_OPS_POINT_H
#define DDP_OPS_POINT_H

#include "ddp/op_device.h"

extern const struct ddp_op_device ddp_relu_device, ddp_gelu_device, ddp_silu_device; /* activation_device.c */
extern const struct ddp_op_device ddp_add_device;                                    /* add_device.c */

#endif
