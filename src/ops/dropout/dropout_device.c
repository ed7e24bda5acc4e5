/* dropout on the device: contract in ops/dropout/dropout.c, kernel in ops/dropout/dropout.cu. */
#include "ops/dropout/dropout.h"

#include "device/api.h"
#include "ops/dropout/dropout_kernels.h"

static void dropout(const struct ddp_device_call *c, const void *from, void *to, bool accumulate)
{
    const struct ddp_shape s = c->in_shape[0];
    const double p = ((const struct ddp_dropout_conf *)c->conf)->p;
    const struct ddp_gpu_dropout_args a = {.type = c->type,
                                           .batch = c->batch,
                                           .h = s.h,
                                           .w = s.w,
                                           .c = ddp_gpu_pad(s.c),
                                           .real_c = s.c,
                                           .vector = s.h * s.w == 1,
                                           .sample = c->sample,
                                           .step = c->step,
                                           .seed = c->seed,
                                           .layer = c->layer,
                                           .threshold = (uint32_t)(p * 0x1p32),
                                           .scale = (float)(1.0 / (1.0 - p)),
                                           .in = from,
                                           .out = to,
                                           .accumulate = accumulate};
    c->kernels->dropout->dropout(c->stream, &a);
}

static void dropout_forward(const struct ddp_device_call *c)
{
    if (c->training)
        dropout(c, c->in[0], c->out, false);
    else
        c->api->copy(c->stream, c->out, c->in[0],
                     (size_t)(c->batch * ddp_gpu_elements(c->in_shape[0])) * ddp_gpu_type_bytes(c->type));
}

static void dropout_backward(const struct ddp_device_call *c)
{
    if (c->din[0])
        dropout(c, c->dout, c->din[0], c->accumulate[0]);
}

const struct ddp_op_device ddp_dropout_device = {.forward = dropout_forward, .backward = dropout_backward};
