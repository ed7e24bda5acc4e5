/* A loss that is not finite: which tensor stopped being finite first, and what to do about it. */
#include <math.h>

#include "train/trainer.h"

/* The batch once more; NULL on all ranks of a step where one could not load it. */
static const struct ddp_batch *load_again(struct ddp_trainer *t, const struct ddp_bad_loss *bad)
{
    struct ddp_loader *loader = bad->training ? t->loader : t->eval_loader;
    const struct ddp_batch *batch = NULL;
    struct ddp_error ignored = {0};
    int status = ddp_loader_seek(loader, bad->epoch, bad->index, &ignored);
    if (status == 0)
        status = ddp_loader_next(loader, &batch, &ignored);
    if (bad->training)
        status = ddp_comm_agree(t->comm, status, &ignored);
    return status ? NULL : batch;
}

int ddp_trainer_bad_loss(struct ddp_trainer *t, const struct ddp_bad_loss *bad, struct ddp_error *err)
{
    const struct ddp_batch *batch = load_again(t, bad);
    const char *kind = isnan(bad->loss) ? "nan" : "infinite";
    char where[512];
    ddp_engine_find_bad(t->engine, bad->training, bad->step, batch, bad->shard, where, sizeof where);
    if (bad->shard < 0)
        return 0;
    return ddp_fail(
        err, DDP_E_NUMERIC,
        "%s %lld: the loss of shard %d (rank %d) is %s; first bad tensor: %s. %s; " DDP_NUMERIC_CURE,
        bad->training ? "step" : "evaluation after step",
        (long long)(bad->training ? bad->step + 1 : bad->step), bad->shard, t->comm->rank, kind, where,
        bad->training ? "Checkpoints are from before this step" : "This state is not saved");
}
