/* Losses on the device: they write the shard's loss, its right answers and, when training, the gradient of
 * their input. */
#include "ops/loss/loss_conf.h"

#include "ops/loss/loss_kernels.h"

static int plan(const struct ddp_device_planner *p, struct ddp_device_plan *out, struct ddp_error *err)
{
    (void)err;
    out->scratch_bytes = (size_t)p->batch * 2 * sizeof(float);
    return 0;
}

static struct ddp_gpu_loss_args args(const struct ddp_device_call *c)
{
    const struct ddp_shape s = c->in_shape[0];
    return (struct ddp_gpu_loss_args){.type = c->type,
                                      .n = c->n,
                                      .batch = c->batch,
                                      .classes = s.c * s.h * s.w,
                                      .c = (int)ddp_gpu_elements(s),
                                      .x = c->in[0],
                                      .label = c->label,
                                      .target = c->target,
                                      .mixed = c->mixed,
                                      .scale = c->scale,
                                      .dx = c->din[0],
                                      .sample = c->scratch,
                                      .loss = c->loss,
                                      .correct = c->correct,
                                      .error = c->error};
}

static void cross_entropy_forward(const struct ddp_device_call *c)
{
    const struct ddp_softmax_cross_entropy_conf *conf = c->conf;
    struct ddp_gpu_loss_args a = args(c);
    a.smoothing = (float)conf->label_smoothing;
    c->kernels->loss->softmax_cross_entropy(c->stream, &a);
}

static void mse_forward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_loss_args a = args(c);
    c->kernels->loss->mse(c->stream, &a);
}

static void mae_forward(const struct ddp_device_call *c)
{
    const struct ddp_gpu_loss_args a = args(c);
    c->kernels->loss->mae(c->stream, &a);
}

static void huber_forward(const struct ddp_device_call *c)
{
    const struct ddp_huber_conf *conf = c->conf;
    struct ddp_gpu_loss_args a = args(c);
    a.delta = (float)conf->delta;
    c->kernels->loss->huber(c->stream, &a);
}

const struct ddp_op_device ddp_softmax_cross_entropy_device = {.plan = plan,
                                                               .forward = cross_entropy_forward};
const struct ddp_op_device ddp_mse_device = {.plan = plan, .forward = mse_forward};
const struct ddp_op_device ddp_mae_device = {.plan = plan, .forward = mae_forward};
const struct ddp_op_device ddp_huber_device = {.plan = plan, .forward = huber_forward};
