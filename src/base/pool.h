/* The threads of a rank. Thread t takes tasks t*T/n .., so memory stays with the thread that touched it
 * first, and then what others have left (parts.h); results must not depend on it. Waiting threads spin
 * briefly and then sleep on a futex (not at all when ranks exceed cores). Our own rather than OpenMP: libgomp
 * binds before main() and is opaque to the thread sanitizer (docs/adr/). */
#ifndef DDP_BASE_POOL_H
#define DDP_BASE_POOL_H

#include "ddp/op.h"

struct ddp_pool;

/* threads >= 1, the caller's included. cpus: NULL, or the CPU of each thread to pin it to (-1: leave it);
 * thread 0 is the caller and is not pinned here. spin: rounds before sleeping, 0 when cores are short. */
int ddp_pool_create(int threads, const int *cpus, int spin, struct ddp_pool **out, struct ddp_error *err);
void ddp_pool_destroy(struct ddp_pool *pool); /* NULL is fine */
int ddp_pool_threads(const struct ddp_pool *pool);
/* fn runs between the tasks of the calling thread, in that thread: for what has to be looked after while it
 * computes. It may not call ddp_parallel() with this pool. NULL: nothing does. */
void ddp_pool_between(struct ddp_pool *pool, void (*fn)(void *ctx), void *ctx);
/* In a task that takes longer than some 0.1 ms, between its parts: the same. NULL is fine. */
void ddp_pool_pause(struct ddp_pool *pool);
/* ddp_parallel() is in ddp/op.h; pool NULL runs the tasks in order in the caller. */

#endif
