/* a += b, sums of squares, and whether all is finite, over flat ranges; any alignment. 12, 4 and 4 bytes of
 * traffic an element: memory-bound. */
#include "ops/cpu/vec.h"
#include "ops/cpu/vecops.h"

static void add(float *a, const float *b, int64_t n)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        UNROLL for (int j = 0; j < NV; j++) STU(a + i + j * VL, LDU(a + i + j * VL) + LDU(b + i + j * VL));
    for (; i < n; i++)
        a[i] += b[i];
}

/* Half a vector of floats becomes a whole one of doubles. */
enum { HALF = VL / 2, PARTS = 16 / HALF };
typedef float hf __attribute__((vector_size(HALF * 4), aligned(4)));
typedef double vd __attribute__((vector_size(HALF * 8)));

/* The square of a float is exact in double, so a fused and an unfused multiply-add
 * give the same bits here. */
static void sumsq16(const float *a, int64_t n, double lane[16])
{
    vd s[PARTS];
    UNROLL for (int j = 0; j < PARTS; j++) s[j] = (vd){0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        UNROLL for (int j = 0; j < PARTS; j++)
        {
            vd x = __builtin_convertvector(*(const hf *)(a + i + j * HALF), vd);
            s[j] += x * x;
        }
    }
    UNROLL for (int j = 0; j < PARTS; j++) memcpy(lane + j * HALF, &s[j], sizeof(vd));
    for (int j = 0; i < n; i++, j++)
        lane[j] += (double)a[i] * a[i];
}

/* The exponent of inf and nan is all ones: only there a bit above it comes from adding one to it. */
static int all_finite(const float *a, int64_t n)
{
    const uint32_t sign = 0x80000000u, one = 0x00800000u;
    vu bad[NV], low;
    uint32_t any = 0;
    int64_t i = 0;
    UNROLL for (int j = 0; j < NV; j++) bad[j] = (vu){0};
    for (; i + 16 <= n; i += 16)
        UNROLL for (int j = 0; j < NV; j++) bad[j] |= ((vu)LDU(a + i + j * VL) & ~sign) + one;
    UNROLL for (int j = 0; j < NV; j++)
    {
        low = bad[j];
        for (int k = 0; k < VL; k++)
            any |= low[k];
    }
    for (; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, a + i, sizeof bits);
        any |= (bits & ~sign) + one;
    }
    return !(any & sign);
}

const struct ddp_vec_kernels ISA(ddp_vec_kernels) = {.add = add, .sumsq16 = sumsq16, .finite = all_finite};
