/* Pooling on the device (pool.cu); contract in pool.c. */
#ifndef DDP_OPS_POOL_KERNELS_H
#define DDP_OPS_POOL_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ddp_gpu_pool_args {
    enum ddp_gpu_type type;
    int batch, c, h, w, oh, ow;
    int kernel_h, kernel_w, stride, pad; /* global: the whole picture */
    bool count_pad;                      /* average: padding counts */
    const void *x;                       /* forward */
    void *y;
    uint8_t *index;   /* max: place in the window of the first largest, [batch][oh][ow][c] */
    const void *dout; /* backward, a gather over the windows that hold the pixel, in row order */
    void *din;
    bool accumulate;
};

struct ddp_pool_device_kernels {
    void (*max_pool)(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
    void (*max_pool_grad)(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
    void (*avg_pool)(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
    void (*avg_pool_grad)(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
};
extern const struct ddp_pool_device_kernels ddp_cuda_pool_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
