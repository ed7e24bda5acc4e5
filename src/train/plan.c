/* How many steps a run has, and what is due after which. */
#include "train/plan.h"

#include "data/data.h"

int ddp_train_plan_init(struct ddp_train_plan *p, const struct ddp_config *cfg, const struct ddp_comm *comm,
                        struct ddp_error *err)
{
    const int64_t S = cfg->train.shards;
    *p = (struct ddp_train_plan){.batch = cfg->train.batch * cfg->train.accumulate,
                                 .shard_batch = (int)((cfg->train.batch + S - 1) / S)};
    return ddp_rank_plan_init(comm, (int)S, (int)cfg->train.accumulate, &p->ranks, err);
}

void ddp_train_plan_steps(struct ddp_train_plan *p, const struct ddp_config *cfg, int64_t samples)
{
    p->per_epoch = samples ? ddp_order_batches(samples, p->batch) : 1;
    p->total_steps = p->per_epoch * cfg->train.epochs;
    p->last_step = p->total_steps;
    if (cfg->train.max_steps && cfg->train.max_steps < p->last_step)
        p->last_step = cfg->train.max_steps;
}

static bool every(int64_t n, int64_t step)
{
    return n && step % n == 0;
}

bool ddp_train_plan_log_due(const struct ddp_train_plan *p, const struct ddp_config *cfg, int64_t step)
{
    return every(cfg->log.every_steps, step) || step >= p->last_step;
}

bool ddp_train_plan_trail_due(const struct ddp_config *cfg, int64_t step)
{
    return every(cfg->train.trail_every, step);
}

bool ddp_train_plan_save_due(const struct ddp_config *cfg, int64_t step)
{
    return every(cfg->checkpoint.every_steps, step);
}

bool ddp_train_plan_eval_due(const struct ddp_config *cfg, const struct ddp_train_state *s)
{
    return s->step > 0 && s->batch == 0 && every(cfg->eval.every_epochs, s->epoch);
}

bool ddp_train_plan_eval_owed(const struct ddp_train_plan *p, const struct ddp_config *cfg,
                              const struct ddp_train_state *s)
{
    if (s->end_eval_owed && s->step >= p->last_step)
        return true;
    return ddp_train_plan_eval_due(cfg, s) && s->evaluations < s->epoch / cfg->eval.every_epochs;
}
