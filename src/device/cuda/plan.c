/* What plans of both kinds share: checks of shapes, and access to the head. */
#include "device/cuda/plan.h"

size_t ddp_cuda_plan_workspace(const struct ddp_gpu_plan *plan)
{
    return plan->workspace;
}

const char *ddp_cuda_plan_lock(const struct ddp_gpu_plan *plan)
{
    return plan->lock;
}

void ddp_cuda_plan_destroy(struct ddp_gpu_plan *plan)
{
    if (plan)
        plan->destroy(plan);
}

int ddp_cuda_conv_out(int size, int filter, int stride, int pad)
{
    return (size + 2 * pad - filter) / stride + 1;
}

static int check_epilogue(unsigned epilogue, struct ddp_error *err)
{
    if (epilogue == 0 || epilogue == DDP_GPU_BIAS || epilogue == DDP_GPU_BIAS_RELU)
        return 0;
    return ddp_fail(err, DDP_E_SHAPE, "epilogue %u: a bias, and behind it ReLU, are possible", epilogue);
}

int ddp_cuda_conv_check(const struct ddp_gpu_conv *c, struct ddp_error *err)
{
    if (c->n < 1 || c->h < 1 || c->w < 1 || c->c < 1 || c->k < 1 || c->r < 1 || c->s < 1 || c->stride < 1 ||
        c->pad < 0 || c->groups < 1)
        return ddp_fail(
            err, DDP_E_SHAPE,
            "convolution n%d h%d w%d c%d k%d r%d s%d stride %d pad %d groups %d: sizes are 1 or more, "
            "pad 0 or more",
            c->n, c->h, c->w, c->c, c->k, c->r, c->s, c->stride, c->pad, c->groups);
    if (c->c % DDP_GPU_CPAD != 0 || c->k % DDP_GPU_CPAD != 0)
        return ddp_fail(err, DDP_E_SHAPE,
                        "convolution of %d to %d channels: on a device they are padded to a multiple of %d",
                        c->c, c->k, DDP_GPU_CPAD);
    if (c->c % c->groups != 0 || c->k % c->groups != 0)
        return ddp_fail(
            err, DDP_E_SHAPE,
            "convolution of %d to %d channels (padded to a multiple of %d) in %d groups: the groups "
            "must divide both; use groups = 1 or channel counts that are multiples of %d",
            c->c, c->k, DDP_GPU_CPAD, c->groups, DDP_GPU_CPAD);
    if (c->h + 2 * c->pad < ddp_gpu_conv_reach(c, c->r) || c->w + 2 * c->pad < ddp_gpu_conv_reach(c, c->s))
        return ddp_fail(err, DDP_E_SHAPE,
                        "convolution: a filter that reaches over %dx%d does not fit in %dx%d padded by %d",
                        ddp_gpu_conv_reach(c, c->r), ddp_gpu_conv_reach(c, c->s), c->h, c->w, c->pad);
    return check_epilogue(c->epilogue, err);
}

int ddp_cuda_matmul_check(const struct ddp_gpu_matmul *m, struct ddp_error *err)
{
    if (m->m < 1 || m->n < 1 || m->l < 1)
        return ddp_fail(err, DDP_E_SHAPE, "matrix product m%d n%d l%d: sizes are 1 or more", m->m, m->n,
                        m->l);
    if (m->out_type != m->type && m->out_type != DDP_GPU_F32)
        return ddp_fail(err, DDP_E_SHAPE, "matrix product: the result is of the factors' type or fp32");
    return check_epilogue(m->epilogue, err);
}
