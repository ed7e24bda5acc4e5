/* Leaves of the flat space outside of the update: merging of leaves, small tree sums, a leaf's metrics, rows
 * of what ranks send, a step's results. All are bound by memory. */
#include "reduce/nodes.cuh"
#include "reduce/flat_kernels.h"

/* a = a + b, the lower shards' sum on the left: 12 bytes and 1 FLOP an element. a and b aligned to 16 bytes;
 * any count. */
DDP_KERNEL add_pairs(const struct ddp_gpu_range_args a)
{
    const int64_t block = (int64_t)ddp_block() * DDP_BLOCK;
    if (block + DDP_BLOCK <= a.count) {
#pragma unroll
        for (int q = 0; q < DDP_FLAT_ROUNDS; q += 2) {
            const int64_t i = block + ddp_flat_place(q);
            const ddp_pair lower = ddp_pair_load(a.a + i), upper = ddp_pair_load(a.b + i);
            ddp_loaded();
            ddp_pair_store(a.a + i, ddp_plus(lower, upper));
        }
        return;
    }
    for (int q = 0; q < DDP_FLAT_ROUNDS; q++) {
        const int64_t i = block + ddp_flat_place(q);
        if (i + 4 <= a.count) {
            ddp_quad_store(a.a + i, ddp_plus(ddp_quad_load(a.a + i), ddp_quad_load(a.b + i)));
        } else {
            for (int64_t k = i; k < a.count; k++)
                a.a[k] += a.b[k];
        }
    }
}

extern "C" void ddp_cuda_add_range(struct ddp_gpu_stream *s, const struct ddp_gpu_range_args *a)
{
    DDP_LAUNCH(s, add_pairs, (a->count + DDP_BLOCK - 1) / DDP_BLOCK, DDP_FLAT_THREADS, *a);
}

/* out[i] = tree sum of node[.][i]: 4 (n + 1) bytes and n - 1 FLOPs an element. All aligned to 16 bytes; any
 * count. */
DDP_KERNEL sum_elements(const struct ddp_gpu_sum_args a)
{
    const int64_t block = (int64_t)ddp_block() * DDP_BLOCK;
    if (block + DDP_BLOCK <= a.count) {
#pragma unroll
        for (int q = 0; q < DDP_FLAT_ROUNDS; q += 2) {
            const int64_t i = block + ddp_flat_place(q);
            ddp_pair_store(a.out + i, ddp_nodes_sum<ddp_pair>(a.nodes, i));
        }
        return;
    }
    for (int q = 0; q < DDP_FLAT_ROUNDS; q++) {
        const int64_t i = block + ddp_flat_place(q);
        if (i + 4 <= a.count) {
            ddp_quad_store(a.out + i, ddp_nodes_sum<ddp_quad>(a.nodes, i));
        } else {
            for (int64_t k = i; k < a.count; k++)
                a.out[k] = ddp_nodes_sum<float>(a.nodes, k);
        }
    }
}

extern "C" void ddp_cuda_sum_nodes(struct ddp_gpu_stream *s, const struct ddp_gpu_sum_args *a)
{
    DDP_LAUNCH(s, sum_elements, (a->count + DDP_BLOCK - 1) / DDP_BLOCK, DDP_FLAT_THREADS, *a);
}

/* The same over leaves that lie as rows, in doubles: 8 (shards + 1) bytes and shards - 1 FLOPs an element. */
DDP_KERNEL sum_rows(const struct ddp_gpu_shards_args a)
{
    const int64_t i = (int64_t)ddp_block() * DDP_FLAT_THREADS + ddp_thread();
    if (i >= a.count)
        return;
    double top = a.leaves[(a.place ? a.place[0] : 0) * a.row + i], stack[DDP_NODES_DEPTH];
    int depth = 0;
    for (int s = 1; s < a.shards; s++) {
        stack[depth++] = top;
        top = a.leaves[(a.place ? a.place[s] : s) * a.row + i];
        for (int m = a.merges[s]; m > 0; m--)
            top = stack[--depth] + top;
    }
    a.out[i] = top;
}

extern "C" void ddp_cuda_sum_shards(struct ddp_gpu_stream *s, const struct ddp_gpu_shards_args *a)
{
    DDP_LAUNCH(s, sum_rows, (a->count + DDP_FLAT_THREADS - 1) / DDP_FLAT_THREADS, DDP_FLAT_THREADS, *a);
}

/* Sums of the step, as floats: exact while a shard has up to 2^24 right answers. One block writes all. */
DDP_KERNEL write_metrics(const struct ddp_gpu_metrics_args a)
{
    for (int i = ddp_thread(); i < DDP_BLOCK; i += DDP_FLAT_THREADS) {
        float v = 0;
        if (i == 0)
            v = *a.loss;
        else if (i == 1)
            v = (float)*a.correct;
        else if (i == 2 && a.step)
            v = (float)a.step->stop_vote;
        a.leaf[i] = v;
    }
}

extern "C" void ddp_cuda_metrics(struct ddp_gpu_stream *s, const struct ddp_gpu_metrics_args *a)
{
    DDP_LAUNCH(s, write_metrics, 1, DDP_FLAT_THREADS, *a);
}

/* A thread block a span: 8 bytes an element. */
DDP_KERNEL copy_spans(const struct ddp_gpu_spans_args a)
{
    const struct ddp_gpu_span s = a.span[ddp_block()];
    const float *from = a.pack ? a.flat + s.flat : a.rows + s.row;
    float *to = a.pack ? a.rows + s.row : a.flat + s.flat;
#pragma unroll
    for (int q = 0; q < DDP_FLAT_ROUNDS; q++) {
        const int i = ddp_flat_place(q);
        if (i < s.count)
            ddp_quad_store(to + i, ddp_quad_load(from + i));
    }
}

extern "C" void ddp_cuda_move_spans(struct ddp_gpu_stream *s, const struct ddp_gpu_spans_args *a)
{
    DDP_LAUNCH(s, copy_spans, a->spans, DDP_FLAT_THREADS, *a);
}

/* Some hundred bytes over the bus, in place of a copy for each part. One block. */
DDP_KERNEL write_results(const struct ddp_gpu_results_args a)
{
    const int t = ddp_thread();
    int last = 0;
    for (int i = t; i < a.rows; i += DDP_FLAT_THREADS)
        last = a.refused[i * a.row] > last ? a.refused[i * a.row] : last;
    DDP_SHARED(int, room, DDP_FLAT_THREADS);
    room[t] = last;
    for (int half = DDP_FLAT_THREADS / 2; half > 0; half /= 2) {
        DDP_SYNC();
        if (t < half)
            room[t] = room[t + half] > room[t] ? room[t + half] : room[t];
    }
    if (t < 4)
        a.out->metrics[t] = a.metrics[t];
    if (t < 2)
        a.out->factor[t] = a.factor ? a.factor[t] : 1 - 2 * t;
    if (t == 0)
        a.out->refused = room[0];
    for (int i = t; i < a.losses; i += DDP_FLAT_THREADS)
        a.loss_out[i] = a.loss[i];
}

extern "C" void ddp_cuda_results(struct ddp_gpu_stream *s, const struct ddp_gpu_results_args *a)
{
    DDP_LAUNCH(s, write_results, 1, DDP_FLAT_THREADS, *a);
}

const struct ddp_flat_device_kernels ddp_cuda_flat_kernels = {
    .add_range = ddp_cuda_add_range,
    .sum_nodes = ddp_cuda_sum_nodes,
    .sum_shards = ddp_cuda_sum_shards,
    .metrics = ddp_cuda_metrics,
    .move_spans = ddp_cuda_move_spans,
    .results = ddp_cuda_results,
};
