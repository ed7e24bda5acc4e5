/* Group norm and layer norm, forward; order of sums in group_norm.cuh. Bytes an element, b = bytes of the
 * type: stats 2b (b from the cache), forward 2b. FLOPs: 6, 4. */
#include "ops/norm/group_norm.cuh"

/* Sums of x - centre and (x - centre)^2 over the group, for every thread. */
template <class T>
DDP_DEVICE void group_sums(const struct ddp_gpu_group_args &a, const struct ddp_group_spot &s, float centre,
                           float *shared, double *lanes, double *sum)
{
    const T *x = (const T *)a.x + (int64_t)s.sample * a.hw * a.c;
    sum[0] = sum[1] = 0.0;
    for (int first = 0; first < s.channels; first += s.lanes) {
        const bool on = first + s.lane < s.channels;
        const int channel = s.first + first + s.lane;
        float v[2] = {0.0f, 0.0f}, w[ONE_BY_ONE];
        if (on)
            ddp_walk<ONE_BY_ONE>(
                s.row, a.hw, s.rows, [&](int k, int q) { w[k] = ddp_float(x[(int64_t)q * a.c + channel]); },
                [&](int k, int) {
                    const float d = w[k] - centre;
                    v[0] += d;
                    v[1] = fmaf(d, d, v[1]);
                });
        ddp_group_rows(s, shared, v);
        if (on) {
            sum[0] += (double)v[0];
            sum[1] += (double)v[1];
        }
    }
    ddp_group_lanes(s, lanes, sum);
}

template <class T>
DDP_DEVICE void stats_of_group(const struct ddp_gpu_group_args &a, const struct ddp_group_spot &s,
                               float *shared, double *lanes)
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
    const struct ddp_group_spot s = ddp_group_spot_of(a);
    if (s.sample < *a.n) /* the whole block, or none of it */
        stats_of_group<T>(a, s, shared, lanes);
}

/* y = weight * xhat + bias */
template <class T> DDP_KERNEL group_forward(const struct ddp_gpu_group_args a)
{
    const int N = ddp_ahead<T>(1), vectors = a.c / 8;
    float v[N][8];
    ddp_walk<N>(
        ddp_item_first(), (int64_t)*a.n * a.hw * vectors, ddp_item_step(),
        [&](int k, int64_t i) { ddp_load8((const T *)a.x + i * 8, v[k]); },
        [&](int k, int64_t i) {
            const struct ddp_spot at = ddp_spot_of(i, 1, a.hw, vectors);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const int channel = at.vector * 8 + j;
                if (channel < a.real_c) {
                    const struct ddp_group_element e = ddp_group_element_of(a, at.n, at.x, channel, v[k][j]);
                    v[k][j] = a.weight ? fmaf(e.xhat, e.weight, e.bias) : e.xhat;
                } else {
                    v[k][j] = 0.0f;
                }
            }
            ddp_store8((T *)a.y + i * 8, v[k]);
        });
    ddp_group_zero_padding(a, (T *)a.y);
}

/* ---- launches ---- */

static void launch_group_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, group_stats, (int64_t)a->batch * a->groups, GROUP_THREADS, *a);
}

static void launch_group_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, group_forward, ddp_item_blocks(ddp_group_items(a)), DDP_ITEM_THREADS, *a);
}

const struct ddp_group_norm_device_kernels ddp_cuda_group_norm_kernels = {
    .group_stats = launch_group_stats,
    .group_forward = launch_group_forward,
    .group_grad_stats = ddp_cuda_group_grad_stats,
    .group_grad = ddp_cuda_group_grad,
};
