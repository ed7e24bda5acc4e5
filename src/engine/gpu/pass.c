/* Runs the stages on the device: forward in order, backward against it; the sequence of cpu/pass.c,
 * enqueued. */
#include "engine/gpu/pass.h"

#include <stdlib.h>
#include <string.h>

#include "engine/gpu/pass_private.h"
#include "data/augment_kernels.h"
#include "ops/shape/flatten_kernels.h"

/* ---- plans ---- */

static void describe_stage(const struct ddp_model *m, int s, struct ddp_gpu_stage *st)
{
    const struct ddp_stage *from = &m->stage[s];
    st->layer = &m->layer[from->layer];
    st->op = ddp_gpu_op_find(st->layer->op->name);
    for (int k = 0; k < from->nin; k++)
        st->in[k] = m->value[from->in[k]].shape;
    if (from->out >= 0)
        st->out = m->value[from->out].shape;
    st->relu = from->fused & DDP_FUSE_RELU;
    st->add = from->fused & DDP_FUSE_ADD;
}

static int plan_stage(struct ddp_gpu_pass *p, int s, const struct ddp_gpu_planner *planner,
                      struct ddp_error *err)
{
    struct ddp_gpu_stage *st = &p->stage[s];
    char where[256];
    describe_stage(p->conf.model, s, st);
    if (!st->op)
        return ddp_fail(err, DDP_E_CONFIG, "%s has no form for a GPU; use device=cpu",
                        ddp_layer_where(st->layer, where, sizeof where));
    const int status = st->op->plan ? st->op->plan(planner, st, err) : 0;
    if (status)
        return ddp_error_prefix(err, "%s", ddp_layer_where(st->layer, where, sizeof where));
    p->workspace_bytes = p->workspace_bytes > st->workspace_bytes ? p->workspace_bytes : st->workspace_bytes;
    p->scratch_bytes = p->scratch_bytes > st->scratch_bytes ? p->scratch_bytes : st->scratch_bytes;
    p->max_sync = p->max_sync > st->sync_floats ? p->max_sync : st->sync_floats;
    p->saved_bytes[s] = st->saved_bytes;
    return 0;
}

int ddp_gpu_pass_create(const struct ddp_gpu_pass_conf *conf, struct ddp_gpu_pass **out,
                        struct ddp_error *err)
{
    const struct ddp_model *m = conf->model;
    struct ddp_gpu_pass *p = ddp_calloc(1, sizeof *p);
    const struct ddp_gpu_planner planner = {.api = conf->api,
                                            .gpu = conf->gpu,
                                            .lock = conf->lock,
                                            .tune = conf->tune,
                                            .training = conf->training,
                                            .type = conf->type,
                                            .tf32 = conf->tf32,
                                            .batch = m->batch};
    p->conf = *conf;
    p->stage = ddp_calloc((size_t)m->nstages + 1, sizeof *p->stage);
    p->saved_bytes = ddp_calloc((size_t)m->nstages + 1, sizeof *p->saved_bytes);
    p->area = ddp_calloc((size_t)conf->resident, sizeof *p->area);
    p->shard = ddp_calloc((size_t)conf->resident, sizeof *p->shard);
    int status = 0;
    for (int s = 0; s < m->nstages && status == 0; s++)
        status = plan_stage(p, s, &planner, err);
    /* pictures on their way to a vector of features */
    const size_t pictures =
        (size_t)m->batch * (size_t)ddp_gpu_elements(m->input) * ddp_gpu_type_bytes(conf->type);
    p->scratch_bytes = p->scratch_bytes > pictures ? p->scratch_bytes : pictures;
    if (status) {
        ddp_gpu_pass_destroy(p);
        return status;
    }
    ddp_gpu_memory_plan(m, p->saved_bytes, m->batch, conf->training, conf->type, &p->mem);
    *out = p;
    return 0;
}

void ddp_gpu_pass_destroy(struct ddp_gpu_pass *p)
{
    if (!p)
        return;
    const struct ddp_gpu_api *api = p->conf.api;
    for (int s = 0; s < p->conf.model->nstages; s++)
        for (int i = 0; i < DDP_GPU_PASSES; i++)
            if (p->stage[s].plan[i])
                api->plan_destroy(p->stage[s].plan[i]);
    api->release(p->conf.gpu, p->memory);
    ddp_gpu_memory_finish(&p->mem);
    free(p->shard);
    free(p->area);
    free(p->saved_bytes);
    free(p->stage);
    free(p);
}

/* ---- memory: [area, leaves of running statistics] for each resident shard, workspace, scratch, synchronised
 * statistics ---- */

static size_t stats_bytes(const struct ddp_gpu_pass *p)
{
    const struct ddp_flat *f = ddp_model_flat(p->conf.model);
    return p->conf.training ? (size_t)(f->metrics - f->stats) * sizeof(float) : 0;
}

static size_t sync_bytes(const struct ddp_gpu_pass *p)
{
    return ddp_gpu_align((size_t)p->max_sync * (size_t)(p->conf.resident + 1) * sizeof(float));
}

size_t ddp_gpu_pass_bytes(const struct ddp_gpu_pass *p, int batch)
{
    const struct ddp_model *m = p->conf.model;
    const double part = (double)batch / m->batch;
    struct ddp_gpu_memory mem;
    size_t *saved = ddp_calloc((size_t)m->nstages + 1, sizeof *saved);
    for (int s = 0; s < m->nstages; s++)
        saved[s] = (size_t)((double)p->saved_bytes[s] * part);
    ddp_gpu_memory_plan(m, saved, batch, p->conf.training, p->conf.type, &mem);
    const size_t bytes = (size_t)p->conf.resident * (mem.shard_bytes + stats_bytes(p)) +
                         ddp_gpu_align(p->workspace_bytes) +
                         ddp_gpu_align((size_t)((double)p->scratch_bytes * part)) + sync_bytes(p);
    ddp_gpu_memory_finish(&mem);
    free(saved);
    return bytes;
}

int ddp_gpu_pass_sync_width(const struct ddp_gpu_pass *p)
{
    return p->max_sync;
}

int ddp_gpu_pass_allocate(struct ddp_gpu_pass *p, struct ddp_error *err)
{
    void *memory;
    const int status =
        p->conf.api->alloc(p->conf.gpu, ddp_gpu_pass_bytes(p, p->conf.model->batch), &memory, err);
    if (status)
        return status;
    char *at = p->memory = memory;
    for (int i = 0; i < p->conf.resident; i++) {
        p->area[i] = at;
        at += p->mem.shard_bytes + stats_bytes(p);
    }
    p->workspace = at;
    p->scratch = at += ddp_gpu_align(p->workspace_bytes);
    p->sync_leaves = (float *)(at + ddp_gpu_align(p->scratch_bytes));
    p->sync_sum = p->sync_leaves + (size_t)p->max_sync * (size_t)p->conf.resident;
    return 0;
}

/* ---- one call ---- */

static void *at_offset(const struct ddp_gpu_pass *p, int i, int64_t offset)
{
    return offset < 0 ? NULL : p->area[i] + offset;
}

void *ddp_gpu_pass_value(const struct ddp_gpu_pass *p, int i, int value)
{
    return at_offset(p, i, p->mem.value[value]);
}

static float *stats_leaf(const struct ddp_gpu_pass *p, int i)
{
    return (float *)(p->area[i] + p->mem.shard_bytes);
}

/* What forward and backward of a step share. */
struct run {
    struct ddp_gpu_stream *stream;
    const float *params;
    const char *weights;
};

/* All that a call of stage s on resident shard i sees in forward. */
static struct ddp_gpu_call make_call(const struct ddp_gpu_pass *p, const struct run *run, int s, int i)
{
    const struct ddp_model *m = p->conf.model;
    const struct ddp_stage *st = &m->stage[s];
    const struct ddp_gpu_shard *shard = &p->shard[i];
    struct ddp_gpu_call c = {.k = p->conf.api->kernels,
                             .api = p->conf.api,
                             .stream = run->stream,
                             .stage = &p->stage[s],
                             .type = p->conf.type,
                             .batch = m->batch,
                             .training = p->conf.training,
                             .out = st->out < 0 ? NULL : ddp_gpu_pass_value(p, i, st->out),
                             .saved = at_offset(p, i, p->mem.saved[s]),
                             .workspace = p->workspace,
                             .scratch = p->scratch,
                             .step = p->step,
                             .scale = p->scale,
                             .n = shard->n,
                             .sample = shard->sample,
                             .label = shard->label,
                             .seed = p->conf.seed,
                             .layer = ddp_name_hash(p->stage[s].layer->name),
                             .loss = p->loss + i,
                             .correct = p->correct + i};
    for (int k = 0; k < st->nin; k++)
        c.in[k] = ddp_gpu_pass_value(p, i, st->in[k]);
    for (int k = 0; k < p->stage[s].layer->plan.nparams; k++) {
        const struct ddp_flat_tensor *t = &m->flat.tensor[st->tensor[k]];
        c.param[k] = (float *)run->params + t->offset; /* ops only read it */
        c.weight[k] = (char *)run->weights + (size_t)t->offset * ddp_gpu_type_bytes(p->conf.type);
        if (t->param.role != DDP_PARAM_TRAINED && p->conf.training)
            c.grad[k] = stats_leaf(p, i) + (t->offset - m->flat.stats);
    }
    if (st->out < 0 && p->conf.training && m->value[st->in[0]].wants_grad)
        c.din[0] = at_offset(p, i, p->mem.grad[st->in[0]]);
    return c;
}

static void add_backward(const struct ddp_gpu_pass *p, int s, int i, float *leaf, struct ddp_gpu_call *c)
{
    const struct ddp_model *m = p->conf.model;
    const struct ddp_stage *st = &m->stage[s];
    c->dout = at_offset(p, i, p->mem.grad[st->out]);
    for (int k = 0; k < st->nin; k++) {
        if (!m->value[st->in[k]].wants_grad)
            continue;
        c->din[k] = at_offset(p, i, p->mem.grad[st->in[k]]);
        c->accumulate[k] = st->accumulate[k];
    }
    for (int k = 0; k < p->stage[s].layer->plan.nparams; k++)
        if (m->flat.tensor[st->tensor[k]].param.role == DDP_PARAM_TRAINED)
            c->grad[k] = leaf + m->flat.tensor[st->tensor[k]].offset;
}

/* ---- forward ---- */

static void load_value(const struct ddp_gpu_pass *p, const struct run *run, int i, int v)
{
    const struct ddp_model *m = p->conf.model;
    const struct ddp_gpu_shard *shard = &p->shard[i];
    const struct ddp_augment *augment = &p->conf.augment;
    const struct ddp_shape in = m->input, as = m->value[v].shape;
    void *value = ddp_gpu_pass_value(p, i, v);
    const bool vector = !ddp_shape_equal(in, as);
    struct ddp_gpu_augment a = {.type = p->conf.type,
                                .pixels = shard->pixels,
                                .sample = shard->sample,
                                .resident = shard->resident,
                                .n = shard->n,
                                .step = p->step,
                                .batch = m->batch,
                                .c = in.c,
                                .h = in.h,
                                .w = in.w,
                                .cpad = ddp_gpu_pad(in.c),
                                .train = augment->train,
                                .crop_padding = augment->crop_padding,
                                .cutout = augment->cutout,
                                .flip = augment->flip,
                                .seed = p->conf.seed,
                                .out = vector ? p->scratch : value};
    memcpy(a.mean, augment->mean, sizeof a.mean);
    memcpy(a.inv_std, augment->inv_std, sizeof a.inv_std);
    p->conf.api->kernels->augment->augment(run->stream, &a);
    const struct ddp_gpu_flatten_args flatten = {.type = p->conf.type,
                                                 .batch = m->batch,
                                                 .h = in.h,
                                                 .w = in.w,
                                                 .c = a.cpad,
                                                 .real_c = in.c,
                                                 .f = ddp_gpu_pad(as.c),
                                                 .from = p->scratch,
                                                 .to = value};
    if (vector)
        p->conf.api->kernels->flatten->flatten(run->stream, &flatten);
}

static void load_shard(const struct ddp_gpu_pass *p, const struct run *run, int i)
{
    for (int v = 0; v < p->conf.model->nvalues; v++)
        if (p->conf.model->value[v].stage == DDP_DATA)
            load_value(p, run, i, v);
}

static void forward_stage(const struct ddp_gpu_pass *p, const struct run *run, int s, int i, float *sync)
{
    struct ddp_gpu_call c = make_call(p, run, s, i);
    c.sync = sync;
    p->stage[s].op->forward(&c);
}

/* Sum the statistics of a synchronised layer over all shards of all ranks, into p->sync_sum. */
static void sync_stage(const struct ddp_gpu_pass *p, const struct run *run, int s, int n, float *const *leaf)
{
    const int width = p->stage[s].sync_floats;
    for (int i = 0; i < n; i++) {
        struct ddp_gpu_call c = make_call(p, run, s, i);
        c.sync = p->sync_leaves + (size_t)i * (size_t)width;
        if (leaf)
            add_backward(p, s, i, leaf[i], &c);
        (leaf ? p->stage[s].op->backward_stats : p->stage[s].op->forward_stats)(&c);
    }
    p->conf.sync(p->conf.sync_ctx, run->stream, width, p->sync_leaves, p->sync_sum);
}

void ddp_gpu_pass_forward(struct ddp_gpu_pass *p, struct ddp_gpu_stream *stream, const float *params,
                          const void *weights, const struct ddp_gpu_shard *shards, int n,
                          const struct ddp_gpu_step *step, const struct ddp_gpu_scale *scale, float *loss,
                          int32_t *correct)
{
    const struct run run = {stream, params, weights};
    const int stages = p->conf.model->nstages;
    p->step = step;
    p->scale = scale;
    p->loss = loss;
    p->correct = correct;
    for (int i = 0; i < n; i++) {
        p->shard[i] = shards[i];
        load_shard(p, &run, i);
    }
    for (int s = 0; s < stages; s++) {
        const bool synced = p->stage[s].sync_floats > 0;
        if (synced)
            sync_stage(p, &run, s, n, NULL);
        for (int i = 0; i < n; i++)
            forward_stage(p, &run, s, i, synced ? p->sync_sum : NULL);
    }
}

/* ---- backward ---- */

static void backward_stage(const struct ddp_gpu_pass *p, const struct run *run, int s, int i, float *leaf,
                           float *sync)
{
    struct ddp_gpu_call c = make_call(p, run, s, i);
    add_backward(p, s, i, leaf, &c);
    c.sync = sync;
    p->stage[s].op->backward(&c);
}

void ddp_gpu_pass_backward(struct ddp_gpu_pass *p, struct ddp_gpu_stream *stream, const float *params,
                           const void *weights, float *const *leaf, int n, ddp_pass_ready_fn ready, void *ctx)
{
    const struct ddp_model *m = p->conf.model;
    const struct ddp_flat *f = &m->flat;
    const struct run run = {stream, params, weights};
    for (int i = 0; i < n && f->metrics > f->stats; i++) { /* final since forward */
        p->conf.api->copy(stream, leaf[i] + f->stats, stats_leaf(p, i), stats_bytes(p));
        ready(ctx, i, f->stats, f->metrics);
    }
    for (int s = m->nstages - 1; s >= 0; s--) {
        const struct ddp_stage *st = &m->stage[s];
        if (!st->backward || st->out < 0) /* a loss wrote its gradient in forward */
            continue;
        const bool synced = p->stage[s].sync_floats > 0;
        if (synced)
            sync_stage(p, &run, s, n, leaf);
        for (int i = 0; i < n; i++)
            backward_stage(p, &run, s, i, leaf[i], synced ? p->sync_sum : NULL);
        for (int i = 0; i < n && st->hi > st->lo;
             i++) /* only now: the shards before have read the parameters too */
            ready(ctx, i, st->lo, st->hi);
    }
}
