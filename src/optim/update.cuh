/* What the kernels of update.cu and update_norms.cu share: which tensor a block belongs to, and the scalars
 * of its update, computed in double by one thread of the block and rounded once, as in src/optim. */
#ifndef DDP_COMPUTE_CUDA_UPDATE_CUH
#define DDP_COMPUTE_CUDA_UPDATE_CUH

#include "optim/update_kernels.h"
#include "reduce/nodes.cuh"

/* Of this thread block; the names are those of the *_args.h. */
struct ddp_scalars {
    int n; /* elements to update: to the end of the tensor, a multiple of 4; 0 when the step is skipped */
    bool first;
    float scale, decay, eps;
    float trust, momentum, undamped, lr;                /* SGD, LARS */
    float blend1, beta2, blend2, inv_sqrt2, keep, step; /* Adam's moments, AdamW */
    float inv1;                                         /* LAMB */
};

/* Flat index of the block's first element. */
DDP_DEVICE int64_t ddp_update_at(const struct ddp_gpu_update_args &a)
{
    return a.lo + (int64_t)ddp_block() * DDP_BLOCK;
}

DDP_DEVICE const struct ddp_gpu_setting *ddp_update_setting(const struct ddp_gpu_update_args &a)
{
    return &a.setting[a.tensor[ddp_update_at(a) / DDP_BLOCK]];
}

/* Elements of the block that belong to its tensor. */
DDP_DEVICE int ddp_update_elements(const struct ddp_gpu_update_args &a)
{
    const int64_t left = ddp_update_setting(a)->end - ddp_update_at(a);
    return left < DDP_BLOCK ? (int)left : DDP_BLOCK;
}

/* What every kind needs: how far to go, and clipping factor / count, with the loss scale (a power of two,
 * hence exact) taken out. */
DDP_DEVICE struct ddp_scalars ddp_update_common(const struct ddp_gpu_update_args &a)
{
    const double inverse = a.scale ? (double)a.scale->inverse : 1;
    struct ddp_scalars s = {};
    s.n = a.scale && a.scale->skip ? 0 : ddp_update_elements(a);
    s.first = a.step->first != 0;
    s.scale = (float)((a.factor ? a.factor[0] : 1) / (double)a.step->count * inverse);
    s.decay = (float)ddp_update_setting(a)->weight_decay;
    s.eps = (float)a.eps;
    return s;
}

/* Adam's moments. */
DDP_DEVICE void ddp_update_moments(const struct ddp_gpu_update_args &a, struct ddp_scalars *s)
{
    s->blend1 = (float)(1 - a.beta1);
    s->beta2 = (float)a.beta2;
    s->blend2 = (float)(1 - a.beta2);
    s->inv_sqrt2 = (float)(1 / sqrt(a.step->bias2));
}

/* Four sums of gradients; i: element of the range. */
DDP_DEVICE ddp_quad ddp_update_sum(const struct ddp_gpu_update_args &a, int64_t i)
{
    return a.nodes.n == 0 ? ddp_quad_load(a.sum + i) : ddp_nodes_sum<ddp_quad>(a.nodes, i);
}

#endif
