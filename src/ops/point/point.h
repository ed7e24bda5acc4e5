/* What both halves of the elementwise ops share. */
#ifndef DDP_OPS_POINT_H
#define DDP_OPS_POINT_H

#include "ddp/op_device.h"
#include "ops/point/act_kernels.h"

struct ddp_leaky_relu_conf {
    double slope;
};

/* Of leaky_relu; the others have none. */
static inline float ddp_act_slope(enum ddp_act f, const void *conf)
{
    return f == DDP_ACT_LEAKY_RELU ? (float)((const struct ddp_leaky_relu_conf *)conf)->slope : 0;
}

/* activation_device.c */
extern const struct ddp_op_device ddp_relu_device, ddp_gelu_device, ddp_silu_device, ddp_tanh_device,
    ddp_sigmoid_device, ddp_leaky_relu_device;
extern const struct ddp_op_device ddp_add_device; /* add_device.c */

#endif
