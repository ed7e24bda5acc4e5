/* The face of src/reduce: gradients of S shards on N ranks -> one sum per element in the canonical order ->
 * the owner of the element applies it -> all ranks see the result. Knows no optimizer: it gets a callback.
 *
 * The flat index space [0, total) is that of the model (src/model/flat.h): parameters in forward order,
 * then statistics. It is cut at blocks of DDP_BLOCK elements into buckets, and each bucket into slices,
 * one a rank (layout.h). Which order of reports is right, and what follows from one, is in ledger.h,
 * the sums are in tree.h and schedule.h: all pure. What is declared here moves the data, in memory that
 * all ranks see (host.c).
 *
 * One step, on every rank:
 *
 *     ddp_reduce_begin(r)
 *     for each of my shards s:
 *         backward writes into ddp_reduce_leaf(r, s); as soon as [lo, hi) of it is final and the parameters
 *         under it are not needed any more: ddp_reduce_ready(r, s, lo, hi)
 *     ddp_reduce_finish(r, apply)
 *
 * Accumulation over k batches: shards = k * S leaves of one tree. */
#ifndef DDP_REDUCE_H
#define DDP_REDUCE_H

#include "base/range.h"
#include "comm/comm.h"

struct ddp_reduce_conf {
    int shards; /* leaves of the tree: train.shards * train.accumulate */
    bool fast;  /* reduce.mode = "fast": the backend's own all-reduce of the ranks' sums */
    /* The leaves of all my shards are in use at once (synchronised layers): a buffer per shard instead of a
     * stack; the same sums to the bit. */
    bool side_by_side;
    int64_t total;    /* elements, a multiple of DDP_BLOCK */
    int64_t bucket;   /* target bucket size in elements, cut to whole blocks, at least one */
    int block_values; /* doubles per block that apply stages may leave for each other, 0..4 */
    /* [total] of the node (ddp_comm_shared_alloc), borrowed: where the last stage of apply writes what
     * follows from a slice, and what others see of it. Sent between nodes; may be NULL where there is
     * one. */
    float *result;
};

/* What the owner does with a summed slice. Runs on the rank's thread(s); ranges are whole blocks. */
struct ddp_reduce_apply {
    void *ctx;
    /* 1: run as soon as a bucket is complete, under the rest of backward. n: all slices pass stage 0, then
     * between(0) on every rank, then all pass stage 1, ... (norms before updates) */
    int stages;
    /* sum: [hi - lo] gradient sums, writable, kept between stages. values: [blocks][block_values] of the
     * whole flat space; a stage reads and writes the entries of its own blocks only, and finds there
     * what it left in an earlier stage of this step. Called for any number of blocks, from several
     * threads at once. Returns the last block that it refuses, because of sums that are not finite; -1:
     * none. */
    int64_t (*run)(void *ctx, int stage, int64_t lo, int64_t hi, float *sum, double *values);
    /* All blocks' values are complete: every rank computes the same from them. Once after each stage but the
     * last, on the calling thread. May be NULL. */
    void (*between)(void *ctx, int stage, const double *values, int64_t blocks);
};

struct ddp_reduce;

/* Collective. Allocates everything (shared leaf buffers, block values, control words); a step allocates
 * nothing. comm and pool (NULL: one thread) are borrowed. Errors, the same on all ranks: DDP_E_CONFIG more
 * ranks than shards; DDP_E_USAGE a conf out of range; DDP_E_COMM a transport that cannot, or ranks with
 * different confs; DDP_E_RESOURCE no memory. */
int ddp_reduce_create(const struct ddp_reduce_conf *conf, struct ddp_comm *comm, struct ddp_pool *pool,
                      struct ddp_reduce **out, struct ddp_error *err);
void ddp_reduce_destroy(struct ddp_reduce *r); /* waits for nobody; NULL is fine */
/* Shared bytes on my node and private bytes of a rank that create() will take, for the memory plan. */
void ddp_reduce_bytes(const struct ddp_reduce_conf *conf, const struct ddp_comm *comm, size_t *shared,
                      size_t *private_);

int ddp_reduce_first_shard(const struct ddp_reduce *r);
int ddp_reduce_last_shard(const struct ddp_reduce *r); /* one past */

/* Not before the step before was finished; reports and finish() belong to a step. */
void ddp_reduce_begin(struct ddp_reduce *r);
/* Where the backward of this shard writes its gradient: [total] floats, valid until the next leaf call
 * (side_by_side: until finish). Not zeroed: the caller writes every element of every range it reports ready,
 * or calls ddp_reduce_empty for a shard without samples. NULL for a shard that is not mine. */
float *ddp_reduce_leaf(struct ddp_reduce *r, int shard);
/* [lo, hi) of the leaf is final; when and in what order that may be said: ledger.h. What breaks the rules
 * is reported by finish. Merges at once, while the range is in cache; when apply->stages is 1 it also runs
 * apply on what I own of buckets that are complete on all ranks. */
void ddp_reduce_ready(struct ddp_reduce *r, int shard, int64_t lo, int64_t hi,
                      const struct ddp_reduce_apply *apply);
/* The whole leaf of a shard without samples: zeros, ready. Instead of leaf and ready. */
void ddp_reduce_empty(struct ddp_reduce *r, int shard, const struct ddp_reduce_apply *apply);
/* Wait for what is missing, run apply on what I own, publish. stop_vote: this rank wants to stop; *stop: any
 * rank did (the same answer on all ranks). On return every rank's apply has run everywhere. After an error
 * the other ranks may be left waiting: ddp_comm_abort(), then destroy. */
int ddp_reduce_finish(struct ddp_reduce *r, const struct ddp_reduce_apply *apply, bool stop_vote, bool *stop,
                      struct ddp_error *err);

/* After finish: the last block of the flat space that the apply of any rank refused, in this step or one
 * before it; -1: none. The same answer on all ranks. Local. */
int64_t ddp_reduce_refused(const struct ddp_reduce *r);

/* Between steps, an array [total] that each node has a copy of, where a rank writes what it owns only
 * (optimizer state, averages): what a node's ranks own of it goes to all nodes, or to node 0 alone, or is
 * taken from there. On one node nothing happens. Returns on a rank when its own messages are through, not
 * when its node's are: all ranks meet before anybody reads. Collective; an error is this rank's alone. */
enum ddp_reduce_way { DDP_REDUCE_TO_ALL, DDP_REDUCE_TO_FIRST, DDP_REDUCE_FROM_FIRST };
int ddp_reduce_move(struct ddp_reduce *r, float *array, enum ddp_reduce_way way, struct ddp_error *err);

/* Between steps: slice i, from 0 on, of what I own, in blocks, and its sums of the last step as apply left
 * them. False: there is no such slice. Local. */
bool ddp_reduce_own(const struct ddp_reduce *r, int64_t i, struct ddp_range *blocks, const float **sum);

/* Seconds spent waiting for other ranks since the last call. */
double ddp_reduce_waited(struct ddp_reduce *r);
/* Seconds of the calling thread since create, waits included: in reports and between the tasks of passes, and
 * (a part of these or of finish) in apply's run. */
struct ddp_reduce_spent {
    double under, apply;
};
struct ddp_reduce_spent ddp_reduce_spent(const struct ddp_reduce *r);

/* A small tree sum over all shards, for statistics in the middle of a pass (synchronised batch norm): each
 * rank passes the leaves of its own shards in order, [my shards][width]; out [width] is the same on all
 * ranks. In doubles: what is summed is then subtracted from its like. width <= the max_width given to create.
 * There may be more ranks than shards. Collective. */
struct ddp_small;
int ddp_small_create(struct ddp_comm *comm, int shards, int max_width, struct ddp_small **out,
                     struct ddp_error *err);
void ddp_small_destroy(struct ddp_small *s);
int ddp_small_sum(struct ddp_small *s, int width, const double *leaves, double *out, struct ddp_error *err);

#endif
