/* Pictures to features: out[(c*H + y)*W + x] = in[c][y][x].
 *
 * out is {C*H*W, 1, 1}: features are blocked anew, 16 by plain index, one float at a time (4 bytes read and
 * written per feature). Where C is a multiple of 16 and all that read the features compute the same for any
 * shape of them (ddp_op.any_shape), the graph gives out the shape {C, H, W} of in: the blocked vectors stay
 * as they are, and the work is a copy between strides, from pictures order to the features order that a
 * linear layer reads. It may leave such a layer out by letting the op before it write features order (every
 * op with any_strides can). The plan says any_strides and leaves the order of out to the graph. Padded
 * channels of out and din are written as zero. */
#include "ops/ops.h"

#include "ops/point/point_cpu.h"
#include "ops/shape/flatten.h"
#include "ops/builtin.h"
#include "ops/walk.h"

static const struct ddp_key no_keys[] = {{0}};

struct job {
    const struct ddp_tensor *from, *to;
    bool accumulate;
    struct ddp_walk walk;
};

static int plan_layer(const void *conf, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)conf, (void)nin, (void)batch;
    int64_t features = (int64_t)in[0].c * in[0].h * in[0].w;
    if (features > INT32_MAX / DDP_CBLOCK)
        return ddp_fail(err, DDP_E_SHAPE,
                        "flatten: %d x %d x %d makes %lld features, the limit is %d; pool first", in[0].c,
                        in[0].h, in[0].w, (long long)features, INT32_MAX / DDP_CBLOCK);
    plan->out = (struct ddp_shape){(int)features, 1, 1};
    plan->any_strides = true;
    plan->over_in = DDP_OVER_PLAIN;
    return 0;
}

static void copy_task(void *ctx, int task)
{
    const struct job *j = ctx;
    ddp_point_kernels()->copy(j->walk.rows, j->walk.run, ddp_walk_plane(&j->walk, j->from, task),
                              ddp_walk_plane(&j->walk, j->to, task), j->accumulate);
}

static void reblock_task(void *ctx, int n)
{
    const struct job *j = ctx;
    const struct ddp_tensor *in = j->from, *out = j->to;
    int f = 0, end = ddp_blocks(out->c) * DDP_CBLOCK;
    for (int c = 0; c < in->c; c++)
        for (int y = 0; y < in->h; y++)
            for (int x = 0; x < in->w; x++, f++)
                ddp_at(out, n, f / DDP_CBLOCK, 0, 0)[f % DDP_CBLOCK] =
                    ddp_at(in, n, c / DDP_CBLOCK, y, x)[c % DDP_CBLOCK];
    for (; f < end; f++)
        ddp_at(out, n, f / DDP_CBLOCK, 0, 0)[f % DDP_CBLOCK] = 0;
}

static void unblock_task(void *ctx, int n)
{
    const struct job *j = ctx;
    const struct ddp_tensor *dout = j->from, *din = j->to;
    int f = 0, end = ddp_blocks(din->c) * DDP_CBLOCK;
    for (int c = 0; c < end; c++)
        for (int y = 0; y < din->h; y++)
            for (int x = 0; x < din->w; x++) {
                float *q = &ddp_at(din, n, c / DDP_CBLOCK, y, x)[c % DDP_CBLOCK], g = 0;
                if (c < din->c) {
                    g = ddp_at(dout, n, f / DDP_CBLOCK, 0, 0)[f % DDP_CBLOCK];
                    f++;
                }
                *q = j->accumulate ? *q + g : g;
            }
}

static void forward(const struct ddp_op_call *call)
{
    struct job j = {call->in[0], call->out, false, ddp_walk_of(call->out)};
    if (call->out->c == call->in[0]->c)
        ddp_parallel(call->pool, j.walk.tasks, copy_task, &j);
    else
        ddp_parallel(call->pool, call->in[0]->n, reblock_task, &j);
}

static void backward(const struct ddp_op_call *call)
{
    if (!call->din[0])
        return;
    struct job j = {call->dout, call->din[0], call->accumulate[0], ddp_walk_of(call->din[0])};
    if (call->dout->c == call->din[0]->c)
        ddp_parallel(call->pool, j.walk.tasks, copy_task, &j);
    else
        ddp_parallel(call->pool, call->din[0]->n, unblock_task, &j);
}

const struct ddp_op ddp_op_flatten = {
    .name = "flatten",
    .doc = "pictures to a vector of C*H*W features, in the order channel, row, column, whatever reads it",
    .keys = no_keys,
    .nin = 1,
    .out_use = DDP_OUT_UNREAD,
    .any_shape = true,
    .plan = plan_layer,
    .forward = forward,
    .backward = backward,
    .device = &ddp_flatten_device,
};
