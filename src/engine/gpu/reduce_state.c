/* Parameters, optimizer state and loss scale between device and host: at the start and for checkpoints. */
#include <string.h>

#include "engine/gpu/reduce_private.h"
#include "device/settle.h"
#include "optim/optim.h"
#include "ops/point/point_kernels.h"

static int settle(struct ddp_gpu_reduce *r, struct ddp_error *err)
{
    return ddp_gpu_settle(r->api, r->gpu, r->comm, r->side, err);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

int ddp_gpu_reduce_upload(struct ddp_gpu_reduce *r, void *device, const void *host, size_t bytes,
                          struct ddp_error *err)
{
    int status = 0;
    for (size_t at = 0; status == 0 && at < bytes; at += DDP_GPU_PINNED) {
        size_t n = least(bytes - at, DDP_GPU_PINNED);
        memcpy(r->pinned, (const char *)host + at, n);
        r->api->copy(r->side, (char *)device + at, r->pinned, n);
        status = settle(r, err);
    }
    return status;
}

int ddp_gpu_reduce_download(struct ddp_gpu_reduce *r, void *host, const void *device, size_t bytes,
                            struct ddp_error *err)
{
    int status = settle(r, err); /* of the step before */
    for (size_t at = 0; status == 0 && at < bytes; at += DDP_GPU_PINNED) {
        size_t n = least(bytes - at, DDP_GPU_PINNED);
        r->api->copy(r->side, r->pinned, (const char *)device + at, n);
        status = settle(r, err);
        if (status == 0)
            memcpy((char *)host + at, r->pinned, n);
    }
    return status;
}

int ddp_gpu_reduce_params_get(struct ddp_gpu_reduce *r, float *host, struct ddp_error *err)
{
    return ddp_gpu_reduce_download(r, host, r->at[DDP_REGION_PARAMS], (size_t)r->total * sizeof *host, err);
}

int ddp_gpu_reduce_params_set(struct ddp_gpu_reduce *r, const float *host, struct ddp_error *err)
{
    const struct ddp_gpu_cast_args cast = {.type = r->conf.type,
                                           .count = r->conf.flat->stats,
                                           .f = r->at[DDP_REGION_PARAMS],
                                           .t = r->at[DDP_REGION_WEIGHTS]};
    int status =
        ddp_gpu_reduce_upload(r, r->at[DDP_REGION_PARAMS], host, (size_t)r->total * sizeof *host, err);
    if (status == 0 && r->conf.type != DDP_GPU_F32) {
        r->api->kernels->point->cast_from_float(r->side, &cast);
        status = settle(r, err);
    }
    return status;
}

bool ddp_gpu_reduce_owned(const struct ddp_gpu_reduce *r, int k, int64_t *lo, int64_t *hi)
{
    for (int64_t b = 0; b < r->nbuckets; b++) {
        struct ddp_range owned = r->bucket[b].owned;
        if (owned.lo == owned.hi || k-- > 0)
            continue;
        *lo = owned.lo * DDP_BLOCK;
        *hi = owned.hi * DDP_BLOCK;
        return true;
    }
    return false;
}

static int check_array(const struct ddp_gpu_reduce *r, int i, struct ddp_error *err)
{
    int n = ddp_optim_array_count(r->conf.cfg);
    if (i >= 0 && i < n)
        return 0;
    return ddp_fail(err, DDP_E_USAGE, "device reduction: state array %d of %d does not exist", i, n);
}

/* Element `at` of the flat space in state array i; it lies in mine. */
static float *state_element(const struct ddp_gpu_reduce *r, int i, const struct ddp_gpu_reduce_bucket *k,
                            int64_t at)
{
    return (float *)r->at[DDP_REGION_STATE0 + i] + k->state + (at - k->mine.lo * DDP_BLOCK);
}

int ddp_gpu_reduce_state_get(struct ddp_gpu_reduce *r, int i, float *host, struct ddp_error *err)
{
    int status = check_array(r, i, err);
    for (int64_t b = 0; status == 0 && b < r->nbuckets; b++) {
        const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        const int64_t lo = k->owned.lo * DDP_BLOCK, hi = k->owned.hi * DDP_BLOCK;
        status = ddp_gpu_reduce_download(r, host + lo, state_element(r, i, k, lo),
                                         (size_t)(hi - lo) * sizeof *host, err);
    }
    return status;
}

int ddp_gpu_reduce_state_set(struct ddp_gpu_reduce *r, int i, const float *host, struct ddp_error *err)
{
    int status = check_array(r, i, err);
    for (int64_t b = 0; status == 0 && b < r->nbuckets; b++) {
        const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        const int64_t lo = k->mine.lo * DDP_BLOCK, hi = k->mine.hi * DDP_BLOCK;
        status = ddp_gpu_reduce_upload(r, state_element(r, i, k, lo), host + lo,
                                       (size_t)(hi - lo) * sizeof *host, err);
    }
    return status;
}

int ddp_gpu_reduce_scale_get(struct ddp_gpu_reduce *r, struct ddp_gpu_scale *out, struct ddp_error *err)
{
    return ddp_gpu_reduce_download(r, out, r->at[DDP_REGION_SCALE], sizeof *out, err);
}

int ddp_gpu_reduce_scale_set(struct ddp_gpu_reduce *r, const struct ddp_gpu_scale *in, struct ddp_error *err)
{
    if (!(r->conf.loss_scale > 0))
        return 0;
    return ddp_gpu_reduce_upload(r, r->at[DDP_REGION_SCALE], in, sizeof *in, err);
}
