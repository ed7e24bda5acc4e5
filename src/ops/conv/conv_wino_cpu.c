/* Transforms of Winograd's convolution, see conv_wino.h: columns first, then rows, each sum in the order
 * written here. All are bound by loads and stores: a tile has 16 points, 64 bytes each a channel block. */
#include "ops/conv/conv_wino.h"
#include "ops/cpu/vec.h"

/* One dimension: o = M v. */
INLINE void b_t(vf *o, const vf *d)
{
    o[0] = d[0] - d[2];
    o[1] = d[1] + d[2];
    o[2] = d[2] - d[1];
    o[3] = d[1] - d[3];
}
INLINE void a_t(vf *o, const vf *m)
{
    o[0] = (m[0] + m[1]) + m[2];
    o[1] = (m[1] - m[2]) - m[3];
}
INLINE void a_(vf *o, const vf *y)
{
    o[0] = y[0];
    o[1] = y[0] + y[1];
    o[2] = y[0] - y[1];
    o[3] = (vf){0} - y[1];
}
INLINE void g_(vf *o, const vf *g)
{
    vf half = SET1(0.5f), ends = g[0] + g[2];
    o[0] = g[0];
    o[1] = half * (ends + g[1]);
    o[2] = half * (ends - g[1]);
    o[3] = g[2];
}
INLINE void g_t(vf *o, const vf *u)
{
    vf half = SET1(0.5f), a = half * (u[1] + u[2]);
    o[0] = u[0] + a;
    o[1] = half * (u[1] - u[2]);
    o[2] = a + u[3];
}

/* Where a tile lies: picture, tile row, tile column. */
struct place {
    int n, y, x;
};

INLINE struct place place_of(const struct ddp_wino_tiles *t)
{
    int a_picture = t->ny * t->nx, in = t->first % a_picture;
    return (struct place){t->first / a_picture, in / t->nx, in % t->nx};
}

INLINE void step(const struct ddp_wino_tiles *t, struct place *p)
{
    if (++p->x == t->nx) {
        p->x = 0;
        if (++p->y == t->ny) {
            p->y = 0;
            p->n++;
        }
    }
}

static void window(const struct ddp_wino_tiles *t)
{
    const int64_t row = t->x->sh, px = t->x->sw, point = t->point;
    for (int b = 0; b < t->blocks; b++) {
        struct place at = place_of(t);
        float *v = t->points + (int64_t)b * t->room * 16;
        for (int i = 0; i < t->count; i++, v += 16, step(t, &at)) {
            const float *p = ddp_at(t->x, at.n, t->block + b, 2 * at.y + t->shift, 2 * at.x + t->shift);
            for (int j = 0; j < NV; j++) {
                vf d[4][4];
                UNROLL for (int x = 0; x < 4; x++)
                {
                    vf c[4], o[4];
                    UNROLL for (int y = 0; y < 4; y++) c[y] = LD(p + y * row + x * px + j * VL);
                    b_t(o, c);
                    UNROLL for (int y = 0; y < 4; y++) d[y][x] = o[y];
                }
                UNROLL for (int y = 0; y < 4; y++)
                {
                    vf o[4];
                    b_t(o, d[y]);
                    UNROLL for (int x = 0; x < 4; x++) ST(v + (4 * y + x) * point + j * VL, o[x]);
                }
            }
        }
    }
}

static void spread(const struct ddp_wino_tiles *t)
{
    const int64_t row = t->x->sh, px = t->x->sw, point = t->point;
    for (int b = 0; b < t->blocks; b++) {
        struct place at = place_of(t);
        float *v = t->points + (int64_t)b * t->room * 16;
        for (int i = 0; i < t->count; i++, v += 16, step(t, &at)) {
            const float *p = ddp_at(t->x, at.n, t->block + b, 2 * at.y + t->shift, 2 * at.x + t->shift);
            for (int j = 0; j < NV; j++) {
                vf d[4][2];
                UNROLL for (int x = 0; x < 2; x++)
                {
                    vf c[2], o[4];
                    UNROLL for (int y = 0; y < 2; y++) c[y] = LD(p + y * row + x * px + j * VL);
                    a_(o, c);
                    UNROLL for (int y = 0; y < 4; y++) d[y][x] = o[y];
                }
                UNROLL for (int y = 0; y < 4; y++)
                {
                    vf o[4];
                    a_(o, d[y]);
                    UNROLL for (int x = 0; x < 4; x++) ST(v + (4 * y + x) * point + j * VL, o[x]);
                }
            }
        }
    }
}

INLINE void gather_as(const bool LOAD, const bool BIAS, const bool RELU_, const struct ddp_wino_tiles *t,
                      const float *bias)
{
    const int64_t row = t->x->sh, px = t->x->sw, point = t->point;
    for (int b = 0; b < t->blocks; b++) {
        struct place at = place_of(t);
        const float *v = t->points + (int64_t)b * t->room * 16;
        for (int i = 0; i < t->count; i++, v += 16, step(t, &at)) {
            float *p = ddp_at(t->x, at.n, t->block + b, 2 * at.y, 2 * at.x);
            const bool right = 2 * at.x + 1 < t->x->w, below = 2 * at.y + 1 < t->x->h;
            for (int j = 0; j < NV; j++, p += VL) {
                vf d[2][4];
                UNROLL for (int x = 0; x < 4; x++)
                {
                    vf c[4], o[2];
                    UNROLL for (int y = 0; y < 4; y++) c[y] = LD(v + (4 * y + x) * point + j * VL);
                    a_t(o, c);
                    UNROLL for (int y = 0; y < 2; y++) d[y][x] = o[y];
                }
                UNROLL for (int y = 0; y < 2; y++)
                {
                    vf o[2];
                    a_t(o, d[y]);
                    UNROLL for (int x = 0; x < 2; x++)
                    {
                        if ((y && !below) || (x && !right))
                            continue;
                        vf r = o[x];
                        if (LOAD)
                            r = LD(p + y * row + x * px) + r;
                        if (BIAS)
                            r += LD(bias + b * 16 + j * VL);
                        if (RELU_)
                            r = RELU(r);
                        ST(p + y * row + x * px, r);
                    }
                }
            }
        }
    }
}

static void gather(const struct ddp_wino_tiles *t, bool load, const float *bias, bool relu)
{
    if (load)
        gather_as(true, false, false, t, NULL);
    else if (bias && relu)
        gather_as(false, true, true, t, bias);
    else if (bias)
        gather_as(false, true, false, t, bias);
    else if (relu)
        gather_as(false, false, true, t, NULL);
    else
        gather_as(false, false, false, t, NULL);
}

static void weights(const float *g, bool turn, float *points, int64_t point)
{
    const int64_t tap = turn ? -256 : 256;
    g += turn ? 8 * 256 : 0;
    for (int i = 0; i < 256; i += VL, g += VL, points += VL) {
        vf d[4][3];
        UNROLL for (int x = 0; x < 3; x++)
        {
            vf c[3], o[4];
            UNROLL for (int y = 0; y < 3; y++) c[y] = LD(g + (3 * y + x) * tap);
            g_(o, c);
            UNROLL for (int y = 0; y < 4; y++) d[y][x] = o[y];
        }
        UNROLL for (int y = 0; y < 4; y++)
        {
            vf o[4];
            g_(o, d[y]);
            UNROLL for (int x = 0; x < 4; x++) ST(points + (4 * y + x) * point, o[x]);
        }
    }
}

static void weights_back(const float *points, int64_t point, float *g)
{
    for (int i = 0; i < 256; i += VL, g += VL, points += VL) {
        vf d[3][4];
        UNROLL for (int x = 0; x < 4; x++)
        {
            vf c[4], o[3];
            UNROLL for (int y = 0; y < 4; y++) c[y] = LD(points + (4 * y + x) * point);
            g_t(o, c);
            UNROLL for (int y = 0; y < 3; y++) d[y][x] = o[y];
        }
        UNROLL for (int y = 0; y < 3; y++)
        {
            vf o[3];
            g_t(o, d[y]);
            UNROLL for (int x = 0; x < 3; x++) ST(g + (3 * y + x) * 256, o[x]);
        }
    }
}

const struct ddp_wino_kernels ISA(ddp_wino_kernels) = {
    .window = window, .spread = spread, .gather = gather, .weights = weights, .weights_back = weights_back};
