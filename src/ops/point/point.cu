/* Elementwise kernels: activations, residual sums, biases. Equations as in ops/point/point_cpu.c.
 *
 * All are bound by memory. Bytes an element, b = bytes of the type: act forward 2b, backward 3b (accumulating
 * 4b); add forward 3b, backward 2b, 3b with relu; bias forward 2b, 3b with a residual; bias backward b to
 * sum, with relu 3b, and b (2b) for dother. FLOPs: 1 to 3, GELU some 60, SiLU, tanh
 * and sigmoid 25. tanh and sigmoid have the bits of the CPU's kernels. */
#include "ops/cuda/columns.cuh"
#include "ops/cuda/fmath.cuh"
#include "ops/point/point_kernels.h"

/* ---- activations, [count] ---- */

/* x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2 */
DDP_DEVICE float gelu_cdf(float x)
{
    return 0.5f * (1.0f + erff(x * 0.70710678118654752f));
}
/* Phi(x) + x phi(x), phi(x) = exp(-x^2 / 2) / sqrt(2 pi) */
DDP_DEVICE float gelu_slope(float x)
{
    const float pdf = 0.39894228040143268f * expf(x * x * -0.5f);
    return fmaf(x, pdf, gelu_cdf(x));
}
DDP_DEVICE float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}
/* s(x) (1 + x (1 - s(x))) */
DDP_DEVICE float silu_slope(float x)
{
    const float s = sigmoid(x);
    return s * fmaf(x, 1.0f - s, 1.0f);
}

/* f(v) of 8 channels, the first of which is `channel`. */
template <int ACT> DDP_DEVICE void act_of(const struct ddp_gpu_act_args &a, int channel, float v[8])
{
#pragma unroll
    for (int j = 0; j < 8; j++)
        if (ACT == DDP_ACT_RELU)
            v[j] = ddp_relu(v[j]);
        else if (ACT == DDP_ACT_GELU)
            v[j] *= gelu_cdf(v[j]);
        else if (ACT == DDP_ACT_SILU)
            v[j] *= sigmoid(v[j]);
        else if (ACT == DDP_ACT_TANH)
            v[j] = ddp_tanh(v[j]);
        else if (ACT == DDP_ACT_SIGMOID)
            v[j] = channel + j < a.real_c ? ddp_sigmoid(v[j]) : 0.0f;
        else
            v[j] = v[j] > 0.0f ? v[j] : a.slope * v[j];
}

/* g f'(v); v is out where ddp_act_reads_out(act). */
template <int ACT> DDP_DEVICE void act_grad_of(const struct ddp_gpu_act_args &a, const float v[8], float g[8])
{
#pragma unroll
    for (int j = 0; j < 8; j++)
        if (ACT == DDP_ACT_RELU)
            g[j] = v[j] > 0.0f ? g[j] : 0.0f;
        else if (ACT == DDP_ACT_GELU)
            g[j] *= gelu_slope(v[j]);
        else if (ACT == DDP_ACT_SILU)
            g[j] *= silu_slope(v[j]);
        else if (ACT == DDP_ACT_TANH)
            g[j] *= fmaf(-v[j], v[j], 1.0f);
        else if (ACT == DDP_ACT_SIGMOID)
            g[j] *= v[j] * (1.0f - v[j]);
        else
            g[j] = v[j] > 0.0f ? g[j] : a.slope * g[j];
}

/* The others compute so much that half as many vectors ahead are enough, and the code is half as long. */
template <class T, int ACT> DDP_DEVICE constexpr int act_ahead()
{
    return ddp_ahead<T>(ACT == DDP_ACT_RELU || ACT == DDP_ACT_LEAKY_RELU ? 1 : 3);
}

template <class T, int ACT> DDP_DEVICE void act_items(const struct ddp_gpu_act_args &a)
{
    const int N = act_ahead<T, ACT>();
    const T *x = (const T *)a.x;
    T *out = (T *)a.out;
    float v[N][8];
    ddp_walk<N>(
        ddp_item_first() * 8, a.count, ddp_item_step() * 8, [&](int k, int64_t i) { ddp_load8(x + i, v[k]); },
        [&](int k, int64_t i) {
            act_of<ACT>(a, ACT == DDP_ACT_SIGMOID ? (int)(i % a.c) : 0, v[k]);
            ddp_store8(out + i, v[k]);
        });
}

template <class T, int ACT> DDP_DEVICE void act_grad_items(const struct ddp_gpu_act_args &a)
{
    const int N = act_ahead<T, ACT>();
    const T *x = (const T *)a.x, *dout = (const T *)a.dout;
    T *din = (T *)a.out;
    float v[N][8], g[N][8];
    ddp_walk<N>(
        ddp_item_first() * 8, a.count, ddp_item_step() * 8,
        [&](int k, int64_t i) {
            ddp_load8(x + i, v[k]);
            ddp_load8(dout + i, g[k]);
        },
        [&](int k, int64_t i) {
            act_grad_of<ACT>(a, v[k], g[k]);
            ddp_put8(din + i, g[k], a.accumulate);
        });
}

template <class T> DDP_KERNEL act_forward(struct ddp_gpu_act_args a)
{
    switch (a.act) {
    case DDP_ACT_RELU:
        return act_items<T, DDP_ACT_RELU>(a);
    case DDP_ACT_GELU:
        return act_items<T, DDP_ACT_GELU>(a);
    case DDP_ACT_SILU:
        return act_items<T, DDP_ACT_SILU>(a);
    case DDP_ACT_TANH:
        return act_items<T, DDP_ACT_TANH>(a);
    case DDP_ACT_SIGMOID:
        return act_items<T, DDP_ACT_SIGMOID>(a);
    case DDP_ACT_LEAKY_RELU:
        return act_items<T, DDP_ACT_LEAKY_RELU>(a);
    }
}

/* din (+)= dout f'(x) */
template <class T> DDP_KERNEL act_backward(struct ddp_gpu_act_args a)
{
    switch (a.act) {
    case DDP_ACT_RELU:
        return act_grad_items<T, DDP_ACT_RELU>(a);
    case DDP_ACT_GELU:
        return act_grad_items<T, DDP_ACT_GELU>(a);
    case DDP_ACT_SILU:
        return act_grad_items<T, DDP_ACT_SILU>(a);
    case DDP_ACT_TANH:
        return act_grad_items<T, DDP_ACT_TANH>(a);
    case DDP_ACT_SIGMOID:
        return act_grad_items<T, DDP_ACT_SIGMOID>(a);
    case DDP_ACT_LEAKY_RELU:
        return act_grad_items<T, DDP_ACT_LEAKY_RELU>(a);
    }
}

static void launch_act_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_act_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, act_forward, ddp_item_blocks(a->count / 8), DDP_ITEM_THREADS, *a);
}
static void launch_act_backward(struct ddp_gpu_stream *s, const struct ddp_gpu_act_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, act_backward, ddp_item_blocks(a->count / 8), DDP_ITEM_THREADS, *a);
}

/* ---- residual sums, [count] ---- */

template <class T> DDP_KERNEL add_forward(struct ddp_gpu_add_args a)
{
    const int N = ddp_ahead<T>(2);
    const T *x = (const T *)a.a, *y = (const T *)a.b;
    T *out = (T *)a.out;
    float v[N][8], w[N][8];
    ddp_walk<N>(
        ddp_item_first() * 8, a.count, ddp_item_step() * 8,
        [&](int k, int64_t i) {
            ddp_load8(x + i, v[k]);
            ddp_load8(y + i, w[k]);
        },
        [&](int k, int64_t i) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                v[k][j] += w[k][j];
                if (a.relu)
                    v[k][j] = ddp_relu(v[k][j]);
            }
            ddp_store8(out + i, v[k]);
        });
}

template <class T, bool RELU> DDP_DEVICE void add_grad_items(const struct ddp_gpu_add_args &a)
{
    const int N = ddp_ahead<T>(1 + RELU);
    const T *dout = (const T *)a.a, *out = (const T *)a.b;
    T *din = (T *)a.out;
    float g[N][8], y[N][8];
    ddp_walk<N>(
        ddp_item_first() * 8, a.count, ddp_item_step() * 8,
        [&](int k, int64_t i) {
            ddp_load8(dout + i, g[k]);
            if (RELU)
                ddp_load8(out + i, y[k]);
        },
        [&](int k, int64_t i) {
#pragma unroll
            for (int j = 0; j < 8; j++)
                if (RELU)
                    g[k][j] = y[k][j] > 0.0f ? g[k][j] : 0.0f;
            ddp_put8(din + i, g[k], a.accumulate);
        });
}

template <class T> DDP_KERNEL add_backward(struct ddp_gpu_add_args a)
{
    if (a.b)
        add_grad_items<T, true>(a);
    else
        add_grad_items<T, false>(a);
}

static void launch_add_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_add_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, add_forward, ddp_item_blocks(a->count / 8), DDP_ITEM_THREADS, *a);
}
static void launch_add_backward(struct ddp_gpu_stream *s, const struct ddp_gpu_add_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, add_backward, ddp_item_blocks(a->count / 8), DDP_ITEM_THREADS, *a);
}

/* ---- biases, [pixels][c] ---- */

template <class T, bool OTHER>
DDP_DEVICE void bias_rows(const struct ddp_gpu_bias_args &a, const struct ddp_columns &k,
                          const struct ddp_column &at)
{
    const int N = ddp_ahead<T>(1 + OTHER);
    const int64_t c = a.c;
    const T *other = (const T *)a.other + at.channel;
    T *y = (T *)a.y + at.channel;
    float bias[8] = {0}, v[N][8], w[N][8];
    if (a.bias)
        ddp_load8(a.bias + at.channel, bias);
    ddp_walk<N>((at.chunk * k.rows + at.row) * c, a.pixels * c, k.chunks * k.rows * c,
                [&](int q, int64_t i) {
                    ddp_load8(y + i, v[q]);
                    if (OTHER)
                        ddp_load8(other + i, w[q]);
                },
                [&](int q, int64_t i) {
#pragma unroll
                    for (int j = 0; j < 8; j++) {
                        v[q][j] += bias[j];
                        if (OTHER)
                            v[q][j] += w[q][j];
                        if (a.relu)
                            v[q][j] = ddp_relu(v[q][j]);
                    }
                    ddp_store8(y + i, v[q]);
                });
}

/* y = max(0, y + bias + other) */
template <class T> DDP_KERNEL bias_forward(struct ddp_gpu_bias_args a, struct ddp_columns k)
{
    const struct ddp_column at = ddp_column_of(&k);
    if (!at.on)
        return;
    if (a.other)
        bias_rows<T, true>(a, k, at);
    else
        bias_rows<T, false>(a, k, at);
}

template <class T, bool RELU>
DDP_DEVICE void bias_grad_rows(const struct ddp_gpu_bias_grad_args &a, const struct ddp_columns &k,
                               const struct ddp_column &at, float *sum)
{
    const int N = ddp_ahead<T>(1 + RELU);
    const int64_t first = at.chunk * DDP_GPU_SUM_ROWS, left = a.pixels - first;
    const int count = left < DDP_GPU_SUM_ROWS ? (int)left : (int)DDP_GPU_SUM_ROWS;
    const int64_t base = first * a.c + at.channel;
    const T *out = (const T *)a.out + base;
    T *dout = (T *)a.dout + base, *dother = a.dother ? (T *)a.dother + base : NULL;
    float g[N][8], y[N][8];
    ddp_walk<N>(
        at.row * a.c, count * a.c, k.rows * a.c,
        [&](int q, int i) {
            ddp_load8(dout + i, g[q]);
            if (RELU)
                ddp_load8(out + i, y[q]);
        },
        [&](int q, int i) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                if (RELU)
                    g[q][j] = y[q][j] > 0.0f ? g[q][j] : 0.0f;
                sum[j] += g[q][j];
            }
            if (RELU)
                ddp_store8(dout + i, g[q]);
            if (dother)
                ddp_put8(dother + i, g[q], a.accumulate);
        });
}

/* dz of a chunk, and its sums to partial[chunk][c]. */
template <class T> DDP_KERNEL bias_backward(struct ddp_gpu_bias_grad_args a, struct ddp_columns k)
{
    DDP_SHARED(float, shared, 8 * DDP_COLUMN_THREADS);
    const struct ddp_column at = ddp_column_of(&k);
    float sum[1][8] = {{0}};
    if (at.on && a.relu)
        bias_grad_rows<T, true>(a, k, at, sum[0]);
    else if (at.on)
        bias_grad_rows<T, false>(a, k, at, sum[0]);
    if (a.dbias) {
        ddp_column_tree<1>(&k, at.row, shared, sum);
        if (at.on && at.row == 0)
            ddp_store8(a.partial + at.chunk * a.c + at.channel, sum[0]);
    }
}

DDP_KERNEL bias_backward_end(struct ddp_gpu_bias_grad_args a, int64_t chunks)
{
    DDP_SHARED(double, shared, DDP_GROUP_THREADS);
    const int channel = ddp_group_channel();
    double sum[1] = {0};
    for (int64_t i = ddp_group(); i < chunks; i += ddp_groups())
        sum[0] += (double)a.partial[i * a.c + channel];
    ddp_group_tree<1>(shared, sum);
    if (ddp_group() == 0)
        a.dbias[channel] = (float)sum[0];
}

static void launch_bias_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_bias_args *a)
{
    const struct ddp_columns k = ddp_columns_walk(a->pixels, a->c);
    DDP_LAUNCH_TYPED(s, a->type, bias_forward, ddp_columns_blocks(&k), DDP_COLUMN_THREADS, *a, k);
}

static void launch_bias_backward(struct ddp_gpu_stream *s, const struct ddp_gpu_bias_grad_args *a)
{
    const struct ddp_columns k = ddp_columns_sum(ddp_sum_chunks(a->pixels), a->c);
    if (!a->relu && !a->dother && !a->dbias)
        return;
    DDP_LAUNCH_TYPED(s, a->type, bias_backward, ddp_columns_blocks(&k), DDP_COLUMN_THREADS, *a, k);
    if (a->dbias)
        DDP_LAUNCH(s, bias_backward_end, k.vectors, ddp_group_threads(k.chunks), *a, k.chunks);
}

/* ---- conversions, [count] ---- */

enum { CAST_BLOCK = 8 * DDP_ITEM_THREADS };

/* t = f, rounded to nearest even: 8 elements a thread; 6 bytes an element of 2 bytes. f and t aligned to 32
 * and 16 bytes; any count. */
template <class T> DDP_KERNEL from_float(const struct ddp_gpu_cast_args a)
{
    const int64_t i = (int64_t)ddp_block() * CAST_BLOCK + 8 * ddp_thread();
    T *t = (T *)a.t;
    if (i + 8 <= a.count) {
        float v[8];
        ddp_load8(a.f + i, v);
        ddp_store8(t + i, v);
    } else {
        for (int64_t k = i; k < a.count; k++)
            t[k] = ddp_from_float<T>(a.f[k]);
    }
}

/* f = t, exact. */
template <class T> DDP_KERNEL to_float(const struct ddp_gpu_cast_args a)
{
    const int64_t i = (int64_t)ddp_block() * CAST_BLOCK + 8 * ddp_thread();
    const T *t = (const T *)a.t;
    if (i + 8 <= a.count) {
        float v[8];
        ddp_load8(t + i, v);
        ddp_store8(a.f + i, v);
    } else {
        for (int64_t k = i; k < a.count; k++)
            a.f[k] = ddp_float(t[k]);
    }
}

static int64_t cast_blocks(int64_t count)
{
    return (count + CAST_BLOCK - 1) / CAST_BLOCK;
}
static void launch_cast_from_float(struct ddp_gpu_stream *s, const struct ddp_gpu_cast_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, from_float, cast_blocks(a->count), DDP_ITEM_THREADS, *a);
}
static void launch_cast_to_float(struct ddp_gpu_stream *s, const struct ddp_gpu_cast_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, to_float, cast_blocks(a->count), DDP_ITEM_THREADS, *a);
}

const struct ddp_point_device_kernels ddp_cuda_point_kernels = {
    .act_forward = launch_act_forward,
    .act_backward = launch_act_backward,
    .add_forward = launch_add_forward,
    .add_backward = launch_add_backward,
    .bias_forward = launch_bias_forward,
    .bias_backward = launch_bias_backward,
    .cast_from_float = launch_cast_from_float,
    .cast_to_float = launch_cast_to_float,
};
