/* One training step on CPUs: forward and backward of my shards in order; what backward has finished is summed
 * under the rest of it, and whoever owns a slice of the sums updates that slice of the parameters. */
#include <math.h>
#include <string.h>

#include "engine/cpu/private.h"
#include "engine/probing.h"
#include "ops/ops.h"

static void ready(void *ctx, int i, int64_t lo, int64_t hi);
static int64_t apply(void *ctx, int stage, int64_t lo, int64_t hi, float *sum, double *values);
static void between(void *ctx, int stage, const double *values, int64_t blocks);
static void check_losses(struct ddp_cpu_engine *e, int n);
static void write_metrics(struct ddp_cpu_engine *e, int shard, float *leaf);

static struct ddp_reduce_apply applier(struct ddp_cpu_engine *e)
{
    return (struct ddp_reduce_apply){
        .ctx = e, .stages = ddp_optim_stages(e->base.conf.cfg), .run = apply, .between = between};
}

/* The passes' own time since `from`: what others than they did in it is counted elsewhere. */
struct clock {
    double now, other;
};

static struct clock look(const struct ddp_cpu_engine *e)
{
    return (struct clock){ddp_now(), ddp_reduce_spent(e->reduce).under + e->synced};
}

static double since(struct clock *from, struct clock now)
{
    const double own = (now.now - from->now) - (now.other - from->other);
    *from = now;
    return own;
}

/* Shards [group, group + n) of mine, side by side. */
static int run_group(struct ddp_cpu_engine *e, int n, struct ddp_error *err)
{
    const struct ddp_batch *b = e->batch;
    struct clock clock = look(e);
    ddp_pulse_phase(DDP_PHASE_FORWARD);
    ddp_cpu_pass_tell(e->train, ddp_probe_on(e->base.probe) ? e->base.probe : NULL,
                      e->base.conf.ranks.first + e->group);
    int status = ddp_cpu_pass_forward(e->train, e->base.params, b->shard + e->group, n, b->epoch, b->count,
                                      e->loss + e->group, e->correct + e->group, err);
    if (status)
        return status;
    check_losses(e, n);
    for (int i = 0; i < n; i++)
        e->leaf[i] = ddp_reduce_leaf(e->reduce, e->base.conf.ranks.first + e->group + i);
    e->result.forward += since(&clock, look(e));
    ddp_pulse_phase(DDP_PHASE_BACKWARD);
    status = ddp_cpu_pass_backward(e->train, e->base.params, e->leaf, n, ready, e, err);
    for (int i = 0; i < n && status == 0; i++) {
        write_metrics(e, e->group + i, e->leaf[i]);
        ready(e, i, e->base.flat->metrics, e->base.flat->total);
    }
    e->result.backward += since(&clock, look(e));
    return status;
}

int ddp_cpu_enqueue(struct ddp_engine *base, const struct ddp_batch *batch, int64_t step,
                    struct ddp_error *err)
{
    struct ddp_cpu_engine *e = (struct ddp_cpu_engine *)base;
    const struct ddp_reduce_apply update = applier(e);
    const int mine = base->my_shards;
    int status = 0;
    e->batch = batch;
    e->result = (struct ddp_engine_result){
        .step = step, .epoch = batch->epoch, .index = batch->index, .count = batch->count, .bad_shard = -1};

    const struct ddp_reduce_spent before = ddp_reduce_spent(e->reduce);
    const double synced = e->synced;
    ddp_optim_begin(base->optim, step, batch->count);
    ddp_reduce_begin(e->reduce);
    for (e->group = 0; e->group < mine && status == 0; e->group += e->resident)
        status = run_group(e, mine - e->group < e->resident ? mine - e->group : e->resident, err);
    const double finish = ddp_now();
    ddp_pulse_phase(DDP_PHASE_UPDATE);
    if (status == 0)
        status = ddp_reduce_finish(e->reduce, &update, base->conf.stop_requested(), &e->result.stop, err);
    const struct ddp_reduce_spent after = ddp_reduce_spent(e->reduce);
    struct ddp_engine_result *r = &e->result;
    r->waited = ddp_reduce_waited(e->reduce) + e->synced - synced;
    r->optimizer = after.apply - before.apply;
    r->reduce =
        ddp_now() - finish + after.under - before.under + e->synced - synced - r->optimizer - r->waited;
    return status;
}

int ddp_cpu_collect(struct ddp_engine *base, struct ddp_engine_result *out, struct ddp_error *err)
{
    struct ddp_cpu_engine *e = (struct ddp_cpu_engine *)base;
    const float *sums = base->params + base->flat->metrics;
    (void)err;
    *out = e->result;
    out->loss_sum = sums[DDP_METRIC_LOSS];
    out->correct = (int64_t)sums[DDP_METRIC_CORRECT];
    out->norm = ddp_optim_norm(base->optim);
    out->refused = ddp_reduce_refused(e->reduce);
    return 0;
}

/* [lo, hi) of the leaf of resident shard i is final. */
static void ready(void *ctx, int i, int64_t lo, int64_t hi)
{
    struct ddp_cpu_engine *e = ctx;
    const struct ddp_reduce_apply update = applier(e);
    ddp_reduce_ready(e->reduce, e->base.conf.ranks.first + e->group + i, lo, hi, &update);
}

/* Running statistics of whole blocks [lo, hi), refused a block at a time. */
static int64_t apply_stats(struct ddp_cpu_engine *e, int64_t lo, int64_t hi, const float *sum)
{
    const struct ddp_engine_conf *c = &e->base.conf;
    int64_t refused = -1;
    for (int64_t at = lo; at < hi; at += DDP_BLOCK) {
        if (!ddp_vec_finite(sum + (at - lo), DDP_BLOCK)) {
            refused = at / DDP_BLOCK;
            continue;
        }
        ddp_model_apply_stats(c->model, e->batch->count, c->ranks.shards, at, at + DDP_BLOCK, sum + (at - lo),
                              e->base.params);
        ddp_optim_average_copy(e->base.optim, at, at + DDP_BLOCK);
    }
    return refused;
}

/* The owner's part: sums of [lo, hi) -> new parameters, running statistics, metrics. */
static int64_t apply(void *ctx, int stage, int64_t lo, int64_t hi, float *sum, double *values)
{
    struct ddp_cpu_engine *e = ctx;
    const struct ddp_engine_conf *c = &e->base.conf;
    const struct ddp_flat *f = e->base.flat;
    float *params = e->base.params;
    bool last = stage == ddp_optim_stages(c->cfg) - 1;
    int64_t refused = -1;
    if (stage == 0 && ddp_probe_on(e->base.probe))
        ddp_probe_sums(e->base.probe, lo, hi, sum);
    if (lo < f->stats)
        refused = ddp_optim_run(e->base.optim, stage, lo, hi < f->stats ? hi : f->stats, sum, values);
    if (!last)
        return refused;
    int64_t from = lo > f->stats ? lo : f->stats, to = hi < f->metrics ? hi : f->metrics;
    if (from < to) {
        const int64_t stats = apply_stats(e, from, to, sum + (from - lo));
        refused = stats < 0 ? refused : stats;
    }
    if (hi > f->metrics)
        memcpy(params + f->metrics, sum + (f->metrics - lo), DDP_METRICS * sizeof(float));
    return refused;
}

static void between(void *ctx, int stage, const double *values, int64_t blocks)
{
    struct ddp_cpu_engine *e = ctx;
    ddp_optim_between(e->base.optim, stage, values, blocks);
}

static void write_metrics(struct ddp_cpu_engine *e, int shard, float *leaf)
{
    float *m = leaf + e->base.flat->metrics;
    memset(m, 0, (size_t)(e->base.flat->total - e->base.flat->metrics) * sizeof *m);
    m[DDP_METRIC_LOSS] = e->loss[shard];
    m[DDP_METRIC_CORRECT] = (float)e->correct[shard]; /* exact; so is the sum of a step, up to 2^24 */
}

/* A loss that is not finite makes the sum of all ranks so: the step goes on, and all ranks hear of it
 * together. But it overwrites what this shard failed with, which is looked for now. */
static void check_losses(struct ddp_cpu_engine *e, int n)
{
    struct ddp_engine_result *r = &e->result;
    for (int i = 0; i < n && r->bad_shard < 0; i++) {
        if (isfinite(e->loss[e->group + i]))
            continue;
        r->bad_shard = e->base.conf.ranks.first + e->group + i;
        r->bad_loss = e->loss[e->group + i];
        ddp_cpu_pass_find_bad(e->train, e->base.params, i, e->bad, sizeof e->bad);
    }
}
