/* LAMB: lamb_cpu.c has the equations. Stage 0 updates the moments, puts the update u where the gradient was
 * and leaves |p|^2 and |u|^2 per block; stage 1 applies u times lr * |p| / |u|. The ratio is 1 where a norm
 * is zero and for tensors without decay (norms, biases). */
#include "ops/ops.h"
#include "optim/kernels.h"
#include "optim/private.h"

enum { PARAM, UPDATE, VALUES };

static void run(const struct ddp_optim *o, int stage, const struct ddp_optim_run *r)
{
    float *param = o->params + r->at;
    if (stage == 1) {
        ddp_lamb_kernels()->apply((float)(o->lr * r->setting->lr_scale * r->setting->trust), r->n, r->sum,
                                  param);
        return;
    }
    const struct ddp_config *cfg = o->cfg;
    struct ddp_adam_args args = {.scale = ddp_optim_scale(o),
                                 .blend1 = (float)(1 - cfg->optim.beta1),
                                 .beta2 = (float)cfg->optim.beta2,
                                 .blend2 = (float)(1 - cfg->optim.beta2),
                                 .inv1 = (float)(1 / o->bias1),
                                 .inv_sqrt2 = (float)(1 / ddp_sqrt(o->bias2)),
                                 .eps = (float)cfg->optim.eps,
                                 .decay = (float)r->setting->weight_decay};
    ddp_lamb_kernels()->update(&args, r->n, r->sum, o->array[0] + r->at, o->array[1] + r->at, param);
    r->value[PARAM] = ddp_vec_sumsq(param, r->n);
    r->value[UPDATE] = ddp_vec_sumsq(r->sum, r->n);
}

static void between(struct ddp_optim *o, const double *values)
{
    for (int i = 0; i < o->flat->ntrained; i++) {
        struct ddp_optim_setting *s = &o->setting[i];
        if (!s->adapt)
            continue; /* stays 1 */
        double p = ddp_sqrt(ddp_optim_tensor_sum(o, values, PARAM, i));
        double u = ddp_sqrt(ddp_optim_tensor_sum(o, values, UPDATE, i));
        s->trust = p > 0 && u > 0 ? p / u : 1;
    }
}

const struct ddp_optim_kind ddp_optim_lamb = {.name = "lamb",
                                              .stages = 2,
                                              .values = VALUES,
                                              .narrays = 2,
                                              .array = {"exp_avg", "exp_avg_sq"},
                                              .run = run,
                                              .between = between};
