/* The rooms that have kernels, in the plug-in's table: those of DDP_GPU_ROOMS. */
#include "device/cuda/private.h"

#define DECLARE(room) extern const struct ddp_##room##_device_kernels ddp_cuda_##room##_kernels;
DDP_GPU_ROOMS(DECLARE)

#define ENTER(room) .room = &ddp_cuda_##room##_kernels,
const struct ddp_gpu_kernels ddp_cuda_kernels = {DDP_GPU_ROOMS(ENTER)};
