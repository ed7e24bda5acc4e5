/* Carries out the plan of model/stages.h on the device: forward in order, backward against it; the sequence
 * of cpu/pass.c, enqueued. */
#include "engine/gpu/pass_private.h"

#include <stdlib.h>
#include <string.h>

#include "data/augment_kernels.h"
#include "ops/shape/flatten_kernels.h"

/* ---- plans ---- */

static int inputs(const struct ddp_stage *from) /* of the op itself */
{
    return from->fused & DDP_FUSE_ADD ? from->nin - 1 : from->nin;
}

static void describe_stage(const struct ddp_stages *plan, const struct ddp_stage *from,
                           struct ddp_gpu_stage *st)
{
    st->op = from->op->device;
    for (int k = 0; k < from->nin; k++)
        st->in[k] = plan->value[from->in[k]].shape;
    if (from->out >= 0)
        st->out = plan->value[from->out].shape;
}

static int plan_stage(struct ddp_gpu_pass *p, int s, struct ddp_device_planner planner, struct ddp_error *err)
{
    struct ddp_gpu_stage *st = &p->stage[s];
    const struct ddp_stage *from = &p->plan->stage[s];
    describe_stage(p->plan, from, st);
    if (!st->op)
        return ddp_fail(err, DDP_E_CONFIG,
                        "%s: the op has no half for a GPU (ddp/op_device.h); use device=cpu", from->where);
    planner.conf = from->conf;
    planner.plan = from->plan;
    planner.fused = from->fused;
    planner.nin = inputs(from);
    planner.accumulate = from->din[0] == DDP_GRAD_ADD;
    memcpy(planner.in, st->in, sizeof planner.in);
    planner.out = st->out;
    int status = st->op->plan ? st->op->plan(&planner, &st->plan, err) : 0;
    if (status == 0 && (st->plan.sync_doubles > 0) != (p->conf.training && from->synced))
        status = ddp_fail(err, DDP_E_INTERNAL, "its two halves do not agree on whether it is synchronised");
    if (status)
        return ddp_error_prefix(err, "%s", from->where);
    if (p->workspace_bytes < st->plan.workspace_bytes)
        p->workspace_bytes = st->plan.workspace_bytes;
    return 0;
}

int ddp_gpu_pass_create(const struct ddp_gpu_pass_conf *conf, struct ddp_gpu_pass **out,
                        struct ddp_error *err)
{
    const struct ddp_stages *plan = ddp_model_stages(conf->model);
    struct ddp_gpu_pass *p = ddp_calloc(1, sizeof *p);
    const struct ddp_device_planner planner = {.api = conf->api,
                                               .gpu = conf->gpu,
                                               .lock = conf->lock,
                                               .tune = conf->tune,
                                               .training = conf->training,
                                               .type = conf->type,
                                               .tf32 = conf->tf32,
                                               .batch = plan->batch};
    p->conf = *conf;
    p->plan = plan;
    p->stage = ddp_calloc((size_t)plan->nstages + 1, sizeof *p->stage);
    p->synced = conf->training && ddp_model_needs_sync(conf->model);
    p->branch = ddp_calloc(1, sizeof *p->branch);
    p->branch->n = conf->shards;
    ddp_gpu_pass_narrow(p, conf->branches);
    p->area = ddp_calloc((size_t)ddp_gpu_pass_beside(p), sizeof *p->area);
    p->shard = ddp_calloc((size_t)ddp_gpu_pass_beside(p), sizeof *p->shard);
    int status = 0;
    for (int s = 0; s < plan->nstages && status == 0; s++)
        status = plan_stage(p, s, planner, err);
    if (status) {
        ddp_gpu_pass_destroy(p);
        return status;
    }
    ddp_gpu_pass_plan_memory(p, plan->batch, &p->mem);
    *out = p;
    return 0;
}

/* Of a stage's parameter k. */
static bool reads_master(const struct ddp_gpu_pass *p, int s, int k)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    const bool trained = p->plan->flat->tensor[st->tensor[k]].param.role == DDP_PARAM_TRAINED;
    return !trained || !(p->stage[s].plan.weight_only & 1U << k);
}

void ddp_gpu_pass_masters(const struct ddp_gpu_pass *p, bool *masters)
{
    for (int s = 0; s < p->plan->nstages; s++)
        for (int k = 0; k < p->plan->stage[s].plan->nparams; k++)
            masters[p->plan->stage[s].tensor[k]] |= reads_master(p, s, k);
}

void ddp_gpu_pass_destroy(struct ddp_gpu_pass *p)
{
    if (!p)
        return;
    const struct ddp_gpu_api *api = p->conf.api;
    for (int s = 0; s < p->plan->nstages; s++)
        for (int i = 0; i < DDP_DEVICE_PASSES; i++)
            if (p->stage[s].plan.vendor[i])
                api->plan_destroy(p->stage[s].plan.vendor[i]);
    ddp_gpu_branches_destroy(p->branch);
    api->release(p->conf.gpu, p->memory);
    ddp_memory_finish(&p->mem);
    free(p->branch);
    free(p->shard);
    free(p->area);
    free(p->stage);
    free(p);
}

/* ---- one call ---- */

static void *span(const struct ddp_gpu_pass *p, int i, int index)
{
    return ddp_memory_span(&p->mem, p->area[i], index);
}

/* What forward and backward of a step share. */
struct run {
    struct ddp_gpu_stream *trunk;
    const float *params;
    const char *weights;
};

/* The gradients of inputs that stage st writes, or adds to. */
static void add_din(const struct ddp_gpu_pass *p, const struct ddp_stage *st, int i,
                    struct ddp_device_call *c)
{
    for (int k = 0; k < st->nin; k++) {
        if (st->din[k] == DDP_GRAD_NONE)
            continue;
        c->din[k] = span(p, i, (st->din[k] == DDP_GRAD_ASIDE ? p->mem.aside : p->mem.grad)[st->in[k]]);
        c->accumulate[k] = st->din[k] == DDP_GRAD_ADD;
    }
}

/* All that a call of stage s on resident shard i sees in forward. */
static struct ddp_device_call make_call(const struct ddp_gpu_pass *p, const struct run *run, int s, int i)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    const struct ddp_flat *flat = p->plan->flat;
    const struct ddp_gpu_stage *stage = &p->stage[s];
    const struct ddp_gpu_shard *shard = &p->shard[i];
    struct ddp_device_call c = {.api = p->conf.api,
                                .kernels = p->conf.api->kernels,
                                .stream = ddp_gpu_branch(p->branch, run->trunk, i),
                                .conf = st->conf,
                                .plan = st->plan,
                                .fused = st->fused,
                                .nin = inputs(st),
                                .out_shape = stage->out,
                                .vendor = stage->plan.vendor,
                                .epilogue = stage->plan.epilogue,
                                .type = p->conf.type,
                                .batch = p->plan->batch,
                                .training = p->conf.training,
                                .out = st->out < 0 ? NULL : span(p, i, p->mem.value[st->out]),
                                .saved = span(p, i, p->mem.saved[s]),
                                .workspace = p->workspace[i % p->branch->n],
                                .scratch = p->scratch[i % p->branch->n],
                                .step = p->step,
                                .count = &p->step->count,
                                .epoch = &p->step->epoch,
                                .factor = p->scale ? &p->scale->scale : NULL,
                                .scale = p->scale,
                                .n = shard->n,
                                .sample = shard->sample,
                                .label = shard->label,
                                .target = shard->target,
                                .mixed = shard->mixed,
                                .seed = p->conf.seed,
                                .layer = st->hash,
                                .loss = p->loss + i,
                                .correct = p->correct + i,
                                .error = (float *)(void *)(p->correct + i)}; /* one of the two is written */
    memcpy(c.in_shape, stage->in, sizeof c.in_shape);
    for (int k = 0; k < st->nin; k++)
        c.in[k] = span(p, i, p->mem.value[st->in[k]]);
    for (int k = 0; k < st->plan->nparams; k++) {
        const struct ddp_flat_tensor *t = &flat->tensor[st->tensor[k]];
        if (reads_master(p, s, k))
            c.param[k] = (float *)run->params + t->offset; /* ops only read it */
        c.weight[k] = (char *)run->weights + (size_t)t->offset * ddp_gpu_type_bytes(p->conf.type);
        if (t->param.role != DDP_PARAM_TRAINED && p->conf.training)
            c.grad[k] = ddp_memory_stats(&p->mem, p->area[i]) + (t->offset - flat->stats);
    }
    if (st->op->is_loss && p->conf.training)
        add_din(p, st, i, &c);
    return c;
}

static void add_backward(const struct ddp_gpu_pass *p, int s, int i, float *leaf, struct ddp_device_call *c)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    c->dout = span(p, i, p->mem.grad[st->out]);
    c->dout_more = span(p, i, p->mem.aside[st->out]);
    add_din(p, st, i, c);
    for (int k = 0; k < st->plan->nparams; k++) {
        const struct ddp_flat_tensor *t = &p->plan->flat->tensor[st->tensor[k]];
        if (t->param.role == DDP_PARAM_TRAINED)
            c->grad[k] = leaf + t->offset;
    }
}

/* ---- forward ---- */

static void load_value(const struct ddp_gpu_pass *p, const struct run *run, int i, int v)
{
    const struct ddp_gpu_shard *shard = &p->shard[i];
    const struct ddp_augment *augment = &p->conf.augment;
    const struct ddp_shape in = p->plan->input, as = p->plan->value[v].shape;
    void *value = span(p, i, p->mem.value[v]);
    struct ddp_gpu_stream *stream = ddp_gpu_branch(p->branch, run->trunk, i);
    const bool vector = !ddp_shape_equal(in, as);
    struct ddp_gpu_augment a = {.type = p->conf.type,
                                .pixels = shard->pixels,
                                .sample = shard->sample,
                                .resident = shard->resident,
                                .real = augment->real,
                                .n = shard->n,
                                .step = p->step,
                                .batch = p->plan->batch,
                                .c = in.c,
                                .h = in.h,
                                .w = in.w,
                                .cpad = ddp_gpu_pad(in.c),
                                .train = augment->train,
                                .crop_padding = augment->crop_padding,
                                .cutout = augment->cutout,
                                .flip = augment->flip,
                                .seed = p->conf.seed,
                                .out = vector ? p->scratch[i % p->branch->n] : value};
    memcpy(a.mean, augment->mean, sizeof a.mean);
    memcpy(a.inv_std, augment->inv_std, sizeof a.inv_std);
    p->conf.api->kernels->augment->augment(stream, &a);
    const struct ddp_gpu_flatten_args flatten = {.type = p->conf.type,
                                                 .batch = p->plan->batch,
                                                 .h = in.h,
                                                 .w = in.w,
                                                 .c = a.cpad,
                                                 .real_c = in.c,
                                                 .f = ddp_gpu_pad(as.c),
                                                 .from = a.out,
                                                 .to = value};
    if (vector)
        p->conf.api->kernels->flatten->flatten(stream, &flatten);
}

static void load_shard(const struct ddp_gpu_pass *p, const struct run *run, int i)
{
    for (int k = 0; k < p->plan->ndata; k++)
        load_value(p, run, i, p->plan->data[k]);
}

static void forward_stage(const struct ddp_gpu_pass *p, const struct run *run, int s, int i, double *sync)
{
    struct ddp_device_call c = make_call(p, run, s, i);
    c.sync = sync;
    p->stage[s].op->forward(&c);
}

/* Sum the statistics of a synchronised stage over all shards of all ranks, into p->sync_sum. leaf NULL:
 * forward. */
static void sync_stage(const struct ddp_gpu_pass *p, const struct run *run, int s, int n, float *const *leaf)
{
    const int width = p->stage[s].plan.sync_doubles;
    for (int i = 0; i < n; i++) {
        struct ddp_device_call c = make_call(p, run, s, i);
        c.sync = p->sync_leaves + (size_t)i * (size_t)width;
        if (leaf)
            add_backward(p, s, i, leaf[i], &c);
        (leaf ? p->stage[s].op->backward_stats : p->stage[s].op->forward_stats)(&c);
    }
    ddp_gpu_branches_join(p->branch, run->trunk);
    p->conf.sync(p->conf.sync_ctx, run->trunk, width, p->sync_leaves, p->sync_sum);
    ddp_gpu_branches_fork(p->branch, run->trunk, n);
}

void ddp_gpu_pass_forward(struct ddp_gpu_pass *p, struct ddp_gpu_stream *stream, const float *params,
                          const void *weights, const struct ddp_gpu_shard *shards, int n,
                          const struct ddp_gpu_step *step, const struct ddp_gpu_scale *scale, float *loss,
                          int32_t *correct)
{
    const struct run run = {stream, params, weights};
    p->step = step;
    p->scale = scale;
    p->loss = loss;
    p->correct = correct;
    ddp_gpu_branches_fork(p->branch, stream, n);
    for (int i = 0; i < n; i++) {
        p->shard[i] = shards[i];
        load_shard(p, &run, i);
    }
    for (int s = 0; s < p->plan->nstages; s++) {
        const bool synced = p->conf.training && p->plan->stage[s].synced;
        if (synced)
            sync_stage(p, &run, s, n, NULL);
        for (int i = 0; i < n; i++)
            forward_stage(p, &run, s, i, synced ? p->sync_sum : NULL);
    }
    ddp_gpu_branches_join(p->branch, stream);
}

/* ---- backward ---- */

static void backward_stage(const struct ddp_gpu_pass *p, const struct run *run, int s, int i, float *leaf,
                           double *sync)
{
    struct ddp_device_call c = make_call(p, run, s, i);
    add_backward(p, s, i, leaf, &c);
    c.sync = sync;
    p->stage[s].op->backward(&c);
}

/* Statistics are final since forward. */
static void copy_stats(const struct ddp_gpu_pass *p, const struct run *run, float *const *leaf, int n)
{
    const struct ddp_flat *f = p->plan->flat;
    for (int i = 0; i < n; i++)
        p->conf.api->copy(ddp_gpu_branch(p->branch, run->trunk, i), leaf[i] + f->stats,
                          ddp_memory_stats(&p->mem, p->area[i]), p->mem.stats_bytes);
}

void ddp_gpu_pass_backward(struct ddp_gpu_pass *p, struct ddp_gpu_stream *stream, const float *params,
                           const void *weights, float *const *leaf, int n, ddp_pass_ready_fn ready, void *ctx)
{
    const struct ddp_flat *f = p->plan->flat;
    const struct run run = {stream, params, weights};
    if (f->metrics > f->stats) {
        copy_stats(p, &run, leaf, n);
        ddp_gpu_branches_join(p->branch, stream);
        for (int i = 0; i < n; i++)
            ready(ctx, i, f->stats, f->metrics);
    }
    for (int b = 0; b < p->plan->nbackward; b++) {
        const int s = p->plan->backward[b];
        const struct ddp_stage *st = &p->plan->stage[s];
        if (st->synced)
            sync_stage(p, &run, s, n, leaf);
        for (int i = 0; i < n; i++)
            backward_stage(p, &run, s, i, leaf[i], st->synced ? p->sync_sum : NULL);
        if (st->hi == st->lo)
            continue;
        /* only now: the shards before have read the parameters too */
        ddp_gpu_branches_join(p->branch, stream);
        for (int i = 0; i < n; i++)
            ready(ctx, i, st->lo, st->hi);
    }
    ddp_gpu_branches_join(p->branch, stream);
}
