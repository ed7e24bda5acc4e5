/* For authors of ops, data sets and transports: the tables to fill in. Users of the framework need only
 * ddp.h.
 *
 * All sizes are in elements unless they say bytes. All float tensors are fp32. */
#ifndef DDP_EXTEND_H
#define DDP_EXTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ddp/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ==== keys of a config group ================================================================ */

enum ddp_key_type {
    DDP_KEY_INT,         /* int64_t */
    DDP_KEY_FLOAT,       /* double; an int in the file is fine */
    DDP_KEY_BOOL,        /* bool */
    DDP_KEY_STRING,      /* const char *, owned by the config */
    DDP_KEY_CHOICE,      /* int: index into choices */
    DDP_KEY_FLOAT_LIST,  /* struct ddp_floats */
    DDP_KEY_STRING_LIST, /* struct ddp_strings */
    DDP_KEY_NODE,        /* const struct ddp_node *: a list or group that its module reads itself */
};

struct ddp_floats {
    int n;
    const double *v;
};
struct ddp_strings {
    int n;
    const char *const *v;
};

enum {
    DDP_KEY_RESULT = 1,   /* takes part in the result: another value, other bits; in the config hash */
    DDP_KEY_REQUIRED = 2, /* has no default */
    DDP_KEY_STOP =
        4, /* takes part in the result only by steering early stopping; in the config hash only then */
};

/* One key: everything that validation, --help-config, the resolved dump and docs/config.md know about it. */
struct ddp_key {
    const char *name; /* "lr"; full name in error messages is the group's path + this: "optim.lr" */
    enum ddp_key_type type;
    size_t offset;    /* of the field in the conf struct that ddp_keys_read() fills */
    const char *dflt; /* in the file's own syntax: "0.1", "true", "[0.5, 0.5]", "sgd"; NULL when required */
    double min, max;  /* INT, FLOAT and the elements of FLOAT_LIST: inclusive; both 0: no range */
    const char *choices; /* CHOICE: "sgd|adamw" */
    const char *unit;    /* "images", "s", "MB"; NULL: none */
    unsigned flags;
    const char *doc; /* one line, a sentence without full stop */
};

/* ==== tensors =============================================================================== */

enum { DDP_CBLOCK = 16 }; /* channels in a block */

struct ddp_shape {
    int c, h,
        w; /* of one sample; a vector of F features is {F, 1, 1} or, flattened from pictures, {C, H, W} */
};

/* A view of an activation in blocked form: channels in blocks of 16 that lie together, [.., 16] innermost
 * whatever the vector width. Two orders are in use, told apart only by strides: pictures  [n][c/16][h + 2
 * halo][w + 2 halo][16]   the halo is zero for the whole life of the tensor features  [c/16][h][w][n][16]
 * what a linear layer reads: samples beside each other Channels c..ceil16(c)-1 are padding and stay zero.
 * Only samples 0..n-1 hold data; n may be less than was planned. */
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

/* ==== ops =================================================================================== */

/* How a parameter lies in the flat buffer; files always hold the plain (PyTorch) layout. */
enum ddp_layout {
    DDP_LAYOUT_VECTOR, /* [C]          -> C, then zeros up to a multiple of 16 */
    DDP_LAYOUT_CONV,   /* [K, C/g, R, S] -> [K/16][C'/16][R][S][16c][16k]; a linear layer's [out, in] over
                          features of   shape {C, H, W} is the convolution [out, C, H, W] with a kernel of the
                          whole picture */
    DDP_LAYOUT_KRSC,   /* the same weights on a GPU: [K8][R][S][C8/g], K and C padded to multiples of 8 with
                          zeros. Ops do not ask for it: a model built for a GPU has it in place of CONV */
};

enum ddp_init {
    DDP_INIT_ZERO,
    DDP_INIT_ONE,
    DDP_INIT_KAIMING_UNIFORM, /* U(-b, b), b = gain * sqrt(3 / fan_in); PyTorch's default has gain = 1/sqrt(3)
                               */
    DDP_INIT_KAIMING_NORMAL,  /* N(0, gain^2 / fan) */
    DDP_INIT_XAVIER_UNIFORM,  /* U(-b, b), b = gain * sqrt(6 / (fan_in + fan_out)) */
    DDP_INIT_XAVIER_NORMAL,   /* N(0, gain^2 * 2 / (fan_in + fan_out)) */
    DDP_INIT_UNIFORM,         /* U(-gain, gain) */
};

enum ddp_param_role {
    DDP_PARAM_TRAINED,      /* has a gradient, the optimizer updates it */
    DDP_PARAM_RUNNING_MEAN, /* updated from the shards' statistics: leaf = count * mean, count-weighted mean
                               over the tree */
    DDP_PARAM_RUNNING_VAR,  /* the same with unbiased variances */
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

enum {
    DDP_FUSE_RELU = 1,
    DDP_FUSE_ADD = 2
}; /* what may be fused behind an op: out = relu(op(in[0]) + in[1]) */

/* What an op says about one layer before step 0. Filled by op->plan(). */
struct ddp_layer_plan {
    struct ddp_shape out;
    int nparams;
    struct ddp_param params[DDP_OP_MAX_PARAMS];
    int in_halo;          /* zero border that in[0] needs */
    int dout_halo;        /* zero border that the gradient of out needs (data gradient of a convolution) */
    bool any_strides;     /* in, out and their gradients may have any strides (else: pictures order) */
    bool features;        /* in and out are in features order (linear layers, losses) */
    size_t saved_bytes;   /* kept from forward to backward, per shard */
    size_t scratch_bytes; /* needed inside one call, per rank */
    int sync_floats; /* > 0: op->forward_stats/backward_stats produce this many floats, summed over all shards
                      */
    double flops;    /* forward, per sample; a multiply-add is 2 */
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
    const struct ddp_tensor *dout;               /* backward: gradient of out; may be overwritten by the op */
    const struct ddp_tensor *din[DDP_OP_MAX_IN]; /* backward: NULL when not wanted */
    bool accumulate[DDP_OP_MAX_IN];              /* backward: add to din instead of writing it */
    float *param[DDP_OP_MAX_PARAMS];             /* in flat layout; read only */
    float *grad[DDP_OP_MAX_PARAMS]; /* backward: written, not added to; forward: leaves of running statistics
                                       (count * value, zero for an empty shard) */
    void *saved, *scratch;
    float *sync;           /* sync_floats: the leaf to fill in *_stats, the sum over all shards after it */
    int64_t sync_count;    /* samples in the global batch */
    struct ddp_pool *pool; /* threads of the rank, see ddp_parallel() */
    /* random numbers: functions of these and of the element's place in the plain layout, of nothing else */
    uint64_t seed;
    uint32_t layer; /* hash of the layer's name */
    uint32_t epoch;
    const int64_t *sample; /* [n] index of each sample in the data set */
    /* losses */
    const int32_t *label; /* [n] class of each sample */
    float *loss;          /* op->is_loss: write the shard's loss sum and the number of right answers */
    int64_t *correct;
};

struct ddp_op {
    const char *name; /* "conv2d": `type = "conv2d"` in a layer */
    const char *doc;  /* one line */
    size_t conf_bytes;
    const struct ddp_key
        *keys;      /* ends with name NULL; keys common to all layers (name, type, input) are the graph's */
    int nin;        /* 1 or 2 */
    unsigned fuses; /* DDP_FUSE_ bits that it can take over */
    bool is_loss;
    /* Shapes, parameters, memory, from the conf and the shapes that come in; batch is the shard's. Required.
     */
    int (*plan)(const void *conf, const struct ddp_shape *in, int nin, int batch, struct ddp_layer_plan *plan,
                struct ddp_error *err);
    void (*forward)(const struct ddp_op_call *call);  /* required */
    void (*backward)(const struct ddp_op_call *call); /* required, except for losses: their forward writes
                                                         din[0] when training */
    void (*forward_stats)(const struct ddp_op_call *call);  /* required where sync_floats > 0 */
    void (*backward_stats)(const struct ddp_op_call *call); /* likewise */
};

/* Make an op known by its name; before a config is read. The table is not copied. */
DDP_API int ddp_op_register(const struct ddp_op *op, struct ddp_error *err);

/* Run fn(ctx, task) for task 0..tasks-1 on the rank's threads. What a task computes must not depend on the
 * number of threads, so the number of tasks comes from the shape. */
typedef void (*ddp_task_fn)(void *ctx, int task);
DDP_API void ddp_parallel(struct ddp_pool *pool, int tasks, ddp_task_fn fn, void *ctx);

/* Philox 4x32-10 (Salmon et al., SC'11): four random words, a pure function of counter and key. */
DDP_API void ddp_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* ==== data sets ============================================================================= */

enum ddp_split { DDP_SPLIT_TRAIN, DDP_SPLIT_TEST };

struct ddp_dataset_info {
    int64_t count;
    struct ddp_shape shape; /* pictures: uint8 planes [c, h, w] */
    int classes;
    const char *const *class_names; /* [classes] or NULL; owned by the data set */
    double mean[4],
        std[4]; /* of each channel, in units of 1/255 of full scale: what normalise uses by default */
};

/* What open() gets: the `data` group, already checked. Strings live as long as the data set. */
struct ddp_dataset_conf {
    const char *format;              /* the data set's own name, as registered */
    const char *root;                /* data.root, or DDP_DATA_DIR, or "data" */
    const char *path;                /* data.path: folder or file under root; "" when not set */
    struct ddp_strings files;        /* data.files */
    int64_t train_count, test_count; /* built-in data: how many; else 0 */
    uint64_t seed;                   /* data.seed: of generated data only */
    bool verify;                     /* data.verify: check checksums over all bytes at start */
};

struct ddp_dataset_ops {
    const char *name; /* "idx": `format = "idx"` in a data group */
    const char *doc;
    /* Open one split. *out is private to the data set. */
    int (*open)(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out, struct ddp_error *err);
    /* Describe it; strings and arrays in *info stay valid until close. */
    void (*info)(const void *ds, struct ddp_dataset_info *info);
    /* Write sample `index` as uint8 planes [c, h, w] and its label. Called from several threads at once. */
    int (*get)(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err);
    /* SHA-256 over all decoded pixels and labels in order, or of the source files where decoding is exact:
     * text of 64 hex digits. It identifies the data in run.json. */
    int (*digest)(const void *ds, char hex[65], struct ddp_error *err);
    void (*close)(void *ds);
};

/* SHA-256 of bytes as text, for digest(). */
DDP_API void ddp_sha256_text(const void *data, size_t bytes, char hex[65]);

/* Make a data set format known by its name; before a config is read. */
DDP_API int ddp_dataset_register(const struct ddp_dataset_ops *ops, struct ddp_error *err);

/* ==== transports ============================================================================ */

enum ddp_mem { DDP_MEM_HOST, DDP_MEM_CUDA };

enum {
    DDP_COMM_SHARED = 1,    /* shared_alloc works: all ranks see one memory */
    DDP_COMM_ALLREDUCE = 2, /* allreduce_begin/end work */
};

struct ddp_comm; /* a group of ranks; see src/comm/comm.h for the calls */

/* A transport. Every call is collective over the comm unless it says otherwise, and made by one thread of
 * each rank in the same order. `self` is the transport's own state. */
struct ddp_comm_ops {
    const char *name;
    unsigned caps;
    const char *(*library)(void); /* name and version of what is under it, for run.json; may be NULL */
    int (*barrier)(void *self, struct ddp_error *err);                                  /* required */
    int (*bcast)(void *self, void *buf, size_t bytes, int root, struct ddp_error *err); /* required */
    int (*allgather)(void *self, const void *in, void *out, size_t bytes,
                     struct ddp_error *err); /* required: bytes from each rank */
    /* DDP_COMM_SHARED: one zeroed, page-aligned segment that all ranks see at addresses of their own. */
    int (*shared_alloc)(void *self, size_t bytes, void **out, struct ddp_error *err);
    void (*shared_free)(void *self, void *base, size_t bytes); /* local */
    /* DDP_COMM_ALLREDUCE: float sum in place, in whatever order the backend likes. begin returns at once; buf
     * and stream (NULL for host memory) are in use until end returns. */
    int (*allreduce_begin)(void *self, float *buf, size_t count, enum ddp_mem mem, void *stream,
                           void **request, struct ddp_error *err);
    int (*allreduce_end)(void *self, void *request, struct ddp_error *err);
    /* Local: end all ranks of the job now, because this one cannot go on. May return (threads) or not (mpi).
     */
    void (*abort)(void *self, int status); /* required */
    void (*destroy)(void *self);           /* required */
};

#ifdef __cplusplus
}
#endif
#endif
