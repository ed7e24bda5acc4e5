/* The built-in digits: pictures that look handwritten, drawn by the program itself. Private to src/data and
 * its tests. */
#ifndef DDP_DATA_DIGITS_H
#define DDP_DATA_DIGITS_H

#include "ddp/dataset.h"

enum {
    DDP_DIGIT_SIDE = 28,
    DDP_DIGIT_PIXELS = DDP_DIGIT_SIDE * DDP_DIGIT_SIDE,
    DDP_DIGIT_TRAIN = 60000, /* pictures when the config names no number */
    DDP_DIGIT_TEST = 10000,
    DDP_DIGIT_VERSION = 1, /* of the drawing: goes into the digest; raise it when any picture changes */
};

/* One pen point of a glyph, in a box of about 70 x 100 units, y down. */
enum ddp_pen { DDP_PEN_SMOOTH, DDP_PEN_CORNER, DDP_PEN_UP };
struct ddp_glyph_point {
    int8_t x, y;
    uint8_t pen; /* the path bends smoothly here, has a corner, or ends (the next point starts a stroke) */
};
struct ddp_glyph {
    const struct ddp_glyph_point *point;
    int n;
    int weight; /* how often this way of writing occurs among those of its digit */
};
enum { DDP_GLYPH_MAX_POINTS = 24, DDP_GLYPH_MAX_STYLES = 6 };

/* Ways of writing `digit`; *n of them. */
const struct ddp_glyph *ddp_digit_glyphs(int digit, int *n);

/* Draw picture `index` of a split: white (255) ink on black, [28][28], and its label 0..9. A pure function of
 * its arguments, the same bytes on every CPU and from every compiler: single-precision +, -, *, / and sqrt in
 * a fixed order. index < 2^32. */
void ddp_digit_draw(uint64_t seed, enum ddp_split split, int64_t index, uint8_t pixels[DDP_DIGIT_PIXELS],
                    int32_t *label);
/* The same label, without drawing. */
int32_t ddp_digit_label(uint64_t seed, enum ddp_split split, int64_t index);

#endif
