/* LARS (You, Gitman, Ginsburg 2017): SGD whose gradient, decay included, is scaled per tensor by
 *   trust * |p| / (|g| + weight_decay * |p| + eps)
 * and by 1 where a norm is zero and for tensors without decay (norms, biases). As in SGD the learning rate
 * stands outside the momentum buffer; the paper's has it inside, which differs only while the rate changes.
 *
 * Stage 0 leaves |p|^2 and the squared norm of the gradient's sum per block, stage 1 updates. Clipping scales
 * all gradients by one factor, so the norm of the clipped gradient is known without another stage. */
#include "ops/ops.h"
#include "optim/kernels.h"
#include "optim/private.h"

enum { PARAM, GRADIENT, VALUES };

static void run(const struct ddp_optim *o, int stage, const struct ddp_optim_run *r)
{
    float *param = o->params + r->at;
    if (stage == 0) {
        r->value[PARAM] = ddp_vec_sumsq(param, r->n);
        r->value[GRADIENT] = ddp_vec_sumsq(r->sum, r->n);
        return;
    }
    const struct ddp_config *cfg = o->cfg;
    struct ddp_sgd_args args = {.scale = ddp_optim_scale(o),
                                .decay = (float)r->setting->weight_decay,
                                .trust = (float)r->setting->trust,
                                .momentum = (float)cfg->optim.momentum,
                                .undamped = (float)(1 - cfg->optim.dampening),
                                .lr = (float)(o->lr * r->setting->lr_scale),
                                .nesterov = cfg->optim.nesterov,
                                .first = o->step == 0};
    ddp_sgd_kernels()->step(&args, r->n, r->sum, o->array[0] ? o->array[0] + r->at : NULL, param);
}

static void between(struct ddp_optim *o, const double *values)
{
    for (int i = 0; i < o->flat->ntrained; i++) {
        struct ddp_optim_setting *s = &o->setting[i];
        if (!s->adapt)
            continue; /* stays 1 */
        double p = ddp_sqrt(ddp_optim_tensor_sum(o, values, PARAM, i));
        double g = ddp_sqrt(ddp_optim_tensor_sum(o, values, GRADIENT, i)) * (o->factor / (double)o->count);
        s->trust =
            p > 0 && g > 0 ? o->cfg->optim.trust * p / (g + s->weight_decay * p + o->cfg->optim.eps) : 1;
    }
}

const struct ddp_optim_kind ddp_optim_lars = {.name = "lars",
                                              .stages = 2,
                                              .values = VALUES,
                                              .gradient_norms = true,
                                              .gradient_value = GRADIENT,
                                              .narrays = 1,
                                              .array = {"momentum"},
                                              .run = run,
                                              .between = between};
const struct ddp_optim_kind ddp_optim_lars_plain = {.name = "lars",
                                                    .stages = 2,
                                                    .values = VALUES,
                                                    .gradient_norms = true,
                                                    .gradient_value = GRADIENT,
                                                    .run = run,
                                                    .between = between};
