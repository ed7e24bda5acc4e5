/* The held-out pass: every sample exactly once at any number of ranks; losses follow the same tree as in
 * training. */
#include <math.h>
#include <stdlib.h>

#include "reduce/tree.h"
#include "train/trainer.h"

/* Whether this rank, or another one of the node, was asked to stop. */
static bool is_asked(const struct ddp_trainer *t)
{
    ddp_word *asked = &t->eval_board->asked;
    if (atomic_load_explicit(asked, memory_order_relaxed) != 0)
        return true;
    if (!t->engine->conf.stop_requested())
        return false;
    atomic_store_explicit(asked, 1, memory_order_relaxed);
    return true;
}

/* My shards of every batch, or until *stop: ranks need not end with the same batch, as nothing is exchanged
 * before all have left. But all begin the first one: an engine may gather for it what it evaluates. */
static int run(struct ddp_trainer *t, bool *stop, const float **loss, const int32_t **correct,
               struct ddp_error *err)
{
    int status = ddp_loader_seek(t->eval_loader, 0, 0, err);
    for (int64_t b = 0; b < t->engine->eval_batches && status == 0; b++) {
        const struct ddp_batch *batch;
        if (b > 0 && (*stop = is_asked(t)))
            return 0;
        ddp_pulse_phase(DDP_PHASE_EVAL_DATA);
        status = ddp_loader_next(t->eval_loader, &batch, err);
        ddp_pulse_phase(DDP_PHASE_EVALUATION);
        if (status == 0)
            status = ddp_engine_eval(t->engine, batch, b, err);
    }
    return status ? status : ddp_engine_eval_end(t->engine, loss, correct, err);
}

/* One that broke off ends it for all: who was through had results that nobody can use. */
static int agree_on_stop(const struct ddp_trainer *t, bool *stop, struct ddp_error *err)
{
    const unsigned char mine = *stop;
    unsigned char *all = ddp_malloc((size_t)t->comm->size);
    const int status = ddp_comm_allgather(t->comm, &mine, all, 1, err);
    for (int r = 0; r < t->comm->size && status == 0; r++)
        *stop |= all[r];
    free(all);
    return status;
}

/* Onto the board, which all ranks see. */
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
            t->eval_board->leaf[b * S + first + s] = (struct ddp_eval_leaf){loss[at], correct[at]};
        }
    return 0;
}

int ddp_trainer_evaluate(struct ddp_trainer *t, bool *stop, struct ddp_error *err)
{
    const int S = t->plan.ranks.eval_shards;
    const int64_t batches = t->engine->eval_batches, count = t->test_set->info.count;
    const struct ddp_eval_leaf *all = t->eval_board->leaf;
    const float *mine;
    const int32_t *right;
    bool asked = false;
    int status = run(t, &asked, &mine, &right, err);
    if (status == 0 && !asked)
        status = publish(t, mine, right, err);
    status = ddp_comm_agree(t->comm, status, err); /* every leaf is written, or all ranks fail alike */
    t->failed_together = status != 0;
    if (status == 0)
        status = agree_on_stop(t, &asked, err);
    *stop = asked;
    if (status || asked)
        return status;

    double loss = 0;
    int64_t correct = 0;
    float *leaf = ddp_malloc((size_t)S * sizeof *leaf);
    for (int64_t b = 0; b < batches; b++) {
        float sum;
        for (int s = 0; s < S; s++) {
            leaf[s] = all[b * S + s].loss;
            correct += all[b * S + s].correct;
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
