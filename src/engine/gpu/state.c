/* State between host and device: up once, down for checkpoints. */
#include "engine/gpu/private.h"

int ddp_gpu_engine_upload(struct ddp_gpu_engine *e, const float *params, const struct ddp_gpu_scaler *scaler,
                          struct ddp_error *err)
{
    const struct ddp_gpu_scale scale = {.scale = (float)scaler->scale,
                                        .good = (int32_t)scaler->good,
                                        .skipped = (int32_t)scaler->skipped,
                                        .inverse = 1 / (float)scaler->scale};
    const char *name;
    int status = ddp_gpu_reduce_params_set(e->reduce, params, err);
    if (!e->train)
        return status;
    for (int i = 0; i < ddp_optim_arrays(e->conf.optim) && status == 0; i++)
        status = ddp_gpu_reduce_state_set(e->reduce, i, ddp_optim_array(e->conf.optim, i, &name), err);
    return status ? status : ddp_gpu_reduce_scale_set(e->reduce, &scale, err);
}

int ddp_gpu_engine_download(struct ddp_gpu_engine *e, float *params, struct ddp_gpu_scaler *scaler,
                            struct ddp_error *err)
{
    struct ddp_gpu_scale scale;
    const char *name;
    int status = params ? ddp_gpu_reduce_params_get(e->reduce, params, err) : 0;
    for (int i = 0; e->train && i < ddp_optim_arrays(e->conf.optim) && status == 0; i++)
        status = ddp_gpu_reduce_state_get(e->reduce, i, ddp_optim_array(e->conf.optim, i, &name), err);
    if (status == 0)
        status = ddp_gpu_reduce_scale_get(e->reduce, &scale, err);
    if (status == 0)
        *scaler = (struct ddp_gpu_scaler){(double)scale.scale, scale.good, scale.skipped};
    return status;
}
