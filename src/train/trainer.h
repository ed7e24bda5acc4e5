/* What a rank holds during a run. Private to src/train; the life of it is in trainer.c. */
#ifndef DDP_TRAINER_H
#define DDP_TRAINER_H

#include "engine/engine.h"
#include "train/train.h"

struct ddp_eval_leaf { /* one shard of one evaluation batch */
    float loss;
    int32_t correct;
};

struct ddp_trainer {
    struct ddp_train_options opt;
    struct ddp_config *cfg;
    struct ddp_comm *comm;
    bool lead; /* rank 0: writes files, talks to the user */

    /* plan: the same on every rank */
    int shards;                                /* leaves of a step: train.shards * train.accumulate */
    int64_t batch;                             /* samples of a step: train.batch * train.accumulate */
    int64_t per_epoch, total_steps, last_step; /* steps; last_step: where max_steps or total ends the run */

    /* what it is made of, in the order of creation */
    struct ddp_pool *pool;
    struct ddp_dataset *train_set, *test_set;
    struct ddp_model *model;
    const struct ddp_flat *flat;
    const struct ddp_engine_ops *engine_ops;
    struct ddp_engine *engine;
    struct ddp_loader *loader, *eval_loader;
    struct ddp_eval_leaf *eval_leaf; /* shared, [batches][train.shards] */
    int first_shard, my_shards;

    struct ddp_train_state state;
    char config_hash[65]; /* of the experiment: config and what the engine adds */

    /* of the step at hand */
    const struct ddp_batch *now;
    double step_loss, step_correct; /* of the step that was collected last: sums over the global batch */
    int64_t step_count;             /* samples in it */
    double step_norm;               /* of the gradient when clipping, else -1 */

    /* lead only */
    char run_dir[1024];
    char resumed_from[1024];
    struct ddp_snapshot *snapshot;
    struct ddp_saver *saver;
    struct ddp_metrics *metrics;
    struct ddp_trail *trail; /* NULL: off */
    int lock;                /* holds the run directory against a second process; -1: none */
    struct ddp_progress progress;
    double began;                              /* training loop */
    double in_steps;                           /* seconds in steps, for images/s */
    int64_t samples;                           /* trained by this process */
    double first_step_at;                      /* seconds from the start of the job */
    double window_s, window_data, window_comm; /* since the last record */
    int64_t window_samples, window_steps;
    double eval_loss, eval_accuracy;
    double epoch_loss, epoch_accuracy; /* training means of the epoch so far; nan before the first step */
    int64_t eval_count;
    struct ddp_data_id data_id[2];
    bool stopped;         /* by request */
    bool failed_together; /* the error at hand is the same on all ranks */
};

/* setup.c: everything planned and allocated before step 0; collective. */
int ddp_trainer_setup(struct ddp_trainer *t, struct ddp_error *err);
void ddp_trainer_teardown(struct ddp_trainer *t, bool failed); /* local; of a half-made one, too */
/* The engine's state into the host's copy, t->state included; collective. */
int ddp_trainer_fetch(struct ddp_trainer *t, struct ddp_error *err);

/* step.c: one step; *stop is set when any rank was asked to stop (the same on all). */
int ddp_trainer_step(struct ddp_trainer *t, bool *stop, struct ddp_error *err);

/* bad_loss.c: words a loss that is not finite, with the first tensor that is not. Of a step all ranks call it
 * (shard -1: none of mine, returns 0); of an evaluation the rank that has the shard. DDP_E_NUMERIC. */
#define DDP_NUMERIC_CURE "try a lower optim.lr, more optim.warmup_steps, or optim.clip_norm"
struct ddp_bad_loss {
    bool training;
    int64_t step, epoch, index; /* from 0; of an evaluation: steps done */
    int shard;
    float loss;
};
int ddp_trainer_bad_loss(struct ddp_trainer *t, const struct ddp_bad_loss *bad, struct ddp_error *err);

/* trainer.c: the learning rate of the step that was enqueued last. */
double ddp_trainer_lr(const struct ddp_trainer *t);

/* evaluate.c: the whole test split, each sample once; results in t->eval_*, the same on all ranks. */
int ddp_trainer_evaluate(struct ddp_trainer *t, struct ddp_error *err);

/* report.c (lead only): run directory, records, progress, checkpoints, run.json. */
int ddp_trainer_open_run(struct ddp_trainer *t, struct ddp_error *err);
bool ddp_trainer_trail_due(const struct ddp_trainer *t); /* after this step; the same on all ranks */
int ddp_trainer_record_step(struct ddp_trainer *t, double seconds, struct ddp_error *err);
int ddp_trainer_record_eval(struct ddp_trainer *t, double seconds, bool best, struct ddp_error *err);
int ddp_trainer_save(struct ddp_trainer *t, bool best, struct ddp_error *err);
/* run.json says that the run failed, and why; best effort. */
void ddp_trainer_fail_run(struct ddp_trainer *t, const char *reason);
int ddp_trainer_close_run(struct ddp_trainer *t, const char *status, struct ddp_result *result,
                          struct ddp_error *err);

#endif
