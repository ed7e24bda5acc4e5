/* Forward and backward that take as long as was measured, and compute nothing. Takes the place of
 * engine/cpu/pass.c: backward reports what is final in the order of the plan, at times in proportion to
 * the operations of its stages. */
#include <string.h>

#include "base/base.h"
#include "simulate/world.h"
#include "engine/cpu/pass_private.h"
#include "ops/ops.h"

static const double PAUSE_S = 3e-4; /* between two looks at messages, as between the tasks of a layer */

static void compute(const struct ddp_cpu_pass *p, double seconds)
{
    const int pieces = (int)(seconds / PAUSE_S) + 1;
    for (int i = 0; i < pieces; i++) {
        ddp_world_compute(seconds / pieces);
        ddp_pool_pause(p->conf.pool);
    }
}

int ddp_cpu_pass_forward(struct ddp_cpu_pass *p, const float *params, const struct ddp_shard *shards, int n,
                         int64_t epoch, int64_t global_count, float *loss, int64_t *correct,
                         struct ddp_error *err)
{
    const struct ddp_world_times *t = ddp_world_times();
    (void)params, (void)epoch, (void)global_count, (void)err;
    p->n = n;
    if (p->conf.training)
        ddp_world_owe(t->data + t->rest);
    for (int i = 0; i < n; i++) {
        p->res[i].shard = shards[i];
        loss[i] = (float)shards[i].n;
        correct[i] = 0;
        compute(p, t->forward * shards[i].n);
    }
    return 0;
}

static double operations(const struct ddp_stage *s)
{
    return s->plan->flops + 1;
}

int ddp_cpu_pass_backward(struct ddp_cpu_pass *p, const float *params, float *const *leaf, int n,
                          ddp_pass_ready_fn ready, void *ctx, struct ddp_error *err)
{
    const struct ddp_flat *f = p->plan->flat;
    double all = 0;
    (void)params, (void)leaf, (void)err;
    for (int b = 0; b < p->plan->nbackward; b++)
        all += operations(&p->plan->stage[p->plan->backward[b]]);
    for (int i = 0; i < n; i++) {
        const double each = ddp_world_times()->backward * p->res[i].shard.n / all;
        if (f->metrics > f->stats)
            ready(ctx, i, f->stats, f->metrics);
        for (int b = 0; b < p->plan->nbackward; b++) {
            const struct ddp_stage *s = &p->plan->stage[p->plan->backward[b]];
            compute(p, each * operations(s));
            if (s->hi > s->lo)
                ready(ctx, i, s->lo, s->hi);
        }
    }
    return 0;
}

float ddp_cpu_pass_error(const struct ddp_cpu_pass *p, int i)
{
    (void)p, (void)i;
    return 0;
}

void ddp_cpu_pass_output(const struct ddp_cpu_pass *p, int i, float *out)
{
    (void)p, (void)i;
    *out = 0;
}
