/* Everything that a run needs, planned and allocated before step 0, in the order of the data's way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "reduce/tree.h"
#include "train/trainer.h"

static int check_ranks(struct ddp_trainer *t, struct ddp_error *err)
{
    t->shards = (int)(t->cfg->train.shards * t->cfg->train.accumulate);
    t->batch = t->cfg->train.batch * t->cfg->train.accumulate;
    if (t->comm->size > t->shards)
        return ddp_fail(err, DDP_E_USAGE,
                        "%d ranks cannot share %d shards: start at most %d ranks (-n %d), or set "
                        "train.shards=%d, which makes "
                        "it another experiment with other bits",
                        t->comm->size, t->shards, t->shards, t->shards, t->comm->size);
    return 0;
}

/* The checkpoint to go on from: an engine may want to look at it before anything is planned. */
static int find_resumed(struct ddp_trainer *t, struct ddp_error *err)
{
    char run[1024];
    if (!t->lead || !t->opt.resume || t->opt.eval_only)
        return 0;
    int status = ddp_rundir_find(t->cfg, t->opt.resume, run, sizeof run, err);
    if (status == 0)
        status = ddp_checkpoint_find(run, t->resumed_from, sizeof t->resumed_from, err);
    return status ? ddp_error_prefix(err, "--resume %s", t->opt.resume) : 0;
}

/* Each on its own CPU where the plan has one for every thread. */
static int start_threads(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_place *p = t->opt.place;
    const int *cpus = p && p->npus >= t->opt.threads ? p->pus : NULL;
    int status = ddp_pool_create(t->opt.threads, cpus, t->comm->spin, &t->pool, err);
    return status ? ddp_error_prefix(err, "train.threads = %d", t->opt.threads) : 0;
}

static int open_data(struct ddp_trainer *t, struct ddp_error *err)
{
    if (!t->lead)
        t->cfg->data.verify = false; /* one rank reads the whole file to check it, not all of them */
    int status = ddp_dataset_open(t->cfg, DDP_SPLIT_TEST, &t->test_set, err);
    if (status == 0 && !t->opt.eval_only)
        status = ddp_dataset_open(t->cfg, DDP_SPLIT_TRAIN, &t->train_set, err);
    return status;
}

static int build_model(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_dataset_info *info = &t->test_set->info;
    int shard_batch = (int)((t->cfg->train.batch + t->cfg->train.shards - 1) / t->cfg->train.shards);
    int status = ddp_model_create(t->cfg, info->shape, info->classes, shard_batch, &t->model, err);
    if (status)
        return status;
    t->flat = ddp_model_flat(t->model);
    if (t->lead && !t->opt.eval_only) {
        char *table = ddp_model_summary(t->model);
        ddp_log(DDP_LOG_INFO, "%s", table);
        free(table);
    }
    return 0;
}

static struct ddp_engine_conf engine_conf(const struct ddp_trainer *t)
{
    const int S = (int)t->cfg->train.shards, rank = t->comm->rank, size = t->comm->size;
    const int first = ddp_tree_first_shard(S, size, rank);
    return (struct ddp_engine_conf){
        .cfg = t->cfg,
        .comm = t->comm,
        .pool = t->pool,
        .place = t->opt.place,
        .model = t->model,
        .train_set = t->train_set,
        .test_set = t->test_set,
        .shards = t->shards,
        .first_shard = t->first_shard,
        .my_shards = t->my_shards,
        .eval_first = first,
        .eval_shards = ddp_tree_first_shard(S, size, rank + 1) - first,
        .total_steps = t->total_steps,
        .steps_per_epoch = t->per_epoch,
        .resumed_from = t->resumed_from,
        .relock = t->opt.relock,
        .stop_requested = ddp_lifeline_stop_requested,
    };
}

/* All that the run will take on this host against what is free, before any of it is made: the system hands
 * out addresses freely and would kill a rank in the middle of a step. Rank 0 counts for all. */
static int check_memory(const struct ddp_trainer *t, struct ddp_error *err)
{
    if (!t->lead)
        return 0;
    const struct ddp_engine_conf conf = engine_conf(t);
    const bool floats = t->engine_ops->form == DDP_LOADER_FLOATS;
    struct ddp_engine_memory engine;
    t->engine_ops->memory(&conf, &engine);
    size_t own = engine.own;
    /* batches that the loader holds: those decoded ahead, the one in use */
    const struct ddp_shape px = t->test_set->info.shape;
    size_t batch = (size_t)((t->batch + t->shards - 1) / t->shards) * (size_t)t->my_shards;
    own += batch * (size_t)px.c * (size_t)px.h * (size_t)px.w * (floats ? sizeof(float) : 1) *
           (size_t)(t->cfg->data.workers ? t->cfg->data.prefetch + 1 : 1);
    double state = (double)ddp_optim_bytes(t->cfg, t->flat);
    double weights = (double)t->flat->total * sizeof(float), copy = weights + (t->opt.eval_only ? 0 : state);
    double all = weights + state + (double)engine.shared + (double)own * t->comm->size + copy;
    char text[7][32], plan[400];
    snprintf(
        plan, sizeof plan,
        "%s of memory: %s parameters + %s optimizer state + %s gradients (shared by all ranks), %d rank%s x "
        "%s activations and scratch, %s copy for checkpoints",
        ddp_bytes_text(all, text[0]), ddp_bytes_text(weights, text[1]), ddp_bytes_text(state, text[2]),
        ddp_bytes_text((double)engine.shared, text[3]), t->comm->size, t->comm->size == 1 ? "" : "s",
        ddp_bytes_text((double)own, text[4]), ddp_bytes_text(copy, text[5]));
    ddp_log(DDP_LOG_DEBUG, "the plan takes %s", plan);
    const char *bound;
    uint64_t left = ddp_memory_available("", &bound);
    if (left == UINT64_MAX || all <= (double)left)
        return 0;
    return ddp_fail(
        err, DDP_E_RESOURCE,
        "model '%s' does not fit: the plan takes %s; %s are available (%s). Use a smaller model, a "
        "smaller train.batch, fewer ranks (-n), or give the job more memory",
        t->cfg->model.name, plan, ddp_bytes_text((double)left, text[6]), bound);
}

static int make_engine(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_engine_conf conf = engine_conf(t);
    const int status = ddp_engine_create(t->engine_ops, &conf, &t->engine, err);
    if (status == 0)
        ddp_engine_hash(t->engine, t->config_hash);
    return status;
}

static int start_loaders(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_config *cfg = t->cfg;
    int S = (int)cfg->train.shards, rank = t->comm->rank, size = t->comm->size;
    struct ddp_loader_conf eval = {.batch = cfg->train.batch,
                                   .shards = S,
                                   .first_shard = ddp_tree_first_shard(S, size, rank),
                                   .last_shard = ddp_tree_first_shard(S, size, rank + 1),
                                   .seed = (uint64_t)cfg->seed,
                                   .workers = 0,
                                   .prefetch = 1,
                                   .form = t->engine_ops->form};
    int status = ddp_loader_create(cfg, t->test_set, &eval, &t->eval_loader, err);
    status = ddp_comm_agree(t->comm, status, err);
    size_t leaves = (size_t)ddp_order_batches(t->test_set->info.count, cfg->train.batch) * (size_t)S;
    if (status == 0)
        status =
            ddp_comm_shared_alloc(t->comm, (leaves + 1) * sizeof *t->eval_leaf, (void **)&t->eval_leaf, err);
    if (status || t->opt.eval_only)
        return status;
    struct ddp_loader_conf train = {.batch = t->batch,
                                    .shards = t->shards,
                                    .first_shard = t->first_shard,
                                    .last_shard = t->first_shard + t->my_shards,
                                    .seed = (uint64_t)cfg->seed,
                                    .train = true,
                                    .workers = (int)cfg->data.workers,
                                    .prefetch = (int)cfg->data.prefetch,
                                    .form = t->engine->form};
    return ddp_loader_create(cfg, t->train_set, &train, &t->loader, err);
}

/* First values: from the seed, from a file, or where a run stopped. Rank 0 fills the shared arrays. */
static int fill_parameters(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_config *cfg = t->cfg;
    t->state.best_step = -1;
    t->state.loss_scale = cfg->train.precision == DDP_PRECISION_FP16 ? cfg->train.loss_scale : 1;
    if (!t->lead)
        return 0;
    if (t->opt.eval_only) {
        int found = ddp_rundir_find(cfg, t->opt.eval_only, t->run_dir, sizeof t->run_dir, err);
        if (found)
            return ddp_error_prefix(err, "--eval");
        return ddp_weights_load(t->run_dir, t->model, t->engine->params, true, &t->state.batches_tracked,
                                err);
    }
    ddp_model_init(t->model, (uint64_t)cfg->seed, t->engine->params);
    int status = 0;
    if (*cfg->init.from)
        status = ddp_weights_load(cfg->init.from, t->model, t->engine->params, cfg->init.strict,
                                  &t->state.batches_tracked, err);
    if (status || !t->opt.resume)
        return status;
    status =
        ddp_checkpoint_load(t->resumed_from, t->model, t->engine->params, t->engine->optim, &t->state, err);
    if (status)
        return ddp_error_prefix(err, "--resume %s", t->opt.resume);
    if (strcmp(t->config_hash, t->state.config_hash) != 0)
        ddp_log(DDP_LOG_WARN,
                "the config differs from the one of %s in keys that affect results (or what computes it "
                "does): this "
                "run goes on from its state, but is not the same experiment (compare the two config.cfg)",
                t->resumed_from);
    return 0;
}

static int share_state(struct ddp_trainer *t, int status, struct ddp_error *err)
{
    status = ddp_comm_agree(t->comm, status, err);
    if (status == 0)
        status = ddp_comm_bcast(t->comm, &t->state, sizeof t->state, 0, err);
    if (status == 0) {
        t->engine->loss_scale.scale = t->state.loss_scale;
        t->engine->loss_scale.good = t->state.loss_scale_good;
        t->engine->loss_scale.skipped = t->state.loss_scale_skipped;
        status = ddp_engine_upload(t->engine, err);
    }
    if (status == 0 && t->loader)
        status = ddp_loader_seek(t->loader, t->state.epoch, t->state.batch, err);
    if (status == 0)
        status = ddp_comm_barrier(t->comm, err);
    return status;
}

static void plan_steps(struct ddp_trainer *t)
{
    const struct ddp_config *cfg = t->cfg;
    if (t->train_set)
        t->per_epoch = ddp_order_batches(t->train_set->info.count, t->batch);
    else
        t->per_epoch = 1;
    t->total_steps = t->per_epoch * cfg->train.epochs;
    t->last_step = t->total_steps;
    if (cfg->train.max_steps && cfg->train.max_steps < t->last_step)
        t->last_step = cfg->train.max_steps;
}

int ddp_trainer_setup(struct ddp_trainer *t, struct ddp_error *err)
{
    /* What one rank may find wrong alone is agreed on before anything collective. */
    int status = check_ranks(t, err);
    if (status == 0)
        status = ddp_cpu_select(NULL, err);
    if (status == 0)
        status = start_threads(t, err);
    if (status == 0)
        status = open_data(t, err);
    if (status == 0)
        status = find_resumed(t, err);
    status = ddp_comm_agree(t->comm, status, err);
    t->engine_ops = t->opt.engine;
    if (status == 0 && !t->engine_ops)
        status = ddp_engine_choose(t->cfg, t->comm, &t->engine_ops, err);
    if (status)
        return status;
    status = ddp_comm_agree(t->comm, build_model(t, err), err);
    if (status)
        return status;
    plan_steps(t);
    t->first_shard = ddp_tree_first_shard(t->shards, t->comm->size, t->comm->rank);
    t->my_shards = ddp_tree_first_shard(t->shards, t->comm->size, t->comm->rank + 1) - t->first_shard;
    status = ddp_comm_agree(t->comm, check_memory(t, err), err);
    if (status == 0)
        status = make_engine(t, err);
    if (status == 0)
        status = start_loaders(t, err);
    if (status == 0)
        status = fill_parameters(t, err);
    return share_state(t, status, err);
}

int ddp_trainer_fetch(struct ddp_trainer *t, struct ddp_error *err)
{
    const int status = ddp_engine_download(t->engine, err);
    if (status)
        return status;
    t->state.loss_scale = t->engine->loss_scale.scale;
    t->state.loss_scale_good = t->engine->loss_scale.good;
    t->state.loss_scale_skipped = t->engine->loss_scale.skipped;
    return 0;
}

void ddp_trainer_teardown(struct ddp_trainer *t, bool failed)
{
    ddp_loader_destroy(t->loader);
    ddp_loader_destroy(t->eval_loader);
    if (t->eval_leaf)
        ddp_comm_shared_free(t->comm, t->eval_leaf,
                             ((size_t)t->engine->eval_batches * (size_t)t->cfg->train.shards + 1) *
                                 sizeof *t->eval_leaf);
    ddp_engine_destroy(t->engine, failed);
    ddp_model_destroy(t->model);
    ddp_dataset_close(t->train_set);
    ddp_dataset_close(t->test_set);
    ddp_pool_destroy(t->pool);
}
