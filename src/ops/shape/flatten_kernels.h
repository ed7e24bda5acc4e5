/* Flatten on the device (flatten.cu). */
#ifndef DDP_OPS_FLATTEN_KERNELS_H
#define DDP_OPS_FLATTEN_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Pictures to vectors in the plain order, v[(c*H + y)*W + x] of [batch][f]; lanes past real_c*h*w are zero.
 * back: the other way, pad channels zero. */
struct ddp_gpu_flatten_args {
    enum ddp_gpu_type type;
    int batch, h, w, c, real_c, f; /* c, f: padded */
    const void *from;
    void *to;
    bool back, accumulate;
};

struct ddp_flatten_device_kernels {
    void (*flatten)(struct ddp_gpu_stream *s, const struct ddp_gpu_flatten_args *a);
};
extern const struct ddp_flatten_device_kernels ddp_cuda_flatten_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
