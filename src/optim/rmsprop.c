/* RMSprop: rmsprop_args.h has the equations. */
#include "optim/kind.h"
#include "optim/rmsprop_args.h"

DDP_CPU_TABLE(struct ddp_optim_cpu, ddp_rmsprop_cpu)

static bool has_buffer(const struct ddp_optim_hyper *h)
{
    return h->momentum > 0;
}

static bool has_mean(const struct ddp_optim_hyper *h)
{
    return h->centered;
}

const struct ddp_optim_kind ddp_optim_rmsprop = {
    .name = "rmsprop",
    .reads = DDP_READS_EPS,
    .array = {[DDP_RMSPROP_SQUARES] = {"square_avg", NULL},
              [DDP_RMSPROP_BUFFER] = {"momentum_buffer", has_buffer},
              [DDP_RMSPROP_MEAN] = {"grad_avg", has_mean}},
    .nstages = 1,
    .stage = {{.factor = true}},
    .cpu = ddp_rmsprop_cpu,
};
