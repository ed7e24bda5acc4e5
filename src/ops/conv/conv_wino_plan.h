/* Private to conv_wino*.c: how tiles, points and weights are cut up and where they lie. */
#ifndef DDP_CONV_WINO_PLAN_H
#define DDP_CONV_WINO_PLAN_H

#include "ops/conv/conv_wino.h"

#include "ops/ops.h"

enum {
    /* Tiles in a block, at most: two whole tiles of the widest micro-kernel; the points of 64 + 64 channels
     * take 500 KiB. */
    DDP_WINO_BLOCK = 28,
    /* Channel blocks whose weights are transformed at a time, a pair of pieces: 290 KiB with a pair of
     * output blocks. */
    DDP_WINO_PART = 2 * DDP_WINO_PIECE,
    DDP_WINO_GAP = 16,   /* floats between points: a power of two apart, all fall into one set of a cache */
    DDP_WINO_LANES = 16, /* threads at most */
};

/* Tiles side by side that cover so many pixels. */
static inline int ddp_wino_across(int size)
{
    return (size + DDP_WINO_TILE - 1) / DDP_WINO_TILE;
}

/* Floats from one point to the next: of tiles, of 16 x 16 blocks of weights. */
static inline int64_t ddp_wino_room(int blocks, int tiles)
{
    return (int64_t)blocks * tiles * 16 + DDP_WINO_GAP;
}

static inline int64_t ddp_wino_weights(int blocks)
{
    return (int64_t)blocks * 256 + DDP_WINO_GAP;
}

/* Blocks of tiles, as equal as can be: block i is [cut(i), cut(i + 1)). */
static inline int ddp_wino_blocks(int tiles)
{
    return (tiles + DDP_WINO_BLOCK - 1) / DDP_WINO_BLOCK;
}

static inline int ddp_wino_cut(int tiles, int blocks, int64_t i)
{
    return (int)(tiles * i / blocks);
}

/* The order of a pass, by what it costs: it does not show in the bits. `weights`: blocks of 16 x 16. */
static inline bool ddp_wino_weights_outside(int weights, int tiles)
{
    return tiles <= 64 && weights >= 128;
}

static inline int ddp_wino_threads(const struct ddp_pool *pool)
{
    int threads = pool ? ddp_pool_threads(pool) : 1;
    return threads < DDP_WINO_LANES ? threads : DDP_WINO_LANES;
}

/* Scratch of the weight gradient. */
int64_t ddp_wino_wgrad_floats(const struct ddp_conv_geom *g, int tiles);

#endif
