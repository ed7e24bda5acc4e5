/* Running statistics of batch norm and the step's metrics, from the tree sums of the shards' leaves. Sibling:
 * model/stats.c, the same bits.
 *
 *   running = (1 - momentum) * running + momentum * sum / count
 *
 * sum is that of count_s * value_s with count_s = samples * H*W; count is the sum of the count_s that went
 * in: all for means; for unbiased variances those of at least 2, where the layer is synchronised all of a
 * global batch of at least 2. Nothing went in: nothing changes. There is
 * little of it: a thread takes single elements, 4 n + 8 bytes each. */
#include "model/stats_kernels.h"
#include "reduce/nodes.cuh"

/* The statistic of a block: the last that begins at or before it. */
DDP_DEVICE int find_stat(const struct ddp_gpu_stats_args &a, int64_t block)
{
    int lo = 0, hi = a.nstats;
    while (lo < hi) {
        const int mid = (lo + hi) / 2;
        if (a.stat[mid].lo <= block)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - 1;
}

/* Elements per channel that went in, in room[0]; every thread must call it. room: one a thread. */
DDP_DEVICE void count_elements(const struct ddp_gpu_stats_args &a, const struct ddp_gpu_stat &stat,
                               int64_t *room)
{
    const int64_t count = a.step->count, least = stat.var ? 2 : 1;
    int64_t sum = 0;
    for (int s = ddp_thread(); s < a.shards; s += DDP_FLAT_THREADS) {
        const int64_t n = (count * (s + 1) / a.shards - count * s / a.shards) * stat.pixels;
        sum += (stat.synced ? count * stat.pixels : n) >= least ? n : 0;
    }
    room[ddp_thread()] = sum;
    for (int half = DDP_FLAT_THREADS / 2; half > 0; half /= 2) {
        DDP_SYNC();
        if (ddp_thread() < half)
            room[ddp_thread()] += room[ddp_thread() + half];
    }
    DDP_SYNC();
}

DDP_KERNEL stats_block(const struct ddp_gpu_stats_args a)
{
    DDP_SHARED(int64_t, room, DDP_FLAT_THREADS);
    const int64_t block = a.lo + (int64_t)ddp_block() * DDP_BLOCK;
    const int which = find_stat(a, block);
    if (which < 0 || (a.scale && a.scale->skip))
        return;
    const struct ddp_gpu_stat stat = a.stat[which];
    count_elements(a, stat, room);
    const int64_t n = room[0];
    if (n == 0)
        return;
    const double new_weight = stat.momentum, old_weight = 1 - new_weight;
    for (int64_t k = block + ddp_thread(); k < stat.hi && k < block + DDP_BLOCK; k += DDP_FLAT_THREADS) {
        const float sum = ddp_nodes_sum<float>(a.nodes, k - a.lo);
        if (a.refused && !(fabsf(sum) <= 3.402823466e38f)) {
            ddp_raise(a.refused, (int32_t)(block / DDP_BLOCK) + 1);
            continue;
        }
        a.params[k] = (float)(old_weight * a.params[k] + new_weight * (sum / (double)n));
    }
}

extern "C" void ddp_cuda_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_stats_args *a)
{
    DDP_LAUNCH(s, stats_block, (a->hi - a->lo) / DDP_BLOCK, DDP_FLAT_THREADS, *a);
}

/* What is updated in a step was decided before its backward: a loss that is not finite must not reach a
 * parameter, in this step or in one that the host has enqueued without knowing. 16 bytes a node. */
DDP_KERNEL guard_step(const struct ddp_gpu_guard_args a)
{
    if (ddp_thread() != 0)
        return;
    const ddp_quad sum = ddp_nodes_sum<ddp_quad>(a.nodes, 0);
    ddp_quad_store(a.metrics, sum);
    if (!(fabsf(sum.v[0]) <= 3.402823466e38f))
        a.scale->halted = 1;
    a.scale->skip = a.scale->halted;
}

extern "C" void ddp_cuda_guard(struct ddp_gpu_stream *s, const struct ddp_gpu_guard_args *a)
{
    DDP_LAUNCH(s, guard_step, 1, DDP_WARP, *a);
}

const struct ddp_stats_device_kernels ddp_cuda_stats_kernels = {
    .stats = ddp_cuda_stats,
    .guard = ddp_cuda_guard,
};
