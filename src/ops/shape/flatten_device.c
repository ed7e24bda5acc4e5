/* flatten on the device: a copy where the shape is kept (the graph leaves most of these out), else into the
 * plain order. */
#include "ops/shape/flatten.h"

#include "ops/ops.h"
#include "ops/point/point_kernels.h"
#include "ops/shape/flatten_kernels.h"

static int64_t count(const struct ddp_device_call *c)
{
    return c->batch * ddp_gpu_elements(c->in_shape[0]);
}

static void flatten(const struct ddp_device_call *c, const void *from, void *to, bool back, bool accumulate)
{
    const struct ddp_shape in = c->in_shape[0], out = c->out_shape;
    const struct ddp_gpu_flatten_args a = {.type = c->type,
                                           .batch = c->batch,
                                           .h = in.h,
                                           .w = in.w,
                                           .c = ddp_gpu_pad(in.c),
                                           .real_c = in.c,
                                           .f = ddp_gpu_pad(out.c),
                                           .from = from,
                                           .to = to,
                                           .back = back,
                                           .accumulate = accumulate};
    const struct ddp_gpu_add_args copy = {
        .type = c->type, .count = count(c), .a = from, .out = to, .accumulate = accumulate};
    if (in.c == out.c)
        c->kernels->point->add_backward(c->stream, &copy);
    else
        c->kernels->flatten->flatten(c->stream, &a);
}

static void flatten_forward(const struct ddp_device_call *c)
{
    flatten(c, c->in[0], c->out, false, false);
}

static void flatten_backward(const struct ddp_device_call *c)
{
    if (c->din[0])
        flatten(c, c->dout, c->din[0], true, c->accumulate[0]);
}

const struct ddp_op_device ddp_flatten_device = {.forward = flatten_forward, .backward = flatten_backward};
