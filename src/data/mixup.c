/* Mixup (Zhang et al., 2018, arXiv:1710.09412): with whom a sample is mixed, and how much of it is left. */
#include "data/data.h"
#include "data/draw.h"

enum { PARTNER = 6, GAMMA = 64, TRIES = 1 << 20 }; /* draw.h */

/* Gamma(shape, 1), shape >= 1 (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000):
 * squeezed normal numbers, of which 95 % and more are taken. Draws first, first + 1, ...: two words make the
 * normal number (Box and Muller), one decides. */
static double gamma_from_1(double shape, const struct ddp_draw *d, uint32_t first)
{
    const double e = shape - 1.0 / 3, c = 1 / ddp_sqrt(9 * e);
    for (uint32_t k = 0; k < TRIES; k++) {
        const struct ddp_philox4 r = ddp_draw(d, first + k);
        const double radius = ddp_sqrt(-2 * ddp_ln(((double)r.v[0] + 0.5) * 0x1p-32));
        const double x = radius * ddp_cos(2 * 3.14159265358979323846 * ((double)r.v[1] * 0x1p-32));
        const double v = (1 + c * x) * (1 + c * x) * (1 + c * x);
        if (v > 0 && ddp_ln(((double)r.v[2] + 0.5) * 0x1p-32) < 0.5 * x * x + e - e * v + e * ddp_ln(v))
            return e * v;
    }
    return e;
}

/* ln Gamma(alpha, 1): below 1 by Gamma(alpha) = Gamma(alpha + 1) U^(1/alpha), which may be too small for a
 * double itself. */
static double ln_gamma_drawn(double alpha, const struct ddp_draw *d, uint32_t first)
{
    if (alpha >= 1)
        return ddp_ln(gamma_from_1(alpha, d, first));
    const double u = ((double)ddp_draw(d, first).v[3] + 0.5) * 0x1p-32;
    return ddp_ln(gamma_from_1(alpha + 1, d, first)) + ddp_ln(u) / alpha;
}

/* The part of the sample itself is Beta(alpha, alpha): g / (g + h) of two gamma numbers. */
void ddp_mixup_draw(double alpha, int64_t count, uint64_t seed, int64_t epoch, int64_t index,
                    int64_t *partner, float *own)
{
    const struct ddp_draw d = {seed, epoch, index};
    const double g = ln_gamma_drawn(alpha, &d, GAMMA), h = ln_gamma_drawn(alpha, &d, GAMMA + TRIES);
    *partner = ddp_uniform_int(ddp_draw(&d, PARTNER).v[0], (uint32_t)count);
    *own = (float)(1 / (1 + ddp_exp(h - g)));
}
