/* Which device a run computes on, and which GPU each rank takes. Links neither MPI nor CUDA: the launcher
 * decides with it for all ranks, a rank that something else started decides for itself. */
#ifndef DDP_GPU_DEVICE_H
#define DDP_GPU_DEVICE_H

#include "config/config.h"
#include "device/api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether opening the plug-in can come to anything: it is there, and so is a trace of NVIDIA's driver, or
 * DDP_CUDA_PLUGIN is set. A few looks at the file system; nothing is loaded (which takes some 60 ms). */
bool ddp_gpu_likely(void);

/* What the config's `device` means here. *out: the plug-in's table, and *count > 0 GPUs; or NULL: the CPU.
 *   cpu:  nothing is looked at;
 *   auto: the GPUs where the plug-in opens and finds some, else the CPU, with the reason in the log at info;
 *   cuda: the GPUs, or DDP_E_RESOURCE with the reason.
 * Precisions that the device does not have are refused: on the CPU, see ddp_config_check_device(). */
int ddp_gpu_decide(const struct ddp_config *cfg, const struct ddp_gpu_api **out, int *count,
                   struct ddp_error *err);

/* DDP_E_RESOURCE when the GPU cannot compute in the config's precision: bf16 before
 * compute capability 8.0. */
int ddp_gpu_check_precision(const struct ddp_gpu_info *info, const struct ddp_config *cfg,
                            struct ddp_error *err);

/* The device of this rank: the one with this UUID, as the launcher planned; without one (NULL) local_rank
 * modulo the number of GPUs, where more ranks than GPUs are refused unless they may share. A single GPU in
 * CUDA_VISIBLE_DEVICES is taken for one that the batch system gave to this rank alone; ddp_gpu_agree() finds
 * it out if it was not. */
int ddp_gpu_device_pick(const struct ddp_gpu_api *api, const char *uuid, int local_rank, int local_size,
                        bool share, int *device, struct ddp_error *err);

/* agree.c. Do all ranks compute on one kind of GPU with one set of libraries, each on a GPU of its own
 * (unless they share)? Bits depend on the first, NCCL on the second. Collective: all ranks return the same
 * code, worded with the first two ranks that differ. */
struct ddp_comm;
int ddp_gpu_agree(struct ddp_comm *comm, const struct ddp_gpu_api *api, int device, bool share,
                  struct ddp_error *err);

#ifdef __cplusplus
}
#endif
#endif
