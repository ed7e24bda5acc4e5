/* Our own kernels on the device: what each launcher computes, and its arguments. The sources are
 * NAME.cu beside the CPU kernels (*_cpu.c) that they are siblings of, with the same equations and
 * variable names.
 *
 * All pointers are device memory. Activations are [pixels][c] with pixels = n*h*w and c padded to
 * DDP_GPU_CPAD, of type `type`; everything else is fp32 unless it says otherwise. A shard has a fixed shape
 * of `batch` samples, of which the first *n are real: n is read on the device. Padding samples must not
 * influence anything: they bring no loss, no gradient and no statistics. Arithmetic is fp32 with explicit
 * fmaf, inputs converted on load, outputs rounded once on store (nearest even). Every sum has one fixed
 * order, a function of the shape. No atomics on floats. din may be dout's memory, out in's, for elementwise
 * kernels. accumulate: add to what is in din (in fp32, rounded once) instead of writing it. */
#ifndef DDP_GPU_KERNELS_H
#define DDP_GPU_KERNELS_H

#include "device/api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the step at hand, filled by the host in the slot that is copied up with each batch ---- */

struct ddp_gpu_step {
    int64_t step, epoch; /* from 0 */
    int64_t count;       /* samples in the global batch */
    uint32_t stop_vote;  /* this rank wants to stop */
    /* optimizer: doubles as src/optim computes them */
    double lr, bias1, bias2; /* learning rate; 1 - beta^t */
    uint32_t first;          /* first step of all */
    uint32_t pad;
};

/* State that stays on the device from step to step: whether a step may update anything, and loss scaling.
 * The host starts it as {scale, 0, 0, 0, 1 / scale, 0}, without loss scaling {1, 0, 0, 0, 1, 0}. */
struct ddp_gpu_scale {
    float scale;  /* that the next backward is to use, a power of two; between() changes it */
    int32_t good; /* steps since the last change */
    int32_t skip; /* of this step nothing is updated: its gradients are not finite (between()), or halted */
    int32_t skipped; /* steps that loss scaling skipped in all */
    float inverse;   /* 1 / the scale that this step's gradients were made with, set by between() */
    int32_t halted;  /* the loss of this or an earlier step is not finite (guard()): stays set */
};

/* ---- input: augment.cu ---- */

struct ddp_gpu_augment {
    enum ddp_gpu_type type;
    const uint8_t *pixels; /* planes [..][c][h][w] */
    const int64_t *sample; /* [batch] index in the data set */
    bool resident;         /* pixels is the whole data set: sample i is picture sample[i]; else picture i */
    const int32_t *n;
    const struct ddp_gpu_step *step; /* epoch */
    int batch, c, h, w, cpad;
    bool train;
    int crop_padding, cutout;
    bool flip;
    float mean[4], inv_std[4];
    uint64_t seed;
    void *out; /* [batch][h][w][cpad]; padding samples and lanes are zero. fp32: the bits of ddp_augment_apply
                */
};

/* ---- elementwise: point.cu ---- */

enum ddp_gpu_act { DDP_GPU_RELU, DDP_GPU_GELU, DDP_GPU_SILU };

struct ddp_gpu_act_args {
    enum ddp_gpu_type type;
    enum ddp_gpu_act act;
    int64_t count;
    const void *x; /* forward: in. backward: RELU reads out, the others in */
    const void *dout;
    void *out; /* forward: out; backward: din */
    bool accumulate;
};

struct ddp_gpu_add_args { /* forward: out = a + b, max(., 0) when relu. backward: out(din) (+)= dout where x >
                             0, or dout when x NULL */
    enum ddp_gpu_type type;
    int64_t count;
    const void *a, *b; /* backward: a = dout, b = out of forward or NULL (not relu) */
    void *out;
    bool relu, accumulate;
};

/* y = act(y + bias + other): behind a convolution or matrix product, in place. */
struct ddp_gpu_bias_args {
    enum ddp_gpu_type type;
    int64_t pixels;
    int c;
    const float *bias; /* [c]; NULL: none */
    const void *other; /* residual; NULL: none */
    bool relu;
    void *y;
};
/* dz = dout where out > 0 (relu), written over dout; dother (+)= dz; dbias[c] = sum over pixels of dz. */
struct ddp_gpu_bias_grad_args {
    enum ddp_gpu_type type;
    int64_t pixels;
    int c;
    bool relu;
    const void *out;
    void *dout;
    void *dother; /* NULL: none */
    bool accumulate;
    float *dbias;   /* NULL: none */
    float *partial; /* ddp_gpu_partials(pixels, c) floats of scratch */
};

enum { DDP_GPU_SUM_ROWS = 512 }; /* pixels in one partial sum */
static inline int64_t
ddp_gpu_partials(int64_t pixels, int c) /* floats that sums over pixels want as scratch, for up to 3 sums */
{
    return 3 * (pixels + DDP_GPU_SUM_ROWS - 1) / DDP_GPU_SUM_ROWS * c + 3 * c;
}

/* ---- batch norm: norm.cu (equations in ops/norm/batch_norm.c) ---- */

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
     * the leaves */
    float *sync;
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
    const void *x, *y; /* y: where relu */
    bool relu;
    const float *weight, *mean, *inv_std;
    void *dout;   /* dz is written over it */
    void *dother; /* (+)= dz; NULL: none */
    bool accumulate_other;
    float *dweight,
        *dbias; /* [c]: sums dz xhat, dz; always written by stats(); padding samples take no part */
    float *partial;
    const float *sync; /* [2][c] sums of dz, dz xhat over all shards; NULL: the shard's own dbias, dweight */
    const struct ddp_gpu_step *step;
    void *din; /* grad(): padding samples: 0 */
    bool accumulate;
};

/* ---- pooling: pool.cu ---- */

struct ddp_gpu_pool_args {
    enum ddp_gpu_type type;
    int batch, c, h, w, oh, ow;
    int kernel_h, kernel_w, stride, pad; /* global: the whole picture */
    bool count_pad;                      /* average: padding counts */
    const void *x;                       /* forward */
    void *y;
    uint8_t *index;   /* max: place in the window of the first largest, [batch][oh][ow][c] */
    const void *dout; /* backward, a gather over the windows that hold the pixel, in row order */
    void *din;
    bool accumulate;
};

/* ---- flatten: flatten.cu ---- */

/* Pictures to vectors in the plain order, v[(c*H + y)*W + x] of [batch][f]; lanes past real_c*h*w are zero.
 * back: the other way, pad channels zero. */
struct ddp_gpu_flatten_args {
    enum ddp_gpu_type type;
    int batch, h, w, c, real_c, f; /* c, f: padded */
    const void *from;
    void *to;
    bool back, accumulate;
};

/* ---- dropout: dropout.cu; the same masks as ops/dropout/dropout.c to the bit ---- */

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

/* ---- losses: loss.cu (equations in ops/loss/softmax_cross_entropy.c and mse.c) ---- */

struct ddp_gpu_loss_args {
    enum ddp_gpu_type type;
    const int32_t *n;
    int batch, classes, c; /* c: padded */
    const void *x;         /* [batch][c] */
    const int32_t *label;  /* [batch] */
    float smoothing;
    const struct ddp_gpu_scale *scale; /* NULL: 1 */
    void *dx;         /* gradient of the sum times scale; zero for padding; NULL: evaluation */
    float *sample;    /* [2][batch] scratch: loss and rightness of each sample */
    float *loss;      /* [1] sum over the real samples, in fp32 by a fixed tree */
    int32_t *correct; /* [1] */
};

/* ---- the flat space: flat.cu ---- */

struct ddp_gpu_cast_args { /* between fp32 and type; count of any size */
    enum ddp_gpu_type type;
    int64_t count;
    float *f;
    void *t;
};
struct ddp_gpu_range_args { /* add(): a += b */
    int64_t count;
    float *a;
    const float *b;
};

/* ---- who sums, updates: update.cu ---- */

enum { DDP_GPU_BLOCK = 4096 }; /* elements of the flat space that one thread block takes: DDP_BLOCK */
enum ddp_gpu_optim { DDP_GPU_SGD, DDP_GPU_ADAMW, DDP_GPU_LARS, DDP_GPU_LAMB };

/* What a trained tensor is updated with; trust is written on the device between stages. */
struct ddp_gpu_setting {
    double lr_scale, weight_decay, trust;
    int32_t adapt, first_block, blocks, pad; /* blocks: of the flat space */
    int64_t end;                             /* flat index one past its last element, a multiple of 8 */
};

/* The nodes of the canonical tree that cover all shards, in order: node i is added after `merges[i]`: push
 * node i, then merges[i] times pop the two on top and push their sum (lower + upper). Ends with one value. */
struct ddp_gpu_nodes {
    int n;
    const float *const *node; /* [n] device array: each counted from the range's first element */
    const int32_t *merges;    /* [n] */
};

struct ddp_gpu_sum_args { /* out[0..count) = tree sum of the nodes: statistics of synchronised layers */
    int64_t count;
    struct ddp_gpu_nodes nodes;
    float *out;
};

struct ddp_gpu_update_args {
    int64_t lo, hi; /* flat range of whole blocks; everything below is indexed by flat index unless it says
                       otherwise */
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
    double *values; /* [blocks][4]: sum of squares of the gradient's sum, of the parameters, of the update
                       (LAMB), elements not finite */
};

/* Running statistics. */
struct ddp_gpu_stat {
    int64_t lo, hi; /* flat */
    int64_t pixels; /* H*W */
    double momentum;
    int32_t var, pad;
};
struct ddp_gpu_stats_args {
    int64_t lo, hi; /* flat range of whole blocks of statistics */
    struct ddp_gpu_nodes nodes;
    const struct ddp_gpu_step *step;
    const struct ddp_gpu_scale *scale; /* skip: leave the statistics. NULL: none */
    int shards;
    int nstats;
    const struct ddp_gpu_stat *stat;
    float *params;
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
    struct ddp_gpu_scale *scale; /* fp16: a sum that is not finite halves the scale and skips; growth after
                                    `interval` good steps; halted: left alone. NULL: no loss scaling */
    int interval;
    double *factor; /* out: [0] clipping factor, [1] norm of the mean gradient (loss scale taken out), -1 when
                       not clipping. NULL: not written, the factor is 1 (LAMB's second call, for the trust) */
};

/* A leaf's metrics block [DDP_GPU_BLOCK]: loss, right answers, stop votes (first shard of the rank only), the
 * rest zero. */
struct ddp_gpu_metrics_args {
    const float *loss;
    const int32_t *correct;
    const struct ddp_gpu_step *step; /* NULL: no vote */
    float *leaf;
};

enum { DDP_GPU_METRICS = 4 }; /* floats at the start of the metrics block that are summed; [0] is the loss */
/* metrics [DDP_GPU_METRICS] = tree sum of the nodes. A loss that is not finite sets halted; skip = halted. So
 * it comes before all that updates in a step. */
struct ddp_gpu_guard_args {
    struct ddp_gpu_nodes nodes; /* DDP_GPU_METRICS floats each, aligned to 16 bytes */
    struct ddp_gpu_scale *scale;
    float *metrics;
};

struct ddp_gpu_kernels {
    void (*augment)(struct ddp_gpu_stream *s, const struct ddp_gpu_augment *a);
    void (*act_forward)(struct ddp_gpu_stream *s, const struct ddp_gpu_act_args *a);
    void (*act_backward)(struct ddp_gpu_stream *s, const struct ddp_gpu_act_args *a);
    void (*add_forward)(struct ddp_gpu_stream *s, const struct ddp_gpu_add_args *a);
    void (*add_backward)(struct ddp_gpu_stream *s, const struct ddp_gpu_add_args *a);
    void (*bias_forward)(struct ddp_gpu_stream *s, const struct ddp_gpu_bias_args *a);
    void (*bias_backward)(struct ddp_gpu_stream *s, const struct ddp_gpu_bias_grad_args *a);
    void (*norm_stats)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
    void (*norm_sync_apply)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
    void (*norm_forward)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
    void (*norm_eval)(struct ddp_gpu_stream *s,
                      const struct ddp_gpu_norm_args *a); /* running statistics, all samples */
    void (*norm_grad_stats)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a);
    void (*norm_grad)(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a);
    void (*max_pool)(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
    void (*max_pool_grad)(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
    void (*avg_pool)(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
    void (*avg_pool_grad)(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
    void (*flatten)(struct ddp_gpu_stream *s, const struct ddp_gpu_flatten_args *a);
    void (*dropout)(struct ddp_gpu_stream *s, const struct ddp_gpu_dropout_args *a);
    void (*softmax_cross_entropy)(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a);
    void (*mse)(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a);
    void (*cast_from_float)(struct ddp_gpu_stream *s, const struct ddp_gpu_cast_args *a); /* t = f */
    void (*cast_to_float)(struct ddp_gpu_stream *s, const struct ddp_gpu_cast_args *a);   /* f = t */
    void (*add_range)(struct ddp_gpu_stream *s, const struct ddp_gpu_range_args *a);
    void (*metrics)(struct ddp_gpu_stream *s, const struct ddp_gpu_metrics_args *a);
    void (*sum_small)(struct ddp_gpu_stream *s, const struct ddp_gpu_sum_args *a);
    /* sum of the nodes (nodes.n = 0: what is in a->sum) -> a->sum, values of its blocks. LAMB with
     * a->moments: the moments too, and the update before the trust ratio goes over sum */
    void (*sum_nodes)(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a);
    /* sum of the nodes (nodes.n = 0: a->sum) -> state, params, weights */
    void (*update)(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a);
    void (*between)(struct ddp_gpu_stream *s, const struct ddp_gpu_between_args *a);
    void (*stats)(struct ddp_gpu_stream *s, const struct ddp_gpu_stats_args *a);
    void (*guard)(struct ddp_gpu_stream *s, const struct ddp_gpu_guard_args *a);
};

#ifdef __cplusplus
}
#endif
#endif
