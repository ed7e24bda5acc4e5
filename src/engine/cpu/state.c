/* State between nodes, each of which has a copy: rank 0's to all others at the start, the owners' back to
 * it for checkpoints. On one node there is one copy, and nothing to do. */
#include "engine/cpu/private.h"

static int move_optim(struct ddp_cpu_engine *e, enum ddp_reduce_way way, struct ddp_error *err)
{
    const char *name;
    int status = 0;
    for (int i = 0; i < ddp_optim_arrays(e->base.optim) && status == 0; i++)
        status = ddp_reduce_move(e->reduce, ddp_optim_array(e->base.optim, i, &name), way, err);
    return status;
}

/* Optimizer state goes to its owners only. */
int ddp_cpu_upload(struct ddp_engine *base, struct ddp_error *err)
{
    struct ddp_cpu_engine *e = (struct ddp_cpu_engine *)base;
    int status = ddp_reduce_move(e->reduce, base->params, DDP_REDUCE_FROM_FIRST, err);
    if (status == 0) /* every node sends on what it got: no link carries the whole more than once */
        status = ddp_reduce_move(e->reduce, base->params, DDP_REDUCE_TO_ALL, err);
    return status ? status : move_optim(e, DDP_REDUCE_FROM_FIRST, err);
}

/* Parameters are everywhere after each step. */
int ddp_cpu_download(struct ddp_engine *base, struct ddp_error *err)
{
    return move_optim((struct ddp_cpu_engine *)base, DDP_REDUCE_TO_FIRST, err);
}

bool ddp_cpu_own_sums(struct ddp_engine *base, int64_t i, struct ddp_range *blocks, const float **sum)
{
    return ddp_reduce_own(((struct ddp_cpu_engine *)base)->reduce, i, blocks, sum);
}
