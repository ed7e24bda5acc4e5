/* Private to src/gpu: ops on the device. An op of src/compute that runs on a GPU has a table here, under the
 * same name, with the same contract; its keys are read from the layer's conf by name. Everything is enqueued
 * on one stream.
 *
 * Activations are NHWC with channels padded to DDP_GPU_CPAD; a vector of F features is {F, 1, 1}, a flattened
 * picture that kept its shape a picture. */
#ifndef DDP_GPU_OPS_H
#define DDP_GPU_OPS_H

#include "device/kernels.h"
#include "device/lock.h"
#include "model/graph.h"

static inline int ddp_gpu_pad(int c)
{
    return (c + DDP_GPU_CPAD - 1) / DDP_GPU_CPAD * DDP_GPU_CPAD;
}
/* Elements of one sample, padding included. */
static inline int64_t ddp_gpu_elements(struct ddp_shape s)
{
    return (int64_t)ddp_gpu_pad(s.c) * s.h * s.w;
}

enum { DDP_GPU_PASSES = 3 };

/* One stage as the device sees it: what its op planned before step 0. */
struct ddp_gpu_stage {
    const struct ddp_gpu_op *op;
    const struct ddp_layer *layer;
    struct ddp_shape in[DDP_OP_MAX_IN], out; /* out: {0} for a loss */
    bool relu, add;                          /* fused behind it */
    struct ddp_gpu_plan
        *plan[DDP_GPU_PASSES]; /* vendor libraries: forward, data gradient, weight gradient; NULL: not used */
    size_t saved_bytes;        /* from forward to backward, for each resident shard */
    size_t workspace_bytes;    /* of the vendor's calls */
    size_t scratch_bytes;      /* inside one call */
    int sync_floats;           /* > 0: statistics are summed over all shards, this many floats each way */
};

/* How plans are chosen: from a lock where that has the problem, else anew (and added to it). */
struct ddp_gpu_planner {
    const struct ddp_gpu_api *api;
    struct ddp_gpu *gpu;
    struct ddp_gpu_lock *lock;
    bool tune, training;
    enum ddp_gpu_type type;
    bool tf32;
    int batch;
};

/* Everything that one call sees. Memory is the pass's. */
struct ddp_gpu_call {
    const struct ddp_gpu_kernels *k;
    const struct ddp_gpu_api *api;
    struct ddp_gpu_stream *stream;
    const struct ddp_gpu_stage *stage;
    enum ddp_gpu_type type;
    int batch;
    bool training;
    const void *in[DDP_OP_MAX_IN];
    void *out;
    void *dout;               /* backward; may be overwritten */
    void *din[DDP_OP_MAX_IN]; /* NULL: not wanted. A loss writes din[0] in forward */
    bool accumulate[DDP_OP_MAX_IN];
    float *param[DDP_OP_MAX_PARAMS]; /* fp32 masters */
    void *weight[DDP_OP_MAX_PARAMS]; /* the same in the compute type */
    float *grad[DDP_OP_MAX_PARAMS];  /* backward: in the leaf; forward: leaves of running statistics */
    void *saved, *workspace, *scratch;
    float *sync; /* [sync_floats]: leaf to fill in *_stats, the sum after it */
    const struct ddp_gpu_step *step;
    const struct ddp_gpu_scale *scale; /* NULL: no loss scaling */
    const int32_t *n;                  /* real samples */
    const int64_t *sample;
    const int32_t *label;
    uint64_t seed;
    uint32_t layer; /* hash of the layer's name */
    float *loss;
    int32_t *correct;
};

struct ddp_gpu_op {
    const char *name;
    /* Plans, memory; errors name what the device cannot do. Required where anything is needed. */
    int (*plan)(const struct ddp_gpu_planner *p, struct ddp_gpu_stage *st, struct ddp_error *err);
    void (*forward)(const struct ddp_gpu_call *c);       /* required */
    void (*backward)(const struct ddp_gpu_call *c);      /* required except for losses */
    void (*forward_stats)(const struct ddp_gpu_call *c); /* where sync_floats may be > 0 */
    void (*backward_stats)(const struct ddp_gpu_call *c);
};

/* NULL: the op has no form for the device. */
const struct ddp_gpu_op *ddp_gpu_op_find(const char *name);

extern const struct ddp_gpu_op ddp_gpu_conv2d, ddp_gpu_linear; /* op_conv.c, op_linear.c */
extern const struct ddp_gpu_op ddp_gpu_batch_norm;             /* op_norm.c */
extern const struct ddp_gpu_op ddp_gpu_relu, ddp_gpu_gelu, ddp_gpu_silu, ddp_gpu_add,
    ddp_gpu_flatten;                                                                        /* op_point.c */
extern const struct ddp_gpu_op ddp_gpu_dropout;                                             /* op_point.c */
extern const struct ddp_gpu_op ddp_gpu_max_pool, ddp_gpu_avg_pool, ddp_gpu_global_avg_pool; /* op_pool.c */
extern const struct ddp_gpu_op ddp_gpu_softmax_cross_entropy, ddp_gpu_mse;                  /* op_loss.c */

/* Keys of the layer, by name; the name must be one of the op's and of that type. */
int64_t ddp_gpu_conf_int(const struct ddp_layer *l, const char *key);
double ddp_gpu_conf_float(const struct ddp_layer *l, const char *key);
bool ddp_gpu_conf_bool(const struct ddp_layer *l, const char *key);

/* Plans through the lock: the signature's algorithm, or a new one that is added. */
int ddp_gpu_plan_conv(const struct ddp_gpu_planner *p, const struct ddp_gpu_conv *c,
                      enum ddp_gpu_conv_pass pass, struct ddp_gpu_stage *st, struct ddp_error *err);
int ddp_gpu_plan_matmul(const struct ddp_gpu_planner *p, const struct ddp_gpu_matmul *m, int pass,
                        struct ddp_gpu_stage *st, struct ddp_error *err);

/* Behind a convolution or matrix product: bias, residual, ReLU, and their gradients. scratch:
 * ddp_gpu_epilogue_scratch bytes. */
void ddp_gpu_epilogue(const struct ddp_gpu_call *c, int64_t pixels, int channels, const float *bias);
void ddp_gpu_epilogue_grad(const struct ddp_gpu_call *c, int64_t pixels, int channels, float *dbias,
                           float *scratch);
size_t ddp_gpu_epilogue_scratch(int64_t pixels, int channels);

#endif
