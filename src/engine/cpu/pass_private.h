/* Private to src/engine/cpu: one rank's memory for a model, and the state of the pass that runs in it. */
#ifndef DDP_CPU_PASS_PRIVATE_H
#define DDP_CPU_PASS_PRIVATE_H

#include "engine/cpu/pass.h"
#include "model/graph.h"

/* A shard in memory. Tensors point into its area of the pages and never move. */
struct ddp_cpu_resident {
    char *area;
    struct ddp_tensor *value, *grad; /* [nvalues]; p NULL: does not exist */
    float *stats;                    /* leaves of running statistics, [flat.metrics - flat.stats] */
    struct ddp_shard shard;          /* of the last forward */
    float loss;
    int64_t correct;
};

struct ddp_cpu_pass {
    const struct ddp_model *m;
    const struct ddp_memory *mem;
    struct ddp_cpu_pass_conf conf;
    char *pages;
    size_t bytes;
    void *scratch;
    struct ddp_cpu_resident *res; /* [conf.resident] */
    float *sync_leaves, *sync_sum;
    int n; /* shards of the last forward */
    int64_t epoch, count;
};

/* Bytes of the running statistics' leaves of one shard. */
size_t ddp_cpu_pass_stats_bytes(const struct ddp_model *m, bool training);

#endif
