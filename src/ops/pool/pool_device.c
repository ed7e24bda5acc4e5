/* Pooling on the device: contract in ops/pool/pool.c, kernels in ops/pool/pool.cu. */
#include "ops/pool/pool.h"

#include "ops/pool/pool_kernels.h"

static struct ddp_gpu_pool_args args(const struct ddp_device_call *c, int kernel_h, int kernel_w, int stride,
                                     int pad)
{
    const struct ddp_shape in = c->in_shape[0], out = c->out_shape;
    return (struct ddp_gpu_pool_args){.type = c->type,
                                      .batch = c->batch,
                                      .c = ddp_gpu_pad(in.c),
                                      .h = in.h,
                                      .w = in.w,
                                      .oh = out.h,
                                      .ow = out.w,
                                      .kernel_h = kernel_h,
                                      .kernel_w = kernel_w,
                                      .stride = stride,
                                      .pad = pad,
                                      .count_pad = true,
                                      .x = c->in[0],
                                      .y = c->out,
                                      .index = c->saved,
                                      .dout = c->dout,
                                      .din = c->din[0],
                                      .accumulate = c->accumulate[0]};
}

static struct ddp_gpu_pool_args window(const struct ddp_device_call *c)
{
    const struct ddp_pool_conf *conf = c->conf;
    const int kernel = (int)conf->kernel, stride = (int)conf->stride;
    return args(c, kernel, kernel, stride ? stride : kernel, (int)conf->padding);
}

/* ---- max ---- */

static int max_plan(const struct ddp_device_planner *p, struct ddp_device_plan *out, struct ddp_error *err)
{
    (void)err;
    out->saved_bytes = (size_t)p->batch * (size_t)ddp_gpu_elements(p->out); /* one byte each */
    return 0;
}

static void max_forward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_pool_args a = window(c);
    c->kernels->pool->max_pool(c->stream, &a);
}

static void max_backward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_pool_args a = window(c);
    if (a.din)
        c->kernels->pool->max_pool_grad(c->stream, &a);
}

const struct ddp_op_device ddp_max_pool_device = {
    .plan = max_plan, .forward = max_forward, .backward = max_backward};

/* ---- average ---- */

static struct ddp_gpu_pool_args avg_args(const struct ddp_device_call *c)
{
    const struct ddp_pool_conf *conf = c->conf;
    struct ddp_gpu_pool_args a = window(c);
    a.count_pad = conf->count_include_pad;
    return a;
}

static void avg_forward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_pool_args a = avg_args(c);
    c->kernels->pool->avg_pool(c->stream, &a);
}

static void avg_backward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_pool_args a = avg_args(c);
    if (a.din)
        c->kernels->pool->avg_pool_grad(c->stream, &a);
}

const struct ddp_op_device ddp_avg_pool_device = {.forward = avg_forward, .backward = avg_backward};

/* ---- global average: one window ---- */

static struct ddp_gpu_pool_args global_args(const struct ddp_device_call *c)
{
    return args(c, c->in_shape[0].h, c->in_shape[0].w, 1, 0);
}

static void global_forward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_pool_args a = global_args(c);
    c->kernels->pool->avg_pool(c->stream, &a);
}

static void global_backward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_pool_args a = global_args(c);
    if (a.din)
        c->kernels->pool->avg_pool_grad(c->stream, &a);
}

const struct ddp_op_device ddp_global_avg_pool_device = {.forward = global_forward,
                                                         .backward = global_backward};
