/* Arguments of each kernel, and the table of cases. Tensors are taken in the order of the kernel's
 * arguments; what a kernel reads and what it writes never is one tensor unless training has it so. */
#include "gpu_cases.h"

#include "base/base.h"
#include "data/augment_kernels.h"
#include "ops/dropout/dropout_kernels.h"
#include "ops/norm/norm_kernels.h"
#include "ops/point/point_kernels.h"
#include "ops/pool/pool_kernels.h"
#include "reduce/flat_kernels.h"

static const struct ddp_gpu_kernels *kernels(const struct bench_place *p)
{
    return p->api->kernels;
}

static void copy(const struct bench_place *p)
{
    p->api->copy(p->s, p->tensor[1], p->tensor[0], (size_t)p->elements * ddp_gpu_type_bytes(p->type));
}

/* ---- elementwise ---- */

static void act_forward(const struct bench_place *p, enum ddp_act act)
{
    const struct ddp_gpu_act_args a = {
        .type = p->type, .act = act, .count = p->elements, .x = p->tensor[0], .out = p->tensor[1]};
    kernels(p)->point->act_forward(p->s, &a);
}
static void relu(const struct bench_place *p)
{
    act_forward(p, DDP_ACT_RELU);
}
static void gelu(const struct bench_place *p)
{
    act_forward(p, DDP_ACT_GELU);
}

static void act_backward(const struct bench_place *p, enum ddp_act act)
{
    const struct ddp_gpu_act_args a = {.type = p->type,
                                       .act = act,
                                       .count = p->elements,
                                       .x = p->tensor[0],
                                       .dout = p->tensor[1],
                                       .out = p->tensor[2]};
    kernels(p)->point->act_backward(p->s, &a);
}
static void relu_grad(const struct bench_place *p)
{
    act_backward(p, DDP_ACT_RELU);
}
static void gelu_grad(const struct bench_place *p)
{
    act_backward(p, DDP_ACT_GELU);
}

static struct ddp_gpu_add_args add_args(const struct bench_place *p)
{
    return (struct ddp_gpu_add_args){.type = p->type,
                                     .count = p->elements,
                                     .a = p->tensor[0],
                                     .b = p->tensor[1],
                                     .out = p->tensor[2],
                                     .relu = true};
}
static void add_forward(const struct bench_place *p)
{
    const struct ddp_gpu_add_args a = add_args(p);
    kernels(p)->point->add_forward(p->s, &a);
}
static void add_backward(const struct bench_place *p)
{
    const struct ddp_gpu_add_args a = add_args(p);
    kernels(p)->point->add_backward(p->s, &a);
}

static int64_t pixels(const struct bench_place *p)
{
    return p->elements / p->c;
}

static void bias_forward(const struct bench_place *p)
{
    const struct ddp_gpu_bias_args a = {.type = p->type,
                                        .pixels = pixels(p),
                                        .c = p->c,
                                        .bias = p->channel[0],
                                        .relu = true,
                                        .y = p->tensor[0]};
    kernels(p)->point->bias_forward(p->s, &a);
}

static void bias_backward(const struct bench_place *p, bool relu_too)
{
    const struct ddp_gpu_bias_grad_args a = {.type = p->type,
                                             .pixels = pixels(p),
                                             .c = p->c,
                                             .relu = relu_too,
                                             .out = p->tensor[0],
                                             .dout = p->tensor[1],
                                             .dbias = p->channel[0],
                                             .partial = p->partial};
    kernels(p)->point->bias_backward(p->s, &a);
}
static void bias_sum(const struct bench_place *p)
{
    bias_backward(p, false);
}
static void bias_relu_grad(const struct bench_place *p)
{
    bias_backward(p, true);
}

/* ---- batch norm ---- */

static struct ddp_gpu_norm_args norm_args(const struct bench_place *p)
{
    return (struct ddp_gpu_norm_args){.type = p->type,
                                      .n = &p->small->batch,
                                      .batch = p->batch,
                                      .hw = BENCH_SIDE * BENCH_SIDE,
                                      .c = p->c,
                                      .eps = 1e-5f,
                                      .x = p->tensor[0],
                                      .weight = p->channel[0],
                                      .bias = p->channel[1],
                                      .running_mean = p->channel[2],
                                      .running_var = p->channel[3],
                                      .mean = p->channel[4],
                                      .inv_std = p->channel[5],
                                      .partial = p->partial,
                                      .step = &p->small->step,
                                      .relu = true,
                                      .y = p->tensor[1]};
}
static void norm_stats(const struct bench_place *p)
{
    const struct ddp_gpu_norm_args a = norm_args(p);
    kernels(p)->norm->norm_stats(p->s, &a);
}
static void norm_forward(const struct bench_place *p)
{
    const struct ddp_gpu_norm_args a = norm_args(p);
    kernels(p)->norm->norm_forward(p->s, &a);
}
static void norm_forward_residual(const struct bench_place *p)
{
    struct ddp_gpu_norm_args a = norm_args(p);
    a.other = p->tensor[2];
    kernels(p)->norm->norm_forward(p->s, &a);
}
static void norm_eval(const struct bench_place *p)
{
    const struct ddp_gpu_norm_args a = norm_args(p);
    kernels(p)->norm->norm_eval(p->s, &a);
}

static struct ddp_gpu_norm_grad_args norm_grad_args(const struct bench_place *p)
{
    return (struct ddp_gpu_norm_grad_args){.type = p->type,
                                           .n = &p->small->batch,
                                           .batch = p->batch,
                                           .hw = BENCH_SIDE * BENCH_SIDE,
                                           .c = p->c,
                                           .x = p->tensor[0],
                                           .relu = true,
                                           .weight = p->channel[0],
                                           .bias = p->channel[1],
                                           .mean = p->channel[4],
                                           .inv_std = p->channel[5],
                                           .dout = p->tensor[2],
                                           .dweight = p->channel[2],
                                           .dbias = p->channel[3],
                                           .partial = p->partial,
                                           .step = &p->small->step,
                                           .din = p->tensor[3]};
}
static void norm_grad_stats(const struct bench_place *p)
{
    const struct ddp_gpu_norm_grad_args a = norm_grad_args(p);
    kernels(p)->norm->norm_grad_stats(p->s, &a);
}
static void norm_grad_stats_residual(const struct bench_place *p)
{
    struct ddp_gpu_norm_grad_args a = norm_grad_args(p);
    a.y = p->tensor[1];
    a.dother = a.dout;
    kernels(p)->norm->norm_grad_stats(p->s, &a);
}
static void norm_grad_stats_two(const struct bench_place *p)
{
    struct ddp_gpu_norm_grad_args a = norm_grad_args(p);
    a.y = p->tensor[1];
    a.more = p->tensor[4];
    a.dother = a.dout;
    kernels(p)->norm->norm_grad_stats(p->s, &a);
}
static void norm_grad(const struct bench_place *p)
{
    const struct ddp_gpu_norm_grad_args a = norm_grad_args(p);
    kernels(p)->norm->norm_grad(p->s, &a);
}

/* ---- pooling, 2x2 by 2 ---- */

static struct ddp_gpu_pool_args pool_args(const struct bench_place *p)
{
    return (struct ddp_gpu_pool_args){.type = p->type,
                                      .batch = p->batch,
                                      .c = p->c,
                                      .h = BENCH_SIDE,
                                      .w = BENCH_SIDE,
                                      .oh = BENCH_SIDE / 2,
                                      .ow = BENCH_SIDE / 2,
                                      .kernel_h = 2,
                                      .kernel_w = 2,
                                      .stride = 2,
                                      .x = p->tensor[0],
                                      .y = p->tensor[1],
                                      .index = p->tensor[2],
                                      .dout = p->tensor[3],
                                      .din = p->tensor[4]};
}
static void max_pool(const struct bench_place *p)
{
    const struct ddp_gpu_pool_args a = pool_args(p);
    kernels(p)->pool->max_pool(p->s, &a);
}
static void max_pool_grad(const struct bench_place *p)
{
    const struct ddp_gpu_pool_args a = pool_args(p);
    kernels(p)->pool->max_pool_grad(p->s, &a);
}
static void avg_pool(const struct bench_place *p)
{
    const struct ddp_gpu_pool_args a = pool_args(p);
    kernels(p)->pool->avg_pool(p->s, &a);
}
static void avg_pool_grad(const struct bench_place *p)
{
    const struct ddp_gpu_pool_args a = pool_args(p);
    kernels(p)->pool->avg_pool_grad(p->s, &a);
}

/* ---- input, dropout ---- */

static void augment(const struct bench_place *p)
{
    const struct ddp_gpu_augment a = {.type = p->type,
                                      .pixels = p->tensor[0],
                                      .sample = p->sample,
                                      .resident = true,
                                      .n = &p->small->pictures,
                                      .step = &p->small->step,
                                      .batch = p->pictures,
                                      .c = 3,
                                      .h = BENCH_SIDE,
                                      .w = BENCH_SIDE,
                                      .cpad = 8,
                                      .train = true,
                                      .crop_padding = 4,
                                      .flip = true,
                                      .mean = {0.5f, 0.5f, 0.5f},
                                      .inv_std = {4, 4, 4},
                                      .seed = 1,
                                      .out = p->tensor[1]};
    kernels(p)->augment->augment(p->s, &a);
}

static void dropout(const struct bench_place *p)
{
    const struct ddp_gpu_dropout_args a = {.type = p->type,
                                           .batch = p->batch,
                                           .h = BENCH_SIDE,
                                           .w = BENCH_SIDE,
                                           .c = p->c,
                                           .real_c = p->c,
                                           .sample = p->sample,
                                           .step = &p->small->step,
                                           .seed = 1,
                                           .layer = 1,
                                           .threshold = 0x80000000u,
                                           .scale = 2,
                                           .in = p->tensor[0],
                                           .out = p->tensor[1]};
    kernels(p)->dropout->dropout(p->s, &a);
}

/* ---- the flat space ---- */

static void cast_from_float(const struct bench_place *p)
{
    const struct ddp_gpu_cast_args a = {
        .type = p->type, .count = p->flat, .f = p->tensor[0], .t = p->tensor[1]};
    kernels(p)->point->cast_from_float(p->s, &a);
}
static void cast_to_float(const struct bench_place *p)
{
    const struct ddp_gpu_cast_args a = {
        .type = p->type, .count = p->flat, .f = p->tensor[1], .t = p->tensor[0]};
    kernels(p)->point->cast_to_float(p->s, &a);
}
static void add_range(const struct bench_place *p)
{
    const struct ddp_gpu_range_args a = {.count = p->flat, .a = p->tensor[0], .b = p->tensor[1]};
    kernels(p)->flat->add_range(p->s, &a);
}

static struct ddp_gpu_update_args update_args(const struct bench_place *p, int nodes)
{
    return (struct ddp_gpu_update_args){
        .hi = p->flat,
        .nodes = {.n = nodes, .node = p->small->node, .merges = p->small->merges},
        .step = &p->small->step,
        .hyper = {.momentum = 0.9, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
        .setting = &p->small->setting,
        .tensor = p->tensor_of,
        .params = p->tensor[1],
        .state = {p->tensor[2], p->tensor[3]},
        .type = p->type,
        .weights = p->type == DDP_GPU_F32 ? NULL : p->tensor[4],
        .sum = p->tensor[4],
        .values = p->values,
        .layout = {4, {0, 1, 2, 3}},
        .leaves = 1 << DDP_VALUE_GRADIENT};
}
static void norms(const struct bench_place *p)
{
    const struct ddp_gpu_update_args a = update_args(p, BENCH_NODES);
    kernels(p)->update->norms(p->s, &a);
}
static void sgd(const struct bench_place *p)
{
    const struct ddp_gpu_update_args a = update_args(p, 1);
    kernels(p)->update->kind[DDP_OPTIM_SGD]->stage[0](p->s, &a);
}
static void adamw(const struct bench_place *p)
{
    const struct ddp_gpu_update_args a = update_args(p, 1);
    kernels(p)->update->kind[DDP_OPTIM_ADAMW]->stage[0](p->s, &a);
}
static void no_squares(const struct bench_place *p) /* of gradients, yet: none is negative */
{
    p->api->zero(p->s, p->tensor[3], (size_t)p->flat * sizeof(float));
}

void bench_empty_kernel(const struct bench_place *p)
{
    const struct ddp_gpu_range_args a = {.count = 4, .a = p->tensor[0], .b = p->tensor[1]};
    kernels(p)->flat->add_range(p->s, &a);
}

/* ---- the table ---- */

#define BOTH   .f32 = true, .bf16 = true
#define FLOAT  .f32 = true
#define NARROW .bf16 = true
const struct bench_case bench_cases[] = {
    {"copy", FLOAT, .wide = 2, .enqueue = copy},
    {"act_forward relu", BOTH, .wide = 2, .enqueue = relu},
    {"act_forward gelu", BOTH, .wide = 2, .enqueue = gelu},
    {"act_backward relu", BOTH, .wide = 3, .enqueue = relu_grad},
    {"act_backward gelu", BOTH, .wide = 3, .enqueue = gelu_grad},
    {"add_forward relu", BOTH, .wide = 3, .enqueue = add_forward},
    {"add_backward relu", BOTH, .wide = 3, .enqueue = add_backward},
    {"bias_forward relu", BOTH, .wide = 2, .enqueue = bias_forward},
    {"bias_backward", BOTH, .wide = 1, .enqueue = bias_sum},
    {"bias_backward relu", BOTH, .wide = 3, .enqueue = bias_relu_grad},
    {"norm_stats", BOTH, .wide = 1, .enqueue = norm_stats},
    {"norm_forward relu", BOTH, .wide = 2, .enqueue = norm_forward},
    {"norm_forward residual relu", BOTH, .wide = 3, .enqueue = norm_forward_residual},
    {"norm_eval relu", BOTH, .wide = 2, .enqueue = norm_eval},
    {"norm_grad_stats relu", BOTH, .wide = 2, .enqueue = norm_grad_stats},
    {"norm_grad_stats residual relu", BOTH, .wide = 4, .enqueue = norm_grad_stats_residual},
    {"norm_grad_stats two residual relu", BOTH, .wide = 5, .enqueue = norm_grad_stats_two},
    {"norm_grad relu", BOTH, .wide = 3, .enqueue = norm_grad},
    {"max_pool 2x2", BOTH, .wide = 1.25, .plain = 0.25, .enqueue = max_pool},
    {"max_pool_grad 2x2", BOTH, .wide = 1.25, .plain = 0.25, .prepare = max_pool, .enqueue = max_pool_grad},
    {"avg_pool 2x2", BOTH, .wide = 1.25, .enqueue = avg_pool},
    {"avg_pool_grad 2x2", BOTH, .wide = 1.25, .enqueue = avg_pool_grad},
    {"dropout", BOTH, .wide = 2, .enqueue = dropout},
    {"augment crop flip", BOTH, .wide = 1, .plain = 3.0 / 8, .enqueue = augment},
    {"cast_from_float", NARROW, .flat = true, .wide = 1, .plain = 4, .enqueue = cast_from_float},
    {"cast_to_float", NARROW, .flat = true, .wide = 1, .plain = 4, .enqueue = cast_to_float},
    {"add_range", FLOAT, .flat = true, .plain = 12, .enqueue = add_range},
    {"norms, 4 nodes", FLOAT, .flat = true, .plain = 4 * BENCH_NODES + 4, .enqueue = norms},
    {"update sgd momentum", BOTH, .flat = true, .plain = 20, .copy = 1, .enqueue = sgd},
    {"update adamw", BOTH, .flat = true, .plain = 28, .copy = 1, .prepare = no_squares, .enqueue = adamw},
};
const int bench_cases_count = DDP_COUNT(bench_cases);

double bench_case_bytes(const struct bench_case *c, const struct bench_place *p)
{
    const double size = (double)ddp_gpu_type_bytes(p->type), copied = p->type == DDP_GPU_F32 ? 0 : c->copy;
    return (double)(c->flat ? p->flat : p->elements) * ((c->wide + copied) * size + c->plain);
}
