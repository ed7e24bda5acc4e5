/* Group norm and layer norm, backward; order of sums in group_norm.cuh. Bytes an element, b = bytes of the
 * type: sums 2b (layer_norm 4b: dweight and dbias read both again), grad 3b (accumulating 4b). FLOPs: 5 (9),
 * 7. */
#include "ops/norm/group_norm.cuh"

/* ---- sums of backward ---- */

/* Of each channel over pixels, and means over the group. The weight of an element enters inside of the first
 * sums, that of a channel after them. */
template <class T>
DDP_DEVICE void grad_sums_of_group(const struct ddp_gpu_group_args &a, const struct ddp_group_spot &s,
                                   float *shared, double *lanes)
{
    const double count = (double)s.channels * a.hw;
    const int64_t base = (int64_t)s.sample * a.hw * a.c;
    const T *x = (const T *)a.x + base, *dout = (const T *)a.dout + base;
    double sum[2] = {0.0, 0.0};
    for (int first = 0; first < s.channels; first += s.lanes) {
        const bool on = first + s.lane < s.channels;
        const int channel = s.first + first + s.lane;
        float v[2] = {0.0f, 0.0f}, weight = 1.0f, w[ONE_BY_ONE], g[ONE_BY_ONE];
        if (on)
            ddp_walk<ONE_BY_ONE>(
                s.row, a.hw, s.rows,
                [&](int k, int q) {
                    w[k] = ddp_float(x[(int64_t)q * a.c + channel]);
                    g[k] = ddp_float(dout[(int64_t)q * a.c + channel]);
                },
                [&](int k, int q) {
                    const struct ddp_group_element e = ddp_group_element_of(a, s.sample, q, channel, w[k]);
                    weight = e.weight;
                    if (a.weight && a.elements)
                        g[k] *= weight;
                    v[0] += g[k];
                    v[1] = fmaf(g[k], e.xhat, v[1]);
                });
        ddp_group_rows(s, shared, v);
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
    ddp_group_lanes(s, lanes, sum);
    if (ddp_thread() == 0) {
        a.means[(int64_t)ddp_block() * 2] = (float)(sum[0] / count);
        a.means[(int64_t)ddp_block() * 2 + 1] = (float)(sum[1] / count);
    }
}

template <class T> DDP_KERNEL group_grad_sums(const struct ddp_gpu_group_args a)
{
    DDP_SHARED(float, shared, 2 * GROUP_THREADS);
    DDP_SHARED(double, lanes, 2 * GROUP_THREADS);
    const struct ddp_group_spot s = ddp_group_spot_of(a);
    if (s.sample < *a.n) /* the whole block, or none of it */
        grad_sums_of_group<T>(a, s, shared, lanes);
}

/* dweight and dbias of each channel: samples in order. */
DDP_KERNEL group_channels(const struct ddp_gpu_group_args a)
{
    const int n = *a.n;
    for (int64_t c = ddp_item_first(); c < a.real_c; c += ddp_item_step()) {
        float dweight = 0.0f, dbias = 0.0f, g[ONE_BY_ONE], h[ONE_BY_ONE];
        ddp_walk<ONE_BY_ONE>(
            0, n, 1,
            [&](int k, int i) {
                const float *sums = a.sums + (int64_t)i * 2 * a.real_c + c;
                g[k] = sums[0];
                h[k] = sums[a.real_c];
            },
            [&](int k, int) {
                dbias += g[k];
                dweight += h[k];
            });
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
        float dweight = 0.0f, dbias = 0.0f, v[ONE_BY_ONE], g[ONE_BY_ONE];
        ddp_walk<ONE_BY_ONE>(
            0, n, 1,
            [&](int k, int sample) {
                const int64_t at = ((int64_t)sample * a.hw + q) * a.c + channel;
                v[k] = ddp_float(((const T *)a.x)[at]);
                g[k] = ddp_float(((const T *)a.dout)[at]);
            },
            [&](int k, int sample) {
                const float *stats = a.stats + (int64_t)sample * 3;
                dweight = fmaf(g[k], fmaf(v[k] - stats[0], stats[2], stats[1]), dweight);
                dbias += g[k];
            });
        a.dweight[(int64_t)channel * a.hw + q] = dweight;
        a.dbias[(int64_t)channel * a.hw + q] = dbias;
    }
}

/* ---- gradient of the input ---- */

/* din (+)= (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps) */
template <class T> DDP_KERNEL group_grad(const struct ddp_gpu_group_args a)
{
    const int N = ddp_ahead<T>(3), vectors = a.c / 8; /* what a group has is read besides */
    float v[N][8], g[N][8];
    ddp_walk<N>(
        ddp_item_first(), (int64_t)*a.n * a.hw * vectors, ddp_item_step(),
        [&](int k, int64_t i) {
            ddp_load8((const T *)a.x + i * 8, v[k]);
            ddp_load8((const T *)a.dout + i * 8, g[k]);
        },
        [&](int k, int64_t i) {
            const struct ddp_spot at = ddp_spot_of(i, 1, a.hw, vectors);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const int channel = at.vector * 8 + j;
                if (channel < a.real_c) {
                    const struct ddp_group_element e = ddp_group_element_of(a, at.n, at.x, channel, v[k][j]);
                    const float gw = a.weight ? g[k][j] * e.weight : g[k][j];
                    g[k][j] = fmaf(-e.xhat, a.means[e.means + 1], gw - a.means[e.means]) * e.inv_std;
                } else {
                    g[k][j] = 0.0f;
                }
            }
            ddp_put8((T *)a.din + i * 8, g[k], a.accumulate);
        });
    if (!a.accumulate)
        ddp_group_zero_padding(a, (T *)a.din);
}

/* ---- launches ---- */

extern "C" void ddp_cuda_group_grad_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, group_grad_sums, (int64_t)a->batch * a->groups, GROUP_THREADS, *a);
    if (a->dweight && a->elements)
        DDP_LAUNCH_TYPED(s, a->type, group_elements, ddp_item_blocks((int64_t)a->hw * a->real_c),
                         DDP_ITEM_THREADS, *a);
    else if (a->dweight)
        DDP_LAUNCH(s, group_channels, ddp_item_blocks(a->real_c), DDP_ITEM_THREADS, *a);
}

extern "C" void ddp_cuda_group_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, group_grad, ddp_item_blocks(ddp_group_items(a)), DDP_ITEM_THREADS, *a);
}
