/* Passes around the gradients: ReLU mask with bias gradient, and transposes of 16 x 16 weights. */
#include "ops/conv/conv.h"
#include "ops/pool/pool_vec.h"

/* g = out <= 0 ? 0 : d (written back), sum += g. Per image chunk four chains by column modulo 4, so that an
 * addition does not wait for the one before. 8 to 12 bytes a value: memory-bound. */
INLINE void mask_sum_as(const bool MASKED, const struct ddp_tensor *d, const struct ddp_tensor *out,
                        int block, int chunk, float *sum)
{
    vf total[NV];
    UNROLL for (int j = 0; j < NV; j++) total[j] = (vf){0};
    for (int n0 = 0; n0 < d->n; n0 += chunk) {
        vf s[4][NV];
        UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < NV; j++) s[i][j] = (vf){0};
        for (int n = n0; n < d->n && n < n0 + chunk; n++) {
            for (int y = 0; y < d->h; y++) {
                float *p = ddp_at(d, n, block, y, 0);
                const float *q = MASKED ? ddp_at(out, n, block, y, 0) : NULL;
                const int64_t px = d->sw, qx = MASKED ? out->sw : 0;
                int x = 0;
#define PIXEL(i)                                                                                             \
    UNROLL for (int j = 0; j < NV; j++)                                                                      \
    {                                                                                                        \
        vf g = LD(p + (i)*px + j * VL);                                                                      \
        if (MASKED) {                                                                                        \
            g = MASK(~(LD(q + (i)*qx + j * VL) <= (vf){0}), g);                                              \
            ST(p + (i)*px + j * VL, g);                                                                      \
        }                                                                                                    \
        s[i][j] += g;                                                                                        \
    }
                for (; x + 4 <= d->w; x += 4, p += 4 * px, q = MASKED ? q + 4 * qx : q) {
                    PIXEL(0)
                    PIXEL(1)
                    PIXEL(2)
                    PIXEL(3)
                }
                if (x < d->w)
                    PIXEL(0)
                if (x + 1 < d->w)
                    PIXEL(1)
                if (x + 2 < d->w)
                    PIXEL(2)
            }
        }
        UNROLL for (int j = 0; j < NV; j++) total[j] += (s[0][j] + s[1][j]) + (s[2][j] + s[3][j]);
    }
    if (sum) {
        UNROLL for (int j = 0; j < NV; j++) STU(sum + j * VL, total[j]);
    }
}

static void mask_sum(const struct ddp_tensor *d, const struct ddp_tensor *out, int block, int chunk,
                     float *sum)
{
    if (out)
        mask_sum_as(true, d, out, block, chunk, sum);
    else
        mask_sum_as(false, d, NULL, block, chunk, sum);
}

/* One row of windows, its upper or lower pixels: column x of the picture goes to chain x % 4, zeros where a
 * window has its maximum elsewhere. */
INLINE void sum_pooled_row(const float *p, int64_t px, const uint8_t *arg, int w, int lower, vf s[4][NV])
{
    for (int x = 0; x < w; x++, p += px, arg += 16)
        UNROLL for (int j = 0; j < NV; j++)
        {
            const vf g = LD(p + j * VL);
            const vi index = load_index(arg + j * VL);
            const vf left = MASK(index == 2 * lower, g), right = MASK(index == 2 * lower + 1, g);
            if (x % 2) {
                s[2][j] += left;
                s[3][j] += right;
            } else {
                s[0][j] += left;
                s[1][j] += right;
            }
        }
}

static void sum_pooled(const struct ddp_tensor *d, const uint8_t *argmax, int block, int chunk, float *sum)
{
    const int64_t plane = (int64_t)d->h * d->w * 16, blocks = ddp_blocks(d->c);
    vf total[NV];
    UNROLL for (int j = 0; j < NV; j++) total[j] = (vf){0};
    for (int n0 = 0; n0 < d->n; n0 += chunk) {
        vf s[4][NV];
        UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < NV; j++) s[i][j] = (vf){0};
        for (int n = n0; n < d->n && n < n0 + chunk; n++)
            for (int y = 0; y < d->h; y++)
                for (int lower = 0; lower < 2; lower++)
                    sum_pooled_row(ddp_at(d, n, block, y, 0), d->sw,
                                   argmax + (n * blocks + block) * plane + (int64_t)y * d->w * 16, d->w,
                                   lower, s);
        UNROLL for (int j = 0; j < NV; j++) total[j] += (s[0][j] + s[1][j]) + (s[2][j] + s[3][j]);
    }
    UNROLL for (int j = 0; j < NV; j++) STU(sum + j * VL, total[j]);
}

/* A few samples at a time: in features order they lie side by side, and pixels a page apart. */
static void reorder(const struct ddp_tensor *from, int block, const struct ddp_tensor *to)
{
    enum { SIDE = 8 };
    for (int n0 = 0; n0 < from->n; n0 += SIDE)
        for (int y = 0; y < from->h; y++)
            for (int x = 0; x < from->w; x++)
                for (int n = n0; n < n0 + SIDE && n < from->n; n++)
                    UNROLL for (int j = 0; j < NV; j++)
                        ST(ddp_at(to, n, block, y, x) + j * VL, LD(ddp_at(from, n, block, y, x) + j * VL));
}

#if DDP_VL == 16
/* In registers, four stages of 16 shuffles: floats in pairs, pairs in pairs, then quarters of vectors
 * twice. */
static void transpose(const float *from, int64_t from_stride, float *to, int64_t to_stride, int count)
{
    for (int n = 0; n < count; n++, from += from_stride, to += to_stride) {
        vf a[16], b[16];
        UNROLL for (int i = 0; i < 16; i++) a[i] = LD(from + i * 16);
#define MIX(to_, from_, i, j, k, ...) to_[k] = __builtin_shufflevector(from_[i], from_[j], __VA_ARGS__)
        UNROLL for (int i = 0; i < 16; i += 2)
        {
            MIX(b, a, i, i + 1, i, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
            MIX(b, a, i, i + 1, i + 1, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
        }
        UNROLL for (int i = 0; i < 16; i += 4) UNROLL for (int h = 0; h < 2; h++)
        {
            MIX(a, b, i + h, i + h + 2, i + 2 * h, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
            MIX(a, b, i + h, i + h + 2, i + 2 * h + 1, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30,
                31);
        }
        UNROLL for (int i = 0; i < 16; i += 8) UNROLL for (int h = 0; h < 4; h++)
        {
            MIX(b, a, i + h, i + h + 4, i + h, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
            MIX(b, a, i + h, i + h + 4, i + h + 4, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30,
                31);
        }
        UNROLL for (int h = 0; h < 8; h++)
        {
            MIX(a, b, h, h + 8, h, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
            MIX(a, b, h, h + 8, h + 8, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        }
#undef MIX
        UNROLL for (int i = 0; i < 16; i++) ST(to + i * 16, a[i]);
    }
}
#else
typedef float v4 __attribute__((vector_size(16)));

static void transpose(const float *from, int64_t from_stride, float *to, int64_t to_stride, int count)
{
    for (int n = 0; n < count; n++, from += from_stride, to += to_stride) {
        for (int i = 0; i < 16; i += 4) {
            UNROLL for (int j = 0; j < 16; j += 4)
            {
                const float *f = from + i * 16 + j;
                v4 a = *(const v4 *)f, b = *(const v4 *)(f + 16), c = *(const v4 *)(f + 32),
                   d = *(const v4 *)(f + 48);
                v4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                   ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
                v4 cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                   cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
                float *g = to + j * 16 + i;
                *(v4 *)g = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
                *(v4 *)(g + 16) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
                *(v4 *)(g + 32) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
                *(v4 *)(g + 48) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
            }
        }
    }
}
#endif

const struct ddp_bias_kernels ISA(ddp_bias_kernels) = {
    .mask_sum = mask_sum, .sum_pooled = sum_pooled, .reorder = reorder, .transpose = transpose};
