/* The state of a reduction on the host: made by host_plan.c, worked on by host.c. */
#ifndef DDP_REDUCE_HOST_PRIVATE_H
#define DDP_REDUCE_HOST_PRIVATE_H

#include "reduce/layout.h"
#include "reduce/ledger.h"
#include "reduce/reduce.h"
#include "reduce/schedule.h"

/* Floats summed at a time: a piece of every temporary stays in the first-level cache. Divides a block. */
enum { DDP_REDUCE_PIECE = 1024 };

/* Shared by all ranks, zero at first. */
struct ddp_reduce_control {
    struct ddp_barrier barrier;
    struct {
        /* of the last vote to stop; steps take turns, so that late readers are not confused */
        _Alignas(64) ddp_word step;
    } vote[2];
};
struct ddp_reduce_arrivals {       /* of one bucket */
    _Alignas(64) ddp_word arrived; /* ranks, over all steps */
    _Alignas(64) ddp_word done;    /* steps in which all had arrived */
};

struct ddp_reduce_bucket {
    struct ddp_range all, mine; /* blocks */
    bool complete, applied;     /* in this step: my part is final, the sum of my slice was applied */
    void *request;              /* fast: the all-reduce */
};

struct ddp_reduce {
    struct ddp_reduce_conf conf;
    struct ddp_comm *comm;
    struct ddp_pool *pool;
    struct ddp_reduce_layout layout;
    struct ddp_schedule schedule;
    struct ddp_combine combine; /* of what all ranks ship */
    struct ddp_ledger ledger;

    void *shared;
    size_t shared_bytes;
    struct ddp_reduce_control *control;
    struct ddp_reduce_arrivals *arrivals; /* [buckets] */
    double *values[2];                    /* [blocks][block_values] */
    float *own;                           /* my buffers, [buffers][total] */
    const float **node;                   /* [shipped nodes] start of the buffer that holds each */

    struct ddp_reduce_bucket *bucket; /* [buckets] */
    float *temp;                      /* [threads][temps][DDP_REDUCE_PIECE] */
    uint32_t step, round;
    int64_t begun; /* fast: buckets begun */
    double waited;
    struct ddp_error fault; /* of an all-reduce that could not begin: finish reports it */
};

#endif
