/* The held-out pass: every sample exactly once at any number of ranks; losses follow the same tree as in
 * training. */
#include <math.h>
#include <stdlib.h>

#include "reduce/tree.h"
#include "train/trainer.h"

static int check_loss(const struct ddp_trainer *t, int shard, float loss, struct ddp_error *err)
{
    if (isfinite(loss))
        return 0;
    char where[256];
    ddp_cpu_pass_find_bad(t->eval_exec, t->params, 0, where, sizeof where);
    return ddp_fail(err, DDP_E_NUMERIC,
                    "evaluation after step %lld: the loss of shard %d (rank %d) is %s; first bad tensor: %s. "
                    "This state is not saved; try a lower optim.lr, more optim.warmup_steps, or "
                    "optim.clip_norm",
                    (long long)t->state.step, shard, t->comm->rank, isnan(loss) ? "nan" : "infinite", where);
}

/* My shards of every batch, into t->eval_leaf. */
static int run_cpu(struct ddp_trainer *t, int first, int last, struct ddp_error *err)
{
    int S = (int)t->cfg->train.shards;
    int64_t batches = ddp_loader_batches(t->eval_loader);
    int status = ddp_loader_seek(t->eval_loader, 0, 0, err);
    for (int64_t b = 0; b < batches && status == 0; b++) {
        const struct ddp_batch *batch;
        status = ddp_loader_next(t->eval_loader, &batch, err);
        for (int s = first; s < last && status == 0; s++) {
            float loss;
            int64_t correct;
            status = ddp_cpu_pass_forward(t->eval_exec, t->params, batch->shard + (s - first), 1, 0,
                                          batch->count, &loss, &correct, err);
            if (status == 0)
                status = check_loss(t, s, loss, err);
            if (status == 0)
                t->eval_leaf[b * S + s] = (struct ddp_eval_leaf){loss, (int32_t)correct};
        }
    }
    return status;
}

int ddp_trainer_evaluate(struct ddp_trainer *t, struct ddp_error *err)
{
    const int S = t->ranks.eval_shards;
    int64_t batches = ddp_loader_batches(t->eval_loader), count = t->test_set->info.count;
    int status = t->engine ? ddp_trainer_gpu_evaluate(t, err)
                           : run_cpu(t, t->ranks.eval_first, t->ranks.eval_last, err);
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
    t->eval_count = count;
    t->eval_loss = loss / (double)count;
    t->eval_accuracy = (double)correct / (double)count;
    return ddp_comm_barrier(t->comm, err); /* nobody overwrites leaves that another still reads */
}
