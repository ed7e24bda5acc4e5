/* For authors of ops: the tensors that an op works on, and the table to fill in (examples/op).
 *
 * All sizes are in elements unless they say bytes. All float tensors are fp32. */
#ifndef DDP_OP_H
#define DDP_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ddp/error.h"
#include "ddp/key.h"
#include "ddp/shape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A view of an activation in blocked form: channels in blocks of 16 that lie together, [.., 16] innermost
 * whatever the vector width. Two orders are in use, told apart only by strides:
 *
 *   pictures   [n][c/16][h + 2 halo][w + 2 halo][16]   the halo is zero for the whole life of the tensor
 *   features   [c/16][h][w][n][16]                     what a linear layer reads: samples beside each other
 *
 * Channels c..ceil16(c)-1 are padding and stay zero. Only samples 0..n-1 hold data; n may be less than was
 * planned. */
struct ddp_tensor {
    int n, c, h, w;
    int halo;
    int64_t sn, sb, sh, sw; /* floats from one sample, channel block, row, pixel to the next */
    float *p;               /* sample 0, channel 0, row 0, column 0 (inside the halo); 64-byte aligned */
};

static inline int ddp_blocks(int c)
{
    return (c + DDP_CBLOCK - 1) / DDP_CBLOCK;
}

/* The 16 floats of channel block b at a pixel (y and x may reach into the halo). */
static inline float *ddp_at(const struct ddp_tensor *t, int n, int b, int y, int x)
{
    return t->p + n * t->sn + b * t->sb + y * t->sh + x * t->sw;
}

/* ---- ops --------------------------------------------------------------------------------------------- */

/* How a parameter lies in the flat buffer; files always hold the plain (PyTorch) layout. */
enum ddp_layout {
    DDP_LAYOUT_VECTOR, /* [C]          -> C, then zeros up to a multiple of 16 */
    /* [K, C/g, R, S] -> [K/16][C'/16][R][S][16c][16k]. A linear layer's [out, in] over features of shape
     * {C, H, W} is the convolution [out, C, H, W] with a kernel of the whole picture. */
    DDP_LAYOUT_CONV,
    /* The same weights on a GPU: [K8][R][S][C8/g], K and C padded to multiples of 8 with zeros. Ops do not
     * ask for it: a model built for a GPU has it in place of CONV. */
    DDP_LAYOUT_KRSC,
};

enum ddp_init {
    DDP_INIT_ZERO,
    DDP_INIT_ONE,
    DDP_INIT_KAIMING_UNIFORM, /* U(-b, b), b = gain * sqrt(3 / fan_in); gain 1/sqrt(3) is PyTorch's default */
    DDP_INIT_KAIMING_NORMAL,  /* N(0, gain^2 / fan) */
    DDP_INIT_XAVIER_UNIFORM,  /* U(-b, b), b = gain * sqrt(6 / (fan_in + fan_out)) */
    DDP_INIT_XAVIER_NORMAL,   /* N(0, gain^2 * 2 / (fan_in + fan_out)) */
    DDP_INIT_UNIFORM,         /* U(-gain, gain) */
};

enum ddp_param_role {
    DDP_PARAM_TRAINED, /* has a gradient, the optimizer updates it */
    /* Updated from the shards' statistics: leaf = count * mean, count-weighted mean over the tree. */
    DDP_PARAM_RUNNING_MEAN,
    DDP_PARAM_RUNNING_VAR, /* the same with unbiased variances */
};

struct ddp_param {
    const char *name; /* "weight": the tensor is LAYER.weight in files; static storage */
    enum ddp_param_role role;
    enum ddp_layout layout;
    int ndim;
    int64_t dims[4];     /* plain shape, as PyTorch has it */
    int groups;          /* CONV: channel groups; 1 otherwise */
    struct ddp_shape in; /* CONV of a linear layer over pictures: {C, H, W}; all 0 otherwise */
    enum ddp_init init;
    double gain, fan_in, fan_out;
    double momentum; /* RUNNING_*: weight of the new value */
    bool no_decay;   /* norms and biases */
};

enum { DDP_OP_MAX_IN = 2, DDP_OP_MAX_PARAMS = 6 };

/* What may be fused behind an op: out = relu(op(in[0]) + in[1]), and of that the maxima of 2x2 windows. */
enum { DDP_FUSE_RELU = 1, DDP_FUSE_ADD = 2, DDP_FUSE_POOL = 4 };

/* Whether the gradient of in[0] may be written over in[0] itself, on CPUs, where nobody else reads that. */
enum ddp_over {
    DDP_OVER_NO,
    DDP_OVER_PLAIN,  /* yes: backward has no use for an element of in[0] once it writes that of din[0] */
    DDP_OVER_MASKED, /* and it leaves zero where in[0] is not positive, when asked to (mask_din) */
};

/* What backward reads out for, on CPUs. */
enum ddp_out_use {
    DDP_OUT_READ,       /* whatever it likes */
    DDP_OUT_MASK,       /* the mask of a fused ReLU, nothing else */
    DDP_OUT_MASK_ADDED, /* the same, and only where an add is fused, too */
    DDP_OUT_UNREAD,     /* nothing */
};

/* What an op says about one layer before step 0. Filled by op->plan(). */
struct ddp_layer_plan {
    struct ddp_shape out;
    int nparams;
    struct ddp_param params[DDP_OP_MAX_PARAMS];
    int in_halo;      /* zero border that in[0] needs */
    int dout_halo;    /* zero border that the gradient of out needs (data gradient of a convolution) */
    bool any_strides; /* in, out and their gradients may have any strides (else: pictures order) */
    bool features;    /* in and out are in features order (linear layers, losses) */
    bool is_pool;     /* a max_pool of 2x2 windows side by side: others may take it along */
    /* DDP_FUSE_POOL, on CPUs: out then has the pool's shape and any strides, and behind the layer's own in
     * saved come the pool's bytes, see ddp_saved_pool(). */
    bool takes_pool;
    enum ddp_over over_in; /* din[0] may be in[0] */
    size_t saved_bytes;    /* kept from forward to backward, per shard */
    size_t scratch_bytes;  /* needed inside one call, per rank */
    int sync_doubles; /* > 0: sums that op->forward_stats/backward_stats write, added up over all shards */
    double flops;     /* forward by definition, per sample; a multiply-add is 2 */
    /* Where an algorithm needs fewer products than the definition has: its name, and what forward really
     * does of flops per sample (transforms not counted). NULL and 0: by definition. */
    const char *algorithm;
    double done;
};

/* Where in saved the pool's bytes begin: [n][block][out.h][out.w][16] of the pool, which pixel of its window
 * a maximum is, row by row; DDP_POOL_NONE where a ReLU in front has cut it off. */
enum { DDP_POOL_NONE = 4 };
static inline size_t ddp_saved_pool(const struct ddp_layer_plan *p)
{
    return (p->saved_bytes + 63) / 64 * 64;
}

/* The answer to a mixture of two samples: their classes, and the part of the first; the other has the
 * rest. */
struct ddp_mixed {
    int32_t label, other;
    float own;
};

/* Everything one call sees. Ownership: all memory is the graph's. */
struct ddp_op_call {
    const void *conf; /* the layer's own keys, as read through op->keys */
    const struct ddp_layer_plan *plan;
    unsigned fused; /* DDP_FUSE_ bits that hold for this layer */
    bool training;
    int nin;
    const struct ddp_tensor *in[DDP_OP_MAX_IN];
    const struct ddp_tensor *out;
    const struct ddp_tensor *dout; /* backward: gradient of out; may be overwritten by the op */
    /* backward: NULL when not wanted. Where both inputs of an op are one tensor so are both din, and
     * accumulate[1] is set: write din[0] first, then add to din[1]. */
    const struct ddp_tensor *din[DDP_OP_MAX_IN];
    bool accumulate[DDP_OP_MAX_IN]; /* backward: add to din instead of writing it */
    /* backward: din[0] is in[0], which a ReLU has left; its gradient is 0 where that is not positive. The bit
     * of that ReLU is then cleared in the `fused` of the call that reads this gradient. */
    bool mask_din;
    float *param[DDP_OP_MAX_PARAMS]; /* in flat layout; read only */
    /* backward: written, not added to; forward: leaves of running statistics (count * value, zero for an
     * empty shard). */
    float *grad[DDP_OP_MAX_PARAMS];
    void *saved, *scratch;
    double *sync;          /* sync_doubles: the leaf to fill in *_stats, the sum over all shards after it */
    int64_t sync_count;    /* samples in the global batch */
    struct ddp_pool *pool; /* threads of the rank, see ddp_parallel() */
    /* random numbers: functions of these and of the element's place in the plain layout, of nothing else */
    uint64_t seed;
    uint32_t layer; /* hash of the layer's name */
    uint32_t epoch;
    const int64_t *sample; /* [n] index of each sample in the data set */
    /* losses */
    const int32_t *label;          /* [n] class of each sample; NULL: it has real targets, or is mixed */
    const float *target;           /* [n][features that came in]; NULL: it has labels */
    const struct ddp_mixed *mixed; /* [n] data.mixup, of an op that takes_mixed, in place of label; or NULL */
    float *loss;                   /* op->is_loss: write the shard's loss sum */
    int64_t *correct;              /* with labels: the number of right answers */
    float *error;                  /* with targets: the sum of the samples' mean absolute errors */
};

struct ddp_op_device; /* op_device.h */

struct ddp_op {
    const char *name; /* "conv2d": `type = "conv2d"` in a layer */
    const char *doc;  /* one line */
    size_t conf_bytes;
    const struct ddp_key
        *keys;      /* ends with name NULL; keys common to all layers (name, type, input) are the graph's */
    int nin;        /* 1 or 2 */
    unsigned fuses; /* DDP_FUSE_ bits that it can take over */
    bool is_loss;
    bool takes_targets;       /* a loss that knows real targets, too */
    bool takes_mixed;         /* a loss that knows mixed labels, too */
    enum ddp_out_use out_use; /* where an op says nothing, out is there in backward */
    /* computes the same however C*H*W features are cut into a shape (elementwise ops, linear): a flatten
     * before it may then be left out. */
    bool any_shape;
    /* Shapes, parameters, memory, from the conf and the shapes that come in; batch is
     * the shard's. Required. */
    int (*plan)(const void *conf, const struct ddp_shape *in, int nin, int batch, struct ddp_layer_plan *plan,
                struct ddp_error *err);
    void (*forward)(const struct ddp_op_call *call); /* required */
    /* required, except for losses: their forward writes din when training. */
    void (*backward)(const struct ddp_op_call *call);
    void (*forward_stats)(const struct ddp_op_call *call);  /* required where sync_doubles > 0 */
    void (*backward_stats)(const struct ddp_op_call *call); /* likewise */
    const struct ddp_op_device *device; /* the half that runs on a GPU; NULL: device=cuda refuses the op */
};

/* Make an op known by its name; before a config is read. The table is not copied. */
DDP_API int ddp_op_register(const struct ddp_op *op, struct ddp_error *err);

/* Run fn(ctx, task) for task 0..tasks-1 on the rank's threads. What a task computes must not depend on the
 * number of threads, so the number of tasks comes from the shape. */
typedef void (*ddp_task_fn)(void *ctx, int task);
DDP_API void ddp_parallel(struct ddp_pool *pool, int tasks, ddp_task_fn fn, void *ctx);

/* Philox 4x32-10 (Salmon et al., SC'11): four random words, a pure function of counter and key. */
DDP_API void ddp_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#ifdef __cplusplus
}
#endif
#endif
