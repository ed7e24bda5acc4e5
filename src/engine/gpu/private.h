/* Private to src/engine/gpu: what the engine of one GPU per rank holds. Steps are enqueued, results come back
 * later; state goes up once and comes down for checkpoints. Nothing waits inside a step, except to bound how
 * far the host runs ahead. The same bits at any number of ranks on one kind of GPU with one plan lock.
 *
 *   engine.c   its life: device, plans, peers; the table
 *   memory.c   what it takes of the card, and taking it
 *   about.c    what it says of itself
 *   slot.c     a batch on its way to the device
 *   step.c     the sequence of a step, capture, results
 *   eval.c     the held-out pass
 *   bad.c      a batch whose loss was not finite, once more
 *   state.c    upload, download
 *   wait.c     waiting, bounded
 *   data.c     the data set on the card */
#ifndef DDP_GPU_ENGINE_PRIVATE_H
#define DDP_GPU_ENGINE_PRIVATE_H

#include "device/lock.h"
#include "engine/gpu/pass.h"
#include "engine/gpu/update.h"
#include "engine/private.h"
#include "reduce/flat_kernels.h"

enum { DDP_GPU_PENDING = 2 }; /* steps that may be enqueued and not collected */

/* One batch on its way to the device: the same layout in pinned and device memory, copied up in one piece.
 *   [step][n of each shard][sample indices][labels or targets][pixels or numbers] */
struct ddp_gpu_slot {
    char *host, *device;
    struct ddp_gpu_event *up;   /* the copy is there */
    struct ddp_gpu_event *done; /* the work that reads it is done */
    bool used;                  /* done was recorded at least once */
    struct ddp_gpu_graph *graph;
    struct ddp_gpu_shard *shard; /* device pointers into it */
    /* the step in it */
    struct ddp_engine_result result;
    char *result_host; /* pinned, written by the device: struct ddp_gpu_outcome, then loss [shards] */
};

struct ddp_gpu_layout { /* of a slot, in bytes */
    size_t n, sample, label, pixels, total;
    size_t picture;    /* of a sample's input */
    size_t answer;     /* of a sample: its label, its targets, or two labels and their parts */
    bool mixed;        /* data.mixup: pictures come as floats, made by the loader */
    int shards, batch; /* batch: samples of a shard */
    bool resident;
};

struct ddp_gpu_about { /* for run.json and messages */
    struct ddp_gpu_info device;
    struct ddp_gpu_versions versions;
    char capability[24];
    size_t bytes; /* device memory of the plan */
};

struct ddp_gpu_engine {
    struct ddp_engine base;
    const struct ddp_gpu_api *api;
    struct ddp_gpu *gpu;
    int device;
    struct ddp_gpu_about about;
    bool made; /* init came to its end */
    struct ddp_gpu_lock *lock;
    struct ddp_text lock_text;
    enum ddp_gpu_type type;
    bool graph;     /* one captured graph per step */
    double timeout; /* s */
    size_t picture; /* bytes of a sample's input */
    size_t answer;  /* and of its label or targets */
    size_t nccl;    /* bytes set aside for NCCL's buffers and kernels */
    bool targets;   /* real ones */

    struct ddp_gpu_comm *comm; /* NULL: one rank */
    int *node_ranks;           /* [nodes] ranks of each */
    struct ddp_gpu_stream *compute, *copy;
    struct ddp_gpu_pass *train, *eval;
    struct ddp_gpu_reduce *reduce;  /* owns the parameters; evaluation only: alone, of one shard */
    struct ddp_gpu_updater updater; /* owns the optimizer's state; evaluation only: zeros */

    /* device memory */
    float *params; /* [flat total], as complete as the reduction's */
    void *weights; /* the same in the compute type; fp32: params */
    uint8_t *data; /* the training set, when resident */
    char *label;   /* host: [count][answer] of it */
    float *loss;   /* [my shards], correct behind it */
    int32_t *correct;
    float **leaf;  /* host: [my shards] */
    bool *masters; /* host: [flat tensors] what passes read in fp32 */

    struct ddp_gpu_layout layout, eval_layout;
    struct ddp_gpu_slot slot[DDP_GPU_PENDING], eval_slot[DDP_GPU_PENDING];
    int64_t enqueued, collected; /* steps of this process */

    float *eval_loss; /* device [batches][eval_shards], correct behind it; eval_host: pinned copy */
    int32_t *eval_correct;
    char *eval_host;
};

/* What evaluations read: the average that optim.ema keeps, else the parameters. */
static inline const float *ddp_gpu_eval_params(const struct ddp_gpu_engine *e)
{
    return e->updater.average ? e->updater.average : e->params;
}

static inline const void *ddp_gpu_eval_weights(const struct ddp_gpu_engine *e)
{
    return e->updater.average ? e->updater.average_weights : e->weights;
}

/* Wait until the event is reached: polls, then sleeps; looks at the device's and NCCL's errors. `what` for
 * the message. */
int ddp_gpu_engine_wait(struct ddp_gpu_engine *e, struct ddp_gpu_event *event, const char *what,
                        struct ddp_error *err);
/* Wait for all work on a stream. */
int ddp_gpu_engine_drain(struct ddp_gpu_engine *e, struct ddp_gpu_stream *s, const char *what,
                         struct ddp_error *err);

/* Slots. */
struct ddp_gpu_layout ddp_gpu_slot_layout(int shards, int batch, size_t picture, size_t answer,
                                          bool resident);
/* Of training: with data.mixup the loader mixes, and brings floats. */
struct ddp_gpu_layout ddp_gpu_slot_train_layout(struct ddp_gpu_engine *e, int batch, bool resident);
int ddp_gpu_slot_create(struct ddp_gpu_engine *e, const struct ddp_gpu_layout *l, struct ddp_gpu_slot *s,
                        struct ddp_error *err);
void ddp_gpu_slot_destroy(struct ddp_gpu_engine *e, struct ddp_gpu_slot *s);
/* Fill the host side from a batch and enqueue the copy; the compute stream waits for it. */
void ddp_gpu_slot_fill(struct ddp_gpu_engine *e, const struct ddp_gpu_layout *l, struct ddp_gpu_slot *s,
                       const struct ddp_batch *batch, const struct ddp_gpu_step *step);
const struct ddp_gpu_step *ddp_gpu_slot_step(const struct ddp_gpu_slot *s); /* on the device */

/* memory.c. Which reduction there will be; the plan against the card, then all of it, in that order. */
struct ddp_gpu_reduce_conf ddp_gpu_engine_reduce_conf(const struct ddp_gpu_engine *e);
struct ddp_optim_device_conf ddp_gpu_engine_optim_conf(const struct ddp_gpu_engine *e);
int ddp_gpu_engine_allocate(struct ddp_gpu_engine *e, struct ddp_error *err);

/* about.c: once everything is made. */
void ddp_gpu_engine_describe(struct ddp_gpu_engine *e);

/* state.c, step.c, eval.c, bad.c: of the table. */
int ddp_gpu_engine_upload(struct ddp_engine *base, struct ddp_error *err);
int ddp_gpu_engine_download(struct ddp_engine *base, struct ddp_error *err);
int ddp_gpu_engine_enqueue(struct ddp_engine *base, const struct ddp_batch *batch, int64_t step,
                           struct ddp_error *err);
int ddp_gpu_engine_collect(struct ddp_engine *base, struct ddp_engine_result *out, struct ddp_error *err);
int ddp_gpu_engine_eval(struct ddp_engine *base, const struct ddp_batch *batch, int64_t index,
                        struct ddp_error *err);
int ddp_gpu_engine_eval_end(struct ddp_engine *base, struct ddp_engine_eval *out, struct ddp_error *err);
void ddp_gpu_engine_find_bad(struct ddp_engine *base, bool training, int64_t step,
                             const struct ddp_batch *batch, int shard, char *text, int size);

/* data.c: whether the training set is to lie on the card, and putting it there. */
bool ddp_gpu_data_fits(const struct ddp_gpu_engine *e, size_t free);
int ddp_gpu_data_load(struct ddp_gpu_engine *e, struct ddp_error *err);

#endif
