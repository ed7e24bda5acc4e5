/* An optimizer on a device: the list of stages (kind.h), enqueued slice by slice. Sibling: optim.c. */
#include "optim/device.h"

#include <stdlib.h>

#include "optim/update_kernels.h"
#include "optim/kind.h"
#include "optim/optim.h"

/* Device memory, each an allocation of its own. */
enum region {
    SETTING, /* struct ddp_gpu_setting [trained tensors] */
    TENSOR,  /* int32 [trained blocks] */
    FACTOR,  /* double [2]; clipping or loss scaling */
    STATE,   /* float [kept], an array of each that the config has */
    REGIONS = STATE + DDP_OPTIM_ALL_ARRAYS
};

struct ddp_optim_device {
    struct ddp_optim_device_conf conf;
    struct ddp_optim_plan plan;
    const struct ddp_gpu_transfer *transfer;
    const struct ddp_update_device_kernels *kernels;
    void *at[REGIONS];
    struct ddp_gpu_update_args update; /* what all updates share */
    struct ddp_gpu_between_args between;
};

static void plan_regions(const struct ddp_optim_device_conf *c, const struct ddp_optim_plan *plan,
                         size_t n[REGIONS])
{
    for (int i = 0; i < REGIONS; i++)
        n[i] = 0;
    n[SETTING] = (size_t)c->flat->ntrained * sizeof(struct ddp_gpu_setting);
    n[TENSOR] = (size_t)(c->flat->stats / DDP_BLOCK) * sizeof(int32_t);
    n[FACTOR] = plan->pass[0].factor ? 2 * sizeof(double) : 0;
    for (int i = 0; i < plan->narrays; i++)
        n[STATE + plan->array[i]] = (size_t)c->kept * sizeof(float);
}

size_t ddp_optim_device_bytes(const struct ddp_optim_device_conf *conf)
{
    const struct ddp_optim_plan plan = ddp_optim_plan(conf->cfg, conf->scaled);
    size_t n[REGIONS], bytes = 0;
    plan_regions(conf, &plan, n);
    for (int i = 0; i < REGIONS; i++)
        bytes += ddp_gpu_align(n[i]);
    return bytes;
}

/* The list, its values padded to pairs: what ranks exchange of them begins at 16 bytes. */
static struct ddp_optim_plan plan_of(const struct ddp_config *cfg, bool scaled)
{
    struct ddp_optim_plan plan = ddp_optim_plan(cfg, scaled);
    plan.values.stride += plan.values.stride % 2;
    return plan;
}

int ddp_optim_device_block_values(const struct ddp_config *cfg, bool scaled)
{
    return plan_of(cfg, scaled).values.stride;
}

int ddp_optim_device_stages(const struct ddp_optim_device *o)
{
    return o->plan.npasses;
}

static int allocate(struct ddp_optim_device *o, struct ddp_error *err)
{
    size_t n[REGIONS];
    int status = 0;
    plan_regions(&o->conf, &o->plan, n);
    for (int i = 0; status == 0 && i < REGIONS; i++)
        if (n[i] > 0)
            status = o->transfer->api->alloc(o->transfer->gpu, n[i], &o->at[i], err);
    return status ? ddp_error_prefix(err, "optimizer on the device") : 0;
}

static int upload_settings(struct ddp_optim_device *o, struct ddp_error *err)
{
    const struct ddp_flat *flat = o->conf.flat;
    const size_t n = (size_t)flat->ntrained;
    struct ddp_optim_setting *from = ddp_calloc(n + 1, sizeof *from);
    struct ddp_gpu_setting *to = ddp_calloc(n + 1, sizeof *to);
    int32_t *tensor = ddp_optim_block_tensors(flat);
    int status = ddp_optim_settings(o->conf.cfg, flat, from, err);
    for (int i = 0; i < flat->ntrained; i++) {
        const struct ddp_flat_tensor *t = &flat->tensor[i];
        int64_t end = i + 1 < flat->ntrained ? flat->tensor[i + 1].offset : flat->stats;
        to[i] = (struct ddp_gpu_setting){.lr_scale = from[i].lr_scale,
                                         .weight_decay = from[i].weight_decay,
                                         .trust = 1,
                                         .adapt = from[i].adapt,
                                         .first_block = (int32_t)(t->offset / DDP_BLOCK),
                                         .blocks = (int32_t)((end - t->offset) / DDP_BLOCK),
                                         .end = t->offset + (t->size + 7) / 8 * 8};
    }
    if (status == 0)
        status = ddp_gpu_upload(o->transfer, o->at[SETTING], to, n * sizeof *to, err);
    if (status == 0)
        status = ddp_gpu_upload(o->transfer, o->at[TENSOR], tensor,
                                (size_t)(flat->stats / DDP_BLOCK) * sizeof *tensor, err);
    free(tensor);
    free(to);
    free(from);
    return status;
}

/* What the kernels' arguments have in common from slice to slice. */
static void fill_args(struct ddp_optim_device *o, struct ddp_gpu_reduce *reduce)
{
    const struct ddp_optim_hyper hyper = ddp_optim_hyper(o->conf.cfg);
    o->update = (struct ddp_gpu_update_args){
        .scale = ddp_gpu_reduce_guard(reduce),
        .factor = o->at[FACTOR],
        .refused = o->conf.scaled ? NULL : ddp_gpu_reduce_refused(reduce),
        .hyper = hyper,
        .setting = o->at[SETTING],
        .tensor = o->at[TENSOR],
        .params = ddp_gpu_reduce_params(reduce),
        .type = o->conf.type,
        .weights = o->conf.type == DDP_GPU_F32 ? NULL : ddp_gpu_reduce_weights(reduce),
        .blend = o->plan.blend,
        .layout = o->plan.values,
    };
    o->between = (struct ddp_gpu_between_args){
        .layout = o->plan.values,
        .blocks = o->conf.flat->stats / DDP_BLOCK,
        .hyper = hyper,
        .setting = o->at[SETTING],
        .ntensors = o->conf.flat->ntrained,
        .clip_norm = o->conf.cfg->optim.clip_norm,
        .scale = o->conf.scaled ? ddp_gpu_reduce_guard(reduce) : NULL,
        .interval = o->conf.interval,
        .guard = o->conf.scaled ? NULL : ddp_gpu_reduce_guard(reduce),
        .factor = o->at[FACTOR],
    };
}

int ddp_optim_device_create(const struct ddp_optim_device_conf *conf, struct ddp_gpu_reduce *reduce,
                            struct ddp_optim_device **out, struct ddp_error *err)
{
    if (conf->scaled && conf->interval < 1)
        return ddp_fail(err, DDP_E_USAGE,
                        "optimizer on the device: the loss scale grows after %d steps; at least 1",
                        conf->interval);
    struct ddp_optim_device *o = ddp_calloc(1, sizeof *o);
    o->conf = *conf;
    o->plan = plan_of(conf->cfg, conf->scaled);
    o->transfer = ddp_gpu_reduce_transfer(reduce);
    o->kernels = o->transfer->api->kernels->update;
    int status = allocate(o, err);
    if (status == 0)
        status = upload_settings(o, err);
    if (status) {
        ddp_optim_device_destroy(o);
        return status;
    }
    fill_args(o, reduce);
    *out = o;
    return 0;
}

void ddp_optim_device_destroy(struct ddp_optim_device *o)
{
    if (!o)
        return;
    for (int i = REGIONS - 1; i >= 0; i--)
        o->transfer->api->release(o->transfer->gpu, o->at[i]);
    free(o);
}

void ddp_optim_device_step(const struct ddp_config *cfg, int64_t step, int64_t total_steps,
                           int64_t steps_per_epoch, struct ddp_gpu_step *out)
{
    out->lr = ddp_schedule_lr(cfg, step, total_steps, steps_per_epoch);
    out->bias1 = ddp_optim_bias(cfg->optim.beta1, step);
    out->bias2 = ddp_optim_bias(cfg->optim.beta2, step);
    out->first = step == 0;
}

void ddp_optim_device_begin(struct ddp_optim_device *o, const struct ddp_gpu_step *step)
{
    o->update.step = step;
    o->between.step = step;
}

/* Kernels count from the flat index: the array, moved so that the slice's first element is at index lo. */
static float *moved(void *state, const struct ddp_gpu_slice *slice)
{
    if (!state)
        return NULL;
    return (float *)((uintptr_t)state + (uintptr_t)((slice->kept - slice->lo) * (int64_t)sizeof(float)));
}

void ddp_optim_device_run(struct ddp_optim_device *o, int stage, const struct ddp_gpu_slice *slice,
                          double *values, struct ddp_gpu_stream *stream)
{
    const struct ddp_optim_pass *pass = &o->plan.pass[stage];
    const struct ddp_gpu_optim *kind = o->kernels->kind[o->conf.cfg->optim.type];
    ddp_gpu_update *kernel = pass->stage >= 0 ? kind->stage[pass->stage] : NULL;
    struct ddp_gpu_update_args args = o->update;
    args.lo = slice->lo;
    args.hi = slice->hi;
    args.nodes = slice->nodes;
    args.sum = slice->sum;
    for (int i = 0; i < DDP_OPTIM_ARRAYS; i++)
        args.state[i] = moved(o->at[STATE + i], slice);
    args.average = stage + 1 == o->plan.npasses ? moved(o->at[STATE + DDP_OPTIM_AVERAGE], slice) : NULL;
    args.values = values;
    args.leaves = pass->leaves;
    (kernel ? kernel : o->kernels->norms)(stream, &args);
}

void ddp_optim_device_between(struct ddp_optim_device *o, int stage, const double *values,
                              struct ddp_gpu_stream *stream)
{
    const struct ddp_optim_pass *pass = &o->plan.pass[stage];
    const struct ddp_gpu_optim *kind = o->kernels->kind[o->conf.cfg->optim.type];
    struct ddp_gpu_between_args args = o->between;
    args.values = values;
    args.decide = pass->factor;
    (pass->trust ? kind->trust : o->kernels->between)(stream, &args);
}

const double *ddp_optim_device_factor(const struct ddp_optim_device *o)
{
    return o->conf.cfg->optim.clip_norm > 0 ? o->at[FACTOR] : NULL;
}

const float *ddp_optim_device_average(const struct ddp_optim_device *o)
{
    return o->at[STATE + DDP_OPTIM_AVERAGE];
}

float *ddp_optim_device_array(const struct ddp_optim_device *o, int i)
{
    return i >= 0 && i < o->plan.narrays ? o->at[STATE + o->plan.array[i]] : NULL;
}
