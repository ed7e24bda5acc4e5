/* Parameters, arrays of what a rank updates, and loss scale between device and host: at the start and for
 * checkpoints. */
#include "ops/point/point_kernels.h"
#include "reduce/device_private.h"

int ddp_gpu_reduce_params_get(struct ddp_gpu_reduce *r, float *host, struct ddp_error *err)
{
    const float *params = r->at[DDP_REGION_PARAMS];
    int status = 0;
    for (int64_t b = 0; status == 0 && b < r->layout.buckets; b++) {
        const struct ddp_range a = ddp_range_elements(r->bucket[b].owned);
        status = ddp_gpu_download(&r->transfer, host + a.lo, params + a.lo,
                                  (size_t)ddp_range_size(a) * sizeof *host, err);
    }
    return status;
}

int ddp_gpu_reduce_params_set(struct ddp_gpu_reduce *r, const float *host, struct ddp_error *err)
{
    const struct ddp_gpu_cast_args cast = {.type = r->conf.type,
                                           .count = r->conf.flat->stats,
                                           .f = r->at[DDP_REGION_PARAMS],
                                           .t = r->at[DDP_REGION_WEIGHTS]};
    int status =
        ddp_gpu_upload(&r->transfer, r->at[DDP_REGION_PARAMS], host, (size_t)r->total * sizeof *host, err);
    if (status == 0 && r->conf.type != DDP_GPU_F32) {
        r->api->kernels->point->cast_from_float(r->side, &cast);
        status = ddp_gpu_transfer_settle(&r->transfer, err);
    }
    return status;
}

bool ddp_gpu_reduce_owned(const struct ddp_gpu_reduce *r, int k, int64_t *lo, int64_t *hi)
{
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        struct ddp_range owned = r->bucket[b].owned;
        if (owned.lo == owned.hi || k-- > 0)
            continue;
        *lo = owned.lo * DDP_BLOCK;
        *hi = owned.hi * DDP_BLOCK;
        return true;
    }
    return false;
}

/* Where element `at` of the flat space, which lies in mine, is in an array of what I update. */
static int64_t kept_at(const struct ddp_gpu_reduce_bucket *k, int64_t at)
{
    return k->kept + (at - k->mine.lo * DDP_BLOCK);
}

int ddp_gpu_reduce_kept_get(struct ddp_gpu_reduce *r, const float *kept, float *host, struct ddp_error *err)
{
    int status = 0;
    for (int64_t b = 0; status == 0 && b < r->layout.buckets; b++) {
        const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        const struct ddp_range a = ddp_range_elements(k->owned);
        status = ddp_gpu_download(&r->transfer, host + a.lo, kept + kept_at(k, a.lo),
                                  (size_t)ddp_range_size(a) * sizeof *host, err);
    }
    return status;
}

int ddp_gpu_reduce_kept_set(struct ddp_gpu_reduce *r, float *kept, const float *host, struct ddp_error *err)
{
    int status = 0;
    for (int64_t b = 0; status == 0 && b < r->layout.buckets; b++) {
        const struct ddp_gpu_reduce_bucket *k = &r->bucket[b];
        const struct ddp_range a = ddp_range_elements(k->mine);
        status = ddp_gpu_upload(&r->transfer, kept + kept_at(k, a.lo), host + a.lo,
                                (size_t)ddp_range_size(a) * sizeof *host, err);
    }
    return status;
}

int ddp_gpu_reduce_scale_get(struct ddp_gpu_reduce *r, struct ddp_gpu_scale *out, struct ddp_error *err)
{
    return ddp_gpu_download(&r->transfer, out, r->at[DDP_REGION_SCALE], sizeof *out, err);
}

int ddp_gpu_reduce_scale_set(struct ddp_gpu_reduce *r, const struct ddp_gpu_scale *in, struct ddp_error *err)
{
    if (!(r->conf.loss_scale > 0))
        return 0;
    return ddp_gpu_upload(&r->transfer, r->at[DDP_REGION_SCALE], in, sizeof *in, err);
}
