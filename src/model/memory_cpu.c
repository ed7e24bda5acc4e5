/* Sizes on the CPU: activations and gradients as the tensors of ddp/op.h, what ops ask for in their plans. */
#include "model/memory_plan.h"

#include "ops/ops.h"

int64_t ddp_value_tensor(const struct ddp_value *v, int batch, bool grad, struct ddp_tensor *t, int64_t *lead)
{
    *lead = 0;
    return v->order == DDP_ORDER_FEATURES
               ? ddp_tensor_features(t, batch, v->shape)
               : ddp_tensor_pictures(t, batch, v->shape, grad ? v->grad_halo : v->halo, lead);
}

static size_t value_bytes(const void *ctx, int value, bool grad)
{
    const struct ddp_stages *p = ctx;
    struct ddp_tensor t;
    int64_t lead;
    return (size_t)ddp_value_tensor(&p->value[value], p->batch, grad, &t, &lead) * sizeof(float);
}

static size_t saved_bytes(const void *ctx, int stage)
{
    const struct ddp_stages *p = ctx;
    const struct ddp_stage *st = &p->stage[stage];
    return st->pool ? ddp_saved_pool(st->plan) + st->pool->saved_bytes : st->plan->saved_bytes;
}

static size_t scratch_bytes(const void *ctx, int stage)
{
    const struct ddp_stages *p = ctx;
    return p->stage[stage].plan->scratch_bytes;
}

static int sync_doubles(const void *ctx, int stage)
{
    const struct ddp_stages *p = ctx;
    return p->stage[stage].plan->sync_doubles;
}

void ddp_memory_plan_cpu(const struct ddp_stages *p, bool training, struct ddp_memory *out)
{
    const struct ddp_memory_form form = {.value = value_bytes,
                                         .saved = saved_bytes,
                                         .scratch = scratch_bytes,
                                         .sync_doubles = sync_doubles,
                                         .over = true,
                                         .ctx = p,
                                         .align = 64};
    ddp_memory_plan(p, training, &form, out);
}
