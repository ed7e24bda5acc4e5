/* Index ranges, and the block at which the flat space is cut. Read on both sides of the CUDA plug-in, so it
 * stands on nothing. */
#ifndef DDP_BASE_RANGE_H
#define DDP_BASE_RANGE_H

#include <stdint.h>

/* Elements of the flat space (src/model/flat.h) that stay together: tensors are padded to it, reports,
 * buckets, slices and norms are cut at it, and one thread block of a GPU takes one. */
enum { DDP_BLOCK = 4096 };

/* [lo, hi), of elements, blocks, buckets or shards, as its user says; empty where lo = hi. */
struct ddp_range {
    int64_t lo, hi;
};

static inline int64_t ddp_range_size(struct ddp_range a)
{
    return a.hi - a.lo;
}

/* What of a lies in b; where nothing does, an empty range in b. */
static inline struct ddp_range ddp_range_clip(struct ddp_range a, struct ddp_range b)
{
    struct ddp_range c = b;
    if (a.lo > b.lo)
        c.lo = a.lo < b.hi ? a.lo : b.hi;
    if (a.hi < b.hi)
        c.hi = a.hi > c.lo ? a.hi : c.lo;
    return c;
}

/* Blocks as elements. */
static inline struct ddp_range ddp_range_elements(struct ddp_range blocks)
{
    struct ddp_range a = {blocks.lo * DDP_BLOCK, blocks.hi * DDP_BLOCK};
    return a;
}

#endif
