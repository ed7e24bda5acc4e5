/* The whole training set on the card: then only the indices of a batch travel. */
#include "engine/gpu/private.h"

enum { CHUNK = 16 << 20 }; /* bytes of pinned memory that the pictures go through */

/* gpu.resident_data = auto: up to half of what is free. Sets that are drawn too: a loader that draws picture
 * after picture would hold the GPU up in every step. */
bool ddp_gpu_data_fits(const struct ddp_gpu_engine *e, size_t free)
{
    const struct ddp_dataset *ds = e->base.conf.train_set;
    if (!ds || e->base.conf.cfg->gpu.resident_data == DDP_RESIDENT_OFF ||
        ddp_augment_alters(e->base.conf.cfg) ||
        e->base.conf.cfg->data.mixup > 0) /* the loader has to see each picture */
        return false;
    if (e->base.conf.cfg->gpu.resident_data == DDP_RESIDENT_ON)
        return true;
    return (double)ds->info.count * (double)e->picture < (double)free / 2;
}

/* Pictures [first, first + n) through the pinned buffer. */
static int load_chunk(struct ddp_gpu_engine *e, uint8_t *pinned, int64_t first, int64_t n,
                      struct ddp_error *err)
{
    const struct ddp_dataset *ds = e->base.conf.train_set;
    for (int64_t i = 0; i < n; i++) {
        char *label = e->label + (size_t)(first + i) * e->answer;
        int status = ddp_dataset_get(ds, first + i, pinned + (size_t)i * e->picture, label, err);
        if (status)
            return status;
    }
    e->api->copy(e->copy, e->data + (size_t)first * e->picture, pinned, (size_t)n * e->picture);
    return ddp_gpu_engine_drain(e, e->copy, "copying the data set to the GPU", err);
}

int ddp_gpu_data_load(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const int64_t count = e->base.conf.train_set->info.count;
    const int64_t step = e->picture < CHUNK ? (int64_t)(CHUNK / e->picture) : 1;
    void *data, *pinned;
    int status = e->api->alloc(e->gpu, (size_t)count * e->picture, &data, err);
    if (status)
        return ddp_error_prefix(err, "gpu.resident_data: the data set on the card");
    e->data = data;
    e->label = ddp_malloc((size_t)count * e->answer);
    status = e->api->alloc_pinned(e->gpu, (size_t)step * e->picture, &pinned, err);
    if (status)
        return status;
    for (int64_t i = 0; i < count && status == 0; i += step)
        status = load_chunk(e, pinned, i, count - i < step ? count - i : step, err);
    e->api->release_pinned(e->gpu, pinned);
    return status;
}
