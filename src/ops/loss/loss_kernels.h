/* Losses on the device (loss.cu); equations in the files of their names. */
#ifndef DDP_OPS_LOSS_KERNELS_H
#define DDP_OPS_LOSS_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ddp_gpu_loss_args {
    enum ddp_gpu_type type;
    const int32_t *n;
    int batch, classes, c;             /* c: padded */
    const void *x;                     /* [batch][c] */
    const int32_t *label;              /* [batch]; NULL: targets, or mixed */
    const struct ddp_mixed *mixed;     /* [batch] in place of labels; or NULL */
    const float *target;               /* [batch][classes]; NULL: labels */
    float smoothing;                   /* softmax_cross_entropy */
    float delta;                       /* huber */
    const struct ddp_gpu_scale *scale; /* NULL: 1 */
    void *dx;         /* gradient of the sum times scale; zero for padding; NULL: evaluation */
    float *sample;    /* [2][batch] scratch: loss and rightness or error of each sample */
    float *loss;      /* [1] sum over the real samples, in fp32 by a fixed tree */
    int32_t *correct; /* [1] with labels */
    float *error;     /* [1] with targets: sum of mean absolute errors, by the same tree */
};

struct ddp_loss_device_kernels {
    void (*softmax_cross_entropy)(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a);
    void (*mse)(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a);
    void (*mae)(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a);
    void (*huber)(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a);
};
extern const struct ddp_loss_device_kernels ddp_cuda_loss_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
