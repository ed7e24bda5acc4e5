/* Dropout on the device (dropout.cu): the masks of dropout.c to the bit. */
#ifndef DDP_OPS_DROPOUT_KERNELS_H
#define DDP_OPS_DROPOUT_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ddp_gpu_dropout_args {
    enum ddp_gpu_type type;
    int batch, h, w, c, real_c;
    bool vector;           /* the numbering of vectors (H*W = 1), else of pictures */
    const int64_t *sample; /* [batch] */
    const struct ddp_gpu_step *step;
    uint64_t seed;
    uint32_t layer; /* hash of the layer's name */
    uint32_t threshold;
    float scale;
    const void *in; /* or dout */
    void *out;      /* or din */
    bool accumulate;
};

struct ddp_dropout_device_kernels {
    void (*dropout)(struct ddp_gpu_stream *s, const struct ddp_gpu_dropout_args *a);
};
extern const struct ddp_dropout_device_kernels ddp_cuda_dropout_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
