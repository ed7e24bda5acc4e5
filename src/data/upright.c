/* EXIF orientation: read, and undone. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "data/image.h"

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, ENTRY_BYTES = 12 };

static uint32_t number(const uint8_t *p, int bytes, bool big)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint32_t)p[i] << 8 * (big ? bytes - 1 - i : i);
    return v;
}

/* TIFF 6.0: "II" or "MM", 42, offset of the first directory; that is a count and entries of
 *   tag (2 bytes)  type (2)  count (4)  value or offset (4)
 */
int ddp_exif_orientation(const uint8_t *tiff, size_t bytes)
{
    if (bytes < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 1;
    const bool big = tiff[0] == 'M';
    const size_t at = number(tiff + 4, 4, big);
    if (at > bytes - 2)
        return 1;
    const size_t entries = number(tiff + at, 2, big);
    for (size_t i = 0; i < entries && at + 2 + (i + 1) * ENTRY_BYTES <= bytes; i++) {
        const uint8_t *e = tiff + at + 2 + i * ENTRY_BYTES;
        const uint32_t value = number(e + 8, 2, big);
        if (number(e, 2, big) == TAG_ORIENTATION && number(e + 2, 2, big) == TYPE_SHORT && value >= 1 &&
            value <= 8)
            return (int)value;
    }
    return 1;
}

/* Where pixel (y, x) of the upright picture [h][w] lies in the stored one:
 *   1 as it is       2 mirrored left-right    3 turned by half      4 mirrored top-bottom
 *   5 transposed     6 turned right to view   7 transversed         8 turned left to view
 */
void ddp_image_upright(struct ddp_image *image, int orientation)
{
    if (orientation <= 1 || orientation > 8)
        return;
    const int sh = image->h, sw = image->w;
    const bool swap = orientation >= 5;
    const int h = swap ? sw : sh, w = swap ? sh : sw;
    const size_t plane = (size_t)h * (size_t)w;
    uint8_t *to = ddp_malloc(plane * (size_t)image->c);
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            int sy = swap ? x : y, sx = swap ? y : x;
            if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
                sy = sh - 1 - sy;
            if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
                sx = sw - 1 - sx;
            for (int k = 0; k < image->c; k++)
                to[(size_t)k * plane + (size_t)y * (size_t)w + (size_t)x] =
                    image->p[(size_t)k * plane + (size_t)sy * (size_t)sw + (size_t)sx];
        }
    }
    free(image->p);
    image->p = to;
    image->h = h;
    image->w = w;
}
