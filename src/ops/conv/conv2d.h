/* What both halves of conv2d share. */
#ifndef DDP_OPS_CONV2D_H
#define DDP_OPS_CONV2D_H

#include "ddp/op_device.h"

struct ddp_conv2d_conf {
    int64_t out, kernel, kernel_w, stride, padding, dilation, groups; /* padding: or DDP_CONV2D_SAME */
    bool bias;
    int init;
};

enum { DDP_CONV2D_SAME = -1 };

/* Zeros on each side. "same": as many as leave the picture's size as it is. */
static inline int ddp_conv2d_padding(const struct ddp_conv2d_conf *c)
{
    return (int)(c->padding == DDP_CONV2D_SAME ? c->dilation * (c->kernel - 1) / 2 : c->padding);
}

extern const struct ddp_op_device ddp_conv2d_device; /* conv2d_device.c */

#endif
