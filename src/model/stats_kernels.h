/* Running statistics, and the guard of a step, on the device (stats.cu). */
#ifndef DDP_MODEL_STATS_KERNELS_H
#define DDP_MODEL_STATS_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One running mean or variance of the flat space. */
struct ddp_gpu_stat {
    int64_t lo, hi; /* flat */
    int64_t pixels; /* H*W */
    double momentum;
    int32_t var, synced; /* synced: statistics of the global batch, not of each shard */
};

struct ddp_gpu_stats_args {
    int64_t lo, hi; /* flat range of whole blocks of statistics */
    struct ddp_gpu_nodes nodes;
    const struct ddp_gpu_step *step;
    const struct ddp_gpu_scale *scale; /* skip: leave the statistics. NULL: none */
    int32_t *refused; /* [1] as of updates: sums that are not finite are left alone; NULL: they are not */
    int shards;
    int nstats;
    const struct ddp_gpu_stat *stat;
    float *params;
};

enum { DDP_GPU_METRICS = 4 }; /* floats at the start of the metrics block that are summed; [0] is the loss */
/* metrics [DDP_GPU_METRICS] = tree sum of the nodes. A loss that is not finite sets halted; skip = halted. So
 * it comes before all that updates in a step. */
struct ddp_gpu_guard_args {
    struct ddp_gpu_nodes nodes; /* DDP_GPU_METRICS floats each, aligned to 16 bytes */
    struct ddp_gpu_scale *scale;
    float *metrics;
};

struct ddp_stats_device_kernels {
    void (*stats)(struct ddp_gpu_stream *s, const struct ddp_gpu_stats_args *a);
    void (*guard)(struct ddp_gpu_stream *s, const struct ddp_gpu_guard_args *a);
};
extern const struct ddp_stats_device_kernels ddp_cuda_stats_kernels; /* of the plug-in */

/* How they are called inside the plug-in and by suites of kernels. */
void ddp_cuda_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_stats_args *a);
void ddp_cuda_guard(struct ddp_gpu_stream *s, const struct ddp_gpu_guard_args *a);

#ifdef __cplusplus
}
#endif
#endif
