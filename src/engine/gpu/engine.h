/* Training on one GPU per rank, as the trainer sees it: steps are enqueued, results come back later; state
 * goes up once and comes down for checkpoints. Nothing here waits inside a step, except to bound how far the
 * host runs ahead.
 *
 *   create -> upload -> { enqueue, collect }* -> download ...        evaluate at any time when nothing is
 * pending
 *
 * The results of the numerics contract hold: the same bits at any number of ranks on one kind of GPU with one
 * plan lock. */
#ifndef DDP_GPU_ENGINE_H
#define DDP_GPU_ENGINE_H

#include "comm/comm.h"
#include "device/lock.h"
#include "model/model.h"
#include "optim/optim.h"

struct ddp_gpu_engine;

struct ddp_gpu_engine_conf {
    const struct ddp_gpu_api *api; /* as ddp_gpu_decide() gave it */
    const struct ddp_config *cfg;
    const struct ddp_model *model; /* built for a GPU */
    struct ddp_comm *comm;         /* of the host: agreement, exchange of ids */
    struct ddp_dataset *train_set; /* NULL: evaluation only */
    struct ddp_dataset *test_set;
    struct ddp_optim *optim; /* NULL: evaluation only; its arrays receive the state for checkpoints */
    const char *gpu;         /* UUID of the device; NULL: by local rank */
    int64_t total_steps, steps_per_epoch; /* what schedules scale to */
    int shards, first_shard, my_shards;   /* of a step: leaves of the tree */
    const char *lock_path;                /* plan lock to replay, on rank 0; NULL: choose anew */
    bool relock;                          /* a lock that does not fit is replaced, not an error */
};

/* Collective. Opens the device, chooses or replays plans, checks the memory plan against the card, allocates,
 * meets the other ranks. Errors, the same on all ranks: DDP_E_RESOURCE no driver, no device, fewer devices
 * than ranks, out of memory (with the plan and the largest batch that fits); DDP_E_CONFIG a layer or
 * precision that the device lacks, a lock of another machine; DDP_E_COMM. */
int ddp_gpu_engine_create(const struct ddp_gpu_engine_conf *conf, struct ddp_gpu_engine **out,
                          struct ddp_error *err);
/* abort: peers may be gone, wait for nobody. NULL is fine. */
void ddp_gpu_engine_destroy(struct ddp_gpu_engine *e, bool abort);

struct ddp_gpu_about { /* for run.json and messages */
    struct ddp_gpu_info device;
    struct ddp_gpu_versions versions;
    const char *precision;
    bool graph, resident_data;
    size_t bytes; /* device memory of the plan */
    char lock_hash[65];
};
const struct ddp_gpu_about *ddp_gpu_engine_about(const struct ddp_gpu_engine *e);
const struct ddp_gpu_lock *ddp_gpu_engine_lock(const struct ddp_gpu_engine *e);
/* How the training loader is to deliver: the data set may be on the card. */
enum ddp_loader_form ddp_gpu_engine_form(const struct ddp_gpu_engine *e);

/* ---- state ---- */

struct ddp_gpu_scaler { /* loss scaling, as it goes into a checkpoint */
    double scale;
    int64_t good, skipped;
};

/* params [flat total], optimizer state from conf.optim's arrays. Blocks. */
int ddp_gpu_engine_upload(struct ddp_gpu_engine *e, const float *params, const struct ddp_gpu_scaler *scaler,
                          struct ddp_error *err);
/* Parameters and statistics into params (NULL: not on this rank), each rank its slices of the optimizer state
 * into conf.optim's shared arrays; a barrier of the host's comm has to follow before anybody reads those.
 * Nothing may be pending. */
int ddp_gpu_engine_download(struct ddp_gpu_engine *e, float *params, struct ddp_gpu_scaler *scaler,
                            struct ddp_error *err);

/* ---- steps ---- */

struct ddp_gpu_result {
    int64_t step, epoch, index, count; /* of the batch */
    double loss_sum; /* over the global batch; not finite: this step and all later ones updated nothing */
    int64_t correct;
    bool stop;     /* some rank voted to stop */
    double norm;   /* of the gradient when clipping, else -1 */
    int bad_shard; /* the first shard of this rank with a loss that is not finite; -1: none */
    float bad_loss;
};

enum { DDP_GPU_PENDING = 2 }; /* steps that may be enqueued and not collected */

/* Enqueue step `step` (from 0). At most DDP_GPU_PENDING are pending. */
int ddp_gpu_engine_enqueue(struct ddp_gpu_engine *e, const struct ddp_batch *batch, int64_t step,
                           bool stop_vote, struct ddp_error *err);
int ddp_gpu_engine_pending(const struct ddp_gpu_engine *e);
/* Wait for the oldest pending step. DDP_E_DEVICE, DDP_E_COMM (also: no answer within comm.timeout_s). */
int ddp_gpu_engine_collect(struct ddp_gpu_engine *e, struct ddp_gpu_result *out, struct ddp_error *err);
/* After a loss that is not finite: forward of its batch, loaded again, once more with the parameters that it
 * failed with, which are still there; then the first tensor of `shard` that is not finite as text, for
 * messages. Waits for what is pending and blocks. shard: one of this rank; -1: none, no text is wanted, but
 * where layers are synchronised forward is work of all ranks, so every rank must call it for a training step.
 * training: what collect said; else a batch of the evaluation, and a shard of train.shards. After it nothing
 * may be enqueued or collected. */
void ddp_gpu_engine_find_bad(struct ddp_gpu_engine *e, bool training, int64_t step,
                             const struct ddp_batch *batch, int shard, char *text, int size);

/* ---- evaluation ---- */

/* Forward of my shards of one evaluation batch: shards [first, last) of train.shards; loss and correct (host)
 * are filled when ddp_gpu_engine_eval_end returns. No more than `batches` of conf between begin and end. */
int ddp_gpu_engine_eval(struct ddp_gpu_engine *e, const struct ddp_batch *batch, int64_t index,
                        struct ddp_error *err);
/* Wait for all; loss[i], correct[i] of shard i of mine in batch `index` at [index * my eval shards + i].
 * Owned by the engine. */
int ddp_gpu_engine_eval_end(struct ddp_gpu_engine *e, const float **loss, const int32_t **correct,
                            struct ddp_error *err);

#endif
