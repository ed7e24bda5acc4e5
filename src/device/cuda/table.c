/* The rooms that have kernels, in the plug-in's table: one line each. */
#include "device/cuda/private.h"

#define ROOMS(ROOM)                                                                                          \
    ROOM(augment)                                                                                            \
    ROOM(dropout)                                                                                            \
    ROOM(flat)                                                                                               \
    ROOM(flatten)                                                                                            \
    ROOM(loss)                                                                                               \
    ROOM(norm)                                                                                               \
    ROOM(point)                                                                                              \
    ROOM(pool)                                                                                               \
    ROOM(stats)                                                                                              \
    ROOM(update)

#define DECLARE(room) extern const struct ddp_##room##_device_kernels ddp_cuda_##room##_kernels;
ROOMS(DECLARE)

#define ENTER(room) .room = &ddp_cuda_##room##_kernels,
const struct ddp_gpu_kernels ddp_cuda_kernels = {ROOMS(ENTER)};
