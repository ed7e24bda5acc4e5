/* Losses and their gradients: equations in ops/loss, in the files of their names, [batch][c] with `classes`
 * of c real.
 *
 * A warp takes a sample: lane l has classes l, l + 32, ... in order, then the lanes are added in a tree of
 * halves. A second kernel of one block adds the samples' losses in the order of ops/loss/loss.c (neighbours,
 * then neighbours of those, ...), padding samples as zeros, and counts right answers. Bytes: b read and b
 * written a value, three times over from the cache; 20 FLOPs a value. With 1,000 classes and 128 samples that
 * is half a megabyte: nothing here is long enough to be worth more. */
#include <math.h>

#include "ops/loss/loss_kernels.h"
#include "ops/cuda/items.cuh"

enum { LOSS_WARPS = 4, LOSS_THREADS = LOSS_WARPS * DDP_WARP, TREE = 1024, TREE_THREADS = 512 };

/* A warp's values from lane 0 to all lanes. */
struct warp_slot {
    float value[2];
    int best;
};

DDP_DEVICE float warp_sum(float v)
{
    for (int half = DDP_WARP / 2; half > 0; half /= 2)
        v += ddp_shuffle_down(v, half);
    return v;
}

/* Largest value, lowest class of equals; a NaN counts only where it is first, as on the CPU. */
template <class T> DDP_DEVICE void warp_argmax(const T *x, int classes, int lane, struct warp_slot *slot)
{
    float top = -INFINITY;
    int best = classes;
    for (int c = lane; c < classes; c += DDP_WARP) {
        const float v = ddp_float(x[c]);
        if (v > top || (v == top && best == classes)) {
            top = v;
            best = c;
        }
    }
    for (int half = DDP_WARP / 2; half > 0; half /= 2) {
        const float v = ddp_shuffle_down(top, half);
        const int b = ddp_shuffle_down(best, half);
        if (v > top || (v == top && b < best)) {
            top = v;
            best = b;
        }
    }
    if (lane == 0) {
        const float first = ddp_float(x[0]);
        const bool nan = first != first || best == classes;
        slot->value[0] = nan ? first : top;
        slot->best = nan ? 0 : best;
    }
    DDP_SYNC_WARP();
}

template <class T> DDP_DEVICE void zero_gradient(T *dx, int from, int c, int lane)
{
    for (int i = from + lane; i < c; i += DDP_WARP)
        dx[i] = ddp_from_float<T>(0.0f);
}

DDP_DEVICE float scale_of(const struct ddp_gpu_loss_args *a)
{
    return a->scale ? a->scale->scale : 1.0f;
}

/* What sample i is to be answered, as in loss_cpu.h. */
DDP_DEVICE struct ddp_mixed answer_of(const struct ddp_gpu_loss_args *a, int i)
{
    if (a->mixed)
        return a->mixed[i];
    const int label = a->target ? -1 : a->label[i];
    struct ddp_mixed m;
    m.label = m.other = label;
    m.own = 1.0f;
    return m;
}
DDP_DEVICE float part_of(const struct ddp_mixed *m, int c)
{
    return (c == m->label ? m->own : 0.0f) + (c == m->other ? 1.0f - m->own : 0.0f);
}
DDP_DEVICE bool is_right(const struct ddp_mixed *m, int best)
{
    return best == (m->own >= 0.5f ? m->label : m->other);
}

/* loss = L - (1 - smoothing) sum part_c d_c - smoothing mean(d), d = x - max x, L = log sum e^d;
 * dx = e^d / sum - smoothing / classes - (1 - smoothing) part_c */
template <class T>
DDP_DEVICE float softmax_sample(const struct ddp_gpu_loss_args *a, const T *x, T *dx,
                                const struct ddp_mixed *m, int lane, struct warp_slot *slot)
{
    warp_argmax(x, a->classes, lane, slot);
    const float top = slot->value[0];
    float exps = 0, ds = 0;
    for (int c = lane; c < a->classes; c += DDP_WARP) {
        const float d = ddp_float(x[c]) - top;
        exps += expf(d);
        ds += d;
    }
    exps = warp_sum(exps);
    ds = warp_sum(ds);
    if (lane == 0)
        slot->value[1] = exps;
    DDP_SYNC_WARP();
    if (dx) {
        const float total = slot->value[1], even = a->smoothing / (float)a->classes, scale = scale_of(a);
        for (int c = lane; c < a->classes; c += DDP_WARP) {
            const float p = expf(ddp_float(x[c]) - top) / total - even;
            dx[c] = ddp_from_float<T>((p - (1.0f - a->smoothing) * part_of(m, c)) * scale);
        }
        zero_gradient(dx, a->classes, a->c, lane);
    }
    const float mean = ds / (float)a->classes;
    float hit = ddp_float(x[m->label]) - top;
    if (m->own != 1.0f)
        hit = fmaf(m->own, hit, (1.0f - m->own) * (ddp_float(x[m->other]) - top));
    return fmaf(-a->smoothing, mean, fmaf(-(1.0f - a->smoothing), hit, logf(exps)));
}

enum kind { CROSS_ENTROPY, SQUARE, ABSOLUTE, HUBER };

/* One residual's loss and gradient, as in loss_cpu.c. */
DDP_DEVICE float residual_loss(enum kind kind, float d, float delta)
{
    const float size = fabsf(d);
    if (kind == SQUARE)
        return d * d;
    if (kind == ABSOLUTE)
        return size;
    return size > delta ? delta * (size - 0.5f * delta) : 0.5f * d * d;
}
DDP_DEVICE float residual_gradient(enum kind kind, float d, float delta)
{
    if (kind == SQUARE)
        return d + d;
    if (kind == ABSOLUTE)
        return d > 0 ? 1.0f : d < 0 ? -1.0f : d;
    return d > delta ? delta : d < -delta ? -delta : d;
}

/* d_c = x_c - target_c, or x_c - part_c. *score: right or not, or the mean absolute error. */
template <class T>
DDP_DEVICE float residual_sample(const struct ddp_gpu_loss_args *a, enum kind kind, const T *x, T *dx, int i,
                                 int lane, struct warp_slot *slot, float *score)
{
    const float classes = (float)a->classes, scale = scale_of(a);
    const float *target = a->target ? a->target + (int64_t)i * a->classes : NULL;
    const struct ddp_mixed m = answer_of(a, i);
    if (!target) {
        warp_argmax(x, a->classes, lane, slot);
        *score = is_right(&m, slot->best) ? 1.0f : 0.0f;
    }
    float sum = 0, errors = 0;
    for (int c = lane; c < a->classes; c += DDP_WARP) {
        const float d = ddp_float(x[c]) - (target ? target[c] : part_of(&m, c));
        sum = kind == SQUARE ? fmaf(d, d, sum) : sum + residual_loss(kind, d, a->delta);
        errors += fabsf(d);
        if (dx)
            dx[c] = ddp_from_float<T>(residual_gradient(kind, d, a->delta) / classes * scale);
    }
    if (dx)
        zero_gradient(dx, a->classes, a->c, lane);
    if (target)
        *score = warp_sum(errors) / classes;
    return warp_sum(sum) / classes;
}

/* x and dx may not overlap: lanes read x at the labels while others write. */
template <class T>
DDP_DEVICE void samples(const struct ddp_gpu_loss_args *a, enum kind kind, struct warp_slot *slots)
{
    const int warp = ddp_thread() / DDP_WARP, lane = ddp_thread() % DDP_WARP;
    const int i = ddp_block() * LOSS_WARPS + warp;
    if (i >= a->batch)
        return; /* a whole warp: only warps wait for each other here */
    const T *x = (const T *)a->x + (int64_t)i * a->c;
    T *dx = a->dx ? (T *)a->dx + (int64_t)i * a->c : NULL;
    float loss = 0, score = 0;
    if (i >= *a->n) {
        if (dx)
            zero_gradient(dx, 0, a->c, lane);
    } else if (kind == CROSS_ENTROPY) {
        const struct ddp_mixed m = answer_of(a, i);
        loss = softmax_sample(a, x, dx, &m, lane, &slots[warp]);
        score = is_right(&m, slots[warp].best) ? 1.0f : 0.0f;
    } else {
        loss = residual_sample(a, kind, x, dx, i, lane, &slots[warp], &score);
    }
    if (lane == 0) {
        a->sample[i] = loss;
        a->sample[a->batch + i] = score;
    }
}

template <class T> DDP_KERNEL softmax_cross_entropy(struct ddp_gpu_loss_args a)
{
    DDP_SHARED(struct warp_slot, slots, LOSS_WARPS);
    samples<T>(&a, CROSS_ENTROPY, slots);
}
template <class T> DDP_KERNEL mse(struct ddp_gpu_loss_args a)
{
    DDP_SHARED(struct warp_slot, slots, LOSS_WARPS);
    samples<T>(&a, SQUARE, slots);
}
template <class T> DDP_KERNEL mae(struct ddp_gpu_loss_args a)
{
    DDP_SHARED(struct warp_slot, slots, LOSS_WARPS);
    samples<T>(&a, ABSOLUTE, slots);
}
template <class T> DDP_KERNEL huber(struct ddp_gpu_loss_args a)
{
    DDP_SHARED(struct warp_slot, slots, LOSS_WARPS);
    samples<T>(&a, HUBER, slots);
}

/* v[0] <- the tree over v[0..n): stride 1, 2, 4, ... All threads call it; v is written before. */
DDP_DEVICE void tree(float *v, int n)
{
    for (int stride = 1; stride < n; stride *= 2) {
        for (int i = ddp_thread() * 2 * stride; i + stride < n; i += ddp_threads() * 2 * stride)
            v[i] += v[i + stride];
        DDP_SYNC();
    }
}

/* runs[0] <- the tree over v[0..batch): runs of 1,024 samples, then the runs: a power of two, so it is the
 * tree over all. A million samples at most. All threads call it. */
DDP_DEVICE void batch_tree(const float *v, int batch, float *run, float *runs)
{
    const int n = (batch + TREE - 1) / TREE, t = ddp_thread();
    for (int r = 0; r < n; r++) {
        const int first = r * TREE, count = batch - first < TREE ? batch - first : TREE;
        for (int i = t; i < count; i += ddp_threads())
            run[i] = v[first + i];
        DDP_SYNC();
        tree(run, count);
        if (t == 0)
            runs[r] = run[0];
        DDP_SYNC();
    }
    tree(runs, n);
}

/* Sums over the samples: losses, and right answers or errors. */
DDP_KERNEL loss_end(struct ddp_gpu_loss_args a)
{
    DDP_SHARED(float, run, TREE);
    DDP_SHARED(float, runs, TREE);
    DDP_SHARED(int, counts, TREE_THREADS);
    const int t = ddp_thread();
    const float *score = a.sample + a.batch;
    batch_tree(a.sample, a.batch, run, runs);
    if (t == 0)
        *a.loss = a.batch > 0 ? runs[0] : 0.0f;
    DDP_SYNC();
    if (a.target) {
        batch_tree(score, a.batch, run, runs);
        if (t == 0)
            *a.error = a.batch > 0 ? runs[0] : 0.0f;
        return; /* all threads of the block */
    }
    int right = 0;
    for (int i = t; i < a.batch; i += ddp_threads())
        right += (int)score[i];
    counts[t] = right;
    DDP_SYNC();
    for (int half = TREE_THREADS / 2; half > 0; half /= 2) {
        if (t < half)
            counts[t] += counts[t + half];
        DDP_SYNC();
    }
    if (t == 0)
        *a.correct = counts[0];
}

static int sample_blocks(const struct ddp_gpu_loss_args *a)
{
    return (a->batch + LOSS_WARPS - 1) / LOSS_WARPS;
}
static void launch_softmax_cross_entropy(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, softmax_cross_entropy, sample_blocks(a), LOSS_THREADS, *a);
    DDP_LAUNCH(s, loss_end, 1, TREE_THREADS, *a);
}
static void launch_mse(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, mse, sample_blocks(a), LOSS_THREADS, *a);
    DDP_LAUNCH(s, loss_end, 1, TREE_THREADS, *a);
}
static void launch_mae(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, mae, sample_blocks(a), LOSS_THREADS, *a);
    DDP_LAUNCH(s, loss_end, 1, TREE_THREADS, *a);
}
static void launch_huber(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, huber, sample_blocks(a), LOSS_THREADS, *a);
    DDP_LAUNCH(s, loss_end, 1, TREE_THREADS, *a);
}

const struct ddp_loss_device_kernels ddp_cuda_loss_kernels = {
    .softmax_cross_entropy = launch_softmax_cross_entropy,
    .mse = launch_mse,
    .mae = launch_mae,
    .huber = launch_huber,
};
