/* Losses on the device: they write the shard's loss, its right answers and, when training, the gradient of
 * their input. */
#include "engine/gpu/ops.h"
#include "ops/loss/loss_kernels.h"

static int plan(const struct ddp_gpu_planner *p, struct ddp_gpu_stage *st, struct ddp_error *err)
{
    (void)err;
    st->scratch_bytes = (size_t)p->batch * 2 * sizeof(float);
    return 0;
}

static struct ddp_gpu_loss_args args(const struct ddp_gpu_call *c)
{
    const struct ddp_shape s = c->stage->in[0];
    return (struct ddp_gpu_loss_args){.type = c->type,
                                      .n = c->n,
                                      .batch = c->batch,
                                      .classes = s.c * s.h * s.w,
                                      .c = (int)ddp_gpu_elements(s),
                                      .x = c->in[0],
                                      .label = c->label,
                                      .scale = c->scale,
                                      .dx = c->din[0],
                                      .sample = c->scratch,
                                      .loss = c->loss,
                                      .correct = c->correct};
}

static void cross_entropy_forward(const struct ddp_gpu_call *c)
{
    struct ddp_gpu_loss_args a = args(c);
    a.smoothing = (float)ddp_gpu_conf_float(c->stage->layer, "label_smoothing");
    c->k->loss->softmax_cross_entropy(c->stream, &a);
}

static void mse_forward(const struct ddp_gpu_call *c)
{
    const struct ddp_gpu_loss_args a = args(c);
    c->k->loss->mse(c->stream, &a);
}

const struct ddp_gpu_op ddp_gpu_softmax_cross_entropy = {
    .name = "softmax_cross_entropy", .plan = plan, .forward = cross_entropy_forward};
const struct ddp_gpu_op ddp_gpu_mse = {.name = "mse", .plan = plan, .forward = mse_forward};
