/* What the engine takes of its card: counted before any of it is taken. */
#include <stdio.h>

#include "engine/gpu/private.h"

/* The front bucket is a part of the others: what it costs to send it all waits for. */
enum { FRONT_PART = 16 };

/* For evaluation only the parameters are wanted: one rank, one shard. */
struct ddp_gpu_reduce_conf ddp_gpu_engine_reduce_conf(const struct ddp_gpu_engine *e)
{
    const struct ddp_config *cfg = e->base.conf.cfg;
    struct ddp_gpu_reduce_conf conf = {
        .flat = e->base.flat, .size = 1, .shards = 1, .bucket = ddp_engine_bucket(cfg, 16), .type = e->type};
    if (!e->train)
        return conf;
    conf.front = conf.bucket / FRONT_PART;
    conf.rank = e->base.conf.comm->seat;
    conf.size = e->base.conf.comm->size;
    conf.nodes = e->base.conf.comm->nodes;
    conf.ranks = e->node_ranks;
    conf.shards = e->base.conf.ranks.shards;
    conf.fast = cfg->reduce.mode == DDP_REDUCE_FAST;
    conf.beside = ddp_gpu_pass_beside(e->train);
    conf.loss_scale = e->type == DDP_GPU_F16 ? cfg->train.loss_scale : 0;
    conf.block_values = ddp_optim_device_block_values(cfg, conf.loss_scale > 0);
    conf.small_width = ddp_gpu_pass_sync_width(e->train);
    conf.masters = e->masters;
    return conf;
}

struct ddp_optim_device_conf ddp_gpu_engine_optim_conf(const struct ddp_gpu_engine *e)
{
    const struct ddp_gpu_reduce_conf reduce = ddp_gpu_engine_reduce_conf(e);
    return (struct ddp_optim_device_conf){.cfg = e->base.conf.cfg,
                                          .flat = e->base.flat,
                                          .kept = ddp_gpu_reduce_kept(&reduce),
                                          .type = e->type,
                                          .scaled = reduce.loss_scale > 0,
                                          .interval = (int)e->base.conf.cfg->train.loss_scale_interval};
}

/* Drivers round allocations up, large ones to pages of 2 MiB; there are some forty, ten of them large. */
enum { ROUNDING = 16 << 20 };

/* What NCCL takes for its kernels, channels and buffers once there are several ranks; it does not tell
 * beforehand, and comes after the plan. Some hundred MB on 8 GPUs; of small cards a share. */
enum { NCCL_MOST = 1 << 30, NCCL_SHARE = 32 };

static size_t nccl_bytes(int ranks, size_t total)
{
    return ranks < 2 ? 0 : total / NCCL_SHARE < NCCL_MOST ? total / NCCL_SHARE : NCCL_MOST;
}

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
    const struct ddp_gpu_reduce_conf conf = ddp_gpu_engine_reduce_conf(e);
    struct need n = {.reduce = ddp_gpu_reduce_bytes(&conf)};
    n.passes = ddp_gpu_pass_bytes(e->eval, batch);
    n.rest = ROUNDING + result_bytes(e->base.my_shards) +
             result_bytes(e->base.eval_batches * e->base.eval_shards) +
             (size_t)((double)(DDP_GPU_PENDING * e->eval_layout.total) * part);
    if (e->train) {
        const struct ddp_optim_device_conf optim = ddp_gpu_engine_optim_conf(e);
        n.reduce += ddp_gpu_updater_bytes(&optim);
        n.passes += ddp_gpu_pass_bytes(e->train, batch);
        n.rest += (size_t)((double)(DDP_GPU_PENDING * e->layout.total) * part) + e->nccl;
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

/* As many branches as fit. Ranks need not agree on it. */
static struct need fit_branches(struct ddp_gpu_engine *e, size_t room)
{
    struct need n = needs(e, e->layout.batch);
    while (n.all > room && e->train && ddp_gpu_pass_branches(e->train) > 1) {
        ddp_gpu_pass_narrow(e->train, ddp_gpu_pass_branches(e->train) / 2);
        n = needs(e, e->layout.batch);
    }
    return n;
}

/* The plan against the card, before any of it is allocated. Ranks that share a card share its memory. */
static int check_memory(struct ddp_gpu_engine *e, size_t *room, struct ddp_error *err)
{
    char text[5][32], way[128], plan[256];
    size_t free, total;
    int status = e->api->memory(e->gpu, &free, &total, err);
    if (status)
        return status;
    e->nccl = nccl_bytes(e->base.conf.comm->size, total);
    *room = e->base.conf.cfg->comm.share_gpu ? free / (size_t)e->base.conf.comm->local_size : free;
    const struct need n = fit_branches(e, *room);
    e->about.bytes = n.all;
    snprintf(plan, sizeof plan,
             "%s: %s activations and scratch + %s parameters, gradients and optimizer state + %s input, "
             "rounding%s",
             ddp_bytes_text((double)n.all, text[0]), ddp_bytes_text((double)n.passes, text[1]),
             ddp_bytes_text((double)n.reduce, text[2]), ddp_bytes_text((double)n.rest, text[3]),
             e->nccl > 0 ? " and NCCL's own" : "");
    if (e->base.conf.comm->rank == 0)
        ddp_log(DDP_LOG_INFO, "GPU %s: the plan takes %s", e->about.device.name, plan);
    if (n.all <= *room)
        return 0;
    const int fits = largest_batch(e, *room);
    if (fits > 0)
        snprintf(way, sizeof way, "train.batch = %lld is the largest that fits with these train.shards",
                 (long long)fits * e->base.conf.cfg->train.shards);
    else
        snprintf(way, sizeof way, "not even one sample a shard fits: use a smaller model");
    return ddp_fail(err, DDP_E_RESOURCE,
                    "model '%s' does not fit on the GPU (%s): the plan takes %s; %s are free. %s",
                    e->base.conf.cfg->model.name, e->about.device.name, plan,
                    ddp_bytes_text((double)*room, text[4]), way);
}

static int allocate_results(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    const int64_t evals = e->base.eval_batches * e->base.eval_shards;
    void *loss = NULL, *eval = NULL, *host = NULL;
    int status = e->api->alloc(e->gpu, result_bytes(e->base.my_shards), &loss, err);
    if (status == 0)
        status = e->api->alloc(e->gpu, result_bytes(evals), &eval, err);
    if (status == 0)
        status = e->api->alloc_pinned(e->gpu, result_bytes(evals), &host, err);
    e->loss = loss;
    e->eval_loss = eval;
    e->eval_host = host;
    if (status)
        return status;
    e->correct = (int32_t *)(e->loss + e->base.my_shards);
    e->eval_correct = (int32_t *)(e->eval_loss + evals);
    e->leaf = ddp_calloc((size_t)e->base.my_shards + 1, sizeof *e->leaf);
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

int ddp_gpu_engine_allocate(struct ddp_gpu_engine *e, struct ddp_error *err)
{
    size_t room;
    int status = check_memory(e, &room, err);
    if (status)
        return status;
    e->layout.resident = ddp_gpu_data_fits(e, room - e->about.bytes);
    if (e->layout.resident)
        e->base.form = DDP_LOADER_INDICES;
    e->layout = ddp_gpu_slot_train_layout(e, e->layout.batch, e->layout.resident);
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
