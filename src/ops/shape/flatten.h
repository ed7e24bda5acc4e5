/* What both halves of flatten share. */
#ifndef DDP_OPS_FLATTEN_H
#define DDP_OPS_FLATTEN_H

#include "ddp/op_device.h"

extern const struct ddp_op_device ddp_flatten_device; /* flatten_device.c */

#endif
