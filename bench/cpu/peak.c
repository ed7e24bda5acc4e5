/* What a core can do at most: ten or sixteen chains of fused multiply-adds that never leave the registers,
 * and floats that come from memory and go back there. */
#include "../bench.h"
#include "ops/cpu/vec.h"

enum { CHAINS = DDP_VL == 16 ? 16 : 10 };

static double run(long rounds, float *sink)
{
    vf acc[CHAINS], a = SET1(0.9999f), b = SET1(1e-4f);
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = SET1((float)i);
    for (long r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = FMA(acc[i], a, b);
#if defined(__AVX512F__) /* keeps the chains apart and alive; "x" would name only the first 16 registers */
        UNROLL for (int i = 0; i < CHAINS; i++) __asm__("" : "+v"(acc[i]));
#elif defined(__x86_64__)
        UNROLL for (int i = 0; i < CHAINS; i++) __asm__("" : "+x"(acc[i]));
#endif
    }
    UNROLL for (int i = 0; i < CHAINS; i++) *sink += acc[i][0];
    return 2.0 * CHAINS * VL * (double)rounds;
}

static double triad(float *a, const float *b, const float *c, long n)
{
    const vf half = SET1(0.5f);
    for (long i = 0; i < n; i += VL)
        *(vf *)(void *)(a + i) =
            FMA(*(const vf *)(const void *)(c + i), half, *(const vf *)(const void *)(b + i));
    return 3.0 * sizeof *a * (double)n;
}

const struct bench_peak_kernels ISA(bench_peak_kernels) = {.run = run, .triad = triad};
