/* Activations: relu max(x, 0), gelu x Phi(x) (exact, with erf), silu x / (1 + e^-x). [N, C, H, W] or features
 * to the same shape, any strides; out may be the same memory as in for relu (its backward looks at out), not
 * for gelu and silu (theirs look at in). */
#include "ops/ops.h"

#include "ops/point/point.h"
#include "ops/point/point_cpu.h"
#include "ops/builtin.h"
#include "ops/walk.h"

static const struct ddp_key no_keys[] = {{0}};

struct job {
    const struct ddp_op_call *call;
    enum ddp_act f;
    struct ddp_walk walk;
};

static int plan_layer(const struct ddp_shape *in, double flops, struct ddp_layer_plan *plan)
{
    plan->out = in[0];
    plan->any_strides = true;
    plan->flops = flops * in[0].c * in[0].h * in[0].w;
    return 0;
}

static void forward_task(void *ctx, int task)
{
    const struct job *j = ctx;
    ddp_point_kernels()->act(j->f, j->walk.rows, j->walk.run, ddp_walk_plane(&j->walk, j->call->in[0], task),
                             ddp_walk_plane(&j->walk, j->call->out, task));
}

static void backward_task(void *ctx, int task)
{
    const struct job *j = ctx;
    const struct ddp_tensor *x = j->f == DDP_ACT_RELU ? j->call->out : j->call->in[0];
    ddp_point_kernels()->act_grad(j->f, j->walk.rows, j->walk.run, ddp_walk_plane(&j->walk, x, task),
                                  ddp_walk_plane(&j->walk, j->call->dout, task),
                                  ddp_walk_plane(&j->walk, j->call->din[0], task), j->call->accumulate[0]);
}

static void run_forward(const struct ddp_op_call *call, enum ddp_act f)
{
    struct job j = {call, f, ddp_walk_of(call->out)};
    ddp_parallel(call->pool, j.walk.tasks, forward_task, &j);
}

static void run_backward(const struct ddp_op_call *call, enum ddp_act f)
{
    if (!call->din[0])
        return;
    struct job j = {call, f, ddp_walk_of(call->din[0])};
    ddp_parallel(call->pool, j.walk.tasks, backward_task, &j);
}

#define ACTIVATION(NAME, F, FLOPS, DOC)                                                                      \
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
        .keys = no_keys,                                                                                     \
        .nin = 1,                                                                                            \
        .plan = NAME##_plan,                                                                                 \
        .forward = NAME##_forward,                                                                           \
        .backward = NAME##_backward,                                                                         \
        .device = &ddp_##NAME##_device,                                                                      \
    };

ACTIVATION(relu, DDP_ACT_RELU, 1, "max(x, 0)")
ACTIVATION(gelu, DDP_ACT_GELU, 40, "x times the normal distribution function of x (exact form)")
ACTIVATION(silu, DDP_ACT_SILU, 25, "x times the logistic function of x")
