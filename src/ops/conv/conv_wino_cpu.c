/* Transforms of Winograd's convolution, see conv_wino.h: columns first, then rows, each sum in the order
 * written here. A window costs 144 operations, 36 loads and 36 stores of a vector; the others less. */
#include "ops/conv/conv_wino.h"
#include "ops/pool/pool_vec.h"

enum { TILE = DDP_WINO_TILE, WINDOW = DDP_WINO_WINDOW };

#define A_2  (DDP_WINO_A * DDP_WINO_A)
#define B_2  (DDP_WINO_B * DDP_WINO_B)
#define N_A  (1 / (2 * A_2 * (A_2 - B_2)))
#define N_B  (1 / (2 * B_2 * (B_2 - A_2)))
#define A1   SET1((float)DDP_WINO_A)
#define A2   SET1((float)A_2)
#define A3   SET1((float)(DDP_WINO_A * A_2))
#define B1   SET1((float)DDP_WINO_B)
#define B2   SET1((float)B_2)
#define B3   SET1((float)(DDP_WINO_B * B_2))
#define A2B2 SET1((float)(A_2 * B_2))
#define SUM2 SET1((float)(A_2 + B_2))
#define ENDS SET1((float)(1 / (A_2 * B_2)))
#define NA   SET1((float)N_A)
#define NAA1 SET1((float)(N_A * DDP_WINO_A))
#define NAA2 SET1((float)(N_A * A_2))
#define NAA3 SET1((float)(N_A * A_2 * DDP_WINO_A))
#define NB   SET1((float)N_B)
#define NBB1 SET1((float)(N_B * DDP_WINO_B))
#define NBB2 SET1((float)(N_B * B_2))
#define NBB3 SET1((float)(N_B * B_2 * DDP_WINO_B))

/* One dimension: o = M v. */
INLINE void b_t(vf *o, const vf *d)
{
    const vf p = FMA(-B2, d[2], d[4]), q = FMA(-B2, d[1], d[3]);
    const vf r = FMA(-A2, d[2], d[4]), s = FMA(-A2, d[1], d[3]);
    o[0] = FMA(ENDS, FMA(-SUM2, d[2], d[4]), d[0]);
    o[1] = FMA(A1, q, p);
    o[2] = FMA(-A1, q, p);
    o[3] = FMA(B1, s, r);
    o[4] = FMA(-B1, s, r);
    o[5] = FMA(A2B2, d[1], FMA(-SUM2, d[3], d[5]));
}
INLINE void a_t_n(vf *o, const vf *m)
{
    const vf sa = m[1] + m[2], da = m[1] - m[2], sb = m[3] + m[4], db = m[3] - m[4];
    o[0] = FMA(NB, sb, FMA(NA, sa, m[0]));
    o[1] = FMA(NBB1, db, NAA1 * da);
    o[2] = FMA(NBB2, sb, NAA2 * sa);
    o[3] = FMA(NBB3, db, FMA(NAA3, da, m[5]));
}
INLINE void a_(vf *o, const vf *y)
{
    const vf ea = FMA(A2, y[2], y[0]), oa = FMA(A3, y[3], A1 * y[1]);
    const vf eb = FMA(B2, y[2], y[0]), ob = FMA(B3, y[3], B1 * y[1]);
    o[0] = y[0];
    o[1] = ea + oa;
    o[2] = ea - oa;
    o[3] = eb + ob;
    o[4] = eb - ob;
    o[5] = y[3];
}
INLINE void g_(vf *o, const vf *g)
{
    const vf ea = FMA(A2, g[2], g[0]), eb = FMA(B2, g[2], g[0]);
    o[0] = g[0];
    o[1] = FMA(A1, g[1], ea);
    o[2] = FMA(-A1, g[1], ea);
    o[3] = FMA(B1, g[1], eb);
    o[4] = FMA(-B1, g[1], eb);
    o[5] = g[2];
}
INLINE void g_t_n(vf *o, const vf *u)
{
    const vf sa = u[1] + u[2], da = u[1] - u[2], sb = u[3] + u[4], db = u[3] - u[4];
    o[0] = FMA(NB, sb, FMA(NA, sa, u[0]));
    o[1] = FMA(NBB1, db, NAA1 * da);
    o[2] = FMA(NBB2, sb, FMA(NAA2, sa, u[5]));
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

/* A square of x: in place where all of it lies inside of the picture and its border, else a copy with zeros
 * around it. */
struct square {
    const float *p;
    int64_t row, px;
};

static __attribute__((noinline)) void copy_inside(const struct ddp_tensor *x, int n, int block, int y0,
                                                  int x0, int size, float *to)
{
    const int top = y0 < 0 ? -y0 : 0, left = x0 < 0 ? -x0 : 0;
    const int bottom = y0 + size > x->h ? x->h - y0 : size, right = x0 + size > x->w ? x->w - x0 : size;
    for (int i = 0; i < size; i++) {
        const float *row = ddp_at(x, n, block, y0 + i, x0);
        for (int j = 0; j < size; j++)
            UNROLL for (int v = 0; v < NV; v++)
            {
                const bool inside = i >= top && i < bottom && j >= left && j < right;
                ST(to + (i * size + j) * DDP_CBLOCK + v * VL,
                   inside ? LD(row + j * x->sw + v * VL) : (vf){0});
            }
    }
}

/* The pixels of one window of the pool to `to`, those that lie in a square of SIZE from (y, x) of the window
 * on; WHOLE: all do. */
INLINE void unpool(const bool WHOLE, const int SIZE, const float *p, const uint8_t *arg, int y, int x,
                   float *to)
{
    UNROLL for (int v = 0; v < NV; v++)
    {
        const vf g = LD(p + v * VL);
        const vi index = load_index(arg + v * VL);
        UNROLL for (int k = 0; k < 4; k++)
        {
            const int i = y + k / 2, j = x + k % 2;
            if (WHOLE || (i >= 0 && j >= 0 && i < SIZE && j < SIZE))
                ST(to + (i * SIZE + j) * DDP_CBLOCK + v * VL, MASK(index == k, g));
        }
    }
}

/* Windows [top, bottom) x [left, right) of the pool, which a square from (y0, x0) on reaches into. */
INLINE void unpool_all(const bool WHOLE, const int SIZE, const struct ddp_tensor *x, int n, int block,
                       const uint8_t *argmax, int y0, int x0, float *to)
{
    const int top = y0 < 0 ? 0 : y0 / 2, left = x0 < 0 ? 0 : x0 / 2;
    const int down = (y0 + SIZE + 1) / 2, over = (x0 + SIZE + 1) / 2;
    const int bottom = down < x->h ? down : x->h, right = over < x->w ? over : x->w;
    if (2 * top > y0 || 2 * left > x0 || 2 * bottom < y0 + SIZE || 2 * right < x0 + SIZE)
        memset(to, 0, (size_t)(SIZE * SIZE) * DDP_CBLOCK * sizeof *to);
    for (int i = top; i < bottom; i++) {
        const float *p = ddp_at(x, n, block, i, left);
        const uint8_t *arg = argmax + (i * x->w + left) * DDP_CBLOCK;
        for (int j = left; j < right; j++, p += x->sw, arg += DDP_CBLOCK)
            unpool(WHOLE, SIZE, p, arg, 2 * i - y0, 2 * j - x0, to);
    }
}

/* A square of what lies in front of a pool. */
INLINE void copy_unpooled(const struct ddp_wino_tiles *t, int n, int block, int y0, int x0, const int SIZE,
                          float *to)
{
    const struct ddp_tensor *x = t->x;
    const uint8_t *argmax = t->argmax + ((int64_t)n * ddp_blocks(x->c) + block) * x->h * x->w * DDP_CBLOCK;
    if ((y0 | x0) & 1)
        unpool_all(false, SIZE, x, n, block, argmax, y0, x0, to);
    else
        unpool_all(true, SIZE, x, n, block, argmax, y0, x0, to);
}

INLINE struct square square_at(const struct ddp_wino_tiles *t, int n, int block, int y0, int x0,
                               const int SIZE, float *copy)
{
    const struct ddp_tensor *x = t->x;
    const int g = x->halo;
    if (t->pooled) {
        copy_unpooled(t, n, block, y0, x0, SIZE, copy);
        return (struct square){copy, SIZE * DDP_CBLOCK, DDP_CBLOCK};
    }
    if (y0 >= -g && x0 >= -g && y0 + SIZE <= x->h + g && x0 + SIZE <= x->w + g)
        return (struct square){ddp_at(x, n, block, y0, x0), x->sh, x->sw};
    copy_inside(x, n, block, y0, x0, SIZE, copy);
    return (struct square){copy, SIZE * DDP_CBLOCK, DDP_CBLOCK};
}

static void window(const struct ddp_wino_tiles *t)
{
    _Alignas(64) float copy[WINDOW * WINDOW * DDP_CBLOCK];
    const int64_t point = t->point;
    for (int b = 0; b < t->blocks; b++) {
        struct place at = place_of(t);
        float *v = t->points + (int64_t)b * t->room * 16;
        for (int i = 0; i < t->count; i++, v += 16, step(t, &at)) {
            const struct square s = square_at(t, at.n, t->block + b, TILE * at.y + t->shift,
                                              TILE * at.x + t->shift, WINDOW, copy);
            for (int j = 0; j < NV; j++) {
                vf d[WINDOW][WINDOW];
                UNROLL for (int x = 0; x < WINDOW; x++)
                {
                    vf c[WINDOW], o[WINDOW];
                    UNROLL for (int y = 0; y < WINDOW; y++) c[y] = LD(s.p + y * s.row + x * s.px + j * VL);
                    b_t(o, c);
                    UNROLL for (int y = 0; y < WINDOW; y++) d[y][x] = o[y];
                }
                UNROLL for (int y = 0; y < WINDOW; y++)
                {
                    vf o[WINDOW];
                    b_t(o, d[y]);
                    UNROLL for (int x = 0; x < WINDOW; x++) ST(v + (WINDOW * y + x) * point + j * VL, o[x]);
                }
            }
        }
    }
}

static void spread(const struct ddp_wino_tiles *t)
{
    _Alignas(64) float copy[TILE * TILE * DDP_CBLOCK];
    const int64_t point = t->point;
    for (int b = 0; b < t->blocks; b++) {
        struct place at = place_of(t);
        float *v = t->points + (int64_t)b * t->room * 16;
        for (int i = 0; i < t->count; i++, v += 16, step(t, &at)) {
            const struct square s = square_at(t, at.n, t->block + b, TILE * at.y, TILE * at.x, TILE, copy);
            for (int j = 0; j < NV; j++) {
                vf d[WINDOW][TILE];
                UNROLL for (int x = 0; x < TILE; x++)
                {
                    vf c[TILE], o[WINDOW];
                    UNROLL for (int y = 0; y < TILE; y++) c[y] = LD(s.p + y * s.row + x * s.px + j * VL);
                    a_(o, c);
                    UNROLL for (int y = 0; y < WINDOW; y++) d[y][x] = o[y];
                }
                UNROLL for (int y = 0; y < WINDOW; y++)
                {
                    vf o[WINDOW];
                    a_(o, d[y]);
                    UNROLL for (int x = 0; x < WINDOW; x++) ST(v + (WINDOW * y + x) * point + j * VL, o[x]);
                }
            }
        }
    }
}

INLINE vf epilogue(const bool BIAS, const bool RELU_, vf r, const float *bias)
{
    if (BIAS)
        r += LD(bias);
    return RELU_ ? RELU(r) : r;
}

/* Columns of A' points A. */
INLINE void gather_columns(vf d[TILE][WINDOW], const float *v, int64_t point)
{
    UNROLL for (int x = 0; x < WINDOW; x++)
    {
        vf c[WINDOW], o[TILE];
        UNROLL for (int y = 0; y < WINDOW; y++) c[y] = LD(v + (WINDOW * y + x) * point);
        a_t_n(o, c);
        UNROLL for (int y = 0; y < TILE; y++) d[y][x] = o[y];
    }
}

/* Rows [0, rows), columns [0, cols) of a tile to p. */
INLINE void gather_tile(const bool LOAD, const bool OVER, const bool BIAS, const bool RELU_, const float *v,
                        int64_t point, const float *bias, float *p, int64_t row, int64_t px, const int rows,
                        const int cols)
{
    vf d[TILE][WINDOW];
    gather_columns(d, v, point);
    UNROLL for (int y = 0; y < TILE; y++)
    {
        vf o[TILE];
        a_t_n(o, d[y]);
        UNROLL for (int x = 0; x < TILE; x++)
        {
            float *to = p + y * row + x * px;
            if (y < rows && x < cols && OVER)
                ST(to, MASK(~(LD(to) <= (vf){0}), o[x]));
            else if (y < rows && x < cols)
                ST(to, epilogue(BIAS, RELU_, LOAD ? LD(to) + o[x] : o[x], bias));
        }
    }
}

INLINE void gather_as(const bool LOAD, const bool OVER, const bool BIAS, const bool RELU_,
                      const struct ddp_wino_tiles *t, const float *bias)
{
    const struct ddp_tensor *x = t->x;
    for (int b = 0; b < t->blocks; b++) {
        struct place at = place_of(t);
        const float *v = t->points + (int64_t)b * t->room * 16;
        for (int i = 0; i < t->count; i++, v += 16, step(t, &at)) {
            float *p = ddp_at(x, at.n, t->block + b, TILE * at.y, TILE * at.x);
            const int rows = x->h - TILE * at.y, cols = x->w - TILE * at.x;
            for (int j = 0; j < NV; j++, p += VL) {
                const float *own = BIAS ? bias + (t->block + b) * 16 + j * VL : NULL;
                if (rows >= TILE && cols >= TILE)
                    gather_tile(LOAD, OVER, BIAS, RELU_, v + j * VL, t->point, own, p, x->sh, x->sw, TILE,
                                TILE);
                else
                    gather_tile(LOAD, OVER, BIAS, RELU_, v + j * VL, t->point, own, p, x->sh, x->sw, rows,
                                cols);
            }
        }
    }
}

/* The maxima of the 2x2 windows of a tile: rows x cols of them. */
INLINE void gather_maxima(const bool BIAS, const bool RELU_, const float *v, int64_t point, const float *bias,
                          const struct ddp_tensor *x, float *p, uint8_t *argmax, int rows, int cols)
{
    vf d[TILE][WINDOW];
    gather_columns(d, v, point);
    UNROLL for (int y = 0; y < TILE / 2; y++)
    {
        vf o[2][TILE];
        a_t_n(o[0], d[2 * y]);
        a_t_n(o[1], d[2 * y + 1]);
        UNROLL for (int i = 0; i < TILE / 2; i++)
        {
            if (y >= rows || i >= cols)
                continue;
            vf best = epilogue(BIAS, RELU_, o[0][2 * i], bias);
            vi index = {0};
            UNROLL for (int k = 1; k < 4; k++)
                take_larger(&best, &index, epilogue(BIAS, RELU_, o[k / 2][2 * i + k % 2], bias), k);
            ST(p + y * x->sh + i * x->sw, best);
            if (argmax && RELU_)
                index = choose(best <= (vf){0}, DDP_POOL_NONE, index);
            if (argmax)
                store_index(argmax + (y * x->w + i) * DDP_CBLOCK, index);
        }
    }
}

INLINE void gather_pooled(const bool BIAS, const bool RELU_, const struct ddp_wino_tiles *t,
                          const float *bias)
{
    const struct ddp_tensor *x = t->x;
    for (int b = 0; b < t->blocks; b++) {
        struct place at = place_of(t);
        const float *v = t->points + (int64_t)b * t->room * 16;
        for (int i = 0; i < t->count; i++, v += 16, step(t, &at)) {
            const int y = TILE / 2 * at.y, left = TILE / 2 * at.x;
            float *p = ddp_at(x, at.n, t->block + b, y, left);
            uint8_t *argmax = t->argmax;
            if (argmax)
                argmax += ((((int64_t)at.n * ddp_blocks(x->c) + t->block + b) * x->h + y) * x->w + left) *
                          DDP_CBLOCK;
            for (int j = 0; j < NV; j++)
                gather_maxima(BIAS, RELU_, v + j * VL, t->point,
                              BIAS ? bias + (t->block + b) * 16 + j * VL : NULL, x, p + j * VL,
                              argmax ? argmax + j * VL : NULL, x->h - y, x->w - left);
        }
    }
}

static void gather(const struct ddp_wino_tiles *t, struct ddp_wino_epilogue e)
{
    if (t->pooled && e.bias)
        e.relu ? gather_pooled(true, true, t, e.bias) : gather_pooled(true, false, t, e.bias);
    else if (t->pooled)
        e.relu ? gather_pooled(false, true, t, NULL) : gather_pooled(false, false, t, NULL);
    else if (e.mask)
        gather_as(false, true, false, false, t, NULL);
    else if (e.load)
        gather_as(true, false, false, false, t, NULL);
    else if (e.bias && e.relu)
        gather_as(false, false, true, true, t, e.bias);
    else if (e.bias)
        gather_as(false, false, true, false, t, e.bias);
    else if (e.relu)
        gather_as(false, false, false, true, t, NULL);
    else
        gather_as(false, false, false, false, t, NULL);
}

static void weights(const float *g, bool turn, float *points, int64_t point)
{
    const int64_t tap = turn ? -256 : 256;
    g += turn ? 8 * 256 : 0;
    for (int i = 0; i < 256; i += VL, g += VL, points += VL) {
        vf d[WINDOW][3];
        UNROLL for (int x = 0; x < 3; x++)
        {
            vf c[3], o[WINDOW];
            UNROLL for (int y = 0; y < 3; y++) c[y] = LD(g + (3 * y + x) * tap);
            g_(o, c);
            UNROLL for (int y = 0; y < WINDOW; y++) d[y][x] = o[y];
        }
        UNROLL for (int y = 0; y < WINDOW; y++)
        {
            vf o[WINDOW];
            g_(o, d[y]);
            UNROLL for (int x = 0; x < WINDOW; x++) ST(points + (WINDOW * y + x) * point, o[x]);
        }
    }
}

static void weights_back(const float *points, int64_t point, float *g)
{
    for (int i = 0; i < 256; i += VL, g += VL, points += VL) {
        vf d[3][WINDOW];
        UNROLL for (int x = 0; x < WINDOW; x++)
        {
            vf c[WINDOW], o[3];
            UNROLL for (int y = 0; y < WINDOW; y++) c[y] = LD(points + (WINDOW * y + x) * point);
            g_t_n(o, c);
            UNROLL for (int y = 0; y < 3; y++) d[y][x] = o[y];
        }
        UNROLL for (int y = 0; y < 3; y++)
        {
            vf o[3];
            g_t_n(o, d[y]);
            UNROLL for (int x = 0; x < 3; x++) ST(g + (3 * y + x) * 256, o[x]);
        }
    }
}

const struct ddp_wino_kernels ISA(ddp_wino_kernels) = {
    .window = window, .spread = spread, .gather = gather, .weights = weights, .weights_back = weights_back};
