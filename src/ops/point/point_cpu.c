/* Elementwise kernels on planes (point_cpu.h): activations, residual sums, copies between orders.
 *
 * Each element is computed alone, so neither vector width nor traversal can change a bit. Memory-bound except
 * GELU and SiLU: 8 bytes an element forward, 12 backward (16 accumulating); GELU some 60 FLOPs an element,
 * SiLU 25. */
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

INLINE void act_plane(enum ddp_act f, int rows, int run, struct ddp_plane x, struct ddp_plane y)
{
    for (int r = 0; r < rows; r++) {
        const float *px = x.p + r * x.sh;
        float *py = y.p + r * y.sh;
        for (int i = 0; i < run; i++, px += x.sw, py += y.sw)
            UNROLL for (int v = 0; v < NV; v++)
            {
                vf a = LD(px + v * VL);
                ST(py + v * VL, f == DDP_ACT_RELU ? RELU(a) : f == DDP_ACT_GELU ? gelu(a) : a * sigmoid(a));
            }
    }
}

static void act(enum ddp_act f, int rows, int run, struct ddp_plane x, struct ddp_plane y)
{
    if (f == DDP_ACT_RELU)
        act_plane(DDP_ACT_RELU, rows, run, x, y);
    else if (f == DDP_ACT_GELU)
        act_plane(DDP_ACT_GELU, rows, run, x, y);
    else
        act_plane(DDP_ACT_SILU, rows, run, x, y);
}

INLINE void act_grad_plane(enum ddp_act f, int rows, int run, struct ddp_plane x, struct ddp_plane dy,
                           struct ddp_plane dx, bool accumulate)
{
    for (int r = 0; r < rows; r++) {
        const float *px = x.p + r * x.sh, *pdy = dy.p + r * dy.sh;
        float *pdx = dx.p + r * dx.sh;
        for (int i = 0; i < run; i++, px += x.sw, pdy += dy.sw, pdx += dx.sw)
            UNROLL for (int v = 0; v < NV; v++)
            {
                vf a = LD(px + v * VL), g = LD(pdy + v * VL);
                g = f == DDP_ACT_RELU ? MASK(a > (vf){0}, g)
                                      : g * (f == DDP_ACT_GELU ? gelu_slope(a) : silu_slope(a));
                ST(pdx + v * VL, accumulate ? LD(pdx + v * VL) + g : g);
            }
    }
}

static void act_grad(enum ddp_act f, int rows, int run, struct ddp_plane x, struct ddp_plane dy,
                     struct ddp_plane dx, bool accumulate)
{
    if (f == DDP_ACT_RELU && accumulate)
        act_grad_plane(DDP_ACT_RELU, rows, run, x, dy, dx, true);
    else if (f == DDP_ACT_RELU)
        act_grad_plane(DDP_ACT_RELU, rows, run, x, dy, dx, false);
    else if (f == DDP_ACT_GELU)
        act_grad_plane(DDP_ACT_GELU, rows, run, x, dy, dx, accumulate);
    else
        act_grad_plane(DDP_ACT_SILU, rows, run, x, dy, dx, accumulate);
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
