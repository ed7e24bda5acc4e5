/* Norms before updates: what clipping, loss scaling and trust ratios must know of all tensors before one
 * parameter moves. Stages leave values per block, the values of all owners come together, between_block()
 * makes of them the clipping factor, the trust ratios and the next loss scale, the same on every rank.
 *
 * Squares are added in double (a product of two floats is exact there): a thread's 16 elements one after the
 * other, 32 threads of a warp and then 8 warps pairwise, blocks by the canonical tree over their numbers
 * (ddp_optim_tree). Siblings: optim/norm.c, optim.c (clip, adapt_trust). */
#ifndef DDP_OPTIM_NORMS_CUH
#define DDP_OPTIM_NORMS_CUH

#include "optim/update.cuh"

/* ---- one block: what a stage leaves ---- */

struct ddp_block_values {
    double v[DDP_VALUES];
};

/* Sum over the 32 lanes of a warp in lane 0: lane i + lane i + 16, ... */
DDP_DEVICE double ddp_warp_sum(double v)
{
#pragma unroll
    for (int delta = DDP_WARP / 2; delta > 0; delta /= 2)
        v += ddp_shuffle_down(v, delta);
    return v;
}

DDP_DEVICE double ddp_add_squares(double to, ddp_quad q)
{
#pragma unroll
    for (int k = 0; k < 4; k++)
        to += (double)q.v[k] * (double)q.v[k];
    return to;
}

/* Those of a.leaves from four sums of gradients, parameters and updates. */
DDP_DEVICE void ddp_take_values(const struct ddp_gpu_update_args &a, ddp_quad sum, ddp_quad param,
                                ddp_quad update, struct ddp_block_values *to)
{
    if (a.leaves >> DDP_VALUE_GRADIENT & 1)
        to->v[DDP_VALUE_GRADIENT] = ddp_add_squares(to->v[DDP_VALUE_GRADIENT], sum);
    if (a.leaves >> DDP_VALUE_PARAM & 1)
        to->v[DDP_VALUE_PARAM] = ddp_add_squares(to->v[DDP_VALUE_PARAM], param);
    if (a.leaves >> DDP_VALUE_UPDATE & 1)
        to->v[DDP_VALUE_UPDATE] = ddp_add_squares(to->v[DDP_VALUE_UPDATE], update);
    if (a.leaves >> DDP_VALUE_BAD & 1)
        to->v[DDP_VALUE_BAD] += ddp_count_bad(sum);
}

/* The values of the block from those of its threads, written by one of them; every thread must call it. */
DDP_DEVICE void ddp_leave_values(const struct ddp_gpu_update_args &a, struct ddp_block_values v)
{
    DDP_SHARED(struct ddp_block_values, part, DDP_FLAT_WARPS);
    for (int k = 0; k < DDP_VALUES; k++)
        if (a.leaves >> k & 1)
            v.v[k] = ddp_warp_sum(v.v[k]);
    if (ddp_thread() % DDP_WARP == 0)
        part[ddp_thread() / DDP_WARP] = v;
    DDP_SYNC();
    if (ddp_thread() != 0)
        return;
    double *values = a.values + ddp_update_at(a) / DDP_BLOCK * a.layout.stride;
    for (int k = 0; k < DDP_VALUES; k++) {
        if (!(a.leaves >> k & 1))
            continue;
        for (int n = DDP_FLAT_WARPS / 2; n > 0; n /= 2)
            for (int i = 0; i < n; i++)
                part[i].v[k] += part[i + n].v[k];
        values[a.layout.slot[k]] = part[0].v[k];
    }
}

/* ---- between: all blocks, in one thread block ---- */

enum { DDP_BLOCKS_DEPTH = 40 };

/* Elements that each of `threads` threads adds up before their results are paired: the smallest power of two
 * that suffices, so that every thread's part is a whole subtree of the canonical tree. */
DDP_DEVICE int64_t ddp_tree_part(int64_t n, int threads)
{
    int64_t part = 1;
    while (part * threads < n)
        part *= 2;
    return part;
}

/* Sum of one value over blocks [lo, hi) in the canonical tree, which a binary counter walks: after element i
 * as many pairs are complete as i + 1 has trailing zero bits. 0 when there are none. */
DDP_DEVICE double ddp_tree_run(const double *values, int stride, int64_t lo, int64_t hi)
{
    double stack[DDP_BLOCKS_DEPTH], top = 0;
    int depth = 0;
    for (int64_t i = lo; i < hi; i++) {
        if (i > lo)
            stack[depth++] = top;
        top = values[i * stride];
        for (int64_t left = i - lo + 1; left % 2 == 0; left /= 2)
            top = stack[--depth] + top;
    }
    while (depth > 0)
        top = stack[--depth] + top;
    return top;
}

/* Canonical tree over [lo, hi) by the 32 lanes of a warp; the result is in lane 0. */
DDP_DEVICE double ddp_warp_tree(const double *values, int stride, int64_t lo, int64_t hi)
{
    const int lane = ddp_thread() % DDP_WARP;
    const int64_t part = ddp_tree_part(hi - lo, DDP_WARP), from = lo + lane * part;
    double v = ddp_tree_run(values, stride, from, from + part < hi ? from + part : hi);
    for (int delta = 1; delta < DDP_WARP; delta *= 2) {
        const double upper = ddp_shuffle_down(v, delta);
        if (lane % (2 * delta) == 0 && from + delta * part < hi)
            v += upper;
    }
    return v;
}

/* The same by the whole block, the result in room[0]; every thread must call it. room: a double a thread. */
DDP_DEVICE void ddp_block_tree(const double *values, int stride, int64_t n, double *room)
{
    const int t = ddp_thread();
    const int64_t part = ddp_tree_part(n, DDP_FLAT_THREADS), from = t * part;
    room[t] = ddp_tree_run(values, stride, from, from + part < n ? from + part : n);
    DDP_SYNC();
    for (int delta = 1; delta < DDP_FLAT_THREADS; delta *= 2) {
        if (t % (2 * delta) == 0 && from + delta * part < n)
            room[t] += room[t + delta];
        DDP_SYNC();
    }
}

/* A sum that is not finite halves the scale and skips the step; `interval` good steps double it. Both stay
 * powers of two in [1, 2^24]. When the loss itself is not finite the scale is not to blame. */
DDP_DEVICE void ddp_adapt_scale(struct ddp_gpu_scale *s, bool bad, int interval)
{
    if (s->halted)
        return;
    s->inverse = 1 / s->scale;
    s->skip = bad;
    s->good++;
    if (bad) {
        s->skipped++;
        s->good = 0;
        s->scale = s->scale > 1 ? s->scale / 2 : 1;
    } else if (s->good >= interval) {
        s->good = 0;
        s->scale = s->scale < 16777216 ? s->scale * 2 : 16777216;
    }
}

/* Norm of a tensor in lane 0; 0 where the optimizer leaves no such value. */
DDP_DEVICE double ddp_tensor_norm(const struct ddp_gpu_between_args &a, unsigned norms, int value, int64_t lo,
                                  int64_t hi)
{
    return norms >> value & 1 ? sqrt(ddp_warp_tree(a.values + a.layout.slot[value], a.layout.stride, lo, hi))
                              : 0;
}

/* Trust ratios, a warp per tensor. mean: what the norm of the gradients' sum is multiplied by. */
template <class Kind> DDP_DEVICE void ddp_adapt_trust(const struct ddp_gpu_between_args &a, double mean)
{
    for (int i = ddp_thread() / DDP_WARP; i < a.ntensors; i += DDP_FLAT_WARPS) {
        struct ddp_gpu_setting *t = &a.setting[i];
        if (!t->adapt)
            continue; /* stays 1 */
        const int64_t lo = t->first_block, hi = lo + t->blocks;
        struct ddp_optim_norms norms;
        norms.gradient = ddp_tensor_norm(a, Kind::NORMS, DDP_VALUE_GRADIENT, lo, hi) * mean;
        norms.param = ddp_tensor_norm(a, Kind::NORMS, DDP_VALUE_PARAM, lo, hi);
        norms.update = ddp_tensor_norm(a, Kind::NORMS, DDP_VALUE_UPDATE, lo, hi);
        if (ddp_thread() % DDP_WARP == 0)
            t->trust = Kind::trust(&a.hyper, t->weight_decay, norms);
    }
}

/* A value of some block that is not finite comes of sums that are not: this step and all behind it update
 * nothing, on every rank alike. Every thread must call it. */
DDP_DEVICE void ddp_halt_on_bad(const struct ddp_gpu_between_args &a)
{
    DDP_SHARED(int, any, DDP_FLAT_WARPS);
    int bad = 0;
    for (int64_t i = ddp_thread(); i < a.blocks * a.layout.stride; i += DDP_FLAT_THREADS)
        bad += !(fabs(a.values[i]) <= 1.7976931348623157e308);
    for (int delta = DDP_WARP / 2; delta > 0; delta /= 2)
        bad += ddp_shuffle_down(bad, delta);
    if (ddp_thread() % DDP_WARP == 0)
        any[ddp_thread() / DDP_WARP] = bad;
    DDP_SYNC();
    if (ddp_thread() != 0)
        return;
    for (int w = 0; w < DDP_FLAT_WARPS; w++)
        if (any[w] != 0)
            a.guard->halted = a.guard->skip = 1;
}

/* The norm of the mean gradient and PyTorch's factor, min(1, clip / (norm + 1e-6)), where a.decide. Then the
 * trust ratios. Kind: `NORMS`, bits of what its trust ratio is made of, and
 * trust(hyper, weight_decay, norms). Reads 8 to 24 bytes a block: some 10 us for 6,000 blocks (25 M
 * parameters). */
template <class Kind> DDP_KERNEL between_block(const struct ddp_gpu_between_args a)
{
    DDP_SHARED(double, gradient, DDP_FLAT_THREADS);
    DDP_SHARED(double, bad, DDP_FLAT_THREADS);
    const bool clips = a.decide && a.clip_norm > 0, scales = a.decide && a.scale;
    double inverse = 1, factor = 1, norm = -1;
    if (a.guard)
        ddp_halt_on_bad(a);
    if (a.scale)
        inverse = a.decide ? 1 / (double)a.scale->scale : (double)a.scale->inverse;
    if (clips)
        ddp_block_tree(a.values + a.layout.slot[DDP_VALUE_GRADIENT], a.layout.stride, a.blocks, gradient);
    if (scales) /* its barriers: all have read the scale that changes now */
        ddp_block_tree(a.values + a.layout.slot[DDP_VALUE_BAD], a.layout.stride, a.blocks, bad);
    if (clips) {
        norm = sqrt(gradient[0]) / (double)a.step->count * inverse;
        const double clip = a.clip_norm / (norm + 1e-6);
        if (clip < 1)
            factor = clip;
    } else if (!a.decide && a.factor) {
        factor = a.factor[0];
    }
    if (ddp_thread() == 0 && scales)
        ddp_adapt_scale(a.scale, bad[0] != 0, a.interval);
    if (ddp_thread() == 0 && a.decide) {
        a.factor[0] = factor;
        a.factor[1] = norm;
    }
    if (Kind::NORMS != 0)
        ddp_adapt_trust<Kind>(a, factor / (double)a.step->count * inverse);
}

#endif
