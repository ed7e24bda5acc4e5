/* Vectors of DDP_VL floats for sources compiled once per instruction set (ddp_isa_sources in
 * cmake/ddp.cmake).
 *
 * The rules that keep the bits equal: the only fused operations are FMA() here (the compiler may not
 * contract); along a summed axis each output is summed in a fixed order, so the vector width never enters;
 * reductions over lanes go by channel (16 always), never by DDP_VL. */
#ifndef DDP_COMPUTE_VEC_H
#define DDP_COMPUTE_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef DDP_VL
#error "compile through ddp_isa_sources"
#endif

#define DDP_CAT2(a, b) a##_##b
#define DDP_CAT(a, b)  DDP_CAT2(a, b)
#define ISA(name)      DDP_CAT(name, DDP_ISA) /* name_avx2, ... */

enum { VL = DDP_VL, NV = 16 / DDP_VL }; /* vectors in a block of 16 channels */

typedef float vf __attribute__((vector_size(DDP_VL * 4)));
typedef float vfu __attribute__((vector_size(DDP_VL * 4), aligned(4)));
typedef int32_t vi __attribute__((vector_size(DDP_VL * 4)));
typedef uint32_t vu __attribute__((vector_size(DDP_VL * 4)));

#define INLINE static inline __attribute__((always_inline))
/* Unroll completely: loops of constant count over registers. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(__AVX512F__) && DDP_VL == 16
#include <immintrin.h>
INLINE vf FMA(vf a, vf b, vf c)
{
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
INLINE vf SET1(float x)
{
    return (vf)_mm512_set1_ps(x);
}
INLINE vf VSQRT(vf a)
{
    return (vf)_mm512_sqrt_ps((__m512)a);
}
#elif defined(__FMA__) && DDP_VL == 8
#include <immintrin.h>
INLINE vf FMA(vf a, vf b, vf c)
{
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
INLINE vf SET1(float x)
{
    return (vf)_mm256_set1_ps(x);
}
INLINE vf VSQRT(vf a)
{
    return (vf)_mm256_sqrt_ps((__m256)a);
}
#elif defined(__ARM_NEON) && DDP_VL == 4
#include <arm_neon.h>
INLINE vf FMA(vf a, vf b, vf c)
{
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
INLINE vf SET1(float x)
{
    return (vf)vdupq_n_f32(x);
}
INLINE vf VSQRT(vf a)
{
    return (vf)vsqrtq_f32((float32x4_t)a);
}
#else
INLINE vf FMA(vf a, vf b, vf c)
{
    vf r;
    UNROLL for (int i = 0; i < VL; i++) r[i] = fmaf(a[i], b[i], c[i]);
    return r;
}
INLINE vf SET1(float x)
{
    vf r;
    UNROLL for (int i = 0; i < VL; i++) r[i] = x;
    return r;
}
INLINE vf VSQRT(vf a)
{
    vf r;
    UNROLL for (int i = 0; i < VL; i++) r[i] = sqrtf(a[i]);
    return r;
}
#endif

INLINE vf LD(const float *p)
{
    return *(const vf *)p;
}
INLINE void ST(float *p, vf v)
{
    *(vf *)p = v;
}
INLINE vf LDU(const float *p)
{
    return (vf) * (const vfu *)p;
}
INLINE void STU(float *p, vf v)
{
    *(vfu *)p = (vfu)v;
}

/* m ? a : b, lane by lane; m is a comparison's all-ones mask. */
INLINE vf SELECT(vi m, vf a, vf b)
{
    return (vf)((m & (vi)a) | (~m & (vi)b));
}
INLINE vf MASK(vi m, vf a)
{
    return (vf)(m & (vi)a);
}
/* a > 0 ? a : 0, but NaN stays NaN (as PyTorch has it): a bad value reaches the loss, where it is found. */
INLINE vf RELU(vf a)
{
    return MASK(~(a <= (vf){0}), a);
}

#endif
