/* conv2d on the device: cuDNN's convolutions, our epilogue. Gradients of weights come in the compute type and
 * are widened into the leaf; a data gradient that has to be added goes through scratch. */
#include "ops/conv/conv2d.h"

#include "base/base.h"
#include "ops/device.h"
#include "ops/ops.h"
#include "ops/point/point_kernels.h"

static struct ddp_gpu_conv geometry(const struct ddp_device_planner *p)
{
    const struct ddp_conv2d_conf *k = p->conf;
    return (struct ddp_gpu_conv){.n = p->batch,
                                 .h = p->in[0].h,
                                 .w = p->in[0].w,
                                 .c = ddp_gpu_pad(p->in[0].c),
                                 .k = ddp_gpu_pad(p->out.c),
                                 .r = (int)k->kernel,
                                 .s = (int)(k->kernel_w ? k->kernel_w : k->kernel),
                                 .stride = (int)k->stride,
                                 .pad = ddp_conv2d_padding(k),
                                 .dilation = (int)k->dilation,
                                 .groups = (int)k->groups,
                                 .type = p->type,
                                 .tf32 = p->tf32};
}

/* Elements of the weights, padding included. */
static int64_t weights(const struct ddp_layer_plan *plan)
{
    struct ddp_param w = plan->params[0];
    w.layout = DDP_LAYOUT_KRSC;
    return ddp_layout_size(&w);
}

static int64_t pixels(struct ddp_shape out, int batch)
{
    return (int64_t)batch * out.h * out.w;
}

/* Scratch: the weights' gradient in the compute type, or the data gradient that is added, or partial sums of
 * the bias: one after the other, so they share it. */
static int plan(const struct ddp_device_planner *p, struct ddp_device_plan *out, struct ddp_error *err)
{
    const struct ddp_gpu_conv c = geometry(p);
    if (c.groups > 1 && (p->in[0].c != c.c || p->out.c != c.k))
        return ddp_fail(err, DDP_E_SHAPE,
                        "groups = %d on a GPU: the channels that come in (%d) and out (%d) must be multiples "
                        "of %d; use such numbers, "
                        "or device=cpu",
                        c.groups, p->in[0].c, p->out.c, DDP_GPU_CPAD);
    out->weight_only = 1;
    const enum ddp_gpu_conv_pass last = p->training ? DDP_GPU_CONV_WGRAD : DDP_GPU_CONV_FORWARD;
    struct ddp_gpu_conv whole = c;
    whole.epilogue = ddp_device_epilogue_wanted(p);
    int status = ddp_device_plan_conv_forward(p, &whole, out, err);
    for (enum ddp_gpu_conv_pass pass = DDP_GPU_CONV_DGRAD; pass <= last && status == 0; pass++)
        status = ddp_device_plan_conv(p, &c, pass, out, err);
    if (status)
        return status;
    if (!p->training)
        return 0;
    const size_t size = ddp_gpu_type_bytes(p->type);
    const size_t want[] = {
        ddp_gpu_align((size_t)weights(p->plan) * size),
        p->accumulate ? ddp_gpu_align((size_t)p->batch * (size_t)ddp_gpu_elements(p->in[0]) * size) : 0,
        ddp_device_epilogue_scratch(pixels(p->out, p->batch), c.k)};
    for (size_t i = 0; i < DDP_COUNT(want); i++)
        out->scratch_bytes = want[i] > out->scratch_bytes ? want[i] : out->scratch_bytes;
    return 0;
}

static float *bias_of(const struct ddp_device_call *c, float *const *param)
{
    return c->plan->nparams > 1 ? param[1] : NULL;
}

static void forward(const struct ddp_device_call *c)
{
    const float *bias = bias_of(c, c->param);
    c->api->conv_run(c->stream, c->vendor[DDP_GPU_CONV_FORWARD], (void *)c->in[0], c->weight[0], c->out,
                     c->epilogue ? bias : NULL, c->workspace);
    ddp_device_epilogue(c, pixels(c->out_shape, c->batch), ddp_gpu_pad(c->out_shape.c), bias);
}

static void weight_gradient(const struct ddp_device_call *c)
{
    const bool narrow = c->type != DDP_GPU_F32;
    c->api->conv_run(c->stream, c->vendor[DDP_GPU_CONV_WGRAD], (void *)c->in[0],
                     narrow ? c->scratch : c->grad[0], c->dout, NULL, c->workspace);
    const struct ddp_gpu_cast_args widen = {
        .type = c->type, .count = weights(c->plan), .f = c->grad[0], .t = c->scratch};
    if (narrow)
        c->kernels->point->cast_to_float(c->stream, &widen);
}

static void data_gradient(const struct ddp_device_call *c)
{
    void *to = ddp_device_gradient_to(c);
    c->api->conv_run(c->stream, c->vendor[DDP_GPU_CONV_DGRAD], to, c->weight[0], c->dout, NULL, c->workspace);
    ddp_device_gradient_add(c, to);
}

static void backward(const struct ddp_device_call *c)
{
    ddp_device_epilogue_grad(c, pixels(c->out_shape, c->batch), ddp_gpu_pad(c->out_shape.c),
                             bias_of(c, c->grad), c->scratch);
    weight_gradient(c);
    if (c->din[0])
        data_gradient(c);
}

const struct ddp_op_device ddp_conv2d_device = {.plan = plan,
                                                .forward = forward,
                                                .backward = backward,
                                                .gradients = DDP_GRADIENT_LEFT | DDP_GRADIENT_ASIDE};
