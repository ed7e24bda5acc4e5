/* Runs the stages: forward in order, backward against it.
 *
 * Shard by shard, or, when a layer is synchronised over the global batch, stage by stage over all shards of
 * the rank: the statistics of every shard have to be there before any shard can go on. The bits are the same.
 * Nothing is allocated after ddp_cpu_pass_create. */
#include "engine/cpu/pass_private.h"

#include <string.h>

static const struct ddp_layer *host(const struct ddp_cpu_pass *p, const struct ddp_stage *st)
{
    return &p->m->layer[st->layer];
}

/* ---- one call ---- */

/* Zero the border of t's samples: of tensors that share their bytes with others. */
static void zero_halo(const struct ddp_tensor *t)
{
    const size_t pixel = DDP_CBLOCK * sizeof(float);
    const int g = t->halo;
    for (int n = 0; n < t->n; n++)
        for (int b = 0; b < ddp_blocks(t->c); b++)
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
    if (span >= 0 && p->mem->span[span].dirty_halo)
        zero_halo(t);
}

/* All that a call of stage s on resident shard r sees in forward. */
static struct ddp_op_call make_call(struct ddp_cpu_pass *p, int s, struct ddp_cpu_resident *r,
                                    const float *params)
{
    const struct ddp_model *m = p->m;
    const struct ddp_stage *st = &m->stage[s];
    const struct ddp_layer *l = host(p, st);
    struct ddp_op_call c = {
        .conf = l->conf,
        .plan = &l->plan,
        .fused = st->fused,
        .training = p->conf.training,
        .nin = st->nin,
        .out = st->out < 0 ? NULL : &r->value[st->out],
        .saved = p->mem->saved[s] < 0 ? NULL : r->area + p->mem->span[p->mem->saved[s]].offset,
        .scratch = l->plan.scratch_bytes ? p->scratch : NULL,
        .sync_count = p->count,
        .pool = p->conf.pool,
        .seed = p->conf.seed,
        .layer = ddp_name_hash(l->name),
        .epoch = (uint32_t)p->epoch,
        .sample = r->shard.sample,
        .label = r->shard.label,
        .loss = &r->loss,
        .correct = &r->correct,
    };
    for (int k = 0; k < st->nin; k++)
        c.in[k] = &r->value[st->in[k]];
    for (int k = 0; k < l->plan.nparams; k++) {
        const struct ddp_flat_tensor *t = &m->flat.tensor[st->tensor[k]];
        c.param[k] = (float *)params + t->offset; /* ops only read it */
        if (t->param.role != DDP_PARAM_TRAINED && p->conf.training)
            c.grad[k] = r->stats + (t->offset - m->flat.stats);
    }
    if (l->op->is_loss && p->conf.training && m->value[st->in[0]].wants_grad)
        c.din[0] = &r->grad[st->in[0]];
    return c;
}

static void add_backward(struct ddp_cpu_pass *p, int s, struct ddp_cpu_resident *r, float *leaf,
                         struct ddp_op_call *c)
{
    const struct ddp_model *m = p->m;
    const struct ddp_stage *st = &m->stage[s];
    c->dout = &r->grad[st->out];
    for (int k = 0; k < st->nin; k++) {
        if (!m->value[st->in[k]].wants_grad)
            continue;
        c->din[k] = &r->grad[st->in[k]];
        c->accumulate[k] = st->accumulate[k];
        if (!st->accumulate[k])
            clean_halo(p, p->mem->grad[st->in[k]], c->din[k]);
    }
    for (int k = 0; k < host(p, st)->plan.nparams; k++)
        if (m->flat.tensor[st->tensor[k]].param.role == DDP_PARAM_TRAINED)
            c->grad[k] = leaf + m->flat.tensor[st->tensor[k]].offset;
}

/* Vector loads of the kernels want whole cache lines. */
static bool misaligned(const float *p)
{
    return (uintptr_t)p % 64 != 0;
}

/* ---- forward ---- */

/* Plain pixels into the data's value. Only real channels: its bytes are its own and started as zeros, so
 * padding is zero. */
static void load_pixels(const float *plain, const struct ddp_tensor *t)
{
    for (int n = 0; n < t->n; n++)
        for (int c = 0; c < t->c; c++)
            for (int y = 0; y < t->h; y++) {
                float *row = ddp_at(t, n, c / DDP_CBLOCK, y, 0) + c % DDP_CBLOCK;
                for (int x = 0; x < t->w; x++)
                    row[x * t->sw] = *plain++;
            }
}

static void load_shard(struct ddp_cpu_pass *p, struct ddp_cpu_resident *r, const struct ddp_shard *shard)
{
    const struct ddp_model *m = p->m;
    r->shard = *shard;
    r->loss = 0;
    r->correct = 0;
    for (int v = 0; v < m->nvalues; v++) {
        r->value[v].n = shard->n;
        r->grad[v].n = shard->n;
        if (m->value[v].stage == DDP_DATA && shard->n > 0)
            load_pixels(shard->pixels, &r->value[v]);
    }
    if (shard->n == 0 && p->conf.training)
        memset(r->stats, 0, ddp_cpu_pass_stats_bytes(m, true));
}

static void forward_stage(struct ddp_cpu_pass *p, int s, struct ddp_cpu_resident *r, const float *params,
                          float *sync)
{
    if (r->shard.n == 0)
        return;
    const struct ddp_stage *st = &p->m->stage[s];
    struct ddp_op_call c = make_call(p, s, r, params);
    c.sync = sync;
    if (st->out >= 0)
        clean_halo(p, p->mem->value[st->out], c.out);
    host(p, st)->op->forward(&c);
}

/* Sum the statistics of a synchronised layer over all shards of all ranks; the sum is then in p->sync_sum. An
 * empty shard adds zeros. */
static int sync_stage(struct ddp_cpu_pass *p, int s, const float *params, float *const *leaf, bool backward,
                      struct ddp_error *err)
{
    const struct ddp_layer *l = host(p, &p->m->stage[s]);
    const int width = l->plan.sync_floats;
    memset(p->sync_leaves, 0, sizeof(float) * width * p->n);
    for (int i = 0; i < p->n; i++) {
        if (p->res[i].shard.n == 0)
            continue;
        struct ddp_op_call c = make_call(p, s, &p->res[i], params);
        c.sync = p->sync_leaves + (size_t)i * width;
        if (backward)
            add_backward(p, s, &p->res[i], leaf[i], &c);
        (backward ? l->op->backward_stats : l->op->forward_stats)(&c);
    }
    if (p->conf.sync(p->conf.sync_ctx, width, p->sync_leaves, p->sync_sum, err) != 0)
        return ddp_error_prefix(err, "synchronised statistics of layer '%s'", l->name);
    return 0;
}

static bool is_synced(const struct ddp_cpu_pass *p, int s)
{
    return p->conf.training && host(p, &p->m->stage[s])->plan.sync_floats > 0;
}

static int forward_side_by_side(struct ddp_cpu_pass *p, const float *params, struct ddp_error *err)
{
    for (int s = 0; s < p->m->nstages; s++) {
        bool synced = is_synced(p, s);
        if (synced && sync_stage(p, s, params, NULL, false, err) != 0)
            return err ? err->code : DDP_E_COMM;
        for (int i = 0; i < p->n; i++)
            forward_stage(p, s, &p->res[i], params, synced ? p->sync_sum : NULL);
    }
    return 0;
}

int ddp_cpu_pass_forward(struct ddp_cpu_pass *p, const float *params, const struct ddp_shard *shards, int n,
                         int64_t epoch, int64_t global_count, float *loss, int64_t *correct,
                         struct ddp_error *err)
{
    const bool side_by_side = p->conf.training && p->m->max_sync > 0;
    if (n < 0 || n > p->conf.resident)
        return ddp_fail(err, DDP_E_USAGE, "ddp_cpu_pass_forward: %d shards, but memory for %d", n,
                        p->conf.resident);
    if (misaligned(params))
        return ddp_fail(err, DDP_E_USAGE, "ddp_cpu_pass_forward: params must lie on 64 bytes");
    for (int i = 0; i < n; i++)
        if (shards[i].n < 0 || shards[i].n > p->m->batch)
            return ddp_fail(err, DDP_E_USAGE,
                            "ddp_cpu_pass_forward: a shard of %d samples, but the model was planned for %d",
                            shards[i].n, p->m->batch);
    ddp_float_mode();
    p->n = n;
    p->epoch = epoch;
    p->count = global_count;
    for (int i = 0; i < n; i++)
        load_shard(p, &p->res[i], &shards[i]);

    if (side_by_side) {
        int rc = forward_side_by_side(p, params, err);
        if (rc != 0)
            return rc;
    } else {
        for (int i = 0; i < n; i++)
            for (int s = 0; s < p->m->nstages; s++)
                forward_stage(p, s, &p->res[i], params, NULL);
    }
    for (int i = 0; i < n; i++) {
        loss[i] = p->res[i].loss;
        correct[i] = p->res[i].correct;
    }
    return 0;
}

/* ---- backward ---- */

/* The leaf's memory has held other sums: what lies between tensors is written as zeros each time. */
static void zero_padding(const struct ddp_cpu_pass *p, int s, float *leaf)
{
    const struct ddp_stage *st = &p->m->stage[s];
    for (int k = 0; k < host(p, st)->plan.nparams; k++) {
        const struct ddp_flat_tensor *t = &p->m->flat.tensor[st->tensor[k]];
        int64_t end = (t->offset + t->size + DDP_FLAT_BLOCK - 1) / DDP_FLAT_BLOCK * DDP_FLAT_BLOCK;
        if (t->param.role == DDP_PARAM_TRAINED)
            memset(leaf + t->offset + t->size, 0, (end - t->offset - t->size) * sizeof(float));
    }
}

static void backward_stage(struct ddp_cpu_pass *p, int s, int i, const float *params, float *sync,
                           float *leaf)
{
    const struct ddp_stage *st = &p->m->stage[s];
    const struct ddp_layer *l = host(p, st);
    struct ddp_cpu_resident *r = &p->res[i];
    if (r->shard.n == 0) {
        memset(leaf + st->lo, 0, (st->hi - st->lo) * sizeof(float));
        return;
    }
    zero_padding(p, s, leaf);
    if (l->op->is_loss)
        return; /* its forward wrote the gradient */
    struct ddp_op_call c = make_call(p, s, r, params);
    add_backward(p, s, r, leaf, &c);
    c.sync = sync;
    l->op->backward(&c);
}

/* The running statistics were final in forward. */
static void report_stats(struct ddp_cpu_pass *p, int i, float *leaf, ddp_pass_ready_fn ready, void *ctx)
{
    const struct ddp_flat *f = &p->m->flat;
    if (f->metrics == f->stats)
        return;
    memcpy(leaf + f->stats, p->res[i].stats, ddp_cpu_pass_stats_bytes(p->m, true));
    if (ready)
        ready(ctx, i, f->stats, f->metrics);
}

static void report(const struct ddp_stage *st, int i, ddp_pass_ready_fn ready, void *ctx)
{
    if (ready && st->hi > st->lo)
        ready(ctx, i, st->lo, st->hi);
}

int ddp_cpu_pass_backward(struct ddp_cpu_pass *p, const float *params, float *const *leaf, int n,
                          ddp_pass_ready_fn ready, void *ctx, struct ddp_error *err)
{
    const struct ddp_model *m = p->m;
    if (!p->conf.training || n != p->n)
        return ddp_fail(err, DDP_E_USAGE, "ddp_cpu_pass_backward: %d shards after a %s forward of %d", n,
                        p->conf.training ? "training" : "evaluation", p->n);
    for (int i = 0; i < n; i++)
        if (misaligned(leaf[i]) || misaligned(params))
            return ddp_fail(err, DDP_E_USAGE,
                            "ddp_cpu_pass_backward: params and leaves must lie on 64 bytes");
    ddp_float_mode();
    if (m->max_sync == 0) {
        for (int i = 0; i < n; i++) {
            report_stats(p, i, leaf[i], ready, ctx);
            for (int s = m->nstages - 1; s >= 0; s--) {
                if (!m->stage[s].backward)
                    continue;
                backward_stage(p, s, i, params, NULL, leaf[i]);
                report(&m->stage[s], i, ready, ctx);
            }
        }
        return 0;
    }
    for (int i = 0; i < n; i++)
        report_stats(p, i, leaf[i], ready, ctx);
    for (int s = m->nstages - 1; s >= 0; s--) {
        if (!m->stage[s].backward)
            continue;
        bool synced = is_synced(p, s);
        if (synced && sync_stage(p, s, params, leaf, true, err) != 0)
            return err ? err->code : DDP_E_COMM;
        for (int i = 0; i < n; i++)
            backward_stage(p, s, i, params, synced ? p->sync_sum : NULL, leaf[i]);
        for (int i = 0; i < n; i++) /* only now: the shards before have read the parameters too */
            report(&m->stage[s], i, ready, ctx);
    }
    return 0;
}

/* ---- what went into the loss ---- */

void ddp_cpu_pass_output(const struct ddp_cpu_pass *p, int i, float *out)
{
    const struct ddp_stage *loss = &p->m->stage[p->m->nstages - 1];
    ddp_tensor_unpack(&p->res[i].value[loss->in[0]], out);
}
