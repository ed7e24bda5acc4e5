/* batch_norm on the device: equations in ops/norm/batch_norm.c, kernels in ops/norm/norm.cu. */
#include "ops/norm/batch_norm.h"

#include "ops/norm/norm_kernels.h"

/* saved: mean, inv_std [c] each. scratch: partial sums, then dweight and dbias where the layer has none of
 * its own. */
static int plan(const struct ddp_device_planner *p, struct ddp_device_plan *out, struct ddp_error *err)
{
    const struct ddp_batch_norm_conf *conf = p->conf;
    const int c = ddp_gpu_pad(p->in[0].c);
    (void)err;
    const int64_t partials = ddp_gpu_partials((int64_t)p->batch * p->in[0].h * p->in[0].w, c);
    out->saved_bytes = p->training ? (size_t)c * 2 * sizeof(float) : 0;
    out->scratch_bytes = p->training ? (size_t)(partials + 2 * c) * sizeof(float) : 0;
    out->sync_doubles = p->training && conf->sync ? 2 * c : 0;
    return 0;
}

struct places { /* of the parameters that the layer has: indices; -1: none */
    int weight, bias, mean, var;
};

static struct places find(const struct ddp_layer_plan *plan)
{
    struct places at = {-1, -1, -1, -1};
    for (int i = 0; i < plan->nparams; i++) {
        const struct ddp_param *p = &plan->params[i];
        int *slot = p->role == DDP_PARAM_RUNNING_MEAN  ? &at.mean
                    : p->role == DDP_PARAM_RUNNING_VAR ? &at.var
                    : at.weight < 0                    ? &at.weight
                                                       : &at.bias;
        *slot = i;
    }
    return at;
}

static float *pick(float *const *param, int i)
{
    return i < 0 ? NULL : param[i];
}

static struct ddp_gpu_norm_args forward_args(const struct ddp_device_call *c)
{
    const struct ddp_batch_norm_conf *conf = c->conf;
    const struct places at = find(c->plan);
    const int channels = ddp_gpu_pad(c->in_shape[0].c);
    return (struct ddp_gpu_norm_args){.type = c->type,
                                      .n = c->n,
                                      .batch = c->batch,
                                      .hw = c->in_shape[0].h * c->in_shape[0].w,
                                      .c = channels,
                                      .eps = (float)conf->eps,
                                      .x = c->in[0],
                                      .weight = pick(c->param, at.weight),
                                      .bias = pick(c->param, at.bias),
                                      .running_mean = pick(c->param, at.mean),
                                      .running_var = pick(c->param, at.var),
                                      .mean = c->saved,
                                      .inv_std = (float *)c->saved + channels,
                                      .partial = c->scratch,
                                      .leaf_mean = pick(c->grad, at.mean),
                                      .leaf_var = pick(c->grad, at.var),
                                      .sync = c->sync,
                                      .step = c->step,
                                      .other = c->fused & DDP_FUSE_ADD ? c->in[c->nin] : NULL,
                                      .relu = c->fused & DDP_FUSE_RELU,
                                      .y = c->out};
}

static void forward_stats(const struct ddp_device_call *c)
{
    const struct ddp_gpu_norm_args a = forward_args(c);
    c->kernels->norm->norm_stats(c->stream, &a);
}

static void forward(const struct ddp_device_call *c)
{
    struct ddp_gpu_norm_args a = forward_args(c);
    if (!c->training) {
        a.mean = a.inv_std = NULL;
        c->kernels->norm->norm_eval(c->stream, &a);
        return;
    }
    if (c->sync)
        c->kernels->norm->norm_sync_apply(c->stream, &a);
    else
        c->kernels->norm->norm_stats(c->stream, &a);
    c->kernels->norm->norm_forward(c->stream, &a);
}

static struct ddp_gpu_norm_grad_args backward_args(const struct ddp_device_call *c)
{
    const struct places at = find(c->plan);
    const int channels = ddp_gpu_pad(c->in_shape[0].c), other = c->nin;
    const bool add = c->fused & DDP_FUSE_ADD && c->din[other];
    float *own = (float *)c->scratch +
                 ddp_gpu_partials((int64_t)c->batch * c->in_shape[0].h * c->in_shape[0].w, channels);
    return (struct ddp_gpu_norm_grad_args){.type = c->type,
                                           .n = c->n,
                                           .batch = c->batch,
                                           .hw = c->in_shape[0].h * c->in_shape[0].w,
                                           .c = channels,
                                           .x = c->in[0],
                                           .relu = c->fused & DDP_FUSE_RELU,
                                           .y = c->fused & DDP_FUSE_ADD ? c->out : NULL,
                                           .weight = pick(c->param, at.weight),
                                           .bias = pick(c->param, at.bias),
                                           .mean = c->saved,
                                           .inv_std = (const float *)c->saved + channels,
                                           .dout = c->dout,
                                           .more = c->dout_more,
                                           .dother = add ? c->din[other] : NULL,
                                           .accumulate_other = add && c->accumulate[other],
                                           .dweight = at.weight < 0 ? own : c->grad[at.weight],
                                           .dbias = at.bias < 0 ? own + channels : c->grad[at.bias],
                                           .partial = c->scratch,
                                           .sync = c->sync,
                                           .step = c->step,
                                           .din = c->din[0],
                                           .accumulate = c->accumulate[0]};
}

static void backward_stats(const struct ddp_device_call *c)
{
    const struct ddp_gpu_norm_grad_args a = backward_args(c);
    c->kernels->norm->norm_grad_stats(c->stream, &a);
}

static void backward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_norm_grad_args a = backward_args(c);
    if (!c->sync)
        c->kernels->norm->norm_grad_stats(c->stream, &a);
    if (a.din)
        c->kernels->norm->norm_grad(c->stream, &a);
}

const struct ddp_op_device ddp_batch_norm_device = {.plan = plan,
                                                    .forward = forward,
                                                    .backward = backward,
                                                    .forward_stats = forward_stats,
                                                    .backward_stats = backward_stats,
                                                    .gradients = DDP_GRADIENT_LEFT | DDP_GRADIENT_OF_TWO};
