/* linear on the device: out [n][K] = in [n][F] weight [K][F]^T by cuBLASLt, our epilogue. F counts every
 * pixel and padded channel of what comes in; the gradient of the weights is fp32 and goes straight into the
 * leaf. Where cuBLASLt adds the bias it adds it as it adds all: in the result's type. */
#include "ops/linear/linear.h"

#include "base/base.h"
#include "ops/device.h"
#include "ops/point/point_kernels.h"

enum { FORWARD, DGRAD, WGRAD };

static int plan(const struct ddp_device_planner *p, struct ddp_device_plan *out, struct ddp_error *err)
{
    const int n = p->batch, features = (int)ddp_gpu_elements(p->in[0]), k = ddp_gpu_pad(p->out.c);
    const struct ddp_gpu_matmul m[DDP_DEVICE_PASSES] = {
        [FORWARD] = {.m = n,
                     .n = k,
                     .l = features,
                     .tb = true,
                     .type = p->type,
                     .out_type = p->type,
                     .tf32 = p->tf32,
                     .epilogue = ddp_device_epilogue_wanted(p)},
        [DGRAD] = {.m = n, .n = features, .l = k, .type = p->type, .out_type = p->type, .tf32 = p->tf32},
        [WGRAD] = {.m = k,
                   .n = features,
                   .l = n,
                   .ta = true,
                   .type = p->type,
                   .out_type = DDP_GPU_F32,
                   .tf32 = p->tf32},
    };
    out->weight_only = 1;
    int status = ddp_device_plan_matmul_forward(p, &m[FORWARD], FORWARD, out, err);
    for (int pass = DGRAD; p->training && pass <= WGRAD && status == 0; pass++)
        status = ddp_device_plan_matmul(p, &m[pass], pass, out, err);
    if (status)
        return status;
    if (!p->training)
        return 0;
    const size_t added = p->accumulate ? (size_t)n * (size_t)features * ddp_gpu_type_bytes(p->type) : 0,
                 bias = ddp_device_epilogue_scratch(n, k);
    out->scratch_bytes = added > bias ? added : bias;
    return 0;
}

static float *bias_of(const struct ddp_device_call *c, float *const *param)
{
    return c->plan->nparams > 1 ? param[1] : NULL;
}

static void forward(const struct ddp_device_call *c)
{
    c->api->matmul_run(c->stream, c->vendor[FORWARD], c->in[0], c->weight[0], c->out,
                       c->epilogue ? c->weight[1] : NULL, c->workspace);
    ddp_device_epilogue(c, c->batch, ddp_gpu_pad(c->out_shape.c), bias_of(c, c->param));
}

static void backward(const struct ddp_device_call *c)
{
    ddp_device_epilogue_grad(c, c->batch, ddp_gpu_pad(c->out_shape.c), bias_of(c, c->grad), c->scratch);
    c->api->matmul_run(c->stream, c->vendor[WGRAD], c->dout, c->in[0], c->grad[0], NULL, c->workspace);
    if (!c->din[0])
        return;
    void *to = ddp_device_gradient_to(c);
    c->api->matmul_run(c->stream, c->vendor[DGRAD], c->dout, c->weight[0], to, NULL, c->workspace);
    ddp_device_gradient_add(c, to);
}

const struct ddp_op_device ddp_linear_device = {.plan = plan,
                                                .forward = forward,
                                                .backward = backward,
                                                .gradients = DDP_GRADIENT_LEFT | DDP_GRADIENT_ASIDE};
