/* bf16 and fp16 as their bits, and their conversions. To them: to nearest, ties to even; too large becomes
 * infinite; any NaN becomes 0x7fff, as CUDA's conversions do. From them: exact. */
#ifndef DDP_FLOAT16_H
#define DDP_FLOAT16_H

#include <stdint.h>
#include <string.h>

struct ddp_bf16 {
    uint16_t bits;
};
struct ddp_f16 {
    uint16_t bits;
};

static inline uint32_t ddp_bits(float v)
{
    uint32_t u;
    __builtin_memcpy(&u, &v, 4);
    return u;
}
static inline float ddp_unbits(uint32_t u)
{
    float v;
    __builtin_memcpy(&v, &u, 4);
    return v;
}

/* u / 2^shift to nearest, ties to even. */
static inline uint32_t ddp_round_shift(uint32_t u, int shift)
{
    const uint32_t q = u >> shift, rest = u & ((1u << shift) - 1), half = 1u << (shift - 1);
    return q + (rest > half || (rest == half && (q & 1)));
}

static inline float ddp_bf16_float(ddp_bf16 v)
{
    return ddp_unbits((uint32_t)v.bits << 16);
}
static inline ddp_bf16 ddp_bf16_from(float v)
{
    const uint32_t u = ddp_bits(v);
    if ((u & 0x7fffffff) > 0x7f800000)
        return {0x7fff};
    return {(uint16_t)ddp_round_shift(u, 16)};
}

static inline float ddp_f16_float(ddp_f16 v)
{
    const uint32_t sign = (uint32_t)(v.bits & 0x8000) << 16, a = v.bits & 0x7fff;
    if (a >= 0x7c00) /* infinite or NaN, payload kept */
        return ddp_unbits(sign | 0x7f800000 | (a & 0x3ff) << 13);
    if (a >= 0x400)
        return ddp_unbits(sign | ((a << 13) + 0x38000000)); /* 112 more on the exponent */
    return ddp_unbits(sign | ddp_bits((float)a * 0x1p-24f));
}
static inline ddp_f16 ddp_f16_from(float v)
{
    const uint32_t u = ddp_bits(v), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    uint32_t h;
    if (a > 0x7f800000)
        return {0x7fff};
    if (a >= 0x477ff000) /* 65520: half way to what would be next */
        h = 0x7c00;
    else if (a >= 0x38800000) /* 2^-14 */
        h = ddp_round_shift(a - 0x38000000, 13);
    else if (a >= 0x33000000) /* 2^-25: denormal, in units of 2^-24 */
        h = ddp_round_shift((a & 0x7fffff) | 0x800000, 126 - (int)(a >> 23));
    else
        h = 0;
    return {(uint16_t)(sign | h)};
}

#endif
