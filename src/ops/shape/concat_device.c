/* concat on the device: contract in concat.c, kernels in concat.cu. */
#include "ops/shape/concat.h"

#include "device/api.h"
#include "ops/shape/concat_kernels.h"

static struct ddp_gpu_concat_args args(const struct ddp_device_call *c, int input)
{
    const struct ddp_shape s = c->in_shape[input];
    return (struct ddp_gpu_concat_args){.type = c->type,
                                        .pixels = (int64_t)c->batch * s.h * s.w,
                                        .wide_c = ddp_gpu_pad(c->out_shape.c),
                                        .c = ddp_gpu_pad(s.c),
                                        .real_c = s.c,
                                        .first = input ? c->in_shape[0].c : 0,
                                        .last = input == 1};
}

static void forward(const struct ddp_device_call *c)
{
    for (int i = 0; i < 2; i++) {
        struct ddp_gpu_concat_args a = args(c, i);
        a.wide = c->out;
        a.narrow = (void *)c->in[i]; /* only read */
        c->kernels->concat->join(c->stream, &a);
    }
}

static void backward(const struct ddp_device_call *c)
{
    for (int i = 0; i < 2; i++) {
        struct ddp_gpu_concat_args a = args(c, i);
        a.wide = c->dout;
        a.narrow = c->din[i];
        a.accumulate = c->accumulate[i];
        if (a.narrow)
            c->kernels->concat->split(c->stream, &a);
    }
}

const struct ddp_op_device ddp_concat_device = {.forward = forward, .backward = backward};
