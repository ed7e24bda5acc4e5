/* exp, log, tanh and erf of float vectors, for kernels (include after ops/cpu/vec.h).
 *
 * Only IEEE add, multiply, divide and explicit FMA in a fixed order, so all instruction sets give the same
 * bits. The polynomials are minimax fits (Remez) of the functions written beside them. Largest errors seen
 * over a sweep of all exponents against double (tests/ops/test_vmath.c): exp 1.0, log 1.0, tanh 2.0,
 * erf 1.2 ulp. NaN comes back as it went in; denormal arguments and results are exact to the same bound. */
#ifndef DDP_COMPUTE_VMATH_H
#define DDP_COMPUTE_VMATH_H

INLINE vf VABS(vf x)
{
    return (vf)((vi)x & 0x7fffffff);
}
INLINE vf VCOPYSIGN(vf x, vf sign)
{
    return (vf)(((vi)x & 0x7fffffff) | ((vi)sign & (int32_t)0x80000000));
}

/* e^x = 2^n e^r, n = round(x / ln 2), e^r = 1 + r + r^2 Q(r). 2^n goes on in two halves, so that results
 * below 2^-126 are rounded once. Above 88.72: inf; below -103.97: 0. */
INLINE vf VEXP(vf x)
{
    const vf round = SET1(0x1.8p23f), low = SET1(-104.0f), high = SET1(89.0f);
    vf c = SELECT(x < low, low, x);
    c = SELECT(c > high, high, c);
    vf shifted = FMA(c, SET1(1.442695022e+00f), round), k = shifted - round;
    vi n = (vi)shifted - (vi)round;
    vf r = FMA(k, SET1(-0.693145751953125f), c); /* exact: 16 bits of ln 2 */
    r = FMA(k, SET1(-1.428606765e-06f), r);
    vf q = SET1(1.395046245e-03f);
    q = FMA(q, r, SET1(8.368882351e-03f));
    q = FMA(q, r, SET1(4.166620597e-02f));
    q = FMA(q, r, SET1(1.666651964e-01f));
    q = FMA(q, r, SET1(0.5f));
    vf p = FMA(q, r * r, r) + SET1(1.0f);
    vi half = n >> 1;
    vf y = p * (vf)((half + 127) << 23) * (vf)((n - half + 127) << 23);
    return SELECT(x == x, y, x);
}

/* ln x = e ln 2 + ln(1 + f), sqrt(1/2) <= 1 + f < sqrt(2), ln(1 + f) = f - f^2/2 + f^3 P(f). */
INLINE vf VLOG(vf x)
{
    const vf zero = SET1(0.0f), inf = SET1(INFINITY);
    vi tiny = x < SET1(0x1p-126f);
    vf scaled = SELECT(tiny, x * SET1(0x1p23f), x);
    vi e = (vi)((vu)scaled - 0x3f3504f3u) >> 23; /* unsigned: negative x must not overflow */
    vf f = (vf)((vu)scaled - ((vu)e << 23)) - SET1(1.0f);
    vf k = __builtin_convertvector(e - (tiny & 23), vf);
    vf p = SET1(6.746669859e-02f);
    p = FMA(p, f, SET1(-1.167563498e-01f));
    p = FMA(p, f, SET1(1.188813895e-01f));
    p = FMA(p, f, SET1(-1.240558997e-01f));
    p = FMA(p, f, SET1(1.421955526e-01f));
    p = FMA(p, f, SET1(-1.666799635e-01f));
    p = FMA(p, f, SET1(2.000211775e-01f));
    p = FMA(p, f, SET1(-2.500000894e-01f));
    p = FMA(p, f, SET1(3.333331347e-01f));
    vf f2 = f * f, y = FMA(k, SET1(1.428606765e-06f), f * f2 * p);
    y = FMA(f2, SET1(-0.5f), y);
    y = FMA(k, SET1(0.693145751953125f), f + y);
    y = SELECT(x == inf, x, y);
    y = SELECT(x == zero, -inf, y);
    y = SELECT(x < zero, SET1(NAN), y);
    return SELECT(x == x, y, x);
}

/* |x| < 0.625: x + x^3 P(x^2); else 1 - 2 / (e^(2|x|) + 1) with x's sign. */
INLINE vf VTANH(vf x)
{
    vf a = VABS(x), s = x * x;
    vf p = SET1(-5.717041902e-03f);
    p = FMA(p, s, SET1(2.065058425e-02f));
    p = FMA(p, s, SET1(-5.374349654e-02f));
    p = FMA(p, s, SET1(1.333149076e-01f));
    p = FMA(p, s, SET1(-3.333328366e-01f));
    vf small = FMA(x * s, p, x);
    vf c = SELECT(a > SET1(10.0f), SET1(10.0f), a);
    vf large = SET1(1.0f) - SET1(2.0f) / (VEXP(c + c) + SET1(1.0f));
    vf y = VCOPYSIGN(SELECT(a < SET1(0.625f), small, large), x); /* -0 too */
    return SELECT(x == x, y, x);
}

/* |x| < 0.92: x + x P(x^2); else 1 - e^-(t + t R(t)), t = min(|x|, 4), R from -ln(erfc(t)) / t - 1, with x's
 * sign. */
INLINE vf VERF(vf x)
{
    vf a = VABS(x), s = x * x;
    vf p = SET1(-5.988746416e-04f);
    p = FMA(p, s, SET1(4.993273411e-03f));
    p = FMA(p, s, SET1(-2.676709928e-02f));
    p = FMA(p, s, SET1(1.128184423e-01f));
    p = FMA(p, s, SET1(-3.761249781e-01f));
    p = FMA(p, s, SET1(1.283791512e-01f));
    vf small = FMA(p, x, x);
    vf t = SELECT(a > SET1(4.0f), SET1(4.0f), a);
    vf r = SET1(1.076510671e-05f);
    r = FMA(r, t, SET1(-3.180787025e-04f));
    r = FMA(r, t, SET1(3.622994525e-03f));
    r = FMA(r, t, SET1(-2.372034267e-02f));
    r = FMA(r, t, SET1(1.061877906e-01f));
    r = FMA(r, t, SET1(6.351813674e-01f));
    r = FMA(r, t, SET1(1.286409944e-01f));
    vf large = SET1(1.0f) - VEXP(-FMA(r, t, t));
    vf y = VCOPYSIGN(SELECT(a < SET1(0.92f), small, large), x);
    return SELECT(x == x, y, x);
}

#endif
