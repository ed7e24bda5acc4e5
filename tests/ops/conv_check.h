/* Runs one layer (conv2d or linear) forward and backward and compares it with plain loops in double.
 * Everything that an op must write starts as garbage; halos and padded channels of inputs start as zero, as
 * the graph promises. */
#ifndef TESTS_COMPUTE_CONV_CHECK_H
#define TESTS_COMPUTE_CONV_CHECK_H

#include "cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"
#include "ops/conv/conv2d.h"
#include "ops/conv/conv_wino.h"
#include "ops/builtin.h"

struct conv_case {
    int c, h, w, k, r, s, stride, pad, groups;
    int dilation;   /* 0: 1 */
    int n, planned; /* planned 0: n */
    bool linear, relu, no_bias, accumulate, no_din;
    float scale; /* of inputs; 0: 1. 1e-22 gives denormal products */
};

static const char *const all_isas[] = {"scalar", "avx2", "avx512", "neon"};

/* Fill a conf from the defaults of op->keys; then set single keys. */
static void *conf_create(const struct ddp_op *op)
{
    char *conf = ddp_calloc(1, op->conf_bytes);
    for (const struct ddp_key *k = op->keys; k->name; k++) {
        int64_t v;
        if (k->dflt && k->type == DDP_KEY_INT && ddp_parse_int(k->dflt, &v))
            memcpy(conf + k->offset, &v, sizeof v);
        if (k->dflt && k->type == DDP_KEY_BOOL)
            *(bool *)(conf + k->offset) = !strcmp(k->dflt, "true");
    }
    return conf;
}

static inline void conf_set(const struct ddp_op *op, void *conf, const char *name, int64_t value)
{
    for (const struct ddp_key *k = op->keys; k->name; k++) {
        if (strcmp(k->name, name))
            continue;
        if (k->type == DDP_KEY_INT)
            memcpy((char *)conf + k->offset, &value, sizeof value);
        else if (k->type == DDP_KEY_BOOL)
            *((bool *)conf + k->offset) = value != 0;
        else
            *(int *)((char *)conf + k->offset) = (int)value;
        return;
    }
    fail_msg("%s has no key '%s'", op->name, name);
}

static inline void *conf_of(const struct ddp_op *op, const struct conv_case *c)
{
    void *conf = conf_create(op);
    conf_set(op, conf, "out", c->k);
    conf_set(op, conf, "bias", !c->no_bias);
    if (!c->linear) {
        conf_set(op, conf, "kernel", c->r);
        conf_set(op, conf, "kernel_w", c->s);
        conf_set(op, conf, "stride", c->stride);
        conf_set(op, conf, "padding", c->pad);
        conf_set(op, conf, "groups", c->groups);
        conf_set(op, conf, "dilation", c->dilation ? c->dilation : 1);
    }
    return conf;
}

static uint32_t rng = 1;
static float rnd(void)
{
    rng = rng * 1664525u + 1013904223u;
    return (float)(int32_t)rng * 0x1p-31f;
}

static float *rnd_array(int64_t n, float scale)
{
    float *p = ddp_malloc((size_t)(n + 1) * sizeof *p);
    for (int64_t i = 0; i < n; i++)
        p[i] = rnd() * scale;
    return p;
}

/* A tensor in memory of its own. */
struct box {
    struct ddp_tensor t;
    float *mem;
    int64_t floats;
};

static struct box box_create(bool features, int planned, int n, struct ddp_shape s, int halo,
                             const float *plain)
{
    struct box b;
    int64_t lead = 0;
    b.floats =
        features ? ddp_tensor_features(&b.t, planned, s) : ddp_tensor_pictures(&b.t, planned, s, halo, &lead);
    b.mem = ddp_pages_alloc((size_t)b.floats * sizeof(float));
    b.t.p = b.mem + lead;
    b.t.n = n;
    if (plain)
        ddp_tensor_pack(plain, &b.t);
    else
        for (int i = 0; i < n; i++)
            for (int cb = 0; cb < ddp_blocks(s.c); cb++)
                for (int y = 0; y < s.h; y++)
                    for (int x = 0; x < s.w; x++)
                        for (int j = 0; j < 16; j++)
                            ddp_at(&b.t, i, cb, y, x)[j] = 7777;
    return b;
}

static void box_destroy(struct box *b)
{
    ddp_pages_free(b->mem, (size_t)b->floats * sizeof(float));
}

static void assert_padding_zero(const struct ddp_tensor *t)
{
    for (int i = 0; i < t->n; i++)
        for (int c = t->c; c < ddp_blocks(t->c) * 16; c++)
            for (int y = 0; y < t->h; y++)
                for (int x = 0; x < t->w; x++)
                    assert_true(ddp_at(t, i, c / 16, y, x)[c % 16] == 0);
    if (t->sn > t->sw) /* pictures: the halo */
        for (int i = 0; i < t->n; i++)
            for (int c = 0; c < ddp_blocks(t->c) * 16; c++)
                for (int y = -t->halo; y < t->h + t->halo; y++)
                    for (int x = -t->halo; x < t->w + t->halo; x++)
                        if (y < 0 || x < 0 || y >= t->h || x >= t->w)
                            assert_true(ddp_at(t, i, c / 16, y, x)[c % 16] == 0);
}

struct layer {
    const struct ddp_op *op;
    struct conv_case c;
    struct ddp_layer_plan plan;
    struct ddp_shape in;
    void *conf;
    float *x, *w, *b, *g, *seed; /* plain: input, weight, bias, dout, what din held */
    /* results, plain; grads also as they lie in the flat buffer */
    float *out, *din, *dw, *db, *dw_flat, *db_flat;
    int64_t nx, nw, no, nwf, nbf;
    enum ddp_over over; /* din lies over x */
};

static struct layer layer_create(const struct conv_case *c)
{
    struct layer l = {.op = c->linear ? &ddp_op_linear : &ddp_op_conv2d, .c = *c, .in = {c->c, c->h, c->w}};
    struct ddp_error err;
    if (!l.c.planned)
        l.c.planned = l.c.n;
    l.conf = conf_of(l.op, c);
    if (l.op->plan(l.conf, &l.in, 1, l.c.planned, &l.plan, &err))
        fail_msg("%s", err.text);
    float scale = c->scale > 0 ? c->scale : 1;
    l.nx = (int64_t)c->n * c->c * c->h * c->w;
    l.no = (int64_t)c->n * c->k * l.plan.out.h * l.plan.out.w;
    l.nw = ddp_layout_plain_size(&l.plan.params[0]);
    l.nwf = ddp_layout_size(&l.plan.params[0]);
    l.nbf = (c->k + 15) / 16 * 16;
    l.x = rnd_array(l.nx, scale);
    l.w = rnd_array(l.nw, scale);
    l.b = rnd_array(c->k, scale * scale);
    l.g = rnd_array(l.no, scale);
    l.seed = rnd_array(l.nx, scale * scale);
    l.out = rnd_array(l.no, 9);
    l.din = rnd_array(l.nx, 9);
    l.dw = rnd_array(l.nw, 9);
    l.db = rnd_array(c->k, 9);
    l.dw_flat = rnd_array(l.nwf, 9);
    l.db_flat = rnd_array(l.nbf, 9);
    return l;
}

static void layer_destroy(struct layer *l)
{
    float *all[] = {l->x, l->w, l->b, l->g, l->seed, l->out, l->din, l->dw, l->db, l->dw_flat, l->db_flat};
    for (size_t i = 0; i < DDP_COUNT(all); i++)
        free(all[i]);
    free(l->conf);
}

static float *aligned_rnd(int64_t n)
{
    float *p = ddp_pages_alloc((size_t)(n + 16) * sizeof *p);
    for (int64_t i = 0; i < n; i++)
        p[i] = 9 * rnd();
    return p;
}

/* Forward and backward with one instruction set and pool. */
static void layer_run(struct layer *l, const char *isa, struct ddp_pool *pool)
{
    struct ddp_error err;
    const struct conv_case *c = &l->c;
    if (ddp_cpu_select(isa, &err))
        fail_msg("%s", err.text);
    bool f = l->plan.features;
    struct box in = box_create(f, c->planned, c->n, l->in, l->plan.in_halo + (c->k % 3 == 0), l->x);
    struct box out = box_create(f, c->planned, c->n, l->plan.out, c->k % 2, NULL);
    struct box dout = box_create(f, c->planned, c->n, l->plan.out, l->plan.dout_halo, l->g);
    struct box din = box_create(f, c->planned, c->n, l->in, c->c % 2, c->accumulate ? l->seed : NULL);
    float *w = aligned_rnd(l->nwf), *b = aligned_rnd(l->nbf), *dw = aligned_rnd(l->nwf),
          *db = aligned_rnd(l->nbf);
    float *scratch = aligned_rnd((int64_t)(l->plan.scratch_bytes / sizeof(float)));
    ddp_layout_pack(&l->plan.params[0], l->w, w);
    if (!c->no_bias)
        ddp_layout_pack(&l->plan.params[1], l->b, b);
    struct ddp_op_call call = {.conf = l->conf,
                               .plan = &l->plan,
                               .fused = c->relu ? DDP_FUSE_RELU : 0,
                               .training = true,
                               .nin = 1,
                               .in = {&in.t},
                               .out = &out.t,
                               .param = {w, b},
                               .grad = {dw, db},
                               .scratch = scratch,
                               .pool = pool};
    l->op->forward(&call);
    ddp_tensor_unpack(&out.t, l->out);
    assert_padding_zero(&out.t);
    call.dout = &dout.t;
    const struct ddp_tensor *to = l->over ? &in.t : &din.t;
    call.din[0] = c->no_din ? NULL : to;
    call.mask_din = l->over == DDP_OVER_MASKED;
    call.accumulate[0] = c->accumulate;
    assert_int_equal(l->op->out_use, DDP_OUT_MASK);
    for (int64_t i = 0; i < out.floats && !c->relu; i++)
        out.mem[i] = NAN;
    l->op->backward(&call);
    assert_padding_zero(&dout.t);
    if (!c->no_din) {
        assert_padding_zero(to);
        ddp_tensor_unpack(to, l->din);
    }
    memcpy(l->dw_flat, dw, (size_t)l->nwf * sizeof *dw);
    ddp_layout_unpack(&l->plan.params[0], dw, l->dw);
    float *again =
        rnd_array(l->nwf, 1); /* padding of the gradient must be zero: repacking gives the same bits */
    ddp_layout_pack(&l->plan.params[0], l->dw, again);
    assert_memory_equal(again, l->dw_flat, (size_t)l->nwf * sizeof *again);
    free(again);
    if (!c->no_bias) {
        memcpy(l->db_flat, db, (size_t)l->nbf * sizeof *db);
        memcpy(l->db, db, (size_t)c->k * sizeof *db);
        for (int64_t k = c->k; k < l->nbf; k++)
            assert_true(db[k] == 0);
    }
    ddp_pages_free(w, (size_t)(l->nwf + 16) * 4);
    ddp_pages_free(b, (size_t)(l->nbf + 16) * 4);
    ddp_pages_free(dw, (size_t)(l->nwf + 16) * 4);
    ddp_pages_free(db, (size_t)(l->nbf + 16) * 4);
    ddp_pages_free(scratch, (l->plan.scratch_bytes / 4 + 16) * 4);
    box_destroy(&in);
    box_destroy(&out);
    box_destroy(&dout);
    box_destroy(&din);
}

/* A chain of `terms` multiply-adds differs from the exact sum by at most (terms + 2) * 2^-24 * (sum of
 * absolute values), and where products are denormal by half the smallest denormal each, times what they are
 * multiplied by afterwards. */
static void assert_sum(const char *what, int64_t i, float got, double want, double absolute, int64_t terms,
                       double gain)
{
    double bound = (double)(terms + 2) * (0x1p-24 * absolute + 0x1p-149 * gain);
    if (!(fabs(got - want) <= bound))
        fail_msg("%s[%lld] is %.9g, want %.9g +- %.3g", what, (long long)i, (double)got, want, bound);
}

/* Winograd: the bound grows with what the transforms add up, taken absolutely at every place. */
enum { TILE = DDP_WINO_TILE, WINDOW = DDP_WINO_WINDOW, POINTS = DDP_WINO_POINTS };
#define WA  DDP_WINO_A
#define WA2 (WA * WA)
#define WB  DDP_WINO_B
#define WB2 (WB * WB)
#define WNA (0.5 / (WA2 * (WB2 - WA2)))
#define WNB (0.5 / (WB2 * (WB2 - WA2)))
static const double wino_bt[WINDOW][WINDOW] = {
    {WA2 * WB2, 0, WA2 + WB2, 0, 1, 0}, {0, WA *WB2, WB2, WA, 1, 0}, {0, WA *WB2, WB2, WA, 1, 0},
    {0, WA2 *WB, WA2, WB, 1, 0},        {0, WA2 *WB, WA2, WB, 1, 0}, {0, WA2 *WB2, 0, WA2 + WB2, 0, 1}};
static const double wino_g[WINDOW][3] = {{1 / (WA2 * WB2), 0, 0},  {WNA, WNA *WA, WNA *WA2},
                                         {WNA, WNA *WA, WNA *WA2}, {WNB, WNB *WB, WNB *WB2},
                                         {WNB, WNB *WB, WNB *WB2}, {0, 0, 1}};
static const double wino_at[TILE][WINDOW] = {{1, 1, 1, 1, 1, 0},
                                             {0, WA, WA, WB, WB, 0},
                                             {0, WA2, WA2, WB2, WB2, 0},
                                             {0, WA *WA2, WA *WA2, WB *WB2, WB *WB2, 1}};

/* to = M x M' for M [rows][cols] and x [cols][cols]; M may be given transposed. */
static void sandwich(const double *m, int rows, int cols, bool transposed, const double *x, double *to)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < rows; j++) {
            double sum = 0;
            for (int a = 0; a < cols; a++)
                for (int b = 0; b < cols; b++)
                    sum += m[transposed ? a * rows + i : i * cols + a] * x[a * cols + b] *
                           m[transposed ? b * rows + j : j * cols + b];
            to[i * rows + j] = sum;
        }
}

/* |values| of a window of size x size at (y, x), 0 outside of the picture. */
static void window_of(const double *picture, int h, int w, int y, int x, int size, double *to)
{
    for (int i = 0; i < size * size; i++) {
        int iy = y + i / size, ix = x + i % size;
        to[i] = iy < 0 || ix < 0 || iy >= h || ix >= w ? 0 : fabs(picture[iy * w + ix]);
    }
}

/* Forward from `from` [n][cf][hf][wf] to `to` [n][ct][ht][wt], weights [ct][cf][3][3]. */
static void wino_sweep(const double *from, int n, int cf, int hf, int wf, const double *w, double *to, int ct,
                       int ht, int wt, int shift)
{
    double *u = ddp_malloc((size_t)ct * cf * POINTS * sizeof *u),
           *v = ddp_malloc((size_t)cf * POINTS * sizeof *v);
    double taps[9], m[POINTS], tile[TILE * TILE];
    for (int i = 0; i < ct * cf; i++) {
        window_of(w + i * 9, 3, 3, 0, 0, 3, taps);
        sandwich(wino_g[0], WINDOW, 3, false, taps, u + i * POINTS);
    }
    for (int i = 0; i < n; i++)
        for (int y = 0; y < ht; y += TILE)
            for (int x = 0; x < wt; x += TILE) {
                for (int c = 0; c < cf; c++) {
                    window_of(from + ((int64_t)i * cf + c) * hf * wf, hf, wf, y + shift, x + shift, WINDOW,
                              m);
                    sandwich(wino_bt[0], WINDOW, WINDOW, false, m, v + c * POINTS);
                }
                for (int k = 0; k < ct; k++) {
                    memset(m, 0, sizeof m);
                    for (int c = 0; c < cf; c++)
                        for (int p = 0; p < POINTS; p++)
                            m[p] += u[(k * cf + c) * POINTS + p] * v[c * POINTS + p];
                    sandwich(wino_at[0], TILE, WINDOW, false, m, tile);
                    for (int p = 0; p < TILE * TILE; p++)
                        if (y + p / TILE < ht && x + p % TILE < wt)
                            to[(((int64_t)i * ct + k) * ht + y + p / TILE) * wt + x + p % TILE] = tile[p];
                }
            }
    free(u), free(v);
}

/* Weight gradient [k][c][3][3] of in [n][c][h][w] and d [n][k][oh][ow]. */
static void wino_weights(const double *in, int n, int c_n, int h, int w, const double *d, int k_n, int oh,
                         int ow, int pad, double *to)
{
    double *u = ddp_calloc((size_t)k_n * c_n * POINTS, sizeof *u),
           *v = ddp_malloc((size_t)c_n * POINTS * sizeof *v);
    double m[POINTS], e[POINTS];
    for (int i = 0; i < n; i++)
        for (int y = 0; y < oh; y += TILE)
            for (int x = 0; x < ow; x += TILE) {
                for (int c = 0; c < c_n; c++) {
                    window_of(in + ((int64_t)i * c_n + c) * h * w, h, w, y - pad, x - pad, WINDOW, m);
                    sandwich(wino_bt[0], WINDOW, WINDOW, false, m, v + c * POINTS);
                }
                for (int k = 0; k < k_n; k++) {
                    window_of(d + ((int64_t)i * k_n + k) * oh * ow, oh, ow, y, x, TILE, m);
                    sandwich(wino_at[0], WINDOW, TILE, true, m, e);
                    for (int c = 0; c < c_n; c++)
                        for (int p = 0; p < POINTS; p++)
                            u[(k * c_n + c) * POINTS + p] += e[p] * v[c * POINTS + p];
                }
            }
    for (int i = 0; i < k_n * c_n; i++)
        sandwich(wino_g[0], 3, WINDOW, true, u + i * POINTS, to + i * 9);
    free(u), free(v);
}

static bool layer_is_wino(const struct layer *l)
{
    struct ddp_conv_geom g = ddp_conv_geom(&l->plan.params[0]);
    return !l->c.linear && l->c.dilation <= 1 &&
           ddp_wino_fits(&g, l->c.stride, l->c.pad, l->plan.out.h, l->plan.out.w);
}

/* What the reference gives, and the sums of absolute values that bound the error. */
struct reference {
    double *out, *din, *dw, *db, *out_abs, *din_abs, *dw_abs, *db_abs;
    int64_t out_terms, din_terms, dw_terms, db_terms; /* roundings that one value may have seen */
    double gain;                                      /* of what was rounded first */
};

static void reference_wino(const struct layer *l, const double *g, struct reference *r)
{
    const struct conv_case *c = &l->c;
    int oh = l->plan.out.h, ow = l->plan.out.w;
    double *x = ddp_malloc((size_t)(l->nx + 1) * sizeof *x), *w = ddp_malloc((size_t)l->nw * sizeof *w);
    for (int64_t i = 0; i < l->nx; i++)
        x[i] = (double)l->x[i];
    for (int64_t i = 0; i < l->nw; i++)
        w[i] = (double)l->w[i];
    wino_sweep(x, c->n, c->c, c->h, c->w, w, r->out_abs, c->k, oh, ow, -c->pad);
    for (int k = 0; k < c->k; k++) /* turned and transposed */
        for (int j = 0; j < c->c; j++)
            for (int t = 0; t < 9; t++)
                w[(j * c->k + k) * 9 + 8 - t] = (double)l->w[(k * c->c + j) * 9 + t];
    wino_sweep(g, c->n, c->k, oh, ow, w, r->din_abs, c->c, c->h, c->w, c->pad - 2);
    wino_weights(x, c->n, c->c, c->h, c->w, g, c->k, oh, ow, c->pad, r->dw_abs);
    /* the sum, then a window's 4, a weight's 8 (3 roundings and a rounded constant each way), a tile's 6,
     * bias or what was there; a tile of dout's 4 */
    int64_t tiles = (int64_t)c->n * ((oh + TILE - 1) / TILE) * ((ow + TILE - 1) / TILE);
    r->out_terms = c->c + 20;
    r->din_terms = c->k + 20;
    r->dw_terms = tiles + tiles / DDP_WINO_CHAIN + 20;
    r->gain = 80; /* the largest row of A', squared */
    free(x), free(w);
}

static struct reference reference_create(const struct layer *l)
{
    const struct conv_case *c = &l->c;
    int oh = l->plan.out.h, ow = l->plan.out.w, groups = c->linear ? 1 : c->groups, cg = c->c / groups,
        kg = c->k / groups;
    int r_n = c->linear ? c->h : c->r, s_n = c->linear ? c->w : c->s, st = c->linear ? 1 : c->stride,
        pad = c->linear ? 0 : ddp_conv2d_padding(l->conf);
    struct reference f = {.gain = 1,
                          .out_terms = cg * r_n * s_n,
                          .din_terms = kg * r_n * s_n,
                          .dw_terms = c->n * oh * ow,
                          .db_terms = c->n * oh * ow};
    double **arrays[] = {&f.out, &f.out_abs, &f.din, &f.din_abs, &f.dw, &f.dw_abs, &f.db, &f.db_abs};
    const int64_t sizes[] = {l->no, l->nx, l->nw, c->k};
    for (size_t i = 0; i < DDP_COUNT(arrays); i++)
        *arrays[i] = ddp_calloc((size_t)sizes[i / 2] + 1, sizeof(double));
    double *masked = ddp_calloc((size_t)l->no + 1, sizeof *masked);
    int64_t o = 0;
    const int dil = c->dilation ? c->dilation : 1;
    for (int n = 0; n < c->n; n++) {
        for (int k = 0; k < c->k; k++) {
            for (int y = 0; y < oh; y++) {
                for (int x = 0; x < ow; x++, o++) {
                    double g = c->relu && !(l->out[o] > 0) ? 0 : (double)l->g[o];
                    masked[o] = g;
                    f.db[k] += g;
                    f.db_abs[k] += fabs(g);
                    for (int j = 0; j < cg; j++) {
                        for (int r = 0; r < r_n; r++) {
                            for (int s = 0; s < s_n; s++) {
                                int iy = y * st + r * dil - pad, ix = x * st + s * dil - pad,
                                    ch = k / kg * cg + j;
                                if (iy < 0 || ix < 0 || iy >= c->h || ix >= c->w)
                                    continue;
                                int64_t xi = (((int64_t)n * c->c + ch) * c->h + iy) * c->w + ix;
                                int64_t wi = (((int64_t)k * cg + j) * r_n + r) * s_n + s;
                                double xv = l->x[xi], wv = l->w[wi];
                                f.out[o] += xv * wv;
                                f.out_abs[o] += fabs(xv * wv);
                                f.din[xi] += g * wv;
                                f.din_abs[xi] += fabs(g * wv);
                                f.dw[wi] += g * xv;
                                f.dw_abs[wi] += fabs(g * xv);
                            }
                        }
                    }
                }
            }
        }
    }
    if (layer_is_wino(l))
        reference_wino(l, masked, &f);
    free(masked);
    return f;
}

/* Compare the results of the last run with the reference. */
static void layer_check(const struct layer *l)
{
    const struct conv_case *c = &l->c;
    struct reference f = reference_create(l);
    int64_t pixels = (int64_t)l->plan.out.h * l->plan.out.w;
    for (int64_t i = 0; i < l->no; i++) {
        double bias = c->no_bias ? 0 : (double)l->b[i / pixels % c->k], sum = f.out[i] + bias;
        if (c->relu && sum < 0)
            sum = 0;
        assert_sum("out", i, l->out[i], sum, f.out_abs[i] + fabs(bias), f.out_terms, f.gain);
    }
    for (int64_t i = 0; i < l->nx && !c->no_din; i++) {
        double seed = c->accumulate ? (double)l->seed[i] : 0;
        assert_sum("din", i, l->din[i], f.din[i] + seed, f.din_abs[i] + fabs(seed), f.din_terms, f.gain);
    }
    for (int64_t i = 0; i < l->nw; i++)
        assert_sum("dweight", i, l->dw[i], f.dw[i], f.dw_abs[i], f.dw_terms, f.gain);
    for (int k = 0; k < c->k && !c->no_bias; k++)
        assert_sum("dbias", k, l->db[k], f.db[k], f.db_abs[k], f.db_terms, 1);
    free(f.out), free(f.out_abs), free(f.din), free(f.din_abs);
    free(f.dw), free(f.dw_abs), free(f.db), free(f.db_abs);
}

struct bits {
    float *out, *din, *dw, *db;
};

static float *copy_of(const float *p, int64_t n)
{
    float *q = ddp_malloc((size_t)(n + 1) * sizeof *q);
    memcpy(q, p, (size_t)n * sizeof *q);
    return q;
}

/* Every instruction set of this CPU and pools of 1, 2 and 3 threads: the first is checked, the others give
 * its bits. */
/* The data gradient over x: the bits that it has apart, and zero where x is not positive. */
static void layer_check_over(struct layer *l, const char *isa, struct ddp_pool *pool,
                             const struct bits *apart)
{
    for (int over = DDP_OVER_PLAIN; over <= (int)l->plan.over_in && !l->c.accumulate && !l->c.no_din;
         over++) {
        l->over = (enum ddp_over)over;
        layer_run(l, isa, pool);
        for (int64_t i = 0; i < l->nx; i++) {
            const float want = over == DDP_OVER_MASKED && l->x[i] <= 0 ? 0 : apart->din[i];
            assert_memory_equal(&l->din[i], &want, sizeof want);
        }
        assert_memory_equal(apart->dw, l->dw_flat, (size_t)l->nwf * 4);
        assert_memory_equal(apart->db, l->db_flat, (size_t)l->nbf * 4);
    }
    l->over = DDP_OVER_NO;
}

static inline void layer_check_everywhere(const struct conv_case *c)
{
    struct layer l = layer_create(c);
    struct ddp_error err;
    struct ddp_pool *pools[4] = {NULL};
    for (int i = 1; i < 4; i++)
        if (ddp_pool_create(i, NULL, 0, &pools[i], &err))
            fail_msg("%s", err.text);
    struct bits first = {0};
    for (size_t i = 0; i < DDP_COUNT(all_isas); i++) {
        if (ddp_cpu_select(all_isas[i], NULL))
            continue;
        for (int p = 0; p < 4; p++) {
            if (p && !strcmp(all_isas[i], "scalar"))
                break; /* slow, and threads do not know instruction sets */
            layer_run(&l, all_isas[i], pools[p]);
            if (!first.out) {
                layer_check(&l);
                first = (struct bits){copy_of(l.out, l.no), copy_of(l.din, l.nx), copy_of(l.dw_flat, l.nwf),
                                      copy_of(l.db_flat, l.nbf)};
            }
            assert_memory_equal(first.out, l.out, (size_t)l.no * 4);
            assert_memory_equal(first.din, l.din, (size_t)l.nx * 4);
            assert_memory_equal(first.dw, l.dw_flat, (size_t)l.nwf * 4);
            assert_memory_equal(first.db, l.db_flat, (size_t)l.nbf * 4);
            layer_check_over(&l, all_isas[i], pools[p], &first);
        }
    }
    free(first.out), free(first.din), free(first.dw), free(first.db);
    for (int i = 1; i < 4; i++)
        ddp_pool_destroy(pools[i]);
    layer_destroy(&l);
    ddp_cpu_select(NULL, NULL);
}

#endif
