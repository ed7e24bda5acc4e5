/* The state of a reduction on the host: made by host_plan.c and host_nodes.c, worked on by host.c,
 * host_sums.c and host_wire.c. */
#ifndef DDP_REDUCE_HOST_PRIVATE_H
#define DDP_REDUCE_HOST_PRIVATE_H

#include "reduce/layout.h"
#include "reduce/ledger.h"
#include "reduce/reduce.h"
#include "reduce/schedule.h"

enum {
    /* Floats summed at a time: a piece of every temporary stays in the first-level cache. Divides a block. */
    DDP_REDUCE_PIECE = 1024,
    DDP_REDUCE_TASK_BLOCKS = 4, /* merged, added or applied by one thread at a time */
    DDP_REDUCE_VALUES = 4       /* a block's, at most */
};

/* ---- shared by the ranks of a node, zero at first; counters count over all steps ---- */

struct ddp_reduce_control {
    struct ddp_barrier barrier;
    /* The last block that an apply refused, + 1; 0: none. Never taken back; nobody can be a step ahead here:
     * a sum wants all ranks. */
    _Alignas(64) ddp_word refused;
    /* several nodes only: */
    _Alignas(
        64) ddp_word voted; /* ranks that have applied what they own, and said whether they want to stop */
    _Alignas(64) ddp_word moved; /* buckets in which all had arrived, or that came */
    struct {
        /* of the last vote to stop; steps take turns, so that late readers are not confused */
        _Alignas(64) ddp_word step;
    } vote[2];
};
struct ddp_reduce_arrivals {       /* of one bucket */
    _Alignas(64) ddp_word arrived; /* ranks */
    _Alignas(64) ddp_word done;    /* steps in which all had arrived */
};
struct ddp_reduce_crossing {      /* of one bucket and lane; several nodes only */
    _Alignas(64) ddp_word shared; /* members that have added up their share */
    ddp_word came;                /* steps in which all had, and the other nodes' sums were there */
    ddp_word applied;             /* members that have applied their slice, in the last stage */
};

/* ---- a rank's own ---- */

struct ddp_reduce_bucket {
    struct ddp_range all, mine, share; /* blocks; share: several nodes only */
    const float **input;               /* [inputs of combine] their first element of `mine` */
    /* in this step: my part is final; my share is added up (several nodes); the sum of my slice was
     * applied */
    bool complete, shared, applied;
    int64_t shared_blocks, applied_blocks; /* done between tasks */
    void *request;                         /* fast: the all-reduce */
};

/* A tree node that my node's shards come down to, added up from what its ranks ship. */
struct ddp_reduce_cover {
    struct ddp_combine combine;
    const float **input; /* [inputs] start of the buffer that holds each */
    float *sum; /* [total] where it is left: the first input's buffer, which only the share's rank reads */
};

/* What passes between nodes in a step, where I am a port (layout.h): begun ahead, see host_wire.c. */
struct ddp_wire_bucket {
    struct ddp_exchange *sums_in, *sums_out, *results_in, *results_out;
    bool sent, here, came, answered, through; /* in this step, in this order */
};
struct ddp_wire_vote {      /* of a node, when it has applied all that it owns */
    uint32_t stop, refused; /* whether some rank wants to stop; the last block refused, + 1 */
};
struct ddp_reduce_wire {
    struct ddp_wire_bucket *bucket; /* [buckets] */
    int64_t first;                  /* all buckets before it are through */
    int64_t due;                    /* buckets that are not */

    struct ddp_exchange *values_in, *values_out; /* block values of my lane; NULL without values */
    double *values;                              /* [blocks of my part | of the others', node after node] */
    size_t values_bytes;

    struct ddp_exchange *votes_in, *votes_out; /* lane 0 only */
    struct ddp_wire_vote *vote;                /* [nodes] */
    bool vote_sent, vote_done;
};

struct ddp_reduce {
    struct ddp_reduce_conf conf;
    struct ddp_comm *comm;
    struct ddp_pool *pool;
    struct ddp_reduce_layout layout; /* its ranks are seats (comm.h) */
    struct ddp_reduce_place place;   /* mine */
    struct ddp_schedule schedule;
    struct ddp_combine
        combine; /* one node: of what all ranks ship; several: of what all nodes come down to */
    struct ddp_ledger ledger;

    void *shared;
    size_t shared_bytes;
    struct ddp_reduce_control *control;
    struct ddp_reduce_arrivals *arrivals; /* [buckets] */
    struct ddp_reduce_crossing *crossing; /* [buckets][lanes] */
    double *values[2];                    /* [blocks][block_values] */
    float *own;                           /* my buffers, [buffers][total] */
    float *staging;                       /* other nodes' sums of what this node owns: see host_nodes.c */

    struct ddp_reduce_bucket *bucket; /* [buckets] */
    const float **inputs;             /* [buckets][inputs of combine] */
    int covers;                       /* of my node; 0 where there is one node */
    struct ddp_reduce_cover *cover;
    struct ddp_reduce_wire *wire; /* NULL: one node, or I am no port */
    float *temp;                  /* [threads][temps][DDP_REDUCE_PIECE] */
    int temps;
    uint32_t step, round;
    int64_t begun; /* fast: buckets begun */

    /* several nodes: what is done between the tasks of other computing */
    bool open, busy;               /* a step is at hand; it is being worked on right now */
    struct ddp_reduce_apply apply; /* of the last report; run NULL: nothing may be applied before finish */
    double looked;                 /* when */

    double waited;
    double worked; /* in advance(): on shares and slices that were ready */
    struct ddp_reduce_spent spent;
    bool within;            /* a report or finish: its time is counted already */
    struct ddp_error fault; /* of a transfer that failed where there is no way to say so: finish reports it */
};

static inline bool ddp_reduce_is_port(const struct ddp_reduce *r)
{
    return r->layout.nodes > 1 && r->place.member == 0;
}

static inline struct ddp_reduce_crossing *ddp_reduce_crossing(const struct ddp_reduce *r, int64_t bucket)
{
    return &r->crossing[bucket * r->layout.lanes + r->place.lane];
}

/* Whether a counter that grows by `each` a step has got as far as this step. */
static inline bool ddp_reduce_reached(const struct ddp_reduce *r, const ddp_word *word, int each)
{
    return (int32_t)(atomic_load_explicit(word, memory_order_acquire) - r->step * (uint32_t)each) >= 0;
}

/* ---- host_nodes.c: what several nodes need beside ---- */

/* Floats of staging that this node needs. */
int64_t ddp_reduce_staging(const struct ddp_reduce_layout *l, int node);
/* Shared memory is there: covers, inputs of combine. buffer[seat - first seat]: of the ranks of my node. */
void ddp_reduce_plan_nodes(struct ddp_reduce *r, float *const *buffer);
void ddp_reduce_forget_nodes(struct ddp_reduce *r);

/* ---- host.c ---- */

/* For between the tasks of other computing: messages, and a few blocks of what can be done. ctx: r. */
void ddp_reduce_look_up(void *ctx);

/* Some apply refused a block; refused: its number + 1, 0 is none. From any thread. */
static inline void ddp_reduce_refuse(struct ddp_reduce *r, uint32_t refused)
{
    ddp_word *word = &r->control->refused;
    uint32_t before = atomic_load_explicit(word, memory_order_relaxed);
    while (before < refused && !atomic_compare_exchange_weak_explicit(
                                   word, &before, refused, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* ---- host_sums.c ---- */

static inline int64_t ddp_reduce_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t ddp_reduce_tasks(int64_t blocks)
{
    return (blocks + DDP_REDUCE_TASK_BLOCKS - 1) / DDP_REDUCE_TASK_BLOCKS;
}

/* dst = the program's sum of n floats at `at` of each input; temp: [temps][DDP_REDUCE_PIECE], n of each. dst
 * may be an input. With M inputs: M - 1 additions, M + 1 floats of memory traffic per element. */
void ddp_reduce_add_up(const struct ddp_combine *c, const float *const *input, int64_t at, float *dst,
                       int64_t n, float *temp);
/* dst = x + y, each either dst itself or apart from it. */
void ddp_reduce_add(const float *x, const float *y, float *dst, int64_t n);
/* The way of a bucket, 1: my node's sums over my share of my lane, as far as they are not yet made. */
void ddp_reduce_share(struct ddp_reduce *r, int64_t bucket);
/* The next few blocks of it, without the pool. Returns whether that was all. */
bool ddp_reduce_share_some(struct ddp_reduce *r, int64_t bucket, int64_t blocks);
/* A stage for what I own of a bucket; stage 0 adds up its sum first, and does what is not yet done. */
void ddp_reduce_apply_slice(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, int stage,
                            int64_t bucket);
/* Stage 0 for the next few blocks, without the pool. Returns whether that was all. */
bool ddp_reduce_apply_some(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, int64_t bucket,
                           int64_t blocks);

/* ---- host_wire.c: messages of a port; errors go to r->fault ---- */

int ddp_wire_create(struct ddp_reduce *r, struct ddp_error *err);
void ddp_wire_destroy(struct ddp_reduce *r);
/* A step begins: all that will come is received from now on. */
void ddp_wire_begin(struct ddp_reduce *r);
/* Moves all messages on and begins those that are due; never waits. */
void ddp_wire_poll(struct ddp_reduce *r);
/* Nothing of this step is under way any more. */
bool ddp_wire_is_through(const struct ddp_reduce *r);
/* Waits until the peers have my node's sums. */
void ddp_wire_flush(struct ddp_reduce *r);
/* Waits for the block values of what other nodes own, and sends them those of my lane. */
void ddp_wire_values(struct ddp_reduce *r, double *values);

#endif
