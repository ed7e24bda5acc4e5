/* The optimizer's stages and the running statistics over an owner's slices. */
#include "engine/gpu/update.h"

#include <stdlib.h>

#include "base/base.h"

static void run(void *ctx, int stage, const struct ddp_gpu_slice *slice, double *values,
                struct ddp_gpu_stream *s)
{
    const struct ddp_gpu_updater *u = ctx;
    ddp_optim_device_run(u->optim, stage, slice, values, s);
}

static void between(void *ctx, int stage, const double *values, struct ddp_gpu_stream *s)
{
    const struct ddp_gpu_updater *u = ctx;
    ddp_optim_device_between(u->optim, stage, values, s);
}

static void stats(void *ctx, const struct ddp_gpu_slice *slice, struct ddp_gpu_stream *s)
{
    const struct ddp_gpu_updater *u = ctx;
    struct ddp_gpu_stats_args args = u->stats;
    args.lo = slice->lo;
    args.hi = slice->hi;
    args.nodes = slice->nodes;
    ddp_gpu_reduce_transfer(u->reduce)->api->kernels->stats->stats(s, &args);
}

static size_t stat_bytes(const struct ddp_flat *flat)
{
    return (size_t)(flat->ntensors - flat->ntrained) * sizeof(struct ddp_gpu_stat);
}

static int upload_stats(struct ddp_gpu_updater *u, const struct ddp_flat *flat, struct ddp_error *err)
{
    const struct ddp_gpu_transfer *t = ddp_gpu_reduce_transfer(u->reduce);
    const int n = flat->ntensors - flat->ntrained;
    if (n == 0)
        return 0;
    struct ddp_gpu_stat *stat = ddp_calloc((size_t)n, sizeof *stat);
    for (int i = 0; i < n; i++) {
        const struct ddp_flat_tensor *from = &flat->tensor[flat->ntrained + i];
        stat[i] = (struct ddp_gpu_stat){.lo = from->offset,
                                        .hi = from->offset + from->size,
                                        .pixels = from->stat_pixels,
                                        .momentum = from->param.momentum,
                                        .var = from->param.role == DDP_PARAM_RUNNING_VAR,
                                        .synced = from->stat_synced};
    }
    int status = t->api->alloc(t->gpu, stat_bytes(flat), &u->stat, err);
    if (status == 0)
        status = ddp_gpu_upload(t, u->stat, stat, stat_bytes(flat), err);
    free(stat);
    return status;
}

static size_t average_bytes(const struct ddp_optim_device_conf *c)
{
    return c->cfg->optim.ema > 0 ? (size_t)c->flat->total * sizeof(float) : 0;
}

static size_t average_weights_bytes(const struct ddp_optim_device_conf *c)
{
    const bool own = c->cfg->optim.ema > 0 && c->type != DDP_GPU_F32;
    return own ? (size_t)c->flat->total * ddp_gpu_type_bytes(c->type) : 0;
}

static int allocate_average(struct ddp_gpu_updater *u, struct ddp_error *err)
{
    const struct ddp_gpu_transfer *t = ddp_gpu_reduce_transfer(u->reduce);
    void *average = NULL;
    int status = average_bytes(&u->conf) ? t->api->alloc(t->gpu, average_bytes(&u->conf), &average, err) : 0;
    u->average = average;
    u->average_weights = average;
    if (status == 0 && average_weights_bytes(&u->conf)) {
        u->average_weights = NULL;
        status = t->api->alloc(t->gpu, average_weights_bytes(&u->conf), &u->average_weights, err);
    }
    return status ? ddp_error_prefix(err, "optim.ema") : 0;
}

int ddp_gpu_updater_init(struct ddp_gpu_updater *u, const struct ddp_optim_device_conf *conf, int shards,
                         struct ddp_gpu_reduce *reduce, struct ddp_error *err)
{
    *u = (struct ddp_gpu_updater){.reduce = reduce, .conf = *conf};
    int status = ddp_optim_device_create(conf, reduce, &u->optim, err);
    if (status == 0)
        status = upload_stats(u, conf->flat, err);
    if (status == 0)
        status = allocate_average(u, err);
    if (status)
        return status;
    u->stats = (struct ddp_gpu_stats_args){.scale = ddp_gpu_reduce_guard(reduce),
                                           .refused = ddp_gpu_reduce_refused(reduce),
                                           .shards = shards,
                                           .nstats = conf->flat->ntensors - conf->flat->ntrained,
                                           .stat = u->stat,
                                           .params = ddp_gpu_reduce_params(reduce)};
    u->apply = (struct ddp_gpu_apply){.ctx = u,
                                      .stages = ddp_optim_device_stages(u->optim),
                                      .run = run,
                                      .between = between,
                                      .stats = stats};
    return 0;
}

void ddp_gpu_updater_finish(struct ddp_gpu_updater *u)
{
    if (!u->reduce)
        return;
    const struct ddp_gpu_transfer *t = ddp_gpu_reduce_transfer(u->reduce);
    if (u->average_weights != u->average)
        t->api->release(t->gpu, u->average_weights);
    t->api->release(t->gpu, u->average);
    t->api->release(t->gpu, u->stat);
    ddp_optim_device_destroy(u->optim);
    *u = (struct ddp_gpu_updater){0};
}

size_t ddp_gpu_updater_bytes(const struct ddp_optim_device_conf *conf)
{
    return ddp_optim_device_bytes(conf) + ddp_gpu_align(stat_bytes(conf->flat)) +
           ddp_gpu_align(average_bytes(conf)) + ddp_gpu_align(average_weights_bytes(conf));
}

void ddp_gpu_updater_begin(struct ddp_gpu_updater *u, const struct ddp_gpu_step *step)
{
    ddp_optim_device_begin(u->optim, step);
    u->stats.step = step;
}

void ddp_gpu_updater_gather(struct ddp_gpu_updater *u)
{
    if (u->average)
        ddp_gpu_reduce_gather(u->reduce, ddp_optim_device_average(u->optim), u->average, u->average_weights);
}
