/* Who sums, updates: on the device (update.cu, update_norms.cu). */
#ifndef DDP_OPTIM_UPDATE_KERNELS_H
#define DDP_OPTIM_UPDATE_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ddp_gpu_optim { DDP_GPU_SGD, DDP_GPU_ADAMW, DDP_GPU_LARS, DDP_GPU_LAMB };

/* What a trained tensor is updated with; trust is written on the device between stages. */
struct ddp_gpu_setting {
    double lr_scale, weight_decay, trust;
    int32_t adapt, first_block, blocks, pad; /* blocks: of the flat space */
    int64_t end;                             /* flat index one past its last element, a multiple of 8 */
};

struct ddp_gpu_update_args {
    /* Flat range of whole blocks; everything below is indexed by flat index unless it says otherwise. */
    int64_t lo, hi;
    struct ddp_gpu_nodes nodes; /* element lo is at node[i][0] */
    const struct ddp_gpu_step *step;
    struct ddp_gpu_scale *scale; /* skip, inverse; NULL: none */
    /* optimizer */
    enum ddp_gpu_optim optim;
    bool momentum_buffer, nesterov;
    bool moments; /* sum_nodes(), LAMB: go on to the moments; else they wait for a clipping factor or skip */
    double momentum, dampening, beta1, beta2, eps;
    const struct ddp_gpu_setting *setting;
    const int32_t *tensor; /* of each block */
    const double *factor;  /* [1] clipping factor; NULL: 1 */
    float *params, *state0, *state1;
    enum ddp_gpu_type type;
    void *weights; /* params in the compute type; NULL: F32, params are read themselves */
    /* stages */
    float
        *sum; /* sum_nodes(): where the sum goes, element lo at sum[0]; update() with nodes.n = 0 reads it */
    /* [blocks][4]: sum of squares of the gradient's sum, of the parameters, of the update (LAMB), elements
     * not finite. */
    double *values;
};

/* Between the stages, on every rank from the same values; one thread block. */
struct ddp_gpu_between_args {
    const double *values; /* [blocks][4], complete */
    int64_t blocks;       /* trained */
    const struct ddp_gpu_step *step;
    enum ddp_gpu_optim optim;
    double clip_norm, trust, eps; /* clip_norm 0: off */
    struct ddp_gpu_setting *setting;
    int ntensors;
    /* fp16: a sum that is not finite halves the scale and skips; growth after `interval` good steps; halted:
     * left alone. NULL: no loss scaling. */
    struct ddp_gpu_scale *scale;
    int interval;
    /* out: [0] clipping factor, [1] norm of the mean gradient (loss scale taken out), -1 when not clipping.
     * NULL: not written, the factor is 1 (LAMB's second call, for the trust). */
    double *factor;
};

struct ddp_update_device_kernels {
    /* sum of the nodes (nodes.n = 0: what is in a->sum) -> a->sum, values of its blocks. LAMB with
     * a->moments: the moments too, and the update before the trust ratio goes over sum */
    void (*sum_nodes)(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a);
    /* sum of the nodes (nodes.n = 0: a->sum) -> state, params, weights */
    void (*update)(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a);
    void (*between)(struct ddp_gpu_stream *s, const struct ddp_gpu_between_args *a);
};
extern const struct ddp_update_device_kernels ddp_cuda_update_kernels; /* of the plug-in */

/* How they are called inside the plug-in and by suites of kernels. */
void ddp_cuda_sum_nodes(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a);
void ddp_cuda_update(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a);
void ddp_cuda_between(struct ddp_gpu_stream *s, const struct ddp_gpu_between_args *a);

#ifdef __cplusplus
}
#endif
#endif
