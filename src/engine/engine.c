/* What all engines have in common: the host's state, what they say of themselves, checks of states. */
#include "engine/private.h"
#include "engine/probing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

/* Memory of all ranks: what a checkpoint is filled into and made of. */
static int share_state(struct ddp_engine *e, struct ddp_error *err)
{
    const struct ddp_engine_conf *c = &e->conf;
    void *params = NULL;
    int status = ddp_comm_shared_alloc(c->comm, (size_t)e->flat->total * sizeof(float), &params, err);
    e->params = params;
    if (status == 0)
        status = ddp_optim_create(c->cfg, e->flat, c->comm, e->params, c->total_steps, c->steps_per_epoch,
                                  &e->optim, err);
    return status;
}

int ddp_engine_create(const struct ddp_engine_ops *ops, const struct ddp_engine_conf *conf,
                      struct ddp_engine **out, struct ddp_error *err)
{
    struct ddp_engine *e = ddp_calloc(1, ops->size);
    e->ops = ops;
    e->conf = *conf;
    e->flat = ddp_model_flat(conf->model);
    e->my_shards = ddp_rank_plan_mine(&conf->ranks);
    e->eval_shards = conf->ranks.eval_last - conf->ranks.eval_first;
    e->eval_batches = ddp_order_batches(conf->test_set->info.count, conf->cfg->train.batch);
    e->loss_scale.scale = 1;
    e->form = ops->form;
    e->name = "";
    int status = share_state(e, err);
    if (status == 0 && conf->train_set && conf->cfg->train.trail_every > 0)
        status = ddp_engine_board_create(e, err);
    if (status == 0 && conf->train_set)
        status = ddp_probe_create(e, err);
    if (status == 0)
        status = ops->init(e, err);
    if (status) {
        ddp_engine_destroy(e, true);
        return status;
    }
    *out = e;
    return 0;
}

void ddp_engine_destroy(struct ddp_engine *e, bool abort)
{
    if (!e)
        return;
    e->ops->finish(e, abort);
    ddp_engine_board_destroy(e);
    ddp_probe_destroy(e);
    ddp_optim_destroy(e->optim);
    if (e->params)
        ddp_comm_shared_free(e->conf.comm, e->params, (size_t)e->flat->total * sizeof(float));
    free(e);
}

/* ---- what it says of itself ---- */

void ddp_engine_hash(const struct ddp_engine *e, char hex[65])
{
    char both[64 + DDP_ENGINE_IDENTITY];
    ddp_config_hash(e->conf.cfg, hex);
    if (!*e->identity)
        return;
    snprintf(both, sizeof both, "%s%s", hex, e->identity);
    ddp_sha256_text(both, strlen(both), hex);
}

static struct ddp_fact *tell(struct ddp_engine *e, const char *key, enum ddp_fact_kind kind)
{
    struct ddp_fact *f = &e->fact[e->nfacts < DDP_ENGINE_FACTS ? e->nfacts++ : DDP_ENGINE_FACTS - 1];
    *f = (struct ddp_fact){.key = key, .kind = kind};
    return f;
}

void ddp_engine_tell_text(struct ddp_engine *e, const char *key, const char *text)
{
    tell(e, key, DDP_FACT_TEXT)->text = text;
}

void ddp_engine_tell_integer(struct ddp_engine *e, const char *key, int64_t value)
{
    tell(e, key, DDP_FACT_INTEGER)->integer = value;
}

void ddp_engine_tell_real(struct ddp_engine *e, const char *key, double value)
{
    tell(e, key, DDP_FACT_REAL)->real = value;
}

void ddp_engine_tell_bool(struct ddp_engine *e, const char *key, bool value)
{
    tell(e, key, DDP_FACT_BOOL)->integer = value;
}

/* ---- state ---- */

int ddp_engine_upload(struct ddp_engine *e, struct ddp_error *err)
{
    return e->ops->upload ? ddp_comm_agree(e->conf.comm, e->ops->upload(e, err), err) : 0;
}

int ddp_engine_download(struct ddp_engine *e, struct ddp_error *err)
{
    if (e->pending)
        return ddp_fail(err, DDP_E_USAGE, "ddp_engine_download: %d steps are pending", e->pending);
    /* agreeing is a barrier, too: one rank reads what all have written */
    return e->ops->download ? ddp_comm_agree(e->conf.comm, e->ops->download(e, err), err) : 0;
}

/* ---- steps ---- */

int ddp_engine_enqueue(struct ddp_engine *e, const struct ddp_batch *batch, int64_t step,
                       struct ddp_error *err)
{
    if (!e->conf.train_set)
        return ddp_fail(err, DDP_E_USAGE, "ddp_engine_enqueue: this engine was made to evaluate only");
    if (e->pending == e->ops->depth)
        return ddp_fail(err, DDP_E_USAGE, "ddp_engine_enqueue: %d steps are pending, collect one first",
                        e->pending);
    ddp_pulse_phase(DDP_PHASE_FORWARD);
    ddp_probe_begin(e, step);
    const int status = e->ops->enqueue(e, batch, step, err);
    if (status == 0)
        ddp_probe_end(e);
    e->pending += status == 0;
    return status;
}

int ddp_engine_collect(struct ddp_engine *e, struct ddp_engine_result *out, struct ddp_error *err)
{
    if (e->pending == 0)
        return ddp_fail(err, DDP_E_USAGE, "ddp_engine_collect: no step is pending");
    ddp_pulse_phase(DDP_PHASE_UPDATE);
    const int status = e->ops->collect(e, out, err);
    e->pending -= status == 0;
    return status;
}

/* ---- evaluation ---- */

int ddp_engine_eval_begin(struct ddp_engine *e, struct ddp_error *err)
{
    return e->ops->eval_begin ? ddp_comm_agree(e->conf.comm, e->ops->eval_begin(e, err), err) : 0;
}

int ddp_engine_eval(struct ddp_engine *e, const struct ddp_batch *batch, int64_t index, struct ddp_error *err)
{
    if (e->pending)
        return ddp_fail(err, DDP_E_USAGE, "ddp_engine_eval: %d steps are pending", e->pending);
    if (index >= e->eval_batches)
        return ddp_fail(err, DDP_E_USAGE, "ddp_engine_eval: batch %lld of %lld", (long long)index,
                        (long long)e->eval_batches);
    return e->ops->eval(e, batch, index, err);
}

int ddp_engine_eval_end(struct ddp_engine *e, struct ddp_engine_eval *out, struct ddp_error *err)
{
    return e->ops->eval_end(e, out, err);
}

void ddp_engine_find_bad(struct ddp_engine *e, bool training, int64_t step, const struct ddp_batch *batch,
                         int shard, char *text, int size)
{
    snprintf(text, (size_t)size, "not found: its batch could not be loaded again");
    e->ops->find_bad(e, training, step, batch, shard, text, size);
}
