/* Activations on the device: equations in ops/point/activation.c, kernels in ops/point/point.cu. */
#include "ops/point/point.h"

#include "ops/point/point_kernels.h"

static int64_t count(const struct ddp_device_call *c)
{
    return c->batch * ddp_gpu_elements(c->in_shape[0]);
}

static void act_forward(const struct ddp_device_call *c, enum ddp_act act)
{
    const struct ddp_gpu_act_args a = {.type = c->type,
                                       .act = act,
                                       .slope = ddp_act_slope(act, c->conf),
                                       .count = count(c),
                                       .c = ddp_gpu_pad(c->in_shape[0].c),
                                       .real_c = c->in_shape[0].c,
                                       .x = c->in[0],
                                       .out = c->out};
    c->kernels->point->act_forward(c->stream, &a);
}

static void act_backward(const struct ddp_device_call *c, enum ddp_act act)
{
    const struct ddp_gpu_act_args a = {.type = c->type,
                                       .act = act,
                                       .slope = ddp_act_slope(act, c->conf),
                                       .count = count(c),
                                       .x = ddp_act_reads_out(act) ? c->out : c->in[0],
                                       .dout = c->dout,
                                       .out = c->din[0],
                                       .accumulate = c->accumulate[0]};
    if (c->din[0])
        c->kernels->point->act_backward(c->stream, &a);
}

#define ACTIVATION(name, act)                                                                                \
    static void name##_forward(const struct ddp_device_call *c)                                              \
    {                                                                                                        \
        act_forward(c, act);                                                                                 \
    }                                                                                                        \
    static void name##_backward(const struct ddp_device_call *c)                                             \
    {                                                                                                        \
        act_backward(c, act);                                                                                \
    }                                                                                                        \
    const struct ddp_op_device ddp_##name##_device = {.forward = name##_forward, .backward = name##_backward};

ACTIVATION(relu, DDP_ACT_RELU)
ACTIVATION(gelu, DDP_ACT_GELU)
ACTIVATION(silu, DDP_ACT_SILU)
ACTIVATION(tanh, DDP_ACT_TANH)
ACTIVATION(sigmoid, DDP_ACT_SIGMOID)
ACTIVATION(leaky_relu, DDP_ACT_LEAKY_RELU)
