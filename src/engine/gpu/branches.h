/* Streams on which shards run side by side: forked from one stream, the trunk, and joined to it again. The
 * same kernels in the same order for each shard, so the same bits on any number of branches.
 *
 *     trunk     ---+--------------------+--- merges, ready ---
 *     branch 0     +-- shard 0, 2, .. --+
 *     branch 1     +-- shard 1, 3, .. --+
 *
 * One branch is the trunk itself: no stream, no event. */
#ifndef DDP_GPU_BRANCHES_H
#define DDP_GPU_BRANCHES_H

#include "device/api.h"

enum { DDP_GPU_MAX_BRANCHES = 64 };

struct ddp_gpu_branches {
    const struct ddp_gpu_api *api;
    int n;
    struct ddp_gpu_stream *stream[DDP_GPU_MAX_BRANCHES];
    struct ddp_gpu_event *done[DDP_GPU_MAX_BRANCHES]; /* work so far, when they were joined last */
    bool busy[DDP_GPU_MAX_BRANCHES];                  /* has had work since */
    struct ddp_gpu_event *forked;
};

/* n: 1 to DDP_GPU_MAX_BRANCHES. What was made before an error is freed by destroy. */
int ddp_gpu_branches_create(struct ddp_gpu_branches *b, const struct ddp_gpu_api *api, struct ddp_gpu *gpu,
                            int n, struct ddp_error *err);
void ddp_gpu_branches_destroy(struct ddp_gpu_branches *b); /* zeroed, or half made, is fine */

/* That of shard i, which is about to get work. */
static inline struct ddp_gpu_stream *ddp_gpu_branch(struct ddp_gpu_branches *b, struct ddp_gpu_stream *trunk,
                                                    int i)
{
    b->busy[i % b->n] = true;
    return b->n > 1 ? b->stream[i % b->n] : trunk;
}

/* Later work on the branches of shards 0 to n - 1 comes after the trunk's so far. */
void ddp_gpu_branches_fork(const struct ddp_gpu_branches *b, struct ddp_gpu_stream *trunk, int n);
/* Later work on the trunk comes after that of all branches so far; they go on beside it. */
void ddp_gpu_branches_join(struct ddp_gpu_branches *b, struct ddp_gpu_stream *trunk);

#endif
