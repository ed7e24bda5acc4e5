/* What forward and backward of batch norm on the device share. */
#ifndef DDP_OPS_NORM_CUH
#define DDP_OPS_NORM_CUH

#include "ops/cuda/columns.cuh"
#include "ops/norm/norm_kernels.h"

/* Real pixels of a chunk. */
DDP_DEVICE int ddp_norm_pixels(int64_t chunk, int64_t real)
{
    const int64_t left = real - chunk * DDP_GPU_SUM_ROWS;
    return left <= 0 ? 0 : left < DDP_GPU_SUM_ROWS ? (int)left : (int)DDP_GPU_SUM_ROWS;
}

DDP_DEVICE void ddp_load8_or(const float *p, int channel, float otherwise, float v[8])
{
    if (p)
        ddp_load8(p + channel, v);
    else
        for (int i = 0; i < 8; i++)
            v[i] = otherwise;
}

/* What turns x into weight * xhat + bias, of 8 channels. Backward makes the mask of a ReLU again from these,
 * so there is one way to compute them. */
struct ddp_norm_line {
    float mean[8], scale[8], shift[8];
};

/* scale is 1 / sqrt(var + eps) and becomes weight times that. */
DDP_DEVICE void ddp_norm_line_end(struct ddp_norm_line *l, const float *weight, const float *bias,
                                  int channel)
{
    float w[8];
    ddp_load8_or(weight, channel, 1.0f, w);
    ddp_load8_or(bias, channel, 0.0f, l->shift);
    for (int j = 0; j < 8; j++)
        l->scale[j] *= w[j];
}

DDP_DEVICE float ddp_norm_value(const struct ddp_norm_line &l, int j, float x)
{
    return fmaf(x - l.mean[j], l.scale[j], l.shift[j]);
}

/* Whether v is above zero once it is stored: the smallest are not. */
template <class T> DDP_DEVICE bool ddp_stays_positive(float v)
{
    return ddp_float(ddp_from_float<T>(v)) > 0.0f;
}

/* norm_grad.cu */
extern "C" void ddp_cuda_norm_grad_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a);
extern "C" void ddp_cuda_norm_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a);

#endif
