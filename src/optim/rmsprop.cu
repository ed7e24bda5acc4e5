/* RMSprop on a device: rmsprop_args.h has the equations.
 *
 * Traffic, bytes an element, with n nodes of gradients and w bytes in the weights of the compute type:
 *
 *   4 n, params 8, squares 8, buffer and mean 8 each where they are, w      one node, bf16: 22 to 38 and 9 to
 * 14 FLOPs */
#include "optim/rmsprop_args.h"

#include "optim/update.cuh"

struct rmsprop {
    typedef struct ddp_rmsprop_args Args;
    enum { STATES = 3 };

    DDP_DEVICE Args args(const struct ddp_optim_hyper *h, const struct ddp_optim_now *t)
    {
        return ddp_rmsprop_args(h, t);
    }

    DDP_DEVICE ddp_quad step(const struct ddp_gpu_update_args &a, const Args &s, ddp_quad sum, ddp_quad p,
                             ddp_quad *state)
    {
        ddp_quad &squares = state[DDP_RMSPROP_SQUARES], &c = state[DDP_RMSPROP_MEAN],
                 &b = state[DDP_RMSPROP_BUFFER], d, u;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            d.v[k] = fmaf(s.decay, p.v[k], sum.v[k] * s.scale);
            squares.v[k] = fmaf(s.blend * d.v[k], d.v[k], s.alpha * squares.v[k]);
        }
        ddp_quad variance = squares;
        if (a.state[DDP_RMSPROP_MEAN]) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                c.v[k] = fmaf(s.blend, d.v[k] - c.v[k], c.v[k]);
                const float left = fmaf(-c.v[k], c.v[k], variance.v[k]);
                variance.v[k] = left <= 0 ? 0 : left; /* nan stays */
            }
        }
#pragma unroll
        for (int k = 0; k < 4; k++)
            u.v[k] = d.v[k] / (sqrtf(variance.v[k]) + s.eps);
        if (a.state[DDP_RMSPROP_BUFFER]) {
#pragma unroll
            for (int k = 0; k < 4; k++)
                u.v[k] = fmaf(s.momentum, b.v[k], u.v[k]);
            b = u;
        }
#pragma unroll
        for (int k = 0; k < 4; k++)
            p.v[k] = fmaf(-s.lr, u.v[k], p.v[k]);
        return p;
    }
};

static void step(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a)
{
    DDP_LAUNCH(s, update_block<rmsprop>, ddp_update_blocks(a), DDP_FLAT_THREADS, *a);
}

const struct ddp_gpu_optim ddp_cuda_rmsprop = {{step}, NULL};
