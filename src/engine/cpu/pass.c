/* Carries out the plan of model/stages.h on the CPU: forward in order, backward against it.
 *
 * Shards go through one by one, or all of the rank's together where a layer is synchronised over the global
 * batch: the statistics of every shard have to be there before any shard can go on. The bits are the same.
 * Nothing is allocated after ddp_cpu_pass_create. */
#include "engine/cpu/pass_private.h"

#include <string.h>

#include "base/base.h"
#include "ops/ops.h"

/* ---- one call ---- */

/* Zero the border of one plane: of tensors that share their bytes with others. */
static void zero_halo_task(void *ctx, int task)
{
    const struct ddp_tensor *t = ctx;
    const size_t pixel = DDP_CBLOCK * sizeof(float);
    const int g = t->halo, n = task / ddp_blocks(t->c), b = task % ddp_blocks(t->c);
    for (int y = -g; y < t->h + g; y++) {
        if (y < 0 || y >= t->h) {
            memset(ddp_at(t, n, b, y, -g), 0, (t->w + 2 * g) * pixel);
        } else {
            memset(ddp_at(t, n, b, y, -g), 0, g * pixel);
            memset(ddp_at(t, n, b, y, t->w), 0, g * pixel);
        }
    }
}

static void clean_halo(const struct ddp_cpu_pass *p, int span, const struct ddp_tensor *t)
{
    struct ddp_tensor own = *t;
    if (span >= 0 && p->dirty[span])
        ddp_parallel(p->conf.pool, t->n * ddp_blocks(t->c), zero_halo_task, &own);
}

/* The gradients of inputs that stage st writes, or adds to. */
static void add_din(const struct ddp_cpu_pass *p, const struct ddp_stage *st, struct ddp_cpu_resident *r,
                    struct ddp_op_call *c)
{
    for (int k = 0; k < st->nin; k++) {
        if (st->din[k] == DDP_GRAD_NONE)
            continue;
        c->din[k] = &r->grad[st->in[k]];
        c->accumulate[k] = st->din[k] == DDP_GRAD_ADD;
        c->mask_din |= p->plan->value[st->in[k]].over == DDP_OVER_MASKED;
        if (st->din[k] == DDP_GRAD_WRITE && !p->plan->value[st->in[k]].over)
            clean_halo(p, p->mem.grad[st->in[k]], c->din[k]);
    }
}

/* All that a call of stage s on resident shard r sees in forward. */
static struct ddp_op_call make_call(const struct ddp_cpu_pass *p, int s, struct ddp_cpu_resident *r,
                                    const float *params)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    const struct ddp_flat *flat = p->plan->flat;
    struct ddp_op_call c = {
        .conf = st->conf,
        .plan = st->plan,
        .fused = st->fused,
        .training = p->conf.training,
        .nin = st->nin,
        .out = st->out < 0 ? NULL : &r->value[st->out],
        .saved = ddp_memory_span(&p->mem, r->area, p->mem.saved[s]),
        .scratch = st->plan->scratch_bytes ? p->scratch : NULL,
        .sync_count = p->count,
        .pool = p->conf.pool,
        .seed = p->conf.seed,
        .layer = st->hash,
        .epoch = (uint32_t)p->epoch,
        .sample = r->shard.sample,
        .label = r->shard.label,
        .target = r->shard.target,
        .mixed = r->shard.mixed,
        .loss = &r->loss,
        .correct = &r->correct,
        .error = &r->error,
    };
    for (int k = 0; k < st->nin; k++)
        c.in[k] = &r->value[st->in[k]];
    for (int k = 0; k < st->plan->nparams; k++) {
        const struct ddp_flat_tensor *t = &flat->tensor[st->tensor[k]];
        c.param[k] = (float *)params + t->offset; /* ops only read it */
        if (t->param.role != DDP_PARAM_TRAINED && p->conf.training)
            c.grad[k] = r->stats + (t->offset - flat->stats);
    }
    if (st->op->is_loss && p->conf.training)
        add_din(p, st, r, &c);
    return c;
}

static void add_backward(const struct ddp_cpu_pass *p, int s, struct ddp_cpu_resident *r, float *leaf,
                         struct ddp_op_call *c)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    c->dout = &r->grad[st->out];
    if (p->plan->value[st->out].over == DDP_OVER_MASKED)
        c->fused &= ~(unsigned)DDP_FUSE_RELU;
    add_din(p, st, r, c);
    for (int k = 0; k < st->plan->nparams; k++) {
        const struct ddp_flat_tensor *t = &p->plan->flat->tensor[st->tensor[k]];
        if (t->param.role == DDP_PARAM_TRAINED)
            c->grad[k] = leaf + t->offset;
    }
}

/* Sum the statistics of a synchronised stage over all shards of all ranks; the sum is then in p->sync_sum. An
 * empty shard adds zeros. leaf NULL: forward. */
static int sync_stage(struct ddp_cpu_pass *p, int s, const float *params, float *const *leaf,
                      struct ddp_error *err)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    const int width = st->plan->sync_doubles;
    memset(p->sync_leaves, 0, sizeof *p->sync_leaves * (size_t)width * (size_t)p->n);
    for (int i = 0; i < p->n; i++) {
        if (p->res[i].shard.n == 0)
            continue;
        struct ddp_op_call c = make_call(p, s, &p->res[i], params);
        c.sync = p->sync_leaves + (size_t)i * (size_t)width;
        if (leaf)
            add_backward(p, s, &p->res[i], leaf[i], &c);
        (leaf ? st->op->backward_stats : st->op->forward_stats)(&c);
    }
    const int status = p->conf.sync(p->conf.sync_ctx, width, p->sync_leaves, p->sync_sum, err);
    return status ? ddp_error_prefix(err, "synchronised statistics of layer '%s'", st->name), status : 0;
}

/* Shards that go through the stages together. */
struct group {
    int first, end;
};

static int group_count(const struct ddp_cpu_pass *p)
{
    return p->conf.training && p->plan->synced ? 1 : p->n;
}

static struct group group_at(const struct ddp_cpu_pass *p, int g)
{
    return p->conf.training && p->plan->synced ? (struct group){0, p->n} : (struct group){g, g + 1};
}

/* Vector loads of the kernels want whole cache lines. */
static bool misaligned(const float *p)
{
    return (uintptr_t)p % 64 != 0;
}

/* ---- forward ---- */

struct pixels {
    const float *plain;
    const struct ddp_tensor *t;
};

/* A sample's plain pixels into the data's value. Only real channels: its bytes are its own and started as
 * zeros, so padding is zero. */
static void load_pixels_task(void *ctx, int n)
{
    const struct pixels *p = ctx;
    const struct ddp_tensor *t = p->t;
    const float *plain = p->plain + (int64_t)n * t->c * t->h * t->w;
    for (int c = 0; c < t->c; c++)
        for (int y = 0; y < t->h; y++) {
            float *row = ddp_at(t, n, c / DDP_CBLOCK, y, 0) + c % DDP_CBLOCK;
            for (int x = 0; x < t->w; x++)
                row[x * t->sw] = *plain++;
        }
}

static void load_shard(struct ddp_cpu_pass *p, struct ddp_cpu_resident *r, const struct ddp_shard *shard)
{
    r->shard = *shard;
    r->loss = r->error = 0;
    r->correct = 0;
    for (int v = 0; v < p->plan->nvalues; v++) {
        r->value[v].n = shard->n;
        r->grad[v].n = shard->n;
    }
    for (int i = 0; i < p->plan->ndata; i++) {
        struct pixels pixels = {shard->pixels, &r->value[p->plan->data[i]]};
        ddp_parallel(p->conf.pool, shard->n, load_pixels_task, &pixels);
    }
    if (shard->n == 0 && p->conf.training)
        memset(r->stats, 0, p->mem.stats_bytes);
}

static void forward_stage(struct ddp_cpu_pass *p, int s, int i, const float *params, double *sync)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    struct ddp_cpu_resident *r = &p->res[i];
    if (r->shard.n == 0)
        return;
    struct ddp_op_call c = make_call(p, s, r, params);
    c.sync = sync;
    if (st->out >= 0)
        clean_halo(p, p->mem.value[st->out], c.out);
    st->op->forward(&c);
    if (p->probe)
        ddp_cpu_pass_tell_forward(p, s, i, &c);
}

static int forward_group(struct ddp_cpu_pass *p, struct group g, const float *params, struct ddp_error *err)
{
    for (int s = 0; s < p->plan->nstages; s++) {
        const bool synced = p->conf.training && p->plan->stage[s].synced;
        const int status = synced ? sync_stage(p, s, params, NULL, err) : 0;
        if (status)
            return status;
        for (int i = g.first; i < g.end; i++)
            forward_stage(p, s, i, params, synced ? p->sync_sum : NULL);
    }
    return 0;
}

int ddp_cpu_pass_forward(struct ddp_cpu_pass *p, const float *params, const struct ddp_shard *shards, int n,
                         int64_t epoch, int64_t global_count, float *loss, int64_t *correct,
                         struct ddp_error *err)
{
    if (n < 0 || n > p->conf.resident)
        return ddp_fail(err, DDP_E_USAGE, "ddp_cpu_pass_forward: %d shards, but memory for %d", n,
                        p->conf.resident);
    if (misaligned(params))
        return ddp_fail(err, DDP_E_USAGE, "ddp_cpu_pass_forward: params must lie on 64 bytes");
    for (int i = 0; i < n; i++)
        if (shards[i].n < 0 || shards[i].n > p->plan->batch)
            return ddp_fail(err, DDP_E_USAGE,
                            "ddp_cpu_pass_forward: a shard of %d samples, but the model was planned for %d",
                            shards[i].n, p->plan->batch);
    ddp_float_mode();
    ddp_cpu_pass_hold(p);
    p->n = n;
    p->epoch = epoch;
    p->count = global_count;
    for (int i = 0; i < n; i++)
        load_shard(p, &p->res[i], &shards[i]);
    for (int g = 0; g < group_count(p); g++) {
        const int status = forward_group(p, group_at(p, g), params, err);
        if (status)
            return status;
    }
    for (int i = 0; i < n; i++) {
        loss[i] = p->res[i].loss;
        correct[i] = p->res[i].correct;
    }
    return 0;
}

float ddp_cpu_pass_error(const struct ddp_cpu_pass *p, int i)
{
    return p->res[i].error;
}

/* ---- backward ---- */

/* The leaf's memory has held other sums: what lies between tensors is written as zeros each time. */
static void zero_padding(const struct ddp_cpu_pass *p, const struct ddp_stage *st, float *leaf)
{
    for (int k = 0; k < st->plan->nparams; k++) {
        const struct ddp_flat_tensor *t = &p->plan->flat->tensor[st->tensor[k]];
        const int64_t past = (t->offset + t->size) % DDP_BLOCK;
        if (t->param.role == DDP_PARAM_TRAINED && past)
            memset(leaf + t->offset + t->size, 0, (size_t)(DDP_BLOCK - past) * sizeof(float));
    }
}

static void backward_stage(struct ddp_cpu_pass *p, int s, int i, const float *params, float *leaf,
                           double *sync)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    struct ddp_cpu_resident *r = &p->res[i];
    if (r->shard.n == 0) {
        memset(leaf + st->lo, 0, (size_t)(st->hi - st->lo) * sizeof(float));
        return;
    }
    zero_padding(p, st, leaf);
    struct ddp_op_call c = make_call(p, s, r, params);
    add_backward(p, s, r, leaf, &c);
    c.sync = sync;
    st->op->backward(&c);
    if (p->probe)
        ddp_cpu_pass_tell_backward(p, s, i, &c);
}

/* The running statistics were final in forward. */
static void report_stats(struct ddp_cpu_pass *p, int i, float *leaf, ddp_pass_ready_fn ready, void *ctx)
{
    const struct ddp_flat *f = p->plan->flat;
    if (f->metrics == f->stats)
        return;
    memcpy(leaf + f->stats, p->res[i].stats, p->mem.stats_bytes);
    if (ready)
        ready(ctx, i, f->stats, f->metrics);
}

static int backward_group(struct ddp_cpu_pass *p, struct group g, const float *params, float *const *leaf,
                          ddp_pass_ready_fn ready, void *ctx, struct ddp_error *err)
{
    for (int i = g.first; i < g.end; i++)
        report_stats(p, i, leaf[i], ready, ctx);
    for (int b = 0; b < p->plan->nbackward; b++) {
        const int s = p->plan->backward[b];
        const struct ddp_stage *st = &p->plan->stage[s];
        const int status = st->synced ? sync_stage(p, s, params, leaf, err) : 0;
        if (status)
            return status;
        for (int i = g.first; i < g.end; i++)
            backward_stage(p, s, i, params, leaf[i], st->synced ? p->sync_sum : NULL);
        /* only now: the shards before have read the parameters too */
        for (int i = g.first; i < g.end && ready && st->hi > st->lo; i++)
            ready(ctx, i, st->lo, st->hi);
    }
    return 0;
}

int ddp_cpu_pass_backward(struct ddp_cpu_pass *p, const float *params, float *const *leaf, int n,
                          ddp_pass_ready_fn ready, void *ctx, struct ddp_error *err)
{
    if (!p->conf.training || n != p->n)
        return ddp_fail(err, DDP_E_USAGE, "ddp_cpu_pass_backward: %d shards after a %s forward of %d", n,
                        p->conf.training ? "training" : "evaluation", p->n);
    for (int i = 0; i < n; i++)
        if (misaligned(leaf[i]) || misaligned(params))
            return ddp_fail(err, DDP_E_USAGE,
                            "ddp_cpu_pass_backward: params and leaves must lie on 64 bytes");
    ddp_float_mode();
    for (int g = 0; g < group_count(p); g++) {
        const int status = backward_group(p, group_at(p, g), params, leaf, ready, ctx, err);
        if (status)
            return status;
    }
    return 0;
}

/* ---- what went into the loss ---- */

void ddp_cpu_pass_output(const struct ddp_cpu_pass *p, int i, float *out)
{
    const struct ddp_stage *loss = &p->plan->stage[p->plan->nstages - 1];
    ddp_tensor_unpack(&p->res[i].value[loss->in[0]], out);
}
