/* How elementwise ops go through a tensor: as tasks of planes whose innermost run is what lies together in
 * memory. Which way is chosen never changes a result. */
#ifndef DDP_COMPUTE_WALK_H
#define DDP_COMPUTE_WALK_H

#include "ops/cpu/plane.h"

struct ddp_walk {
    /* task = (block, row), rows = pixels, run = samples; else task = (sample, block), rows x run = picture */
    bool features;
    int tasks, rows, run;
};

static inline struct ddp_walk ddp_walk_of(const struct ddp_tensor *t)
{
    int blocks = ddp_blocks(t->c);
    if (t->sn < t->sw || (t->h == 1 && t->w == 1))
        return (struct ddp_walk){true, t->n > 0 ? blocks * t->h : 0, t->w, t->n};
    return (struct ddp_walk){false, t->n * blocks, t->h, t->w};
}

/* The plane of a task in a tensor of the same shape and any strides. */
static inline struct ddp_plane ddp_walk_plane(const struct ddp_walk *k, const struct ddp_tensor *t, int task)
{
    if (k->features)
        return (struct ddp_plane){ddp_at(t, 0, task / t->h, task % t->h, 0), t->sw, t->sn};
    int blocks = ddp_blocks(t->c);
    return (struct ddp_plane){ddp_at(t, task / blocks, task % blocks, 0, 0), t->sh, t->sw};
}

/* The picture of one sample and channel block. */
static inline struct ddp_plane ddp_plane_of(const struct ddp_tensor *t, int n, int block)
{
    return (struct ddp_plane){ddp_at(t, n, block, 0, 0), t->sh, t->sw};
}

#endif
