/* Losses of one sample: see loss_cpu.h. Sums over classes: chain i takes classes i, i + 16, i + 32, ... in
 * order; the 16 chains are added in a tree of halves. Channels past the last class take no part and get a
 * gradient of zero. */
#include "ops/cpu/vec.h"
#include "ops/cpu/vmath.h"

#include "ops/loss/loss_cpu.h"

/* All ones where the vector at block b, part v, holds classes. */
INLINE vi is_class(int b, int v, int classes)
{
    vi index;
    UNROLL for (int i = 0; i < VL; i++) index[i] = i;
    return index + (b * 16 + v * VL) < classes;
}

INLINE float tree16(const vf a[NV])
{
    float s[16] __attribute__((aligned(64)));
    UNROLL for (int v = 0; v < NV; v++) ST(s + v * VL, a[v]);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

INLINE float at_class(const struct ddp_loss_sample *s, int c)
{
    return s->x[c / 16 * s->sb + c % 16];
}

static int argmax(const struct ddp_loss_sample *s)
{
    int best = 0;
    float largest = at_class(s, 0);
    for (int c = 1; c < s->classes; c++) {
        float x = at_class(s, c);
        if (x > largest) {
            largest = x;
            best = c;
        }
    }
    return best;
}

INLINE void store_gradient(const struct ddp_loss_sample *s, int b, int v, vf g)
{
    float *q = s->dx + b * s->dsb + v * VL;
    ST(q, s->accumulate ? LD(q) + g : g);
}

/* The part of class c in the answer: 1 or 0, or of the two that are mixed. */
INLINE float part_of(const struct ddp_loss_sample *s, int c)
{
    return (c == s->label ? s->own : 0.0f) + (c == s->other ? 1.0f - s->own : 0.0f);
}

/* -sum_c q_c log p_c, p = softmax(x), q_c = smoothing / classes + (1 - smoothing) part_c;
 * gradient p - q.
 *
 * With d = x - max x and L = log sum e^d:
 *   loss = L - (1 - smoothing) sum_c part_c d_c - smoothing mean(d) */
static float softmax_cross_entropy(const struct ddp_loss_sample *s, float smoothing,
                                   struct ddp_loss_score *score)
{
    int blocks = ddp_blocks(s->classes);
    score->best = argmax(s);
    const float largest = at_class(s, score->best);
    vf top = SET1(largest), exps[NV] = {{0}}, ds[NV] = {{0}};
    for (int b = 0; b < blocks; b++)
        UNROLL for (int v = 0; v < NV; v++)
        {
            vi in = is_class(b, v, s->classes);
            vf d = MASK(in, LD(s->x + b * s->sb + v * VL) - top);
            exps[v] += MASK(in, VEXP(d));
            ds[v] += d;
        }
    float sum = tree16(exps), mean = tree16(ds) / (float)s->classes, log_sum[VL];
    STU(log_sum, VLOG(SET1(sum)));
    float hit = at_class(s, s->label) - largest;
    if (s->own != 1.0f)
        hit = fmaf(s->own, hit, (1.0f - s->own) * (at_class(s, s->other) - largest));
    float loss = fmaf(-smoothing, mean, fmaf(-(1.0f - smoothing), hit, log_sum[0]));
    if (s->dx) {
        const vf total = SET1(sum), even = SET1(smoothing / (float)s->classes);
        const int label = s->label, other = s->other;
        for (int b = 0; b < blocks; b++)
            UNROLL for (int v = 0; v < NV; v++)
            {
                vi in = is_class(b, v, s->classes);
                vf p = VEXP(LD(s->x + b * s->sb + v * VL) - top) / total - even;
                float one[16] __attribute__((aligned(64))) = {0};
                if (label / 16 == b)
                    one[label % 16] = (1.0f - smoothing) * part_of(s, label);
                if (other / 16 == b)
                    one[other % 16] = (1.0f - smoothing) * part_of(s, other);
                store_gradient(s, b, v, MASK(in, p - LD(one + v * VL)));
            }
    }
    return loss;
}

/* ---- losses of the residual d_c = x_c - t_c, t the targets or the parts of classes ---- */

enum residual { SQUARE, ABSOLUTE, HUBER };

INLINE vf magnitude(vf d)
{
    return (vf)((vi)d & 0x7fffffff);
}

/* d cut to [-top, top]; NaN stays NaN. */
INLINE vf cut(vf d, vf top)
{
    return SELECT(d > top, top, SELECT(d < -top, -top, d));
}

/* Block b of the targets. */
INLINE void targets_of(const struct ddp_loss_sample *s, int b, float t[16])
{
    for (int i = 0; i < 16; i++)
        t[i] = !s->target ? part_of(s, b * 16 + i) : b * 16 + i < s->classes ? s->target[b * 16 + i] : 0.0f;
}

/*   SQUARE     mean_c d^2                                       gradient 2 d / classes
 *   ABSOLUTE   mean_c |d|                                       sign(d) / classes
 *   HUBER      mean_c |d| <= delta ? d^2 / 2                    d cut to [-delta, delta], / classes
 *                                  : delta (|d| - delta / 2)
 */
INLINE float residual(const struct ddp_loss_sample *s, enum residual kind, float delta,
                      struct ddp_loss_score *score)
{
    int blocks = ddp_blocks(s->classes);
    vf sums[NV] = {{0}}, errors[NV] = {{0}};
    const vf count = SET1((float)s->classes), top = SET1(delta), half = SET1(0.5f), tail = SET1(0.5f * delta);
    if (!s->target)
        score->best = argmax(s);
    for (int b = 0; b < blocks; b++) {
        float t[16] __attribute__((aligned(64)));
        targets_of(s, b, t);
        UNROLL for (int v = 0; v < NV; v++)
        {
            vf d = MASK(is_class(b, v, s->classes), LD(s->x + b * s->sb + v * VL) - LD(t + v * VL));
            vf size = magnitude(d);
            errors[v] += size;
            if (kind == SQUARE)
                sums[v] = FMA(d, d, sums[v]);
            else if (kind == ABSOLUTE)
                sums[v] += size;
            else
                sums[v] += SELECT(size > top, top * (size - tail), half * d * d);
            if (s->dx && kind == SQUARE)
                store_gradient(s, b, v, (d + d) / count);
            else if (s->dx && kind == ABSOLUTE)
                store_gradient(s, b, v, SELECT(d > 0, SET1(1.0f), SELECT(d < 0, SET1(-1.0f), d)) / count);
            else if (s->dx)
                store_gradient(s, b, v, cut(d, top) / count);
        }
    }
    score->error = tree16(errors) / (float)s->classes;
    return tree16(sums) / (float)s->classes;
}

static float mse(const struct ddp_loss_sample *s, struct ddp_loss_score *score)
{
    return residual(s, SQUARE, 0, score);
}
static float mae(const struct ddp_loss_sample *s, struct ddp_loss_score *score)
{
    return residual(s, ABSOLUTE, 0, score);
}
static float huber(const struct ddp_loss_sample *s, float delta, struct ddp_loss_score *score)
{
    return residual(s, HUBER, delta, score);
}

const struct ddp_loss_kernels ISA(ddp_loss_kernels) = {
    .softmax_cross_entropy = softmax_cross_entropy,
    .mse = mse,
    .mae = mae,
    .huber = huber,
};
