/* Group norm on one channel block of one sample: see group_norm_cpu.h and group_norm.c.
 *
 * A channel's sum: row r of 8 takes pixels r, r + 8, .. in order; the rows are added in a tree of halves
 * (pictures of fewer than 8 pixels: one row).
 * Channels lie beside each other in the vectors, so neither their width nor the strides enter.
 * Bytes an element: sums 4, apply 8, grad_sums 8, gradient 12 (accumulating 16), elements 8 and 16 from the
 * cache. FLOPs: 3, 3, 5, 7, 3. */
#include "ops/cpu/vec.h"

#include "ops/norm/group_norm_cpu.h"

enum { ROWS = DDP_GROUP_ROWS };

/* a[0] = sum of the rows: a[i] += a[i + half], half = 4, 2, 1 */
INLINE void rows_tree(vf a[ROWS][NV], float *sum)
{
    for (int half = ROWS / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            UNROLL for (int v = 0; v < NV; v++) a[i][v] += a[i + half][v];
    UNROLL for (int v = 0; v < NV; v++) ST(sum + v * VL, a[0][v]);
}

/* The row of pixel q is q & mask: pictures of fewer than 8 pixels have one. */
INLINE int row_mask(int h, int w)
{
    return h * w < ROWS ? 0 : ROWS - 1;
}

/* Calls of STEP(q, y, x) for all pixels in row order. */
#define FOR_PIXELS(h, w, STEP)                                                                               \
    for (int y_ = 0, q_ = 0; y_ < (h); y_++)                                                                 \
        for (int x_ = 0; x_ < (w); x_++, q_++)                                                               \
    STEP(q_, y_, x_)

static void sums(int h, int w, struct ddp_plane x, const float *centre, float *sum, float *square)
{
    const int mask = row_mask(h, w);
    vf a[ROWS][NV] = {{{0}}}, b[ROWS][NV] = {{{0}}}, mid[NV];
    UNROLL for (int v = 0; v < NV; v++) mid[v] = LD(centre + v * VL);
#define STEP(q, y, i)                                                                                        \
    UNROLL for (int v = 0; v < NV; v++)                                                                      \
    {                                                                                                        \
        vf d = LD(x.p + (y)*x.sh + (i)*x.sw + v * VL) - mid[v];                                              \
        a[(q)&mask][v] += d;                                                                                 \
        b[(q)&mask][v] = FMA(d, d, b[(q)&mask][v]);                                                          \
    }
    FOR_PIXELS(h, w, STEP)
#undef STEP
    rows_tree(a, sum);
    rows_tree(b, square);
}

struct regs {
    vf centre[NV], rest[NV], inv_std[NV];
};

INLINE struct regs regs_of(const struct ddp_group_coef *k)
{
    struct regs r;
    UNROLL for (int v = 0; v < NV; v++)
    {
        r.centre[v] = LD(k->centre + v * VL);
        r.rest[v] = LD(k->rest + v * VL);
        r.inv_std[v] = LD(k->inv_std + v * VL);
    }
    return r;
}

INLINE vf xhat_at(const struct regs *r, int v, const float *x)
{
    return FMA(LD(x + v * VL) - r->centre[v], r->inv_std[v], r->rest[v]);
}

/* g = dy * weight of pixel q */
INLINE vf weighted(struct ddp_group_scale s, int64_t q, int v, vf dy)
{
    return s.weight ? dy * LD(s.weight + q * s.pitch + v * VL) : dy;
}

static void apply(int h, int w, const struct ddp_group_coef *k, struct ddp_group_scale s, struct ddp_plane x,
                  struct ddp_plane y)
{
    const struct regs r = regs_of(k);
#define STEP(q, row, i)                                                                                      \
    UNROLL for (int v = 0; v < NV; v++)                                                                      \
    {                                                                                                        \
        vf z = xhat_at(&r, v, x.p + (row)*x.sh + (i)*x.sw);                                                  \
        if (s.weight)                                                                                        \
            z = FMA(z, LD(s.weight + (int64_t)(q)*s.pitch + v * VL),                                         \
                    LD(s.bias + (int64_t)(q)*s.pitch + v * VL));                                             \
        ST(y.p + (row)*y.sh + (i)*y.sw + v * VL, z);                                                         \
    }
    FOR_PIXELS(h, w, STEP)
#undef STEP
}

static void grad_sums(int h, int w, const struct ddp_group_coef *k, struct ddp_group_scale s,
                      struct ddp_plane x, struct ddp_plane dy, float *sum, float *product)
{
    const struct regs r = regs_of(k);
    const int mask = row_mask(h, w);
    vf a[ROWS][NV] = {{{0}}}, b[ROWS][NV] = {{{0}}};
#define STEP(q, y, i)                                                                                        \
    UNROLL for (int v = 0; v < NV; v++)                                                                      \
    {                                                                                                        \
        vf g = weighted(s, q, v, LD(dy.p + (y)*dy.sh + (i)*dy.sw + v * VL));                                 \
        a[(q)&mask][v] += g;                                                                                 \
        b[(q)&mask][v] = FMA(g, xhat_at(&r, v, x.p + (y)*x.sh + (i)*x.sw), b[(q)&mask][v]);                  \
    }
    FOR_PIXELS(h, w, STEP)
#undef STEP
    rows_tree(a, sum);
    rows_tree(b, product);
}

static void gradient(int h, int w, const struct ddp_group_coef *k, struct ddp_group_scale s,
                     struct ddp_plane x, struct ddp_plane dy, struct ddp_plane dx, bool accumulate)
{
    const struct regs r = regs_of(k);
#define STEP(q, y, i)                                                                                        \
    UNROLL for (int v = 0; v < NV; v++)                                                                      \
    {                                                                                                        \
        float *at = dx.p + (y)*dx.sh + (i)*dx.sw + v * VL;                                                   \
        vf g = weighted(s, q, v, LD(dy.p + (y)*dy.sh + (i)*dy.sw + v * VL));                                 \
        vf z = FMA(-xhat_at(&r, v, x.p + (y)*x.sh + (i)*x.sw), LD(k->m2 + v * VL), g - LD(k->m1 + v * VL));  \
        z *= r.inv_std[v];                                                                                   \
        ST(at, accumulate ? LD(at) + z : z);                                                                 \
    }
    FOR_PIXELS(h, w, STEP)
#undef STEP
}

static void elements(int h, int w, const struct ddp_group_coef *k, struct ddp_plane x, struct ddp_plane dy,
                     float *dweight, float *dbias)
{
    const struct regs r = regs_of(k);
#define STEP(q, y, i)                                                                                        \
    UNROLL for (int v = 0; v < NV; v++)                                                                      \
    {                                                                                                        \
        float *dw = dweight + (int64_t)(q)*16 + v * VL, *db = dbias + (int64_t)(q)*16 + v * VL;              \
        vf g = LD(dy.p + (y)*dy.sh + (i)*dy.sw + v * VL);                                                    \
        ST(dw, FMA(g, xhat_at(&r, v, x.p + (y)*x.sh + (i)*x.sw), LD(dw)));                                   \
        ST(db, LD(db) + g);                                                                                  \
    }
    FOR_PIXELS(h, w, STEP)
#undef STEP
}

const struct ddp_group_norm_kernels ISA(ddp_group_norm_kernels) = {
    .sums = sums,
    .apply = apply,
    .grad_sums = grad_sums,
    .gradient = gradient,
    .elements = elements,
};
