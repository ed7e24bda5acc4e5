/* conv2d on the device: cuDNN's convolutions, our epilogue. Gradients of weights come in the compute type and
 * are widened into the leaf; a data gradient that has to be added goes through scratch. */
#include "engine/gpu/ops.h"
#include "ops/point/point_kernels.h"

static struct ddp_gpu_conv geometry(const struct ddp_gpu_planner *p, const struct ddp_gpu_stage *st)
{
    const struct ddp_layer *l = st->layer;
    const int kernel = (int)ddp_gpu_conf_int(l, "kernel"), kernel_w = (int)ddp_gpu_conf_int(l, "kernel_w");
    return (struct ddp_gpu_conv){.n = p->batch,
                                 .h = st->in[0].h,
                                 .w = st->in[0].w,
                                 .c = ddp_gpu_pad(st->in[0].c),
                                 .k = ddp_gpu_pad(st->out.c),
                                 .r = kernel,
                                 .s = kernel_w ? kernel_w : kernel,
                                 .stride = (int)ddp_gpu_conf_int(l, "stride"),
                                 .pad = (int)ddp_gpu_conf_int(l, "padding"),
                                 .groups = (int)ddp_gpu_conf_int(l, "groups"),
                                 .type = p->type,
                                 .tf32 = p->tf32};
}

/* Elements of the weights, padding included. */
static int64_t weights(const struct ddp_gpu_stage *st)
{
    struct ddp_param w = st->layer->plan.params[0];
    w.layout = DDP_LAYOUT_KRSC;
    return ddp_layout_size(&w);
}

static int64_t pixels(const struct ddp_gpu_stage *st, int batch)
{
    return (int64_t)batch * st->out.h * st->out.w;
}

/* Scratch: the weights' gradient in the compute type, or the data gradient that is added, or partial sums of
 * the bias: one after the other, so they share it. */
static int plan(const struct ddp_gpu_planner *p, struct ddp_gpu_stage *st, struct ddp_error *err)
{
    const struct ddp_gpu_conv c = geometry(p, st);
    if (c.groups > 1 && (st->in[0].c != c.c || st->out.c != c.k))
        return ddp_fail(err, DDP_E_SHAPE,
                        "groups = %d on a GPU: the channels that come in (%d) and out (%d) must be multiples "
                        "of %d; use such numbers, "
                        "or device=cpu",
                        c.groups, st->in[0].c, st->out.c, DDP_GPU_CPAD);
    const enum ddp_gpu_conv_pass last = p->training ? DDP_GPU_CONV_WGRAD : DDP_GPU_CONV_FORWARD;
    for (enum ddp_gpu_conv_pass pass = DDP_GPU_CONV_FORWARD; pass <= last; pass++) {
        const int status = ddp_gpu_plan_conv(p, &c, pass, st, err);
        if (status)
            return status;
    }
    if (!p->training)
        return 0;
    const size_t size = ddp_gpu_type_bytes(p->type);
    const size_t want[] = {ddp_gpu_align((size_t)weights(st) * size),
                           ddp_gpu_align((size_t)p->batch * (size_t)ddp_gpu_elements(st->in[0]) * size),
                           ddp_gpu_epilogue_scratch(pixels(st, p->batch), c.k)};
    for (size_t i = 0; i < DDP_COUNT(want); i++)
        st->scratch_bytes = want[i] > st->scratch_bytes ? want[i] : st->scratch_bytes;
    return 0;
}

static float *bias_of(const struct ddp_gpu_call *c, float *const *param)
{
    return c->stage->layer->plan.nparams > 1 ? param[1] : NULL;
}

static void forward(const struct ddp_gpu_call *c)
{
    const struct ddp_gpu_stage *st = c->stage;
    c->api->conv_run(c->stream, st->plan[DDP_GPU_CONV_FORWARD], (void *)c->in[0], c->weight[0], c->out,
                     c->workspace);
    ddp_gpu_epilogue(c, pixels(st, c->batch), ddp_gpu_pad(st->out.c), bias_of(c, c->param));
}

static void weight_gradient(const struct ddp_gpu_call *c)
{
    const bool narrow = c->type != DDP_GPU_F32;
    c->api->conv_run(c->stream, c->stage->plan[DDP_GPU_CONV_WGRAD], (void *)c->in[0],
                     narrow ? c->scratch : c->grad[0], c->dout, c->workspace);
    const struct ddp_gpu_cast_args widen = {
        .type = c->type, .count = weights(c->stage), .f = c->grad[0], .t = c->scratch};
    if (narrow)
        c->k->point->cast_to_float(c->stream, &widen);
}

static void data_gradient(const struct ddp_gpu_call *c)
{
    void *to = c->accumulate[0] ? c->scratch : c->din[0];
    c->api->conv_run(c->stream, c->stage->plan[DDP_GPU_CONV_DGRAD], to, c->weight[0], c->dout, c->workspace);
    const struct ddp_gpu_add_args add = {.type = c->type,
                                         .count = c->batch * ddp_gpu_elements(c->stage->in[0]),
                                         .a = c->din[0],
                                         .b = to,
                                         .out = c->din[0]};
    if (c->accumulate[0])
        c->k->point->add_forward(c->stream, &add);
}

static void backward(const struct ddp_gpu_call *c)
{
    const struct ddp_gpu_stage *st = c->stage;
    ddp_gpu_epilogue_grad(c, pixels(st, c->batch), ddp_gpu_pad(st->out.c), bias_of(c, c->grad), c->scratch);
    weight_gradient(c);
    if (c->din[0])
        data_gradient(c);
}

const struct ddp_gpu_op ddp_gpu_conv2d = {
    .name = "conv2d", .plan = plan, .forward = forward, .backward = backward};
