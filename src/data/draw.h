/* The random numbers of a training sample: functions of (seed, epoch, index). Private to src/data.
 *
 * Draws of DDP_STREAM_AUGMENT:
 *
 *   0, 1        augment.c: crop and flip, cutout
 *   2, 3        affine: angle, columns, rows, scale; shear
 *   4, 5        colour: factors of brightness, contrast, saturation, hue; their order
 *   6           mixup: the partner
 *   16 to 25    random-resized-crop: ten tries of area, ratio, row, column
 *   64 and on   mixup: tries for its two gamma numbers, the second 2^20 behind the first
 */
#ifndef DDP_DATA_DRAW_H
#define DDP_DATA_DRAW_H

#include "base/base.h"

struct ddp_draw { /* whose random numbers */
    uint64_t seed;
    int64_t epoch, index;
};

static inline struct ddp_philox4 ddp_draw(const struct ddp_draw *d, uint32_t number)
{
    return ddp_philox4(number, (uint32_t)d->index, (uint32_t)d->epoch, DDP_STREAM_AUGMENT, d->seed);
}

/* Uniform from a to b, in doubles of 32 random bits. */
static inline double ddp_draw_between(uint32_t word, double a, double b)
{
    return a + (b - a) * ((double)word * 0x1p-32);
}

#endif
