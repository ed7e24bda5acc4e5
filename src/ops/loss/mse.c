/* Mean squared error to real targets t or the one-hot label, otherwise as softmax_cross_entropy.c.
 *
 *   loss = sum over samples of mean over c of (x_c - t_c)^2
 *   dx_c = 2 (x_c - t_c) / features
 */
#include "ops/ops.h"

#include "ops/loss/loss.h"
#include "ops/loss/loss_conf.h"
#include "ops/builtin.h"

static const struct ddp_key no_keys[] = {{0}};

static int plan_layer(const void *conf, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)conf, (void)nin;
    return ddp_loss_plan("mse", in[0], batch, plan, err);
}

static float sample_loss(const struct ddp_op_call *call, const struct ddp_loss_sample *s,
                         struct ddp_loss_score *score)
{
    (void)call;
    return ddp_loss_kernels()->mse(s, score);
}

static void forward(const struct ddp_op_call *call)
{
    ddp_loss_run(call, sample_loss);
}

const struct ddp_op ddp_op_mse = {
    .name = "mse",
    .doc = "squared error to real targets or the one-hot label, mean over them, summed over samples",
    .keys = no_keys,
    .nin = 1,
    .is_loss = true,
    .takes_mixed = true,
    .takes_targets = true,
    .plan = plan_layer,
    .forward = forward,
    .device = &ddp_mse_device,
};
