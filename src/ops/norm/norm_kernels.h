/* Batch norm on the device (norm.cu); equations in batch_norm.c. */
#ifndef DDP_OPS_NORM_KERNELS_H
#define DDP_OPS_NORM_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ddp_gpu_norm_args {
    enum ddp_gpu_type type;
    const int32_t *n;
    int batch, hw, c;
    float eps;
    const void *x;
    const float *weight, *bias;              /* NULL: 1 and 0 */
    const float *running_mean, *running_var; /* evaluation, and the shift of synchronised sums */
    float *mean, *inv_std;                   /* [c] each, saved for backward */
    float *partial;                          /* ddp_gpu_partials(batch * hw, c) */
    /* stats(): per shard (sync NULL): mean, inv_std, and the leaves of running statistics: count * mean,
     * count * unbiased var (0 when count < 2). */
    float *leaf_mean, *leaf_var;
    /* synchronised layers: stats() then writes sum(x - s), sum((x - s)^2), s = running_mean, to sync[2][c]
     * and nothing else; after the exchange sync_apply() turns the sum over all shards into mean, inv_std and
     * the leaves (variance: 0 when all shards together have fewer than 2 elements) */
    double *sync;
    const struct ddp_gpu_step *step; /* count: for sync_apply */
    /* forward(): y = relu(weight * xhat + bias + other); padding samples: 0 */
    const void *other;
    bool relu;
    void *y;
};

struct ddp_gpu_norm_grad_args {
    enum ddp_gpu_type type;
    const int32_t *n;
    int batch, hw, c;
    const void *x;
    bool relu;
    const void *y; /* of forward, where relu and something was added behind the norm; else NULL */
    const float *weight, *bias, *mean, *inv_std;
    void *dout;       /* where y or more is there stats() writes dz over it, else it stays */
    const void *more; /* second part of the gradient: dout + more, rounded to type; NULL: dout is all of it */
    void *dother;     /* (+)= dz; NULL: none. dout: dz is left there, with y, more or without relu */
    bool accumulate_other;
    float *dweight,
        *dbias; /* [c]: sums dz xhat, dz; always written by stats(); padding samples take no part */
    float *partial;
    /* synchronised layers: stats() writes the shard's sums of dz, dz xhat to sync[2][c] too, grad() reads
     * those of all shards; NULL: the shard's own dbias, dweight */
    double *sync;
    const struct ddp_gpu_step *step;
    void *din; /* grad(): padding samples: 0 */
    bool accumulate;
};

struct ddp_norm_device_kernels {
    void (*norm_stats)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
    void (*norm_sync_apply)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
    void (*norm_forward)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
    /* running statistics, all samples */
    void (*norm_eval)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
    void (*norm_grad_stats)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a);
    void (*norm_grad)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a);
};
extern const struct ddp_norm_device_kernels ddp_cuda_norm_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
