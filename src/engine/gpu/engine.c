/* The life of an engine on GPUs: device, plans, memory, peers; each step agreed on by all ranks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "engine/gpu/private.h"

/* ---- device ---- */

static int open_device(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const struct ddp_config *cfg = e->base.conf.cfg;
    const struct ddp_rank_plan *ranks = &e->base.conf.ranks;
    const struct ddp_place *place = e->base.conf.place;
    const char *planned = place && place->gpu[0] ? place->gpu : NULL;
    int status = ddp_gpu_api_open(&e->api, err);
    if (status == 0)
        status = ddp_gpu_device_pick(e->api, planned, ranks->local_rank, ranks->local_size,
                                     cfg->comm.share_gpu, &e->device, err);
    if (status == 0)
        status = e->api->info(e->device, &e->about.device, err);
    if (status == 0)
        status = ddp_gpu_check_precision(&e->about.device, cfg, err);
    if (status)
        return status;
    e->api->versions(&e->about.versions);
    return e->api->open(e->device, &e->gpu, err);
}

/* ---- plans ---- */

static void sync_sum(void *ctx, struct ddp_gpu_stream *stream, int width, const double *leaves, double *sum)
{
    const struct ddp_gpu_engine *e = ctx;
    ddp_gpu_reduce_small(e->reduce, stream, width, leaves, sum);
}

static int make_passes(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const struct ddp_config *cfg = e->base.conf.cfg;
    struct ddp_gpu_pass_conf conf = {.api = e->api,
                                     .gpu = e->gpu,
                                     .model = e->base.conf.model,
                                     .shards = 1,
                                     .branches = 1,
                                     .type = e->type,
                                     .tf32 = cfg->train.tf32,
                                     .tune = cfg->gpu.tune,
                                     .seed = (uint64_t)cfg->seed,
                                     .lock = e->lock};
    ddp_augment_init(&conf.augment, cfg, &e->base.conf.test_set->info, false);
    int status = ddp_gpu_pass_create(&conf, &e->eval, err);
    if (status || !e->base.conf.train_set)
        return status;
    ddp_augment_init(&conf.augment, cfg, &e->base.conf.train_set->info, true);
    conf.augment.real |= cfg->data.mixup > 0; /* floats as the loader has mixed them */
    conf.training = true;
    conf.shards = e->base.my_shards;
    conf.branches = (int)cfg->gpu.branches;
    conf.sync = sync_sum;
    conf.sync_ctx = e;
    return ddp_gpu_pass_create(&conf, &e->train, err);
}

/* That of the run that goes on; a CPU's has none. */
static int read_lock(struct ddp_gpu_engine *e, const struct ddp_gpu_identity *here, struct ddp_error *err)
{
    struct ddp_gpu_lock *lock = NULL;
    char path[1100];
    snprintf(path, sizeof path, "%s/" DDP_GPU_LOCK_FILE, e->base.conf.resumed_from);
    const bool resumed = *e->base.conf.resumed_from && ddp_path_exists(path);
    int status = resumed ? ddp_gpu_lock_read(path, &lock, err) : 0;
    if (status == 0 && lock)
        status = ddp_gpu_lock_match(lock, here, err);
    if (status && e->base.conf.relock) {
        ddp_log(DDP_LOG_WARN,
                "%s: new algorithms are chosen (--relock): this run goes on, but is not the same experiment",
                err->text);
        *err = (struct ddp_error){0};
        status = 0;
    } else if (status == 0 && lock) {
        e->lock = lock;
        return 0;
    }
    ddp_gpu_lock_destroy(lock);
    if (status == 0)
        e->lock = ddp_gpu_lock_create(here);
    return status;
}

/* Rank 0's lock as text to all others, who then replay it. */
static int share_lock(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    struct ddp_text t;
    ddp_text_init(&t);
    if (e->base.conf.comm->rank == 0)
        ddp_gpu_lock_text(e->lock, &t);
    int64_t bytes = (int64_t)t.len;
    int status = ddp_comm_bcast(e->base.conf.comm, &bytes, sizeof bytes, 0, err);
    char *text = ddp_calloc((size_t)bytes + 1, 1);
    if (t.len)
        memcpy(text, t.s, t.len);
    if (status == 0)
        status = ddp_comm_bcast(e->base.conf.comm, text, (size_t)bytes, 0, err);
    if (status == 0 && e->base.conf.comm->rank > 0)
        status = ddp_gpu_lock_parse("plan lock of rank 0", text, (size_t)bytes, &e->lock, err);
    free(text);
    ddp_text_finish(&t);
    return status;
}

static void mark_masters(struct ddp_gpu_engine *e)
{
    e->masters = ddp_calloc((size_t)e->base.flat->ntensors + 1, sizeof *e->masters);
    ddp_gpu_pass_masters(e->eval, e->masters);
    if (e->train)
        ddp_gpu_pass_masters(e->train, e->masters);
}

static int choose_plans(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const bool lead = e->base.conf.comm->rank == 0;
    struct ddp_gpu_identity here;
    int status = 0;
    ddp_gpu_identity_init(&here, &e->about.device, &e->about.versions);
    if (lead && (status = read_lock(e, &here, err)) == 0)
        status = make_passes(e, err);
    status = ddp_comm_agree(e->base.conf.comm, status, err);
    if (status == 0)
        status = share_lock(e, err);
    if (status == 0 && !lead)
        status = make_passes(e, err);
    if (status == 0)
        ddp_gpu_lock_hash(e->lock, e->base.identity);
    if (status == 0)
        mark_masters(e);
    return ddp_comm_agree(e->base.conf.comm, status, err);
}

/* ---- peers ---- */

static int meet(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    struct ddp_comm *comm = e->base.conf.comm;
    const struct ddp_gpu_reduce_conf conf = ddp_gpu_engine_reduce_conf(e);
    const enum ddp_gpu_sharing shared = comm->nodes > 1 ? DDP_GPU_SHARE_HOSTS : DDP_GPU_SHARE_HERE;
    char id[DDP_GPU_ID_BYTES] = "";
    int status = 0;
    if (comm->size == 1 || !e->train)
        return 0;
    if (comm->rank == 0)
        status = e->api->comm_id(id, err);
    status = ddp_comm_agree(comm, status, err);
    if (status == 0)
        status = ddp_comm_bcast(comm, id, sizeof id, 0, err);
    if (status == 0)
        status = e->api->comm_open(e->gpu, id, ddp_gpu_reduce_comm_rank(&conf), comm->size,
                                   e->base.conf.cfg->comm.share_gpu ? shared : DDP_GPU_SHARE_NOT, e->timeout,
                                   &e->comm, err);
    return status;
}

static int start_reduce(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const struct ddp_gpu_reduce_conf conf = ddp_gpu_engine_reduce_conf(e);
    const int status = ddp_gpu_reduce_create(&conf, e->api, e->gpu, e->comm, e->compute, &e->reduce, err);
    if (status)
        return status;
    e->params = ddp_gpu_reduce_params(e->reduce);
    e->weights = ddp_gpu_reduce_weights(e->reduce);
    if (!e->train)
        return 0;
    const struct ddp_optim_device_conf optim = ddp_gpu_engine_optim_conf(e);
    return ddp_gpu_updater_init(&e->updater, &optim, conf.shards, e->reduce, err);
}

/* ---- life ---- */

/* What follows from config and model alone. */
static void plan(struct ddp_gpu_engine *e)
{
    const struct ddp_engine_conf *c = &e->base.conf;
    const struct ddp_dataset_info *info = &c->test_set->info;
    const int S = (int)c->cfg->train.shards, batch = (int)((c->cfg->train.batch + S - 1) / S);
    e->node_ranks = ddp_calloc((size_t)c->comm->nodes, sizeof *e->node_ranks);
    for (int node = 0; node < c->comm->nodes; node++)
        e->node_ranks[node] = c->comm->nodes > 1 ? c->comm->at[node].size : c->comm->size;
    e->type = (enum ddp_gpu_type)c->cfg->train.precision;
    e->graph = c->cfg->gpu.graph;
    e->timeout = c->cfg->comm.timeout_s;
    e->picture = ddp_dataset_input_bytes(info);
    e->answer = ddp_dataset_answer_bytes(info);
    e->targets = info->targets > 0;
    e->layout = ddp_gpu_slot_train_layout(e, batch, false);
    e->eval_layout = ddp_gpu_slot_layout(e->base.eval_shards, batch, e->picture, e->answer, false);
}

/* Gradients and activations are the card's. */
static void memory(const struct ddp_engine_conf *c, struct ddp_engine_memory *out)
{
    (void)c;
    *out = (struct ddp_engine_memory){0};
}

static int init(struct ddp_engine *base, struct ddp_error *err)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    struct ddp_comm *comm = base->conf.comm;
    plan(e);
    int status = ddp_comm_agree(comm, open_device(e, err), err);
    if (status == 0)
        status = ddp_gpu_agree(comm, e->api, e->device, base->conf.cfg->comm.share_gpu, err);
    if (status == 0)
        status = choose_plans(e, err);
    if (status == 0)
        status = e->api->stream_create(e->gpu, false, &e->compute, err);
    if (status == 0)
        status = e->api->stream_create(e->gpu, true, &e->copy, err);
    if (status == 0)
        status = ddp_comm_agree(comm, ddp_gpu_engine_allocate(e, err), err);
    if (status == 0)
        status = ddp_comm_agree(comm, meet(e, err), err);
    if (status == 0)
        status = ddp_comm_agree(comm, start_reduce(e, err), err);
    if (status == 0)
        ddp_gpu_engine_describe(e);
    e->made = status == 0;
    return status;
}

static void close_device(struct ddp_gpu_engine *e, bool abort)
{
    if (e->comm && abort)
        e->api->comm_close(e->comm, true); /* ends work that waits for peers, so that memory can be freed */
    for (int i = 0; i < DDP_GPU_PENDING; i++) {
        ddp_gpu_slot_destroy(e, &e->slot[i]);
        ddp_gpu_slot_destroy(e, &e->eval_slot[i]);
    }
    ddp_gpu_updater_finish(&e->updater);
    ddp_gpu_reduce_destroy(e->reduce);
    if (e->comm && !abort)
        e->api->comm_close(e->comm, false);
    ddp_gpu_pass_destroy(e->train);
    ddp_gpu_pass_destroy(e->eval);
    e->api->release(e->gpu, e->data);
    e->api->release(e->gpu, e->loss);
    e->api->release(e->gpu, e->eval_loss);
    e->api->release_pinned(e->gpu, e->eval_host);
    if (e->compute)
        e->api->stream_destroy(e->compute);
    if (e->copy)
        e->api->stream_destroy(e->copy);
    e->api->close(e->gpu);
}

/* A device that ran steps and is to be aborted may not answer any more: freeing its memory would wait for it,
 * so the driver does that when the process ends. */
static void finish(struct ddp_engine *base, bool abort)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    if (abort && e->made)
        return;
    if (e->gpu)
        close_device(e, abort);
    ddp_gpu_lock_destroy(e->lock);
    if (e->lock_text.s)
        ddp_text_finish(&e->lock_text);
    free(e->node_ranks);
    free(e->label);
    free(e->leaf);
    free(e->masters);
}

const struct ddp_engine_ops ddp_engine_gpu = {
    .size = sizeof(struct ddp_gpu_engine),
    .depth = DDP_GPU_PENDING,
    .model = DDP_MODEL_FOR_DEVICE,
    .form = DDP_LOADER_BYTES,
    .memory = memory,
    .init = init,
    .finish = finish,
    .upload = ddp_gpu_engine_upload,
    .download = ddp_gpu_engine_download,
    .enqueue = ddp_gpu_engine_enqueue,
    .collect = ddp_gpu_engine_collect,
    .eval = ddp_gpu_engine_eval,
    .eval_end = ddp_gpu_engine_eval_end,
    .find_bad = ddp_gpu_engine_find_bad,
};
