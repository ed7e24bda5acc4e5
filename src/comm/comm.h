/* The face of src/comm: a group of ranks that can meet. Transports implement struct ddp_comm_ops
 * (comm/ops.h): `self` (one rank), `threads` (N ranks in one process, for tests), `mpi`. This layer checks
 * arguments and states.
 *
 * On one node all ranks see the same memory: comm_shared_alloc() is what gradients, parameters and optimizer
 * state live in, and nothing is sent at all (docs/adr/). A transport whose ranks are not all on one node
 * lacks DDP_COMM_SHARED. */
#ifndef DDP_COMM_H
#define DDP_COMM_H

#include "base/base.h"
#include "comm/ops.h"

struct ddp_comm {
    int rank, size;
    const struct ddp_comm_ops *ops;
    void *self;
    int spin;            /* polls before a wait sleeps; 0 when ranks exceed cores */
    ddp_word *stop_word; /* threads: set by abort, ends all waits; NULL else */
};

/* One rank. */
int ddp_comm_self_create(struct ddp_comm **out, struct ddp_error *err);
/* N ranks in this process; out[i] is for thread i. Destroy each. */
int ddp_comm_threads_create(int n, struct ddp_comm **out, struct ddp_error *err);
/* The ranks that mpirun (or srun) started; initialises MPI (FUNNELED). Ranks on more than one host are
 * refused with the reason. The self transport is returned, and MPI left alone, when the environment names no
 * launcher of MPI, or one rank. */
int ddp_comm_world_create(int *argc, char ***argv, struct ddp_comm **out, struct ddp_error *err);
/* Collective for mpi (finalises it, unless an MPI call had failed: then nobody is waited for). NULL is
 * fine. */
void ddp_comm_destroy(struct ddp_comm *c);

int ddp_comm_barrier(struct ddp_comm *c, struct ddp_error *err);
int ddp_comm_bcast(struct ddp_comm *c, void *buf, size_t bytes, int root, struct ddp_error *err);
/* out: [size][bytes] */
int ddp_comm_allgather(struct ddp_comm *c, const void *in, void *out, size_t bytes, struct ddp_error *err);
/* One zeroed, page-aligned segment that all ranks see. An error on any rank is returned on all. Free it on
 * each rank. */
int ddp_comm_shared_alloc(struct ddp_comm *c, size_t bytes, void **out, struct ddp_error *err);
void ddp_comm_shared_free(struct ddp_comm *c, void *base, size_t bytes);
int ddp_comm_allreduce_begin(struct ddp_comm *c, float *buf, size_t count, enum ddp_mem mem, void *stream,
                             void **request, struct ddp_error *err);
int ddp_comm_allreduce_end(struct ddp_comm *c, void *request, struct ddp_error *err);
void ddp_comm_abort(struct ddp_comm *c, int status);

/* Agree on an error: if any rank passes a failed code (with its text in err), all return the code of the
 * first failed rank, and ranks without an error of their own get "rank R: text" of that one. Collective;
 * every phase before step 0 ends with it, so that no rank is left waiting. */
int ddp_comm_agree(struct ddp_comm *c, int code, struct ddp_error *err);

/* A barrier in shared memory that sleeps (futex) instead of polling MPI: for the hot path. */
struct ddp_barrier {
    _Alignas(64) ddp_word arrived; /* all arrivals ever */
    _Alignas(64) ddp_word passed;  /* barriers completed: what the others sleep on */
};
/* b: zeroed shared memory. `round` is the caller's count of past barriers on b, incremented here. False when
 * the group was aborted. What a rank wrote before is seen by all after. */
bool ddp_barrier_wait(struct ddp_barrier *b, struct ddp_comm *c, uint32_t *round);

#endif
