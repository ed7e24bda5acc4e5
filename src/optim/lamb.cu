/* LAMB on a device: lamb_args.h has the equations. Traffic, bytes an element, with n nodes of gradients and w
 * bytes in the weights of the compute type:
 *
 *   moments_block     4 n + 24      state, and u in place of the sum
 *   update_block      12 + w */
#include "optim/lamb_args.h"
#include "optim/moments.cuh"
#include "optim/norms.cuh"

/* Four elements at flat index `at`. */
DDP_DEVICE void moments_round(const struct ddp_gpu_update_args &a, const struct ddp_lamb_args &s, int64_t at,
                              ddp_quad sum, ddp_quad p, ddp_quad m, ddp_quad v,
                              struct ddp_block_values *values)
{
    ddp_quad u;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const float g = sum.v[k] * s.moments.scale;
        const float denominator = ddp_moments_step(s.moments, g, &m.v[k], &v.v[k]);
        u.v[k] = fmaf(s.decay, p.v[k], m.v[k] * s.inv1 / denominator);
    }
    if (ddp_update_refuses(a, sum)) {
        u = sum; /* its values tell between() */
    } else {
        ddp_quad_store(a.state[0] + at, m);
        ddp_quad_store(a.state[1] + at, v);
    }
    ddp_quad_store(a.sum + at - a.lo, u);
    ddp_take_values(a, sum, p, u, values);
}

DDP_KERNEL moments_block(const struct ddp_gpu_update_args a)
{
    DDP_SHARED(struct ddp_update_shared<struct ddp_lamb_args>, shared, 1);
    if (ddp_thread() == 0) {
        const struct ddp_optim_now now = ddp_update_now(a);
        shared[0].n = ddp_update_count(a);
        shared[0].args = ddp_lamb_args(&a.hyper, &now);
    }
    DDP_SYNC();
    const int n = shared[0].n;
    const struct ddp_lamb_args s = shared[0].args;
    const int64_t block = ddp_update_at(a), range = block - a.lo;
    struct ddp_block_values values = {};
#pragma unroll
    for (int q = 0; q < DDP_FLAT_ROUNDS; q += 2) {
        const int i = ddp_flat_place(q);
        const ddp_pair p = ddp_pair_load(a.params + block + i), m = ddp_pair_load(a.state[0] + block + i),
                       v = ddp_pair_load(a.state[1] + block + i), sum = ddp_update_sum(a, range + i);
        ddp_loaded();
#pragma unroll
        for (int r = 0; r < 2; r++)
            if (ddp_flat_place(q + r) < n)
                moments_round(a, s, block + ddp_flat_place(q + r), sum.q[r], p.q[r], m.q[r], v.q[r], &values);
    }
    ddp_leave_values(a, values);
}

struct lamb {
    typedef struct ddp_lamb_apply_args Args;
    enum { NORMS = DDP_LAMB_NORMS, STATES = 0 };

    DDP_DEVICE Args args(const struct ddp_optim_hyper *, const struct ddp_optim_now *now)
    {
        return ddp_lamb_apply_args(now);
    }

    DDP_DEVICE ddp_quad step(const struct ddp_gpu_update_args &, const Args &s, ddp_quad u, ddp_quad p,
                             ddp_quad *)
    {
#pragma unroll
        for (int k = 0; k < 4; k++)
            p.v[k] = fmaf(-s.rate, u.v[k], p.v[k]);
        return p;
    }

    DDP_DEVICE double trust(const struct ddp_optim_hyper *h, double weight_decay, struct ddp_optim_norms n)
    {
        return ddp_lamb_trust(h, weight_decay, n);
    }
};

static void moments(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a)
{
    DDP_LAUNCH(s, moments_block, ddp_update_blocks(a), DDP_FLAT_THREADS, *a);
}

static void apply(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a)
{
    DDP_LAUNCH(s, update_block<lamb>, ddp_update_blocks(a), DDP_FLAT_THREADS, *a);
}

static void trust(struct ddp_gpu_stream *s, const struct ddp_gpu_between_args *a)
{
    DDP_LAUNCH(s, between_block<lamb>, 1, DDP_FLAT_THREADS, *a);
}

const struct ddp_gpu_optim ddp_cuda_lamb = {{moments, apply}, trust};
