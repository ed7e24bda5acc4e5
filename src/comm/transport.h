/* What transports share with comm.c and with nobody else. */
#ifndef DDP_COMM_TRANSPORT_H
#define DDP_COMM_TRANSPORT_H

#include "comm/comm.h"

enum { DDP_COMM_SPIN = 2000, DDP_HOST_BYTES = 320 };

/* Put a transport behind the face: checks that the table has every member that its caps ask for. `self` is
 * the comm's from now on only when this succeeds. */
int ddp_comm_wrap(const struct ddp_comm_ops *ops, void *self, int rank, int size, struct ddp_comm **out,
                  struct ddp_error *err);

/* The ranks of MPI_COMM_WORLD; initialises MPI when that was not done yet, and then finalises it in destroy.
 * Collective. */
int ddp_comm_mpi_create(int *argc, char ***argv, struct ddp_comm **out, struct ddp_error *err);

/* Were we started by a launcher of MPI? Number of ranks it announced in the environment, 0 when it announced
 * ranks without a number (MPI must tell), 1 without launcher. Negative code: started in a way that cannot
 * work (srun without PMI). */
int ddp_comm_launched(struct ddp_error *err);

/* Refuse ranks on more than one host; hosts: [size] names, each "NAME" or "NAME id" where id tells machines
 * of one name apart. The error names the hosts and their ranks. */
int ddp_comm_one_host(int size, const char (*hosts)[DDP_HOST_BYTES], struct ddp_error *err);

/* How long rank `me` should poll before it sleeps, from the CPUs that each rank may use (bits, words
 * of 64 per rank): 0 when one of its CPUs is wanted by more than one rank's worth of work,
 * DDP_COMM_SPIN otherwise. */
int ddp_comm_spin(int size, int me, int words, const uint64_t *cpus);

#endif
