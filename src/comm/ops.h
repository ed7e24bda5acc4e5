/* What a transport fills in. */
#ifndef DDP_COMM_OPS_H
#define DDP_COMM_OPS_H

#include <stdbool.h>
#include <stddef.h>

#include "ddp/error.h"

enum ddp_mem { DDP_MEM_HOST, DDP_MEM_CUDA };

enum {
    DDP_COMM_SHARED = 1,    /* shared_alloc works: all ranks see one memory */
    DDP_COMM_ALLREDUCE = 2, /* allreduce_begin/end work */
};

struct ddp_comm; /* a group of ranks; see src/comm/comm.h for the calls */

/* A transport. Every call is collective over the comm unless it says otherwise, and made by one thread of
 * each rank in the same order. `self` is the transport's own state. */
struct ddp_comm_ops {
    const char *name;
    unsigned caps;
    const char *(*library)(void); /* name and version of what is under it, for run.json; may be NULL */
    int (*barrier)(void *self, struct ddp_error *err);                                  /* required */
    int (*bcast)(void *self, void *buf, size_t bytes, int root, struct ddp_error *err); /* required */
    int (*allgather)(void *self, const void *in, void *out, size_t bytes,
                     struct ddp_error *err); /* required: bytes from each rank */
    /* DDP_COMM_SHARED: one zeroed, page-aligned segment that all ranks see at addresses of their own. */
    int (*shared_alloc)(void *self, size_t bytes, void **out, struct ddp_error *err);
    void (*shared_free)(void *self, void *base, size_t bytes); /* local */
    /* DDP_COMM_ALLREDUCE: float sum in place, in whatever order the backend likes. begin returns at once; buf
     * and stream (NULL for host memory) are in use until end returns. */
    int (*allreduce_begin)(void *self, float *buf, size_t count, enum ddp_mem mem, void *stream,
                           void **request, struct ddp_error *err);
    int (*allreduce_end)(void *self, void *request, struct ddp_error *err);
    /* Local: end all ranks of the job now, because this one cannot go on. May return
     * (threads) or not (mpi). */
    void (*abort)(void *self, int status); /* required */
    void (*destroy)(void *self);           /* required */
};

#endif
