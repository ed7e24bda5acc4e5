/* What forward and backward of group norm and layer norm on the device share: equations in
 * ops/norm/group_norm.c. x, y, dout, din are [batch][hw][c].
 *
 * Sums over a group, in the order of group_norm.c:
 * - a channel: row r of 8 takes pixels r, r + 8, .. in order, in fp32; the rows are added in a tree of halves
 *   (row i gets row i + half). Pictures of fewer than 8 pixels: one row.
 * - a group: lane j of 32 (256 where there is one row) takes channels j, j + 32, .. of the group in order, in
 *   double, then the lanes are added in a tree of halves.
 *
 * A block of 256 threads, rows x lanes, has one group of one sample and goes over its channels a lane each;
 * the second reading comes from the cache. Elementwise kernels have 8 channels a thread. */
#ifndef DDP_OPS_GROUP_NORM_CUH
#define DDP_OPS_GROUP_NORM_CUH

#include "ops/cuda/items.cuh"
#include "ops/norm/group_norm_kernels.h"

enum {
    GROUP_THREADS = 256,
    GROUP_ROWS = 8,
    ONE_BY_ONE = 8, /* loads under way where a thread takes single elements */
};

struct ddp_group_spot { /* of a thread */
    int rows, lanes, row, lane;
    int sample, group, first, channels;
};

DDP_DEVICE struct ddp_group_spot ddp_group_spot_of(const struct ddp_gpu_group_args &a)
{
    struct ddp_group_spot s;
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
DDP_DEVICE void ddp_group_rows(const struct ddp_group_spot &s, float *shared, float *v)
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
DDP_DEVICE void ddp_group_lanes(const struct ddp_group_spot &s, double *shared, double *v)
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

struct ddp_group_element {
    float xhat, inv_std, weight, bias;
    int64_t means; /* of its group */
};

DDP_DEVICE struct ddp_group_element ddp_group_element_of(const struct ddp_gpu_group_args &a, int sample,
                                                         int q, int channel, float x)
{
    struct ddp_group_element e;
    const int64_t group = (int64_t)sample * a.groups + channel / (a.real_c / a.groups);
    const float *stats = a.stats + group * 3;
    e.inv_std = stats[2];
    e.xhat = fmaf(x - stats[0], stats[2], stats[1]);
    e.weight = a.weight ? a.weight[a.elements ? (int64_t)channel * a.hw + q : channel] : 1.0f;
    e.bias = a.weight ? a.bias[a.elements ? (int64_t)channel * a.hw + q : channel] : 0.0f;
    e.means = group * 2;
    return e;
}

/* Of padding samples. */
template <class T> DDP_DEVICE void ddp_group_zero_padding(const struct ddp_gpu_group_args &a, T *p)
{
    const int64_t each = (int64_t)a.hw * (a.c / 8), end = a.batch * each;
    const float zero[8] = {0.0f};
    for (int64_t i = *a.n * each + ddp_item_first(); i < end; i += ddp_item_step())
        ddp_store8(p + i * 8, zero);
}

static inline int64_t ddp_group_items(const struct ddp_gpu_group_args *a)
{
    return (int64_t)a->batch * a->hw * (a->c / 8);
}

/* group_norm_grad.cu */
extern "C" void ddp_cuda_group_grad_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a);
extern "C" void ddp_cuda_group_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_group_args *a);

#endif
