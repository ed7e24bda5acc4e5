/* Micro-kernel of forward and data gradient: P pixels by NB * 16 outputs, accumulators in registers.
 *
 *     acc[p][k] = fma(a[p][c], b[c][k], acc[p][k])
 *
 * for channel blocks, taps r, taps s, channels c, in this order.
 *
 * How many pixels and output blocks a tile has depends on the registers of the instruction set; the chain of
 * each output does not. Per step c: NB * 16 weights are loaded, each pixel's value is broadcast and used
 * NB * 16 times. FLOPs: 2 * pixels * nc * nr * ns * 16 * 16 * nk. Bytes: weights stream from the second-level
 * cache once a tile (9 bytes a cycle at 14 pixels), pixels stay in the first. Pixels are a runtime stride
 * apart, so that rows, strided rows, samples and features are one kernel; five base pointers keep every
 * address in one base + index form. */
#include "ops/conv/conv.h"
#include "ops/cpu/vec.h"

#if DDP_VL == 16 /* 32 registers: 28 accumulators, 2 weights, 1 broadcast */
#define FOR_PIXELS(X, NB)                                                                                    \
    X(1, NB)                                                                                                 \
    X(2, NB)                                                                                                 \
    X(3, NB)                                                                                                 \
    X(4, NB) X(5, NB) X(6, NB) X(7, NB) X(8, NB) X(9, NB) X(10, NB) X(11, NB) X(12, NB) X(13, NB) X(14, NB)
enum { MAXP = 14, MAXNB = 2 };
#elif DDP_VL == 8 || defined(__ARM_NEON) /* AVX2: 12 accumulators of 16 registers; NEON: 24 of 32 */
#define FOR_PIXELS(X, NB) X(1, NB) X(2, NB) X(3, NB) X(4, NB) X(5, NB) X(6, NB)
enum { MAXP = 6, MAXNB = 1 };
#else
#define FOR_PIXELS(X, NB) X(1, NB) X(2, NB)
enum { MAXP = 2, MAXNB = 1 };
#endif

#define EACH      UNROLL for (int i = 0; i < P; i++) UNROLL for (int j = 0; j < NB * NV; j++)
#define OUT(i, j) (out + (i)*t->o_p + (j) / NV * t->o_k + (j) % NV * VL)

/* Sums to memory, the last one through the epilogue. */
INLINE void leave(const int P, const int NB, const struct ddp_conv_tile *t, int kb, bool add, bool last,
                  float *out, vf acc[MAXP][MAXNB * NV])
{
    if (add)
        EACH acc[i][j] = LD(OUT(i, j)) + acc[i][j];
    if (last && t->bias) {
        UNROLL for (int j = 0; j < NB * NV; j++)
        {
            vf bias = LD(t->bias + kb * 16 + j * VL);
            UNROLL for (int i = 0; i < P; i++) acc[i][j] += bias;
        }
    }
    if (last && t->relu)
        EACH acc[i][j] = RELU(acc[i][j]);
    EACH ST(OUT(i, j), acc[i][j]);
    if (t->real < 16 && kb + NB == t->nk) {
        for (int i = 0; i < P; i++)
            for (int k = t->real; k < 16; k++)
                out[i * t->o_p + (NB - 1) * t->o_k + k] = 0;
    }
}

#define STEP(c)                                                                                              \
    do {                                                                                                     \
        vf b[MAXNB * NV];                                                                                    \
        UNROLL for (int j = 0; j < NB * NV; j++) b[j] = LD(w + (j / NV) * t->b_k + (j % NV) * VL);           \
        UNROLL for (int i = 0; i < P; i++)                                                                   \
        {                                                                                                    \
            vf v = SET1((i < 3 ? a0 : i < 6 ? a1 : i < 9 ? a2 : i < 12 ? a3 : a4)[(i % 3) * px + (c)]);      \
            UNROLL for (int j = 0; j < NB * NV; j++) acc[i][j] = FMA(v, b[j], acc[i][j]);                    \
        }                                                                                                    \
        w += 16;                                                                                             \
    } while (0)

/* ASK: for the next weights, some lines beside each channel block: all at once would wait for each other. */
INLINE void micro(const int P, const int NB, const bool ASK, const struct ddp_conv_tile *t, const float *a,
                  int kb, float *out)
{
    vf acc[MAXP][MAXNB * NV];
    const int64_t px = t->a_p;
    if (t->load)
        EACH acc[i][j] = LD(OUT(i, j));
    else
        EACH acc[i][j] = (vf){0};
    const int lines = ASK ? P * 16 / t->np : 0; /* of each output block; these pixels' begin at next */
    const float *next = ASK ? t->next + kb * t->b_k + (a - t->a) / px * 16 * t->nc / t->np * 16 : NULL;
    for (int cb = 0; cb < t->nc; cb++) {
        for (int l = 0; l < lines; l++, next += 16)
            UNROLL for (int j = 0; j < NB; j++) __builtin_prefetch(next + j * t->b_k, 0, 2);
        int cn = cb == t->nc - 1 ? t->last : 16;
        for (int r = 0; r < t->nr; r++) {
            for (int s = 0; s < t->ns; s++) {
                const float *a0 = a + cb * t->a_c + r * t->a_r + s * t->a_s;
                const float *a1 = a0 + 3 * px, *a2 = a0 + 6 * px, *a3 = a0 + 9 * px, *a4 = a0 + 12 * px;
                const float *w = t->b + kb * t->b_k + cb * t->b_c + r * t->b_r + s * t->b_s;
                if (cn == 16) {
                    _Pragma("GCC unroll 4") for (int c = 0; c < 16; c++) STEP(c);
                } else {
                    _Pragma("GCC unroll 1") for (int c = 0; c < cn; c++) STEP(c);
                }
                (void)a1, (void)a2, (void)a3, (void)a4;
            }
        }
    }
    leave(P, NB, t, kb, t->add, true, out, acc);
}

/* Pieces, of one tap and whole blocks. */
INLINE void micro_pieces(const int P, const int NB, const struct ddp_conv_tile *t, const float *a, int kb,
                         float *out)
{
    _Alignas(64) float first[MAXP * MAXNB * 16]; /* of a pair */
    __asm__("" : "=m"(first));                   /* is written before it is read, which GCC does not see */
    vf acc[MAXP][MAXNB * NV];
    const int64_t px = t->a_p;
    bool add = t->add;
    for (int cb = 0, n = 0; cb < t->nc; n++) {
        const int end = cb + t->piece < t->nc ? cb + t->piece : t->nc;
        EACH acc[i][j] = (vf){0};
        for (; cb < end; cb++) {
            const float *a0 = a + cb * t->a_c, *w = t->b + kb * t->b_k + cb * t->b_c;
            const float *a1 = a0 + 3 * px, *a2 = a0 + 6 * px, *a3 = a0 + 9 * px, *a4 = a0 + 12 * px;
            _Pragma("GCC unroll 4") for (int c = 0; c < 16; c++) STEP(c);
            (void)a1, (void)a2, (void)a3, (void)a4;
        }
        if (n & 1)
            EACH acc[i][j] = LD(first + (i * NB * NV + j) * VL) + acc[i][j];
        if (n & 1 || end == t->nc) {
            leave(P, NB, t, kb, add, end == t->nc, out, acc);
            add = true;
        } else {
            EACH ST(first + (i * NB * NV + j) * VL, acc[i][j]);
        }
    }
}

typedef void micro_fn(const struct ddp_conv_tile *t, const float *a, int kb, float *out);

#define DEFINE(P, NB)                                                                                        \
    static __attribute__((noinline)) void micro_##P##_##NB(const struct ddp_conv_tile *t, const float *a,    \
                                                           int kb, float *out)                               \
    {                                                                                                        \
        micro(P, NB, false, t, a, kb, out);                                                                  \
    }                                                                                                        \
    static __attribute__((noinline)) void asking_##P##_##NB(const struct ddp_conv_tile *t, const float *a,   \
                                                            int kb, float *out)                              \
    {                                                                                                        \
        micro(P, NB, true, t, a, kb, out);                                                                   \
    }                                                                                                        \
    static __attribute__((noinline)) void pieces_##P##_##NB(const struct ddp_conv_tile *t, const float *a,   \
                                                            int kb, float *out)                              \
    {                                                                                                        \
        micro_pieces(P, NB, t, a, kb, out);                                                                  \
    }
#define ENTRY(P, NB) {micro_##P##_##NB, pieces_##P##_##NB, asking_##P##_##NB},

FOR_PIXELS(DEFINE, 1)
#if DDP_VL == 16
FOR_PIXELS(DEFINE, 2)
#endif

static micro_fn *const micros[MAXNB][MAXP][3] = {
    {FOR_PIXELS(ENTRY, 1)},
#if DDP_VL == 16
    {FOR_PIXELS(ENTRY, 2)},
#endif
};

static void tile(const struct ddp_conv_tile *t)
{
    const int tiles = (t->np + MAXP - 1) / MAXP, way = t->piece > 0 ? 1 : t->next ? 2 : 0;
    for (int kb = 0; kb < t->nk; kb += MAXNB) {
        int nb = t->nk - kb < MAXNB ? t->nk - kb : MAXNB;
        for (int y = 0; y < t->ny; y++) {
            const float *a = t->a + y * t->a_y;
            float *out = t->out + y * t->o_y + kb * t->o_k;
            for (int i = 0, left = t->np; i < tiles; i++) { /* pieces as equal as can be */
                int p = (left + tiles - i - 1) / (tiles - i);
                micros[nb - 1][p - 1][way](t, a, kb, out);
                a += p * t->a_p;
                out += p * t->o_p;
                left -= p;
            }
        }
    }
}

const struct ddp_conv_kernels ISA(ddp_conv_kernels) = {.tile = tile};
