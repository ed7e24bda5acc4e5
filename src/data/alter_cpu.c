/* Changing bytes of pictures: reading between pixels, and colours. Loops over pixels without branches, which
 * compilers turn into vectors of any width; every operation is rounded for itself, so all give the same bits.
 *
 * resample: the four bytes around a place lie in one word, its quad, so a value costs one gather.
 *
 *   quad (y, x), -2 <= y <= h, -2 <= x <= w:  | (y, x)  (y, x + 1) |  (y + 1, x)  (y + 1, x + 1) |
 *                                               bits 0-7    8-15       16-23         24-31
 *
 * Versions tried, CPU time of a 32 x 32 colour picture on a core of an AMD EPYC (AVX-512; shared, medians):
 * resample with quads tested at every border 4.5 us, with black rows 3.5 us; colour jitter as loops that
 * gcc does not turn into vectors for AVX2 24 us, with hue written as vectors 2.3 us (AVX-512: 1.8 us). */
#include "data/alter_cpu.h"
#include "ops/cpu/vec.h"

/* ---- between pixels --------------------------------------------------------------------------- */

/* Quads of the rows a and b, one below the other; rows outside the picture are zeros. */
static void quad_row(const uint8_t *a, const uint8_t *b, int w, uint32_t *restrict quad)
{
    quad[0] = quad[w + 2] = 0;
    quad[1] = (uint32_t)a[0] << 8 | (uint32_t)b[0] << 24;
    quad[w + 1] = (uint32_t)a[w - 1] | (uint32_t)b[w - 1] << 16;
    for (int x = 0; x + 1 < w; x++)
        quad[x + 2] =
            (uint32_t)a[x] | (uint32_t)a[x + 1] << 8 | (uint32_t)b[x] << 16 | (uint32_t)b[x + 1] << 24;
}

static void quad_plane(const uint8_t *p, int h, int w, const uint8_t *black, uint32_t *quad)
{
    for (int y = -2; y <= h; y++, quad += w + 3)
        quad_row(y >= 0 && y < h ? p + (ptrdiff_t)y * w : black,
                 y + 1 >= 0 && y + 1 < h ? p + (ptrdiff_t)(y + 1) * w : black, w, quad);
}

INLINE float between(float v, float low, float high)
{
    v = v > low ? v : low;
    return v < high ? v : high;
}

/* Where the pixels of row y are read: the quad's place, and how far behind it in both directions. */
static void places(const struct ddp_sampling *s, int y, int w, int32_t *restrict at, float *restrict right,
                   float *restrict down)
{
    const float x0 = (float)(s->x0 + (double)y * s->xy), y0 = (float)(s->y0 + (double)y * s->yy);
    const float xx = (float)s->xx, yx = (float)s->yx;
    for (int x = 0; x < w; x++) {
        const float c = between(xx * (float)x + x0, s->left, s->right) + 2.0f;
        const float r = between(yx * (float)x + y0, s->top, s->bottom) + 2.0f;
        const int32_t column = (int32_t)c, row = (int32_t)r; /* not negative: cut to the whole below */
        at[x] = row * (w + 3) + column;
        right[x] = c - (float)column;
        down[x] = r - (float)row;
    }
}

static void read_row(const uint32_t *restrict quad, const int32_t *restrict at, const float *restrict right,
                     const float *restrict down, int w, uint8_t *restrict to)
{
    for (int x = 0; x < w; x++) {
        const uint32_t q = quad[at[x]];
        const float a = (float)(int32_t)(q & 255), b = (float)(int32_t)(q >> 8 & 255);
        const float c = (float)(int32_t)(q >> 16 & 255), d = (float)(int32_t)(q >> 24);
        const float above = a + right[x] * (b - a), below = c + right[x] * (d - c);
        to[x] = (uint8_t)(int32_t)(above + down[x] * (below - above) + 0.5f);
    }
}

static void resample(const struct ddp_sampling *s, struct ddp_shape shape, const uint8_t *from, uint8_t *to,
                     uint32_t *scratch)
{
    const int h = shape.h, w = shape.w;
    const size_t plane = (size_t)(h + 3) * (size_t)(w + 3), pixels = (size_t)h * (size_t)w;
    float *right = (float *)(void *)(scratch + (size_t)shape.c * plane), *down = right + w;
    int32_t *at = (int32_t *)(void *)(down + w);
    memset(at, 0, (size_t)w); /* as a black row, before places are in it */
    for (size_t c = 0; c < (size_t)shape.c; c++)
        quad_plane(from + c * pixels, h, w, (const uint8_t *)at, scratch + c * plane);
    for (int y = 0; y < h; y++) {
        places(s, y, w, at, right, down);
        for (size_t c = 0; c < (size_t)shape.c; c++)
            read_row(scratch + c * plane, at, right, down, w, to + c * pixels + (size_t)y * (size_t)w);
    }
}

/* ---- colours ---------------------------------------------------------------------------------- */

static void to_floats(const uint8_t *restrict from, size_t n, float *restrict to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)from[i];
}

static void to_bytes(const float *restrict from, size_t n, uint8_t *restrict to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(int32_t)(from[i] + 0.5f);
}

static void brighten(float *v, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        v[i] = between(factor * v[i], 0.0f, 255.0f);
}

static void part(float *restrict v, const float *restrict grey, size_t n, float factor)
{
    const float rest = 1.0f - factor;
    for (size_t i = 0; i < n; i++)
        v[i] = between(factor * v[i] + rest * grey[i], 0.0f, 255.0f);
}

static void part_one(float *v, float grey, size_t n, float factor)
{
    const float rest = (1.0f - factor) * grey;
    for (size_t i = 0; i < n; i++)
        v[i] = between(factor * v[i] + rest, 0.0f, 255.0f);
}

/* The weights of red, green and blue in grey are those of ITU-R BT.601, as torchvision rounds them. */
static void grey(const float *restrict rgb, size_t n, float *restrict to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = 0.2989f * rgb[i] + 0.587f * rgb[n + i] + 0.114f * rgb[2 * n + i];
}

static int64_t sum(const float *v, size_t n)
{
    int64_t all = 0;
    for (size_t i = 0; i < n; i++)
        all += (int32_t)(256.0f * v[i] + 0.5f);
    return all;
}

INLINE vf least(vf a, vf b)
{
    return SELECT(a < b, a, b);
}
INLINE vf most(vf a, vf b)
{
    return SELECT(a > b, a, b);
}

/* A channel of a colour of value v and chroma c, k sixths of the circle (-3 to 13) behind where it begins to
 * fall: v - c max(0, min(k mod 6, 4 - k mod 6, 1)). */
INLINE vf channel(vf v, vf c, vf k)
{
    const vf six = SET1(6.0f);
    k += MASK(k < 0.0f, six);
    k -= MASK(k >= six, six);
    k -= MASK(k >= six, six);
    return v - c * most(SET1(0.0f), least(least(k, SET1(4.0f) - k), SET1(1.0f)));
}

/* Red is at 0 sixths of the circle, green at 2, blue at 4 (Smith, "Color gamut transform pairs", SIGGRAPH
 * 1978); grey stays. */
INLINE void turn_vector(float *red, float *green, float *blue, float sixths)
{
    const vf r = LDU(red), g = LDU(green), b = LDU(blue);
    const vf v = most(r, most(g, b)), c = v - least(r, least(g, b));
    const vi is_red = v == r, is_green = ~is_red & (v == g);
    const vf more = SELECT(is_red, g, SELECT(is_green, b, r)),
             less = SELECT(is_red, b, SELECT(is_green, r, g));
    const vf at = SELECT(is_red, SET1(0.0f), SELECT(is_green, SET1(2.0f), SET1(4.0f)));
    const vf hue = (more - less) / SELECT(c > 0.0f, c, SET1(1.0f)) + at + SET1(sixths);
    STU(red, channel(v, c, hue + SET1(5.0f)));
    STU(green, channel(v, c, hue + SET1(3.0f)));
    STU(blue, channel(v, c, hue + SET1(1.0f)));
}

static void turn(float *rgb, size_t n, float sixths)
{
    float rest[3][VL] = {{0}};
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        turn_vector(rgb + i, rgb + n + i, rgb + 2 * n + i, sixths);
    for (size_t k = 0; k < 3; k++)
        memcpy(rest[k], rgb + k * n + i, (n - i) * sizeof *rgb);
    turn_vector(rest[0], rest[1], rest[2], sixths);
    for (size_t k = 0; k < 3; k++)
        memcpy(rgb + k * n + i, rest[k], (n - i) * sizeof *rgb);
}

const struct ddp_alter_kernels ISA(ddp_alter_kernels) = {
    .resample = resample,
    .to_floats = to_floats,
    .to_bytes = to_bytes,
    .brighten = brighten,
    .part = part,
    .part_one = part_one,
    .grey = grey,
    .sum = sum,
    .turn = turn,
};
