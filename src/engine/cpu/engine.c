/* The life of an engine on CPUs: passes, reduction, what they take. */
#include <stdlib.h>

#include "engine/cpu/private.h"

static struct ddp_reduce_conf reduce_conf(const struct ddp_engine_conf *c)
{
    return (struct ddp_reduce_conf){
        .shards = c->ranks.shards,
        .fast = c->cfg->reduce.mode == DDP_REDUCE_FAST,
        .total = ddp_model_flat(c->model)->total,
        .bucket = ddp_engine_bucket(c->cfg, 4),
        .block_values = ddp_optim_block_values(c->cfg),
        .side_by_side = ddp_model_needs_sync(c->model),
    };
}

static int resident_shards(const struct ddp_engine_conf *c)
{
    return ddp_model_needs_sync(c->model) ? ddp_rank_plan_mine(&c->ranks) : 1;
}

static size_t pages_bytes(const struct ddp_engine_conf *c)
{
    const size_t eval = ddp_cpu_pass_bytes(c->model, 1, false),
                 train = c->train_set ? ddp_cpu_pass_bytes(c->model, resident_shards(c), true) : 0;
    return eval > train ? eval : train;
}

static void memory(const struct ddp_engine_conf *c, struct ddp_engine_memory *out)
{
    const struct ddp_reduce_conf conf = reduce_conf(c);
    ddp_reduce_bytes(&conf, c->comm, &out->shared, &out->own);
    out->own += pages_bytes(c);
}

static int make_reduce(struct ddp_cpu_engine *e, struct ddp_error *err)
{
    const struct ddp_engine_conf *c = &e->base.conf;
    struct ddp_reduce_conf conf = reduce_conf(c);
    const struct ddp_flat *flat = e->base.flat;
    conf.result = e->base.params;
    int status = ddp_reduce_create(&conf, c->comm, c->pool, &e->reduce, err);
    if (status || !ddp_model_needs_sync(c->model))
        return status;
    int width = 0; /* the widest exchange: what a layer sums over all shards */
    for (int i = 0; i < flat->ntensors; i++)
        if (flat->tensor[i].size > width)
            width = (int)flat->tensor[i].param.dims[0];
    return ddp_small_create(c->comm, c->ranks.shards, 4 * width + 64, &e->small, err);
}

static int sync_sum(void *ctx, int width, const double *leaves, double *out, struct ddp_error *err)
{
    struct ddp_cpu_engine *e = ctx;
    const double from = ddp_now();
    const int status = ddp_small_sum(e->small, width, leaves, out, err);
    e->synced += ddp_now() - from;
    return status;
}

static int make_passes(struct ddp_cpu_engine *e, struct ddp_error *err)
{
    const struct ddp_engine_conf *c = &e->base.conf;
    const struct ddp_cpu_pass_conf train = {.pages = &e->pages,
                                            .training = true,
                                            .resident = e->resident,
                                            .seed = (uint64_t)c->cfg->seed,
                                            .pool = c->pool,
                                            .sync = sync_sum,
                                            .sync_ctx = e};
    const struct ddp_cpu_pass_conf eval = {
        .pages = &e->pages, .resident = 1, .seed = (uint64_t)c->cfg->seed, .pool = c->pool};
    int status = ddp_cpu_pages_init(&e->pages, pages_bytes(c), err);
    if (status == 0 && c->train_set)
        status = ddp_cpu_pass_create(c->model, &train, &e->train, err);
    if (status == 0)
        status = ddp_cpu_pass_create(c->model, &eval, &e->eval, err);
    return ddp_comm_agree(c->comm, status, err);
}

static int init(struct ddp_engine *base, struct ddp_error *err)
{
    struct ddp_cpu_engine *e = (struct ddp_cpu_engine *)base;
    const struct ddp_engine_conf *c = &base->conf;
    const size_t mine = (size_t)base->my_shards,
                 evals = (size_t)base->eval_batches * (size_t)base->eval_shards;
    base->name = ddp_cpu_isa();
    ddp_engine_tell_text(base, "device", "cpu");
    e->resident = resident_shards(c);
    e->leaf = ddp_calloc((size_t)e->resident + 1, sizeof *e->leaf);
    e->loss = ddp_calloc(mine + 1, sizeof *e->loss);
    e->correct = ddp_calloc(mine + 1, sizeof *e->correct);
    e->eval_loss = ddp_calloc(evals + 1, sizeof *e->eval_loss);
    e->eval_correct = ddp_calloc(evals + 1, sizeof *e->eval_correct);
    e->eval_error = ddp_calloc(evals + 1, sizeof *e->eval_error);
    const int status = make_reduce(e, err);
    return status ? status : make_passes(e, err);
}

static void finish(struct ddp_engine *base, bool abort)
{
    struct ddp_cpu_engine *e = (struct ddp_cpu_engine *)base;
    (void)abort; /* nothing here waits for anybody */
    ddp_cpu_pass_destroy(e->train);
    ddp_cpu_pass_destroy(e->eval);
    ddp_cpu_pages_finish(&e->pages);
    ddp_small_destroy(e->small);
    ddp_reduce_destroy(e->reduce);
    free(e->leaf);
    free(e->loss);
    free(e->correct);
    free(e->eval_loss);
    free(e->eval_correct);
    free(e->eval_error);
}

const struct ddp_engine_ops ddp_engine_cpu = {
    .size = sizeof(struct ddp_cpu_engine),
    .depth = 1,
    .model = DDP_MODEL_FOR_HOST,
    .form = DDP_LOADER_FLOATS,
    .memory = memory,
    .init = init,
    .finish = finish,
    .upload = ddp_cpu_upload,
    .download = ddp_cpu_download,
    .own_sums = ddp_cpu_own_sums,
    .probes = true,
    .enqueue = ddp_cpu_enqueue,
    .collect = ddp_cpu_collect,
    .eval_begin = ddp_cpu_eval_begin,
    .eval = ddp_cpu_eval,
    .eval_end = ddp_cpu_eval_end,
    .find_bad = ddp_cpu_find_bad,
};
