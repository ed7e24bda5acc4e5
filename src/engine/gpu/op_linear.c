/* linear on the device: out [n][K] = in [n][F] weight [K][F]^T by cuBLASLt, our epilogue. F counts every
 * pixel and padded channel of what comes in; the gradient of the weights is fp32 and goes straight into the
 * leaf. */
#include "engine/gpu/ops.h"
#include "ops/point/point_kernels.h"

enum { FORWARD, DGRAD, WGRAD };

static int plan(const struct ddp_gpu_planner *p, struct ddp_gpu_stage *st, struct ddp_error *err)
{
    const int n = p->batch, features = (int)ddp_gpu_elements(st->in[0]), out = ddp_gpu_pad(st->out.c);
    const struct ddp_gpu_matmul m[DDP_GPU_PASSES] = {
        [FORWARD] = {.m = n,
                     .n = out,
                     .l = features,
                     .tb = true,
                     .type = p->type,
                     .out_type = p->type,
                     .tf32 = p->tf32},
        [DGRAD] = {.m = n, .n = features, .l = out, .type = p->type, .out_type = p->type, .tf32 = p->tf32},
        [WGRAD] = {.m = out,
                   .n = features,
                   .l = n,
                   .ta = true,
                   .type = p->type,
                   .out_type = DDP_GPU_F32,
                   .tf32 = p->tf32},
    };
    for (int pass = 0; pass < (p->training ? DDP_GPU_PASSES : 1); pass++) {
        const int status = ddp_gpu_plan_matmul(p, &m[pass], pass, st, err);
        if (status)
            return status;
    }
    if (!p->training)
        return 0;
    const size_t added = (size_t)n * (size_t)features * ddp_gpu_type_bytes(p->type),
                 bias = ddp_gpu_epilogue_scratch(n, out);
    st->scratch_bytes = added > bias ? added : bias;
    return 0;
}

static float *bias_of(const struct ddp_gpu_call *c, float *const *param)
{
    return c->stage->layer->plan.nparams > 1 ? param[1] : NULL;
}

static void forward(const struct ddp_gpu_call *c)
{
    c->api->matmul_run(c->stream, c->stage->plan[FORWARD], c->in[0], c->weight[0], c->out, c->workspace);
    ddp_gpu_epilogue(c, c->batch, ddp_gpu_pad(c->stage->out.c), bias_of(c, c->param));
}

static void backward(const struct ddp_gpu_call *c)
{
    const struct ddp_gpu_stage *st = c->stage;
    ddp_gpu_epilogue_grad(c, c->batch, ddp_gpu_pad(st->out.c), bias_of(c, c->grad), c->scratch);
    c->api->matmul_run(c->stream, st->plan[WGRAD], c->dout, c->in[0], c->grad[0], c->workspace);
    if (!c->din[0])
        return;
    void *to = c->accumulate[0] ? c->scratch : c->din[0];
    c->api->matmul_run(c->stream, st->plan[DGRAD], c->dout, c->weight[0], to, c->workspace);
    const struct ddp_gpu_add_args add = {.type = c->type,
                                         .count = c->batch * ddp_gpu_elements(st->in[0]),
                                         .a = c->din[0],
                                         .b = to,
                                         .out = c->din[0]};
    if (c->accumulate[0])
        c->k->point->add_forward(c->stream, &add);
}

const struct ddp_gpu_op ddp_gpu_linear = {
    .name = "linear", .plan = plan, .forward = forward, .backward = backward};
