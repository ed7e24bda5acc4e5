/* Bytes of pictures to what a model reads, augmented, on the device (augment.cu). */
#ifndef DDP_DATA_AUGMENT_KERNELS_H
#define DDP_DATA_AUGMENT_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ddp_gpu_augment {
    enum ddp_gpu_type type;
    const uint8_t *pixels; /* planes [..][c][h][w] */
    const int64_t *sample; /* [batch] index in the data set */
    bool real;     /* pixels are floats of the same shape, any c, and go to their places as they are */
    bool resident; /* pixels is the whole data set: sample i is picture sample[i]; else picture i */
    const int32_t *n;
    const struct ddp_gpu_step *step; /* epoch */
    int batch, c, h, w, cpad;
    bool train;
    int crop_padding, cutout;
    bool flip;
    float mean[4], inv_std[4];
    uint64_t seed;
    void *out; /* [batch][h][w][cpad], padding samples and lanes zero; fp32: the bits of ddp_augment_apply */
};

struct ddp_augment_device_kernels {
    void (*augment)(struct ddp_gpu_stream *s, const struct ddp_gpu_augment *a);
};
extern const struct ddp_augment_device_kernels ddp_cuda_augment_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
