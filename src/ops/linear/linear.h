/* What both halves of linear share. */
#ifndef DDP_OPS_LINEAR_H
#define DDP_OPS_LINEAR_H

#include "ddp/op_device.h"

extern const struct ddp_op_device ddp_linear_device; /* linear_device.c */

#endif
