/* For authors of ops: the half of an op that runs on a GPU (op.h has the other; examples/op has both).
 *
 * An op's table points to this half with `.device`; both halves get the same conf and plan. A config whose
 * model holds an op without one is refused for device=cuda, and the message names the op.
 *
 * What is in device memory is NHWC, with channels padded to a multiple of DDP_GPU_CPAD:
 *
 *     pictures   [batch][h][w][c8]      c8 = ddp_gpu_pad(c); lanes c..c8-1 are zero and must stay zero
 *     vectors    [batch][c8]            {F, 1, 1}
 *     parameters VECTOR [C], zero up to a multiple of 16; CONV weights as KRSC, [K8][R][S][C8/g]
 *
 * Activations, their gradients and `weight` have the element type `type`; `param`, `grad`, sums, statistics
 * and losses are fp32.
 *
 * A shard always has room for `batch` samples, of which the first *n are real; n is in device memory and is
 * read there. Padding samples must influence nothing: they bring no loss, no gradient and no statistics, and
 * what an op writes for them must be finite.
 *
 * A call enqueues work on one stream and returns. It must enqueue the same work each time (it may be captured
 * into a graph), so it does not look at device memory, does not allocate and does not wait. For the same bits
 * from the same input it adds in an order that only the shape decides: no atomics on floats. */
#ifndef DDP_OP_DEVICE_H
#define DDP_OP_DEVICE_H

#include "ddp/op.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DDP_GPU_CPAD = 8, DDP_DEVICE_PASSES = 3 };

/* What an op's backward is able to do with gradients so that fewer bytes move (bits of `gradients`). */
enum {
    /* The gradient of an input that a sum adds as it is (in[nin] with DDP_FUSE_ADD; either of the op add) may
     * be left where dout is: that din[i] is dout then, accumulate[i] is false, and the op writes over dout
     * what that input is to get. The other gradients have to come out as ever. */
    DDP_GRADIENT_LEFT = 1,
    /* dout may come in two parts, the second in dout_more. */
    DDP_GRADIENT_OF_TWO = 2,
    /* To add to din[0] costs passes of their own, to write it none: it is rather given a place aside, as the
     * second part for the op that takes the gradient. */
    DDP_GRADIENT_ASIDE = 4,
};

/* Element types of activations and weights. */
enum ddp_gpu_type { DDP_GPU_F32, DDP_GPU_BF16, DDP_GPU_F16 };

static inline size_t ddp_gpu_type_bytes(enum ddp_gpu_type t)
{
    return t == DDP_GPU_F32 ? 4 : 2;
}

static inline int ddp_gpu_pad(int c)
{
    return (c + DDP_GPU_CPAD - 1) / DDP_GPU_CPAD * DDP_GPU_CPAD;
}

/* Elements of one sample, padding included. */
static inline int64_t ddp_gpu_elements(struct ddp_shape s)
{
    return (int64_t)ddp_gpu_pad(s.c) * s.h * s.w;
}

/* Of the library, opaque to others: the table of calls to a device, the device, a stream, our kernels, a
 * vendor's algorithm, the texts that say which algorithms were chosen, the step at hand, loss scaling. */
struct ddp_gpu;
struct ddp_gpu_api;
struct ddp_gpu_kernels;
struct ddp_gpu_lock;
struct ddp_gpu_plan;
struct ddp_gpu_scale;
struct ddp_gpu_step;
struct ddp_gpu_stream;

/* What an op may ask before step 0. */
struct ddp_device_planner {
    const void *conf; /* the layer's own keys */
    const struct ddp_layer_plan *plan;
    unsigned fused; /* DDP_FUSE_ bits that hold for this layer */
    int nin;
    struct ddp_shape in[DDP_OP_MAX_IN], out; /* out: {0} for a loss */
    enum ddp_gpu_type type;
    int batch; /* samples of a shard */
    bool training;
    bool accumulate; /* backward will add to din[0] */
    /* of the library's own ops: vendors' algorithms */
    const struct ddp_gpu_api *api;
    struct ddp_gpu *gpu;
    struct ddp_gpu_lock *lock;
    bool tune, tf32;
};

/* What it answers; starts as zeros. */
struct ddp_device_plan {
    size_t saved_bytes;   /* kept from forward to backward, per resident shard */
    size_t scratch_bytes; /* needed inside one call */
    int sync_doubles;     /* > 0: *_stats produce this many sums, added up over all shards */
    /* Bit k: of trained parameter k the calls read weight[k] alone; param[k] is NULL then. In a narrow type
     * other ranks get of it what they read: 2 bytes an element, and 6 of one that may be read as both. */
    unsigned weight_only;
    /* of the library's own ops */
    size_t workspace_bytes;                         /* of the vendor's calls */
    struct ddp_gpu_plan *vendor[DDP_DEVICE_PASSES]; /* owned by the pass; NULL: not used */
    bool epilogue;                                  /* forward's call does bias and ReLU */
};

/* Everything one call sees. All pointers but the first group's are device memory, and the pass's. */
struct ddp_device_call {
    const void *conf;
    const struct ddp_layer_plan *plan;
    unsigned fused; /* with DDP_FUSE_ADD the residual is in[nin], its gradient din[nin] */
    bool training;
    int nin;
    struct ddp_shape in_shape[DDP_OP_MAX_IN], out_shape;
    enum ddp_gpu_type type;
    int batch;

    const int32_t *n; /* [1] real samples */
    const void *in[DDP_OP_MAX_IN];
    void *out;
    void *dout; /* backward: gradient of out; may be overwritten by the op */
    /* backward, with DDP_GRADIENT_OF_TWO: the second part of dout, or NULL; the gradient is the sum, rounded
     * to `type` */
    const void *dout_more;
    void *din[DDP_OP_MAX_IN];        /* backward: NULL when not wanted. A loss writes din[0] in forward */
    bool accumulate[DDP_OP_MAX_IN];  /* backward: add to din instead of writing it */
    float *param[DDP_OP_MAX_PARAMS]; /* fp32; read only. NULL where the plan says weight_only */
    void *weight[DDP_OP_MAX_PARAMS]; /* the same in `type` */
    /* backward: written, not added to; forward: leaves of running statistics (count * value, zero for an
     * empty shard) */
    float *grad[DDP_OP_MAX_PARAMS];
    void *saved, *scratch;
    double *sync;         /* [sync_doubles]: the leaf to fill in *_stats, the sum over all shards after it */
    const int64_t *count; /* [1] samples in the global batch */
    /* random numbers: as in op.h */
    uint64_t seed;
    uint32_t layer;        /* hash of the layer's name */
    const int64_t *epoch;  /* [1] */
    const int64_t *sample; /* [batch] index of each sample in the data set */
    /* losses */
    const int32_t *label;          /* [batch]; NULL: real targets, or mixed */
    const float *target;           /* [batch][features that came in]; NULL: labels */
    const struct ddp_mixed *mixed; /* [batch] in place of labels; or NULL */
    const float *factor;           /* [1] din[0] is to be the gradient times this; NULL: 1 */
    float *loss;                   /* [1] sum over the real samples */
    int32_t *correct;              /* [1] with labels: right answers */
    float *error;                  /* [1] with targets: sum of mean absolute errors */

    /* of the library's own ops; others use the functions below */
    const struct ddp_gpu_api *api;
    const struct ddp_gpu_kernels *kernels;
    struct ddp_gpu_stream *stream;
    const struct ddp_gpu_step *step;
    const struct ddp_gpu_scale *scale;  /* NULL: no loss scaling */
    struct ddp_gpu_plan *const *vendor; /* [DDP_DEVICE_PASSES] */
    bool epilogue;                      /* as planned */
    void *workspace;
};

struct ddp_op_device {
    /* Memory; errors name what the device cannot do. NULL: nothing is needed and nothing refused. */
    int (*plan)(const struct ddp_device_planner *p, struct ddp_device_plan *plan, struct ddp_error *err);
    void (*forward)(const struct ddp_device_call *call);        /* required */
    void (*backward)(const struct ddp_device_call *call);       /* required, except for losses */
    void (*forward_stats)(const struct ddp_device_call *call);  /* required where sync_doubles > 0 */
    void (*backward_stats)(const struct ddp_device_call *call); /* likewise */
    unsigned gradients; /* DDP_GRADIENT_ bits; 0: writes and adds, one part */
};

/* The cudaStream_t that the call's work goes on. */
DDP_API void *ddp_device_stream(const struct ddp_device_call *call);
/* Work could not be enqueued (cudaGetLastError() after a launch): ends the step with this reason. */
DDP_API void ddp_device_failed(const struct ddp_device_call *call, const char *what, const char *why);

#ifdef __cplusplus
}
#endif
#endif
