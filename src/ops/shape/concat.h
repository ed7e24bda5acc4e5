/* What both halves of concat share. */
#ifndef DDP_OPS_CONCAT_H
#define DDP_OPS_CONCAT_H

#include "ddp/op_device.h"

extern const struct ddp_op_device ddp_concat_device; /* concat_device.c */

#endif
