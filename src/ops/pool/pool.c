/* Pooling: [N, C, H, W] to [N, C, OH, OW], as PyTorch has it; any strides, square windows.
 *
 *   OH = (H + 2 padding - kernel) / stride + 1 rounded down, OW likewise
 *
 *   max_pool          the largest inside the picture (padding never wins); of equals the first in row order
 *                     gets the gradient; NaN wins
 *   avg_pool          sum / kernel^2, or / the pixels inside the picture with count_include_pad = false
 *   global_avg_pool   mean of the picture
 *
 * One task per sample and channel block owns its whole plane, so overlapping windows add up in one order.
 * max_pool keeps one byte per output element for backward. */
#include "ops/ops.h"

#include "ops/pool/pool.h"
#include "ops/pool/pool_cpu.h"
#include "ops/builtin.h"
#include "ops/walk.h"

enum { MAX_KERNEL = 16 }; /* of max_pool: an index in the window is a byte */

#define KEY_STRIDE                                                                                           \
    {                                                                                                        \
        .name = "stride", .type = DDP_KEY_INT, .offset = offsetof(struct ddp_pool_conf, stride),             \
        .dflt = "0", .min = 0, .max = 4096, .unit = "pixels", .flags = DDP_KEY_RESULT,                       \
        .doc = "from one window to the next; 0: as the kernel"                                               \
    }
#define KEY_PADDING                                                                                          \
    {                                                                                                        \
        .name = "padding", .type = DDP_KEY_INT, .offset = offsetof(struct ddp_pool_conf, padding),           \
        .dflt = "0", .min = 0, .max = 2048, .unit = "pixels", .flags = DDP_KEY_RESULT,                       \
        .doc = "border around the picture, at most half of the kernel"                                       \
    }
#define KEY_KERNEL(MAX)                                                                                      \
    {                                                                                                        \
        .name = "kernel", .type = DDP_KEY_INT, .offset = offsetof(struct ddp_pool_conf, kernel), .min = 1,   \
        .max = MAX, .unit = "pixels", .flags = DDP_KEY_RESULT | DDP_KEY_REQUIRED,                            \
        .doc = "side of the window"                                                                          \
    }

static const struct ddp_key max_keys[] = {KEY_KERNEL(MAX_KERNEL), KEY_STRIDE, KEY_PADDING, {0}};
static const struct ddp_key avg_keys[] = {
    KEY_KERNEL(4096),
    KEY_STRIDE,
    KEY_PADDING,
    {.name = "count_include_pad",
     .type = DDP_KEY_BOOL,
     .offset = offsetof(struct ddp_pool_conf, count_include_pad),
     .dflt = "true",
     .flags = DDP_KEY_RESULT,
     .doc = "padding counts in the mean, as zeros"},
    {0},
};
static const struct ddp_key no_keys[] = {{0}};

struct job {
    const struct ddp_op_call *call;
    struct ddp_window window;
    int blocks;
    bool max;
};

static int plan_window(const char *op, const struct ddp_pool_conf *conf, struct ddp_shape in,
                       int64_t max_kernel, struct ddp_layer_plan *plan, struct ddp_error *err)
{
    int64_t k = conf->kernel, s = conf->stride ? conf->stride : k, p = conf->padding;
    if (k < 1 || k > max_kernel)
        return ddp_fail(err, DDP_E_CONFIG, "%s: kernel is %lld, allowed are 1 to %lld%s", op, (long long)k,
                        (long long)max_kernel, max_kernel == MAX_KERNEL ? "; pool in two layers" : "");
    if (s < 1 || s > 4096)
        return ddp_fail(err, DDP_E_CONFIG, "%s: stride is %lld, allowed are 1 to 4096", op, (long long)s);
    if (p < 0 || p > k / 2)
        return ddp_fail(err, DDP_E_CONFIG,
                        "%s: padding is %lld, allowed are 0 to %lld, half of the kernel of %lld", op,
                        (long long)p, (long long)(k / 2), (long long)k);
    if (in.h + 2 * p < k || in.w + 2 * p < k)
        return ddp_fail(
            err, DDP_E_SHAPE,
            "%s: a window of %lld x %lld does not fit into pictures of %d x %d with padding %lld; make the "
            "kernel smaller, or leave out a layer that shrinks the picture before it",
            op, (long long)k, (long long)k, in.h, in.w, (long long)p);
    plan->out =
        (struct ddp_shape){in.c, (int)((in.h + 2 * p - k) / s + 1), (int)((in.w + 2 * p - k) / s + 1)};
    plan->any_strides = true;
    plan->over_in = DDP_OVER_PLAIN;
    plan->flops = (double)k * k * in.c * plan->out.h * plan->out.w;
    return 0;
}

static int max_plan(const void *conf, const struct ddp_shape *in, int nin, int batch,
                    struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)nin;
    int rc = plan_window("max_pool", conf, in[0], MAX_KERNEL, plan, err);
    if (rc)
        return rc;
    plan->saved_bytes = (size_t)batch * ddp_blocks(in[0].c) * DDP_CBLOCK * plan->out.h * plan->out.w;
    const struct ddp_pool_conf *c = conf;
    plan->is_pool = c->kernel == 2 && (c->stride == 0 || c->stride == 2) && c->padding == 0;
    return 0;
}

static int avg_plan(const void *conf, const struct ddp_shape *in, int nin, int batch,
                    struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)nin, (void)batch;
    return plan_window("avg_pool", conf, in[0], 4096, plan, err);
}

static int global_plan(const void *conf, const struct ddp_shape *in, int nin, int batch,
                       struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)conf, (void)nin, (void)batch, (void)err;
    plan->out = (struct ddp_shape){in[0].c, 1, 1};
    plan->any_strides = true;
    plan->over_in = DDP_OVER_PLAIN;
    plan->flops = (double)in[0].c * in[0].h * in[0].w;
    return 0;
}

static struct job job_of(const struct ddp_op_call *call, bool max)
{
    const struct ddp_pool_conf *conf = call->conf;
    const struct ddp_tensor *in = call->in[0];
    struct ddp_shape out = call->plan->out;
    return (struct job){
        .call = call,
        .window = {.kernel = (int)conf->kernel,
                   .stride = (int)(conf->stride ? conf->stride : conf->kernel),
                   .padding = (int)conf->padding,
                   .h = in->h,
                   .w = in->w,
                   .oh = out.h,
                   .ow = out.w,
                   .include_pad = conf->count_include_pad},
        .blocks = ddp_blocks(in->c),
        .max = max,
    };
}

static uint8_t *argmax_of(const struct job *j, int task)
{
    return (uint8_t *)j->call->saved + (int64_t)task * j->window.oh * j->window.ow * DDP_CBLOCK;
}

static void forward_task(void *ctx, int task)
{
    const struct job *j = ctx;
    int n = task / j->blocks, block = task % j->blocks;
    struct ddp_plane in = ddp_plane_of(j->call->in[0], n, block), out = ddp_plane_of(j->call->out, n, block);
    if (j->max)
        ddp_pool_kernels()->max(&j->window, in, out, j->call->training ? argmax_of(j, task) : NULL);
    else
        ddp_pool_kernels()->avg(&j->window, in, out);
}

static void backward_task(void *ctx, int task)
{
    const struct job *j = ctx;
    int n = task / j->blocks, block = task % j->blocks;
    struct ddp_plane dout = ddp_plane_of(j->call->dout, n, block);
    struct ddp_plane din = ddp_plane_of(j->call->din[0], n, block);
    if (j->max)
        ddp_pool_kernels()->max_grad(&j->window, dout, argmax_of(j, task), din, j->call->accumulate[0]);
    else
        ddp_pool_kernels()->avg_grad(&j->window, dout, din, j->call->accumulate[0]);
}

static void run(const struct ddp_op_call *call, bool max, ddp_task_fn fn)
{
    struct job j = job_of(call, max);
    ddp_parallel(call->pool, call->in[0]->n * j.blocks, fn, &j);
}

static void max_forward(const struct ddp_op_call *call)
{
    run(call, true, forward_task);
}
static void avg_forward(const struct ddp_op_call *call)
{
    run(call, false, forward_task);
}
static void max_backward(const struct ddp_op_call *call)
{
    if (call->din[0])
        run(call, true, backward_task);
}
static void avg_backward(const struct ddp_op_call *call)
{
    if (call->din[0])
        run(call, false, backward_task);
}

static void global_forward_task(void *ctx, int task)
{
    const struct ddp_op_call *call = ctx;
    const struct ddp_tensor *in = call->in[0];
    int blocks = ddp_blocks(in->c), n = task / blocks, block = task % blocks;
    ddp_pool_kernels()->global(in->h, in->w, ddp_plane_of(in, n, block), ddp_at(call->out, n, block, 0, 0));
}

static void global_backward_task(void *ctx, int task)
{
    const struct ddp_op_call *call = ctx;
    const struct ddp_tensor *din = call->din[0];
    int blocks = ddp_blocks(din->c), n = task / blocks, block = task % blocks;
    ddp_pool_kernels()->global_grad(din->h, din->w, ddp_at(call->dout, n, block, 0, 0),
                                    ddp_plane_of(din, n, block), call->accumulate[0]);
}

static void global_forward(const struct ddp_op_call *call)
{
    ddp_parallel(call->pool, call->in[0]->n * ddp_blocks(call->in[0]->c), global_forward_task, (void *)call);
}
static void global_backward(const struct ddp_op_call *call)
{
    if (call->din[0])
        ddp_parallel(call->pool, call->in[0]->n * ddp_blocks(call->in[0]->c), global_backward_task,
                     (void *)call);
}

const struct ddp_op ddp_op_max_pool = {
    .name = "max_pool",
    .doc = "the largest value of each window",
    .conf_bytes = sizeof(struct ddp_pool_conf),
    .keys = max_keys,
    .nin = 1,
    .out_use = DDP_OUT_UNREAD,
    .plan = max_plan,
    .forward = max_forward,
    .backward = max_backward,
    .device = &ddp_max_pool_device,
};

const struct ddp_op ddp_op_avg_pool = {
    .name = "avg_pool",
    .doc = "the mean of each window",
    .conf_bytes = sizeof(struct ddp_pool_conf),
    .keys = avg_keys,
    .nin = 1,
    .out_use = DDP_OUT_UNREAD,
    .plan = avg_plan,
    .forward = avg_forward,
    .backward = avg_backward,
    .device = &ddp_avg_pool_device,
};

const struct ddp_op ddp_op_global_avg_pool = {
    .name = "global_avg_pool",
    .doc = "the mean of each channel's picture",
    .keys = no_keys,
    .nin = 1,
    .out_use = DDP_OUT_UNREAD,
    .plan = global_plan,
    .forward = global_forward,
    .backward = global_backward,
    .device = &ddp_global_avg_pool_device,
};
