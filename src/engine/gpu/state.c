/* State between host and device: up once, down for checkpoints. */
#include "engine/gpu/private.h"

int ddp_gpu_engine_upload(struct ddp_engine *base, struct ddp_error *err)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    const struct ddp_gpu_scale scale = {.scale = (float)base->loss_scale.scale,
                                        .good = (int32_t)base->loss_scale.good,
                                        .skipped = (int32_t)base->loss_scale.skipped,
                                        .inverse = 1 / (float)base->loss_scale.scale};
    const char *name;
    int status = ddp_gpu_reduce_params_set(e->reduce, base->params, err);
    if (!e->train)
        return status;
    for (int i = 0; i < ddp_optim_arrays(base->optim) && status == 0; i++)
        status = ddp_gpu_reduce_kept_set(e->reduce, ddp_optim_device_array(e->updater.optim, i),
                                         ddp_optim_array(base->optim, i, &name), err);
    return status ? status : ddp_gpu_reduce_scale_set(e->reduce, &scale, err);
}

/* Parameters and statistics from rank 0, each rank its slices of the optimizer state. */
int ddp_gpu_engine_download(struct ddp_engine *base, struct ddp_error *err)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    struct ddp_gpu_scale scale;
    const char *name;
    int status = base->conf.comm->rank == 0 ? ddp_gpu_reduce_params_get(e->reduce, base->params, err) : 0;
    for (int i = 0; e->train && i < ddp_optim_arrays(base->optim) && status == 0; i++)
        status = ddp_gpu_reduce_kept_get(e->reduce, ddp_optim_device_array(e->updater.optim, i),
                                         ddp_optim_array(base->optim, i, &name), err);
    if (status == 0)
        status = ddp_gpu_reduce_scale_get(e->reduce, &scale, err);
    if (status)
        return status;
    base->loss_scale.scale = (double)scale.scale;
    base->loss_scale.good = scale.good;
    base->loss_scale.skipped = scale.skipped;
    return 0;
}
