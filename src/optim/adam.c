/* Adam: adam_args.h has the equations. */
#include "optim/kind.h"

DDP_CPU_TABLE(struct ddp_optim_cpu, ddp_adam_cpu)

const struct ddp_optim_kind ddp_optim_adam = {
    .name = "adam",
    .reads = DDP_READS_BETAS | DDP_READS_EPS,
    .array = {{"exp_avg", NULL}, {"exp_avg_sq", NULL}},
    .nstages = 1,
    .stage = {{.factor = true}},
    .cpu = ddp_adam_cpu,
};
