/* Private to src/device: wait for a stream outside of steps. Steps have ddp_gpu_engine_drain(), which also
 * ends at comm.timeout_s. */
#ifndef DDP_GPU_SETTLE_H
#define DDP_GPU_SETTLE_H

#include "device/api.h"

/* Until the stream has done what was enqueued; by looking, as a rank that is gone must not leave this one
 * waiting in a driver. comm: NULL where no other rank takes part. Errors: what failed on the device, or
 * NCCL's. */
int ddp_gpu_settle(const struct ddp_gpu_api *api, struct ddp_gpu *gpu, struct ddp_gpu_comm *comm,
                   struct ddp_gpu_stream *s, struct ddp_error *err);

#endif
