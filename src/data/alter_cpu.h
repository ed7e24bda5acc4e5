/* Kernels of src/data that change bytes of pictures (alter_cpu.c). */
#ifndef DDP_DATA_ALTER_CPU_H
#define DDP_DATA_ALTER_CPU_H

#include <stddef.h>
#include <stdint.h>

#include "ddp/dataset.h"
#include "ops/cpu/cpu.h"

/* Pixel (x, y) of the result, both counted from 0, is read at column x * xx + y * xy + x0 and row
 * x * yx + y * yy + y0 of the picture, cut to [left, right] and [top, bottom] first; the middle of a pixel
 * is a whole number. Two columns or rows on each side of the picture may be read: they are black. */
struct ddp_sampling {
    double xx, xy, x0, yx, yy, y0;
    float left, right, top, bottom;
};

/* Values of pictures are 0 to 255. */
struct ddp_alter_kernels {
    /* Linear between the four pixels around, rounded to the nearest byte. from may be to; scratch of
     * ddp_resample_words(). */
    void (*resample)(const struct ddp_sampling *s, struct ddp_shape shape, const uint8_t *from, uint8_t *to,
                     uint32_t *scratch);
    void (*to_floats)(const uint8_t *from, size_t n, float *to);
    void (*to_bytes)(const float *from, size_t n, uint8_t *to); /* to the nearest */
    void (*brighten)(float *v, size_t n, float factor);
    void (*part)(float *v, const float *grey, size_t n, float factor); /* v - grey grows by factor */
    void (*part_one)(float *v, float grey, size_t n, float factor);    /* one grey for all */
    void (*grey)(const float *rgb, size_t n, float *grey);             /* rgb: three planes of n */
    int64_t (*sum)(const float *v, size_t n);                          /* of 256ths, each rounded */
    void (*turn)(float *rgb, size_t n, float sixths); /* hue by -3 to 3 sixths of its circle */
};
DDP_CPU_TABLE(struct ddp_alter_kernels, ddp_alter_kernels)

static inline size_t ddp_resample_words(struct ddp_shape s)
{
    return (size_t)s.c * (size_t)(s.h + 3) * (size_t)(s.w + 3) + 3 * (size_t)s.w;
}

#endif
