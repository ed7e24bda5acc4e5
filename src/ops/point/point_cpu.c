/* Elementwise kernels on planes (point_cpu.h): activations, residual sums, copies between orders.
 *
 * Each element is computed alone, so neither vector width nor traversal can change a bit. Memory-bound except
 * GELU and SiLU: 8 bytes an element forward, 12 backward (16 accumulating); GELU some 60 FLOPs an element,
 * SiLU, tanh and sigmoid 25. */
#include "ops/cpu/vec.h"
#include "ops/cpu/vmath.h"

#include "ops/point/point_cpu.h"

/* x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2 (Hendrycks, Gimpel: "Gaussian error linear units", the exact
 * form) */
INLINE vf gelu(vf x)
{
    vf cdf = SET1(0.5f) * (SET1(1.0f) + VERF(x * SET1(0.70710678118654752f)));
    return x * cdf;
}
/* Phi(x) + x phi(x), phi(x) = exp(-x^2 / 2) / sqrt(2 pi) */
INLINE vf gelu_slope(vf x)
{
    vf cdf = SET1(0.5f) * (SET1(1.0f) + VERF(x * SET1(0.70710678118654752f)));
    vf pdf = SET1(0.39894228040143268f) * VEXP(x * x * SET1(-0.5f));
    return FMA(x, pdf, cdf);
}

INLINE vf sigmoid(vf x)
{
    return SET1(1.0f) / (SET1(1.0f) + VEXP(-x));
}
/* s(x) (1 + x (1 - s(x))) */
INLINE vf silu_slope(vf x)
{
    vf s = sigmoid(x);
    return s * FMA(x, SET1(1.0f) - s, SET1(1.0f));
}

/* Of y = tanh x and y = s(x): 1 - y^2, y (1 - y). */
INLINE vf tanh_slope(vf y)
{
    return FMA(-y, y, SET1(1.0f));
}
INLINE vf sigmoid_slope(vf y)
{
    return y * (SET1(1.0f) - y);
}

INLINE vf act_value(enum ddp_act f, vf slope, vf x)
{
    switch (f) {
    case DDP_ACT_RELU:
        return RELU(x);
    case DDP_ACT_GELU:
        return gelu(x);
    case DDP_ACT_SILU:
        return x * sigmoid(x);
    case DDP_ACT_TANH:
        return VTANH(x);
    case DDP_ACT_SIGMOID:
        return sigmoid(x);
    case DDP_ACT_LEAKY_RELU:
        return SELECT(x > (vf){0}, x, slope * x);
    }
    return x;
}

/* dy f'(x); x is y where ddp_act_reads_out(f) */
INLINE vf act_slope(enum ddp_act f, vf slope, vf x, vf dy)
{
    switch (f) {
    case DDP_ACT_RELU:
        return MASK(x > (vf){0}, dy);
    case DDP_ACT_GELU:
        return dy * gelu_slope(x);
    case DDP_ACT_SILU:
        return dy * silu_slope(x);
    case DDP_ACT_TANH:
        return dy * tanh_slope(x);
    case DDP_ACT_SIGMOID:
        return dy * sigmoid_slope(x);
    case DDP_ACT_LEAKY_RELU:
        return SELECT(x > (vf){0}, dy, slope * dy);
    }
    return dy;
}

INLINE void act_plane(enum ddp_act f, float slope, int rows, int run, struct ddp_plane x, struct ddp_plane y)
{
    for (int r = 0; r < rows; r++) {
        const float *px = x.p + r * x.sh;
        float *py = y.p + r * y.sh;
        for (int i = 0; i < run; i++, px += x.sw, py += y.sw)
            UNROLL for (int v = 0; v < NV; v++) ST(py + v * VL, act_value(f, SET1(slope), LD(px + v * VL)));
    }
}

INLINE void act_grad_plane(enum ddp_act f, float slope, int rows, int run, struct ddp_plane x,
                           struct ddp_plane dy, struct ddp_plane dx, bool accumulate)
{
    for (int r = 0; r < rows; r++) {
        const float *px = x.p + r * x.sh, *pdy = dy.p + r * dy.sh;
        float *pdx = dx.p + r * dx.sh;
        for (int i = 0; i < run; i++, px += x.sw, pdy += dy.sw, pdx += dx.sw)
            UNROLL for (int v = 0; v < NV; v++)
            {
                vf g = act_slope(f, SET1(slope), LD(px + v * VL), LD(pdy + v * VL));
                ST(pdx + v * VL, accumulate ? LD(pdx + v * VL) + g : g);
            }
    }
}

/* A loop for each, so that nothing is decided in it. */
#define FOR_EACH_ACT(CASE)                                                                                   \
    CASE(DDP_ACT_RELU)                                                                                       \
    CASE(DDP_ACT_GELU)                                                                                       \
    CASE(DDP_ACT_SILU)                                                                                       \
    CASE(DDP_ACT_TANH)                                                                                       \
    CASE(DDP_ACT_SIGMOID)                                                                                    \
    CASE(DDP_ACT_LEAKY_RELU)

static void act(enum ddp_act f, float slope, int rows, int run, struct ddp_plane x, struct ddp_plane y)
{
    switch (f) {
#define CASE(F)                                                                                              \
    case F:                                                                                                  \
        act_plane(F, slope, rows, run, x, y);                                                                \
        break;
        FOR_EACH_ACT(CASE)
#undef CASE
    }
}

static void act_grad(enum ddp_act f, float slope, int rows, int run, struct ddp_plane x, struct ddp_plane dy,
                     struct ddp_plane dx, bool accumulate)
{
    switch (f) {
#define CASE(F)                                                                                              \
    case F:                                                                                                  \
        if (accumulate)                                                                                      \
            act_grad_plane(F, slope, rows, run, x, dy, dx, true);                                            \
        else                                                                                                 \
            act_grad_plane(F, slope, rows, run, x, dy, dx, false);                                           \
        break;
        FOR_EACH_ACT(CASE)
#undef CASE
    }
}

static void add(bool relu, int rows, int run, struct ddp_plane a, struct ddp_plane b, struct ddp_plane y)
{
    for (int r = 0; r < rows; r++) {
        const float *pa = a.p + r * a.sh, *pb = b.p + r * b.sh;
        float *py = y.p + r * y.sh;
        for (int i = 0; i < run; i++, pa += a.sw, pb += b.sw, py += y.sw)
            UNROLL for (int v = 0; v < NV; v++)
            {
                vf s = LD(pa + v * VL) + LD(pb + v * VL);
                ST(py + v * VL, relu ? RELU(s) : s);
            }
    }
}

static void copy(int rows, int run, struct ddp_plane x, struct ddp_plane y, bool accumulate)
{
    for (int r = 0; r < rows; r++) {
        const float *px = x.p + r * x.sh;
        float *py = y.p + r * y.sh;
        for (int i = 0; i < run; i++, px += x.sw, py += y.sw)
            UNROLL for (int v = 0; v < NV; v++)
            {
                vf a = LD(px + v * VL);
                ST(py + v * VL, accumulate ? LD(py + v * VL) + a : a);
            }
    }
}

const struct ddp_point_kernels ISA(ddp_point_kernels) = {
    .act = act,
    .act_grad = act_grad,
    .add = add,
    .copy = copy,
};
