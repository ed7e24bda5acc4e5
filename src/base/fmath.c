/* exp, ln, pow, sin and cos in double: argument reduction, polynomials, special values. */
#include "base/fmath.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

static const double ln2_hi = 0x1.62e42fefa39efp-1, ln2_lo = 0x1.abc9e3b39803fp-56,
                    log2_e = 0x1.71547652b82fep+0;

/* 2^k for -1074 <= k <= 1023 (0 and inf beyond), times x. */
static double scale(double x, int k)
{
    while (k > 1000) {
        x *= 0x1p1000;
        k -= 1000;
    }
    while (k < -1000) {
        x *= 0x1p-1000;
        k += 1000;
    }
    uint64_t bits = (uint64_t)(k + 1023) << 52;
    double two_k;
    memcpy(&two_k, &bits, sizeof two_k);
    return x * two_k;
}

/* x = k ln 2 + r, |r| <= ln2 / 2; Taylor series of exp(r) to r^13 (truncation below 1e-17). */
double ddp_exp(double x)
{
    if (isnan(x))
        return x;
    if (x > 710.0)
        return INFINITY;
    if (x < -746.0)
        return 0.0;
    double k = rint(x * log2_e);
    double r = fma(-k, ln2_hi, x);
    r = fma(-k, ln2_lo, r);
    double p = 1.0 / 6227020800.0;
    static const double c[] = {1.0 / 479001600.0,
                               1.0 / 39916800.0,
                               1.0 / 3628800.0,
                               1.0 / 362880.0,
                               1.0 / 40320.0,
                               1.0 / 5040.0,
                               1.0 / 720.0,
                               1.0 / 120.0,
                               1.0 / 24.0,
                               1.0 / 6.0,
                               0.5};
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++)
        p = fma(p, r, c[i]);
    return scale(1.0 + fma(p, r * r, r), (int)k);
}

/* x = 2^e m, sqrt(1/2) <= m < sqrt(2); with s = (m - 1) / (m + 1): ln m = 2 s (1 + s^2/3 + s^4/5 + ...). */
double ddp_ln(double x)
{
    if (isnan(x) || x < 0.0)
        return NAN;
    if (x == 0.0)
        return -INFINITY;
    if (isinf(x))
        return x;
    int e = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    e += (int)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    double f = m - 1.0, s = f / (2.0 + f), z = s * s;
    double p = 1.0 / 25.0;
    for (int k = 23; k >= 3; k -= 2)
        p = fma(p, z, 1.0 / k);
    /* ln m = 2s + 2s z p = f - (f^2/2 - s (f^2/2 + 2 z p)): the large part, f, is exact */
    double h = 0.5 * f * f;
    double lo = fma(s, h + 2.0 * z * p, e * ln2_lo);
    return fma((double)e, ln2_hi, f - (h - lo));
}

double ddp_pow(double x, double y)
{
    if (y == 0.0 || x == 1.0)
        return 1.0;
    if (x == 0.0)
        return y > 0.0 ? 0.0 : INFINITY;
    return ddp_exp(y * ddp_ln(x));
}

double ddp_sqrt(double x)
{
    return sqrt(x);
}

/* sin and cos of |r| <= pi/4 by their Taylor series to r^17 and r^18. */
static double sin_part(double r)
{
    double z = r * r, p = 1.0 / 355687428096000.0;
    static const double c[] = {-1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0,
                               -1.0 / 5040.0,          1.0 / 120.0,        -1.0 / 6.0};
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++)
        p = fma(p, z, c[i]);
    return fma(p * z, r, r);
}

static double cos_part(double r)
{
    double z = r * r, p = -1.0 / 6402373705728000.0;
    static const double c[] = {
        1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0,
        1.0 / 40320.0,          -1.0 / 720.0,         1.0 / 24.0};
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++)
        p = fma(p, z, c[i]);
    return fma(p * z, z, fma(-0.5, z, 1.0));
}

/* x = k pi/2 + r, pi/2 in two parts; |x| <= 1e5 keeps k below 2^16. */
static double quarter(double x, int *k)
{
    double q = rint(x * 0x1.45f306dc9c883p-1);
    double r = fma(-q, 0x1.921fb54442d18p+0, x);
    r = fma(-q, 0x1.1a62633145c07p-54, r);
    *k = (int)((int64_t)q & 3);
    return r;
}

double ddp_sin(double x)
{
    if (!(fabs(x) <= 1e5))
        return NAN;
    int k;
    double r = quarter(x, &k);
    double v = k & 1 ? cos_part(r) : sin_part(r);
    return k & 2 ? -v : v;
}

double ddp_cos(double x)
{
    if (!(fabs(x) <= 1e5))
        return NAN;
    int k;
    double r = quarter(x, &k);
    double v = k & 1 ? sin_part(r) : cos_part(r);
    return ((k + 1) & 2) ? -v : v;
}

void ddp_float_mode(void)
{
#if defined(__x86_64__)
    _mm_setcsr(0x1f80); /* round to nearest, exceptions masked, no flush-to-zero, no denormals-are-zero */
#elif defined(__aarch64__)
    uint64_t fpcr = 0;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
#endif
}
