/* group_norm and layer_norm on the device: equations in group_norm.c, kernels in group_norm.cu. */
#include "ops/norm/group_norm.h"

#include "device/api.h"
#include "ops/norm/group_norm_kernels.h"

/* saved: stats [batch][groups][3], in scratch when not training. scratch: sums [batch][2][c] and means
 * [batch][groups][2] of backward. */
static int groups_of(const void *conf_)
{
    const struct ddp_group_norm_conf *conf = conf_;
    return conf->groups ? (int)conf->groups : 1;
}

static int plan(const struct ddp_device_planner *p, struct ddp_device_plan *out, struct ddp_error *err)
{
    const size_t groups = (size_t)p->batch * (size_t)groups_of(p->conf);
    const size_t stats = groups * 3 * sizeof(float),
                 sums = (size_t)p->batch * 2 * (size_t)p->in[0].c * sizeof(float);
    (void)err;
    out->saved_bytes = p->training ? stats : 0;
    out->scratch_bytes = p->training ? sums + groups * 2 * sizeof(float) : stats;
    return 0;
}

static struct ddp_gpu_group_args args(const struct ddp_device_call *c)
{
    const struct ddp_group_norm_conf *conf = c->conf;
    const struct ddp_shape s = c->in_shape[0];
    float *sums = c->scratch;
    return (struct ddp_gpu_group_args){.type = c->type,
                                       .n = c->n,
                                       .batch = c->batch,
                                       .hw = s.h * s.w,
                                       .c = ddp_gpu_pad(s.c),
                                       .real_c = s.c,
                                       .groups = groups_of(conf),
                                       .elements = conf->groups == 0,
                                       .eps = (float)conf->eps,
                                       .x = c->in[0],
                                       .weight = conf->affine ? c->param[0] : NULL,
                                       .bias = conf->affine ? c->param[1] : NULL,
                                       .stats = c->training ? c->saved : c->scratch,
                                       .y = c->out,
                                       .dout = c->dout,
                                       .sums = sums,
                                       .means = sums + (size_t)c->batch * 2 * (size_t)s.c,
                                       .dweight = conf->affine ? c->grad[0] : NULL,
                                       .dbias = conf->affine ? c->grad[1] : NULL,
                                       .din = c->din[0],
                                       .accumulate = c->accumulate[0]};
}

static void forward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_group_args a = args(c);
    c->kernels->group_norm->group_stats(c->stream, &a);
    c->kernels->group_norm->group_forward(c->stream, &a);
}

static void backward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_group_args a = args(c);
    c->kernels->group_norm->group_grad_stats(c->stream, &a);
    if (a.din)
        c->kernels->group_norm->group_grad(c->stream, &a);
}

const struct ddp_op_device ddp_group_norm_device = {.plan = plan, .forward = forward, .backward = backward};
const struct ddp_op_device ddp_layer_norm_device = {.plan = plan, .forward = forward, .backward = backward};
