/* Activations, [N, C, H, W] or features to the same shape, any strides:
 *
 *     relu        max(x, 0)                            slope  out > 0
 *     gelu        x Phi(x), exact, with erf                   Phi(x) + x phi(x)
 *     silu        x s(x), s(x) = 1 / (1 + e^-x)               s(x) (1 + x (1 - s(x)))
 *     tanh        tanh x                                      1 - out^2
 *     sigmoid     s(x)                                        out (1 - out)
 *     leaky_relu  x where x > 0, else slope * x               1 where x > 0, else slope
 *
 * out may be the same memory as in where backward looks at out alone. NaN stays NaN. Padded
 * channels stay zero. */
#include "ops/ops.h"

#include "ops/point/point.h"
#include "ops/point/point_cpu.h"
#include "ops/builtin.h"
#include "ops/walk.h"

static const struct ddp_key no_keys[] = {{0}};
static const struct ddp_key leaky_keys[] = {
    {.name = "slope",
     .type = DDP_KEY_FLOAT,
     .offset = offsetof(struct ddp_leaky_relu_conf, slope),
     .dflt = "0.01",
     .min = 0,
     .max = 1,
     .flags = DDP_KEY_RESULT,
     .doc = "factor of negative values"},
    {0},
};

struct job {
    const struct ddp_op_call *call;
    enum ddp_act f;
    float slope;
    struct ddp_walk walk;
};

static int plan_layer(const struct ddp_shape *in, double flops, struct ddp_layer_plan *plan)
{
    plan->out = in[0];
    plan->any_strides = true;
    plan->flops = flops * in[0].c * in[0].h * in[0].w;
    return 0;
}

/* Zeros past the last channel, for a function that has none at 0. */
static void clear_padding(const struct ddp_walk *k, const struct ddp_tensor *t, int task)
{
    const int block = k->features ? task / t->h : task % ddp_blocks(t->c), first = t->c - block * DDP_CBLOCK;
    const struct ddp_plane p = ddp_walk_plane(k, t, task);
    for (int r = 0; r < k->rows && first < DDP_CBLOCK; r++)
        for (int i = 0; i < k->run; i++)
            for (int c = first; c < DDP_CBLOCK; c++)
                p.p[r * p.sh + i * p.sw + c] = 0;
}

static void forward_task(void *ctx, int task)
{
    const struct job *j = ctx;
    ddp_point_kernels()->act(j->f, j->slope, j->walk.rows, j->walk.run,
                             ddp_walk_plane(&j->walk, j->call->in[0], task),
                             ddp_walk_plane(&j->walk, j->call->out, task));
    if (j->f == DDP_ACT_SIGMOID)
        clear_padding(&j->walk, j->call->out, task);
}

static void backward_task(void *ctx, int task)
{
    const struct job *j = ctx;
    const struct ddp_tensor *x = ddp_act_reads_out(j->f) ? j->call->out : j->call->in[0];
    ddp_point_kernels()->act_grad(j->f, j->slope, j->walk.rows, j->walk.run,
                                  ddp_walk_plane(&j->walk, x, task),
                                  ddp_walk_plane(&j->walk, j->call->dout, task),
                                  ddp_walk_plane(&j->walk, j->call->din[0], task), j->call->accumulate[0]);
}

static void run_forward(const struct ddp_op_call *call, enum ddp_act f)
{
    struct job j = {call, f, ddp_act_slope(f, call->conf), ddp_walk_of(call->out)};
    ddp_parallel(call->pool, j.walk.tasks, forward_task, &j);
}

static void run_backward(const struct ddp_op_call *call, enum ddp_act f)
{
    if (!call->din[0])
        return;
    struct job j = {call, f, ddp_act_slope(f, call->conf), ddp_walk_of(call->din[0])};
    ddp_parallel(call->pool, j.walk.tasks, backward_task, &j);
}

#define ACTIVATION(NAME, F, FLOPS, DOC, KEYS, CONF_BYTES)                                                    \
    static int NAME##_plan(const void *conf, const struct ddp_shape *in, int nin, int batch,                 \
                           struct ddp_layer_plan *plan, struct ddp_error *err)                               \
    {                                                                                                        \
        (void)conf, (void)nin, (void)batch, (void)err;                                                       \
        return plan_layer(in, FLOPS, plan);                                                                  \
    }                                                                                                        \
    static void NAME##_forward(const struct ddp_op_call *call)                                               \
    {                                                                                                        \
        run_forward(call, F);                                                                                \
    }                                                                                                        \
    static void NAME##_backward(const struct ddp_op_call *call)                                              \
    {                                                                                                        \
        run_backward(call, F);                                                                               \
    }                                                                                                        \
    const struct ddp_op ddp_op_##NAME = {                                                                    \
        .name = #NAME,                                                                                       \
        .doc = DOC,                                                                                          \
        .conf_bytes = CONF_BYTES,                                                                            \
        .keys = KEYS,                                                                                        \
        .nin = 1,                                                                                            \
        .any_shape = true,                                                                                   \
        .plan = NAME##_plan,                                                                                 \
        .forward = NAME##_forward,                                                                           \
        .backward = NAME##_backward,                                                                         \
        .device = &ddp_##NAME##_device,                                                                      \
    };

ACTIVATION(relu, DDP_ACT_RELU, 1, "max(x, 0)", no_keys, 0)
ACTIVATION(gelu, DDP_ACT_GELU, 40, "x times the normal distribution function of x (exact form)", no_keys, 0)
ACTIVATION(silu, DDP_ACT_SILU, 25, "x times the logistic function of x", no_keys, 0)
ACTIVATION(tanh, DDP_ACT_TANH, 25, "hyperbolic tangent of x", no_keys, 0)
ACTIVATION(sigmoid, DDP_ACT_SIGMOID, 25, "logistic function of x, 1 / (1 + exp(-x))", no_keys, 0)
ACTIVATION(leaky_relu, DDP_ACT_LEAKY_RELU, 2, "x where x is positive, else slope * x", leaky_keys,
           sizeof(struct ddp_leaky_relu_conf))
