/* Huber's loss (1964, as PyTorch has it; with delta = 1 it is smooth L1) of real targets t or the one-hot
 * label, otherwise as softmax_cross_entropy.c. With d = x_c - t_c:
 *
 *   loss = sum over samples of mean over c of  |d| <= delta ? d^2 / 2 : delta (|d| - delta / 2)
 *   dx_c = d cut to [-delta, delta], / features
 */
#include "ops/ops.h"

#include "ops/loss/loss.h"
#include "ops/loss/loss_conf.h"
#include "ops/builtin.h"

static const struct ddp_key keys[] = {
    {.name = "delta",
     .type = DDP_KEY_FLOAT,
     .offset = offsetof(struct ddp_huber_conf, delta),
     .dflt = "1.0",
     .min = 1e-6,
     .max = 1e6,
     .flags = DDP_KEY_RESULT,
     .doc = "size of the error from which the loss grows no faster than it; 1: smooth L1"},
    {0},
};

static int plan_layer(const void *conf_, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    const struct ddp_huber_conf *conf = conf_;
    (void)nin;
    if (!(conf->delta > 0 && conf->delta <= 1e6))
        return ddp_fail(err, DDP_E_CONFIG, "huber: delta is %g, allowed is above 0 up to 1e6", conf->delta);
    return ddp_loss_plan("huber", in[0], batch, plan, err);
}

static float sample_loss(const struct ddp_op_call *call, const struct ddp_loss_sample *s,
                         struct ddp_loss_score *score)
{
    const struct ddp_huber_conf *conf = call->conf;
    return ddp_loss_kernels()->huber(s, (float)conf->delta, score);
}

static void forward(const struct ddp_op_call *call)
{
    ddp_loss_run(call, sample_loss);
}

const struct ddp_op ddp_op_huber = {
    .name = "huber",
    .doc = "Huber's loss of real targets or the one-hot label, mean over them, summed over samples",
    .conf_bytes = sizeof(struct ddp_huber_conf),
    .keys = keys,
    .nin = 1,
    .is_loss = true,
    .takes_mixed = true,
    .takes_targets = true,
    .plan = plan_layer,
    .forward = forward,
    .device = &ddp_huber_device,
};
