/* Batch norm: equations in ops/norm/batch_norm.c, x [batch * hw][c], statistics of each channel over the real
 * pixels.
 *
 * Statistics in one pass over x: each chunk of 512 pixels sums x - s and (x - s)^2 about a pilot s of its
 * own, the mean of four pixels spread over the chunk, so that a large mean costs no digits; order of the sums
 * in columns.cuh. The second kernel moves the chunks to the pilot of the first one and adds them in doubles;
 * with o = s - s0, for a chunk of m pixels whose sums are D and Q:
 *
 *   sum(x - s0)     = D + m o
 *   sum((x - s0)^2) = Q + 2 o D + m o^2
 *
 * Backward sums dz and dz xhat in the same way.
 *
 * Bytes an element, b = bytes of the type: stats b, forward 2b (3b with a residual), grad_stats 2b, with relu
 * 4b (y is read, dz written over dout), dother b or 2b more; grad 3b, accumulating 4b. FLOPs: 3, 3, 5, 5. The
 * second kernels read 12 (8) bytes a channel and chunk. A block holds its coefficients in registers; loads of
 * 16 bytes, 4 rows of sums under way in a thread. */
#include "ops/cuda/columns.cuh"
#include "ops/norm/norm_kernels.h"

/* Real pixels of a chunk. */
DDP_DEVICE int chunk_pixels(int64_t chunk, int64_t real)
{
    const int64_t left = real - chunk * DDP_GPU_SUM_ROWS;
    return left <= 0 ? 0 : left < DDP_GPU_SUM_ROWS ? (int)left : (int)DDP_GPU_SUM_ROWS;
}

DDP_DEVICE void load_or(const float *p, int channel, float otherwise, float v[8])
{
    if (p)
        ddp_load8(p + channel, v);
    else
        for (int i = 0; i < 8; i++)
            v[i] = otherwise;
}

/* ---- forward: statistics ---- */

/* partial: pilots, sums, squares, [chunks][c] each. */
template <class T> DDP_KERNEL norm_stats(struct ddp_gpu_norm_args a, struct ddp_columns k)
{
    DDP_SHARED(float, shared, 2 * 8 * DDP_COLUMN_THREADS);
    const struct ddp_column at = ddp_column_of(&k);
    const int count = chunk_pixels(at.chunk, (int64_t)*a.n * a.hw);
    const T *x = (const T *)a.x + at.chunk * DDP_GPU_SUM_ROWS * a.c + at.channel;
    float pilot[8] = {0}, sum[2][8] = {{0}};
    if (at.on && count > 0) {
        for (int i = 1; i < 8; i += 2) {
            float v[8];
            ddp_load8(x + (int64_t)(count * i / 8) * a.c, v);
            for (int j = 0; j < 8; j++)
                pilot[j] = fmaf(v[j], 0.25f, pilot[j]);
        }
#pragma unroll 4
        for (int p = at.row; p < count; p += k.rows) {
            float v[8];
            ddp_load8(x + (int64_t)p * a.c, v);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const float d = v[j] - pilot[j];
                sum[0][j] += d;
                sum[1][j] = fmaf(d, d, sum[1][j]);
            }
        }
    }
    ddp_column_tree<2>(&k, at.row, shared, sum);
    if (at.on && at.row == 0) {
        float *to = a.partial + at.chunk * a.c + at.channel;
        ddp_store8(to, pilot);
        ddp_store8(to + k.chunks * a.c, sum[0]);
        ddp_store8(to + 2 * k.chunks * a.c, sum[1]);
    }
}

/* What forward and backward keep, and the leaves of the running statistics: total elements in the statistics,
 * own in this shard. */
DDP_DEVICE void set_moments(const struct ddp_gpu_norm_args *a, int channel, double mean, double var,
                            int64_t total, int64_t own)
{
    a->mean[channel] = total > 0 ? (float)mean : 0.0f;
    a->inv_std[channel] = total > 0 ? (float)(1.0 / sqrt(var + (double)a->eps)) : 0.0f;
    if (a->leaf_mean)
        a->leaf_mean[channel] = own > 0 ? (float)((double)own * mean) : 0.0f;
    if (a->leaf_var)
        a->leaf_var[channel] =
            total > 1 ? (float)((double)own * var * ((double)total / (double)(total - 1))) : 0.0f;
}

DDP_KERNEL norm_stats_end(struct ddp_gpu_norm_args a, int64_t chunks)
{
    DDP_SHARED(double, shared, 2 * DDP_GROUP_THREADS);
    const int channel = ddp_group_channel();
    const int64_t real = (int64_t)*a.n * a.hw;
    const float *pilots = a.partial + channel, *sums = pilots + chunks * a.c, *squares = sums + chunks * a.c;
    double v[2] = {0, 0};
    for (int64_t i = ddp_group(); i < chunks; i += ddp_groups()) {
        const double m = chunk_pixels(i, real), d = sums[i * a.c];
        const double o = (double)pilots[i * a.c] - (double)pilots[0];
        if (m > 0) {
            v[0] += d + m * o;
            v[1] += (double)squares[i * a.c] + o * (2 * d + m * o);
        }
    }
    ddp_group_tree<2>(shared, v);
    if (ddp_group() > 0)
        return;
    const double count = (double)real, off = real > 0 ? v[0] / count : 0, rest = v[1] - v[0] * off;
    const double mean = (real > 0 ? (double)pilots[0] : 0) + off, m2 = rest < 0 ? 0 : rest; /* NaN stays */
    if (a.sync) {
        const double shift = mean - (double)a.running_mean[channel];
        a.sync[channel] = count * shift;
        a.sync[a.c + channel] = m2 + count * (shift * shift);
    } else {
        set_moments(&a, channel, mean, real > 0 ? m2 / count : 0, real, real);
    }
}

DDP_KERNEL norm_sync_apply(struct ddp_gpu_norm_args a)
{
    const int channel = (int)ddp_item_first();
    if (channel >= a.c)
        return;
    const int64_t total = a.step->count * a.hw, own = (int64_t)*a.n * a.hw;
    const double count = total > 0 ? (double)total : 1, off = a.sync[channel] / count;
    const double square = a.sync[a.c + channel] / count - off * off;
    set_moments(&a, channel, (double)a.running_mean[channel] + off, square < 0 ? 0 : square, total, own);
}

/* ---- forward: y = max(0, weight * xhat + bias + other) ---- */

template <class T> DDP_KERNEL norm_apply(struct ddp_gpu_norm_args a, struct ddp_columns k, bool eval)
{
    const struct ddp_column at = ddp_column_of(&k);
    const int64_t pixels = (int64_t)a.batch * a.hw, real = eval ? pixels : (int64_t)*a.n * a.hw;
    const T *x = (const T *)a.x, *other = (const T *)a.other;
    T *y = (T *)a.y;
    if (!at.on)
        return;
    float mean[8], scale[8], shift[8], weight[8];
    if (eval) {
        ddp_load8(a.running_mean + at.channel, mean);
        ddp_load8(a.running_var + at.channel, scale);
        for (int j = 0; j < 8; j++)
            scale[j] = 1.0f / sqrtf(scale[j] + a.eps);
    } else {
        ddp_load8(a.mean + at.channel, mean);
        ddp_load8(a.inv_std + at.channel, scale);
    }
    load_or(a.weight, at.channel, 1.0f, weight);
    load_or(a.bias, at.channel, 0.0f, shift);
    for (int j = 0; j < 8; j++)
        scale[j] *= weight[j];
    for (int64_t p = at.chunk * k.rows + at.row; p < pixels; p += k.chunks * k.rows) {
        const int64_t i = p * a.c + at.channel;
        float v[8] = {0}, w[8];
        if (p < real) {
            ddp_load8(x + i, v);
            if (other)
                ddp_load8(other + i, w);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                v[j] = fmaf(v[j] - mean[j], scale[j], shift[j]);
                if (other)
                    v[j] += w[j];
                if (a.relu)
                    v[j] = ddp_relu(v[j]);
            }
        }
        ddp_store8(y + i, v);
    }
}

/* ---- backward ---- */

/* dz = dout where y > 0, over dout; dother (+)= dz; partial: sums of dz, of dz xhat, [chunks][c] each.
 * Padding samples: dz = 0. */
template <class T> DDP_KERNEL norm_grad_stats(struct ddp_gpu_norm_grad_args a, struct ddp_columns k)
{
    DDP_SHARED(float, shared, 2 * 8 * DDP_COLUMN_THREADS);
    const struct ddp_column at = ddp_column_of(&k);
    const int64_t first = at.chunk * DDP_GPU_SUM_ROWS;
    const int count = chunk_pixels(at.chunk, (int64_t)*a.n * a.hw),
              all = chunk_pixels(at.chunk, (int64_t)a.batch * a.hw);
    const T *x = (const T *)a.x, *y = (const T *)a.y;
    T *dout = (T *)a.dout, *dother = (T *)a.dother;
    float sum[2][8] = {{0}};
    if (at.on) {
        float mean[8], inv_std[8];
        ddp_load8(a.mean + at.channel, mean);
        ddp_load8(a.inv_std + at.channel, inv_std);
#pragma unroll 2
        for (int p = at.row; p < count; p += k.rows) {
            const int64_t i = (first + p) * a.c + at.channel;
            float g[8], v[8], w[8];
            ddp_load8(dout + i, g);
            ddp_load8(x + i, v);
            if (a.relu) {
                ddp_load8(y + i, w);
#pragma unroll
                for (int j = 0; j < 8; j++)
                    g[j] = w[j] > 0.0f ? g[j] : 0.0f;
                ddp_store8(dout + i, g);
            }
            if (dother)
                ddp_put8(dother + i, g, a.accumulate_other);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                sum[0][j] += g[j];
                sum[1][j] = fmaf(g[j], (v[j] - mean[j]) * inv_std[j], sum[1][j]);
            }
        }
        const float zero[8] = {0};
        for (int p = at.row; count < all && p < all; p += k.rows) {
            const int64_t i = (first + p) * a.c + at.channel;
            if (p < count)
                continue;
            ddp_store8(dout + i, zero);
            if (dother && !a.accumulate_other)
                ddp_store8(dother + i, zero);
        }
    }
    ddp_column_tree<2>(&k, at.row, shared, sum);
    if (at.on && at.row == 0) {
        float *to = a.partial + at.chunk * a.c + at.channel;
        ddp_store8(to, sum[0]);
        ddp_store8(to + k.chunks * a.c, sum[1]);
    }
}

DDP_KERNEL norm_grad_stats_end(struct ddp_gpu_norm_grad_args a, int64_t chunks)
{
    DDP_SHARED(double, shared, 2 * DDP_GROUP_THREADS);
    const int channel = ddp_group_channel();
    double v[2] = {0, 0};
    for (int64_t i = ddp_group(); i < chunks; i += ddp_groups()) {
        v[0] += (double)a.partial[i * a.c + channel];
        v[1] += (double)a.partial[(chunks + i) * a.c + channel];
    }
    ddp_group_tree<2>(shared, v);
    if (ddp_group() == 0) {
        a.dbias[channel] = (float)v[0];
        a.dweight[channel] = (float)v[1];
        if (a.sync) {
            a.sync[channel] = v[0];
            a.sync[a.c + channel] = v[1];
        }
    }
}

/* din (+)= weight inv_std (dz - mean(dz) - xhat mean(dz xhat)) */
template <class T> DDP_KERNEL norm_grad(struct ddp_gpu_norm_grad_args a, struct ddp_columns k)
{
    const struct ddp_column at = ddp_column_of(&k);
    const int64_t pixels = (int64_t)a.batch * a.hw, real = (int64_t)*a.n * a.hw;
    const int64_t total = a.sync ? a.step->count * a.hw : real;
    const T *x = (const T *)a.x, *dz = (const T *)a.dout;
    T *din = (T *)a.din;
    if (!at.on)
        return;
    const float part = total > 0 ? 1.0f / (float)total : 0.0f;
    float mean[8], inv_std[8], scale[8], even[8], slope[8]; /* din = scale dz - even - slope (x - mean) */
    ddp_load8(a.mean + at.channel, mean);
    ddp_load8(a.inv_std + at.channel, inv_std);
    load_or(a.weight, at.channel, 1.0f, scale);
    if (!a.sync) {
        ddp_load8(a.dbias + at.channel, even);
        ddp_load8(a.dweight + at.channel, slope);
    }
    for (int j = 0; j < 8; j++) {
        if (a.sync) {
            even[j] = (float)a.sync[at.channel + j];
            slope[j] = (float)a.sync[a.c + at.channel + j];
        }
        scale[j] *= inv_std[j];
        even[j] *= part * scale[j];
        slope[j] *= part * scale[j] * inv_std[j];
    }
    for (int64_t p = at.chunk * k.rows + at.row; p < pixels; p += k.chunks * k.rows) {
        const int64_t i = p * a.c + at.channel;
        float v[8] = {0}, g[8];
        if (p < real) {
            ddp_load8(x + i, v);
            ddp_load8(dz + i, g);
#pragma unroll
            for (int j = 0; j < 8; j++)
                v[j] = fmaf(scale[j], g[j], fmaf(mean[j] - v[j], slope[j], -even[j]));
        }
        ddp_put8(din + i, v, a.accumulate);
    }
}

/* ---- launches ---- */

static void launch_norm_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a)
{
    const struct ddp_columns k = ddp_columns_sum(ddp_sum_chunks((int64_t)a->batch * a->hw), a->c);
    DDP_LAUNCH_TYPED(s, a->type, norm_stats, ddp_columns_blocks(&k), DDP_COLUMN_THREADS, *a, k);
    DDP_LAUNCH(s, norm_stats_end, k.vectors, ddp_group_threads(k.chunks), *a, k.chunks);
}

static void launch_norm_sync_apply(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a)
{
    DDP_LAUNCH(s, norm_sync_apply, ddp_item_blocks(a->c), DDP_ITEM_THREADS, *a);
}

static void launch_apply(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a, bool eval)
{
    const struct ddp_columns k = ddp_columns_walk((int64_t)a->batch * a->hw, a->c);
    DDP_LAUNCH_TYPED(s, a->type, norm_apply, ddp_columns_blocks(&k), DDP_COLUMN_THREADS, *a, k, eval);
}
static void launch_norm_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a)
{
    launch_apply(s, a, false);
}
static void launch_norm_eval(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a)
{
    launch_apply(s, a, true);
}

static void launch_norm_grad_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a)
{
    const struct ddp_columns k = ddp_columns_sum(ddp_sum_chunks((int64_t)a->batch * a->hw), a->c);
    DDP_LAUNCH_TYPED(s, a->type, norm_grad_stats, ddp_columns_blocks(&k), DDP_COLUMN_THREADS, *a, k);
    DDP_LAUNCH(s, norm_grad_stats_end, k.vectors, ddp_group_threads(k.chunks), *a, k.chunks);
}

static void launch_norm_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a)
{
    const struct ddp_columns k = ddp_columns_walk((int64_t)a->batch * a->hw, a->c);
    DDP_LAUNCH_TYPED(s, a->type, norm_grad, ddp_columns_blocks(&k), DDP_COLUMN_THREADS, *a, k);
}

const struct ddp_norm_device_kernels ddp_cuda_norm_kernels = {
    .norm_stats = launch_norm_stats,
    .norm_sync_apply = launch_norm_sync_apply,
    .norm_forward = launch_norm_forward,
    .norm_eval = launch_norm_eval,
    .norm_grad_stats = launch_norm_grad_stats,
    .norm_grad = launch_norm_grad,
};
