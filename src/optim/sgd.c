/* SGD with momentum, dampening, Nesterov and coupled weight decay: sgd_cpu.c has the equations. */
#include "optim/kernels.h"
#include "optim/private.h"

static void run(const struct ddp_optim *o, int stage, const struct ddp_optim_run *r)
{
    (void)stage;
    const struct ddp_config *cfg = o->cfg;
    struct ddp_sgd_args args = {.scale = ddp_optim_scale(o),
                                .decay = (float)r->setting->weight_decay,
                                .trust = 1,
                                .momentum = (float)cfg->optim.momentum,
                                .undamped = (float)(1 - cfg->optim.dampening),
                                .lr = (float)(o->lr * r->setting->lr_scale),
                                .nesterov = cfg->optim.nesterov,
                                .first = o->step == 0};
    ddp_sgd_kernels()->step(&args, r->n, r->sum, o->array[0] ? o->array[0] + r->at : NULL, o->params + r->at);
}

const struct ddp_optim_kind ddp_optim_sgd = {
    .name = "sgd", .stages = 1, .narrays = 1, .array = {"momentum"}, .run = run};
const struct ddp_optim_kind ddp_optim_sgd_plain = {.name = "sgd", .stages = 1, .run = run};
