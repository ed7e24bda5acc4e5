/* Counter-based random numbers: Philox 4x32-10, Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3", SC'11. The same words on every machine; vector forms live with the kernels.
 *
 * The key is the seed. Who uses which counter (word 3 tells the streams apart: no two uses meet):
 *
 *   initial values    {element/4 low, element/4 high, hash of tensor name, DDP_STREAM_INIT}
 *   dropout           {pixel/4, channel, sample index, DDP_STREAM_DROPOUT ^ layer ^ epoch * odd}
 *                     (ops/dropout/dropout.c has all of it)
 *   data order        {i, epoch, 0, DDP_STREAM_ORDER}
 *   augmentation      {draw, sample index, epoch, DDP_STREAM_AUGMENT}
 *   built-in digits   {draw, index, split, DDP_STREAM_DIGITS}
 *   friedman          {draw, index, split, DDP_STREAM_FRIEDMAN}
 *   noise             {draw or index, 0 or 1, split, DDP_STREAM_NOISE}
 */
#ifndef DDP_BASE_PHILOX_H
#define DDP_BASE_PHILOX_H

#include <stdint.h>

enum {
    DDP_STREAM_INIT = 0x1d872b41,
    DDP_STREAM_DROPOUT = 0x2f5a9c77,
    DDP_STREAM_ORDER = 0x3ac53b19,
    DDP_STREAM_AUGMENT = 0x4b0d8e55,
    DDP_STREAM_DIGITS = 0x5e3779b1,
    DDP_STREAM_FRIEDMAN = 0x6f4c21d3,
    DDP_STREAM_NOISE = 0x7a1e93c5,
};

struct ddp_philox4 {
    uint32_t v[4];
};

static inline struct ddp_philox4 ddp_philox4(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                                             uint64_t seed)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (struct ddp_philox4){{c0, c1, c2, c3}};
}

/* Uniform in [0, 1): the top 24 bits, exact. */
static inline float ddp_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* Uniform in 0..n-1 without bias worth naming (multiply-shift; error below n / 2^32). */
static inline uint32_t ddp_uniform_int(uint32_t word, uint32_t n)
{
    return (uint32_t)(((uint64_t)word * n) >> 32);
}

#endif
