/* The owner's part of a step: the tree sum of the shards' gradients -> optimizer state, parameters and their
 * copy in the compute type. Headers named *_args.h have equations and scalars, sources named *_cpu.c are
 * siblings: same operations, same roundings; with fp32 the same bits.
 *
 * A thread block has one block of DDP_BLOCK elements, which lies in one tensor; a thread has 16 of them
 * (nodes.cuh). One of its threads computes the scalars in double. Nothing is written past setting.end: what
 * is zero there stays zero. */
#ifndef DDP_OPTIM_UPDATE_CUH
#define DDP_OPTIM_UPDATE_CUH

#include "optim/update_kernels.h"
#include "reduce/nodes.cuh"

/* Flat index of the block's first element. */
DDP_DEVICE int64_t ddp_update_at(const struct ddp_gpu_update_args &a)
{
    return a.lo + (int64_t)ddp_block() * DDP_BLOCK;
}

DDP_DEVICE const struct ddp_gpu_setting *ddp_update_setting(const struct ddp_gpu_update_args &a)
{
    return &a.setting[a.tensor[ddp_update_at(a) / DDP_BLOCK]];
}

/* Elements of the block that belong to its tensor. */
DDP_DEVICE int ddp_update_elements(const struct ddp_gpu_update_args &a)
{
    const int64_t left = ddp_update_setting(a)->end - ddp_update_at(a);
    return left < DDP_BLOCK ? (int)left : DDP_BLOCK;
}

/* Elements to update: none when the step is skipped. */
DDP_DEVICE int ddp_update_count(const struct ddp_gpu_update_args &a)
{
    return a.scale && a.scale->skip ? 0 : ddp_update_elements(a);
}

/* What the scalars are computed from. The loss scale is a power of two, so taking it out is exact. */
DDP_DEVICE struct ddp_optim_now ddp_update_now(const struct ddp_gpu_update_args &a)
{
    const struct ddp_gpu_setting *t = ddp_update_setting(a);
    struct ddp_optim_now now;
    now.lr = a.step->lr * t->lr_scale;
    now.mean =
        (a.factor ? a.factor[0] : 1) / (double)a.step->count * (a.scale ? (double)a.scale->inverse : 1);
    now.bias1 = a.step->bias1;
    now.bias2 = a.step->bias2;
    now.weight_decay = t->weight_decay;
    now.trust = t->trust;
    now.first = a.step->first != 0;
    return now;
}

/* Sums of gradients in two rounds; i: element of the range. */
DDP_DEVICE ddp_pair ddp_update_sum(const struct ddp_gpu_update_args &a, int64_t i)
{
    return a.nodes.n == 0 ? ddp_pair_load(a.sum + i) : ddp_nodes_sum<ddp_pair>(a.nodes, i);
}

DDP_DEVICE int ddp_count_bad(ddp_quad q)
{
    int bad = 0;
#pragma unroll
    for (int k = 0; k < 4; k++)
        bad += !(fabsf(q.v[k]) <= 3.402823466e38f);
    return bad;
}

/* Whether four sums are not to be applied. */
DDP_DEVICE bool ddp_update_refuses(const struct ddp_gpu_update_args &a, ddp_quad sum)
{
    if (!a.refused || ddp_count_bad(sum) == 0)
        return false;
    ddp_raise(a.refused, (int32_t)(ddp_update_at(a) / DDP_BLOCK) + 1);
    return true;
}

/* New parameters at flat index `at`, with their copy in the compute type and their moving average
 * e = e + (1 - decay) * (p - e), 8 bytes more (sibling: average_cpu.c). */
DDP_DEVICE void ddp_update_store(const struct ddp_gpu_update_args &a, int64_t at, ddp_quad p)
{
    ddp_quad_store(a.params + at, p);
    if (a.average) {
        ddp_quad e = ddp_quad_load(a.average + at);
#pragma unroll
        for (int k = 0; k < 4; k++)
            e.v[k] = fmaf(a.blend, p.v[k] - e.v[k], e.v[k]);
        ddp_quad_store(a.average + at, e);
    }
    if (!a.weights)
        return;
    if (a.type == DDP_GPU_BF16)
        ddp_store4((ddp_bf16 *)a.weights + at, p.v);
    else if (a.type == DDP_GPU_F16)
        ddp_store4((ddp_f16 *)a.weights + at, p.v);
    else
        ddp_store4((float *)a.weights + at, p.v);
}

/* What the threads of a block share. */
template <class Args> struct ddp_update_shared {
    int n;
    Args args;
};

template <class Kind>
DDP_DEVICE void ddp_update_states(const struct ddp_gpu_update_args &a, int64_t at, ddp_pair *state)
{
#pragma unroll
    for (int k = 0; k < Kind::STATES; k++)
        if (a.state[k])
            state[k] = ddp_pair_load(a.state[k] + at);
}

/* The four of round r of a pair. */
template <class Kind>
DDP_DEVICE void ddp_update_round(const struct ddp_gpu_update_args &a, const typename Kind::Args &args,
                                 int64_t at, int r, const ddp_pair &sum, const ddp_pair &p,
                                 const ddp_pair *state)
{
    ddp_quad s[DDP_OPTIM_ARRAYS] = {};
    if (ddp_update_refuses(a, sum.q[r]))
        return;
#pragma unroll
    for (int k = 0; k < Kind::STATES; k++)
        s[k] = state[k].q[r];
    const ddp_quad now = Kind::step(a, args, sum.q[r], p.q[r], s);
#pragma unroll
    for (int k = 0; k < Kind::STATES; k++)
        if (a.state[k])
            ddp_quad_store(a.state[k] + at, s[k]);
    ddp_update_store(a, at, now);
}

/* A stage that ends in new parameters. Kind: `Args`; args(hyper, now); `STATES`, how many of a.state it has;
 * step(a, args, sum, p, state), which returns four new parameters from four old ones and brings the four of
 * each state up to date (those that a.state does not have are nobody's).
 *
 * Rounds go in twos, whose parameters, states and sums are all asked for before any is used: whole blocks are
 * there to be read, whatever of them is the tensor's. */
template <class Kind> DDP_KERNEL update_block(const struct ddp_gpu_update_args a)
{
    DDP_SHARED(struct ddp_update_shared<typename Kind::Args>, shared, 1);
    if (ddp_thread() == 0) {
        const struct ddp_optim_now now = ddp_update_now(a);
        shared[0].n = ddp_update_count(a);
        shared[0].args = Kind::args(&a.hyper, &now);
    }
    DDP_SYNC();
    const int n = shared[0].n;
    const typename Kind::Args args = shared[0].args;
    const int64_t block = ddp_update_at(a);
    if (n == 0)
        return;
#pragma unroll
    for (int q = 0; q < DDP_FLAT_ROUNDS; q += 2) {
        const int64_t at = block + ddp_flat_place(q);
        const ddp_pair p = ddp_pair_load(a.params + at);
        ddp_pair state[DDP_OPTIM_ARRAYS] = {};
        ddp_update_states<Kind>(a, at, state);
        const ddp_pair sum = ddp_update_sum(a, at - a.lo);
        ddp_loaded();
#pragma unroll
        for (int r = 0; r < 2; r++)
            if (ddp_flat_place(q + r) < n)
                ddp_update_round<Kind>(a, args, block + ddp_flat_place(q + r), r, sum, p, state);
    }
}

/* Thread blocks of a range. */
static inline int64_t ddp_update_blocks(const struct ddp_gpu_update_args *a)
{
    return (a->hi - a->lo) / DDP_BLOCK;
}

#endif
