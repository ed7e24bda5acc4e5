/* What both halves of conv2d share. */
#ifndef DDP_OPS_CONV2D_H
#define DDP_OPS_CONV2D_H

#include "ddp/op_device.h"

struct ddp_conv2d_conf {
    int64_t out, kernel, kernel_w, stride, padding, groups;
    bool bias;
    int init;
};

extern const struct ddp_op_device ddp_conv2d_device; /* conv2d_device.c */

#endif
