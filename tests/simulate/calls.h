/* The calls of calls.c, and what they were before. */
#ifndef DDP_TEST_SIMULATE_CALLS_H
#define DDP_TEST_SIMULATE_CALLS_H

#include <mpi.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "optim/optim.h"
#include "reduce/host_private.h"

#define DDP_CALL(name) __typeof__(name) __wrap_##name, __real_##name

DDP_CALL(sched_yield);
DDP_CALL(nanosleep);
DDP_CALL(gethostname);
DDP_CALL(MPI_Init_thread);
DDP_CALL(ddp_streams_close);
DDP_CALL(ddp_reduce_begin);
DDP_CALL(ddp_optim_run);
DDP_CALL(ddp_reduce_share);
DDP_CALL(ddp_reduce_share_some);
DDP_CALL(ddp_reduce_apply_slice);
DDP_CALL(ddp_reduce_apply_some);
DDP_CALL(ddp_pages_alloc);
DDP_CALL(malloc);
DDP_CALL(calloc);
DDP_CALL(realloc);
DDP_CALL(strdup);
DDP_CALL(free);

#endif
