/* Batch norm, backward: equations in ops/norm/batch_norm.c; sums of dz and dz xhat as in norm.cu.
 *
 * dz is dout, in two parts where there are two gradients (their sum rounded as if it had been stored), masked
 * by a ReLU. Where nothing was added behind the norm both kernels make the mask again from x, which they read
 * anyway: neither y is read nor dz written. Else the first leaves dz over dout.
 *
 * Bytes an element, b = bytes of the type: sums 2b; with dz left 4b (y or the second part is read), with both
 * 5b, dother b or 2b more where it lies elsewhere; grad 3b, accumulating 4b. FLOPs: 5, 5; the mask 3 more.
 * The second kernel of the sums reads 8 bytes a channel and chunk. */
#include "ops/norm/norm.cuh"

enum mask { MASK_NONE, MASK_OUT, MASK_INPUT };

/* Whether the first kernel leaves dz over dout. */
DDP_DEVICE bool leaves_dz(const struct ddp_gpu_norm_grad_args &a)
{
    return a.more || (a.relu && a.y);
}

/* ---- sums ---- */

/* The 8 channels of a thread in a chunk. */
struct patch {
    const void *x, *y, *more;
    void *dout, *dother; /* dother: NULL, or elsewhere than dout */
    bool accumulate;
    int row, rows, count, c;
};

template <class T>
DDP_DEVICE struct patch patch_of(const struct ddp_gpu_norm_grad_args &a, const struct ddp_columns &k,
                                 const struct ddp_column &at)
{
    const int64_t i = at.chunk * DDP_GPU_SUM_ROWS * a.c + at.channel;
    struct patch p;
    p.x = (const T *)a.x + i;
    p.y = a.y ? (const T *)a.y + i : NULL;
    p.more = a.more ? (const T *)a.more + i : NULL;
    p.dout = (T *)a.dout + i;
    p.dother = a.dother && a.dother != a.dout ? (T *)a.dother + i : NULL;
    p.accumulate = a.accumulate_other;
    p.row = at.row;
    p.rows = k.rows;
    p.count = ddp_norm_pixels(at.chunk, (int64_t)*a.n * a.hw);
    p.c = a.c;
    return p;
}

template <class T, int MASK, bool MORE>
DDP_DEVICE void sum_patch(const struct patch &p, const struct ddp_norm_line &line, const float *inv_std,
                          float (*sum)[8])
{
    const int N = ddp_ahead<T>(2 + (MASK == MASK_OUT) + MORE);
    const T *x = (const T *)p.x, *y = (const T *)p.y, *more = (const T *)p.more;
    T *dout = (T *)p.dout, *dother = (T *)p.dother;
    float g[N][8], v[N][8], w[N][8], h[N][8];
    ddp_walk<N>(
        p.row * p.c, p.count * p.c, p.rows * p.c,
        [&](int q, int i) {
            ddp_load8(dout + i, g[q]);
            ddp_load8(x + i, v[q]);
            if (MASK == MASK_OUT)
                ddp_load8(y + i, w[q]);
            if (MORE)
                ddp_load8(more + i, h[q]);
        },
        [&](int q, int i) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                if (MORE)
                    g[q][j] = ddp_float(ddp_from_float<T>(g[q][j] + h[q][j]));
                if (MASK == MASK_OUT)
                    g[q][j] = w[q][j] > 0.0f ? g[q][j] : 0.0f;
                if (MASK == MASK_INPUT)
                    g[q][j] = ddp_stays_positive<T>(ddp_norm_value(line, j, v[q][j])) ? g[q][j] : 0.0f;
                sum[0][j] += g[q][j];
                sum[1][j] = fmaf(g[q][j], (v[q][j] - line.mean[j]) * inv_std[j], sum[1][j]);
            }
            if (MASK == MASK_OUT || MORE)
                ddp_store8(dout + i, g[q]);
            if (dother)
                ddp_put8(dother + i, g[q], p.accumulate);
        });
}

/* Of padding samples dz is 0. */
template <class T>
DDP_DEVICE void zero_patch(const struct ddp_gpu_norm_grad_args &a, const struct patch &p, int all)
{
    const float zero[8] = {0};
    for (int row = p.row; p.count < all && row < all; row += p.rows) {
        if (row < p.count)
            continue;
        if (leaves_dz(a))
            ddp_store8((T *)p.dout + (int64_t)row * p.c, zero);
        if (p.dother && !p.accumulate)
            ddp_store8((T *)p.dother + (int64_t)row * p.c, zero);
    }
}

/* dz, dother (+)= dz; partial: sums of dz, of dz xhat, [chunks][c] each. */
template <class T>
DDP_KERNEL_OF(DDP_COLUMN_THREADS, 2)
norm_grad_stats(struct ddp_gpu_norm_grad_args a, struct ddp_columns k)
{
    DDP_SHARED(float, shared, 2 * 8 * DDP_COLUMN_THREADS);
    const struct ddp_column at = ddp_column_of(&k);
    float sum[2][8] = {{0}};
    if (at.on) {
        const struct patch p = patch_of<T>(a, k, at);
        struct ddp_norm_line line;
        float inv_std[8];
        ddp_load8(a.mean + at.channel, line.mean);
        ddp_load8(a.inv_std + at.channel, inv_std);
        ddp_load8(a.inv_std + at.channel, line.scale);
        ddp_norm_line_end(&line, a.weight, a.bias, at.channel);
        if (!a.relu && !a.more)
            sum_patch<T, MASK_NONE, false>(p, line, inv_std, sum);
        else if (!a.relu)
            sum_patch<T, MASK_NONE, true>(p, line, inv_std, sum);
        else if (a.y && !a.more)
            sum_patch<T, MASK_OUT, false>(p, line, inv_std, sum);
        else if (a.y)
            sum_patch<T, MASK_OUT, true>(p, line, inv_std, sum);
        else if (a.more)
            sum_patch<T, MASK_INPUT, true>(p, line, inv_std, sum);
        else
            sum_patch<T, MASK_INPUT, false>(p, line, inv_std, sum);
        zero_patch<T>(a, p, ddp_norm_pixels(at.chunk, (int64_t)a.batch * a.hw));
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

/* ---- din (+)= weight inv_std (dz - mean(dz) - xhat mean(dz xhat)) ---- */

/* din = scale dz - even - slope (x - mean) */
struct slopes {
    float even[8], slope[8];
};

DDP_DEVICE struct slopes slopes_of(const struct ddp_gpu_norm_grad_args &a, int channel, const float *scale)
{
    const int64_t total = a.sync ? a.step->count * a.hw : (int64_t)*a.n * a.hw;
    const float part = total > 0 ? 1.0f / (float)total : 0.0f;
    struct slopes s;
    float inv_std[8];
    ddp_load8(a.inv_std + channel, inv_std);
    if (!a.sync) {
        ddp_load8(a.dbias + channel, s.even);
        ddp_load8(a.dweight + channel, s.slope);
    }
    for (int j = 0; j < 8; j++) {
        if (a.sync) {
            s.even[j] = (float)a.sync[channel + j];
            s.slope[j] = (float)a.sync[a.c + channel + j];
        }
        s.even[j] *= part * scale[j];
        s.slope[j] *= part * scale[j] * inv_std[j];
    }
    return s;
}

template <class T, bool MASKED>
DDP_DEVICE void grad_rows(const struct ddp_gpu_norm_grad_args &a, const struct ddp_norm_line &line,
                          int channel, int64_t first, int64_t end, int64_t step)
{
    const int N = ddp_ahead<T>(2);
    const struct slopes s = slopes_of(a, channel, line.scale);
    const T *x = (const T *)a.x + channel, *dz = (const T *)a.dout + channel;
    T *din = (T *)a.din + channel;
    float v[N][8], g[N][8];
    ddp_walk<N>(
        first * a.c, end * a.c, step * a.c,
        [&](int q, int64_t i) {
            ddp_load8(x + i, v[q]);
            ddp_load8(dz + i, g[q]);
        },
        [&](int q, int64_t i) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                if (MASKED && !ddp_stays_positive<T>(ddp_norm_value(line, j, v[q][j])))
                    g[q][j] = 0.0f;
                v[q][j] = fmaf(line.scale[j], g[q][j], fmaf(line.mean[j] - v[q][j], s.slope[j], -s.even[j]));
            }
            ddp_put8(din + i, v[q], a.accumulate);
        });
}

template <class T>
DDP_KERNEL_OF(DDP_COLUMN_THREADS, 2)
norm_grad(struct ddp_gpu_norm_grad_args a, struct ddp_columns k)
{
    const struct ddp_column at = ddp_column_of(&k);
    const int64_t pixels = (int64_t)a.batch * a.hw, real = (int64_t)*a.n * a.hw;
    const int64_t first = at.chunk * k.rows + at.row, step = k.chunks * k.rows;
    if (!at.on)
        return;
    struct ddp_norm_line line;
    ddp_load8(a.mean + at.channel, line.mean);
    ddp_load8(a.inv_std + at.channel, line.scale);
    ddp_norm_line_end(&line, a.weight, a.bias, at.channel);
    if (a.relu && !leaves_dz(a))
        grad_rows<T, true>(a, line, at.channel, first, real, step);
    else
        grad_rows<T, false>(a, line, at.channel, first, real, step);
    const float zero[8] = {0};
    for (int64_t p = first; real < pixels && !a.accumulate && p < pixels; p += step)
        if (p >= real)
            ddp_store8((T *)a.din + p * a.c + at.channel, zero);
}

/* ---- launches ---- */

extern "C" void ddp_cuda_norm_grad_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a)
{
    const struct ddp_columns k = ddp_columns_sum(ddp_sum_chunks((int64_t)a->batch * a->hw), a->c);
    DDP_LAUNCH_TYPED(s, a->type, norm_grad_stats, ddp_columns_blocks(&k), DDP_COLUMN_THREADS, *a, k);
    DDP_LAUNCH(s, norm_grad_stats_end, k.vectors, ddp_group_threads(k.chunks), *a, k.chunks);
}

extern "C" void ddp_cuda_norm_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a)
{
    const struct ddp_columns k = ddp_columns_walk((int64_t)a->batch * a->hw, a->c);
    DDP_LAUNCH_TYPED(s, a->type, norm_grad, ddp_columns_blocks(&k), DDP_COLUMN_THREADS, *a, k);
}
