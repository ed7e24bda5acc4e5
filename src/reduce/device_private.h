/* The state of a reduction on a device: planned by device_plan.c and device_spans.c, made by device.c, worked
 * on by device_step.c, device_publish.c and device_wire.c, read and written from outside by
 * device_state.c. */
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
    DDP_REGION_PARAMS,  /* float [total] */
    DDP_REGION_WEIGHTS, /* type [total]; F32: none */
    DDP_REGION_LEAVES,  /* float [buffers][total]; several stages: my slices of buffer 0 become the sums */
    /* used anew by each bucket: */
    DDP_REGION_STAGING, /* float [tree nodes of my node's other ranks][my largest share] */
    DDP_REGION_COVERS,  /* float [rows of terms][my largest slice]: several nodes only */
    DDP_REGION_VALUES,  /* double [trained B][block_values] */
    DDP_REGION_NODE,    /* float * [buckets][inputs + 2 terms + 1]: struct ddp_gpu_reduce_bucket */
    DDP_REGION_MERGES,  /* int32 [tree nodes | inputs | terms] */
    DDP_REGION_SCALE,   /* struct ddp_gpu_scale */
    /* float [size][most tree nodes of a rank][DDP_GPU_METRICS], in the order of slices; `fast`: one row, the
     * sum */
    DDP_REGION_GUARD,
    /* int32 [size][DDP_GPU_REFUSED], in the order of slices, or one row: the first of each is what the rank
     * refused */
    DDP_REGION_REFUSED,
    DDP_REGION_ROWS,         /* float [size][row]: what all read in fp32, in the order of slices */
    DDP_REGION_SPANS,        /* struct ddp_gpu_span [spans] */
    DDP_REGION_GUARD_NODE,   /* float * [tree nodes]: their metrics */
    DDP_REGION_SMALL,        /* double [size][most shards of a rank][small width] */
    DDP_REGION_SMALL_MERGES, /* int32 [shards] merges, [shards] rows of SMALL */
    DDP_REGIONS
};

struct ddp_gpu_reduce_bucket {
    struct ddp_range all;   /* blocks */
    struct ddp_range share; /* what I add up of my node */
    struct ddp_range owned; /* my slice */
    struct ddp_range mine;  /* what I update: owned, or with `fast` all */
    int64_t kept;           /* where mine begins in arrays of what I update */
    struct ddp_gpu_event *complete;
    /* On the device. inputs: [inputs] counted from the first element of my share. trained, stats: [terms]
     * counted from the first element of mine that is trained, that lies behind. summed: [1], as stats in the
     * sum. */
    const float *const *inputs, *const *trained, *const *stats, *const *summed;
};

/* A node of the canonical tree that some rank ends up with. */
struct ddp_gpu_reduce_node {
    int rank, buffer; /* of that rank */
    int nth;          /* of that rank's */
    int slot;         /* row in the staging area; -1: mine, or of another node's rank */
    int merges;       /* behind it, when all are pushed on a stack one after the other */
    int inner;        /* when those of its cover are */
};

/* A tree node that the shards of my node come down to: the sum of some inputs, made in the first one. */
struct ddp_gpu_reduce_cover {
    int first, inputs; /* of `input` */
};

/* What the owner of a slice adds, on several nodes: a cover of some node. */
struct ddp_gpu_reduce_term {
    int node, nth; /* of that node's covers */
    int row;       /* in the area of covers; -1: my node's sum, which lies where it was made */
    int merges;
};

struct ddp_gpu_reduce {
    struct ddp_gpu_reduce_conf conf;
    const struct ddp_gpu_api *api;
    struct ddp_gpu *gpu;
    struct ddp_gpu_comm *comm;
    struct ddp_gpu_stream *compute, *side; /* side: communication and updates */
    struct ddp_gpu_event *losses, *done;

    struct ddp_reduce_layout layout;
    struct ddp_reduce_place place; /* mine */
    struct ddp_schedule schedule;
    struct ddp_ledger ledger;
    int64_t total, kept; /* elements of the flat space, and those that I update */
    bool several;        /* two levels: several nodes, and not `fast` */

    int nodes, rows;                    /* of all ranks; the most that one has */
    struct ddp_gpu_reduce_node *node;   /* [nodes], in order of shards */
    struct ddp_gpu_reduce_node *input;  /* [inputs] of them: those of my node */
    int inputs, staged;                 /* staged: those that are sent to me */
    struct ddp_gpu_reduce_cover *cover; /* [covers]; none on one node */
    int covers;
    struct ddp_gpu_reduce_term *term; /* [terms]; one node: the inputs, and NULL */
    int terms, term_rows;

    /* Publishing in the compute type: where in the rows what is read in fp32 lies, rank after rank. */
    struct ddp_gpu_span *span; /* [spans] */
    struct ddp_range my_spans;
    int64_t spans, row; /* row: elements of one rank's; 0: nothing is */

    size_t bytes[DDP_REGIONS];
    void *at[DDP_REGIONS];
    struct ddp_gpu_guard_args guard;
    struct ddp_gpu_transfer transfer;
    const struct ddp_gpu_apply *apply; /* of this step */
    int64_t reduced;                   /* buckets of it that were enqueued */

    struct ddp_gpu_reduce_bucket *bucket; /* [buckets] */
};

/* ---- device_plan.c ---- */

int ddp_gpu_reduce_check(const struct ddp_gpu_reduce_conf *conf, const struct ddp_gpu_comm *comm,
                         struct ddp_error *err);
/* Fill in what follows from the conf alone: cutting, nodes, bytes of regions. */
void ddp_gpu_reduce_plan(struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_conf *conf);
void ddp_gpu_reduce_unplan(struct ddp_gpu_reduce *r); /* frees what plan() made */

static inline float *ddp_gpu_reduce_buffer(const struct ddp_gpu_reduce *r, int buffer)
{
    return (float *)r->at[DDP_REGION_LEAVES] + buffer * r->total;
}

/* Where element `at` of the flat space, in my share of a bucket, lies in an input. */
float *ddp_gpu_reduce_input_at(const struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_bucket *k, int i,
                               int64_t at);
/* The same in the sum that a cover becomes, and, in mine, in a term. */
float *ddp_gpu_reduce_cover_at(const struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_bucket *k, int i,
                               int64_t at);
float *ddp_gpu_reduce_term_at(const struct ddp_gpu_reduce *r, const struct ddp_gpu_reduce_bucket *k, int i,
                              int64_t at);

/* Without the metrics, which travel before everything else. */
static inline struct ddp_range ddp_gpu_reduce_moved(const struct ddp_gpu_reduce *r, struct ddp_range elements)
{
    return ddp_range_clip(elements, (struct ddp_range){0, r->conf.flat->metrics});
}

/* Where the guard finds the metrics of a tree node, or with `fast` their sum. */
static inline float *ddp_gpu_reduce_metrics_at(const struct ddp_gpu_reduce *r,
                                               const struct ddp_gpu_reduce_node *node)
{
    const int row = ddp_reduce_layout_slot(&r->layout, node->rank) * r->rows + node->nth;
    if (r->conf.size == 1)
        return ddp_gpu_reduce_buffer(r, node->buffer) + r->conf.flat->metrics;
    return (float *)r->at[DDP_REGION_GUARD] + (r->conf.fast ? 0 : (int64_t)row * DDP_GPU_METRICS);
}

/* Nothing is sent to anybody but sums of the backend. */
static inline bool ddp_gpu_reduce_alone(const struct ddp_gpu_reduce *r)
{
    return r->conf.size == 1 || r->conf.fast;
}

/* Shards of the rank that has most. */
static inline int ddp_gpu_reduce_most(const struct ddp_gpu_reduce *r)
{
    return (r->conf.shards + r->conf.size - 1) / r->conf.size;
}

/* Rows of what ranks refused. */
static inline int ddp_gpu_reduce_rows(const struct ddp_gpu_reduce *r)
{
    return ddp_gpu_reduce_alone(r) ? 1 : r->conf.size;
}

/* Its trained part. */
static inline struct ddp_range ddp_gpu_reduce_trained(const struct ddp_gpu_reduce *r,
                                                      struct ddp_range elements)
{
    return ddp_range_clip(elements, (struct ddp_range){0, r->conf.flat->stats});
}

/* ---- device_spans.c ---- */

/* A part of plan(), once the layout is there. masters: of the conf. */
void ddp_gpu_reduce_plan_spans(struct ddp_gpu_reduce *r, const bool *masters);

/* ---- device_publish.c ---- */

/* New parameters of a bucket, from their owners to all, on the side stream. last: of the step. */
void ddp_gpu_reduce_publish(struct ddp_gpu_reduce *r, int64_t bucket, bool last);

/* ---- device_wire.c: enqueued on the side stream, the same calls on every rank ---- */

/* The metrics of all tree nodes to all; with `fast` their sum. */
void ddp_gpu_wire_metrics(struct ddp_gpu_reduce *r);
/* A bucket inside the node: tree nodes over shares. */
void ddp_gpu_wire_inputs(struct ddp_gpu_reduce *r, int64_t bucket);
/* Several nodes, along the lane: covers over slices. */
void ddp_gpu_wire_covers(struct ddp_gpu_reduce *r, int64_t bucket);
/* What goes along with a bucket, in the same group: what ranks refused; the rows. */
enum { DDP_GPU_WITH_REFUSED = 1, DDP_GPU_WITH_ROWS = 2 };

/* From owners to all: array [blocks][each] of a bucket's blocks that lie in `within`; each: floats, moved as
 * they are. with: bits DDP_GPU_WITH_*. */
void ddp_gpu_wire_spread(struct ddp_gpu_reduce *r, int64_t bucket, struct ddp_range within, void *array,
                         int64_t each, unsigned with);

#endif
