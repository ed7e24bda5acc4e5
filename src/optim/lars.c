/* LARS: lars_args.h has the equations. Stage 0 leaves norms, stage 1 is SGD's step with the trust ratio.
 * Clipping scales all gradients by one factor, so the norm of the clipped gradient is known without another
 * stage. */
#include "optim/kind.h"
#include "optim/lars_args.h"
#include "optim/sgd_args.h"

DDP_CPU_TABLE(struct ddp_optim_cpu, ddp_lars_cpu)

const struct ddp_optim_kind ddp_optim_lars = {
    .name = "lars",
    .reads = DDP_READS_NESTEROV,
    .array = {{"momentum", ddp_sgd_has_buffer}},
    .nstages = 2,
    .stage = {{.leaves = DDP_LARS_NORMS}, {.factor = true, .trust = true}},
    .cpu = ddp_lars_cpu,
    .trust = ddp_lars_trust,
};
