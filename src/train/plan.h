/* What a run is before anything of it is made: how many steps of what, and this rank's part in them. A pure
 * function of config, data and ranks. Private to src/train. */
#ifndef DDP_TRAIN_PLAN_H
#define DDP_TRAIN_PLAN_H

#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "reduce/plan.h"

struct ddp_train_plan {
    struct ddp_rank_plan ranks; /* which shards of a step, and of an evaluation batch, are mine */
    int64_t batch;              /* samples of a step: train.batch * train.accumulate */
    int shard_batch;            /* samples of a shard, the padding included */
    int64_t per_epoch;          /* steps */
    int64_t total_steps;        /* of train.epochs: what schedules scale to */
    int64_t last_step;          /* where that, or train.max_steps, ends the run */
};

/* Local; the same code on all ranks. DDP_E_CONFIG: more ranks than shards. The steps are filled in later. */
int ddp_train_plan_init(struct ddp_train_plan *p, const struct ddp_config *cfg, const struct ddp_comm *comm,
                        struct ddp_error *err);
/* The steps, once the training set is open. samples: in it; 0: there is none, the run only evaluates. */
void ddp_train_plan_steps(struct ddp_train_plan *p, const struct ddp_config *cfg, int64_t samples);

/* What the config asks for after a step, by the steps that are done. */
bool ddp_train_plan_log_due(const struct ddp_train_plan *p, const struct ddp_config *cfg, int64_t step);
bool ddp_train_plan_trail_due(const struct ddp_config *cfg, int64_t step);
bool ddp_train_plan_save_due(const struct ddp_config *cfg, int64_t step);
/* Whether the step that was just made, or resumed at, ends an epoch after which eval.every_epochs asks for an
 * evaluation; and whether the state is from before it, or before that of the end: a stop leaves them out. */
bool ddp_train_plan_eval_due(const struct ddp_config *cfg, const struct ddp_train_state *s);
bool ddp_train_plan_eval_owed(const struct ddp_train_plan *p, const struct ddp_config *cfg,
                              const struct ddp_train_state *s);

#endif
