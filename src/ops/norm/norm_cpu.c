/* Batch norm on one channel block of one sample: see norm_cpu.h and batch_norm.c.
 *
 * Order of the long sums: pixel x of a row goes to chain x % 4; after every chunk of whole rows (64 pixels or
 * one row, whichever is more) (a0 + a1) + (a2 + a3) is added to a double. A function of h and w alone.
 * The mean is summed about the first pixel and squares about the mean, so a large mean costs no digits; the
 * second pass reads a plane (50 KB at 28x28) that is still in the cache. Bytes per element: moments 4 from
 * memory (+ 4 from L2), normalise 8, grad_sums 8, gradient 12; with a mask from out, 4 more in both. */
#include "ops/cpu/vec.h"

#include "ops/norm/norm_cpu.h"

enum { CHUNK = 64, CHAINS = 4 };

INLINE int chunk_rows(int w)
{
    return w >= CHUNK ? 1 : CHUNK / w;
}

/* total[16] += the four chains of each channel; the chains start again from zero. */
INLINE void flush(vf a[CHAINS][NV], double *total)
{
    float sum[16] __attribute__((aligned(64)));
    UNROLL for (int v = 0; v < NV; v++)
    {
        ST(sum + v * VL, (a[0][v] + a[1][v]) + (a[2][v] + a[3][v]));
        UNROLL for (int j = 0; j < CHAINS; j++) a[j][v] = (vf){0};
    }
    for (int c = 0; c < 16; c++)
        total[c] += sum[c];
}

/* Call STEP(j) with the pixel's pointers for pixel i = j mod 4, four at a time. */
#define FOR_ROW(w, STEP)                                                                                     \
    do {                                                                                                     \
        int i_ = 0;                                                                                          \
        for (; i_ + CHAINS <= (w); i_ += CHAINS)                                                             \
            UNROLL for (int j_ = 0; j_ < CHAINS; j_++) STEP(i_ + j_, j_);                                    \
        if (i_ < (w))                                                                                        \
            STEP(i_, 0);                                                                                     \
        if (i_ + 1 < (w))                                                                                    \
            STEP(i_ + 1, 1);                                                                                 \
        if (i_ + 2 < (w))                                                                                    \
            STEP(i_ + 2, 2);                                                                                 \
    } while (0)

static void moments(int h, int w, struct ddp_plane x, double *mean, double *m2)
{
    int chunk = chunk_rows(w);
    double count = (double)h * w, sum[16] = {0}, square[16] = {0};
    vf a[CHAINS][NV] = {{{0}}}, first[NV];
    UNROLL for (int v = 0; v < NV; v++) first[v] = LD(x.p + v * VL);
    for (int y = 0; y < h; y++) {
        const float *row = x.p + y * x.sh;
#define SUM(i, j) UNROLL for (int v = 0; v < NV; v++) a[j][v] += LD(row + (i)*x.sw + v * VL) - first[v]
        FOR_ROW(w, SUM);
#undef SUM
        if ((y + 1) % chunk == 0 || y + 1 == h)
            flush(a, sum);
    }
    float centre[16] __attribute__((aligned(64)));
    for (int c = 0; c < 16; c++) {
        mean[c] = (double)x.p[c] + sum[c] / count;
        centre[c] = (float)mean[c];
    }
    vf mid[NV];
    UNROLL for (int v = 0; v < NV; v++) mid[v] = LD(centre + v * VL);
    for (int y = 0; y < h; y++) {
        const float *row = x.p + y * x.sh;
#define SQUARE(i, j)                                                                                         \
    UNROLL for (int v = 0; v < NV; v++)                                                                      \
    {                                                                                                        \
        vf d = LD(row + (i)*x.sw + v * VL) - mid[v];                                                         \
        a[j][v] = FMA(d, d, a[j][v]);                                                                        \
    }
        FOR_ROW(w, SQUARE);
#undef SQUARE
        if ((y + 1) % chunk == 0 || y + 1 == h)
            flush(a, square);
    }
    for (int c = 0; c < 16; c++) { /* from the rounded centre to the mean */
        double off = mean[c] - (double)centre[c], q = square[c] - count * off * off;
        m2[c] = q > 0 || q != q ? q : 0;
    }
}

static void normalise(int h, int w, const struct ddp_norm_coef *k, struct ddp_plane x, struct ddp_plane plus,
                      bool relu, struct ddp_plane out)
{
    vf mean[NV], scale[NV], shift[NV];
    UNROLL for (int v = 0; v < NV; v++)
    {
        mean[v] = LDU(k->mean + v * VL);
        scale[v] = LDU(k->scale + v * VL);
        shift[v] = LDU(k->shift + v * VL);
    }
    for (int y = 0; y < h; y++) {
        const float *px = x.p + y * x.sh, *pa = plus.p ? plus.p + y * plus.sh : NULL;
        float *po = out.p + y * out.sh;
        for (int i = 0; i < w; i++, px += x.sw, po += out.sw) {
            UNROLL for (int v = 0; v < NV; v++)
            {
                vf z = FMA(LD(px + v * VL) - mean[v], scale[v], shift[v]);
                if (pa)
                    z += LD(pa + v * VL);
                ST(po + v * VL, relu ? RELU(z) : z);
            }
            if (pa)
                pa += plus.sw;
        }
    }
}

struct regs {
    vf mean[NV], rest[NV], inv_std[NV], scale[NV], shift[NV];
};

INLINE void load_regs(struct regs *r, const struct ddp_norm_coef *k)
{
    UNROLL for (int v = 0; v < NV; v++)
    {
        r->mean[v] = LDU(k->mean + v * VL);
        r->rest[v] = LDU(k->rest + v * VL);
        r->inv_std[v] = LDU(k->inv_std + v * VL);
        r->scale[v] = LDU(k->scale + v * VL);
        r->shift[v] = LDU(k->shift + v * VL);
    }
}

/* dz of one vector: dout where the output of the fused ReLU was positive. d = x - mean. */
INLINE vf masked(enum ddp_norm_mask mask, const struct regs *r, int v, vf d, const float *out,
                 const float *dout)
{
    vf g = LD(dout + v * VL);
    if (mask == DDP_NORM_MASK_OUT)
        return MASK(LD(out + v * VL) > (vf){0}, g);
    if (mask == DDP_NORM_MASK_INPUT)
        return MASK(FMA(d, r->scale[v], r->shift[v]) > (vf){0}, g);
    return g;
}

INLINE void grad_sums_plane(int h, int w, const struct ddp_norm_coef *k, enum ddp_norm_mask mask,
                            struct ddp_plane x, struct ddp_plane out, struct ddp_plane dout, double *dz,
                            double *dzx)
{
    int chunk = chunk_rows(w);
    struct regs r;
    load_regs(&r, k);
    vf a[CHAINS][NV] = {{{0}}}, b[CHAINS][NV] = {{{0}}};
    memset(dz, 0, 16 * sizeof *dz);
    memset(dzx, 0, 16 * sizeof *dzx);
    for (int y = 0; y < h; y++) {
        const float *px = x.p + y * x.sh, *pd = dout.p + y * dout.sh;
        const float *po = mask == DDP_NORM_MASK_OUT ? out.p + y * out.sh : px;
        int64_t so = mask == DDP_NORM_MASK_OUT ? out.sw : x.sw;
#define SUMS(i, j)                                                                                           \
    UNROLL for (int v = 0; v < NV; v++)                                                                      \
    {                                                                                                        \
        vf d = LD(px + (i)*x.sw + v * VL) - r.mean[v];                                                       \
        vf g = masked(mask, &r, v, d, po + (i)*so, pd + (i)*dout.sw);                                        \
        a[j][v] += g;                                                                                        \
        b[j][v] = FMA(g, FMA(d, r.inv_std[v], r.rest[v]), b[j][v]);                                          \
    }
        FOR_ROW(w, SUMS);
#undef SUMS
        if ((y + 1) % chunk == 0 || y + 1 == h) {
            flush(a, dz);
            flush(b, dzx);
        }
    }
}

static void grad_sums(int h, int w, const struct ddp_norm_coef *k, enum ddp_norm_mask mask,
                      struct ddp_plane x, struct ddp_plane out, struct ddp_plane dout, double *dz,
                      double *dzx)
{
    if (mask == DDP_NORM_MASK_OUT)
        grad_sums_plane(h, w, k, DDP_NORM_MASK_OUT, x, out, dout, dz, dzx);
    else if (mask == DDP_NORM_MASK_INPUT)
        grad_sums_plane(h, w, k, DDP_NORM_MASK_INPUT, x, out, dout, dz, dzx);
    else
        grad_sums_plane(h, w, k, DDP_NORM_MASK_NONE, x, out, dout, dz, dzx);
}

INLINE void gradient_plane(int h, int w, const struct ddp_norm_coef *k, enum ddp_norm_mask mask,
                           struct ddp_plane x, struct ddp_plane out, struct ddp_plane dout,
                           struct ddp_plane dx, enum ddp_norm_store store, struct ddp_plane dadd,
                           bool dadd_accumulate)
{
    struct regs r;
    load_regs(&r, k);
    vf m1[NV], m2[NV];
    UNROLL for (int v = 0; v < NV; v++)
    {
        m1[v] = LDU(k->m1 + v * VL);
        m2[v] = LDU(k->m2 + v * VL);
    }
    for (int y = 0; y < h; y++) {
        const float *px = x.p + y * x.sh, *pd = dout.p + y * dout.sh;
        const float *po = mask == DDP_NORM_MASK_OUT ? out.p + y * out.sh : px;
        int64_t so = mask == DDP_NORM_MASK_OUT ? out.sw : x.sw;
        for (int i = 0; i < w; i++)
            UNROLL for (int v = 0; v < NV; v++)
            {
                vf d = LD(px + i * x.sw + v * VL) - r.mean[v];
                vf g = masked(mask, &r, v, d, po + i * so, pd + i * dout.sw);
                if (dadd.p) {
                    float *q = dadd.p + y * dadd.sh + i * dadd.sw + v * VL;
                    ST(q, dadd_accumulate ? LD(q) + g : g);
                }
                if (dx.p) {
                    float *q = dx.p + y * dx.sh + i * dx.sw + v * VL;
                    vf xhat = FMA(d, r.inv_std[v], r.rest[v]);
                    vf t = r.scale[v] * FMA(-xhat, m2[v], g - m1[v]);
                    if (store == DDP_NORM_STORE_MASKED)
                        ST(q, MASK(~(LD(px + i * x.sw + v * VL) <= (vf){0}), t));
                    else
                        ST(q, store == DDP_NORM_STORE_ADD ? LD(q) + t : t);
                }
            }
    }
}

static void gradient(int h, int w, const struct ddp_norm_coef *k, enum ddp_norm_mask mask, struct ddp_plane x,
                     struct ddp_plane out, struct ddp_plane dout, struct ddp_plane dx,
                     enum ddp_norm_store store, struct ddp_plane dadd, bool dadd_accumulate)
{
    if (mask == DDP_NORM_MASK_OUT)
        gradient_plane(h, w, k, DDP_NORM_MASK_OUT, x, out, dout, dx, store, dadd, dadd_accumulate);
    else if (mask == DDP_NORM_MASK_INPUT)
        gradient_plane(h, w, k, DDP_NORM_MASK_INPUT, x, out, dout, dx, store, dadd, dadd_accumulate);
    else
        gradient_plane(h, w, k, DDP_NORM_MASK_NONE, x, out, dout, dx, store, dadd, dadd_accumulate);
}

const struct ddp_norm_kernels ISA(ddp_norm_kernels) = {
    .moments = moments,
    .normalise = normalise,
    .grad_sums = grad_sums,
    .gradient = gradient,
};
