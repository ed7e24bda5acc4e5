/* Handles of vendor libraries: one for each opened device and library, shared by all plans that use it, and
 * gone with the last of them. */
#ifndef DDP_CUDA_LIBRARY_H
#define DDP_CUDA_LIBRARY_H

#include "device/cuda/private.h"

struct ddp_library_kind {
    int (*create)(void **handle, struct ddp_error *err); /* on the thread's device */
    void (*destroy)(void *handle);
};

struct ddp_library {
    void *handle;
    struct ddp_gpu *gpu;
    const struct ddp_library_kind *kind;
    int users;
    struct ddp_library *next;
};

/* Create it or count one user more. Errors are create's. Safe from several threads. */
int ddp_library_take(struct ddp_gpu *gpu, const struct ddp_library_kind *kind, struct ddp_library **out,
                     struct ddp_error *err);
void ddp_library_drop(struct ddp_library *l); /* NULL is fine */

#endif
