/* Gradients of S shards on N GPUs -> one sum per element in the canonical order -> the owner of the element
 * applies it -> all ranks have the new parameters: what reduce.h does on CPUs, on devices. The cutting into
 * buckets and slices (layout.h) and the tree are the same; so is the result, to the bit in fp32, whatever the
 * number of ranks, and of the nodes that they lie on. Knows no optimizer: it gets a table of calls that
 * enqueue.
 *
 * It owns the parameters, of which a rank has what it updates and what it reads, their copy in the compute
 * type, the leaf buffers and a stream for communication.
 *
 * One step, all of it enqueued, nothing waits, the same calls in the same order on every rank; it may be
 * captured into a graph that `compute` begins and ends:
 *
 *   ddp_gpu_reduce_begin(r, apply)
 *   for each of my shards s (of the `beside` of a group at once):
 *       backward writes into ddp_gpu_reduce_leaf(r, s) on the compute stream; behind what makes [lo, hi) of
 *       it final and has read the parameters under it for the last time:
 *       ddp_gpu_reduce_ready(r, s, lo, hi)
 *   ddp_gpu_reduce_finish(r)
 *
 * ready() merges on the compute stream what the tree allows. In the rank's last shard the communication
 * stream goes on behind it, under the rest of backward. When the metrics are reported:
 *   the metrics of all ranks' tree nodes to all (all-gather, 16 bytes a tree node); every rank sums them in
 *   the canonical order itself (`fast`: one all-reduce), and where the loss is not finite its device updates
 *   nothing in this step and in none after it: parameters, statistics, state and loss scale stay what they
 *   were before, on all ranks alike, though the host may have enqueued more
 * When a bucket is complete:
 *   inside a node: my tree nodes over a peer's share to the peer, theirs over mine to me (grouped send and
 *   recv; on one node shares are slices)
 *   on several nodes: my node's sums over my share; then along my lane these sums over a slice to its owner,
 *   the other nodes' over mine to me (grouped send and recv)
 *   stage 0 over my slice; if it is the only one, new parameters from their owners to all, in the compute
 *   type, as the owner has rounded them (all-gather in place, or grouped broadcasts where slices are
 *   unequal); else the values of all slices in the same way, and the other stages in finish(), with between()
 *   before each
 *   with the last parameters: those that others read in fp32, in one piece (conf.masters; statistics); and
 *   what each rank refused to apply, as sums were not finite (16 bytes a rank)
 *   fast: all-reduce of the bucket, then as one rank does, on every rank alike
 * finish() makes the compute stream wait for all of it.
 *
 * Statistics lie behind the trained parameters (struct ddp_flat) and go the same way. They share bucket 0
 * with the last layers, so report [flat->stats, flat->metrics) of a shard early; and its metrics
 * [flat->metrics, flat->total) at once behind its forward, before anything else. */
#ifndef DDP_REDUCE_DEVICE_H
#define DDP_REDUCE_DEVICE_H

#include "device/kernels.h"
#include "device/transfer.h"
#include "model/flat.h"
#include "reduce/reduce.h"

/* Of a row of ddp_gpu_reduce_refusals(): 16 bytes. */
enum { DDP_GPU_REFUSED = 4 };

/* Slot of the metrics block behind DDP_METRIC_CORRECT: how many ranks want to stop (kernel metrics()). */
enum { DDP_GPU_METRIC_STOP = 2 };

struct ddp_gpu_reduce_conf {
    const struct ddp_flat *flat; /* in the device's layouts; borrowed */
    int rank, size;              /* in the order of seats (comm/comm.h) */
    int nodes;
    const int *ranks; /* [nodes] ranks of each, read while a call lasts; NULL: one node */
    int shards;       /* leaves of the tree: train.shards * train.accumulate */
    bool fast;        /* reduce.mode = "fast" */
    /* Shards of mine whose leaves are written at once, group after group: a buffer for each. 1: a stack; as
     * many as are mine, or more: all of them (synchronised layers). Ranks may differ. */
    int beside;
    /* Target size in elements, cut to whole blocks, at least one; where that is a block a rank or more, to a
     * multiple of the ranks, so that slices are equal. */
    int64_t bucket;
    /* Of the front bucket, which is complete when backward ends: cut to the next multiple of the ranks; 0, or
     * too large for it: as layout.h. */
    int64_t front;
    enum ddp_gpu_type type; /* of the weights; F32: the parameters themselves */
    int block_values;       /* doubles per trained block that stages leave for each other: 0, 2 or 4 */
    double loss_scale;      /* at the start, a power of two; 0: no loss scaling */
    int small_width;        /* doubles of the widest ddp_gpu_reduce_small(); 0: none */
    /* [flat->ntensors] tensors that every rank reads in fp32, whoever updates them; running statistics are.
     * Read while a call lasts; NULL: all tensors. F32: no matter. */
    const bool *masters;
};

/* A part of a bucket that this rank updates, in whole blocks. */
struct ddp_gpu_slice {
    int64_t lo, hi;             /* flat */
    struct ddp_gpu_nodes nodes; /* its gradients: element lo is at node[i][0]; n = 0: the sum is in `sum` */
    float *sum;                 /* element lo at sum[0]: kept from stage to stage */
    int64_t kept; /* element lo in arrays that hold what this rank updates, bucket after bucket */
};

/* What the owner does with a slice: sibling of struct ddp_reduce_apply. All calls enqueue on `stream`, the
 * same calls on every rank, and nothing waits. */
struct ddp_gpu_apply {
    void *ctx;
    /* 1: run as soon as a bucket is complete, under the rest of backward. n: all slices pass stage 0, then
     * between(0), then all pass stage 1, ... */
    int stages;
    /* A slice of trained parameters. Stage 0 finds nodes, and with n stages leaves what it wants to keep in
     * sum; the last one leaves new parameters and their copy in the compute type. values: [trained blocks]
     * [block_values] of the whole flat space; entries of its own blocks only. */
    void (*run)(void *ctx, int stage, const struct ddp_gpu_slice *slice, double *values,
                struct ddp_gpu_stream *stream);
    /* Behind every stage but the last: all blocks' values are complete. NULL where stages is 1. */
    void (*between)(void *ctx, int stage, const double *values, struct ddp_gpu_stream *stream);
    /* A slice of what lies behind the trained parameters, with the last stage: nodes are never 0. */
    void (*stats)(void *ctx, const struct ddp_gpu_slice *slice, struct ddp_gpu_stream *stream);
};

struct ddp_gpu_reduce;

/* The number that this rank has to have in the communicator: that of its slice in a bucket. */
int ddp_gpu_reduce_comm_rank(const struct ddp_gpu_reduce_conf *conf);
/* Everything that a step needs is made and uploaded here; blocks. api, gpu, comm (NULL for one rank) and
 * compute are borrowed. Parameters are zero until set. Errors: DDP_E_CONFIG more ranks than shards;
 * DDP_E_USAGE a conf out of range; DDP_E_RESOURCE no memory; DDP_E_DEVICE. */
int ddp_gpu_reduce_create(const struct ddp_gpu_reduce_conf *conf, const struct ddp_gpu_api *api,
                          struct ddp_gpu *gpu, struct ddp_gpu_comm *comm, struct ddp_gpu_stream *compute,
                          struct ddp_gpu_reduce **out, struct ddp_error *err);
/* NULL is fine. Its streams must be idle, or the device failed. */
void ddp_gpu_reduce_destroy(struct ddp_gpu_reduce *r);
/* Device bytes that create() takes, before anything is there. */
size_t ddp_gpu_reduce_bytes(const struct ddp_gpu_reduce_conf *conf);
/* Elements that this rank updates, in all buckets: the size of arrays that struct ddp_gpu_slice.kept counts
 * in. */
int64_t ddp_gpu_reduce_kept(const struct ddp_gpu_reduce_conf *conf);

int ddp_gpu_reduce_first_shard(const struct ddp_gpu_reduce *r);
int ddp_gpu_reduce_last_shard(const struct ddp_gpu_reduce *r); /* one past */

/* Device memory, fixed for life. */
/* [flat total]; of the metrics block the first DDP_GPU_METRICS, sums of the step after finish. Of tensors
 * that conf.masters leaves out, what this rank updates is up to date, and nothing else from the first step
 * on. */
float *ddp_gpu_reduce_params(struct ddp_gpu_reduce *r);
void *ddp_gpu_reduce_weights(struct ddp_gpu_reduce *r); /* [flat total] in the compute type */
const struct ddp_gpu_scale *ddp_gpu_reduce_scale(const struct ddp_gpu_reduce *r); /* NULL: no loss scaling */
/* What the guard decides: whether a step may update anything. Without loss scaling its scale stays 1. */
struct ddp_gpu_scale *ddp_gpu_reduce_guard(struct ddp_gpu_reduce *r);
/* On the device: where updates say which block they refused last, + 1 (update_kernels.h); and the rows
 * [*rows][DDP_GPU_REFUSED] of all ranks behind finish, of which the first number counts. 0: none so far. */
int32_t *ddp_gpu_reduce_refused(struct ddp_gpu_reduce *r);
const int32_t *ddp_gpu_reduce_refusals(const struct ddp_gpu_reduce *r, int *rows);
/* For uploads and downloads of what belongs to the same device. */
const struct ddp_gpu_transfer *ddp_gpu_reduce_transfer(const struct ddp_gpu_reduce *r);

/* ---- a step ---- */

/* apply: valid until finish(). Not before the step before was finished. */
void ddp_gpu_reduce_begin(struct ddp_gpu_reduce *r, const struct ddp_gpu_apply *apply);
/* Where this shard's gradient goes: [flat total] on the device, until the next group's leaf calls, or
 * finish. Padding past the tensors is zero and must stay so. NULL for a shard that is not mine. */
float *ddp_gpu_reduce_leaf(struct ddp_gpu_reduce *r, int shard);
/* The rules of reports are in ledger.h; the metrics of the last shard come before what completes a bucket.
 * What breaks them is reported by finish. */
void ddp_gpu_reduce_ready(struct ddp_gpu_reduce *r, int shard, int64_t lo, int64_t hi);
/* DDP_E_USAGE: something was not reported. Faults of the device are api->check()'s. */
int ddp_gpu_reduce_finish(struct ddp_gpu_reduce *r, struct ddp_error *err);

/* In the middle of a pass, on `stream` (the compute stream): sum [width] = tree sum over all shards of the
 * leaves [my shards][width] of every rank. Collective; width <= small_width. */
void ddp_gpu_reduce_small(struct ddp_gpu_reduce *r, struct ddp_gpu_stream *stream, int width,
                          const double *leaves, double *sum);

/* ---- checkpoints and start: block until done; between steps only. Errors: DDP_E_DEVICE, DDP_E_COMM ---- */

/* Over the flat space: get writes the slices that this rank owns and nothing else (with F32 or one rank it
 * has the others too), so that all ranks of a node fill one shared array; set reads all of it, the same on
 * every rank, and converts the weights too. */
int ddp_gpu_reduce_params_get(struct ddp_gpu_reduce *r, float *host, struct ddp_error *err);
int ddp_gpu_reduce_params_set(struct ddp_gpu_reduce *r, const float *host, struct ddp_error *err);
/* An array of what this rank updates (kept, ddp_gpu_reduce_kept() elements on the device); host is over the
 * flat space. get writes the slices that this rank owns and nothing else, so that all ranks of a node fill
 * one shared array; set reads those (with `fast`: all). */
int ddp_gpu_reduce_kept_get(struct ddp_gpu_reduce *r, const float *kept, float *host, struct ddp_error *err);
int ddp_gpu_reduce_kept_set(struct ddp_gpu_reduce *r, float *kept, const float *host, struct ddp_error *err);
/* An array over the flat space in host memory that each node has a copy of, between nodes: as
 * ddp_reduce_move(), for the reduction with that conf. What others of this node have written into it must be
 * there. */
int ddp_gpu_reduce_move(const struct ddp_gpu_reduce_conf *conf, struct ddp_comm *ranks, float *host,
                        enum ddp_reduce_way way, struct ddp_error *err);
/* Slices of the flat space that this rank owns, [lo, hi): k counts from 0; false when there are no more. */
bool ddp_gpu_reduce_owned(const struct ddp_gpu_reduce *r, int k, int64_t *lo, int64_t *hi);
/* What stands in place of the trained parameters, from all ranks: kept -> full [flat total], and in the
 * compute type weights [flat total] (F32: ignored), as complete as the parameters themselves, with whose
 * statistics and metrics; all on the device, where the compute stream may read them behind this call.
 * Enqueues; collective. */
void ddp_gpu_reduce_gather(struct ddp_gpu_reduce *r, const float *kept, float *full, void *weights);
/* The same on every rank; get also says whether the device has halted. Without loss scaling get gives
 * {1, 0, halted, 0, 1, halted} and set does nothing. */
int ddp_gpu_reduce_scale_get(struct ddp_gpu_reduce *r, struct ddp_gpu_scale *out, struct ddp_error *err);
int ddp_gpu_reduce_scale_set(struct ddp_gpu_reduce *r, const struct ddp_gpu_scale *in, struct ddp_error *err);

#endif
