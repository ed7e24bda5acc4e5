/* Between host and device memory, piece by piece through the pinned buffer. */
#include "device/transfer.h"

#include <string.h>

#include "device/settle.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

int ddp_gpu_transfer_settle(const struct ddp_gpu_transfer *t, struct ddp_error *err)
{
    return ddp_gpu_settle(t->api, t->gpu, t->comm, t->stream, err);
}

int ddp_gpu_upload(const struct ddp_gpu_transfer *t, void *device, const void *host, size_t bytes,
                   struct ddp_error *err)
{
    int status = 0;
    for (size_t at = 0; status == 0 && at < bytes; at += DDP_GPU_PINNED) {
        size_t n = least(bytes - at, DDP_GPU_PINNED);
        memcpy(t->pinned, (const char *)host + at, n);
        t->api->copy(t->stream, (char *)device + at, t->pinned, n);
        status = ddp_gpu_transfer_settle(t, err);
    }
    return status;
}

int ddp_gpu_download(const struct ddp_gpu_transfer *t, void *host, const void *device, size_t bytes,
                     struct ddp_error *err)
{
    int status = ddp_gpu_transfer_settle(t, err); /* of the step before */
    for (size_t at = 0; status == 0 && at < bytes; at += DDP_GPU_PINNED) {
        size_t n = least(bytes - at, DDP_GPU_PINNED);
        t->api->copy(t->stream, t->pinned, (const char *)device + at, n);
        status = ddp_gpu_transfer_settle(t, err);
        if (status == 0)
            memcpy((char *)host + at, t->pinned, n);
    }
    return status;
}
