/* Micro-kernel of the weight gradient: RC channels of NR x NS taps by NB * 16 outputs; the sum runs over
 * pixels.
 *
 *     acc[r][s][c][k] = fma(x[y * stride + r][x * stride + s][c], d[y][x][k], acc[r][s][c][k])
 *
 * for images, y, x, in this order.
 *
 * Which taps and channels share a tile depends on registers; the chain of each weight does not.
 * Per pixel: NB * 16 gradients are loaded, each of NR * NS * RC inputs is broadcast and used NB * 16 times.
 * FLOPs: 2 * images * rows * cols * r * s * c * 16 * nk. */
#include "ops/conv/conv.h"
#include "ops/cpu/vec.h"

struct part { /* one call: pixels to run over, already at their first tap and channel */
    const float *x, *d;
    int64_t x_n, x_y, x_x, x_r, x_s;
    int64_t d_n, d_y, d_x, d_k;
    float *w;
    int64_t w_r, w_s, w_k;
    int images, rows, cols;
    bool add;
};

#if DDP_VL == 16
#define FOR_TILES(X, NB)                                                                                     \
    X(1, 3, 4, NB)                                                                                           \
    X(1, 3, 3, NB)                                                                                           \
    X(1, 3, 2, NB)                                                                                           \
    X(1, 3, 1, NB)                                                                                           \
    X(1, 2, 4, NB)                                                                                           \
    X(1, 2, 2, NB)                                                                                           \
    X(1, 2, 1, NB)                                                                                           \
    X(1, 1, 8, NB) X(1, 1, 4, NB) X(1, 1, 2, NB) X(1, 1, 1, NB) X(3, 3, 1, NB) X(3, 2, 1, NB) X(3, 1, 1, NB)
enum { MAXA = 12, MAXNB = 2 };
#elif DDP_VL == 8 || defined(__ARM_NEON)
#define FOR_TILES(X, NB)                                                                                     \
    X(1, 3, 2, NB) X(1, 3, 1, NB) X(1, 2, 2, NB) X(1, 2, 1, NB) X(1, 1, 4, NB) X(1, 1, 2, NB) X(1, 1, 1, NB)
enum { MAXA = 6, MAXNB = 1 };
#else
#define FOR_TILES(X, NB) X(1, 1, 2, NB) X(1, 1, 1, NB)
enum { MAXA = 2, MAXNB = 1 };
#endif

INLINE void micro(const int NR, const int NS, const int RC, const int NB, const struct part *t)
{
    vf acc[MAXA][MAXNB * NV];
    UNROLL for (int i = 0; i < NR * NS * RC; i++) UNROLL for (int j = 0; j < NB * NV; j++) acc[i][j] =
        (vf){0};
    const int64_t xx = t->x_x, dx = t->d_x, dk = t->d_k, xr = t->x_r;
    for (int n = 0; n < t->images; n++) {
        for (int y = 0; y < t->rows; y++) {
            const float *x = t->x + n * t->x_n + y * t->x_y, *d = t->d + n * t->d_n + y * t->d_y;
            _Pragma("GCC unroll 2") for (int q = 0; q < t->cols; q++)
            {
                vf b[MAXNB * NV];
                UNROLL for (int j = 0; j < NB * NV; j++) b[j] = LD(d + (j / NV) * dk + (j % NV) * VL);
                UNROLL for (int i = 0; i < NR * NS * RC; i++)
                {
                    vf v = SET1(x[i / (NS * RC) * xr + i / RC % NS * 16 + i % RC]);
                    UNROLL for (int j = 0; j < NB * NV; j++) acc[i][j] = FMA(v, b[j], acc[i][j]);
                }
                x += xx;
                d += dx;
            }
        }
    }
    UNROLL for (int i = 0; i < NR * NS * RC; i++)
    {
        float *w = t->w + i / (NS * RC) * t->w_r + i / RC % NS * t->w_s + i % RC * 16;
        UNROLL for (int j = 0; j < NB * NV; j++)
        {
            float *at = w + (j / NV) * t->w_k + (j % NV) * VL;
            ST(at, t->add ? LD(at) + acc[i][j] : acc[i][j]);
        }
    }
}

typedef void micro_fn(const struct part *t);

#define DEFINE(NR, NS, RC, NB)                                                                               \
    static __attribute__((noinline)) void micro_##NR##_##NS##_##RC##_##NB(const struct part *t)              \
    {                                                                                                        \
        micro(NR, NS, RC, NB, t);                                                                            \
    }
#define ENTRY(NR, NS, RC, NB) [NR == 3][NS - 1][RC - 1] = micro_##NR##_##NS##_##RC##_##NB,

FOR_TILES(DEFINE, 1)
#if DDP_VL == 16
FOR_TILES(DEFINE, 2)
#endif

static micro_fn *const micros[MAXNB][2][3][8] = {
    {FOR_TILES(ENTRY, 1)},
#if DDP_VL == 16
    {FOR_TILES(ENTRY, 2)},
#endif
};

/* All channels of nr x ns taps. */
static void channels(const struct ddp_conv_wtile *t, struct part *p, int nr, int ns, int nb)
{
    micro_fn *const *table = micros[nb - 1][nr == 3][ns - 1];
    for (int c = 0; c < t->c;) {
        int rc = t->c - c < 8 ? t->c - c : 8;
        while (!table[rc - 1])
            rc--;
        table[rc - 1](p);
        p->x += rc;
        p->w += rc * 16;
        c += rc;
    }
}

/* First and one past last output position whose input position lies inside [0, size). */
static int range(int outputs, int size, int stride, int shift, int *first)
{
    int lo = shift >= 0 ? 0 : (-shift + stride - 1) / stride, hi = (size - 1 - shift);
    hi = hi < 0 ? 0 : hi / stride + 1;
    hi = hi < outputs ? hi : outputs;
    *first = lo;
    return hi > lo ? hi - lo : 0;
}

static void tile(const struct ddp_conv_wtile *t)
{
    bool wide =
        !t->clip && t->dilation == 1 && t->x_x == 16 * t->stride; /* taps in a row lie beside each other */
    for (int kb = 0; kb < t->nk; kb += MAXNB) {
        int nb = t->nk - kb < MAXNB ? t->nk - kb : MAXNB, nr, ns;
        for (int r = 0; r < t->r; r += nr) {
            nr = wide && t->c == 1 && t->r - r >= 3 && micros[nb - 1][1][0][0] ? 3 : 1;
            for (int s = 0; s < t->s; s += ns) {
                ns = !wide ? 1 : t->s - s == 4 ? 2 : t->s - s < 3 ? t->s - s : 3;
                while (!micros[nb - 1][nr == 3][ns - 1][0])
                    ns--;
                struct part p = {.x_n = t->x_n,
                                 .x_y = t->x_y,
                                 .x_x = t->x_x,
                                 .d_n = t->d_n,
                                 .d_y = t->d_y,
                                 .d_x = t->d_x,
                                 .d_k = t->d_k,
                                 .w_r = (int64_t)t->s * 256,
                                 .w_s = 256,
                                 .w_k = t->w_k,
                                 .images = t->images,
                                 .rows = t->rows,
                                 .cols = t->cols,
                                 .add = t->add};
                int y = 0, x = 0;
                if (t->clip) {
                    p.rows = range(t->rows, t->h, t->stride, r * t->dilation - t->pad, &y);
                    p.cols = range(t->cols, t->w_, t->stride, s * t->dilation - t->pad, &x);
                }
                int64_t sh = t->x_y / t->stride, sw = t->x_x / t->stride;
                p.x_r = sh;
                p.x = t->x + (y * t->stride + r * t->dilation - t->pad) * sh +
                      (x * t->stride + s * t->dilation - t->pad) * sw;
                p.d = t->d + kb * t->d_k + y * t->d_y + x * t->d_x;
                p.w = t->w + kb * t->w_k + (r * t->s + s) * 256;
                channels(t, &p, nr, ns, nb);
            }
        }
    }
}

const struct ddp_wgrad_kernels ISA(ddp_wgrad_kernels) = {.tile = tile};
