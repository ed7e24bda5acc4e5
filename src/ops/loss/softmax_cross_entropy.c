/* Softmax cross-entropy with label smoothing (Szegedy et al., 2016, as PyTorch has it), summed over the
 * samples:
 *
 *   p    = softmax(x)
 *   q_c  = smoothing / classes + (1 - smoothing) [c = label]
 *   loss = -sum_c q_c ln p_c
 *   dx   = p - q
 *
 * dx is the gradient of the sum; the division by the global count comes after all shards are added. Vectors
 * of classes, features order or pictures of one pixel. forward writes loss, the number of right answers
 * (largest x, lowest class of equals) and, when training, din[0]; out is not written. Work: one exp a class
 * forward, one more for dx. */
#include "ops/ops.h"

#include "ops/loss/loss.h"
#include "ops/loss/loss_conf.h"
#include "ops/builtin.h"

static const struct ddp_key keys[] = {
    {.name = "label_smoothing",
     .type = DDP_KEY_FLOAT,
     .offset = offsetof(struct ddp_softmax_cross_entropy_conf, label_smoothing),
     .dflt = "0.0",
     .min = 0,
     .max = 1,
     .flags = DDP_KEY_RESULT,
     .doc = "share of the target that is spread evenly over all classes"},
    {0},
};

static int plan_layer(const void *conf_, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    const struct ddp_softmax_cross_entropy_conf *conf = conf_;
    (void)nin;
    if (!(conf->label_smoothing >= 0 && conf->label_smoothing <= 1))
        return ddp_fail(err, DDP_E_CONFIG, "softmax_cross_entropy: label_smoothing is %g, allowed is 0 to 1",
                        conf->label_smoothing);
    return ddp_loss_plan("softmax_cross_entropy", in[0], batch, plan, err);
}

static float sample_loss(const struct ddp_op_call *call, const struct ddp_loss_sample *s,
                         struct ddp_loss_score *score)
{
    const struct ddp_softmax_cross_entropy_conf *conf = call->conf;
    return ddp_loss_kernels()->softmax_cross_entropy(s, (float)conf->label_smoothing, score);
}

static void forward(const struct ddp_op_call *call)
{
    ddp_loss_run(call, sample_loss);
}

const struct ddp_op ddp_op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .doc = "cross-entropy of the softmax with the label, summed over samples",
    .conf_bytes = sizeof(struct ddp_softmax_cross_entropy_conf),
    .keys = keys,
    .nin = 1,
    .is_loss = true,
    .takes_mixed = true,
    .plan = plan_layer,
    .forward = forward,
    .device = &ddp_softmax_cross_entropy_device,
};
