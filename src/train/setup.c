/* Everything that a run needs, planned and allocated before step 0, in the order of the data's way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "train/check.h"
#include "train/trainer.h"

/* The checkpoint to go on from: an engine may want to look at it before anything is planned. */
static int find_resumed(struct ddp_trainer *t, struct ddp_error *err)
{
    char run[1024];
    if (!t->lead || !t->opt.resume || t->opt.eval_only)
        return 0;
    ddp_runs_close(t->cfg->run.dir);
    int status = ddp_rundir_find(t->cfg, t->data[0].sha256, t->opt.resume, run, sizeof run, err);
    if (status == 0 && *run) /* "": auto, and there is none */
        status = ddp_checkpoint_find(run, t->resumed_from, sizeof t->resumed_from, err);
    if (status == DDP_E_CHECKPOINT)
        ddp_error_suffix(err, "; start without --resume");
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

/* What the data is, for records and for telling experiments apart. */
static int identify_data(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_dataset *set[2] = {t->train_set, t->test_set};
    int status = 0;
    for (int i = 0; i < 2 && status == 0; i++) {
        struct ddp_data_id *id = &t->data[i];
        snprintf(id->name, sizeof id->name, "%.50s/%s", t->cfg->data.name, i ? "test" : "train");
        status = set[i]->ops->digest(set[i]->self, id->sha256, err);
    }
    return status;
}

static int open_data(struct ddp_trainer *t, struct ddp_error *err)
{
    if (!t->lead)
        t->cfg->data.verify = false; /* one rank reads the whole file to check it, not all of them */
    int status = ddp_dataset_open(t->cfg, DDP_SPLIT_TEST, &t->test_set, err);
    if (status == 0 && !t->opt.eval_only)
        status = ddp_dataset_open(t->cfg, DDP_SPLIT_TRAIN, &t->train_set, err);
    if (status == 0 && t->train_set)
        status = ddp_dataset_check_splits(&t->train_set->info, &t->test_set->info, err);
    const int64_t left_out = status == 0 && t->lead ? t->test_set->info.left_out : 0;
    if (left_out > 0)
        ddp_log(DDP_LOG_INFO, "data '%s': %lld other file%s left out", t->cfg->data.name, (long long)left_out,
                ddp_plural(left_out));
    return status == 0 && t->lead && t->train_set ? identify_data(t, err) : status;
}

static int build_model(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_dataset_info *info = &t->test_set->info;
    return ddp_model_create(t->cfg, info->shape, ddp_dataset_outputs(info), t->plan.shard_batch,
                            t->engine_ops->model, &t->model, err);
}

static void show_model(const struct ddp_trainer *t)
{
    if (!t->lead || t->opt.eval_only)
        return;
    char *table = ddp_model_summary(t->model, ddp_log_columns());
    ddp_log(DDP_LOG_INFO, "%s", table);
    free(table);
}

/* Shapes, batches and patterns, which the launcher has asked about too where it started us. */
static int check_whole(const struct ddp_trainer *t, struct ddp_error *err)
{
    struct ddp_text notes;
    ddp_text_init(&notes);
    const int status =
        ddp_train_check_model(t->cfg, t->model, t->train_set ? t->train_set->info.count : 0, &notes, err);
    for (char *line = notes.s, *end; status == 0 && t->lead && (end = strchr(line, '\n')); line = end + 1)
        ddp_log(DDP_LOG_WARN, "%.*s", (int)(end - line), line);
    ddp_text_finish(&notes);
    return status;
}

static struct ddp_engine_conf engine_conf(const struct ddp_trainer *t)
{
    return (struct ddp_engine_conf){
        .cfg = t->cfg,
        .comm = t->comm,
        .pool = t->pool,
        .place = t->opt.place,
        .model = t->model,
        .train_set = t->train_set,
        .test_set = t->test_set,
        .ranks = t->plan.ranks,
        .total_steps = t->plan.total_steps,
        .steps_per_epoch = t->plan.per_epoch,
        .resumed_from = t->resumed_from,
        .relock = t->opt.relock,
        .stop_requested = ddp_lifeline_stop_requested,
    };
}

/* Batches that a rank's loader holds: those decoded ahead, the one in use. */
static size_t loader_bytes(const struct ddp_trainer *t)
{
    const struct ddp_shape px = t->test_set->info.shape;
    const size_t value =
        t->engine_ops->form == DDP_LOADER_FLOATS || t->test_set->info.real || t->cfg->data.mixup > 0
            ? sizeof(float)
            : 1;
    const size_t samples = (size_t)t->plan.shard_batch * (size_t)ddp_rank_plan_mine(&t->plan.ranks);
    return samples * (size_t)px.c * (size_t)px.h * (size_t)px.w * value *
           (size_t)(t->cfg->data.workers ? t->cfg->data.prefetch + 1 : 1);
}

/* All that the run will take on this host against what is free, before any of it is made: the system hands
 * out addresses freely and would kill a rank in the middle of a step. A node's first rank counts for all of
 * its. */
static int check_memory(const struct ddp_trainer *t, struct ddp_error *err)
{
    if (t->comm->local_rank > 0)
        return 0;
    const int ranks = t->comm->local_size;
    const struct ddp_engine_conf conf = engine_conf(t);
    const struct ddp_flat *flat = ddp_model_flat(t->model);
    struct ddp_engine_memory engine;
    t->engine_ops->memory(&conf, &engine);
    const size_t own = engine.own + loader_bytes(t);
    double state = (double)ddp_optim_bytes(t->cfg, flat);
    double weights = (double)flat->total * sizeof(float);
    double copy = !t->lead ? 0 : weights + (t->opt.eval_only ? 0 : state);
    double all = weights + state + (double)engine.shared + (double)own * ranks + copy;
    char text[7][32], plan[400];
    snprintf(
        plan, sizeof plan,
        "%s of memory: %s parameters + %s optimizer state + %s gradients (shared by all ranks), %d rank%s x "
        "%s activations and scratch, %s copy for checkpoints",
        ddp_bytes_text(all, text[0]), ddp_bytes_text(weights, text[1]), ddp_bytes_text(state, text[2]),
        ddp_bytes_text((double)engine.shared, text[3]), ranks, ranks == 1 ? "" : "s",
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
        ddp_engine_hash(t->engine, t->experiment);
    return status;
}

static int start_loaders(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_config *cfg = t->cfg;
    const struct ddp_rank_plan *p = &t->plan.ranks;
    const struct ddp_loader_conf eval = {.batch = cfg->train.batch,
                                         .shards = p->eval_shards,
                                         .first_shard = p->eval_first,
                                         .last_shard = p->eval_last,
                                         .seed = (uint64_t)cfg->seed,
                                         .workers = 0,
                                         .prefetch = 1,
                                         .form = t->engine_ops->form};
    const struct ddp_loader_conf train = {.batch = t->plan.batch,
                                          .shards = p->shards,
                                          .first_shard = p->first,
                                          .last_shard = p->last,
                                          .seed = (uint64_t)cfg->seed,
                                          .train = true,
                                          .workers = (int)cfg->data.workers,
                                          .prefetch = (int)cfg->data.prefetch,
                                          .form = t->engine->form};
    int status =
        ddp_comm_agree(t->comm, ddp_loader_create(cfg, t->test_set, &eval, &t->eval_loader, err), err);
    if (status == 0)
        status = ddp_comm_shared_alloc(t->comm, sizeof *t->eval_board, (void **)&t->eval_board, err);
    if (status || t->opt.eval_only)
        return status;
    return ddp_loader_create(cfg, t->train_set, &train, &t->loader, err);
}

static int load_init(struct ddp_trainer *t, struct ddp_error *err)
{
    int status = ddp_weights_find(t->cfg->init.from, false, t->init_file, sizeof t->init_file, err);
    if (status == 0)
        status = ddp_weights_load(t->init_file, t->model, t->engine->params, t->cfg->init.strict,
                                  &t->state.batches_tracked, err);
    if (status == 0 && !*t->resumed_from)
        status = ddp_file_sha256(t->init_file, t->init_sha256, err);
    return status;
}

/* First values: from the seed, from a file, or where a run stopped. Rank 0 fills its node's arrays. */
static int fill_parameters(struct ddp_trainer *t, struct ddp_error *err)
{
    const struct ddp_config *cfg = t->cfg;
    t->state.best_step = -1;
    t->state.loss_scale = cfg->train.precision == DDP_PRECISION_FP16 ? cfg->train.loss_scale : 1;
    if (!t->lead)
        return 0;
    if (t->opt.eval_only) {
        ddp_runs_close(cfg->run.dir);
        int found = ddp_rundir_find(cfg, NULL, t->opt.eval_only, t->run_dir, sizeof t->run_dir, err);
        if (found == 0 && !*t->run_dir)
            found = ddp_fail(err, DDP_E_USAGE, "auto: there is no run to evaluate");
        if (found)
            return ddp_error_prefix(err, "--eval");
        char file[4200]; /* with optim.ema what evaluations in training used, too */
        const int status = ddp_weights_find(t->run_dir, cfg->optim.ema > 0, file, sizeof file, err);
        return status ? status
                      : ddp_weights_load(file, t->model, t->engine->params, true, &t->state.batches_tracked,
                                         err);
    }
    ddp_model_init(t->model, (uint64_t)cfg->seed, t->engine->params);
    int status = *cfg->init.from ? load_init(t, err) : 0;
    if (status)
        return ddp_error_prefix(err, "init.from");
    ddp_optim_average_copy(t->engine->optim, 0, t->engine->flat->total);
    if (!*t->resumed_from)
        return 0;
    status =
        ddp_checkpoint_load(t->resumed_from, t->model, t->engine->params, t->engine->optim, &t->state, err);
    if (status)
        return ddp_error_prefix(err, "--resume %s", t->opt.resume);
    ddp_optim_average_copy(t->engine->optim, t->engine->flat->stats, t->engine->flat->total);
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

/* What one rank may find wrong alone is agreed on before anything collective. */
int ddp_trainer_setup(struct ddp_trainer *t, struct ddp_error *err)
{
    int status = ddp_train_plan_init(&t->plan, t->cfg, t->comm, err);
    if (status == 0)
        status = ddp_cpu_select(NULL, err);
    if (status == 0)
        status = start_threads(t, err);
    ddp_pulse_phase(DDP_PHASE_OPEN);
    if (status == 0)
        status = open_data(t, err);
    ddp_pulse_phase(DDP_PHASE_SETUP);
    if (status == 0)
        status = find_resumed(t, err);
    status = ddp_comm_agree(t->comm, status, err);
    ddp_startup_end(DDP_STARTUP_DATA);
    t->engine_ops = t->opt.engine;
    if (status == 0 && !t->engine_ops)
        status = ddp_engine_choose(t->cfg, t->comm, &t->engine_ops, err);
    if (status == 0)
        status = ddp_comm_agree(t->comm, build_model(t, err), err);
    if (status)
        return status;
    ddp_pulse_shards(ddp_rank_plan_mine(&t->plan.ranks));
    ddp_train_plan_steps(&t->plan, t->cfg, t->train_set ? t->train_set->info.count : 0);
    status = check_whole(t, err); /* the same on all ranks */
    if (status)
        return status;
    show_model(t);
    status = ddp_comm_agree(t->comm, check_memory(t, err), err);
    if (status == 0)
        status = make_engine(t, err);
    if (status == 0)
        status = start_loaders(t, err);
    ddp_startup_end(DDP_STARTUP_MODEL);
    if (status == 0)
        status = fill_parameters(t, err);
    status = share_state(t, status, err);
    ddp_startup_end(DDP_STARTUP_WEIGHTS);
    return status;
}

void ddp_trainer_teardown(struct ddp_trainer *t, bool failed)
{
    ddp_loader_destroy(t->loader);
    ddp_loader_destroy(t->eval_loader);
    if (t->eval_board)
        ddp_comm_shared_free(t->comm, t->eval_board, sizeof *t->eval_board);
    ddp_engine_destroy(t->engine, failed);
    ddp_model_destroy(t->model);
    ddp_dataset_close(t->train_set);
    ddp_dataset_close(t->test_set);
    ddp_pool_destroy(t->pool);
}
