/* State between host and device: up once, down for checkpoints. Each node has a copy of the host's; what
 * counts is that of rank 0's node. On one node nothing passes between copies. */
#include "engine/gpu/private.h"

/* The reduction of all ranks; for evaluation each has one of its own. */
static struct ddp_gpu_reduce_conf all_ranks(const struct ddp_gpu_engine *e)
{
    struct ddp_gpu_reduce_conf conf = ddp_gpu_engine_reduce_conf(e);
    conf.rank = e->base.conf.comm->seat;
    conf.size = e->base.conf.comm->size;
    conf.nodes = e->base.conf.comm->nodes;
    conf.ranks = e->node_ranks;
    return conf;
}

/* All that is uploaded, to every node: optimizer state to its owners' only, if nobody else updates it. */
static int take_from_first(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    struct ddp_engine *base = &e->base;
    struct ddp_comm *comm = base->conf.comm;
    const struct ddp_gpu_reduce_conf conf = all_ranks(e);
    const bool all = base->conf.cfg->reduce.mode == DDP_REDUCE_FAST;
    const char *name;
    int status = ddp_gpu_reduce_move(&conf, comm, base->params, DDP_REDUCE_FROM_FIRST, err);
    if (status == 0)
        status = ddp_gpu_reduce_move(&conf, comm, base->params, DDP_REDUCE_TO_ALL, err);
    for (int i = 0; i < ddp_optim_arrays(base->optim) && status == 0; i++) {
        float *array = ddp_optim_array(base->optim, i, &name);
        status = ddp_gpu_reduce_move(&conf, comm, array, DDP_REDUCE_FROM_FIRST, err);
        if (status == 0 && all)
            status = ddp_gpu_reduce_move(&conf, comm, array, DDP_REDUCE_TO_ALL, err);
    }
    return ddp_comm_agree(comm, status, err); /* others of my node have brought their lanes' parts */
}

int ddp_gpu_engine_upload(struct ddp_engine *base, struct ddp_error *err)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    const struct ddp_gpu_scale scale = {.scale = (float)base->loss_scale.scale,
                                        .good = (int32_t)base->loss_scale.good,
                                        .skipped = (int32_t)base->loss_scale.skipped,
                                        .inverse = 1 / (float)base->loss_scale.scale};
    const char *name;
    int status = base->conf.comm->nodes > 1 ? take_from_first(e, err) : 0;
    if (status == 0)
        status = ddp_gpu_reduce_params_set(e->reduce, base->params, err);
    if (!e->train)
        return status;
    for (int i = 0; i < ddp_optim_arrays(base->optim) && status == 0; i++)
        status = ddp_gpu_reduce_kept_set(e->reduce, ddp_optim_device_array(e->updater.optim, i),
                                         ddp_optim_array(base->optim, i, &name), err);
    return status ? status : ddp_gpu_reduce_scale_set(e->reduce, &scale, err);
}

/* What nodes own, to rank 0's. */
static int bring_to_first(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const struct ddp_gpu_reduce_conf conf = all_ranks(e);
    const char *name;
    int status = e->train
                     ? ddp_gpu_reduce_move(&conf, e->base.conf.comm, e->base.params, DDP_REDUCE_TO_FIRST, err)
                     : 0;
    for (int i = 0; e->train && i < ddp_optim_arrays(e->base.optim) && status == 0; i++)
        status = ddp_gpu_reduce_move(&conf, e->base.conf.comm, ddp_optim_array(e->base.optim, i, &name),
                                     DDP_REDUCE_TO_FIRST, err);
    return status;
}

/* From each rank what it owns. For evaluation every rank has all. */
int ddp_gpu_engine_download(struct ddp_engine *base, struct ddp_error *err)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    struct ddp_gpu_scale scale = {0};
    const char *name;
    const bool owner = e->train || base->conf.comm->rank == 0;
    int status = owner ? ddp_gpu_reduce_params_get(e->reduce, base->params, err) : 0;
    for (int i = 0; e->train && i < ddp_optim_arrays(base->optim) && status == 0; i++)
        status = ddp_gpu_reduce_kept_get(e->reduce, ddp_optim_device_array(e->updater.optim, i),
                                         ddp_optim_array(base->optim, i, &name), err);
    if (status == 0)
        status = ddp_gpu_reduce_scale_get(e->reduce, &scale, err);
    if (base->conf.comm->nodes > 1) { /* ports send what others of their node have brought down */
        status = ddp_comm_agree(base->conf.comm, status, err);
        if (status == 0)
            status = bring_to_first(e, err);
    }
    if (status)
        return status;
    base->loss_scale.scale = (double)scale.scale;
    base->loss_scale.good = scale.good;
    base->loss_scale.skipped = scale.skipped;
    return 0;
}
