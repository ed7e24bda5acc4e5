/* What the device halves of ops share: a user's way to the stream, vendors' algorithms through the plan
 * lock, bias, residual and ReLU behind a convolution or a matrix product. */
#include "ops/device.h"

#include "base/base.h"
#include "device/lock.h"
#include "ops/point/point_kernels.h"

void *ddp_device_stream(const struct ddp_device_call *call)
{
    return call->api->stream_handle(call->stream);
}

void ddp_device_failed(const struct ddp_device_call *call, const char *what, const char *why)
{
    call->api->stream_fail(call->stream, what, why);
}

/* ---- plans ---- */

static int take_plan(const struct ddp_device_planner *p, struct ddp_device_plan *out, int pass,
                     const char *signature, struct ddp_gpu_plan *plan, struct ddp_error *err)
{
    const size_t workspace = p->api->plan_workspace(plan);
    out->vendor[pass] = plan;
    if (out->workspace_bytes < workspace)
        out->workspace_bytes = workspace;
    return ddp_gpu_lock_add(p->lock, signature, p->api->plan_lock(plan), err);
}

int ddp_device_plan_conv(const struct ddp_device_planner *p, const struct ddp_gpu_conv *c,
                         enum ddp_gpu_conv_pass pass, struct ddp_device_plan *out, struct ddp_error *err)
{
    char signature[DDP_GPU_SIGNATURE];
    struct ddp_gpu_plan *plan;
    ddp_gpu_conv_signature(c, pass, signature);
    const int status =
        p->api->conv_plan(p->gpu, c, pass, ddp_gpu_lock_find(p->lock, signature), p->tune, &plan, err);
    return status ? status : take_plan(p, out, pass, signature, plan, err);
}

int ddp_device_plan_matmul(const struct ddp_device_planner *p, const struct ddp_gpu_matmul *m, int pass,
                           struct ddp_device_plan *out, struct ddp_error *err)
{
    char signature[DDP_GPU_SIGNATURE];
    struct ddp_gpu_plan *plan;
    ddp_gpu_matmul_signature(m, signature);
    const int status =
        p->api->matmul_plan(p->gpu, m, ddp_gpu_lock_find(p->lock, signature), p->tune, &plan, err);
    return status ? status : take_plan(p, out, pass, signature, plan, err);
}

/* ---- forward with an epilogue ---- */

unsigned ddp_device_epilogue_wanted(const struct ddp_device_planner *p)
{
    if (p->plan->nparams < 2 || p->fused & DDP_FUSE_ADD)
        return 0;
    return p->fused & DDP_FUSE_RELU ? DDP_GPU_BIAS_RELU : DDP_GPU_BIAS;
}

/* Whether the lock leaves it open, or has it. */
static bool may_have_epilogue(const struct ddp_device_planner *p, const char *with, const char *without)
{
    return ddp_gpu_lock_find(p->lock, with) || !ddp_gpu_lock_find(p->lock, without);
}

/* status: of the plan with the epilogue; true: that there is none is no failure. */
static bool is_absent(const struct ddp_device_planner *p, int status, const char *with, struct ddp_error *err)
{
    if (status != DDP_E_RESOURCE || ddp_gpu_lock_find(p->lock, with))
        return false;
    *err = (struct ddp_error){0};
    return true;
}

int ddp_device_plan_conv_forward(const struct ddp_device_planner *p, const struct ddp_gpu_conv *c,
                                 struct ddp_device_plan *out, struct ddp_error *err)
{
    char with[DDP_GPU_SIGNATURE], without[DDP_GPU_SIGNATURE];
    struct ddp_gpu_conv alone = *c;
    alone.epilogue = 0;
    ddp_gpu_conv_signature(c, DDP_GPU_CONV_FORWARD, with);
    ddp_gpu_conv_signature(&alone, DDP_GPU_CONV_FORWARD, without);
    if (c->epilogue && may_have_epilogue(p, with, without)) {
        const int status = ddp_device_plan_conv(p, c, DDP_GPU_CONV_FORWARD, out, err);
        out->epilogue = status == 0;
        if (!is_absent(p, status, with, err))
            return status;
    }
    return ddp_device_plan_conv(p, &alone, DDP_GPU_CONV_FORWARD, out, err);
}

int ddp_device_plan_matmul_forward(const struct ddp_device_planner *p, const struct ddp_gpu_matmul *m,
                                   int pass, struct ddp_device_plan *out, struct ddp_error *err)
{
    char with[DDP_GPU_SIGNATURE], without[DDP_GPU_SIGNATURE];
    struct ddp_gpu_matmul alone = *m;
    alone.epilogue = 0;
    ddp_gpu_matmul_signature(m, with);
    ddp_gpu_matmul_signature(&alone, without);
    if (m->epilogue && may_have_epilogue(p, with, without)) {
        const int status = ddp_device_plan_matmul(p, m, pass, out, err);
        out->epilogue = status == 0;
        if (!is_absent(p, status, with, err))
            return status;
    }
    return ddp_device_plan_matmul(p, &alone, pass, out, err);
}

/* ---- bias, residual, ReLU ---- */

void ddp_device_epilogue(const struct ddp_device_call *c, int64_t pixels, int channels, const float *bias)
{
    const bool add = c->fused & DDP_FUSE_ADD, relu = c->fused & DDP_FUSE_RELU;
    if (c->epilogue || (!bias && !add && !relu))
        return;
    const struct ddp_gpu_bias_args a = {.type = c->type,
                                        .pixels = pixels,
                                        .c = channels,
                                        .bias = bias,
                                        .other = add ? c->in[c->nin] : NULL,
                                        .relu = relu,
                                        .y = c->out};
    c->kernels->point->bias_forward(c->stream, &a);
}

size_t ddp_device_epilogue_scratch(int64_t pixels, int channels)
{
    return (size_t)ddp_gpu_partials(pixels, channels) * sizeof(float);
}

void ddp_device_epilogue_grad(const struct ddp_device_call *c, int64_t pixels, int channels, float *dbias,
                              float *scratch)
{
    const int other = c->nin;
    const bool relu = c->fused & DDP_FUSE_RELU,
               add = c->fused & DDP_FUSE_ADD && c->din[other] && c->din[other] != c->dout;
    if (!dbias && !add && !relu)
        return;
    const struct ddp_gpu_bias_grad_args a = {.type = c->type,
                                             .pixels = pixels,
                                             .c = channels,
                                             .relu = relu,
                                             .out = c->out,
                                             .dout = c->dout,
                                             .dother = add ? c->din[other] : NULL,
                                             .accumulate = add && c->accumulate[other],
                                             .dbias = dbias,
                                             .partial = scratch};
    c->kernels->point->bias_backward(c->stream, &a);
}

/* ---- gradients that vendors' calls write ---- */

void *ddp_device_gradient_to(const struct ddp_device_call *c)
{
    return c->accumulate[0] ? c->scratch : c->din[0];
}

void ddp_device_gradient_add(const struct ddp_device_call *c, const void *from)
{
    const struct ddp_gpu_add_args add = {.type = c->type,
                                         .count = c->batch * ddp_gpu_elements(c->in_shape[0]),
                                         .a = c->din[0],
                                         .b = from,
                                         .out = c->din[0]};
    if (c->accumulate[0])
        c->kernels->point->add_forward(c->stream, &add);
}
