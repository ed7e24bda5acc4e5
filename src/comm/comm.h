/* The face of src/comm: a group of ranks that can meet, and who they are.
 *
 *   world   all ranks of the job
 *   node    the ranks that share memory: those of one host (of a pseudo-node in tests)
 *   lane    the ranks with the same local number on every node
 *
 *             node 0        node 1
 *   lane 0    rank 0        rank 2         local rank 0
 *   lane 1    rank 1        rank 3         local rank 1
 *
 * Nodes are numbered by their lowest rank, local ranks in the order of ranks. Where nodes have different
 * numbers of ranks there are as many lanes as the smallest node has ranks, and a rank's lane is its local
 * rank modulo that.
 *
 * A rank's seat is its number when ranks are counted node after node: what is to lie together on a node is
 * handed out by seats. A launcher that deals ranks out to hosts in turn gives other ranks than seats; rank 0
 * has seat 0 always.
 *
 * Transports implement struct ddp_comm_ops (comm/ops.h): `self` (one rank), `threads` (N ranks in one
 * process, for tests), `node` (processes of one host in shared memory), `mpi` (a
 * plug-in, opened only where a launcher of MPI started this process). This
 * layer checks arguments and states. All calls of one rank are made by one thread at a time; "collective"
 * ones by all ranks in the same order. After an error of a collective call that the others need not share
 * (DDP_E_COMM), only ddp_comm_abort() and ddp_comm_destroy() are of use; errors said to be "the same on
 * all ranks" leave the comm as it was. */
#ifndef DDP_COMM_H
#define DDP_COMM_H

#include "base/base.h"
#include "comm/ops.h"

struct ddp_comm_node {
    int first, size; /* lowest rank, number of ranks */
    int machine;     /* pseudo-nodes of one number share CPUs */
    char host[256];  /* for messages; "" where there is one node */
};

struct ddp_comm {
    int rank, size;             /* in the world */
    int node, nodes;            /* mine, and how many */
    int local_rank, local_size; /* on my node */
    int lane, lanes;
    int seat;
    const struct ddp_comm_node *at; /* [nodes] */
    const int *node_of;             /* [size] */
    const int *rank_at;             /* [size] the rank in each seat */
    const int *lane_rank;           /* [nodes] of each node the rank whose local rank is my lane */

    const struct ddp_comm_ops *ops;
    void *self;
    int spin;            /* polls before a wait sleeps; 0 when ranks exceed cores */
    ddp_word *stop_word; /* threads, node: set by abort, ends all waits; NULL else */
};

/* ---- life ---- */

/* One rank. Local. */
int ddp_comm_self_create(struct ddp_comm **out, struct ddp_error *err);
/* N ranks in this process; out[i] is for thread i. Destroy each. */
int ddp_comm_threads_create(int n, struct ddp_comm **out, struct ddp_error *err);
/* The same cut into pseudo-nodes: ranks with the same node[r] (any number) share memory, others do not. */
int ddp_comm_threads_create_nodes(int n, const int *node, struct ddp_comm **out, struct ddp_error *err);
enum { DDP_COMM_NODE_RANKS = 4096 };
/* Ranks that are processes of this host. fd: one anonymous file (memfd_create), empty when the first rank
 * comes, that all of them hold; it is ours from now on, also after an error. Collective. */
int ddp_comm_node_create(int fd, int rank, int size, struct ddp_comm **out, struct ddp_error *err);
/* The ranks that this process was started with: by ddp-launch itself (transport node), or by a launcher of
 * MPI (mpirun, srun), which opens the plug-in and initialises MPI (FUNNELED). Collective. The self transport
 * is returned, and MPI neither loaded nor needed, when the environment names no launcher, or one rank. argc,
 * argv: the program's, or NULL. */
int ddp_comm_world_create(int *argc, char ***argv, struct ddp_comm **out, struct ddp_error *err);
/* The number among the ranks of this host that a launcher announced in the environment: -1 when none did.
 * For what has to be done before the world is there. Local. */
int ddp_comm_announced_local_rank(void);
/* Collective for mpi (finalises it, unless an MPI call had failed: then nobody is waited for), else local.
 * NULL is fine. */
void ddp_comm_destroy(struct ddp_comm *c);
/* Local: end all ranks of the job now, because this one cannot go on. Waits of the others end (threads,
 * node), or their processes (mpi: this one too). */
void ddp_comm_abort(struct ddp_comm *c, int status);

/* ---- all ranks meet: collective over the world ---- */

int ddp_comm_barrier(struct ddp_comm *c, struct ddp_error *err);
/* 0 bytes meet nobody. */
int ddp_comm_bcast(struct ddp_comm *c, void *buf, size_t bytes, int root, struct ddp_error *err);
/* out: [size][bytes], in order of rank. 0 bytes meet nobody. */
int ddp_comm_allgather(struct ddp_comm *c, const void *in, void *out, size_t bytes, struct ddp_error *err);
/* Agree on an error: if any rank passes a failed code (with its text in err), all return the code of the
 * first failed rank, and ranks without an error of their own get "rank R: text" of that one. Every phase
 * before step 0 ends with it, so that no rank is left waiting. */
int ddp_comm_agree(struct ddp_comm *c, int code, struct ddp_error *err);
/* Float sum in place, in whatever order the transport likes; host memory. Both collective. begin returns
 * at once; several may be in flight, ended in the order in which they were begun; buf is in use until end
 * returns. DDP_E_COMM: the transport has none. */
int ddp_comm_allreduce_begin(struct ddp_comm *c, float *buf, size_t count, void **request,
                             struct ddp_error *err);
int ddp_comm_allreduce_end(struct ddp_comm *c, void *request, struct ddp_error *err);

/* ---- memory of a node ---- */

/* One zeroed, page-aligned segment for each node, that the ranks of that node see. Collective over the
 * world, all with the same bytes; an error on any rank is returned on all, which leaves the comm as it
 * was. */
int ddp_comm_shared_alloc(struct ddp_comm *c, size_t bytes, void **out, struct ddp_error *err);
/* Local, on each rank; NULL base is fine. */
void ddp_comm_shared_free(struct ddp_comm *c, void *base, size_t bytes);

/* A barrier of my node in its shared memory, that sleeps (futex) instead of polling a transport: for the
 * hot path. */
struct ddp_barrier {
    _Alignas(64) ddp_word arrived; /* all arrivals ever */
    _Alignas(64) ddp_word passed;  /* barriers completed: what the others sleep on */
};
/* b: zeroed shared memory. `round` is the caller's count of past barriers on b, incremented here.
 * Collective over the node. False when the group was aborted. What a rank wrote before is seen by all
 * after. */
bool ddp_barrier_wait(struct ddp_barrier *b, struct ddp_comm *c, uint32_t *round);

/* ---- messages between ranks: for what passes between nodes ---- */

/* A list of messages that is posted again and again, ahead of its use:
 *
 * create -> { begin -> poll ... -> finish }* -> destroy
 *
 * The k-th message that a rank sends to a peer under a tag is the k-th that the peer receives from it
 * under that tag, counted in the order of begins and, in one exchange, of the list; whoever is polled
 * first. Both sides give the same bytes: else the receiver fails with DDP_E_COMM, which names both sizes.
 * A send may wait for its receive: an exchange that both sides have begun gets through, whatever the order
 * of their lists. */
struct ddp_exchange;

enum { DDP_EXCHANGE_TAGS = 32768 }; /* tags are 0 to one below */

/* Local. The list is copied, its buffers are not. DDP_E_USAGE: a peer that is no other rank, a null
 * buffer, a tag out of range. DDP_E_COMM: the transport has no messages (without any message every
 * transport will do). */
int ddp_exchange_create(struct ddp_comm *c, const struct ddp_message *list, int n, int tag,
                        struct ddp_exchange **out, struct ddp_error *err);
/* Local, returns at once. The buffers are in use until poll says done or finish returns. Only when it was
 * never begun or is done. */
int ddp_exchange_begin(struct ddp_exchange *x, struct ddp_error *err);
/* Local, never waits, and moves all exchanges of this rank on (MPI makes progress only when it is called).
 * Says done again when asked again. */
int ddp_exchange_poll(struct ddp_exchange *x, bool *done, struct ddp_error *err);
/* Waits for the peers until all messages of this exchange are through. After an error, of poll too, the
 * exchange is good for destroy alone: other ranks may be waiting, abort. */
int ddp_exchange_finish(struct ddp_exchange *x, struct ddp_error *err);
/* Local. One that is in flight (after an error): its buffers must outlive the comm. NULL is fine. */
void ddp_exchange_destroy(struct ddp_exchange *x);

#endif
