/* linear: out[n, k] = bias[k] + sum over features f of in[n, f] * weight[k, f]
 *
 * in is {C, H, W} or {F, 1, 1} in features order [c/16][h][w][n][16], out {K, 1, 1}. The weight is a
 * convolution's with a kernel of the whole picture, so pictures need no reordering, and samples take the
 * place of pixels in the tiles of conv.h.
 *
 * Accumulation order: forward channel blocks, y, x, channel, in one chain for each 32 blocks of 16 features;
 * the sums of such chunks are added as the canonical tree adds (reduce/tree.h), so that the error does not
 * grow with the features. Bias and ReLU come last. Data gradient output blocks, output, in chains of 32
 * blocks added in order, to what is there when accumulating; weight gradient samples, in chains of 512 added
 * in order; bias gradient chunks of 64 samples. FLOPs: 2 N K F each pass; with few samples the weights' bytes
 * (4 K F) decide. */
#include <string.h>

#include "ops/ops.h"
#include "ops/conv/conv.h"
#include "ops/linear/linear.h"
#include "ops/builtin.h"

struct conf {
    int64_t out;
    bool bias;
    int init;
};

static const struct ddp_key keys[] = {
    {"out", DDP_KEY_INT, offsetof(struct conf, out), NULL, 1, 1 << 24, DDP_KEY_CLASSES, "features",
     DDP_KEY_RESULT | DDP_KEY_REQUIRED,
     "Output features; classes: as many as the data has classes, or real targets"},
    {"bias", DDP_KEY_BOOL, offsetof(struct conf, bias), "true", 0, 0, NULL, NULL, DDP_KEY_RESULT,
     "Add a bias"},
    {"init", DDP_KEY_CHOICE, offsetof(struct conf, init), "default", 0, 0, DDP_CONV_INIT_CHOICES, NULL,
     DDP_KEY_RESULT, "Initial weights, as PyTorch defines them"},
    {0},
};

enum {
    BIAS_CHUNK = 64,
    SUM_CHUNK = 32,    /* blocks in one chain: 512 features; outputs in the data gradient */
    SUM_SAMPLES = 512, /* samples in one chain */
    SUM_BLOCKS = 16,   /* feature blocks swept at a time when samples take several tiles: 32 KiB of weights */
    ONE_TILE = 14,     /* samples in the largest tile */
    SWEEP = 112,       /* samples swept at a time: 110 KiB of SUM_BLOCKS features, read by all outputs */
    FLIP_BLOCKS = 2,   /* feature blocks transposed at a time: 8 KiB runs of weights */
    MAX_TASKS = 32,
    BACK_TASKS = 8, /* each has its own transposed weights */
};

static int back_tasks(const struct ddp_conv_geom *g)
{
    int pairs = (g->cb * g->r * g->s + 1) / 2;
    return pairs < BACK_TASKS ? pairs : BACK_TASKS;
}

/* Sums of chunks that wait for their like: one for each bit of the last chunk's number. */
static int waiting_sums(int blocks)
{
    int sums = 0;
    for (int last = (blocks - 1) / SUM_CHUNK; last > 0; last /= 2)
        sums++;
    return sums;
}

static int plan(const void *conf, const struct ddp_shape *in, int nin, int batch, struct ddp_layer_plan *p,
                struct ddp_error *err)
{
    const struct conf *c = conf;
    (void)nin;
    int64_t features = (int64_t)in->c * in->h * in->w;
    if (features > 1 << 24)
        return ddp_fail(err, DDP_E_SHAPE, "%lld features come in (%dx%dx%d); at most %d: pool before",
                        (long long)features, in->c, in->h, in->w, 1 << 24);
    p->out = (struct ddp_shape){(int)c->out, 1, 1};
    p->features = true;
    p->over_in = DDP_OVER_PLAIN; /* the gradient of the weights comes first */
    struct ddp_param weight = {.ndim = 2, .dims = {c->out, features}, .groups = 1};
    if (in->h * in->w > 1)
        weight.in = *in;
    p->nparams = ddp_conv_params(weight, c->init, (double)features, (double)c->out, c->bias, p->params);
    struct ddp_conv_geom g = ddp_conv_geom(&p->params[0]);
    const size_t flipped = (size_t)back_tasks(&g) * g.kb * FLIP_BLOCKS * 256,
                 sums = (size_t)waiting_sums(g.cb * g.r * g.s) * g.kb * 16 * (size_t)batch;
    p->scratch_bytes = (flipped > sums ? flipped : sums) * sizeof(float);
    p->flops = 2.0 * (double)c->out * (double)features;
    return 0;
}

struct pass {
    const struct ddp_op_call *call;
    struct ddp_conv_geom g;
    int blocks; /* feature blocks: channel blocks * pixels */
    int tasks;
};

static struct pass pass_of(const struct ddp_op_call *call)
{
    struct pass p = {.call = call, .g = ddp_conv_geom(&call->plan->params[0])};
    p.blocks = p.g.cb * p.g.r * p.g.s;
    return p;
}

/* Real features in feature block f. */
static int real(const struct ddp_conv_geom *g, int f)
{
    return ddp_conv_real(g->c, f / (g->r * g->s));
}

/* Where outputs are summed. */
struct sums {
    float *p;
    int64_t n, k; /* from one sample, output block to the next */
};

/* Level 0 is out itself, what waits above it lies in scratch. */
static struct sums sums_at(const struct pass *p, int level)
{
    const struct ddp_tensor *out = p->call->out;
    if (level == 0)
        return (struct sums){out->p, out->sn, out->sb};
    const int64_t block = (int64_t)out->n * 16;
    return (struct sums){(float *)p->call->scratch + (level - 1) * p->g.kb * block, 16, block};
}

/* The pair of output blocks behind kb, or the first with the features behind f; NULL: they are not whole. */
static const float *next_weights(const struct pass *p, int f, int blocks, int kb, int lo, int hi)
{
    const bool wraps = kb + 2 >= hi;
    kb = wraps ? lo : kb + 2;
    f += wraps ? blocks : 0;
    return kb + 2 <= hi && f + blocks <= p->blocks
               ? p->call->param[0] + kb * ddp_conv_kstride(&p->g) + (int64_t)f * 256
               : NULL;
}

/* One chain over feature blocks [from, to) for output blocks [lo, hi) of samples [n0, n1); all of them read a
 * part of the features before the next part comes in. */
static void sum_samples(const struct pass *p, int from, int to, int lo, int hi, struct sums sums, bool end,
                        int n0, int n1)
{
    const struct ddp_op_call *call = p->call;
    const struct conf *c = call->conf;
    const struct ddp_tensor *in = call->in[0], *out = call->out;
    int step = out->n > ONE_TILE ? SUM_BLOCKS : to - from;
    struct ddp_conv_tile t = {.a_p = in->sn,
                              .a_c = in->sw,
                              .b_k = ddp_conv_kstride(&p->g),
                              .b_c = 256,
                              .o_p = sums.n,
                              .o_k = sums.k,
                              .ny = 1,
                              .np = n1 - n0,
                              .nr = 1,
                              .ns = 1};
    for (int f = from; f < to; f += step) {
        bool last = end && f + step >= to;
        t.nc = f + step >= to ? to - f : step;
        t.a = in->p + f * in->sw + n0 * in->sn;
        t.last = p->g.r * p->g.s == 1 ? real(&p->g, f + t.nc - 1)
                                      : 16; /* of pictures, padded channels take part: zeros */
        t.load = f > from;
        t.relu = last && call->fused & DDP_FUSE_RELU;
        for (int kb = lo; kb < hi; kb += 2) {
            t.nk = kb + 1 < hi ? 2 : 1;
            t.real = ddp_conv_real(p->g.k, kb + t.nk - 1);
            t.out = sums.p + kb * sums.k + n0 * sums.n;
            t.b = call->param[0] + kb * t.b_k + f * 256;
            t.next = n1 - n0 > ONE_TILE ? next_weights(p, f, t.nc, kb, lo, hi) : NULL;
            t.bias = last && c->bias ? call->param[1] + kb * 16 : NULL;
            ddp_conv_kernels()->tile(&t);
        }
    }
}

static void sum_chunk(const struct pass *p, int from, int to, int lo, int hi, struct sums sums, bool end)
{
    const int n = p->call->out->n;
    for (int n0 = 0; n0 < n; n0 += SWEEP)
        sum_samples(p, from, to, lo, hi, sums, end, n0, n0 + SWEEP < n ? n0 + SWEEP : n);
}

/* lower += upper. In features order what a block has lies together, and often all blocks do. */
static void merge(const struct pass *p, struct sums lower, struct sums upper, int lo, int hi)
{
    const int64_t n = p->call->out->n, block = n * 16;
    const bool together = lower.n == 16, all = together && lower.k == block;
    for (int kb = lo; kb < hi; kb += all ? hi - lo : 1)
        for (int64_t i = 0; i < n; i += together ? n : 1)
            ddp_vec_add(lower.p + kb * lower.k + i * lower.n, upper.p + kb * upper.k + i * upper.n,
                        all        ? (hi - lo) * block
                        : together ? block
                                   : 16);
}

/* Bias and ReLU behind a sum that is complete: a tile of no taps. */
static void finish(const struct pass *p, int lo, int hi)
{
    const struct ddp_op_call *call = p->call;
    const struct conf *c = call->conf;
    const struct sums out = sums_at(p, 0);
    struct ddp_conv_tile t = {.o_p = out.n,
                              .o_k = out.k,
                              .ny = 1,
                              .np = call->out->n,
                              .load = true,
                              .relu = call->fused & DDP_FUSE_RELU};
    for (int kb = lo; kb < hi && (c->bias || t.relu); kb += 2) {
        t.nk = kb + 1 < hi ? 2 : 1;
        t.real = ddp_conv_real(p->g.k, kb + t.nk - 1);
        t.out = out.p + kb * out.k;
        t.bias = c->bias ? call->param[1] + kb * 16 : NULL;
        ddp_conv_kernels()->tile(&t);
    }
}

/* Output blocks [lo, hi) from all chunks. */
static void sum_chunks(const struct pass *p, int lo, int hi)
{
    int level = 0, chunks = (p->blocks + SUM_CHUNK - 1) / SUM_CHUNK;
    for (int i = 0; i < chunks; i++) {
        int from = i * SUM_CHUNK, to = from + SUM_CHUNK < p->blocks ? from + SUM_CHUNK : p->blocks;
        sum_chunk(p, from, to, lo, hi, sums_at(p, level), chunks == 1);
        for (int equal = i; equal & 1; equal /= 2, level--)
            merge(p, sums_at(p, level - 1), sums_at(p, level), lo, hi);
        level++;
    }
    for (level--; level > 0; level--)
        merge(p, sums_at(p, level - 1), sums_at(p, level), lo, hi);
    if (chunks > 1)
        finish(p, lo, hi);
}

/* Part `task` of the pairs of output blocks: with few samples pair after pair, so that the weights stream. */
static void forward_task(void *ctx, int task)
{
    const struct pass *p = ctx;
    int pairs = (p->g.kb + 1) / 2, lo = pairs * task / p->tasks * 2, hi = pairs * (task + 1) / p->tasks * 2;
    hi = hi < p->g.kb ? hi : p->g.kb;
    const int width = p->call->out->n > ONE_TILE ? hi - lo : 2;
    for (int kb = lo; kb < hi; kb += width)
        sum_chunks(p, kb, kb + width < hi ? kb + width : hi);
}

static void forward(const struct ddp_op_call *call)
{
    struct pass p = pass_of(call);
    int pairs = (p.g.kb + 1) / 2, threads = call->pool ? ddp_pool_threads(call->pool) : 1;
    p.tasks = pairs < threads ? pairs : threads; /* every output's chain is the same in any partition */
    if (call->out->n > 0)
        ddp_parallel(call->pool, p.tasks, forward_task, &p);
}

/* Feature blocks [lo, hi) of a task, in pairs. */
static void range(const struct pass *p, int task, int *lo, int *hi)
{
    int pairs = (p->blocks + 1) / 2;
    *lo = (int)((int64_t)pairs * task / p->tasks) * 2;
    *hi = (int)((int64_t)pairs * (task + 1) / p->tasks) * 2;
    *hi = *hi < p->blocks ? *hi : p->blocks;
}

static void dgrad_task(void *ctx, int task)
{
    const struct pass *p = ctx;
    const struct ddp_op_call *call = p->call;
    const struct ddp_tensor *d = call->dout, *din = call->din[0];
    int kb = p->g.kb, lo, hi;
    int64_t kstride = ddp_conv_kstride(&p->g);
    float *flipped =
        (float *)call->scratch + (int64_t)task * kb * FLIP_BLOCKS * 256; /* [feature block][kb][16k][16c] */
    struct ddp_conv_tile t = {.a_p = d->sn,
                              .a_c = d->sb,
                              .b_k = kb * 256,
                              .b_c = 256,
                              .o_p = din->sn,
                              .o_k = din->sw,
                              .ny = 1,
                              .np = din->n,
                              .nr = 1,
                              .ns = 1};
    range(p, task, &lo, &hi);
    for (int f0 = lo; f0 < hi; f0 += FLIP_BLOCKS) {
        int blocks = hi - f0 < FLIP_BLOCKS ? hi - f0 : FLIP_BLOCKS;
        for (int k = 0; k < kb; k++)
            ddp_bias_kernels()->transpose(call->param[0] + k * kstride + f0 * 256, 256, flipped + k * 256,
                                          kb * 256, blocks);
        for (int i = 0; i < blocks; i += t.nk) {
            t.nk = i + 1 < blocks && real(&p->g, f0 + i) == 16 ? 2 : 1;
            t.out = din->p + (f0 + i) * din->sw;
            t.real = real(&p->g, f0 + i + t.nk - 1);
            for (int k = 0; k < kb; k += SUM_CHUNK) {
                t.nc = kb - k < SUM_CHUNK ? kb - k : SUM_CHUNK;
                t.last = ddp_conv_real(p->g.k, k + t.nc - 1);
                t.a = d->p + k * d->sb;
                t.b = flipped + i * t.b_k + k * 256;
                t.add = k > 0 || call->accumulate[0];
                ddp_conv_kernels()->tile(&t);
            }
        }
    }
}

static void wgrad_task(void *ctx, int task)
{
    const struct pass *p = ctx;
    const struct ddp_op_call *call = p->call;
    const struct ddp_tensor *d = call->dout, *in = call->in[0];
    int64_t kstride = ddp_conv_kstride(&p->g);
    struct ddp_conv_wtile t = {.x_x = in->sn,
                               .d_x = d->sn,
                               .d_k = d->sb,
                               .w_k = kstride,
                               .images = 1,
                               .rows = 1,
                               .stride = 1,
                               .dilation = 1,
                               .r = 1,
                               .s = 1};
    int lo, hi;
    range(p, task, &lo, &hi);
    for (int kb = 0; kb < p->g.kb; kb += 2) {
        t.nk = kb + 1 < p->g.kb ? 2 : 1;
        for (int n = 0; n < d->n; n += SUM_SAMPLES) {
            t.cols = d->n - n < SUM_SAMPLES ? d->n - n : SUM_SAMPLES;
            t.d = ddp_at(d, n, kb, 0, 0);
            t.add = n > 0;
            for (int f = lo; f < hi; f++) {
                t.x = in->p + n * in->sn + f * in->sw;
                t.w = call->grad[0] + kb * kstride + f * 256;
                t.c = real(&p->g, f);
                ddp_wgrad_kernels()->tile(&t);
            }
        }
    }
}

static void backward(const struct ddp_op_call *call)
{
    const struct conf *c = call->conf;
    struct pass p = pass_of(call);
    ddp_conv_mask_bias(call, BIAS_CHUNK, c->bias ? call->grad[1] : NULL);
    if (call->dout->n == 0) {
        memset(call->grad[0], 0, (size_t)ddp_layout_size(&call->plan->params[0]) * sizeof(float));
        return;
    }
    p.tasks = p.blocks < MAX_TASKS ? p.blocks : MAX_TASKS;
    ddp_parallel(call->pool, p.tasks, wgrad_task, &p);
    ddp_conv_clear_padding(&p.g, call->grad[0]);
    if (call->din[0]) {
        p.tasks = back_tasks(&p.g);
        ddp_parallel(call->pool, p.tasks, dgrad_task, &p);
    }
}

const struct ddp_op ddp_op_linear = {
    .name = "linear",
    .doc = "Fully connected layer",
    .conf_bytes = sizeof(struct conf),
    .keys = keys,
    .nin = 1,
    .fuses = DDP_FUSE_RELU,
    .any_shape = true,
    .out_use = DDP_OUT_MASK,
    .plan = plan,
    .forward = forward,
    .backward = backward,
    .device = &ddp_linear_device,
};
