/* AdamW: adamw_cpu.c has the equations. */
#include "optim/kernels.h"
#include "optim/private.h"

static void run(const struct ddp_optim *o, int stage, const struct ddp_optim_run *r)
{
    (void)stage;
    const struct ddp_config *cfg = o->cfg;
    double lr = o->lr * r->setting->lr_scale;
    struct ddp_adam_args args = {.scale = ddp_optim_scale(o),
                                 .blend1 = (float)(1 - cfg->optim.beta1),
                                 .beta2 = (float)cfg->optim.beta2,
                                 .blend2 = (float)(1 - cfg->optim.beta2),
                                 .inv_sqrt2 = (float)(1 / ddp_sqrt(o->bias2)),
                                 .eps = (float)cfg->optim.eps,
                                 .keep = (float)(1 - lr * r->setting->weight_decay),
                                 .step = (float)(lr / o->bias1)};
    ddp_adamw_kernels()->step(&args, r->n, r->sum, o->array[0] + r->at, o->array[1] + r->at,
                              o->params + r->at);
}

const struct ddp_optim_kind ddp_optim_adamw = {
    .name = "adamw", .stages = 1, .narrays = 2, .array = {"exp_avg", "exp_avg_sq"}, .run = run};
