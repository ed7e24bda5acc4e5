/* Every layer as its definition has it, in plain loops over [samples][c][h][w]. */
#include "reference.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/parts.h"

struct run {
    const struct ddp_model *m;
    const double *const *plain;
    const struct reference_batch *b;
    int samples;
    double **out; /* [layers] */
};

static int64_t size_of(struct ddp_shape s)
{
    return (int64_t)s.c * s.h * s.w;
}

static const void *key(const struct ddp_layer *l, const char *name)
{
    const struct ddp_key *k = ddp_key_find(l->op->keys, name);
    assert(k);
    return (const char *)l->conf + k->offset;
}

static int whole(const struct ddp_layer *l, const char *name)
{
    return (int)*(const int64_t *)key(l, name);
}

/* Parameter `name` of a layer; NULL: it has none. */
static const double *param(const struct run *r, const struct ddp_layer *l, const char *name)
{
    const struct ddp_flat *f = &r->m->flat;
    for (int i = 0; i < f->ntensors; i++)
        if (&r->m->layer[f->tensor[i].layer] == l && strcmp(f->tensor[i].param.name, name) == 0)
            return r->plain[i];
    return NULL;
}

static const double *input(const struct run *r, const struct ddp_layer *l, int k)
{
    return l->in[k] == DDP_DATA ? r->b->pixels : r->out[l->in[k]];
}

/* What comes in as it is meant: a vector behind the first flatten or linear layer. */
static struct ddp_shape meant(const struct run *r, const struct ddp_layer *l)
{
    if (l->in[0] == DDP_DATA)
        return r->m->input;
    if (r->m->layer[l->in[0]].order == DDP_ORDER_FEATURES)
        return (struct ddp_shape){(int)size_of(l->shape[0]), 1, 1};
    return l->shape[0];
}

static void conv(const struct run *r, const struct ddp_layer *l, double *y)
{
    const struct ddp_shape in = l->shape[0], out = l->plan.out;
    const double *x = input(r, l, 0), *w = param(r, l, "weight"), *bias = param(r, l, "bias");
    const int kernel = whole(l, "kernel"), pad = whole(l, "padding"), stride = whole(l, "stride");
    for (int n = 0; n < r->samples; n++, x += size_of(in))
        for (int k = 0; k < out.c; k++)
            for (int i = 0; i < out.h; i++)
                for (int j = 0; j < out.w; j++) {
                    double sum = bias ? bias[k] : 0;
                    for (int c = 0; c < in.c; c++)
                        for (int s = 0; s < kernel; s++)
                            for (int t = 0; t < kernel; t++) {
                                const int row = i * stride + s - pad, col = j * stride + t - pad;
                                if (row >= 0 && row < in.h && col >= 0 && col < in.w)
                                    sum += x[(c * in.h + row) * in.w + col] *
                                           w[((k * in.c + c) * kernel + s) * kernel + t];
                            }
                    *y++ = sum;
                }
}

static void linear(const struct run *r, const struct ddp_layer *l, double *y)
{
    const int64_t features = size_of(l->shape[0]);
    const double *x = input(r, l, 0), *w = param(r, l, "weight"), *bias = param(r, l, "bias");
    for (int n = 0; n < r->samples; n++, x += features)
        for (int k = 0; k < l->plan.out.c; k++) {
            double sum = bias ? bias[k] : 0;
            for (int64_t f = 0; f < features; f++)
                sum += x[f] * w[k * features + f];
            *y++ = sum;
        }
}

/* Samples [from, to) of one channel. */
static void norm_channel(const struct ddp_shape s, int c, int from, int to, const double *x, double eps,
                         double weight, double bias, double *y)
{
    const int pixels = s.h * s.w;
    const double count = (double)(to - from) * pixels;
    double mean = 0, var = 0;
    for (int pass = 0; pass < 3; pass++)
        for (int n = from; n < to; n++)
            for (int q = 0; q < pixels; q++) {
                const int64_t i = ((int64_t)n * s.c + c) * pixels + q;
                if (pass == 0)
                    mean += x[i] / count;
                else if (pass == 1)
                    var += (x[i] - mean) * (x[i] - mean) / count;
                else
                    y[i] = (x[i] - mean) / sqrt(var + eps) * weight + bias;
            }
}

static void norm(const struct run *r, const struct ddp_layer *l, double *y)
{
    const struct ddp_shape s = meant(r, l);
    const double *weight = param(r, l, "weight"), *bias = param(r, l, "bias");
    const bool sync = *(const bool *)key(l, "sync");
    const double eps = *(const double *)key(l, "eps");
    for (int c = 0; c < s.c; c++)
        for (int i = 0, from = 0; i < (sync ? 1 : r->b->nshards); i++) {
            const int to = sync ? r->samples : from + r->b->n[i];
            norm_channel(s, c, from, to, input(r, l, 0), eps, weight ? weight[c] : 1, bias ? bias[c] : 0, y);
            from = to;
        }
}

static void pool(const struct run *r, const struct ddp_layer *l, double *y)
{
    const struct ddp_shape in = l->shape[0], out = l->plan.out;
    const bool max = ddp_layer_is(l, "max_pool");
    const double *x = input(r, l, 0);
    for (int plane = 0; plane < r->samples * in.c; plane++, x += in.h * in.w)
        for (int i = 0; i < out.h; i++)
            for (int j = 0; j < out.w; j++) {
                double sum = 0, most = -INFINITY;
                for (int q = 0; q < 4; q++) { /* kernel 2 */
                    const double v = x[(2 * i + q / 2) * in.w + 2 * j + q % 2];
                    sum += v;
                    most = fmax(most, v);
                }
                *y++ = max ? most : sum / 4;
            }
}

static double act(const char *type, double x)
{
    if (strcmp(type, "relu") == 0)
        return x > 0 ? x : 0;
    if (strcmp(type, "gelu") == 0)
        return x * 0.5 * erfc(-x * sqrt(0.5));
    return x / (1 + exp(-x)); /* silu */
}

static double loss(const struct run *r, const struct ddp_layer *l)
{
    const int classes = (int)size_of(l->shape[0]);
    const double *x = input(r, l, 0);
    double sum = 0;
    for (int n = 0; n < r->samples; n++, x += classes) {
        double all = 0;
        for (int c = 0; c < classes; c++) {
            const double off = x[c] - (c == r->b->label[n]);
            all += ddp_layer_is(l, "mse") ? off * off / classes : exp(x[c]);
        }
        sum += ddp_layer_is(l, "mse") ? all : log(all) - x[r->b->label[n]];
    }
    return sum;
}

static void compute(const struct run *r, const struct ddp_layer *l, double *y)
{
    const int64_t count = r->samples * size_of(l->plan.out);
    const double *a = input(r, l, 0), *b = l->nin > 1 ? input(r, l, 1) : NULL;
    if (ddp_layer_is(l, "conv2d"))
        conv(r, l, y);
    else if (ddp_layer_is(l, "linear"))
        linear(r, l, y);
    else if (ddp_layer_is(l, "batch_norm"))
        norm(r, l, y);
    else if (ddp_layer_is(l, "avg_pool") || ddp_layer_is(l, "max_pool"))
        pool(r, l, y);
    else
        for (int64_t i = 0; i < count; i++)
            y[i] = ddp_layer_is(l, "add")       ? a[i] + b[i]
                   : ddp_layer_is(l, "flatten") ? a[i]
                                                : act(l->op->name, a[i]);
}

double reference_loss(const struct ddp_model *m, const double *const *plain, const struct reference_batch *b)
{
    struct run r = {.m = m, .plain = plain, .b = b};
    r.out = ddp_calloc((size_t)m->nlayers, sizeof *r.out);
    for (int i = 0; i < b->nshards; i++)
        r.samples += b->n[i];
    for (int i = 0; i + 1 < m->nlayers; i++) {
        r.out[i] = ddp_calloc((size_t)(r.samples * size_of(m->layer[i].plan.out)), sizeof(double));
        compute(&r, &m->layer[i], r.out[i]);
    }
    const double sum = loss(&r, &m->layer[m->nlayers - 1]);
    for (int i = 0; i < m->nlayers; i++)
        free(r.out[i]);
    free(r.out);
    return sum;
}
