/* Pooling on one channel block of one sample: see pool_cpu.h and pool.c.
 *
 * Windows are clipped to the picture (the halo is never read); inside one, positions are taken row by row.
 * Backward walks the outputs in the same order and adds into the inputs, one task for the whole plane, so
 * overlapping windows are summed in a fixed order. Windows of 2x2 and 3x3 inside the picture have their loops
 * unrolled. Memory-bound: max 2x2 reads 4 and writes 1.25 bytes per input element, backward reads 1.25 and
 * writes 4. */
#include "ops/pool/pool_vec.h"

#include "ops/pool/pool_cpu.h"

struct span {
    int y0, y1, x0, x1; /* positions of the window that lie in the picture */
};

INLINE struct span clip(const struct ddp_window *s, int oy, int ox)
{
    int iy = oy * s->stride - s->padding, ix = ox * s->stride - s->padding;
    return (struct span){iy < 0 ? -iy : 0, iy + s->kernel > s->h ? s->h - iy : s->kernel, ix < 0 ? -ix : 0,
                         ix + s->kernel > s->w ? s->w - ix : s->kernel};
}

INLINE bool whole(const struct span *c, int kernel)
{
    return c->y0 == 0 && c->x0 == 0 && c->y1 == kernel && c->x1 == kernel;
}

static void zero_plane(int h, int w, struct ddp_plane t)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            UNROLL for (int v = 0; v < NV; v++) ST(t.p + y * t.sh + x * t.sw + v * VL, (vf){0});
}

/* in: position (0, 0) of the window, which may lie outside the picture. */
INLINE void max_window(int kernel, struct span c, const float *in, int64_t sh, int64_t sw, float *out,
                       uint8_t *argmax)
{
    UNROLL for (int v = 0; v < NV; v++)
    {
        vf best = LD(in + c.y0 * sh + c.x0 * sw + v * VL);
        vi index = (vi){0} + (c.y0 * kernel + c.x0);
        for (int ky = c.y0; ky < c.y1; ky++)
            for (int kx = c.x0; kx < c.x1; kx++)
                take_larger(&best, &index, LD(in + ky * sh + kx * sw + v * VL), ky * kernel + kx);
        ST(out + v * VL, best);
        if (argmax)
            store_index(argmax + v * VL, index);
    }
}

static void max(const struct ddp_window *s, struct ddp_plane in, struct ddp_plane out, uint8_t *argmax)
{
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0; ox < s->ow; ox++) {
            struct span c = clip(s, oy, ox);
            const float *src =
                in.p + (oy * s->stride - s->padding) * in.sh + (ox * s->stride - s->padding) * in.sw;
            float *dst = out.p + oy * out.sh + ox * out.sw;
            uint8_t *arg = argmax ? argmax + (oy * s->ow + ox) * 16 : NULL;
            if (s->kernel == 2 && whole(&c, 2))
                max_window(2, (struct span){0, 2, 0, 2}, src, in.sh, in.sw, dst, arg);
            else if (s->kernel == 3 && whole(&c, 3))
                max_window(3, (struct span){0, 3, 0, 3}, src, in.sh, in.sw, dst, arg);
            else
                max_window(s->kernel, c, src, in.sh, in.sw, dst, arg);
        }
}

INLINE void max_window_grad(int kernel, struct span c, const float *dout, const uint8_t *argmax, float *din,
                            int64_t sh, int64_t sw, bool sum)
{
    UNROLL for (int v = 0; v < NV; v++)
    {
        vf g = LD(dout + v * VL);
        vi index = load_index(argmax + v * VL);
        for (int ky = c.y0; ky < c.y1; ky++)
            for (int kx = c.x0; kx < c.x1; kx++) {
                float *q = din + ky * sh + kx * sw + v * VL;
                vf part = MASK(index == ky * kernel + kx, g);
                ST(q, sum ? LD(q) + part : part);
            }
    }
}

/* Make din ready for windows that are written (true: add them instead). */
INLINE bool windows_add(const struct ddp_window *s, struct ddp_plane din, bool accumulate)
{
    bool tiles =
        s->stride == s->kernel && s->padding == 0 && s->oh * s->kernel == s->h && s->ow * s->kernel == s->w;
    if (!accumulate && !tiles)
        zero_plane(s->h, s->w, din);
    return accumulate || s->stride < s->kernel;
}

static void max_grad(const struct ddp_window *s, struct ddp_plane dout, const uint8_t *argmax,
                     struct ddp_plane din, bool accumulate)
{
    bool sum = windows_add(s, din, accumulate);
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0; ox < s->ow; ox++) {
            struct span c = clip(s, oy, ox);
            float *dst =
                din.p + (oy * s->stride - s->padding) * din.sh + (ox * s->stride - s->padding) * din.sw;
            const float *src = dout.p + oy * dout.sh + ox * dout.sw;
            const uint8_t *arg = argmax + (oy * s->ow + ox) * 16;
            if (s->kernel == 2 && whole(&c, 2))
                max_window_grad(2, (struct span){0, 2, 0, 2}, src, arg, dst, din.sh, din.sw, sum);
            else
                max_window_grad(s->kernel, c, src, arg, dst, din.sh, din.sw, sum);
        }
}

INLINE float window_count(const struct ddp_window *s, const struct span *c)
{
    return s->include_pad ? (float)(s->kernel * s->kernel) : (float)((c->y1 - c->y0) * (c->x1 - c->x0));
}

static void avg(const struct ddp_window *s, struct ddp_plane in, struct ddp_plane out)
{
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0; ox < s->ow; ox++) {
            struct span c = clip(s, oy, ox);
            const float *src =
                in.p + (oy * s->stride - s->padding) * in.sh + (ox * s->stride - s->padding) * in.sw;
            float *dst = out.p + oy * out.sh + ox * out.sw;
            vf count = SET1(window_count(s, &c));
            UNROLL for (int v = 0; v < NV; v++)
            {
                vf sum = {0};
                for (int ky = c.y0; ky < c.y1; ky++)
                    for (int kx = c.x0; kx < c.x1; kx++)
                        sum += LD(src + ky * in.sh + kx * in.sw + v * VL);
                ST(dst + v * VL, sum / count);
            }
        }
}

static void avg_grad(const struct ddp_window *s, struct ddp_plane dout, struct ddp_plane din, bool accumulate)
{
    bool sum = windows_add(s, din, accumulate);
    for (int oy = 0; oy < s->oh; oy++)
        for (int ox = 0; ox < s->ow; ox++) {
            struct span c = clip(s, oy, ox);
            float *dst =
                din.p + (oy * s->stride - s->padding) * din.sh + (ox * s->stride - s->padding) * din.sw;
            const float *src = dout.p + oy * dout.sh + ox * dout.sw;
            vf count = SET1(window_count(s, &c));
            UNROLL for (int v = 0; v < NV; v++)
            {
                vf g = LD(src + v * VL) / count;
                for (int ky = c.y0; ky < c.y1; ky++)
                    for (int kx = c.x0; kx < c.x1; kx++) {
                        float *q = dst + ky * din.sh + kx * din.sw + v * VL;
                        ST(q, sum ? LD(q) + g : g);
                    }
            }
        }
}

/* Row sums in four chains (x % 4), rows in order. */
static void global(int h, int w, struct ddp_plane in, float *out)
{
    vf count = SET1((float)h * (float)w);
    UNROLL for (int v = 0; v < NV; v++)
    {
        vf total = {0};
        for (int y = 0; y < h; y++) {
            const float *row = in.p + y * in.sh + v * VL;
            vf a[4] = {{0}};
            for (int x = 0; x < w; x++)
                a[x % 4] += LD(row + x * in.sw);
            total += (a[0] + a[1]) + (a[2] + a[3]);
        }
        ST(out + v * VL, total / count);
    }
}

static void global_grad(int h, int w, const float *dout, struct ddp_plane din, bool accumulate)
{
    vf count = SET1((float)h * (float)w), g[NV];
    UNROLL for (int v = 0; v < NV; v++) g[v] = LD(dout + v * VL) / count;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            UNROLL for (int v = 0; v < NV; v++)
            {
                float *q = din.p + y * din.sh + x * din.sw + v * VL;
                ST(q, accumulate ? LD(q) + g[v] : g[v]);
            }
}

const struct ddp_pool_kernels ISA(ddp_pool_kernels) = {
    .max = max,
    .max_grad = max_grad,
    .avg = avg,
    .avg_grad = avg_grad,
    .global = global,
    .global_grad = global_grad,
};
