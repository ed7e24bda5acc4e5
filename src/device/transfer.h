/* Between host and device memory outside of steps, through a small pinned buffer; blocks until done. */
#ifndef DDP_DEVICE_TRANSFER_H
#define DDP_DEVICE_TRANSFER_H

#include "device/api.h"

enum { DDP_GPU_PINNED = 4 << 20 }; /* bytes of the buffer */

/* All borrowed but the buffer, which the owner allocates (api->alloc_pinned). comm: NULL where no other rank
 * takes part; else a rank that is gone ends the wait. */
struct ddp_gpu_transfer {
    const struct ddp_gpu_api *api;
    struct ddp_gpu *gpu;
    struct ddp_gpu_comm *comm;
    struct ddp_gpu_stream *stream;
    void *pinned; /* [DDP_GPU_PINNED] */
};

/* Until the stream has done what was enqueued. Errors: what failed on the device, or NCCL's. */
int ddp_gpu_transfer_settle(const struct ddp_gpu_transfer *t, struct ddp_error *err);
int ddp_gpu_upload(const struct ddp_gpu_transfer *t, void *device, const void *host, size_t bytes,
                   struct ddp_error *err);
int ddp_gpu_download(const struct ddp_gpu_transfer *t, void *host, const void *device, size_t bytes,
                     struct ddp_error *err);

#endif
