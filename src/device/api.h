/* What the library knows of GPUs: one table, filled in by the CUDA plug-in (src/device/cuda,
 * libddp_cuda.so), which is opened at run time. No header of CUDA is seen on this side, and nothing of the
 * project but this table, the kernels' arguments (NAME_kernels.h) and ddp_fail() on that side; so a login
 * node without a driver plans a GPU job, and tests put a plug-in that runs on the CPU in its place
 * (tests/emulator).
 *
 * Two kinds of calls:
 *   - those that return int: 0 or a code of DDP_ERRORS worded through err. They may block and allocate:
 *     before step 0 only.
 *   - those that return void enqueue work on a stream and return at once. The first that fails is kept in the
 *     device with its reason, the ones after it do nothing, and check() returns it. Nothing on the way of a
 *     step has to look.
 *
 * One thread of a rank uses a device. Memory is device memory unless it says pinned; the host must not touch
 * device memory.
 *
 * Layouts: activations are NHWC with the channels padded to a multiple of DDP_GPU_CPAD (pad lanes are zero
 * and stay zero); convolution weights are [K][R][S][C/groups] with K and C padded likewise, linear weights
 * the same with R, S the whole picture. All matrices are row-major. */
#ifndef DDP_GPU_API_H
#define DDP_GPU_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ddp/op_device.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DDP_GPU_API_VERSION = 6, DDP_GPU_ID_BYTES = 128, DDP_GPU_ALIGN = 256 };

/* Up to a multiple of DDP_GPU_ALIGN. */
static inline size_t ddp_gpu_align(size_t bytes)
{
    return (bytes + DDP_GPU_ALIGN - 1) / DDP_GPU_ALIGN * DDP_GPU_ALIGN;
}

struct ddp_gpu;        /* an opened device */
struct ddp_gpu_stream; /* work in order */
struct ddp_gpu_event;  /* a point in a stream */
struct ddp_gpu_graph;  /* captured work, ready to launch */
struct ddp_gpu_plan;   /* one convolution or matrix product, with the algorithm that computes it */
struct ddp_gpu_comm;   /* NCCL communicator */

/* Our own kernels: a table for each room that has some. What they compute and their arguments stand in the
 * room's header. */
#define DDP_GPU_ROOMS(ROOM)                                                                                  \
    ROOM(augment)    /* data/augment_kernels.h */                                                            \
    ROOM(concat)     /* ops/shape/concat_kernels.h */                                                        \
    ROOM(dropout)    /* ops/dropout/dropout_kernels.h */                                                     \
    ROOM(flat)       /* reduce/flat_kernels.h */                                                             \
    ROOM(flatten)    /* ops/shape/flatten_kernels.h */                                                       \
    ROOM(group_norm) /* ops/norm/group_norm_kernels.h */                                                     \
    ROOM(loss)       /* ops/loss/loss_kernels.h */                                                           \
    ROOM(norm)       /* ops/norm/norm_kernels.h */                                                           \
    ROOM(point)      /* ops/point/point_kernels.h */                                                         \
    ROOM(pool)       /* ops/pool/pool_kernels.h */                                                           \
    ROOM(stats)      /* model/stats_kernels.h */                                                             \
    ROOM(update)     /* optim/update_kernels.h */

#define DDP_GPU_ROOM(room) const struct ddp_##room##_device_kernels *room;
struct ddp_gpu_kernels {
    DDP_GPU_ROOMS(DDP_GPU_ROOM)
};
#undef DDP_GPU_ROOM

struct ddp_gpu_info {
    char name[128];
    char uuid[64]; /* "GPU-..." or "MIG-..." */
    char pci[32];  /* "0000:3b:00.0" */
    int sms, major, minor;
    size_t memory; /* bytes in all */
    bool bf16;     /* computes in bf16 (sm_80 and newer) */
};

struct ddp_gpu_versions { /* as the vendor numbers them; 0: not there */
    int driver, runtime, cudnn, cublaslt, nccl;
};

/* What a vendor's call adds to its sums in fp32, before it rounds them once to the result's type; ReLU keeps
 * what is no number. */
enum { DDP_GPU_BIAS = 1, DDP_GPU_BIAS_RELU = 3 };

/* A 2-d convolution, NHWC in, KRSC weights, cross-correlation; c and k are padded. */
struct ddp_gpu_conv {
    int n, h, w, c; /* in */
    int k, r, s;    /* weights [k][r][s][c/groups] */
    int stride, pad, groups;
    enum ddp_gpu_type type; /* of in, weights, out and all their gradients */
    bool tf32;              /* F32 may be computed in TF32 */
    int dilation;           /* pixels from one tap to the next; 0 is 1 */
    unsigned epilogue;      /* forward: DDP_GPU_BIAS*, of a bias [k] in fp32; 0: none */
};
static inline int ddp_gpu_conv_dilation(const struct ddp_gpu_conv *c)
{
    return c->dilation ? c->dilation : 1;
}
/* Pixels that `filter` taps reach over. */
static inline int ddp_gpu_conv_reach(const struct ddp_gpu_conv *c, int filter)
{
    return ddp_gpu_conv_dilation(c) * (filter - 1) + 1;
}
enum ddp_gpu_conv_pass {
    DDP_GPU_CONV_FORWARD, /* y = conv(x, w) */
    DDP_GPU_CONV_DGRAD,   /* x = gradient of the input from y (its gradient) and w */
    DDP_GPU_CONV_WGRAD,   /* w = gradient of the weights from x and y (its gradient) */
};

/* d[m][n] = sum over l of op(a)[m][l] op(b)[l][n], accumulated in fp32
 *
 * a is [m][l] or, with ta, [l][m]; b is [l][n] or, with tb, [n][l]. */
struct ddp_gpu_matmul {
    int m, n, l;
    bool ta, tb;
    enum ddp_gpu_type type;     /* of a and b */
    enum ddp_gpu_type out_type; /* of d: type, or F32 */
    bool tf32;
    unsigned epilogue; /* DDP_GPU_BIAS*, of a bias [n] in out_type; 0: none */
};

/* Several ranks on one device, for tests of correctness (NCCL_HOSTID or NCCL_MULTI_RANK_GPU_ENABLE). */
enum ddp_gpu_sharing {
    DDP_GPU_SHARE_NOT,
    DDP_GPU_SHARE_HERE,  /* all ranks are on this host: loopback serves */
    DDP_GPU_SHARE_HOSTS, /* they are on several */
};

struct ddp_gpu_api {
    int version; /* DDP_GPU_API_VERSION that the plug-in was built with */

    /* ---- devices ---- */
    /* Devices that this process may use (CUDA_VISIBLE_DEVICES, MIG). DDP_E_RESOURCE with the reason: no
     * driver, driver too old for the toolkit, no device. */
    int (*count)(int *n, struct ddp_error *err);
    int (*info)(int device, struct ddp_gpu_info *out, struct ddp_error *err);
    void (*versions)(struct ddp_gpu_versions *out); /* of what is loaded; driver 0 without one */
    int (*open)(int device, struct ddp_gpu **out, struct ddp_error *err); /* makes it this thread's device */
    void (*close)(struct ddp_gpu *gpu);                                   /* NULL is fine */
    /* The first failure of enqueued work, or of what was kept for check; 0: none so far. DDP_E_DEVICE when
     * the device failed or was lost. */
    int (*check)(struct ddp_gpu *gpu, struct ddp_error *err);

    /* ---- memory: zeroed; DDP_GPU_ALIGN bytes aligned ---- */
    int (*memory)(struct ddp_gpu *gpu, size_t *free, size_t *total, struct ddp_error *err);
    int (*alloc)(struct ddp_gpu *gpu, size_t bytes, void **out, struct ddp_error *err);
    void (*release)(struct ddp_gpu *gpu, void *p); /* NULL is fine */
    int (*alloc_pinned)(struct ddp_gpu *gpu, size_t bytes, void **out,
                        struct ddp_error *err); /* host; both may touch it */
    void (*release_pinned)(struct ddp_gpu *gpu, void *p);

    /* ---- streams, events ---- */
    int (*stream_create)(struct ddp_gpu *gpu, bool high_priority, struct ddp_gpu_stream **out,
                         struct ddp_error *err);
    void (*stream_destroy)(struct ddp_gpu_stream *s);
    int (*event_create)(struct ddp_gpu *gpu, struct ddp_gpu_event **out, struct ddp_error *err);
    void (*event_destroy)(struct ddp_gpu_event *e);
    void (*record)(struct ddp_gpu_event *e, struct ddp_gpu_stream *s); /* the event is the work on s so far */
    void (*wait)(struct ddp_gpu_stream *s,
                 struct ddp_gpu_event *e);            /* later work on s comes after the event */
    bool (*reached)(struct ddp_gpu_event *e);         /* true also after a failure: check() tells */
    bool (*idle)(struct ddp_gpu_stream *s);           /* all its work is done; true after a failure */
    void *(*stream_handle)(struct ddp_gpu_stream *s); /* its cudaStream_t */
    /* Keep a failure of work that others enqueued on it, as "WHAT: WHY". */
    void (*stream_fail)(struct ddp_gpu_stream *s, const char *what, const char *why);
    /* Between device memory, and to and from pinned memory; asynchronous. */
    void (*copy)(struct ddp_gpu_stream *s, void *to, const void *from, size_t bytes);
    void (*zero)(struct ddp_gpu_stream *s, void *p, size_t bytes);

    /* ---- graphs ----
     * What is enqueued on s and on streams that wait for it, between begin and end, is recorded, not run. */
    void (*capture_begin)(struct ddp_gpu_stream *s);
    int (*capture_end)(struct ddp_gpu_stream *s, struct ddp_gpu_graph **out, struct ddp_error *err);
    void (*launch)(struct ddp_gpu_stream *s, struct ddp_gpu_graph *g);
    void (*graph_destroy)(struct ddp_gpu_graph *g);

    /* ---- vendor libraries ----
     * A plan is chosen once: `lock` NULL takes the first deterministic algorithm of the library's heuristics,
     * tune measures them on the device and takes the fastest; else `lock` is the text that an earlier plan
     * gave and exactly that algorithm is taken, or DDP_E_CONFIG. DDP_E_RESOURCE: there is none; with an
     * epilogue that is to be expected. run: workspace of plan_workspace() bytes, aligned; bias: NULL without
     * an epilogue. */
    int (*conv_plan)(struct ddp_gpu *gpu, const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass,
                     const char *lock, bool tune, struct ddp_gpu_plan **out, struct ddp_error *err);
    /* The two that the pass reads and the one that it writes; see enum ddp_gpu_conv_pass. */
    void (*conv_run)(struct ddp_gpu_stream *s, const struct ddp_gpu_plan *plan, void *x, void *w, void *y,
                     const float *bias, void *workspace);
    int (*matmul_plan)(struct ddp_gpu *gpu, const struct ddp_gpu_matmul *m, const char *lock, bool tune,
                       struct ddp_gpu_plan **out, struct ddp_error *err);
    void (*matmul_run)(struct ddp_gpu_stream *s, const struct ddp_gpu_plan *plan, const void *a,
                       const void *b, void *d, const void *bias, void *workspace);
    size_t (*plan_workspace)(const struct ddp_gpu_plan *plan);
    const char *(*plan_lock)(const struct ddp_gpu_plan *
                                 plan); /* printable ASCII without quotes or backslashes; owned by the plan */
    void (*plan_destroy)(struct ddp_gpu_plan *plan);

    /* ---- NCCL. Counts are of 4-byte floats unless it says bytes. ---- */
    int (*comm_id)(char id[DDP_GPU_ID_BYTES], struct ddp_error *err); /* on one rank, then sent to all */
    /* Collective; ends with an error after timeout_s. */
    int (*comm_open)(struct ddp_gpu *gpu, const char id[DDP_GPU_ID_BYTES], int rank, int size,
                     enum ddp_gpu_sharing share, double timeout_s, struct ddp_gpu_comm **out,
                     struct ddp_error *err);
    void (*comm_close)(struct ddp_gpu_comm *c, bool abort); /* abort: do not wait for others. NULL is fine */
    int (*comm_check)(struct ddp_gpu_comm *c,
                      struct ddp_error *err); /* asynchronous errors of NCCL; 0: none */
    void (*group_begin)(struct ddp_gpu_comm *c);
    void (*group_end)(struct ddp_gpu_comm *c);
    void (*send)(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, const float *p, size_t count, int to);
    void (*recv)(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count, int from);
    void (*bcast)(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count,
                  int root); /* in place */
    void (*allreduce)(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p,
                      size_t count); /* in place, sum */
    /* In place: [size][count], of which rank r has row r. */
    void (*allgather)(struct ddp_gpu_comm *c, struct ddp_gpu_stream *s, float *p, size_t count);

    /* ---- kernels of our own ---- */
    const struct ddp_gpu_kernels *kernels;
};

/* What libddp_cuda.so exports under this name. */
#define DDP_GPU_ENTRY "ddp_cuda_plugin"
typedef const struct ddp_gpu_api *(*ddp_gpu_entry_fn)(void);

/* Open the plug-in, once in a process: the file that DDP_CUDA_PLUGIN names, else libddp_cuda.so beside the
 * program, in ../lib of it, or where the loader finds it. DDP_E_RESOURCE: not there or cannot be loaded, with
 * the loader's reason; another version. */
int ddp_gpu_api_open(const struct ddp_gpu_api **out, struct ddp_error *err);

#ifdef __cplusplus
}
#endif
#endif
