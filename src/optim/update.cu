/* The owner's part of a step: the tree sum of the shards' gradients -> optimizer state, parameters and their
 * copy in the compute type. The headers *_args.h have the equations, the sources *_cpu.c are siblings: same
 * operations, same roundings; with fp32 the same bits.
 *
 * A thread block has one block of DDP_BLOCK elements, which lies in one tensor; a thread has 16 of them
 * (nodes.cuh). Nothing is written past setting.end: what is zero there stays zero.
 *
 * Traffic, bytes an element, with n nodes of gradients and w bytes in the weights of the compute type:
 *   SGD     4 n, params 8, momentum 8 (without a buffer 0), w     one node, bf16: 22 and 8 FLOPs
 *   AdamW   4 n, params 8, moments 16, w                          one node, bf16: 30 and 14 FLOPs
 *   LARS    as SGD with one node, behind sum_nodes() (update_norms.cu)
 *   LAMB    12 + w, behind sum_nodes() */
#include "optim/update.cuh"

/* d = trust * (g + decay * p); b = momentum * b + undamped * d (the first step: b = d);
 * p = p - lr * (nesterov ? d + momentum * b : b) */
struct sgd {
    DDP_DEVICE void scalars(const struct ddp_gpu_update_args &a, struct ddp_scalars *s)
    {
        const struct ddp_gpu_setting *t = ddp_update_setting(a);
        s->trust = a.optim == DDP_GPU_LARS ? (float)t->trust : 1.0f;
        s->momentum = (float)a.momentum;
        s->undamped = (float)(1 - a.dampening);
        s->lr = (float)(a.step->lr * t->lr_scale);
    }

    DDP_DEVICE ddp_quad step(const struct ddp_gpu_update_args &a, const struct ddp_scalars &s, int64_t at,
                             ddp_quad sum, ddp_quad p)
    {
        ddp_quad d, b;
#pragma unroll
        for (int k = 0; k < 4; k++)
            b.v[k] = d.v[k] = s.trust * fmaf(s.decay, p.v[k], sum.v[k] * s.scale);
        if (a.momentum_buffer) {
            if (!s.first) {
                const ddp_quad old = ddp_quad_load(a.state0 + at);
#pragma unroll
                for (int k = 0; k < 4; k++)
                    b.v[k] = fmaf(s.momentum, old.v[k], s.undamped * d.v[k]);
            }
            ddp_quad_store(a.state0 + at, b);
            if (a.nesterov) {
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

/* m = m + (1 - beta1) * (g - m); v = beta2 * v + (1 - beta2) * g^2;
 * p = p * (1 - lr * decay) - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps) */
struct adamw {
    DDP_DEVICE void scalars(const struct ddp_gpu_update_args &a, struct ddp_scalars *s)
    {
        const struct ddp_gpu_setting *t = ddp_update_setting(a);
        const double lr = a.step->lr * t->lr_scale;
        ddp_update_moments(a, s);
        s->keep = (float)(1 - lr * t->weight_decay);
        s->step = (float)(lr / a.step->bias1);
    }

    DDP_DEVICE ddp_quad step(const struct ddp_gpu_update_args &a, const struct ddp_scalars &s, int64_t at,
                             ddp_quad sum, ddp_quad p)
    {
        ddp_quad m = ddp_quad_load(a.state0 + at), v = ddp_quad_load(a.state1 + at);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float g = sum.v[k] * s.scale;
            m.v[k] = fmaf(s.blend1, g - m.v[k], m.v[k]);
            v.v[k] = fmaf(s.blend2 * g, g, s.beta2 * v.v[k]);
            const float denominator = fmaf(sqrtf(v.v[k]), s.inv_sqrt2, s.eps);
            p.v[k] = fmaf(-s.step, m.v[k] / denominator, p.v[k] * s.keep);
        }
        ddp_quad_store(a.state0 + at, m);
        ddp_quad_store(a.state1 + at, v);
        return p;
    }
};

/* p = p - lr * |p| / |u| * u, u in place of the sum */
struct lamb {
    DDP_DEVICE void scalars(const struct ddp_gpu_update_args &a, struct ddp_scalars *s)
    {
        const struct ddp_gpu_setting *t = ddp_update_setting(a);
        s->lr = (float)(a.step->lr * t->lr_scale * t->trust);
    }

    DDP_DEVICE ddp_quad step(const struct ddp_gpu_update_args &, const struct ddp_scalars &s, int64_t,
                             ddp_quad u, ddp_quad p)
    {
#pragma unroll
        for (int k = 0; k < 4; k++)
            p.v[k] = fmaf(-s.lr, u.v[k], p.v[k]);
        return p;
    }
};

template <class Kind> DDP_KERNEL update_block(const struct ddp_gpu_update_args a)
{
    DDP_SHARED(struct ddp_scalars, shared, 1);
    if (ddp_thread() == 0) {
        struct ddp_scalars mine = ddp_update_common(a);
        Kind::scalars(a, &mine);
        shared[0] = mine;
    }
    DDP_SYNC();
    const struct ddp_scalars s = shared[0];
    const int64_t block = ddp_update_at(a);
#pragma unroll
    for (int q = 0; q < DDP_FLAT_ROUNDS; q++) {
        const int i = ddp_flat_place(q);
        if (i >= s.n)
            break;
        const int64_t at = block + i;
        const ddp_quad p = Kind::step(a, s, at, ddp_update_sum(a, at - a.lo), ddp_quad_load(a.params + at));
        ddp_quad_store(a.params + at, p);
        if (!a.weights)
            continue;
        if (a.type == DDP_GPU_BF16)
            ddp_store4((ddp_bf16 *)a.weights + at, p.v);
        else if (a.type == DDP_GPU_F16)
            ddp_store4((ddp_f16 *)a.weights + at, p.v);
        else
            ddp_store4((float *)a.weights + at, p.v);
    }
}

extern "C" void ddp_cuda_update(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a)
{
    const int64_t blocks = (a->hi - a->lo) / DDP_BLOCK;
    if (a->optim == DDP_GPU_ADAMW)
        DDP_LAUNCH(s, update_block<adamw>, blocks, DDP_FLAT_THREADS, *a);
    else if (a->optim == DDP_GPU_LAMB)
        DDP_LAUNCH(s, update_block<lamb>, blocks, DDP_FLAT_THREADS, *a);
    else
        DDP_LAUNCH(s, update_block<sgd>, blocks, DDP_FLAT_THREADS, *a);
}

const struct ddp_update_device_kernels ddp_cuda_update_kernels = {
    .sum_nodes = ddp_cuda_sum_nodes,
    .update = ddp_cuda_update,
    .between = ddp_cuda_between,
};
