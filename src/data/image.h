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

/* Decode a file by its content, not its name, upright as its EXIF orientation says. channels: 0 as the
 * file has it, else 1 or 3. Transparent pixels lie on white. 16-bit PNGs are sRGB and keep their high
 * byte; a gAMA chunk is honoured. A file that is cut off or damaged is an error, also where the library
 * would only warn, and so is one of more than `most` pixels (0: DDP_IMAGE_MOST): it is refused by its
 * head, before memory is asked for. Free with ddp_image_finish. */
enum { DDP_IMAGE_MOST = 100000000 };
int ddp_image_read(const char *path, int channels, int64_t most, struct ddp_image *out,
                   struct ddp_error *err);
/* The same from memory; `path` names it in errors. */
int ddp_image_decode(const char *path, const void *data, size_t bytes, int channels, int64_t most,
                     struct ddp_image *out, struct ddp_error *err);
/* Whether it has colour, by its head alone. */
int ddp_image_colour(const char *path, bool *colour, struct ddp_error *err);
void ddp_image_finish(struct ddp_image *image); /* zeroed, finished twice: fine */
/* EXIF orientation, 1 (upright) to 8, in the data of an APP1 segment or eXIf chunk behind "Exif\0\0"; 1
 * when there is none. */
int ddp_exif_orientation(const uint8_t *tiff, size_t bytes);
/* Turn and mirror what a camera stored with this orientation until it is upright. */
void ddp_image_upright(struct ddp_image *image, int orientation);

/* To out->h x out->w (set by the caller, with p of c*h*w bytes). Shrinking averages the area of each new
 * pixel (box), enlarging interpolates linearly. crop: keep the proportions and cut what protrudes, evenly on
 * both sides; else stretch. Double arithmetic in fixed order, rounded half up: the same bytes everywhere. */
void ddp_image_resize(const struct ddp_image *in, bool crop, struct ddp_image *out);

/* Interleaved bytes [h][w][c], c 1 or 3, as PNG. */
int ddp_image_write_png(const char *path, const uint8_t *pixels, int c, int h, int w, struct ddp_error *err);

#endif
