/* One training step on the device, as it is enqueued: input, forward and backward of my shards, group after
 * group and side by side in a group, reduction and update under it, results. The first step of a process
 * runs as it is (warm-up: libraries allocate in it); from then on each slot's sequence is one captured
 * graph. */
#include <math.h>
#include <string.h>

#include "engine/gpu/private.h"

/* ---- the sequence ---- */

struct group { /* of shards that are in memory together */
    struct ddp_gpu_engine *e;
    const struct ddp_gpu_step *step;
    int first; /* of my shards */
};

static void ready(void *ctx, int i, int64_t lo, int64_t hi)
{
    const struct group *g = ctx;
    ddp_gpu_reduce_ready(g->e->reduce, g->e->base.conf.ranks.first + g->first + i, lo, hi);
}

static void run_group(struct group *g, struct ddp_gpu_slot *s, int n)
{
    struct ddp_gpu_engine *e = g->e;
    const struct ddp_gpu_scale *scale = ddp_gpu_reduce_scale(e->reduce);
    ddp_gpu_pass_forward(e->train, e->compute, e->params, e->weights, s->shard + g->first, n, g->step, scale,
                         e->loss + g->first, e->correct + g->first);
    float **leaf = e->leaf;
    for (int i = 0; i < n; i++) {
        leaf[i] = ddp_gpu_reduce_leaf(e->reduce, e->base.conf.ranks.first + g->first + i);
        const struct ddp_gpu_metrics_args m = {.loss = e->loss + g->first + i,
                                               .correct = e->correct + g->first + i,
                                               .step =
                                                   g->first + i == 0 ? g->step : NULL, /* one vote a rank */
                                               .leaf = leaf[i] + e->base.flat->metrics};
        e->api->kernels->flat->metrics(e->compute, &m);
        ready(g, i, e->base.flat->metrics, e->base.flat->total);
    }
    ddp_gpu_pass_backward(e->train, e->compute, e->params, e->weights, leaf, n, ready, g);
}

/* Straight into the memory that the host looks at behind the event. */
static void write_results(struct ddp_gpu_engine *e, struct ddp_gpu_slot *s)
{
    struct ddp_gpu_outcome *o = (struct ddp_gpu_outcome *)(void *)s->result_host;
    struct ddp_gpu_results_args a = {.metrics = e->params + e->base.flat->metrics,
                                     .factor = ddp_optim_device_factor(e->updater.optim),
                                     .row = DDP_GPU_REFUSED,
                                     .loss = e->loss,
                                     .losses = e->base.my_shards,
                                     .out = o,
                                     .loss_out = (float *)(void *)(s->result_host + sizeof *o)};
    a.refused = ddp_gpu_reduce_refusals(e->reduce, &a.rows);
    e->api->kernels->flat->results(e->compute, &a);
}

static int enqueue_sequence(struct ddp_gpu_engine *e, struct ddp_gpu_slot *s, struct ddp_error *err)
{
    const int shards = e->base.my_shards, beside = ddp_gpu_pass_beside(e->train);
    struct group g = {e, ddp_gpu_slot_step(s), 0};
    ddp_gpu_updater_begin(&e->updater, g.step);
    ddp_gpu_reduce_begin(e->reduce, &e->updater.apply);
    for (; g.first < shards; g.first += beside)
        run_group(&g, s, shards - g.first < beside ? shards - g.first : beside);
    const int status = ddp_gpu_reduce_finish(e->reduce, err);
    write_results(e, s);
    return status;
}

/* ---- a step ---- */

static struct ddp_gpu_step scalars(const struct ddp_gpu_engine *e, const struct ddp_batch *batch,
                                   int64_t step, bool stop_vote)
{
    struct ddp_gpu_step s = {.step = step,
                             .epoch = batch->epoch,
                             .count = batch->count,
                             .stop_vote = stop_vote,
                             .first = step == 0};
    ddp_optim_device_step(e->base.conf.cfg, step, e->base.conf.total_steps, e->base.conf.steps_per_epoch, &s);
    return s;
}

static int run_slot(struct ddp_gpu_engine *e, struct ddp_gpu_slot *s, struct ddp_error *err)
{
    const bool warm = e->enqueued > 0;
    int status = 0;
    if (!e->graph || !warm)
        return enqueue_sequence(e, s, err);
    if (!s->graph) {
        /* the warm-up is over before anything is captured: its NCCL calls and captured ones never meet */
        if (e->enqueued > e->collected)
            status = ddp_gpu_engine_drain(e, e->compute, "waiting for the first step", err);
        if (status)
            return status;
        e->api->capture_begin(e->compute);
        const int fault = enqueue_sequence(e, s, err);
        status = e->api->capture_end(e->compute, &s->graph, fault ? NULL : err);
        if (fault)
            return fault;
        if (status)
            return ddp_error_prefix(err, "capturing the step (gpu.graph=false does without)");
    }
    e->api->launch(e->compute, s->graph);
    return 0;
}

int ddp_gpu_engine_enqueue(struct ddp_engine *base, const struct ddp_batch *batch, int64_t step,
                           struct ddp_error *err)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    struct ddp_gpu_slot *s = &e->slot[e->enqueued % DDP_GPU_PENDING];
    const struct ddp_gpu_step values = scalars(e, batch, step, base->conf.stop_requested());
    s->result = (struct ddp_engine_result){
        .step = step, .epoch = batch->epoch, .index = batch->index, .count = batch->count};
    ddp_gpu_slot_fill(e, &e->layout, s, batch, &values);
    const int status = run_slot(e, s, err);
    if (status)
        return status;
    e->api->record(s->done, e->compute);
    e->enqueued++;
    return 0;
}

int ddp_gpu_engine_collect(struct ddp_engine *base, struct ddp_engine_result *out, struct ddp_error *err)
{
    struct ddp_gpu_engine *e = (struct ddp_gpu_engine *)base;
    struct ddp_gpu_slot *s = &e->slot[e->collected % DDP_GPU_PENDING];
    char what[64];
    snprintf(what, sizeof what, "step %lld", (long long)s->result.step + 1);
    const int status = ddp_gpu_engine_wait(e, s->done, what, err);
    if (status)
        return status;
    const struct ddp_gpu_outcome *o = (const struct ddp_gpu_outcome *)(const void *)s->result_host;
    const float *loss = (const float *)(const void *)(s->result_host + sizeof *o);
    struct ddp_engine_result r = s->result;
    r.loss_sum = o->metrics[DDP_METRIC_LOSS];
    r.correct = (int64_t)o->metrics[DDP_METRIC_CORRECT];
    r.stop = o->metrics[DDP_GPU_METRIC_STOP] > 0;
    r.norm = o->factor[1];
    r.bad_shard = -1;
    for (int i = e->base.my_shards - 1; i >= 0; i--)
        if (!isfinite(loss[i])) {
            r.bad_shard = e->base.conf.ranks.first + i;
            r.bad_loss = loss[i];
        }
    r.refused = (int64_t)o->refused - 1;
    e->collected++;
    *out = r;
    return 0;
}
