/* conv2d, as torch.nn.Conv2d defines it.
 *
 *   out[n, k, y, x] = bias[k] + sum over c, r, s of
 *                         in[n, c, y * stride + r * dilation - padding, x * .. likewise] * weight[k, c, r, s]
 *
 *   in      [N, C, H, W]
 *   weight  [K, C/groups, R, S]
 *   out     [N, K, (H + 2 padding - dilation (R - 1) - 1)/stride + 1, likewise]
 *
 * padding = "same" is dilation (R - 1) / 2, which keeps H and W. 3x3 kernels with stride and dilation 1
 * between whole blocks of channels go to conv_wino.c. The rest is direct convolution: forward and data
 * gradient are one sweep of tiles (conv.h); the data gradient with a stride is one sweep for each remainder
 * (y, x) modulo stride, over the taps that hit it.
 *
 * Accumulation order, fixed by shape. Forward: channel blocks, r, s, channel; bias after. Data gradient:
 * output blocks, r, s ascending, output channel. Both in chains of CHAIN products at most, or of one block,
 * added in order, to what is there when accumulating. Weight gradient: y, x of an image (small pictures: of
 * several, see wgrad_chunk; large ones: rows of CHAIN_PIXELS at most), added in order. Bias gradient: see
 * conv.h. */
#include <string.h>

#include "ops/ops.h"
#include "ops/conv/conv.h"
#include "ops/conv/conv2d.h"
#include "ops/conv/conv_wino.h"
#include "ops/builtin.h"

static const struct ddp_key keys[] = {
    {"out", DDP_KEY_INT, offsetof(struct ddp_conv2d_conf, out), NULL, 1, 65536, DDP_KEY_CLASSES, "channels",
     DDP_KEY_RESULT | DDP_KEY_REQUIRED,
     "Output channels; classes: as many as the data has classes, or real targets"},
    {"kernel", DDP_KEY_INT, offsetof(struct ddp_conv2d_conf, kernel), NULL, 1, 255, NULL, "pixels",
     DDP_KEY_RESULT | DDP_KEY_REQUIRED, "Height of the kernel, and its width unless kernel_w is set"},
    {"kernel_w", DDP_KEY_INT, offsetof(struct ddp_conv2d_conf, kernel_w), "0", 0, 255, NULL, "pixels",
     DDP_KEY_RESULT, "Width of the kernel; 0: the same as its height"},
    {"stride", DDP_KEY_INT, offsetof(struct ddp_conv2d_conf, stride), "1", 1, 255, NULL, "pixels",
     DDP_KEY_RESULT, "Pixels from one output to the next, in both directions"},
    {"padding", DDP_KEY_INT, offsetof(struct ddp_conv2d_conf, padding), "0", 0, 255, "same", "pixels",
     DDP_KEY_RESULT, "Zeros around the picture, on each side; same: as many as keep its size"},
    {"dilation", DDP_KEY_INT, offsetof(struct ddp_conv2d_conf, dilation), "1", 1, 255, NULL, "pixels",
     DDP_KEY_RESULT, "Pixels from one tap of the kernel to the next, in both directions"},
    {"groups", DDP_KEY_INT, offsetof(struct ddp_conv2d_conf, groups), "1", 1, 65536, NULL, NULL,
     DDP_KEY_RESULT, "Groups of channels that do not see each other; equal to the channels: depthwise"},
    {"bias", DDP_KEY_BOOL, offsetof(struct ddp_conv2d_conf, bias), "true", 0, 0, NULL, NULL, DDP_KEY_RESULT,
     "Add a bias"},
    {"init", DDP_KEY_CHOICE, offsetof(struct ddp_conv2d_conf, init), "default", 0, 0, DDP_CONV_INIT_CHOICES,
     NULL, DDP_KEY_RESULT, "Initial weights, as PyTorch defines them"},
    {0},
};

/* How to compute a layer directly: a function of its shape alone, never of the CPU. */
enum conv_algo {
    CONV_ROWS,    /* tiles along rows of one picture, through the zero halo */
    CONV_SAMPLES, /* small pictures: tiles across samples; taps outside of the picture are skipped, no halo */
};

static enum conv_algo conv_algo(int out_h, int out_w)
{
    return out_h * out_w <= 16 ? CONV_SAMPLES : CONV_ROWS;
}

/* Images in one chain of the weight gradient: enough pixels that starting and ending
 * the chain costs little. */
static int wgrad_chunk(int out_h, int out_w)
{
    return out_h * out_w >= 128 ? 1 : 128 / (out_h * out_w);
}

/* ---- one direction of a sweep ---- */

/* Position i (of count) is written at first + i * step; its tap t (of taps) reads position i * from_step +
 * from + t * dir of `size`, with row tap0 + t * tap_step of the kernel. */
struct axis {
    int first, step, count;
    int from_step, from, dir, size;
    int tap0, tap_step, taps;
};

static struct axis forward_axis(int out, int size, int kernel, int stride, int pad, int dilation)
{
    return (struct axis){.step = 1,
                         .count = out,
                         .from_step = stride,
                         .from = -pad,
                         .dir = dilation,
                         .size = size,
                         .tap_step = 1,
                         .taps = kernel};
}

static int gcd(int a, int b)
{
    return b ? gcd(b, a % b) : a;
}

/* Data gradient of the positions that leave `phase` modulo stride, from `out` positions of dout: tap r comes
 * from (position + pad - r * dilation) / stride where that is whole: for every tap_step-th r, or for none. */
static struct axis dgrad_axis(int in, int out, int kernel, int stride, int pad, int dilation, int phase)
{
    const int common = gcd(stride, dilation), tap_step = stride / common;
    int r0 = 0;
    while (r0 < tap_step && (phase + pad - r0 * dilation) % stride)
        r0++;
    const bool some = r0 < tap_step && r0 < kernel;
    return (struct axis){.first = phase,
                         .step = stride,
                         .count = in > phase ? (in - phase + stride - 1) / stride : 0,
                         .from_step = 1,
                         .from = some ? (phase + pad - r0 * dilation) / stride : 0,
                         .dir = -(dilation / common),
                         .size = out,
                         .tap0 = some ? r0 : 0,
                         .tap_step = tap_step,
                         .taps = some ? (kernel - 1 - r0) / tap_step + 1 : 0};
}

/* How far the data gradient reads outside of dout. */
static int dgrad_reach(int in, int out, int kernel, int stride, int pad, int dilation)
{
    int reach = 0;
    for (int phase = 0; phase < stride && phase < in; phase++) {
        struct axis a = dgrad_axis(in, out, kernel, stride, pad, dilation, phase);
        if (!a.taps)
            continue;
        int low = (a.taps - 1) * -a.dir - a.from, high = a.count - 1 + a.from - (out - 1);
        reach = low > reach ? low : reach;
        reach = high > reach ? high : reach;
    }
    return reach;
}

/* ---- plan ---- */

/* Taps of one axis that lie inside the picture, over all positions of the output. */
static int64_t taps_inside(int in, int out, int kernel, int stride, int pad, int dilation)
{
    int64_t n = 0;
    for (int o = 0; o < out; o++)
        for (int t = 0; t < kernel; t++) {
            const int at = o * stride - pad + t * dilation;
            n += at >= 0 && at < in;
        }
    return n;
}

/* Output blocks that read channel block cb. */
static int readers(const struct ddp_conv_geom *g, int cb, int *first)
{
    int lo = 0, n = 0;
    while (ddp_conv_first(g, lo) + g->wb <= cb)
        lo++;
    while (lo + n < g->kb && ddp_conv_first(g, lo + n) <= cb)
        n++;
    *first = lo;
    return n;
}

static int max_readers(const struct ddp_conv_geom *g)
{
    int max = 0, first;
    for (int cb = 0; cb < g->cb; cb++) {
        int n = readers(g, cb, &first);
        max = n > max ? n : max;
    }
    return max;
}

/* Behind a fused max_pool: floats of the gradient as pictures, if it should come as features. */
static int64_t pooled_floats(const struct ddp_layer_plan *p, int n)
{
    struct ddp_tensor t;
    int64_t lead;
    return ddp_tensor_pictures(&t, n, (struct ddp_shape){p->out.c, p->out.h / 2, p->out.w / 2}, 0, &lead);
}

static int plan(const void *conf, const struct ddp_shape *in, int nin, int batch, struct ddp_layer_plan *p,
                struct ddp_error *err)
{
    const struct ddp_conv2d_conf *c = conf;
    (void)nin;
    int r = (int)c->kernel, s = (int)(c->kernel_w ? c->kernel_w : c->kernel), pad = ddp_conv2d_padding(c),
        st = (int)c->stride, dil = (int)c->dilation;
    const int reach_h = dil * (r - 1) + 1, reach_w = dil * (s - 1) + 1;
    int groups = (int)c->groups, cg = in->c / groups;
    if (in->c % groups || c->out % groups)
        return ddp_fail(err, DDP_E_SHAPE,
                        "groups = %d must divide the channels that come in (%d) and out (%d)", groups, in->c,
                        (int)c->out);
    if (c->padding == DDP_CONV2D_SAME && (st != 1 || r != s || dil * (r - 1) % 2))
        return ddp_fail(
            err, DDP_E_SHAPE,
            "padding = \"same\" with a kernel of %dx%d, stride %d and dilation %d: it wants stride 1 and a "
            "square kernel that reaches as far to both sides (an odd one, or an even dilation); give "
            "padding a number",
            r, s, st, dil);
    if (reach_h > in->h + 2 * pad || reach_w > in->w + 2 * pad)
        return ddp_fail(err, DDP_E_SHAPE,
                        "a kernel that reaches over %dx%d does not fit into what comes in, %dx%dx%d "
                        "(channels x height x width) with "
                        "padding %d; make kernel smaller or padding larger, or pool less before",
                        reach_h, reach_w, in->c, in->h, in->w, pad);
    p->out = (struct ddp_shape){(int)c->out, (in->h + 2 * pad - reach_h) / st + 1,
                                (in->w + 2 * pad - reach_w) / st + 1};
    struct ddp_param weight = {.ndim = 4, .dims = {c->out, cg, r, s}, .groups = groups};
    double taps = (double)r * s;
    p->nparams = ddp_conv_params(weight, c->init, cg * taps, (double)c->out * taps, c->bias, p->params);
    if (conv_algo(p->out.h, p->out.w) == CONV_ROWS) {
        int y = dgrad_reach(in->h, p->out.h, r, st, pad, dil),
            x = dgrad_reach(in->w, p->out.w, s, st, pad, dil);
        p->in_halo = pad;
        p->dout_halo = y > x ? y : x;
    }
    struct ddp_conv_geom g = ddp_conv_geom(&p->params[0]);
    p->scratch_bytes = (size_t)g.cb * max_readers(&g) * r * s * 256 * sizeof(float);
    p->flops = 2.0 * (double)c->out * cg * taps * p->out.h * p->out.w;
    p->over_in = DDP_OVER_PLAIN; /* the gradient of the weights comes first */
    if (dil == 1 && ddp_wino_fits(&g, st, pad, p->out.h, p->out.w)) {
        ddp_wino_plan(&g, pad, in, batch, p);
        p->takes_pool = true;
        p->over_in = DDP_OVER_MASKED;
        p->scratch_bytes += (size_t)pooled_floats(p, batch) * sizeof(float);
    } else if (conv_algo(p->out.h, p->out.w) == CONV_SAMPLES && pad > 0) {
        p->algorithm = "direct, taps inside";
        p->done = 2.0 * (double)c->out * cg * (double)taps_inside(in->h, p->out.h, r, st, pad, dil) *
                  (double)taps_inside(in->w, p->out.w, s, st, pad, dil);
    }
    return 0;
}

/* ---- forward and data gradient ---- */

enum {
    /* They decide the bits: products, and pixels, in one chain. Weights of a pair of blocks that are swept at
     * a time, 80 KiB, stay in the second-level cache. */
    CHAIN = 640,
    CHAIN_PIXELS = 1024,
    TASK_IMAGES = 4,
};

struct sweep {
    enum conv_algo algo;
    struct ddp_conv_geom g;
    const struct ddp_tensor *from, *to;
    const float *w, *bias;
    float *flipped; /* data gradient: weights [cb][kb][r][s][16k][16c] */
    int readers;    /* kb in one cb of flipped */
    int stride, pad, dilation, images, tasks_a_pair;
    bool back, accumulate, relu;
};

/* The blocks [block, block + nk) of `to` at the positions of y and x, images [n0, n1): t has blocks and
 * weights. */
static void sweep_rows(const struct sweep *s, struct ddp_conv_tile t, int block, int source,
                       const struct axis *y, const struct axis *x, int n0, int n1)
{
    const struct ddp_tensor *from = s->from, *to = s->to;
    t.ny = y->count, t.np = x->count, t.nr = y->taps, t.ns = x->taps;
    t.a_y = y->from_step * from->sh, t.a_p = x->from_step * from->sw;
    t.o_y = y->step * to->sh, t.o_p = x->step * to->sw;
    t.b += (y->tap0 * s->g.s + x->tap0) * 256;
    for (int n = n0; n < n1; n++) {
        t.a = ddp_at(from, n, source, y->from, x->from);
        t.out = ddp_at(to, n, block, y->first, x->first);
        ddp_conv_kernels()->tile(&t);
    }
}

/* Taps of position i that read inside of the picture. */
static int inside(const struct axis *a, int i, int *first)
{
    const int at = i * a->from_step + a->from, d = a->dir > 0 ? a->dir : a->dir < 0 ? -a->dir : 1;
    const int low = a->dir > 0 ? at : a->size - 1 - at; /* pixels before the first tap, from where it comes */
    const int high = a->dir > 0 ? a->size - 1 - at : at; /* and behind it */
    int lo = low < 0 ? (-low + d - 1) / d : 0, hi = high < 0 ? 0 : high / d + 1;
    hi = hi < a->taps ? hi : a->taps;
    *first = lo;
    return hi > lo ? hi - lo : 0;
}

static void sweep_samples(const struct sweep *s, struct ddp_conv_tile t, int block, int source,
                          const struct axis *y, const struct axis *x, int i0, int i1)
{
    const struct ddp_tensor *from = s->from, *to = s->to;
    const float *b = t.b;
    t.ny = 1, t.np = to->n, t.a_p = from->sn, t.o_p = to->sn;
    for (int i = i0; i < i1; i++) {
        for (int j = 0; j < x->count; j++) {
            int r, c;
            t.nr = inside(y, i, &r);
            t.ns = inside(x, j, &c);
            t.a = ddp_at(from, 0, source, t.nr ? i * y->from_step + y->from + r * y->dir : 0,
                         t.ns ? j * x->from_step + x->from + c * x->dir : 0);
            t.b = b + ((y->tap0 + r * y->tap_step) * s->g.s + x->tap0 + c * x->tap_step) * 256;
            t.out = ddp_at(to, 0, block, y->first + i * y->step, x->first + j * x->step);
            ddp_conv_kernels()->tile(&t);
        }
    }
}

/* One phase of a pair's blocks, for part `part` of its images or rows. */
static void sweep_phase(const struct sweep *s, struct ddp_conv_tile t, int block, int source, int nc,
                        int last, const struct axis *y, const struct axis *x, int part)
{
    int parts = (nc * 16 * s->g.r * s->g.s + CHAIN - 1) / CHAIN; /* of the summed blocks */
    parts = parts > nc ? nc : parts;
    const float *b = t.b, *bias = t.bias;
    t.a_c = s->from->sb, t.o_k = s->to->sb;
    t.a_r = y->dir * s->from->sh, t.a_s = x->dir * s->from->sw;
    t.b_r = (int64_t)y->tap_step * s->g.s * 256, t.b_s = x->tap_step * 256;
    for (int i = 0, c = 0; i < parts; i++) {
        int step = (nc - c + parts - i - 1) / (parts - i);
        t.nc = step;
        t.last = c + step == nc ? last : 16;
        t.add = c > 0 || s->accumulate;
        t.bias = c + step == nc ? bias : NULL;
        t.relu = c + step == nc && s->relu;
        t.b = b + c * t.b_c;
        if (s->algo == CONV_SAMPLES) {
            sweep_samples(s, t, block, source + c, y, x, y->count * part / s->tasks_a_pair,
                          y->count * (part + 1) / s->tasks_a_pair);
        } else {
            int n0 = part * s->images, n1 = n0 + s->images < s->to->n ? n0 + s->images : s->to->n;
            sweep_rows(s, t, block, source + c, y, x, n0, n1);
        }
        c += step;
    }
}

static void forward_blocks(const struct sweep *s, int block, int nk, int part)
{
    const struct ddp_conv_geom *g = &s->g;
    int first = ddp_conv_first(g, block);
    struct ddp_conv_tile t = {.b = s->w + block * ddp_conv_kstride(g),
                              .b_k = ddp_conv_kstride(g),
                              .b_c = (int64_t)g->r * g->s * 256,
                              .nk = nk,
                              .real = ddp_conv_real(g->k, block + nk - 1),
                              .bias = s->bias ? s->bias + block * 16 : NULL};
    struct axis y = forward_axis(s->to->h, s->from->h, g->r, s->stride, s->pad, s->dilation);
    struct axis x = forward_axis(s->to->w, s->from->w, g->s, s->stride, s->pad, s->dilation);
    sweep_phase(s, t, block, first, g->wb, ddp_conv_real(g->c, first + g->wb - 1), &y, &x, part);
}

static void backward_blocks(const struct sweep *s, int block, int nk, int part)
{
    const struct ddp_conv_geom *g = &s->g;
    int first, count = readers(g, block, &first);
    int64_t taps = (int64_t)g->r * g->s * 256;
    struct ddp_conv_tile t = {.b = s->flipped + block * s->readers * taps,
                              .b_k = s->readers * taps,
                              .b_c = taps,
                              .nk = nk,
                              .real = ddp_conv_real(g->c, block + nk - 1)};
    for (int py = 0; py < s->stride && py < s->to->h; py++) {
        for (int px = 0; px < s->stride && px < s->to->w; px++) {
            struct axis y = dgrad_axis(s->to->h, s->from->h, g->r, s->stride, s->pad, s->dilation, py);
            struct axis x = dgrad_axis(s->to->w, s->from->w, g->s, s->stride, s->pad, s->dilation, px);
            if (y.taps && x.taps)
                sweep_phase(s, t, block, first, count, ddp_conv_real(g->k, first + count - 1), &y, &x, part);
            else if (!s->accumulate) { /* no tap hits: zeros */
                y.taps = x.taps = 0;
                sweep_phase(s, t, block, first, count, 16, &y, &x, part);
            }
        }
    }
}

static bool alike(const struct sweep *s, int block)
{
    int a, b;
    if (!s->back)
        return ddp_conv_first(&s->g, block) == ddp_conv_first(&s->g, block + 1);
    return readers(&s->g, block, &a) == readers(&s->g, block + 1, &b) && a == b;
}

static void sweep_task(void *ctx, int task)
{
    const struct sweep *s = ctx;
    int block = task / s->tasks_a_pair * 2, part = task % s->tasks_a_pair, end = ddp_blocks(s->to->c);
    end = end < block + 2 ? end : block + 2;
    for (int nk; block < end; block += nk) {
        nk = block + 1 < end && alike(s, block) ? 2 : 1;
        if (s->back)
            backward_blocks(s, block, nk, part);
        else
            forward_blocks(s, block, nk, part);
    }
}

static void sweep_run(struct sweep *s, struct ddp_pool *pool)
{
    if (s->to->n == 0)
        return;
    s->images = TASK_IMAGES;
    s->tasks_a_pair =
        s->algo == CONV_SAMPLES ? (s->to->h < 4 ? s->to->h : 4) : (s->to->n + s->images - 1) / s->images;
    ddp_parallel(pool, (ddp_blocks(s->to->c) + 1) / 2 * s->tasks_a_pair, sweep_task, s);
}

static bool wino(const struct ddp_op_call *call)
{
    const struct ddp_conv2d_conf *c = call->conf;
    const struct ddp_conv_geom g = ddp_conv_geom(&call->plan->params[0]);
    return c->dilation == 1 &&
           ddp_wino_fits(&g, (int)c->stride, ddp_conv2d_padding(c), call->plan->out.h, call->plan->out.w);
}

static void forward(const struct ddp_op_call *call)
{
    const struct ddp_conv2d_conf *c = call->conf;
    if (call->out->n > 0 && wino(call)) {
        ddp_wino_forward(call, ddp_conv2d_padding(c), c->bias ? call->param[1] : NULL);
        return;
    }
    struct sweep s = {.algo = conv_algo(call->out->h, call->out->w),
                      .g = ddp_conv_geom(&call->plan->params[0]),
                      .from = call->in[0],
                      .to = call->out,
                      .w = call->param[0],
                      .bias = c->bias ? call->param[1] : NULL,
                      .stride = (int)c->stride,
                      .pad = ddp_conv2d_padding(c),
                      .dilation = (int)c->dilation,
                      .relu = call->fused & DDP_FUSE_RELU};
    sweep_run(&s, call->pool);
}

static void flip_task(void *ctx, int cb)
{
    const struct sweep *s = ctx;
    const struct ddp_conv_geom *g = &s->g;
    int first, count = readers(g, cb, &first), taps = g->r * g->s;
    for (int i = 0; i < count; i++) {
        int kb = first + i;
        ddp_bias_kernels()->transpose(
            s->w + kb * ddp_conv_kstride(g) + (cb - ddp_conv_first(g, kb)) * taps * (int64_t)256, 256,
            s->flipped + ((int64_t)cb * s->readers + i) * taps * 256, 256, taps);
    }
}

static void data_gradient(const struct ddp_op_call *call)
{
    const struct ddp_conv2d_conf *c = call->conf;
    struct sweep s = {.algo = conv_algo(call->dout->h, call->dout->w),
                      .g = ddp_conv_geom(&call->plan->params[0]),
                      .from = call->dout,
                      .to = call->din[0],
                      .w = call->param[0],
                      .flipped = call->scratch,
                      .back = true,
                      .accumulate = call->accumulate[0],
                      .stride = (int)c->stride,
                      .pad = ddp_conv2d_padding(c),
                      .dilation = (int)c->dilation};
    s.readers = max_readers(&s.g);
    ddp_parallel(call->pool, s.g.cb, flip_task, &s);
    sweep_run(&s, call->pool);
}

/* ---- weight gradient ---- */

struct wgrad {
    const struct ddp_op_call *call;
    struct ddp_conv_geom g;
    int width; /* output blocks of a task: 2 share what is read, 1 where threads would have nothing to do */
};

/* One chunk of images, or rows of one, to what is there of all before. */
static void wgrad_chain(const struct wgrad *w, struct ddp_conv_wtile t, int n, int cb, int kb)
{
    const struct ddp_tensor *in = w->call->in[0], *d = w->call->dout;
    const int most = CHAIN_PIXELS / d->w > 0 ? CHAIN_PIXELS / d->w : 1, step = d->h < most ? d->h : most;
    for (int y = 0; y < d->h; y += step) {
        t.x = ddp_at(in, n, cb, y * t.stride, 0);
        t.d = ddp_at(d, n, kb, y, 0);
        t.rows = d->h - y < step ? d->h - y : step;
        ddp_wgrad_kernels()->tile(&t);
        t.add = true;
    }
}

/* Channel block task % wb of output blocks width * (task / wb) and the next. */
static void wgrad_task(void *ctx, int task)
{
    const struct wgrad *w = ctx;
    const struct ddp_conv_geom *g = &w->g;
    const struct ddp_conv2d_conf *c = w->call->conf;
    const struct ddp_tensor *in = w->call->in[0], *d = w->call->dout;
    int kb = task / g->wb * w->width, b = task % g->wb, end = kb + w->width < g->kb ? kb + w->width : g->kb,
        chunk = wgrad_chunk(d->h, d->w);
    for (int nk; kb < end; kb += nk) {
        nk = kb + 1 < end && ddp_conv_first(g, kb) == ddp_conv_first(g, kb + 1) ? 2 : 1;
        int cb = ddp_conv_first(g, kb) + b;
        struct ddp_conv_wtile t = {.x_n = in->sn,
                                   .x_y = c->stride * in->sh,
                                   .x_x = c->stride * in->sw,
                                   .d_n = d->sn,
                                   .d_y = d->sh,
                                   .d_x = d->sw,
                                   .d_k = d->sb,
                                   .w = w->call->grad[0] + kb * ddp_conv_kstride(g) +
                                        b * (int64_t)g->r * g->s * 256,
                                   .w_k = ddp_conv_kstride(g),
                                   .rows = d->h,
                                   .cols = d->w,
                                   .h = in->h,
                                   .w_ = in->w,
                                   .stride = (int)c->stride,
                                   .pad = ddp_conv2d_padding(c),
                                   .dilation = (int)c->dilation,
                                   .r = g->r,
                                   .s = g->s,
                                   .c = ddp_conv_real(g->c, cb),
                                   .nk = nk,
                                   .clip = conv_algo(d->h, d->w) == CONV_SAMPLES};
        for (int n = 0; n < d->n; n += chunk) {
            t.images = d->n - n < chunk ? d->n - n : chunk;
            t.add = n > 0;
            wgrad_chain(w, t, n, cb, kb);
            ddp_pool_pause(w->call->pool);
        }
    }
}

/* The gradient behind a max_pool as pictures: of features those of the next pixel lie a page further. */
static struct ddp_tensor as_pictures(struct ddp_op_call *call)
{
    const struct ddp_tensor *d = call->dout;
    struct ddp_tensor t = *d;
    int64_t lead = 0;
    if (!(call->fused & DDP_FUSE_POOL) || d->sn > d->sw)
        return t;
    const int64_t floats = ddp_tensor_pictures(&t, d->n, (struct ddp_shape){d->c, d->h, d->w}, 0, &lead);
    t.p = (float *)call->scratch + lead;
    call->scratch = (float *)call->scratch + floats;
    ddp_conv_reorder(d, &t, call->pool);
    return t;
}

static void backward(const struct ddp_op_call *given)
{
    const struct ddp_conv2d_conf *c = given->conf;
    struct ddp_op_call own = *given;
    const struct ddp_op_call *call = &own;
    const struct ddp_tensor d = as_pictures(&own);
    struct wgrad w = {.call = call, .g = ddp_conv_geom(&call->plan->params[0])};
    own.dout = &d;
    ddp_conv_mask_bias(call, wgrad_chunk(call->plan->out.h, call->plan->out.w),
                       c->bias ? call->grad[1] : NULL);
    if (d.n == 0) {
        memset(call->grad[0], 0, (size_t)ddp_layout_size(&call->plan->params[0]) * sizeof(float));
        return;
    }
    if (wino(call)) {
        ddp_wino_weight_gradient(call, ddp_conv2d_padding(c));
        if (call->din[0])
            ddp_wino_data_gradient(call, ddp_conv2d_padding(c));
        return;
    }
    w.width = (w.g.kb + 1) / 2 * w.g.wb < ddp_pool_threads(call->pool) ? 1 : 2;
    ddp_parallel(call->pool, (w.g.kb + w.width - 1) / w.width * w.g.wb, wgrad_task, &w);
    ddp_conv_clear_padding(&w.g, call->grad[0]);
    if (call->din[0])
        data_gradient(call);
}

const struct ddp_op ddp_op_conv2d = {
    .name = "conv2d",
    .doc = "2-D convolution with stride, padding, dilation and groups",
    .conf_bytes = sizeof(struct ddp_conv2d_conf),
    .keys = keys,
    .nin = 1,
    .fuses = DDP_FUSE_RELU,
    .out_use = DDP_OUT_MASK,
    .plan = plan,
    .forward = forward,
    .backward = backward,
    .device = &ddp_conv2d_device,
};
