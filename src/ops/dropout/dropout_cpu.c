/* Dropout on groups of four pixels: see dropout_cpu.h; dropout.c says which random word belongs to which
 * element.
 *
 * One vector Philox gives 4 words for each of VL lanes: lanes are channels, words are pixels q, q+1, q+2, q+3
 * (where h = w = 1: lanes are samples x groups of four channels, words are channels). Lanes are computed as
 * even and odd halves in 64-bit elements, so that the 32x32 -> 64 multiplies need no shuffles. 10 rounds of 2
 * multiplies and 6 other operations per half: 5 vector operations per element vector. Backward reads the kept
 * bits (1/32 of the floats) instead. */
#include "ops/cpu/vec.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "ops/dropout/dropout_cpu.h"

typedef uint64_t vq __attribute__((vector_size(DDP_VL * 4)));

/* Low halves of a times low halves of b. */
#if defined(__AVX512F__) && DDP_VL == 16
INLINE vq MUL32(vq a, vq b)
{
    return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)b);
}
INLINE uint32_t LANES(vi mask)
{
    return _mm512_movepi32_mask((__m512i)mask);
}
#elif defined(__AVX2__) && DDP_VL == 8
INLINE vq MUL32(vq a, vq b)
{
    return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}
INLINE uint32_t LANES(vi mask)
{
    return (uint32_t)_mm256_movemask_ps((__m256)mask);
}
#elif defined(__SSE2__) && DDP_VL == 4
INLINE vq MUL32(vq a, vq b)
{
    return (vq)_mm_mul_epu32((__m128i)a, (__m128i)b);
}
INLINE uint32_t LANES(vi mask)
{
    return (uint32_t)_mm_movemask_ps((__m128)mask);
}
#elif defined(__ARM_NEON) && DDP_VL == 4
INLINE vq MUL32(vq a, vq b)
{
    return (vq)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
}
INLINE uint32_t LANES(vi mask)
{
    return vaddvq_u32(vandq_u32((uint32x4_t)mask, (uint32x4_t){1, 2, 4, 8}));
}
#else
INLINE vq MUL32(vq a, vq b)
{
    return (a & 0xffffffffu) * (b & 0xffffffffu);
}
INLINE uint32_t LANES(vi mask)
{
    uint32_t bits = 0;
    UNROLL for (int i = 0; i < VL; i++) bits |= (uint32_t)(mask[i] & 1) << i;
    return bits;
}
#endif

struct words {
    vu w[4];
};

/* Ten rounds on half of the lanes; the high halves of c[0..3] may hold anything. */
INLINE void philox_half(vq c[4], uint64_t seed)
{
    const vq m0 = (vq){0} + 0xD2511F53u, m1 = (vq){0} + 0xCD9E8D57u;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    UNROLL for (int round = 0; round < 10; round++)
    {
        vq a = MUL32(c[0], m0), b = MUL32(c[2], m1);
        c[0] = (b >> 32) ^ c[1] ^ (uint64_t)k0;
        c[2] = (a >> 32) ^ c[3] ^ (uint64_t)k1;
        c[1] = b;
        c[3] = a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

INLINE struct words philox_lanes(const vu counter[4], uint64_t seed)
{
    vq even[4], odd[4];
    struct words r;
    UNROLL for (int i = 0; i < 4; i++)
    {
        even[i] = (vq)counter[i];
        odd[i] = (vq)counter[i] >> 32;
    }
    philox_half(even, seed);
    philox_half(odd, seed);
    UNROLL for (int i = 0; i < 4; i++) r.w[i] = (vu)((even[i] & 0xffffffffu) | (odd[i] << 32));
    return r;
}

INLINE vu all(uint32_t x)
{
    return (vu){0} + x;
}
INLINE vu lane_index(void)
{
    vu r;
    UNROLL for (int i = 0; i < VL; i++) r[i] = (uint32_t)i;
    return r;
}

/* All ones in the lanes whose bit is set; bits starts at the vector's first channel. */
INLINE vi lane_mask(uint32_t bits)
{
    return ((vi)((all(bits) >> lane_index()) & 1) != 0);
}

INLINE uint32_t stream_of(const struct ddp_dropout *d, int n)
{
    return d->stream ^ (uint32_t)((uint64_t)d->sample[n] >> 32) * 0xC2B2AE3Du;
}

struct group {
    int count; /* pixels */
    int64_t in[4], out[4];
};

INLINE struct group group_of(const struct ddp_dropout *d, int g)
{
    struct group r = {0};
    int w = d->in->w, hw = d->in->h * w;
    r.count = hw - 4 * g < 4 ? hw - 4 * g : 4;
    for (int j = 0; j < r.count; j++) {
        int y = (4 * g + j) / w, x = (4 * g + j) % w;
        r.in[j] = y * d->in->sh + x * d->in->sw;
        r.out[j] = y * d->out->sh + x * d->out->sw;
    }
    return r;
}

static void forward(const struct ddp_dropout *d, int block, int g0, int g1, int n0, int n1)
{
    int groups = (d->in->h * d->in->w + 3) / 4, blocks = ddp_blocks(d->in->c);
    const vf scale = SET1(d->scale);
    for (int g = g0; g < g1; g++) {
        struct group p = group_of(d, g);
        for (int n = n0; n < n1; n++) {
            const float *in = ddp_at(d->in, n, block, 0, 0);
            float *out = ddp_at(d->out, n, block, 0, 0);
            uint16_t *kept = d->kept + (((int64_t)n * blocks + block) * groups + g) * 4;
            uint32_t sample = (uint32_t)d->sample[n], stream = stream_of(d, n), bits[4] = {0};
            UNROLL for (int v = 0; v < NV; v++)
            {
                vu counter[4] = {all((uint32_t)g), lane_index() + (uint32_t)(block * 16 + v * VL),
                                 all(sample), all(stream)};
                struct words r = philox_lanes(counter, d->seed);
                UNROLL for (int j = 0; j < 4; j++)
                {
                    if (j >= p.count)
                        break;
                    vi keep = (vi)(r.w[j] >= d->threshold);
                    bits[j] |= LANES(keep) << (v * VL);
                    ST(out + p.out[j] + v * VL, MASK(keep, LD(in + p.in[j] + v * VL) * scale));
                }
            }
            for (int j = 0; j < p.count; j++)
                kept[j] = (uint16_t)bits[j];
        }
    }
}

INLINE void pass_back(const float *dout, float *din, uint32_t kept, vf scale, bool accumulate)
{
    UNROLL for (int v = 0; v < NV; v++)
    {
        vf g = MASK(lane_mask(kept >> (v * VL)), LD(dout + v * VL) * scale);
        ST(din + v * VL, accumulate ? LD(din + v * VL) + g : g);
    }
}

static void backward(const struct ddp_dropout *d, int block, int g0, int g1, int n0, int n1)
{
    int groups = (d->in->h * d->in->w + 3) / 4, blocks = ddp_blocks(d->in->c);
    const vf scale = SET1(d->scale);
    for (int g = g0; g < g1; g++) {
        struct group p = group_of(d, g);
        for (int n = n0; n < n1; n++) {
            const float *dout = ddp_at(d->in, n, block, 0, 0);
            float *din = ddp_at(d->out, n, block, 0, 0);
            const uint16_t *kept = d->kept + (((int64_t)n * blocks + block) * groups + g) * 4;
            for (int j = 0; j < p.count; j++)
                pass_back(dout + p.in[j], din + p.out[j], kept[j], scale, d->accumulate);
        }
    }
}

static void forward_vectors(const struct ddp_dropout *d, int block, int n0, int n1)
{
    enum { AT_ONCE = VL / 4 }; /* samples in one vector Philox */
    int blocks = ddp_blocks(d->in->c);
    const vf scale = SET1(d->scale);
    for (int n = n0; n < n1; n += AT_ONCE) {
        int count = n1 - n < AT_ONCE ? n1 - n : AT_ONCE;
        uint32_t sample[VL], stream[VL], word[4][VL];
        for (int i = 0; i < VL; i++) {
            int m = i / 4 < count ? n + i / 4 : n;
            sample[i] = (uint32_t)d->sample[m];
            stream[i] = stream_of(d, m);
        }
        vu counter[4] = {(lane_index() & 3) + (uint32_t)(block * 4), all(0xffffffffu)};
        memcpy(&counter[2], sample, sizeof sample);
        memcpy(&counter[3], stream, sizeof stream);
        struct words r = philox_lanes(counter, d->seed);
        memcpy(word, r.w, sizeof word);
        for (int m = 0; m < count; m++) {
            uint32_t own[16] __attribute__((aligned(64))), bits = 0;
            UNROLL for (int c = 0; c < 16; c++) own[c] = word[c % 4][m * 4 + c / 4];
            const float *in = ddp_at(d->in, n + m, block, 0, 0);
            float *out = ddp_at(d->out, n + m, block, 0, 0);
            UNROLL for (int v = 0; v < NV; v++)
            {
                vu w;
                memcpy(&w, own + v * VL, sizeof w);
                vi keep = (vi)(w >= d->threshold);
                bits |= LANES(keep) << (v * VL);
                ST(out + v * VL, MASK(keep, LD(in + v * VL) * scale));
            }
            d->kept[(int64_t)(n + m) * blocks + block] = (uint16_t)bits;
        }
    }
}

static void backward_vectors(const struct ddp_dropout *d, int block, int n0, int n1)
{
    int blocks = ddp_blocks(d->in->c);
    for (int n = n0; n < n1; n++)
        pass_back(ddp_at(d->in, n, block, 0, 0), ddp_at(d->out, n, block, 0, 0),
                  d->kept[(int64_t)n * blocks + block], SET1(d->scale), d->accumulate);
}

const struct ddp_dropout_kernels ISA(ddp_dropout_kernels) = {
    .forward = forward,
    .backward = backward,
    .forward_vectors = forward_vectors,
    .backward_vectors = backward_vectors,
};
