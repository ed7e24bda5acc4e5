/* SGD with momentum, dampening, Nesterov and coupled weight decay: sgd_args.h has the equations. */
#include "optim/kind.h"
#include "optim/sgd_args.h"

DDP_CPU_TABLE(struct ddp_optim_cpu, ddp_sgd_cpu)

const struct ddp_optim_kind ddp_optim_sgd = {
    .name = "sgd",
    .reads = DDP_READS_NESTEROV,
    .array = {{"momentum", ddp_sgd_has_buffer}},
    .nstages = 1,
    .stage = {{.factor = true}},
    .cpu = ddp_sgd_cpu,
};
