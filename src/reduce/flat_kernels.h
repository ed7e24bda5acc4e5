/* Leaves of the flat space on the device (flat.cu): merging two, small tree sums, a leaf's metrics; what
 * ranks send of it in rows; and a step's results. */
#ifndef DDP_REDUCE_FLAT_KERNELS_H
#define DDP_REDUCE_FLAT_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* add_range(): a += b */
struct ddp_gpu_range_args {
    int64_t count;
    float *a;
    const float *b;
};

/* sum_nodes(): out[0..count) = tree sum of the nodes, one of which it may be: a machine's sums, and leaves of
 * running statistics */
struct ddp_gpu_sum_args {
    int64_t count;
    struct ddp_gpu_nodes nodes;
    float *out;
};

/* sum_shards(): out[0..count) = tree sum of leaves[place[s] * row + .] over the shards s: statistics of
 * synchronised layers, in doubles since what is summed is then subtracted from its like */
struct ddp_gpu_shards_args {
    int64_t count, row;
    int shards;
    const double *leaves;  /* [rows][row] */
    const int32_t *place;  /* [shards] row of each; NULL: its number */
    const int32_t *merges; /* [shards]: as of nodes */
    double *out;
};

/* metrics(): a leaf's metrics block [DDP_BLOCK]: loss, right answers, stop votes (first
 * shard of the rank only), the rest zero. */
struct ddp_gpu_metrics_args {
    const float *loss;
    const int32_t *correct;
    const struct ddp_gpu_step *step; /* NULL: no vote */
    float *leaf;
};

/* move_spans(): parts of a flat array to their places in rows (pack), or from there. */
struct ddp_gpu_span {
    int64_t flat, row;  /* first element in either; multiples of 4 */
    int32_t count, pad; /* up to DDP_BLOCK, a multiple of 4 */
};
struct ddp_gpu_spans_args {
    const struct ddp_gpu_span *span; /* [spans]; no two overlap */
    int64_t spans;
    float *flat, *rows;
    bool pack;
};

/* results(): what a step came to, written by one kernel where the host reads it: in pinned memory. */
struct ddp_gpu_outcome {
    float metrics[4]; /* of the flat space: loss, right answers, stop votes */
    double factor[2]; /* clipping: factor, norm; 1, -1 without */
    int32_t refused;  /* the last block that any rank refused, + 1; 0: none */
    int32_t pad;
};
struct ddp_gpu_results_args {
    const float *metrics;   /* [4] */
    const double *factor;   /* [2]; NULL: no clipping */
    const int32_t *refused; /* [rows][row], of which the first number counts */
    int rows, row;
    const float *loss; /* [losses] */
    int losses;
    struct ddp_gpu_outcome *out;
    float *loss_out; /* [losses] */
};

struct ddp_flat_device_kernels {
    void (*add_range)(struct ddp_gpu_stream *s, const struct ddp_gpu_range_args *a);
    void (*sum_nodes)(struct ddp_gpu_stream *s, const struct ddp_gpu_sum_args *a);
    void (*sum_shards)(struct ddp_gpu_stream *s, const struct ddp_gpu_shards_args *a);
    void (*metrics)(struct ddp_gpu_stream *s, const struct ddp_gpu_metrics_args *a);
    void (*move_spans)(struct ddp_gpu_stream *s, const struct ddp_gpu_spans_args *a);
    void (*results)(struct ddp_gpu_stream *s, const struct ddp_gpu_results_args *a);
};
extern const struct ddp_flat_device_kernels ddp_cuda_flat_kernels; /* of the plug-in */

/* How they are called inside the plug-in and by suites of kernels. */
void ddp_cuda_add_range(struct ddp_gpu_stream *s, const struct ddp_gpu_range_args *a);
void ddp_cuda_sum_nodes(struct ddp_gpu_stream *s, const struct ddp_gpu_sum_args *a);
void ddp_cuda_sum_shards(struct ddp_gpu_stream *s, const struct ddp_gpu_shards_args *a);
void ddp_cuda_metrics(struct ddp_gpu_stream *s, const struct ddp_gpu_metrics_args *a);
void ddp_cuda_move_spans(struct ddp_gpu_stream *s, const struct ddp_gpu_spans_args *a);
void ddp_cuda_results(struct ddp_gpu_stream *s, const struct ddp_gpu_results_args *a);

#ifdef __cplusplus
}
#endif
#endif
