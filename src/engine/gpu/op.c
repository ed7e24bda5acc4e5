/* What all ops on the device share: the table of names, keys, plans, epilogues. */
#include <assert.h>
#include <string.h>

#include "config/parts.h"
#include "engine/gpu/ops.h"
#include "ops/point/point_kernels.h"

static const struct ddp_gpu_op *const ops[] = {
    &ddp_gpu_conv2d,
    &ddp_gpu_linear,
    &ddp_gpu_batch_norm,
    &ddp_gpu_relu,
    &ddp_gpu_gelu,
    &ddp_gpu_silu,
    &ddp_gpu_add,
    &ddp_gpu_flatten,
    &ddp_gpu_dropout,
    &ddp_gpu_max_pool,
    &ddp_gpu_avg_pool,
    &ddp_gpu_global_avg_pool,
    &ddp_gpu_softmax_cross_entropy,
    &ddp_gpu_mse,
};

const struct ddp_gpu_op *ddp_gpu_op_find(const char *name)
{
    for (size_t i = 0; i < DDP_COUNT(ops); i++)
        if (strcmp(ops[i]->name, name) == 0)
            return ops[i];
    return NULL;
}

/* ---- keys ---- */

/* The op of src/compute and its form for the device agree on names and types of keys; a
 * test builds every op. */
static const void *conf_at(const struct ddp_layer *l, const char *key, enum ddp_key_type type)
{
    const struct ddp_key *k = ddp_key_find(l->op->keys, key);
    assert(k && k->type == type);
    (void)type;
    return (const char *)l->conf + k->offset;
}

int64_t ddp_gpu_conf_int(const struct ddp_layer *l, const char *key)
{
    return *(const int64_t *)conf_at(l, key, DDP_KEY_INT);
}

double ddp_gpu_conf_float(const struct ddp_layer *l, const char *key)
{
    return *(const double *)conf_at(l, key, DDP_KEY_FLOAT);
}

bool ddp_gpu_conf_bool(const struct ddp_layer *l, const char *key)
{
    return *(const bool *)conf_at(l, key, DDP_KEY_BOOL);
}

/* ---- plans ---- */

static int take_plan(const struct ddp_gpu_planner *p, struct ddp_gpu_stage *st, int pass,
                     const char *signature, struct ddp_gpu_plan *plan, struct ddp_error *err)
{
    const size_t workspace = p->api->plan_workspace(plan);
    st->plan[pass] = plan;
    if (st->workspace_bytes < workspace)
        st->workspace_bytes = workspace;
    return ddp_gpu_lock_add(p->lock, signature, p->api->plan_lock(plan), err);
}

int ddp_gpu_plan_conv(const struct ddp_gpu_planner *p, const struct ddp_gpu_conv *c,
                      enum ddp_gpu_conv_pass pass, struct ddp_gpu_stage *st, struct ddp_error *err)
{
    char signature[DDP_GPU_SIGNATURE];
    struct ddp_gpu_plan *plan;
    ddp_gpu_conv_signature(c, pass, signature);
    const int status =
        p->api->conv_plan(p->gpu, c, pass, ddp_gpu_lock_find(p->lock, signature), p->tune, &plan, err);
    return status ? status : take_plan(p, st, pass, signature, plan, err);
}

int ddp_gpu_plan_matmul(const struct ddp_gpu_planner *p, const struct ddp_gpu_matmul *m, int pass,
                        struct ddp_gpu_stage *st, struct ddp_error *err)
{
    char signature[DDP_GPU_SIGNATURE];
    struct ddp_gpu_plan *plan;
    ddp_gpu_matmul_signature(m, signature);
    const int status =
        p->api->matmul_plan(p->gpu, m, ddp_gpu_lock_find(p->lock, signature), p->tune, &plan, err);
    return status ? status : take_plan(p, st, pass, signature, plan, err);
}

/* ---- bias, residual, ReLU ---- */

void ddp_gpu_epilogue(const struct ddp_gpu_call *c, int64_t pixels, int channels, const float *bias)
{
    const bool add = c->stage->add;
    if (!bias && !add && !c->stage->relu)
        return;
    const struct ddp_gpu_bias_args a = {.type = c->type,
                                        .pixels = pixels,
                                        .c = channels,
                                        .bias = bias,
                                        .other = add ? c->in[c->stage->layer->nin] : NULL,
                                        .relu = c->stage->relu,
                                        .y = c->out};
    c->k->point->bias_forward(c->stream, &a);
}

size_t ddp_gpu_epilogue_scratch(int64_t pixels, int channels)
{
    return (size_t)ddp_gpu_partials(pixels, channels) * sizeof(float);
}

void ddp_gpu_epilogue_grad(const struct ddp_gpu_call *c, int64_t pixels, int channels, float *dbias,
                           float *scratch)
{
    const int other = c->stage->layer->nin;
    const bool add = c->stage->add && c->din[other];
    if (!dbias && !add && !c->stage->relu)
        return;
    const struct ddp_gpu_bias_grad_args a = {.type = c->type,
                                             .pixels = pixels,
                                             .c = channels,
                                             .relu = c->stage->relu,
                                             .out = c->out,
                                             .dout = c->dout,
                                             .dother = add ? c->din[other] : NULL,
                                             .accumulate = add && c->accumulate[other],
                                             .dbias = dbias,
                                             .partial = scratch};
    c->k->point->bias_backward(c->stream, &a);
}
