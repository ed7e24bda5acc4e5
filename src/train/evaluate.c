/* The held-out pass: every sample exactly once at any number of ranks; losses follow the same tree as in
 * training. */
#include <math.h>
#include <stdlib.h>

#include "reduce/tree.h"
#include "train/trainer.h"

/* My shards of every batch. */
static int run(struct ddp_trainer *t, const float **loss, const int32_t **correct, struct ddp_error *err)
{
    int status = ddp_loader_seek(t->eval_loader, 0, 0, err);
    for (int64_t b = 0; b < t->engine->eval_batches && status == 0; b++) {
        const struct ddp_batch *batch;
        ddp_pulse_phase(DDP_PHASE_EVAL_DATA);
        status = ddp_loader_next(t->eval_loader, &batch, err);
        ddp_pulse_phase(DDP_PHASE_EVALUATION);
        if (status == 0)
            status = ddp_engine_eval(t->engine, batch, b, err);
    }
    return status ? status : ddp_engine_eval_end(t->engine, loss, correct, err);
}

/* Into t->eval_leaf, which all ranks see. */
static int publish(struct ddp_trainer *t, const float *loss, const int32_t *correct, struct ddp_error *err)
{
    const struct ddp_rank_plan *p = &t->plan.ranks;
    const int S = p->eval_shards, first = p->eval_first, mine = t->engine->eval_shards;
    for (int64_t b = 0; b < t->engine->eval_batches; b++)
        for (int s = 0; s < mine; s++) {
            const int64_t at = b * mine + s;
            const struct ddp_bad_loss bad = {
                .step = t->state.step, .index = b, .shard = first + s, .loss = loss[at]};
            if (!isfinite(loss[at]))
                return ddp_trainer_bad_loss(t, &bad, err);
            t->eval_leaf[b * S + first + s] = (struct ddp_eval_leaf){loss[at], correct[at]};
        }
    return 0;
}

int ddp_trainer_evaluate(struct ddp_trainer *t, struct ddp_error *err)
{
    const int S = t->plan.ranks.eval_shards;
    const int64_t batches = t->engine->eval_batches, count = t->test_set->info.count;
    const float *mine;
    const int32_t *right;
    int status = run(t, &mine, &right, err);
    if (status == 0)
        status = publish(t, mine, right, err);
    status = ddp_comm_agree(t->comm, status, err); /* every leaf is written, or all ranks fail alike */
    t->failed_together = status != 0;
    if (status)
        return status;

    double loss = 0;
    int64_t correct = 0;
    float *leaf = ddp_malloc((size_t)S * sizeof *leaf);
    for (int64_t b = 0; b < batches; b++) {
        float sum;
        for (int s = 0; s < S; s++) {
            leaf[s] = t->eval_leaf[b * S + s].loss;
            correct += t->eval_leaf[b * S + s].correct;
        }
        ddp_tree_sum_float(S, 1, leaf, &sum);
        loss += sum;
    }
    free(leaf);
    t->eval.count = count;
    t->eval.loss = loss / (double)count;
    t->eval.accuracy = (double)correct / (double)count;
    return ddp_comm_barrier(t->comm, err); /* nobody overwrites leaves that another still reads */
}
