/* The life of an engine: device, plans, memory plan, memory, peers; each step agreed on by all ranks. */
#include "engine/gpu/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "engine/gpu/private.h"
#include "reduce/tree.h"

/* ---- device ---- */

static const char *const precision_names[] = {"fp32", "bf16", "fp16"};

static int open_device(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const struct ddp_config *cfg = e->conf.cfg;
    const struct ddp_comm *comm = e->conf.comm;
    int status = ddp_gpu_device_pick(e->api, e->conf.gpu, comm->rank, comm->size, cfg->comm.share_gpu,
                                     &e->device, err);
    if (status == 0)
        status = e->api->info(e->device, &e->about.device, err);
    if (status == 0)
        status = ddp_gpu_check_precision(&e->about.device, cfg, err);
    if (status)
        return status;
    e->api->versions(&e->about.versions);
    e->about.precision = precision_names[e->type];
    return e->api->open(e->device, &e->gpu, err);
}

/* ---- plans ---- */

static void sync_sum(void *ctx, struct ddp_gpu_stream *stream, int width, const float *leaves, float *sum)
{
    const struct ddp_gpu_engine *e = ctx;
    ddp_gpu_reduce_small(e->reduce, stream, width, leaves, sum);
}

static int make_passes(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const struct ddp_config *cfg = e->conf.cfg;
    struct ddp_gpu_pass_conf conf = {.api = e->api,
                                     .gpu = e->gpu,
                                     .model = e->conf.model,
                                     .resident = 1,
                                     .type = e->type,
                                     .tf32 = cfg->train.tf32,
                                     .tune = cfg->gpu.tune,
                                     .seed = (uint64_t)cfg->seed,
                                     .lock = e->lock};
    ddp_augment_init(&conf.augment, cfg, &e->conf.test_set->info, false);
    int status = ddp_gpu_pass_create(&conf, &e->eval, err);
    if (status || !e->conf.train_set)
        return status;
    ddp_augment_init(&conf.augment, cfg, &e->conf.train_set->info, true);
    conf.training = true;
    conf.resident = ddp_model_needs_sync(e->conf.model) ? e->conf.my_shards : 1;
    conf.sync = sync_sum;
    conf.sync_ctx = e;
    return ddp_gpu_pass_create(&conf, &e->train, err);
}

static int read_lock(struct ddp_gpu_engine *e, const struct ddp_gpu_identity *here, struct ddp_error *err)
{
    struct ddp_gpu_lock *lock = NULL;
    int status = e->conf.lock_path ? ddp_gpu_lock_read(e->conf.lock_path, &lock, err) : 0;
    if (status == 0 && lock)
        status = ddp_gpu_lock_match(lock, here, err);
    if (status && e->conf.relock) {
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
    if (e->conf.comm->rank == 0)
        ddp_gpu_lock_text(e->lock, &t);
    int64_t bytes = (int64_t)t.len;
    int status = ddp_comm_bcast(e->conf.comm, &bytes, sizeof bytes, 0, err);
    char *text = ddp_calloc((size_t)bytes + 1, 1);
    if (t.len)
        memcpy(text, t.s, t.len);
    if (status == 0)
        status = ddp_comm_bcast(e->conf.comm, text, (size_t)bytes, 0, err);
    if (status == 0 && e->conf.comm->rank > 0)
        status = ddp_gpu_lock_parse("plan lock of rank 0", text, (size_t)bytes, &e->lock, err);
    free(text);
    ddp_text_finish(&t);
    return status;
}

static int choose_plans(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const bool lead = e->conf.comm->rank == 0;
    struct ddp_gpu_identity here;
    int status = 0;
    ddp_gpu_identity_init(&here, &e->about.device, &e->about.versions);
    if (lead && (status = read_lock(e, &here, err)) == 0)
        status = make_passes(e, err);
    status = ddp_comm_agree(e->conf.comm, status, err);
    if (status == 0)
        status = share_lock(e, err);
    if (status == 0 && !lead)
        status = make_passes(e, err);
    if (status == 0)
        ddp_gpu_lock_hash(e->lock, e->about.lock_hash);
    return ddp_comm_agree(e->conf.comm, status, err);
}

/* ---- memory ---- */

/* For evaluation only the parameters are wanted: one rank, one shard. */
static struct ddp_gpu_reduce_conf reduce_conf(const struct ddp_gpu_engine *e)
{
    const struct ddp_config *cfg = e->conf.cfg;
    struct ddp_gpu_reduce_conf conf = {.cfg = cfg,
                                       .flat = e->flat,
                                       .size = 1,
                                       .shards = 1,
                                       .bucket = (int64_t)(cfg->reduce.bucket_mb * 1e6 / sizeof(float)),
                                       .type = e->type};
    if (!e->train)
        return conf;
    conf.rank = e->conf.comm->rank;
    conf.size = e->conf.comm->size;
    conf.shards = e->conf.shards;
    conf.fast = cfg->reduce.mode == DDP_REDUCE_FAST;
    conf.side_by_side = ddp_model_needs_sync(e->conf.model);
    conf.loss_scale = e->type == DDP_GPU_F16 ? cfg->train.loss_scale : 0;
    conf.loss_scale_interval = (int)cfg->train.loss_scale_interval;
    conf.small_width = ddp_gpu_pass_sync_width(e->train);
    return conf;
}

/* Drivers round allocations up, large ones to pages of 2 MiB; there are some forty, ten of them large. */
enum { ROUNDING = 16 << 20 };

struct need { /* bytes */
    size_t passes, reduce, rest, all;
};

static size_t result_bytes(int64_t losses)
{
    return (size_t)(losses + 1) * (sizeof(float) + sizeof(int32_t));
}

static struct need needs(const struct ddp_gpu_engine *e, int batch)
{
    const double part = (double)batch / e->layout.batch;
    const struct ddp_gpu_reduce_conf conf = reduce_conf(e);
    struct need n = {.reduce = ddp_gpu_reduce_bytes(&conf)};
    n.passes = ddp_gpu_pass_bytes(e->eval, batch);
    n.rest = ROUNDING + result_bytes(e->conf.my_shards) + result_bytes(e->eval_batches * e->eval_shards) +
             (size_t)((double)(DDP_GPU_PENDING * e->eval_layout.total) * part);
    if (e->train) {
        n.passes += ddp_gpu_pass_bytes(e->train, batch);
        n.rest += (size_t)((double)(DDP_GPU_PENDING * e->layout.total) * part);
    }
    n.all = n.passes + n.reduce + n.rest;
    return n;
}

/* Samples of a shard that fit into `room`; 0: none. */
static int largest_batch(const struct ddp_gpu_engine *e, size_t room)
{
    int lo = 0, hi = e->layout.batch;
    while (hi - lo > 1) {
        const int mid = lo + (hi - lo) / 2;
        if (needs(e, mid).all <= room)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* The plan against the card, before any of it is allocated. Ranks that share a card share its memory. */
static int check_memory(struct ddp_gpu_engine *e, size_t *room, struct ddp_error *err)
{
    const struct need n = needs(e, e->layout.batch);
    char text[5][32], way[128], plan[256];
    size_t free, total;
    int status = e->api->memory(e->gpu, &free, &total, err);
    if (status)
        return status;
    *room = e->conf.cfg->comm.share_gpu ? free / (size_t)e->conf.comm->size : free;
    e->about.bytes = n.all;
    snprintf(plan, sizeof plan,
             "%s: %s activations and scratch + %s parameters, gradients and optimizer state + %s input and "
             "rounding",
             ddp_bytes_text((double)n.all, text[0]), ddp_bytes_text((double)n.passes, text[1]),
             ddp_bytes_text((double)n.reduce, text[2]), ddp_bytes_text((double)n.rest, text[3]));
    if (e->conf.comm->rank == 0)
        ddp_log(DDP_LOG_INFO, "GPU %s: the plan takes %s", e->about.device.name, plan);
    if (n.all <= *room)
        return 0;
    const int fits = largest_batch(e, *room);
    if (fits > 0)
        snprintf(way, sizeof way, "train.batch = %lld is the largest that fits with these train.shards",
                 (long long)fits * e->conf.cfg->train.shards);
    else
        snprintf(way, sizeof way, "not even one sample a shard fits: use a smaller model");
    return ddp_fail(
        err, DDP_E_RESOURCE, "model '%s' does not fit on the GPU (%s): the plan takes %s; %s are free. %s",
        e->conf.cfg->model.name, e->about.device.name, plan, ddp_bytes_text((double)*room, text[4]), way);
}

static int allocate_results(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const int64_t evals = e->eval_batches * e->eval_shards;
    void *loss = NULL, *eval = NULL, *host = NULL;
    int status = e->api->alloc(e->gpu, result_bytes(e->conf.my_shards), &loss, err);
    if (status == 0)
        status = e->api->alloc(e->gpu, result_bytes(evals), &eval, err);
    if (status == 0)
        status = e->api->alloc_pinned(e->gpu, result_bytes(evals), &host, err);
    e->loss = loss;
    e->eval_loss = eval;
    e->eval_host = host;
    if (status)
        return status;
    e->correct = (int32_t *)(e->loss + e->conf.my_shards);
    e->eval_correct = (int32_t *)(e->eval_loss + evals);
    e->leaf = ddp_calloc((size_t)e->conf.my_shards + 1, sizeof *e->leaf);
    return 0;
}

static int allocate_slots(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    int status = 0;
    for (int i = 0; i < DDP_GPU_PENDING && status == 0; i++) {
        status = ddp_gpu_slot_create(e, &e->eval_layout, &e->eval_slot[i], err);
        if (status == 0 && e->train)
            status = ddp_gpu_slot_create(e, &e->layout, &e->slot[i], err);
    }
    return status;
}

static int allocate(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    size_t room;
    int status = check_memory(e, &room, err);
    if (status)
        return status;
    e->layout.resident = ddp_gpu_data_fits(e, room - e->about.bytes);
    e->about.resident_data = e->layout.resident;
    e->layout = ddp_gpu_slot_layout(e->layout.shards, e->layout.batch, e->picture, e->layout.resident);
    if (e->layout.resident)
        status = ddp_gpu_data_load(e, err);
    if (status == 0)
        status = allocate_results(e, err);
    if (status == 0)
        status = allocate_slots(e, err);
    if (status == 0)
        status = ddp_gpu_pass_allocate(e->eval, err);
    if (status == 0 && e->train)
        status = ddp_gpu_pass_allocate(e->train, err);
    return status;
}

/* ---- peers ---- */

static int meet(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    struct ddp_comm *comm = e->conf.comm;
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
        status = e->api->comm_open(e->gpu, id, comm->rank, comm->size, e->conf.cfg->comm.share_gpu,
                                   e->timeout, &e->comm, err);
    return status;
}

static int start_reduce(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const struct ddp_gpu_reduce_conf conf = reduce_conf(e);
    const int status = ddp_gpu_reduce_create(&conf, e->api, e->gpu, e->comm, e->compute, &e->reduce, err);
    if (status)
        return status;
    e->params = ddp_gpu_reduce_params(e->reduce);
    e->weights = ddp_gpu_reduce_weights(e->reduce);
    return 0;
}

/* ---- life ---- */

static void describe(struct ddp_gpu_engine *e)
{
    const struct ddp_config *cfg = e->conf.cfg;
    const struct ddp_dataset_info *data = &e->conf.test_set->info;
    const int S = (int)cfg->train.shards, rank = e->conf.comm->rank, size = e->conf.comm->size;
    const int batch = (int)((cfg->train.batch + S - 1) / S);
    e->type = (enum ddp_gpu_type)cfg->train.precision;
    e->flat = ddp_model_flat(e->conf.model);
    e->graph = e->about.graph = cfg->gpu.graph;
    e->timeout = cfg->comm.timeout_s;
    e->picture = (size_t)data->shape.c * (size_t)data->shape.h * (size_t)data->shape.w;
    e->eval_shards = ddp_tree_first_shard(S, size, rank + 1) - ddp_tree_first_shard(S, size, rank);
    e->eval_batches = ddp_order_batches(data->count, cfg->train.batch);
    e->layout = ddp_gpu_slot_layout(e->conf.my_shards, batch, e->picture, false);
    e->eval_layout = ddp_gpu_slot_layout(e->eval_shards, batch, e->picture, false);
}

int ddp_gpu_engine_create(const struct ddp_gpu_engine_conf *conf, struct ddp_gpu_engine **out,
                          struct ddp_error *err)
{
    struct ddp_gpu_engine *e = ddp_calloc(1, sizeof *e);
    e->conf = *conf;
    e->api = conf->api;
    describe(e);
    int status = ddp_comm_agree(conf->comm, open_device(e, err), err);
    if (status == 0)
        status = ddp_gpu_agree(conf->comm, e->api, e->device, conf->cfg->comm.share_gpu, err);
    if (status == 0)
        status = choose_plans(e, err);
    if (status == 0)
        status = e->api->stream_create(e->gpu, false, &e->compute, err);
    if (status == 0)
        status = e->api->stream_create(e->gpu, true, &e->copy, err);
    if (status == 0)
        status = ddp_comm_agree(conf->comm, allocate(e, err), err);
    if (status == 0)
        status = ddp_comm_agree(conf->comm, meet(e, err), err);
    if (status == 0)
        status = ddp_comm_agree(conf->comm, start_reduce(e, err), err);
    if (status) {
        ddp_gpu_engine_destroy(e, true);
        return status;
    }
    *out = e;
    return 0;
}

void ddp_gpu_engine_destroy(struct ddp_gpu_engine *e, bool abort)
{
    if (!e)
        return;
    if (e->gpu) {
        if (e->comm && abort)
            e->api->comm_close(e->comm,
                               true); /* ends work that waits for peers, so that memory can be freed */
        for (int i = 0; i < DDP_GPU_PENDING; i++) {
            ddp_gpu_slot_destroy(e, &e->slot[i]);
            ddp_gpu_slot_destroy(e, &e->eval_slot[i]);
        }
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
    ddp_gpu_lock_destroy(e->lock);
    free(e->label);
    free(e->leaf);
    free(e);
}

const struct ddp_gpu_about *ddp_gpu_engine_about(const struct ddp_gpu_engine *e)
{
    return &e->about;
}

const struct ddp_gpu_lock *ddp_gpu_engine_lock(const struct ddp_gpu_engine *e)
{
    return e->lock;
}

enum ddp_loader_form ddp_gpu_engine_form(const struct ddp_gpu_engine *e)
{
    return e->about.resident_data ? DDP_LOADER_INDICES : DDP_LOADER_BYTES;
}
