/* Residual sum: out = in[0] + in[1], then max(., 0) when fused. Both of one shape, any strides; out may be
 * the memory of an input. Backward: din[i] = dout, where out > 0 when fused. */
#include "ops/ops.h"

#include "ops/point/point.h"
#include "ops/point/point_cpu.h"
#include "ops/builtin.h"
#include "ops/walk.h"

static const struct ddp_key no_keys[] = {{0}};

struct job {
    const struct ddp_op_call *call;
    const struct ddp_tensor *din;
    bool accumulate;
    struct ddp_walk walk;
};

static int plan_layer(const void *conf, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)conf, (void)batch;
    if (nin != 2)
        return ddp_fail(err, DDP_E_CONFIG, "add: %d input, it takes 2; name them: input = [\"a\", \"b\"]",
                        nin);
    if (in[0].c != in[1].c || in[0].h != in[1].h || in[0].w != in[1].w)
        return ddp_fail(
            err, DDP_E_SHAPE,
            "add: the inputs are %d x %d x %d and %d x %d x %d (channels x height x width), they must "
            "agree; put a 1x1 convolution on the shortcut",
            in[0].c, in[0].h, in[0].w, in[1].c, in[1].h, in[1].w);
    plan->out = in[0];
    plan->any_strides = true;
    plan->flops = (double)in[0].c * in[0].h * in[0].w;
    return 0;
}

static void forward_task(void *ctx, int task)
{
    const struct job *j = ctx;
    ddp_point_kernels()->add(j->call->fused & DDP_FUSE_RELU, j->walk.rows, j->walk.run,
                             ddp_walk_plane(&j->walk, j->call->in[0], task),
                             ddp_walk_plane(&j->walk, j->call->in[1], task),
                             ddp_walk_plane(&j->walk, j->call->out, task));
}

static void backward_task(void *ctx, int task)
{
    const struct job *j = ctx;
    const struct ddp_walk *k = &j->walk;
    struct ddp_plane dout = ddp_walk_plane(k, j->call->dout, task), din = ddp_walk_plane(k, j->din, task);
    if (j->call->fused & DDP_FUSE_RELU)
        ddp_point_kernels()->act_grad(DDP_ACT_RELU, 0, k->rows, k->run, ddp_walk_plane(k, j->call->out, task),
                                      dout, din, j->accumulate);
    else
        ddp_point_kernels()->copy(k->rows, k->run, dout, din, j->accumulate);
}

static void forward(const struct ddp_op_call *call)
{
    struct job j = {.call = call, .walk = ddp_walk_of(call->out)};
    ddp_parallel(call->pool, j.walk.tasks, forward_task, &j);
}

/* The masked dout is the same for both, so din[0] or din[1] may be dout's own memory only for the one written
 * last: that one is taken last. */
static void backward(const struct ddp_op_call *call)
{
    int first = call->din[0] && call->din[0]->p == call->dout->p ? 1 : 0;
    for (int i = 0; i < 2; i++) {
        int which = i == 0 ? first : 1 - first;
        const struct ddp_tensor *din = call->din[which];
        if (!din)
            continue;
        struct job j = {call, din, call->accumulate[which], ddp_walk_of(din)};
        ddp_parallel(call->pool, j.walk.tasks, backward_task, &j);
    }
}

const struct ddp_op ddp_op_add = {
    .name = "add",
    .doc = "sum of two inputs of one shape (residual connection)",
    .keys = no_keys,
    .nin = 2,
    .fuses = DDP_FUSE_RELU,
    .any_shape = true,
    .out_use = DDP_OUT_MASK,
    .plan = plan_layer,
    .forward = forward,
    .backward = backward,
    .device = &ddp_add_device,
};
