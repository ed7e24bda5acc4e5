/* Arguments of the kernels that update on a device, and where an optimizer's kernels stand. All pointers are
 * device memory; everything is indexed by flat index unless it says otherwise. */
#ifndef DDP_OPTIM_UPDATE_KERNELS_H
#define DDP_OPTIM_UPDATE_KERNELS_H

#include "config/optims.h"
#include "device/kernels.h"
#include "optim/update_args.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a trained tensor is updated with; trust is written on the device between stages. */
struct ddp_gpu_setting {
    double lr_scale, weight_decay, trust;
    int32_t adapt, first_block, blocks, pad; /* blocks: of the flat space */
    int64_t end;                             /* one past its last element, a multiple of 8 */
};

/* One stage over [lo, hi), whole blocks. */
struct ddp_gpu_update_args {
    int64_t lo, hi;
    struct ddp_gpu_nodes nodes; /* element lo is at node[i][0]; n = 0: the sum is in `sum` */
    float *sum; /* element lo at sum[0]: where the stage leaves the nodes' sum, or an update */
    const struct ddp_gpu_step *step;
    const struct ddp_gpu_scale *scale; /* skip, inverse; NULL: none */
    const double *factor;              /* [1] clipping factor; NULL: 1 */
    /* [1] Sums that are not finite are left alone, with what they would have changed, and this becomes at
     * least the number of their block + 1. NULL: they skip the step (between()) instead. */
    int32_t *refused;
    struct ddp_optim_hyper hyper;
    const struct ddp_gpu_setting *setting;
    const int32_t *tensor; /* of each block */
    float *params;
    float *state[DDP_OPTIM_ARRAYS]; /* in the order of the optimizer's table; NULL: the config has none */
    enum ddp_gpu_type type;
    void *weights;  /* params in the compute type; NULL: F32, params are read themselves */
    float *average; /* moving average of params (update.cuh); NULL: none, or not the last stage */
    float blend;
    double *values; /* [blocks][layout.stride] */
    struct ddp_optim_layout layout;
    uint32_t leaves; /* bits 1 << DDP_VALUE_*: which values the stage writes */
};

/* Between two stages, on every rank from the same values; one thread block. */
struct ddp_gpu_between_args {
    const double *values; /* [blocks][layout.stride], complete */
    struct ddp_optim_layout layout;
    int64_t blocks; /* trained */
    const struct ddp_gpu_step *step;
    struct ddp_optim_hyper hyper;
    struct ddp_gpu_setting *setting;
    int ntensors;
    /* Without loss scaling: values that are not finite halt, and nothing is updated behind that. NULL: not
     * looked for. */
    struct ddp_gpu_scale *guard;
    /* decide: the clipping factor, and by the number of gradients that are not finite the scale: one that is
     * not halves it and skips the step, `interval` good steps double it; halted: left alone. Once a step,
     * before updates. */
    bool decide;
    double clip_norm;            /* 0: off */
    struct ddp_gpu_scale *scale; /* NULL: no loss scaling */
    int interval;
    /* [0] clipping factor, [1] norm of the mean gradient (loss scale taken out), -1 when not clipping;
     * written by decide. NULL: 1. */
    double *factor;
};

typedef void ddp_gpu_update(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a);
typedef void ddp_gpu_between(struct ddp_gpu_stream *s, const struct ddp_gpu_between_args *a);

/* The device's half of an optimizer, which NAME.cu fills. */
struct ddp_gpu_optim {
    ddp_gpu_update *stage[DDP_OPTIM_STAGES]; /* NULL: it computes nothing and is norms() */
    ddp_gpu_between *trust;                  /* between() with its trust ratios; NULL: it has none */
};

/* Of all optimizers. */
struct ddp_update_device_kernels {
    ddp_gpu_update *norms;    /* the nodes' sum -> a->sum, and what a->leaves asks of it */
    ddp_gpu_between *between; /* the clipping factor and loss scale alone */
    const struct ddp_gpu_optim *kind[DDP_OPTIMS_COUNT];
};

#define DDP_GPU_OPTIM(NAME, name) extern const struct ddp_gpu_optim ddp_cuda_##name;
DDP_OPTIMS(DDP_GPU_OPTIM)
ddp_gpu_update ddp_cuda_norms;
ddp_gpu_between ddp_cuda_between;
extern const struct ddp_update_device_kernels ddp_cuda_update_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
