/* Elementwise ops on the device: activations, residual add, dropout, flatten. */
#include "engine/gpu/ops.h"
#include "ops/dropout/dropout_kernels.h"
#include "ops/point/point_kernels.h"
#include "ops/shape/flatten_kernels.h"

static int64_t count(const struct ddp_gpu_call *c)
{
    return c->batch * ddp_gpu_elements(c->stage->in[0]);
}

/* ---- relu, gelu, silu ---- */

static void act_forward(const struct ddp_gpu_call *c, enum ddp_gpu_act act)
{
    const struct ddp_gpu_act_args a = {
        .type = c->type, .act = act, .count = count(c), .x = c->in[0], .out = c->out};
    c->k->point->act_forward(c->stream, &a);
}

static void act_backward(const struct ddp_gpu_call *c, enum ddp_gpu_act act)
{
    const struct ddp_gpu_act_args a = {.type = c->type,
                                       .act = act,
                                       .count = count(c),
                                       .x = act == DDP_GPU_RELU ? c->out : c->in[0],
                                       .dout = c->dout,
                                       .out = c->din[0],
                                       .accumulate = c->accumulate[0]};
    if (c->din[0])
        c->k->point->act_backward(c->stream, &a);
}

static void relu_forward(const struct ddp_gpu_call *c)
{
    act_forward(c, DDP_GPU_RELU);
}
static void relu_backward(const struct ddp_gpu_call *c)
{
    act_backward(c, DDP_GPU_RELU);
}
static void gelu_forward(const struct ddp_gpu_call *c)
{
    act_forward(c, DDP_GPU_GELU);
}
static void gelu_backward(const struct ddp_gpu_call *c)
{
    act_backward(c, DDP_GPU_GELU);
}
static void silu_forward(const struct ddp_gpu_call *c)
{
    act_forward(c, DDP_GPU_SILU);
}
static void silu_backward(const struct ddp_gpu_call *c)
{
    act_backward(c, DDP_GPU_SILU);
}

const struct ddp_gpu_op ddp_gpu_relu = {.name = "relu", .forward = relu_forward, .backward = relu_backward};
const struct ddp_gpu_op ddp_gpu_gelu = {.name = "gelu", .forward = gelu_forward, .backward = gelu_backward};
const struct ddp_gpu_op ddp_gpu_silu = {.name = "silu", .forward = silu_forward, .backward = silu_backward};

/* ---- add ---- */

static void add_forward(const struct ddp_gpu_call *c)
{
    const struct ddp_gpu_add_args a = {.type = c->type,
                                       .count = count(c),
                                       .a = c->in[0],
                                       .b = c->in[1],
                                       .out = c->out,
                                       .relu = c->stage->relu};
    c->k->point->add_forward(c->stream, &a);
}

static void add_backward(const struct ddp_gpu_call *c)
{
    for (int i = 0; i < 2; i++) {
        const struct ddp_gpu_add_args a = {.type = c->type,
                                           .count = count(c),
                                           .a = c->dout,
                                           .b = c->stage->relu ? c->out : NULL,
                                           .out = c->din[i],
                                           .accumulate = c->accumulate[i]};
        if (c->din[i])
            c->k->point->add_backward(c->stream, &a);
    }
}

const struct ddp_gpu_op ddp_gpu_add = {.name = "add", .forward = add_forward, .backward = add_backward};

/* ---- dropout ---- */

static void dropout(const struct ddp_gpu_call *c, const void *from, void *to, bool accumulate)
{
    const struct ddp_shape s = c->stage->in[0];
    const double p = ddp_gpu_conf_float(c->stage->layer, "p");
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
    c->k->dropout->dropout(c->stream, &a);
}

static void dropout_forward(const struct ddp_gpu_call *c)
{
    if (c->training)
        dropout(c, c->in[0], c->out, false);
    else
        c->api->copy(c->stream, c->out, c->in[0], (size_t)count(c) * ddp_gpu_type_bytes(c->type));
}

static void dropout_backward(const struct ddp_gpu_call *c)
{
    if (c->din[0])
        dropout(c, c->dout, c->din[0], c->accumulate[0]);
}

const struct ddp_gpu_op ddp_gpu_dropout = {
    .name = "dropout", .forward = dropout_forward, .backward = dropout_backward};

/* ---- flatten: a copy where the shape is kept (the graph leaves most of these out), else into the plain
 * order ---- */

static void flatten(const struct ddp_gpu_call *c, const void *from, void *to, bool back, bool accumulate)
{
    const struct ddp_shape in = c->stage->in[0], out = c->stage->out;
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
    if (ddp_shape_equal(in, out))
        c->k->point->add_backward(c->stream, &copy);
    else
        c->k->flatten->flatten(c->stream, &a);
}

static void flatten_forward(const struct ddp_gpu_call *c)
{
    flatten(c, c->in[0], c->out, false, false);
}

static void flatten_backward(const struct ddp_gpu_call *c)
{
    if (c->din[0])
        flatten(c, c->dout, c->din[0], true, c->accumulate[0]);
}

const struct ddp_gpu_op ddp_gpu_flatten = {
    .name = "flatten", .forward = flatten_forward, .backward = flatten_backward};
