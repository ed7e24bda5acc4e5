/* The step of SGD and LARS on a device: sgd_args.h has the equations.
 *
 * Traffic, bytes an element, with n nodes of gradients and w bytes in the weights of the compute type:
 *
 *   4 n, params 8, momentum 8 (without a buffer 0), w      one node, bf16: 22 and 8 FLOPs */
#include "optim/sgd.cuh"

#include "optim/sgd_args.h"

struct sgd {
    typedef struct ddp_sgd_args Args;
    enum { STATES = 1 };

    DDP_DEVICE Args args(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t)
    {
        return ddp_sgd_args(h, t);
    }

    DDP_DEVICE ddp_quad step(const struct ddp_gpu_update_args &a, const Args &s, ddp_quad sum, ddp_quad p,
                             ddp_quad *state)
    {
        ddp_quad d, b;
#pragma unroll
        for (int k = 0; k < 4; k++)
            b.v[k] = d.v[k] = s.trust * fmaf(s.decay, p.v[k], sum.v[k] * s.scale);
        if (a.state[0]) {
            if (!s.first) {
#pragma unroll
                for (int k = 0; k < 4; k++)
                    b.v[k] = fmaf(s.momentum, state[0].v[k], s.undamped * d.v[k]);
            }
            state[0] = b;
            if (s.nesterov) {
#pragma unroll
                for (int k = 0; k < 4; k++)
                    b.v[k] = fmaf(s.momentum, b.v[k], d.v[k]);
            }
        }
#pragma unroll
        for (int k = 0; k < 4; k++)
            p.v[k] = fmaf(-s.lr, b.v[k], p.v[k]);
        return p;
    }
};

extern "C" void ddp_cuda_sgd_step(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a)
{
    DDP_LAUNCH(s, update_block<sgd>, ddp_update_blocks(a), DDP_FLAT_THREADS, *a);
}

const struct ddp_gpu_optim ddp_cuda_sgd = {{ddp_cuda_sgd_step}, NULL};
