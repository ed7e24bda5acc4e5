/*
 * The face of src/checkpoint: what a run needs to go on, at any number of ranks, as a folder that is complete
 * or absent.
 *
 *   step-00000500/
 *     model.safetensors       parameters and running statistics, plain layouts and PyTorch's names
 *     optimizer.safetensors   state arrays, "TENSOR.momentum"
 *     model_ema.safetensors   the model with the averages of optim.ema in place of its parameters
 *     config.cfg              the resolved config that it was made under
 *     state.json              integers and exact floats (hex), hashes of config, data and files
 *     ...                     what the engine adds (ddp_saver_attach)
 *
 * Written as step-00000500.tmp-PID, synced, renamed.
 */
#ifndef DDP_CHECKPOINT_H
#define DDP_CHECKPOINT_H

#include "checkpoint/safetensors.h"
#include "model/model.h"
#include "optim/optim.h"

struct ddp_train_state {  /* everything but the arrays */
    int64_t step;         /* steps done */
    int64_t epoch, batch; /* where the loader goes on */
    int64_t batches_tracked;
    double best_loss, best_accuracy; /* of evaluations; best_step < 0: none yet */
    int64_t best_step;
    int64_t evals_since_best;
    double epoch_loss_sum; /* partial sums of the epoch */
    int64_t epoch_correct, epoch_count;
    int64_t evaluations;
    bool end_eval_owed; /* training ended here, and a stop left out the evaluation of that end */
    double loss_scale;  /* fp16; 1 without */
    int64_t loss_scale_good, loss_scale_skipped;
    char config_hash[65]; /* of the config and what the engine adds */
    char engine[65];      /* hash of what the engine adds to the config; "" nothing */
    char experiment[65]; /* ddp_config_experiment; this and what follows is empty or 0 in files of format 2 */
    char train_data[65], test_data[65]; /* digests of the data sets */
    int64_t saved_ms; /* when, milliseconds since 1970 in UTC; grows from each save to the next */
};

/* A copy of the model and optimizer in plain layouts, taken at a step boundary; writing it may then go on in
 * the background. */
struct ddp_snapshot;
/* Allocates for this model and optimizer (optim NULL: model only), once. */
int ddp_snapshot_create(const struct ddp_model *m, struct ddp_optim *o, struct ddp_snapshot **out,
                        struct ddp_error *err);
void ddp_snapshot_destroy(struct ddp_snapshot *s);
void ddp_snapshot_take(struct ddp_snapshot *s, const float *params, const struct ddp_train_state *state);
void ddp_snapshot_hash(const struct ddp_snapshot *s, char hex[65]); /* weights_hash of what was taken */

/* The tensors that were taken, of the model or of the optimizer, in file form; data points into the snapshot.
 * free() the list; *n may be 0. */
struct ddp_st_tensor *ddp_snapshot_tensors(const struct ddp_snapshot *s, bool optimizer, int *n);

/* Writes checkpoints of one run, on rank 0, in a thread of its own when background is set. */
struct ddp_saver;
/* dir: RUN/checkpoints; made when missing. What a killed writer left in it is removed. keep: 0 keeps all. */
int ddp_saver_create(const char *dir, int keep, bool background, struct ddp_saver **out,
                     struct ddp_error *err);
/* A small file of this name and text goes into every checkpoint from now on, in the place of one of the same
 * name; both are copied. At most DDP_SAVER_ATTACHED. */
enum { DDP_SAVER_ATTACHED = 4 };
void ddp_saver_attach(struct ddp_saver *s, const char *name, const char *text);
/* The file behind fd (not owned; open until destroy) is on disk before each checkpoint from now on: the
 * records of the steps that lead up to it. At most DDP_SAVER_FIRST; -1 is ignored. */
enum { DDP_SAVER_FIRST = 4 };
void ddp_saver_sync_first(struct ddp_saver *s, int fd);
/* What is listed there (not owned; NULL is fine) is on disk before the next checkpoint is. */
void ddp_saver_settle_first(struct ddp_saver *s, struct ddp_later *later);
/* Save the snapshot as DIR/step-N, unless a parameter or statistic in it is not finite: DDP_E_NUMERIC names
 * it (and mark it best: never removed until a better one comes). Waits for the
 * save before it. The snapshot is in use until the next ddp_saver_wait. An error of a background save is
 * returned by the next call. */
int ddp_saver_save(struct ddp_saver *s, struct ddp_snapshot *snap, bool best, struct ddp_error *err);
int ddp_saver_wait(struct ddp_saver *s, struct ddp_error *err);
/* The end of a run that nobody tidies any more: wait, and leave nothing unfinished in the folder, also after
 * a power cut. */
int ddp_saver_finish(struct ddp_saver *s, struct ddp_error *err);
void ddp_saver_destroy(struct ddp_saver *s); /* waits; NULL is fine */

/* The newest complete and undamaged checkpoint under a run directory (or the checkpoint folder itself): its
 * path into path[size]. Damaged ones, and those with a parameter or statistic that is not finite, are skipped
 * with a warning that gives the reason. */
int ddp_checkpoint_find(const char *run_or_checkpoint, char *path, int size, struct ddp_error *err);
/* What the newest checkpoint of a run says of itself; whether it is whole is ddp_checkpoint_find's to say.
 * DDP_E_CHECKPOINT: it has none. */
int ddp_checkpoint_newest(const char *run_dir, struct ddp_train_state *state, struct ddp_error *err);
/* Checkpoints in dir of later steps than `step` are of a future that is left: they go into a new folder
 * dir/abandoned-N, whose name is put into name[size] ("": there were none). *n: how many. */
int ddp_checkpoint_set_aside(const char *dir, int64_t step, char *name, int size, int *n,
                             struct ddp_error *err);
/* Restore into params (flat) and, when o is not NULL, into its arrays. Checks names, shapes and the model's
 * identity: an error names the first tensor that differs. Call on one rank: the arrays are shared. */
int ddp_checkpoint_load(const char *path, const struct ddp_model *m, float *params, struct ddp_optim *o,
                        struct ddp_train_state *state, struct ddp_error *err);
/* Weights only, by name, from a safetensors file of ours or PyTorch's, or from a run or checkpoint folder.
 * strict: every tensor must be there with its shape, and nothing else (num_batches_tracked may be missing);
 * else those that fit are taken and the rest is named in a warning. None at all is an error. F64, F16 and
 * BF16 are converted. DDP_E_NUMERIC: a tensor that would be taken is not finite. batches_tracked: of the
 * file, 0 without; may be NULL. */
int ddp_weights_load(const char *path, const struct ddp_model *m, float *params, bool strict,
                     int64_t *batches_tracked, struct ddp_error *err);
/* The file that such a path stands for: itself, or model.safetensors (average: model_ema.safetensors) of a
 * checkpoint or of a run's newest one. */
int ddp_weights_find(const char *path, bool average, char *file, int size, struct ddp_error *err);
/* Write model.safetensors alone; and model_ema.safetensors, where the optimizer keeps an average. */
int ddp_snapshot_write_model(const struct ddp_snapshot *s, const char *path, struct ddp_error *err);
bool ddp_snapshot_has_average(const struct ddp_snapshot *s);
int ddp_snapshot_write_average(const struct ddp_snapshot *s, const char *path, struct ddp_error *err);

#endif
