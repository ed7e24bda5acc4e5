/* Group norm and layer norm on the device (group_norm.cu); equations and order of sums in group_norm.c. */
#ifndef DDP_OPS_GROUP_NORM_KERNELS_H
#define DDP_OPS_GROUP_NORM_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ddp_gpu_group_args {
    enum ddp_gpu_type type;
    const int32_t *n;
    int batch, hw, c, real_c; /* c: padded */
    int groups;
    bool elements; /* weight and bias are of each element, [real_c][hw]; else of each channel, [real_c] */
    float eps;
    const void *x;
    const float *weight, *bias; /* NULL: 1 and 0 */
    float *stats;               /* [batch][groups][3]: centre, rest, 1 / sqrt(var + eps) */
    void *y;                    /* padding samples and lanes: 0 */
    /* backward */
    const void *dout;
    float *sums;            /* [batch][2][real_c]: of dout and dout xhat over pixels; scratch */
    float *means;           /* [batch][groups][2]: of g and g xhat; scratch */
    float *dweight, *dbias; /* NULL: none */
    void *din;              /* padding samples and lanes: 0. NULL: not wanted */
    bool accumulate;
};

struct ddp_group_norm_device_kernels {
    void (*group_stats)(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a);
    void (*group_forward)(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a);
    /* sums, means, dweight, dbias */
    void (*group_grad_stats)(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a);
    void (*group_grad)(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a);
};
extern const struct ddp_group_norm_device_kernels ddp_cuda_group_norm_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
