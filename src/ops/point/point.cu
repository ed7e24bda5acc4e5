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

template <class T> DDP_KERNEL act_forward(struct ddp_gpu_act_args a)
{
    const T *x = (const T *)a.x;
    T *out = (T *)a.out;
    for (int64_t i = ddp_item_first(); i < a.count / 8; i += ddp_item_step()) {
        float v[8];
        ddp_load8(x + i * 8, v);
        if (a.act == DDP_ACT_RELU)
            for (int j = 0; j < 8; j++)
                v[j] = ddp_relu(v[j]);
        else if (a.act == DDP_ACT_GELU)
            for (int j = 0; j < 8; j++)
                v[j] *= gelu_cdf(v[j]);
        else if (a.act == DDP_ACT_SILU)
            for (int j = 0; j < 8; j++)
                v[j] *= sigmoid(v[j]);
        else if (a.act == DDP_ACT_TANH)
            for (int j = 0; j < 8; j++)
                v[j] = ddp_tanh(v[j]);
        else if (a.act == DDP_ACT_SIGMOID) {
            const int first = (int)(i % (a.c / 8)) * 8;
            for (int j = 0; j < 8; j++)
                v[j] = first + j < a.real_c ? ddp_sigmoid(v[j]) : 0.0f;
        } else
            for (int j = 0; j < 8; j++)
                v[j] = v[j] > 0.0f ? v[j] : a.slope * v[j];
        ddp_store8(out + i * 8, v);
    }
}

/* din (+)= dout f'(x); x is out where ddp_act_reads_out(act). */
template <class T> DDP_KERNEL act_backward(struct ddp_gpu_act_args a)
{
    const T *x = (const T *)a.x, *dout = (const T *)a.dout;
    T *din = (T *)a.out;
    for (int64_t i = ddp_item_first(); i < a.count / 8; i += ddp_item_step()) {
        float v[8], g[8];
        ddp_load8(x + i * 8, v);
        ddp_load8(dout + i * 8, g);
        if (a.act == DDP_ACT_RELU)
            for (int j = 0; j < 8; j++)
                g[j] = v[j] > 0.0f ? g[j] : 0.0f;
        else if (a.act == DDP_ACT_GELU)
            for (int j = 0; j < 8; j++)
                g[j] *= gelu_slope(v[j]);
        else if (a.act == DDP_ACT_SILU)
            for (int j = 0; j < 8; j++)
                g[j] *= silu_slope(v[j]);
        else if (a.act == DDP_ACT_TANH)
            for (int j = 0; j < 8; j++)
                g[j] *= fmaf(-v[j], v[j], 1.0f);
        else if (a.act == DDP_ACT_SIGMOID)
            for (int j = 0; j < 8; j++)
                g[j] *= v[j] * (1.0f - v[j]);
        else
            for (int j = 0; j < 8; j++)
                g[j] = v[j] > 0.0f ? g[j] : a.slope * g[j];
        ddp_put8(din + i * 8, g, a.accumulate);
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
    const T *x = (const T *)a.a, *y = (const T *)a.b;
    T *out = (T *)a.out;
    for (int64_t i = ddp_item_first(); i < a.count / 8; i += ddp_item_step()) {
        float v[8], w[8];
        ddp_load8(x + i * 8, v);
        ddp_load8(y + i * 8, w);
        for (int j = 0; j < 8; j++) {
            v[j] += w[j];
            if (a.relu)
                v[j] = ddp_relu(v[j]);
        }
        ddp_store8(out + i * 8, v);
    }
}

template <class T> DDP_KERNEL add_backward(struct ddp_gpu_add_args a)
{
    const T *dout = (const T *)a.a, *out = (const T *)a.b;
    T *din = (T *)a.out;
    for (int64_t i = ddp_item_first(); i < a.count / 8; i += ddp_item_step()) {
        float g[8], y[8];
        ddp_load8(dout + i * 8, g);
        if (out) {
            ddp_load8(out + i * 8, y);
            for (int j = 0; j < 8; j++)
                g[j] = y[j] > 0.0f ? g[j] : 0.0f;
        }
        ddp_put8(din + i * 8, g, a.accumulate);
    }
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

/* y = max(0, y + bias + other) */
template <class T> DDP_KERNEL bias_forward(struct ddp_gpu_bias_args a, struct ddp_columns k)
{
    const struct ddp_column at = ddp_column_of(&k);
    const T *other = (const T *)a.other;
    T *y = (T *)a.y;
    if (!at.on)
        return;
    float bias[8] = {0};
    if (a.bias)
        ddp_load8(a.bias + at.channel, bias);
    for (int64_t p = at.chunk * k.rows + at.row; p < a.pixels; p += k.chunks * k.rows) {
        const int64_t i = p * a.c + at.channel;
        float v[8], w[8] = {0};
        ddp_load8(y + i, v);
        if (other)
            ddp_load8(other + i, w);
        for (int j = 0; j < 8; j++) {
            v[j] += bias[j];
            if (other)
                v[j] += w[j];
            if (a.relu)
                v[j] = ddp_relu(v[j]);
        }
        ddp_store8(y + i, v);
    }
}

/* dz of a chunk, and its sums to partial[chunk][c]. */
template <class T> DDP_KERNEL bias_backward(struct ddp_gpu_bias_grad_args a, struct ddp_columns k)
{
    DDP_SHARED(float, shared, 8 * DDP_COLUMN_THREADS);
    const struct ddp_column at = ddp_column_of(&k);
    const T *out = (const T *)a.out;
    T *dout = (T *)a.dout, *dother = (T *)a.dother;
    const int64_t first = at.chunk * DDP_GPU_SUM_ROWS;
    const int64_t end = first + DDP_GPU_SUM_ROWS < a.pixels ? first + DDP_GPU_SUM_ROWS : a.pixels;
    float sum[1][8] = {{0}};
    if (at.on)
#pragma unroll 4
        for (int64_t p = first + at.row; p < end; p += k.rows) {
            const int64_t i = p * a.c + at.channel;
            float g[8], y[8];
            ddp_load8(dout + i, g);
            if (a.relu) {
                ddp_load8(out + i, y);
                for (int j = 0; j < 8; j++)
                    g[j] = y[j] > 0.0f ? g[j] : 0.0f;
                ddp_store8(dout + i, g);
            }
            if (dother)
                ddp_put8(dother + i, g, a.accumulate);
            for (int j = 0; j < 8; j++)
                sum[0][j] += g[j];
        }
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
