/* What the files of comm share with each other, and with tests. */
#ifndef DDP_COMM_TRANSPORT_H
#define DDP_COMM_TRANSPORT_H

#include "comm/comm.h"

enum {
    DDP_COMM_SPIN =
        2000, /* polls before a wait sleeps, some microseconds: less than a sleep and a wake-up cost */
    DDP_COMM_HOST_BYTES =
        384 /* "NAME BOOT ..": a host's name with a pseudo-node's, the boot's id, and more */
};

/* ---- making a comm ---- */

/* Put a transport behind the face: checks that the table has every member that its caps ask for. All ranks
 * are on one node until ddp_comm_cut says otherwise. `self` is the comm's from now on only when this
 * succeeds. Local. */
int ddp_comm_wrap(const struct ddp_comm_ops *ops, void *self, int rank, int size, struct ddp_comm **out,
                  struct ddp_error *err);
/* Cut the world into nodes. hosts: [size], each "NAME" or "NAME BOOT .." where BOOT tells machines apart, and
 * what follows those on one machine that cannot share memory. Local, the same on all ranks. */
void ddp_comm_cut(struct ddp_comm *c, const char (*hosts)[DDP_COMM_HOST_BYTES]);
/* For ranks that are processes: asks all on which host they run (DDP_COMM_NODE in the environment makes
 * pseudo-nodes of one), cuts, and chooses how to wait from the CPUs of this host's ranks. Collective. */
int ddp_comm_look_around(struct ddp_comm *c, struct ddp_error *err);
/* How long rank `me` should poll before it sleeps, from the CPUs that each rank of a host may use (bits,
 * words of 64 per rank): 0 when one of its CPUs is wanted by more than one rank's worth of work,
 * DDP_COMM_SPIN otherwise. */
int ddp_comm_spin(int size, int me, int words, const uint64_t *cpus);

/* ---- the world ---- */

/* Were we started by a launcher of MPI? Number of ranks it announced in the environment, 0 when it
 * announced ranks without a number (MPI must tell), 1 without launcher. Negative code: started in a way
 * that cannot work (srun without PMI). */
int ddp_comm_launched(struct ddp_error *err);

/* ---- for transports ---- */

/* ddp_barrier_wait among `size` ranks. */
bool ddp_barrier_meet(struct ddp_barrier *b, int size, int spin, const ddp_word *stop, uint32_t *round);

#endif
