/* Batch norm, forward: equations in ops/norm/batch_norm.c, x [batch * hw][c], statistics of each channel over
 * the real pixels.
 *
 * Statistics in one pass over x: each chunk of 512 pixels sums x - s and (x - s)^2 about a pilot s of its
 * own, the mean of four pixels spread over the chunk, so that a large mean costs no digits; order of the sums
 * in columns.cuh. The second kernel moves the chunks to the pilot of the first one and adds them in doubles;
 * with o = s - s0, for a chunk of m pixels whose sums are D and Q:
 *
 *   sum(x - s0)     = D + m o
 *   sum((x - s0)^2) = Q + 2 o D + m o^2
 *
 * Bytes an element, b = bytes of the type: stats b, forward 2b (3b with a residual). FLOPs: 3, 3. The second
 * kernel reads 12 bytes a channel and chunk. A block holds its coefficients in registers; a thread has
 * ddp_ahead() vectors under way. */
#include "ops/norm/norm.cuh"

/* ---- forward: statistics ---- */

/* partial: pilots, sums, squares, [chunks][c] each. */
template <class T> DDP_KERNEL norm_stats(struct ddp_gpu_norm_args a, struct ddp_columns k)
{
    DDP_SHARED(float, shared, 2 * 8 * DDP_COLUMN_THREADS);
    const struct ddp_column at = ddp_column_of(&k);
    const int count = ddp_norm_pixels(at.chunk, (int64_t)*a.n * a.hw);
    const T *x = (const T *)a.x + at.chunk * DDP_GPU_SUM_ROWS * a.c + at.channel;
    float pilot[8] = {0}, sum[2][8] = {{0}};
    if (at.on && count > 0) {
        for (int i = 1; i < 8; i += 2) {
            float v[8];
            ddp_load8(x + (int64_t)(count * i / 8) * a.c, v);
            for (int j = 0; j < 8; j++)
                pilot[j] = fmaf(v[j], 0.25f, pilot[j]);
        }
        const int N = ddp_ahead<T>(1);
        float v[N][8];
        ddp_walk<N>(
            at.row * a.c, count * a.c, k.rows * a.c, [&](int q, int i) { ddp_load8(x + i, v[q]); },
            [&](int q, int) {
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    const float d = v[q][j] - pilot[j];
                    sum[0][j] += d;
                    sum[1][j] = fmaf(d, d, sum[1][j]);
                }
            });
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
        const double m = ddp_norm_pixels(i, real), d = sums[i * a.c];
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

template <class T, bool OTHER>
DDP_DEVICE void apply_rows(const struct ddp_gpu_norm_args &a, const struct ddp_norm_line &line, int64_t first,
                           int64_t end, int64_t step)
{
    const int N = ddp_ahead<T>(1 + OTHER);
    const T *x = (const T *)a.x, *other = (const T *)a.other;
    T *y = (T *)a.y;
    float v[N][8], w[N][8];
    ddp_walk<N>(
        first * a.c, end * a.c, step * a.c,
        [&](int q, int64_t i) {
            ddp_load8(x + i, v[q]);
            if (OTHER)
                ddp_load8(other + i, w[q]);
        },
        [&](int q, int64_t i) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                v[q][j] = ddp_norm_value(line, j, v[q][j]);
                if (OTHER)
                    v[q][j] += w[q][j];
                if (a.relu)
                    v[q][j] = ddp_relu(v[q][j]);
            }
            ddp_store8(y + i, v[q]);
        });
}

template <class T> DDP_KERNEL norm_apply(struct ddp_gpu_norm_args a, struct ddp_columns k, bool eval)
{
    const struct ddp_column at = ddp_column_of(&k);
    const int64_t pixels = (int64_t)a.batch * a.hw, real = eval ? pixels : (int64_t)*a.n * a.hw;
    const int64_t first = at.chunk * k.rows + at.row, step = k.chunks * k.rows;
    if (!at.on)
        return;
    struct ddp_norm_line line;
    if (eval) {
        ddp_load8(a.running_mean + at.channel, line.mean);
        ddp_load8(a.running_var + at.channel, line.scale);
        for (int j = 0; j < 8; j++)
            line.scale[j] = 1.0f / sqrtf(line.scale[j] + a.eps);
    } else {
        ddp_load8(a.mean + at.channel, line.mean);
        ddp_load8(a.inv_std + at.channel, line.scale);
    }
    ddp_norm_line_end(&line, a.weight, a.bias, at.channel);
    a.x = (const T *)a.x + at.channel;
    a.other = a.other ? (const T *)a.other + at.channel : NULL;
    a.y = (T *)a.y + at.channel;
    if (a.other)
        apply_rows<T, true>(a, line, first, real, step);
    else
        apply_rows<T, false>(a, line, first, real, step);
    const float zero[8] = {0};
    for (int64_t p = first; real < pixels && p < pixels; p += step)
        if (p >= real)
            ddp_store8((T *)a.y + p * a.c, zero);
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

const struct ddp_norm_device_kernels ddp_cuda_norm_kernels = {
    .norm_stats = launch_norm_stats,
    .norm_sync_apply = launch_norm_sync_apply,
    .norm_forward = launch_norm_forward,
    .norm_eval = launch_norm_eval,
    .norm_grad_stats = ddp_cuda_norm_grad_stats,
    .norm_grad = ddp_cuda_norm_grad,
};
