/* Private to src/data: what is done to the bytes of a training picture before it is cropped, flipped and
 * normalised, each a pure function of (seed, epoch, index):
 *
 *   random-resized-crop   area and ratio of a part, which is enlarged to the picture's size
 *   affine                rotation, shift, scale and shear about the middle; black outside
 *   colour jitter         brightness, contrast, saturation and hue, in an order that is drawn
 *
 * as torchvision defines them (RandomResizedCrop, RandomAffine, ColorJitter), bytes to bytes. Both geometric
 * ones read between pixels by one kernel, linearly in both directions. */
#ifndef DDP_DATA_ALTER_H
#define DDP_DATA_ALTER_H

#include "data/alter_cpu.h"
#include "data/data.h"
#include "data/draw.h"

/* The part of an h x w picture that random-resized-crop takes. */
struct ddp_window {
    int top, left, h, w;
};
struct ddp_window ddp_resized_crop_draw(const struct ddp_alter *a, int h, int w, const struct ddp_draw *d);
struct ddp_sampling ddp_resized_crop_sampling(const struct ddp_window *win, int h, int w);
struct ddp_sampling ddp_affine_sampling(const struct ddp_alter *a, int h, int w, const struct ddp_draw *d);
/* Colour jitter in place. floats: [4 planes of the picture]. */
void ddp_jitter(const struct ddp_alter *a, struct ddp_shape shape, uint8_t *pixels, const struct ddp_draw *d,
                float *floats);

#endif
