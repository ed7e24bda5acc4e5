/* AdamW on a device: adamw_args.h has the equations.
 *
 * Traffic, bytes an element, with n nodes of gradients and w bytes in the weights of the compute type:
 *
 *   4 n, params 8, moments 16, w      one node, bf16: 30 and 14 FLOPs */
#include "optim/adamw_args.h"
#include "optim/moments.cuh"

struct adamw {
    typedef struct ddp_adamw_args Args;
    enum { STATES = 2 };

    DDP_DEVICE Args args(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t)
    {
        return ddp_adamw_args(h, t);
    }

    DDP_DEVICE ddp_quad step(const struct ddp_gpu_update_args &, const Args &s, ddp_quad sum, ddp_quad p,
                             ddp_quad *state)
    {
        ddp_quad &m = state[0], &v = state[1];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float g = sum.v[k] * s.moments.scale;
            const float denominator = ddp_moments_step(s.moments, g, &m.v[k], &v.v[k]);
            p.v[k] = fmaf(-s.step, m.v[k] / denominator, p.v[k] * s.keep);
        }
        return p;
    }
};

static void step(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a)
{
    DDP_LAUNCH(s, update_block<adamw>, ddp_update_blocks(a), DDP_FLAT_THREADS, *a);
}

const struct ddp_gpu_optim ddp_cuda_adamw = {{step}, NULL};
