/* Concatenation along channels:
 *
 *     out[n][c][y][x] = in[0][n][c][y][x]          c < C0
 *                       in[1][n][c - C0][y][x]     C0 <= c < C0 + C1
 *
 * [N, C0, H, W] and [N, C1, H, W] to [N, C0 + C1, H, W], any strides. Backward: each input gets its part of
 * dout. Blocks of 16 channels are copied whole where C0 is a multiple of 16; else the second input's
 * channels move one by one. Padded channels of out and of both gradients are written as zero. One task per
 * sample. 8 bytes an element, 12 accumulating. */
#include "ops/ops.h"

#include "ops/point/point_cpu.h"
#include "ops/shape/concat.h"
#include "ops/walk.h"

static const struct ddp_key no_keys[] = {{0}};

static int plan_layer(const void *conf, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)conf, (void)batch;
    if (nin != 2)
        return ddp_fail(err, DDP_E_CONFIG, "concat: %d input, it takes 2; name them: input = [\"a\", \"b\"]",
                        nin);
    if (in[0].h != in[1].h || in[0].w != in[1].w)
        return ddp_fail(
            err, DDP_E_SHAPE,
            "concat: the inputs are %d x %d x %d and %d x %d x %d (channels x height x width), height "
            "and width must agree; pool or convolve the larger one",
            in[0].c, in[0].h, in[0].w, in[1].c, in[1].h, in[1].w);
    plan->out = (struct ddp_shape){in[0].c + in[1].c, in[0].h, in[0].w};
    plan->any_strides = true;
    return 0;
}

/* Channels [from, from + count) of a to channels [to, ..) of b, sample n, one by one. */
static void move(const struct ddp_tensor *a, int from, const struct ddp_tensor *b, int to, int count, int n,
                 bool accumulate)
{
    for (int y = 0; y < a->h; y++)
        for (int x = 0; x < a->w; x++)
            for (int i = 0; i < count; i++) {
                const int c = from + i, d = to + i;
                float *q = &ddp_at(b, n, d / DDP_CBLOCK, y, x)[d % DDP_CBLOCK],
                      v = ddp_at(a, n, c / DDP_CBLOCK, y, x)[c % DDP_CBLOCK];
                *q = accumulate ? *q + v : v;
            }
}

/* Zeros in the channels of the last block that are none. */
static void clear(const struct ddp_tensor *t, int n)
{
    const int last = ddp_blocks(t->c) - 1, first = t->c - last * DDP_CBLOCK;
    for (int y = 0; y < t->h; y++)
        for (int x = 0; x < t->w; x++)
            for (int j = first; j < DDP_CBLOCK; j++)
                ddp_at(t, n, last, y, x)[j] = 0;
}

/* `count` channels from channel `from` of a to channel `to` of b, sample n; all of the smaller tensor's. */
static void part(const struct ddp_tensor *a, int from, const struct ddp_tensor *b, int to, int count, int n,
                 bool accumulate)
{
    int done = 0;
    if (from % DDP_CBLOCK == 0 && to % DDP_CBLOCK == 0)
        for (; done + DDP_CBLOCK <= count; done += DDP_CBLOCK)
            ddp_point_kernels()->copy(a->h, a->w, ddp_plane_of(a, n, (from + done) / DDP_CBLOCK),
                                      ddp_plane_of(b, n, (to + done) / DDP_CBLOCK), accumulate);
    move(a, from + done, b, to + done, count - done, n, accumulate);
}

static void forward_task(void *ctx, int n)
{
    const struct ddp_op_call *call = ctx;
    const int c0 = call->in[0]->c;
    clear(call->out, n);
    part(call->in[0], 0, call->out, 0, c0, n, false);
    part(call->in[1], 0, call->out, c0, call->in[1]->c, n, false);
}

static void forward(const struct ddp_op_call *call)
{
    ddp_parallel(call->pool, call->out->n, forward_task, (void *)call);
}

struct job {
    const struct ddp_op_call *call;
    int input, first;
};

static void backward_task(void *ctx, int n)
{
    const struct job *j = ctx;
    const struct ddp_tensor *din = j->call->din[j->input];
    clear(din, n);
    part(j->call->dout, j->first, din, 0, din->c, n, j->call->accumulate[j->input]);
}

/* One input after the other: both may be one tensor. */
static void backward(const struct ddp_op_call *call)
{
    for (int i = 0; i < 2; i++) {
        struct job j = {call, i, i ? call->in[0]->c : 0};
        if (call->din[i])
            ddp_parallel(call->pool, call->dout->n, backward_task, &j);
    }
}

const struct ddp_op ddp_op_concat = {
    .name = "concat",
    .doc = "the channels of two inputs of one height and width, one after the other",
    .keys = no_keys,
    .nin = 2,
    .plan = plan_layer,
    .forward = forward,
    .backward = backward,
    .device = &ddp_concat_device,
};
