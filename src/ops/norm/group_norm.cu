/* Group norm and layer norm: equations in ops/norm/group_norm.c. x, y, dout, din are [batch][hw][c].
 *
 * Sums over a group, in the order of group_norm.c: - a channel: row r of 8 takes pixels r, r + 8, .. in
 * order, in fp32; the rows are added in a tree of halves
 *     (row i gets row i + half). Pictures of fewer than 8 pixels: one row.
 * - a group: lane j of 32 (256 where there is one row) takes channels j, j + 32, .. of the group in order,
 * in
 *     double, then the lanes are added in a tree of halves.
 *
 * A block of 256 threads, rows x lanes, has one group of one sample and goes over its channels a lane each;
 * the second reading comes from the cache. Elementwise kernels have 8 channels a thread. Bytes an element, b
 * = bytes of the type: stats 2b (b from the cache), forward 2b, grad stats 2b (layer_norm 4b: dweight and
 * dbias read both again), grad 3b (accumulating 4b). FLOPs: 6, 4, 5 (9), 7. */
#include "ops/cuda/items.cuh"
#include "ops/norm/group_norm_kernels.h"

enum { GROUP_THREADS = 256, GROUP_ROWS = 8 };

struct spot { /* of a thread */
    int rows, lanes, row, lane;
    int sample, group, first, channels;
};

DDP_DEVICE struct spot spot_of(const struct ddp_gpu_group_args &a)
{
    struct spot s;
    s.rows = a.hw < GROUP_ROWS ? 1 : (int)GROUP_ROWS;
    s.lanes = GROUP_THREADS / s.rows;
    s.row = ddp_thread() / s.lanes;
    s.lane = ddp_thread() % s.lanes;
    s.sample = ddp_block() / a.groups;
    s.group = ddp_block() % a.groups;
    s.channels = a.real_c / a.groups;
    s.first = s.group * s.channels;
    return s;
}

/* v[0], v[1] of row 0 <- sums over the rows, of each lane. All threads of the block call it. */
DDP_DEVICE void rows_tree(const struct spot &s, float *shared, float *v)
{
    const int t = ddp_thread();
    if (s.rows == 1)
        return;
    shared[t] = v[0];
    shared[GROUP_THREADS + t] = v[1];
    DDP_SYNC();
    for (int half = s.rows / 2; half > 0; half /= 2) {
        if (s.row < half) {
            shared[t] += shared[t + half * s.lanes];
            shared[GROUP_THREADS + t] += shared[GROUP_THREADS + t + half * s.lanes];
        }
        DDP_SYNC();
    }
    v[0] = shared[t];
    v[1] = shared[GROUP_THREADS + t];
    DDP_SYNC();
}

/* v[0], v[1] of every thread <- sums over the lanes of row 0. All threads of the block call it. */
DDP_DEVICE void lanes_tree(const struct spot &s, double *shared, double *v)
{
    const int t = ddp_thread();
    if (s.row == 0) {
        shared[s.lane] = v[0];
        shared[GROUP_THREADS + s.lane] = v[1];
    }
    DDP_SYNC();
    for (int half = s.lanes / 2; half > 0; half /= 2) {
        if (t < half) {
            shared[t] += shared[t + half];
            shared[GROUP_THREADS + t] += shared[GROUP_THREADS + t + half];
        }
        DDP_SYNC();
    }
    v[0] = shared[0];
    v[1] = shared[GROUP_THREADS];
    DDP_SYNC();
}

/* Sums of x - centre and (x - centre)^2 over the group, for every thread. */
template <class T>
DDP_DEVICE void group_sums(const struct ddp_gpu_group_args &a, const struct spot &s, float centre,
                           float *shared, double *lanes, double *sum)
{
    const T *x = (const T *)a.x + (int64_t)s.sample * a.hw * a.c;
    sum[0] = sum[1] = 0.0;
    for (int first = 0; first < s.channels; first += s.lanes) {
        const bool on = first + s.lane < s.channels;
        const int channel = s.first + first + s.lane;
        float v[2] = {0.0f, 0.0f};
        if (on)
            for (int q = s.row; q < a.hw; q += s.rows) {
                const float d = ddp_float(x[(int64_t)q * a.c + channel]) - centre;
                v[0] += d;
                v[1] = fmaf(d, d, v[1]);
            }
        rows_tree(s, shared, v);
        if (on) {
            sum[0] += (double)v[0];
            sum[1] += (double)v[1];
        }
    }
    lanes_tree(s, lanes, sum);
}

template <class T>
DDP_DEVICE void stats_of_group(const struct ddp_gpu_group_args &a, const struct spot &s, float *shared,
                               double *lanes)
{
    const double count = (double)s.channels * a.hw;
    double sum[2];
    group_sums<T>(a, s, 0.0f, shared, lanes, sum);
    const float centre = (float)(sum[0] / count);
    group_sums<T>(a, s, centre, shared, lanes, sum);
    const double off = sum[0] / count, square = sum[1] / count - off * off,
                 var = square < 0.0 ? 0.0 : square, /* NaN stays */
        inv_std = 1.0 / sqrt(var + (double)a.eps);
    if (ddp_thread() == 0) {
        float *stats = a.stats + (int64_t)ddp_block() * 3;
        stats[0] = centre;
        stats[1] = (float)(-off * inv_std);
        stats[2] = (float)inv_std;
    }
}

template <class T> DDP_KERNEL group_stats(const struct ddp_gpu_group_args a)
{
    DDP_SHARED(float, shared, 2 * GROUP_THREADS);
    DDP_SHARED(double, lanes, 2 * GROUP_THREADS);
    const struct spot s = spot_of(a);
    if (s.sample < *a.n) /* the whole block, or none of it */
        stats_of_group<T>(a, s, shared, lanes);
}

/* ---- elementwise ---- */

struct element {
    float xhat, inv_std, weight, bias;
    int64_t means; /* of its group */
};

DDP_DEVICE struct element element_of(const struct ddp_gpu_group_args &a, int sample, int q, int channel,
                                     float x)
{
    struct element e;
    const int64_t group = (int64_t)sample * a.groups + channel / (a.real_c / a.groups);
    const float *stats = a.stats + group * 3;
    e.inv_std = stats[2];
    e.xhat = fmaf(x - stats[0], stats[2], stats[1]);
    e.weight = a.weight ? a.weight[a.elements ? (int64_t)channel * a.hw + q : channel] : 1.0f;
    e.bias = a.weight ? a.bias[a.elements ? (int64_t)channel * a.hw + q : channel] : 0.0f;
    e.means = group * 2;
    return e;
}

/* y = weight * xhat + bias */
template <class T> DDP_KERNEL group_forward(const struct ddp_gpu_group_args a)
{
    const int vectors = a.c / 8, n = *a.n;
    const int64_t items = (int64_t)a.batch * a.hw * vectors;
    for (int64_t i = ddp_item_first(); i < items; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, 1, a.hw, vectors);
        float v[8] = {0.0f};
        if (at.n < n) {
            ddp_load8((const T *)a.x + i * 8, v);
            for (int j = 0; j < 8; j++) {
                const int channel = at.vector * 8 + j;
                if (channel < a.real_c) {
                    const struct element e = element_of(a, at.n, at.x, channel, v[j]);
                    v[j] = a.weight ? fmaf(e.xhat, e.weight, e.bias) : e.xhat;
                } else {
                    v[j] = 0.0f;
                }
            }
        }
        ddp_store8((T *)a.y + i * 8, v);
    }
}

/* din (+)= (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps) */
template <class T> DDP_KERNEL group_grad(const struct ddp_gpu_group_args a)
{
    const int vectors = a.c / 8, n = *a.n;
    const int64_t items = (int64_t)a.batch * a.hw * vectors;
    for (int64_t i = ddp_item_first(); i < items; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, 1, a.hw, vectors);
        float v[8] = {0.0f}, g[8] = {0.0f};
        if (at.n < n) {
            ddp_load8((const T *)a.x + i * 8, v);
            ddp_load8((const T *)a.dout + i * 8, g);
            for (int j = 0; j < 8; j++) {
                const int channel = at.vector * 8 + j;
                if (channel < a.real_c) {
                    const struct element e = element_of(a, at.n, at.x, channel, v[j]);
                    const float gw = a.weight ? g[j] * e.weight : g[j];
                    g[j] = fmaf(-e.xhat, a.means[e.means + 1], gw - a.means[e.means]) * e.inv_std;
                } else {
                    g[j] = 0.0f;
                }
            }
        }
        ddp_put8((T *)a.din + i * 8, g, a.accumulate);
    }
}

/* ---- sums of backward ---- */

/* Of each channel over pixels, and means over the group. The weight of an element enters inside of the first
 * sums, that of a channel after them. */
template <class T>
DDP_DEVICE void grad_sums_of_group(const struct ddp_gpu_group_args &a, const struct spot &s, float *shared,
                                   double *lanes)
{
    const double count = (double)s.channels * a.hw;
    const int64_t base = (int64_t)s.sample * a.hw * a.c;
    const T *x = (const T *)a.x + base, *dout = (const T *)a.dout + base;
    double sum[2] = {0.0, 0.0};
    for (int first = 0; first < s.channels; first += s.lanes) {
        const bool on = first + s.lane < s.channels;
        const int channel = s.first + first + s.lane;
        float v[2] = {0.0f, 0.0f}, weight = 1.0f;
        if (on)
            for (int q = s.row; q < a.hw; q += s.rows) {
                const struct element e =
                    element_of(a, s.sample, q, channel, ddp_float(x[(int64_t)q * a.c + channel]));
                float g = ddp_float(dout[(int64_t)q * a.c + channel]);
                weight = e.weight;
                if (a.weight && a.elements)
                    g *= weight;
                v[0] += g;
                v[1] = fmaf(g, e.xhat, v[1]);
            }
        rows_tree(s, shared, v);
        if (on && s.row == 0) {
            if (!a.elements) {
                float *to = a.sums + (int64_t)s.sample * 2 * a.real_c;
                to[channel] = v[0];
                to[a.real_c + channel] = v[1];
            }
            sum[0] += a.weight && !a.elements ? (double)weight * (double)v[0] : (double)v[0];
            sum[1] += a.weight && !a.elements ? (double)weight * (double)v[1] : (double)v[1];
        }
    }
    lanes_tree(s, lanes, sum);
    if (ddp_thread() == 0) {
        a.means[(int64_t)ddp_block() * 2] = (float)(sum[0] / count);
        a.means[(int64_t)ddp_block() * 2 + 1] = (float)(sum[1] / count);
    }
}

template <class T> DDP_KERNEL group_grad_sums(const struct ddp_gpu_group_args a)
{
    DDP_SHARED(float, shared, 2 * GROUP_THREADS);
    DDP_SHARED(double, lanes, 2 * GROUP_THREADS);
    const struct spot s = spot_of(a);
    if (s.sample < *a.n) /* the whole block, or none of it */
        grad_sums_of_group<T>(a, s, shared, lanes);
}

/* dweight and dbias of each channel: samples in order. */
DDP_KERNEL group_channels(const struct ddp_gpu_group_args a)
{
    const int n = *a.n;
    for (int64_t c = ddp_item_first(); c < a.real_c; c += ddp_item_step()) {
        float dweight = 0.0f, dbias = 0.0f;
        for (int i = 0; i < n; i++) {
            const float *sums = a.sums + (int64_t)i * 2 * a.real_c;
            dbias += sums[c];
            dweight += sums[a.real_c + c];
        }
        a.dweight[c] = dweight;
        a.dbias[c] = dbias;
    }
}

/* dweight and dbias of each element: samples in order. */
template <class T> DDP_KERNEL group_elements(const struct ddp_gpu_group_args a)
{
    const int n = *a.n;
    const int64_t items = (int64_t)a.hw * a.real_c;
    for (int64_t i = ddp_item_first(); i < items; i += ddp_item_step()) {
        const int q = (int)(i / a.real_c), channel = (int)(i % a.real_c);
        float dweight = 0.0f, dbias = 0.0f;
        for (int k = 0; k < n; k++) {
            const int64_t at = ((int64_t)k * a.hw + q) * a.c + channel;
            const float *stats = a.stats + (int64_t)k * 3;
            const float xhat = fmaf(ddp_float(((const T *)a.x)[at]) - stats[0], stats[2], stats[1]);
            const float g = ddp_float(((const T *)a.dout)[at]);
            dweight = fmaf(g, xhat, dweight);
            dbias += g;
        }
        a.dweight[(int64_t)channel * a.hw + q] = dweight;
        a.dbias[(int64_t)channel * a.hw + q] = dbias;
    }
}

/* ---- launches ---- */

static int64_t items(const struct ddp_gpu_group_args *a)
{
    return (int64_t)a->batch * a->hw * (a->c / 8);
}

static void launch_group_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, group_stats, (int64_t)a->batch * a->groups, GROUP_THREADS, *a);
}

static void launch_group_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, group_forward, ddp_item_blocks(items(a)), DDP_ITEM_THREADS, *a);
}

static void launch_group_grad_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, group_grad_sums, (int64_t)a->batch * a->groups, GROUP_THREADS, *a);
    if (a->dweight && a->elements)
        DDP_LAUNCH_TYPED(s, a->type, group_elements, ddp_item_blocks((int64_t)a->hw * a->real_c),
                         DDP_ITEM_THREADS, *a);
    else if (a->dweight)
        DDP_LAUNCH(s, group_channels, ddp_item_blocks(a->real_c), DDP_ITEM_THREADS, *a);
}

static void launch_group_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, group_grad, ddp_item_blocks(items(a)), DDP_ITEM_THREADS, *a);
}

const struct ddp_group_norm_device_kernels ddp_cuda_group_norm_kernels = {
    .group_stats = launch_group_stats,
    .group_forward = launch_group_forward,
    .group_grad_stats = launch_group_grad_stats,
    .group_grad = launch_group_grad,
};
