/* Pictures in files: JPEG (libjpeg) and PNG (libpng) in, PNG out, and resizing. Private to src/data and
 * ddp-data. */
#ifndef DDP_DATA_IMAGE_H
#define DDP_DATA_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ddp/error.h"

struct ddp_image {
    int c, h, w; /* c: 1 gray, 3 red green blue */
    uint8_t *p;  /* planes [c][h][w]; malloc'd */
};

/* Decode a file by its content, not its name. channels: 0 as the file has it, else 1 or 3. A file that is cut
 * off or damaged is an error, also where the library would only warn. Free with ddp_image_finish. */
int ddp_image_read(const char *path, int channels, struct ddp_image *out, struct ddp_error *err);
/* The same from memory; `path` names it in errors. */
int ddp_image_decode(const char *path, const void *data, size_t bytes, int channels, struct ddp_image *out,
                     struct ddp_error *err);
void ddp_image_finish(struct ddp_image *image); /* zeroed, finished twice: fine */

/* To out->h x out->w (set by the caller, with p of c*h*w bytes). Shrinking averages the area of each new
 * pixel (box), enlarging interpolates linearly. crop: keep the proportions and cut what protrudes, evenly on
 * both sides; else stretch. Double arithmetic in fixed order, rounded half up: the same bytes everywhere. */
void ddp_image_resize(const struct ddp_image *in, bool crop, struct ddp_image *out);

/* Interleaved bytes [h][w][c], c 1 or 3, as PNG. */
int ddp_image_write_png(const char *path, const uint8_t *pixels, int c, int h, int w, struct ddp_error *err);

#endif
