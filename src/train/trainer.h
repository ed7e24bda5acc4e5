/* What a rank holds during a run, in four parts: the plan (computed once), what it is made of, the state
 * (what a checkpoint holds) and, on the lead, the records. Private to src/train; the life of it is in
 * trainer.c. */
#ifndef DDP_TRAINER_H
#define DDP_TRAINER_H

#include "train/leg.h"
#include "train/plan.h"
#include "train/times.h"
#include "train/train.h"

struct ddp_run_log;

struct ddp_eval_leaf { /* one shard of one evaluation batch */
    float loss;
    float score; /* right answers, or the sum of errors */
};

struct ddp_eval_board { /* in memory that the ranks of a node share */
    ddp_word asked;     /* some rank was asked to stop: nobody begins another batch */
};

struct ddp_trainer {
    struct ddp_train_options opt;
    struct ddp_config *cfg;
    struct ddp_comm *comm;
    bool lead; /* rank 0: writes files, talks to the user */

    struct ddp_train_plan plan;

    /* what it is made of, in the order of creation */
    struct ddp_pool *pool;
    struct ddp_dataset *train_set, *test_set; /* train_set NULL: the run only evaluates */
    const struct ddp_engine_ops *engine_ops;
    struct ddp_model *model;
    struct ddp_engine *engine;
    struct ddp_loader *loader, *eval_loader;
    struct ddp_eval_board *eval_board;

    struct ddp_train_state state;

    /* what the steps and the evaluations came to */
    const struct ddp_batch *now;     /* of the step that was enqueued last */
    struct ddp_engine_result result; /* of the step that was collected last */
    struct ddp_train_times times;    /* of all */
    struct ddp_time_summary summary; /* what these come to on all ranks, in the end; on the lead */
    struct {                         /* training means of the epoch so far; nan before the first step */
        double loss, accuracy;
    } epoch;
    struct { /* the last evaluation; accuracy with labels, error with real targets, the other nan */
        double loss, accuracy, error;
        int64_t count;
    } eval;

    char experiment[65]; /* hash of the config and what the engine adds */
    /* The file that the weights began with (init.from may name a run or a checkpoint), on the lead; sha256
     * "": none */
    char init_file[4200], init_sha256[65];
    char run_dir[1024];          /* evaluating only: what is evaluated */
    char resumed_from[1024];     /* checkpoint, on the lead; "": from the start */
    struct ddp_data_id data[2];  /* training, held-out: on the lead of a run that trains */
    struct ddp_leg leg;          /* on the lead; its kind on all */
    struct ddp_run_log *log;     /* the lead's, of a run that trains; else NULL */
    struct ddp_probe_log *probe; /* NULL: nothing is asked of the ops */
    double began,
        first_step_s; /* training loop; seconds from the start of the job to the first step, 0: none yet */
    bool stopped;     /* by request */
    bool failed_together; /* the error at hand is the same on all ranks */
};

/* setup.c: everything planned and allocated before step 0; collective. */
int ddp_trainer_setup(struct ddp_trainer *t, struct ddp_error *err);
void ddp_trainer_teardown(struct ddp_trainer *t, bool failed); /* local; of a half-made one, too */

/* step.c: one step; *stop is set when any rank was asked to stop (the same on all). */
int ddp_trainer_step(struct ddp_trainer *t, bool *stop, struct ddp_error *err);
/* The engine's state into the host's copy, t->state included; collective. */
int ddp_trainer_fetch(struct ddp_trainer *t, struct ddp_error *err);
double ddp_trainer_lr(const struct ddp_trainer *t); /* of the step that was enqueued last */

/* evaluate.c: the whole test split, each sample once; results in t->eval, the same on all ranks. *stop is set
 * when any rank was asked to stop before it was over (the same on all): then there are no results. */
int ddp_trainer_evaluate(struct ddp_trainer *t, bool *stop, struct ddp_error *err);
/* The data has real targets: no answer is right or wrong. */
static inline bool ddp_trainer_real(const struct ddp_trainer *t)
{
    return t->test_set->info.targets > 0;
}
/* The last evaluation in words: "accuracy 97.10 %", "mean absolute error 0.83". Returns buf. */
const char *ddp_trainer_score(const struct ddp_trainer *t, char buf[64]);

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

#endif
