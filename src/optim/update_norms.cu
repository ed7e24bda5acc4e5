/* Norms before updates: what clipping, LARS, LAMB and loss scaling must know of all tensors before one
 * parameter moves. sum_nodes() leaves the sum of the gradients and four values per block, the values of all
 * owners come together, between() makes of them the clipping factor, the trust ratios and the next loss
 * scale, the same on every rank.
 *
 * Squares are added in double (a product of two floats is exact there): a thread's 16 elements one after the
 * other, 32 threads of a warp and then 8 warps pairwise, blocks by the canonical tree over their numbers
 * (ddp_optim_tree). Siblings: optim/norm.c, lars.c, lamb.c, optim.c (clip). */
#include "optim/update.cuh"

enum { GRADIENT, PARAM, UPDATE, BAD, VALUES }; /* of struct ddp_gpu_update_args.values */

/* Sum over the 32 lanes of a warp in lane 0: lane i + lane i + 16, ... */
template <class V> DDP_DEVICE V warp_sum(V v)
{
#pragma unroll
    for (int delta = DDP_WARP / 2; delta > 0; delta /= 2)
        v += ddp_shuffle_down(v, delta);
    return v;
}

/* ---- sum_nodes: one block ---- */

struct block_values {
    double gradient, param, update;
    int bad;
};

/* The values of the block from those of its threads, written by one of them. keep: leave those of the
 * gradient as an earlier call wrote them. */
DDP_DEVICE void write_values(double *values, struct block_values v, bool keep)
{
    DDP_SHARED(struct block_values, part, DDP_FLAT_WARPS);
    v = {warp_sum(v.gradient), warp_sum(v.param), warp_sum(v.update), warp_sum(v.bad)};
    if (ddp_thread() % DDP_WARP == 0)
        part[ddp_thread() / DDP_WARP] = v;
    DDP_SYNC();
    if (ddp_thread() != 0)
        return;
    for (int n = DDP_FLAT_WARPS / 2; n > 0; n /= 2) {
        for (int i = 0; i < n; i++) {
            part[i].gradient += part[i + n].gradient;
            part[i].param += part[i + n].param;
            part[i].update += part[i + n].update;
            part[i].bad += part[i + n].bad;
        }
    }
    if (!keep) {
        values[GRADIENT] = part[0].gradient;
        values[BAD] = part[0].bad;
    }
    values[PARAM] = part[0].param;
    values[UPDATE] = part[0].update;
}

DDP_DEVICE double add_squares(double to, ddp_quad q)
{
#pragma unroll
    for (int k = 0; k < 4; k++)
        to += (double)q.v[k] * (double)q.v[k];
    return to;
}

DDP_DEVICE int count_bad(ddp_quad q)
{
    int bad = 0;
#pragma unroll
    for (int k = 0; k < 4; k++)
        bad += !(fabsf(q.v[k]) <= 3.402823466e38f);
    return bad;
}

/* sum = tree sum of the nodes; values: gradients, those not finite, LARS: parameters. 4 n + 4 bytes an
 * element, 4 where the one node is where the sum goes, LARS 4 more. */
DDP_KERNEL sum_block(const struct ddp_gpu_update_args a)
{
    const int64_t block = ddp_update_at(a), range = block - a.lo;
    const int n = ddp_update_elements(a);
    const bool stays = a.nodes.n == 0 || (a.nodes.n == 1 && a.nodes.node[0] == a.sum);
    struct block_values v = {0, 0, 0, 0};
#pragma unroll
    for (int q = 0; q < DDP_FLAT_ROUNDS; q++) {
        const int i = ddp_flat_place(q);
        if (i >= n)
            break;
        const ddp_quad sum = ddp_update_sum(a, range + i);
        if (!stays)
            ddp_quad_store(a.sum + range + i, sum);
        v.gradient = add_squares(v.gradient, sum);
        v.bad += count_bad(sum);
        if (a.optim == DDP_GPU_LARS)
            v.param = add_squares(v.param, ddp_quad_load(a.params + block + i));
    }
    write_values(a.values + block / DDP_BLOCK * VALUES, v, false);
}

/* LAMB's moments, and its update before the trust ratio in place of the sum:
 *   m = m + (1 - beta1) * (g - m); v = beta2 * v + (1 - beta2) * g^2
 *   u = m / (1 - beta1^t) / (sqrt(v) / sqrt(1 - beta2^t) + eps) + decay * p
 * values: parameters, updates and, from nodes, gradients. 4 n + 24 bytes an element. */
DDP_KERNEL lamb_block(const struct ddp_gpu_update_args a)
{
    DDP_SHARED(struct ddp_scalars, shared, 1);
    if (ddp_thread() == 0) {
        struct ddp_scalars mine = ddp_update_common(a);
        ddp_update_moments(a, &mine);
        mine.inv1 = (float)(1 / a.step->bias1);
        shared[0] = mine;
    }
    DDP_SYNC();
    const struct ddp_scalars s = shared[0];
    const int64_t block = ddp_update_at(a), range = block - a.lo;
    struct block_values values = {0, 0, 0, 0};
#pragma unroll
    for (int q = 0; q < DDP_FLAT_ROUNDS; q++) {
        const int i = ddp_flat_place(q);
        if (i >= s.n)
            break;
        const int64_t at = block + i;
        const ddp_quad sum = ddp_update_sum(a, range + i), p = ddp_quad_load(a.params + at);
        ddp_quad m = ddp_quad_load(a.state0 + at), v = ddp_quad_load(a.state1 + at), u;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float g = sum.v[k] * s.scale;
            m.v[k] = fmaf(s.blend1, g - m.v[k], m.v[k]);
            v.v[k] = fmaf(s.blend2 * g, g, s.beta2 * v.v[k]);
            const float denominator = fmaf(sqrtf(v.v[k]), s.inv_sqrt2, s.eps);
            u.v[k] = fmaf(s.decay, p.v[k], m.v[k] * s.inv1 / denominator);
        }
        ddp_quad_store(a.state0 + at, m);
        ddp_quad_store(a.state1 + at, v);
        ddp_quad_store(a.sum + range + i, u);
        values.gradient = add_squares(values.gradient, sum);
        values.bad += count_bad(sum);
        values.param = add_squares(values.param, p);
        values.update = add_squares(values.update, u);
    }
    write_values(a.values + block / DDP_BLOCK * VALUES, values, a.nodes.n == 0);
}

extern "C" void ddp_cuda_sum_nodes(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a)
{
    const int64_t blocks = (a->hi - a->lo) / DDP_BLOCK;
    if (a->optim == DDP_GPU_LAMB && a->moments)
        DDP_LAUNCH(s, lamb_block, blocks, DDP_FLAT_THREADS, *a);
    else
        DDP_LAUNCH(s, sum_block, blocks, DDP_FLAT_THREADS, *a);
}

/* ---- between: all blocks, in one thread block ---- */

enum { TREE_DEPTH = 40 };

/* Elements that each of `threads` threads adds up before their results are paired: the smallest power of two
 * that suffices, so that every thread's part is a whole subtree of the canonical tree. */
DDP_DEVICE int64_t tree_part(int64_t n, int threads)
{
    int64_t part = 1;
    while (part * threads < n)
        part *= 2;
    return part;
}

/* Sum of values[lo .. hi)[k] in the canonical tree, which a binary counter walks: after element i as many
 * pairs are complete as i + 1 has trailing zero bits. 0 when there are none. */
DDP_DEVICE double tree_run(const double *values, int k, int64_t lo, int64_t hi)
{
    double stack[TREE_DEPTH], top = 0;
    int depth = 0;
    for (int64_t i = lo; i < hi; i++) {
        if (i > lo)
            stack[depth++] = top;
        top = values[i * VALUES + k];
        for (int64_t left = i - lo + 1; left % 2 == 0; left /= 2)
            top = stack[--depth] + top;
    }
    while (depth > 0)
        top = stack[--depth] + top;
    return top;
}

/* Canonical tree over [lo, hi) by the 32 lanes of a warp; the result is in lane 0. */
DDP_DEVICE double warp_tree(const double *values, int k, int64_t lo, int64_t hi)
{
    const int lane = ddp_thread() % DDP_WARP;
    const int64_t part = tree_part(hi - lo, DDP_WARP), from = lo + lane * part;
    double v = tree_run(values, k, from, from + part < hi ? from + part : hi);
    for (int delta = 1; delta < DDP_WARP; delta *= 2) {
        const double upper = ddp_shuffle_down(v, delta);
        if (lane % (2 * delta) == 0 && from + delta * part < hi)
            v += upper;
    }
    return v;
}

/* The same by the whole block, the result in room[0]; every thread must call it. room: a double a thread. */
DDP_DEVICE void block_tree(const double *values, int k, int64_t n, double *room)
{
    const int t = ddp_thread();
    const int64_t part = tree_part(n, DDP_FLAT_THREADS), from = t * part;
    room[t] = tree_run(values, k, from, from + part < n ? from + part : n);
    DDP_SYNC();
    for (int delta = 1; delta < DDP_FLAT_THREADS; delta *= 2) {
        if (t % (2 * delta) == 0 && from + delta * part < n)
            room[t] += room[t + delta];
        DDP_SYNC();
    }
}

/* A sum that is not finite halves the scale and skips the step; `interval` good steps double it. Both stay
 * powers of two in [1, 2^24]. When the loss itself is not finite the scale is not to blame. */
DDP_DEVICE void adapt_scale(struct ddp_gpu_scale *s, bool bad, int interval)
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

/* LARS: trust * |p| / (|g| + decay * |p| + eps), LAMB: |p| / |u|; 1 where a norm is zero. `mean`: what the
 * norm of the gradients' sum is multiplied by. A warp per tensor. */
DDP_DEVICE void adapt_trust(const struct ddp_gpu_between_args &a, double mean)
{
    for (int i = ddp_thread() / DDP_WARP; i < a.ntensors; i += DDP_FLAT_WARPS) {
        struct ddp_gpu_setting *t = &a.setting[i];
        if (!t->adapt)
            continue; /* stays 1 */
        const int64_t lo = t->first_block, hi = lo + t->blocks;
        const double p = sqrt(warp_tree(a.values, PARAM, lo, hi));
        const double other = sqrt(warp_tree(a.values, a.optim == DDP_GPU_LARS ? GRADIENT : UPDATE, lo, hi));
        if (ddp_thread() % DDP_WARP != 0)
            continue;
        if (a.optim == DDP_GPU_LARS) {
            const double g = other * mean;
            t->trust = p > 0 && g > 0 ? a.trust * p / (g + t->weight_decay * p + a.eps) : 1;
        } else {
            t->trust = p > 0 && other > 0 ? p / other : 1;
        }
    }
}

/* The norm of the mean gradient and PyTorch's factor, min(1, clip / (norm + 1e-6)); a norm of nan leaves the
 * gradient alone. Reads 8 to 24 bytes a block: some 10 us for 6,000 blocks (25 M parameters). */
DDP_KERNEL between_block(const struct ddp_gpu_between_args a)
{
    DDP_SHARED(double, gradient, DDP_FLAT_THREADS);
    DDP_SHARED(double, bad, DDP_FLAT_THREADS);
    const double inverse = a.scale ? 1 / (double)a.scale->scale : 1;
    if (a.clip_norm > 0)
        block_tree(a.values, GRADIENT, a.blocks, gradient);
    if (a.scale)
        block_tree(a.values, BAD, a.blocks, bad); /* its barriers: all have read the scale that changes now */
    double factor = 1, norm = -1;
    if (a.clip_norm > 0) {
        norm = sqrt(gradient[0]) / (double)a.step->count * inverse;
        const double clip = a.clip_norm / (norm + 1e-6);
        if (clip < 1)
            factor = clip;
    }
    if (ddp_thread() == 0 && a.scale)
        adapt_scale(a.scale, bad[0] != 0, a.interval);
    if (ddp_thread() == 0 && a.factor) {
        a.factor[0] = factor;
        a.factor[1] = norm;
    }
    if (a.optim == DDP_GPU_LARS || a.optim == DDP_GPU_LAMB)
        adapt_trust(a, factor / (double)a.step->count * inverse);
}

extern "C" void ddp_cuda_between(struct ddp_gpu_stream *s, const struct ddp_gpu_between_args *a)
{
    DDP_LAUNCH(s, between_block, 1, DDP_FLAT_THREADS, *a);
}
