/* The held-out pass: every sample exactly once at any number of ranks; losses follow the same tree as in
 * training. */
#include <math.h>
#include <stdio.h>
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
static int run(struct ddp_trainer *t, bool *stop, struct ddp_engine_eval *out, struct ddp_error *err)
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
    return status ? status : ddp_engine_eval_end(t->engine, out, err);
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

/* Leaves of a rank in each batch, at most. */
static int most_leaves(const struct ddp_trainer *t)
{
    return (t->plan.ranks.eval_shards + t->comm->size - 1) / t->comm->size;
}

/* What this rank found, [batches][most]: into *out, unless it was asked to stop. */
static int gather_mine(struct ddp_trainer *t, bool *stop, struct ddp_eval_leaf *out, struct ddp_error *err)
{
    const int mine = t->engine->eval_shards, most = most_leaves(t);
    struct ddp_engine_eval found = {0};
    const int status = run(t, stop, &found, err);
    if (status || *stop)
        return status;
    for (int64_t b = 0; b < t->engine->eval_batches; b++)
        for (int s = 0; s < mine; s++) {
            const int64_t at = b * mine + s;
            const struct ddp_bad_loss bad = {.step = t->state.step,
                                             .index = b,
                                             .shard = t->plan.ranks.eval_first + s,
                                             .loss = found.loss[at]};
            if (!isfinite(found.loss[at]))
                return ddp_trainer_bad_loss(t, &bad, err);
            out[b * most + s] = (struct ddp_eval_leaf){
                found.loss[at], found.error ? found.error[at] : (float)found.correct[at]};
        }
    return 0;
}

/* The leaves of a batch, in order of shards: those of the ranks in order of seats. all:
 * [ranks][batches][most] */
static void line_up(const struct ddp_trainer *t, int64_t batch, const struct ddp_eval_leaf *all,
                    struct ddp_eval_leaf *out)
{
    const int S = t->plan.ranks.eval_shards, most = most_leaves(t), size = t->comm->size;
    for (int seat = 0; seat < size; seat++) {
        const int first = ddp_tree_first_shard(S, size, seat), last = ddp_tree_first_shard(S, size, seat + 1);
        const struct ddp_eval_leaf *its =
            all + ((int64_t)t->comm->rank_at[seat] * t->engine->eval_batches + batch) * most;
        for (int s = first; s < last; s++)
            out[s] = its[s - first];
    }
}

/* The sums over all batches, from the leaves of all ranks. */
static void add_up(struct ddp_trainer *t, const struct ddp_eval_leaf *all)
{
    const int S = t->plan.ranks.eval_shards;
    const struct ddp_dataset *ds = t->test_set;
    const double count = (double)ds->info.count;
    const bool real = ddp_trainer_real(t), unscale = ds->targets.n == 1; /* of several: in deviations */
    struct ddp_eval_leaf *leaf = ddp_calloc((size_t)S, sizeof *leaf);
    float *losses = ddp_malloc((size_t)S * sizeof *losses), *scores = ddp_malloc((size_t)S * sizeof *scores);
    double loss = 0, score = 0;
    for (int64_t b = 0; b < t->engine->eval_batches; b++) {
        float sum;
        line_up(t, b, all, leaf);
        for (int s = 0; s < S; s++) {
            losses[s] = leaf[s].loss;
            scores[s] = leaf[s].score;
        }
        ddp_tree_sum_float(S, 1, losses, &sum);
        loss += sum;
        ddp_tree_sum_float(S, 1, scores, &sum); /* right answers, exactly, or errors */
        score += sum;
    }
    free(losses);
    free(scores);
    free(leaf);
    t->eval.count = ds->info.count;
    t->eval.loss = loss / count;
    t->eval.accuracy = real ? NAN : score / count;
    t->eval.error = real ? score / count * (unscale ? ds->targets.std[0] : 1) : NAN;
}

int ddp_trainer_evaluate(struct ddp_trainer *t, bool *stop, struct ddp_error *err)
{
    const size_t leaves = (size_t)t->engine->eval_batches * (size_t)most_leaves(t);
    struct ddp_eval_leaf *mine = ddp_calloc(leaves, sizeof *mine),
                         *all = ddp_calloc(leaves * (size_t)t->comm->size, sizeof *all);
    bool asked = false;
    int status = ddp_engine_eval_begin(t->engine, err);
    if (status == 0)
        status = gather_mine(t, &asked, mine, err);
    status = ddp_comm_agree(t->comm, status, err); /* every leaf is there, or all ranks fail alike */
    t->failed_together = status != 0;
    if (status == 0)
        status = agree_on_stop(t, &asked, err);
    *stop = asked;
    if (status == 0 && !asked)
        status = ddp_comm_allgather(t->comm, mine, all, leaves * sizeof *mine, err);
    if (status == 0 && !asked)
        add_up(t, all);
    free(all);
    free(mine);
    return status;
}

const char *ddp_trainer_score(const struct ddp_trainer *t, char buf[64])
{
    if (isnan(t->eval.accuracy))
        snprintf(buf, 64, "mean absolute error %.4g", t->eval.error);
    else
        snprintf(buf, 64, "accuracy %.2f %%", 100 * t->eval.accuracy);
    return buf;
}
