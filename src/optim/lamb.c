/* LAMB: lamb_args.h has the equations. Stage 0 updates the moments, puts the update u where the gradient was
 * and leaves the norms, stage 1 applies u times the trust ratio. */
#include "optim/lamb_args.h"
#include "optim/kind.h"

DDP_CPU_TABLE(struct ddp_optim_cpu, ddp_lamb_cpu)

const struct ddp_optim_kind ddp_optim_lamb = {
    .name = "lamb",
    .reads = DDP_READS_BETAS | DDP_READS_EPS,
    .array = {{"exp_avg", NULL}, {"exp_avg_sq", NULL}},
    .writes_sum = true,
    .nstages = 2,
    .stage = {{.factor = true, .leaves = DDP_LAMB_NORMS}, {.trust = true}},
    .cpu = ddp_lamb_cpu,
    .trust = ddp_lamb_trust,
};
