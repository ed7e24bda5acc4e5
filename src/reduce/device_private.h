/* The state of a reduction on a device: planned by device_plan.c, made by device.c, worked on by
 * device_step.c, read and written from outside by device_state.c. */
#ifndef DDP_REDUCE_DEVICE_PRIVATE_H
#define DDP_REDUCE_DEVICE_PRIVATE_H

#include "base/base.h"
#include "model/stats_kernels.h"
#include "reduce/device.h"
#include "reduce/flat_kernels.h"
#include "reduce/layout.h"
#include "reduce/ledger.h"
#include "reduce/schedule.h"

/* Device memory, each an allocation of its own. B: blocks of the flat space. */
enum ddp_gpu_region {
    DDP_REGION_PARAMS,     /* float [total] */
    DDP_REGION_WEIGHTS,    /* type [total]; F32: none */
    DDP_REGION_LEAVES,     /* float [buffers][total]; several stages: my slices of buffer 0 become the sums */
    DDP_REGION_STAGING,    /* float [nodes of others][my largest slice]: used anew by each bucket */
    DDP_REGION_VALUES,     /* double [trained B][block_values] */
    DDP_REGION_NODE,       /* float * [buckets][2 nodes + 1]: struct ddp_gpu_reduce_bucket */
    DDP_REGION_MERGES,     /* int32 [nodes] */
    DDP_REGION_SCALE,      /* struct ddp_gpu_scale */
    DDP_REGION_GUARD,      /* float [nodes of others][DDP_GPU_METRICS]; `fast`: one row, the sum */
    DDP_REGION_GUARD_NODE, /* float * [nodes]: their metrics */
    DDP_REGION_SMALL,      /* double [shards][small width] */
    DDP_REGION_SMALL_MERGES, /* int32 [shards] */
    DDP_REGIONS
};

struct ddp_gpu_reduce_bucket {
    struct ddp_range all;   /* blocks */
    struct ddp_range owned; /* my slice */
    struct ddp_range mine;  /* what I update: owned, or with `fast` all */
    int64_t kept;           /* where mine begins in arrays of what I update */
    struct ddp_gpu_event *complete;
    const float *const *trained; /* on the device: [nodes] counted from the first trained element of mine */
    const float *const *stats;   /* [nodes] counted from the first element of mine behind the trained ones */
    const float *const *summed;  /* [1] the same in the sum */
};

/* A node of the canonical tree that some rank ends up with. */
struct ddp_gpu_reduce_node {
    int rank, buffer; /* of that rank */
    int slot;         /* in the staging area; mine: -1 */
    int merges;       /* behind it, when nodes are pushed on a stack one after the other */
};

struct ddp_gpu_reduce {
    struct ddp_gpu_reduce_conf conf;
    const struct ddp_gpu_api *api;
    struct ddp_gpu *gpu;
    struct ddp_gpu_comm *comm;
    struct ddp_gpu_stream *compute, *side; /* side: communication and updates */
    struct ddp_gpu_event *losses, *done;

    struct ddp_reduce_layout layout;
    struct ddp_schedule schedule;
    struct ddp_ledger ledger;
    int64_t total, kept; /* elements of the flat space, and those that I update */
    int nodes, others;   /* others: nodes that are sent to me */
    struct ddp_gpu_reduce_node *node;
    size_t bytes[DDP_REGIONS];
    void *at[DDP_REGIONS];
    struct ddp_gpu_guard_args guard;
    struct ddp_gpu_transfer transfer;
    const struct ddp_gpu_apply *apply; /* of this step */

    struct ddp_gpu_reduce_bucket *bucket; /* [buckets] */
};

int ddp_gpu_reduce_check(const struct ddp_gpu_reduce_conf *conf, const struct ddp_gpu_comm *comm,
                         struct ddp_error *err);
/* Fill in what follows from the conf alone: cutting, nodes, bytes of regions. */
void ddp_gpu_reduce_plan(struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_conf *conf);
void ddp_gpu_reduce_unplan(struct ddp_gpu_reduce *r); /* frees what plan() made */

static inline float *ddp_gpu_reduce_buffer(const struct ddp_gpu_reduce *r, int buffer)
{
    return (float *)r->at[DDP_REGION_LEAVES] + buffer * r->total;
}

#endif
