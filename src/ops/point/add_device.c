/* add on the device: contract in ops/point/add.c, kernels in ops/point/point.cu. */
#include "ops/point/point.h"

#include "ops/point/point_kernels.h"

static int64_t count(const struct ddp_device_call *c)
{
    return c->batch * ddp_gpu_elements(c->in_shape[0]);
}

static void add_forward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_add_args a = {.type = c->type,
                                       .count = count(c),
                                       .a = c->in[0],
                                       .b = c->in[1],
                                       .out = c->out,
                                       .relu = (c->fused & DDP_FUSE_RELU)};
    c->kernels->point->add_forward(c->stream, &a);
}

static void add_backward(const struct ddp_device_call *c)
{
    const bool relu = c->fused & DDP_FUSE_RELU;
    for (int i = 0; i < 2; i++) {
        const struct ddp_gpu_add_args a = {.type = c->type,
                                           .count = count(c),
                                           .a = c->dout,
                                           .b = relu ? c->out : NULL,
                                           .out = c->din[i],
                                           .accumulate = c->accumulate[i]};
        if (c->din[i] && (relu || c->din[i] != c->dout)) /* left where it is */
            c->kernels->point->add_backward(c->stream, &a);
    }
}

const struct ddp_op_device ddp_add_device = {
    .forward = add_forward, .backward = add_backward, .gradients = DDP_GRADIENT_LEFT};
