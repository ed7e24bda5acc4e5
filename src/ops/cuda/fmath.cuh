/* Elementary functions of our own for kernels: those of ops/cpu/vmath.h, which has the equations and the
 * errors, to the bit (IEEE add, multiply, divide and explicit fmaf in the same order). */
#ifndef DDP_OPS_CUDA_FMATH_CUH
#define DDP_OPS_CUDA_FMATH_CUH

#include "ddp_device.h"

/* e^x */
DDP_DEVICE float ddp_exp(float x)
{
    const float round = 0x1.8p23f;
    float c = x < -104.0f ? -104.0f : x;
    c = c > 89.0f ? 89.0f : c;
    const float shifted = fmaf(c, 1.442695022e+00f, round), k = shifted - round;
    const int n = (int)(__float_as_uint(shifted) - __float_as_uint(round)), half = n >> 1;
    float r = fmaf(k, -0.693145751953125f, c);
    r = fmaf(k, -1.428606765e-06f, r);
    float q = 1.395046245e-03f;
    q = fmaf(q, r, 8.368882351e-03f);
    q = fmaf(q, r, 4.166620597e-02f);
    q = fmaf(q, r, 1.666651964e-01f);
    q = fmaf(q, r, 0.5f);
    const float p = fmaf(q, r * r, r) + 1.0f;
    const float y =
        p * __uint_as_float((uint32_t)(half + 127) << 23) * __uint_as_float((uint32_t)(n - half + 127) << 23);
    return x == x ? y : x;
}

/* tanh x */
DDP_DEVICE float ddp_tanh(float x)
{
    const float a = fabsf(x), s = x * x;
    float p = -5.717041902e-03f;
    p = fmaf(p, s, 2.065058425e-02f);
    p = fmaf(p, s, -5.374349654e-02f);
    p = fmaf(p, s, 1.333149076e-01f);
    p = fmaf(p, s, -3.333328366e-01f);
    const float small = fmaf(x * s, p, x), c = a > 10.0f ? 10.0f : a;
    const float large = 1.0f - 2.0f / (ddp_exp(c + c) + 1.0f);
    const float y = copysignf(a < 0.625f ? small : large, x);
    return x == x ? y : x;
}

/* 1 / (1 + e^-x) */
DDP_DEVICE float ddp_sigmoid(float x)
{
    return 1.0f / (1.0f + ddp_exp(-x));
}

#endif
