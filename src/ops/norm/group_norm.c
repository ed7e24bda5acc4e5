/* Group normalisation (Wu, He, 2018) and layer normalisation (Ba, Kiros, Hinton, 2016): within a sample, so
 * that neither the batch nor its shards enter and training and evaluation are one.
 *
 *     mean, var = of x over the group          var: the biased one
 *     xhat      = (x - mean) / sqrt(var + eps)
 *     out       = weight * xhat + bias
 *     g         = dout * weight
 *     din       = (g - mean(g) - xhat * mean(g xhat)) / sqrt(var + eps)      means over the group
 *     dweight   = sum of dout xhat,  dbias = sum of dout
 *
 *                  group                              weight, bias (PyTorch's shapes)
 *     group_norm   C / groups channels, all pixels    [C]: of each channel
 *     layer_norm   all of the sample                  [C] of vectors, [C, H, W] of pictures: of each element
 *
 * (After a flatten that kept pictures, layer_norm's are [C, H, W] too: the elements and their order are
 * those of the vector.)
 *
 * Sums over a group, of floats, in an order that the shape decides and the device half shares
 * (group_norm.cu): - a channel: row r of 8 takes pixels r, r + 8, .. in order, in fp32; the rows are added
 * in a tree of halves
 *     (row i gets row i + half). Pictures of fewer than 8 pixels: one row.
 * - a group: lane j of 32 (256 where there is one row) takes channels j, j + 32, .. of the group in order,
 * in
 *     double, then the lanes are added in a tree of halves.
 * The mean comes first; squares are summed about it, rounded to fp32 (centre), and what the rounding left is
 * put right after the sum, so a large mean costs no digits. dweight and dbias: samples in order, in fp32; of
 * a channel its sums over pixels as above.
 *
 * One task per sample, and one per channel block for dweight and dbias. Saved: centre, rest, 1 / sqrt(var +
 * eps) of each sample and group. Bytes an element: forward 16 (12 of them from the cache), backward 20. */
#include "ops/ops.h"

#include <math.h>
#include <string.h>

#include "ops/norm/group_norm.h"
#include "ops/norm/group_norm_cpu.h"
#include "ops/walk.h"

enum { MAX_LANES = 256, STATS = 3 };

#define KEY_EPS                                                                                              \
    {                                                                                                        \
        .name = "eps", .type = DDP_KEY_FLOAT, .offset = offsetof(struct ddp_group_norm_conf, eps),           \
        .dflt = "1e-5", .min = 1e-30, .max = 1, .flags = DDP_KEY_RESULT,                                     \
        .doc = "added to the variance before its root is taken"                                              \
    }
#define KEY_AFFINE(DOC)                                                                                      \
    {                                                                                                        \
        .name = "affine", .type = DDP_KEY_BOOL, .offset = offsetof(struct ddp_group_norm_conf, affine),      \
        .dflt = "true", .flags = DDP_KEY_RESULT, .doc = DOC                                                  \
    }

static const struct ddp_key group_keys[] = {
    {.name = "groups",
     .type = DDP_KEY_INT,
     .offset = offsetof(struct ddp_group_norm_conf, groups),
     .min = 1,
     .max = 65536,
     .flags = DDP_KEY_RESULT | DDP_KEY_REQUIRED,
     .doc = "groups of neighbouring channels, each normalised by itself"},
    KEY_EPS,
    KEY_AFFINE("learn a weight and a bias for each channel"),
    {0},
};
static const struct ddp_key layer_keys[] = {
    KEY_EPS, KEY_AFFINE("learn a weight and a bias for each element of a sample"), {0}};

/* One call, its memory cut up. c16: channels with padding. */
struct work {
    const struct ddp_op_call *call;
    struct ddp_group_form form;
    bool affine;
    float eps;
    int c, c16, blocks, h, w, rows, lanes;
    float *stats;                /* [n][groups][STATS] */
    struct ddp_group_coef *coef; /* [n][blocks] */
    float *sums;                 /* [n][2][c16] */
    float *means;                /* [n][groups][2] */
    float *scale;                /* elements of pictures: weight, bias as [blocks][pixels][16] each */
    float *grads;                /* likewise their gradients */
};

static struct ddp_group_form form_of(const struct ddp_group_norm_conf *conf, int c)
{
    const int groups = conf->groups ? (int)conf->groups : 1;
    return (struct ddp_group_form){groups, c / groups, conf->groups == 0};
}

static int pixels(const struct work *k)
{
    return k->h * k->w;
}

/* Elements in blocked order, where weight and bias are of each element and do not lie so already. */
static size_t blocked(bool elements, int blocks, int h, int w)
{
    return elements && h * w > 1 ? (size_t)blocks * h * w * DDP_CBLOCK : 0;
}

static int plan_layer(const struct ddp_group_norm_conf *conf, struct ddp_shape in, int batch,
                      struct ddp_layer_plan *plan)
{
    const struct ddp_group_form form = form_of(conf, in.c);
    const int blocks = ddp_blocks(in.c);
    const bool pictures = form.elements && in.h * in.w > 1;
    const struct ddp_param of_each = {.layout = DDP_LAYOUT_VECTOR,
                                      .ndim = pictures ? 3 : 1,
                                      .dims = {in.c, pictures ? in.h : 0, pictures ? in.w : 0},
                                      .groups = 1,
                                      .no_decay = true};
    plan->out = in;
    if (conf->affine) {
        plan->nparams = 2;
        plan->params[0] = plan->params[1] = of_each;
        plan->params[0].name = "weight";
        plan->params[0].init = DDP_INIT_ONE;
        plan->params[1].name = "bias";
        plan->params[1].init = DDP_INIT_ZERO;
    }
    plan->any_strides = true;
    const size_t stats = (size_t)batch * form.groups * STATS * sizeof(float);
    plan->saved_bytes = stats;
    plan->scratch_bytes = (size_t)batch * blocks * sizeof(struct ddp_group_coef) +
                          (size_t)batch * blocks * DDP_CBLOCK * 2 * sizeof(float) +
                          (size_t)batch * form.groups * 2 * sizeof(float) + stats +
                          4 * blocked(form.elements, blocks, in.h, in.w) * sizeof(float) + 64;
    plan->flops = 8.0 * in.c * in.h * in.w;
    return 0;
}

static int group_plan(const void *conf_, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    const struct ddp_group_norm_conf *conf = conf_;
    (void)nin;
    if (in[0].c % conf->groups)
        return ddp_fail(err, DDP_E_SHAPE,
                        "group_norm: groups = %d must divide the channels that come in (%d)",
                        (int)conf->groups, in[0].c);
    return plan_layer(conf, in[0], batch, plan);
}

static int layer_plan(const void *conf, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)nin, (void)err;
    return plan_layer(conf, in[0], batch, plan);
}

static struct work work_of(const struct ddp_op_call *call)
{
    const struct ddp_tensor *x = call->in[0];
    const struct ddp_group_norm_conf *conf = call->conf;
    struct work k = {.call = call,
                     .form = form_of(conf, x->c),
                     .affine = conf->affine,
                     .eps = (float)conf->eps,
                     .c = x->c,
                     .blocks = ddp_blocks(x->c),
                     .h = x->h,
                     .w = x->w};
    k.c16 = k.blocks * DDP_CBLOCK;
    k.rows = pixels(&k) < DDP_GROUP_ROWS ? 1 : DDP_GROUP_ROWS;
    k.lanes = MAX_LANES / k.rows;
    const size_t elements = blocked(k.form.elements, k.blocks, k.h, k.w);
    k.coef = call->scratch;
    k.scale =
        (float *)(k.coef + (size_t)x->n * k.blocks); /* a multiple of 64 bytes from the start, as are .. */
    k.grads = k.scale + 2 * elements;
    k.sums = k.grads + 2 * elements; /* .. these */
    k.means = k.sums + (size_t)x->n * 2 * k.c16;
    k.stats = call->training ? call->saved : k.means + (size_t)x->n * k.form.groups * 2;
    return k;
}

/* ---- weight and bias where the kernels want them ---- */

static struct ddp_group_scale scale_of(const struct work *k, int block)
{
    const size_t step = (size_t)(k->form.elements ? pixels(k) : 1) * DDP_CBLOCK;
    const bool copied = k->form.elements && pixels(k) > 1;
    const float *weight = copied ? k->scale : k->call->param[0],
                *bias = copied ? k->scale + k->blocks * step : k->call->param[1];
    if (!k->affine)
        return (struct ddp_group_scale){0};
    return (struct ddp_group_scale){weight + block * step, bias + block * step,
                                    k->form.elements ? DDP_CBLOCK : 0};
}

/* [C][pixels] -> [block][pixels][16], zeros past the last channel. */
static void scale_task(void *ctx, int block)
{
    const struct work *k = ctx;
    const int P = pixels(k);
    for (int which = 0; which < 2; which++) {
        float *to = k->scale + ((size_t)which * k->blocks + block) * P * DDP_CBLOCK;
        for (int j = 0; j < DDP_CBLOCK; j++) {
            const int c = block * DDP_CBLOCK + j;
            for (int q = 0; q < P; q++)
                to[q * DDP_CBLOCK + j] = c < k->c ? k->call->param[which][(int64_t)c * P + q] : 0;
        }
    }
}

static void prepare_scale(struct work *k)
{
    if (k->affine && k->form.elements && pixels(k) > 1)
        ddp_parallel(k->call->pool, k->blocks, scale_task, k);
}

/* ---- statistics of a sample ---- */

/* Sums over group g of v[0][c] and v[1][c], times weight[c] where that is not NULL. */
static void group_sums(const struct work *k, const float *v, const float *weight, int g, double out[2])
{
    double lane[2][MAX_LANES];
    const int first = g * k->form.channels;
    int used = k->form.channels < k->lanes ? k->form.channels : k->lanes, half = 1;
    memset(lane, 0, sizeof lane);
    for (int i = 0; i < k->form.channels; i++)
        for (int s = 0; s < 2; s++) {
            const double x = v[s * k->c16 + first + i];
            lane[s][i % k->lanes] += weight ? (double)weight[first + i] * x : x;
        }
    while (2 * half < used)
        half *= 2;
    for (; half > 0; half /= 2) /* halves above `used` add zeros */
        for (int s = 0; s < 2; s++)
            for (int i = 0; i < half; i++)
                lane[s][i] += lane[s][i + half];
    out[0] = lane[0][0];
    out[1] = lane[1][0];
}

static float *sums_of(const struct work *k, int n)
{
    return k->sums + (size_t)n * 2 * k->c16;
}

static float *stats_of(const struct work *k, int n, int g)
{
    return k->stats + ((size_t)n * k->form.groups + g) * STATS;
}

/* Coefficients of all channels of sample n, from what is known of their groups; zeros past the last one. */
static void spread(const struct work *k, int n)
{
    struct ddp_group_coef *coef = k->coef + (size_t)n * k->blocks;
    memset(coef, 0, (size_t)k->blocks * sizeof *coef);
    for (int c = 0; c < k->c; c++) {
        const int g = c / k->form.channels;
        const float *stats = stats_of(k, n, g), *means = k->means + ((size_t)n * k->form.groups + g) * 2;
        struct ddp_group_coef *to = &coef[c / DDP_CBLOCK];
        to->centre[c % DDP_CBLOCK] = stats[0];
        to->rest[c % DDP_CBLOCK] = stats[1];
        to->inv_std[c % DDP_CBLOCK] = stats[2];
        to->m1[c % DDP_CBLOCK] = means[0];
        to->m2[c % DDP_CBLOCK] = means[1];
    }
}

static void channel_sums(const struct work *k, int n)
{
    for (int b = 0; b < k->blocks; b++)
        ddp_group_norm_kernels()->sums(
            k->h, k->w, ddp_plane_of(k->call->in[0], n, b), k->coef[(size_t)n * k->blocks + b].centre,
            sums_of(k, n) + b * DDP_CBLOCK, sums_of(k, n) + k->c16 + b * DDP_CBLOCK);
}

static void statistics(const struct work *k, int n)
{
    const double count = (double)k->form.channels * pixels(k);
    double sum[2];
    for (int g = 0; g < k->form.groups; g++)
        memset(stats_of(k, n, g), 0, STATS * sizeof(float));
    spread(k, n);
    channel_sums(k, n);
    for (int g = 0; g < k->form.groups; g++) {
        group_sums(k, sums_of(k, n), NULL, g, sum);
        stats_of(k, n, g)[0] = (float)(sum[0] / count);
    }
    spread(k, n);
    channel_sums(k, n);
    for (int g = 0; g < k->form.groups; g++) {
        group_sums(k, sums_of(k, n), NULL, g, sum);
        const double off = sum[0] / count, square = sum[1] / count - off * off,
                     var = square < 0 ? 0 : square, /* NaN stays */
            inv_std = 1.0 / sqrt(var + (double)k->eps);
        stats_of(k, n, g)[1] = (float)(-off * inv_std);
        stats_of(k, n, g)[2] = (float)inv_std;
    }
    spread(k, n);
}

/* ---- forward ---- */

static void forward_task(void *ctx, int n)
{
    const struct work *k = ctx;
    memset(k->means + (size_t)n * k->form.groups * 2, 0, (size_t)k->form.groups * 2 * sizeof(float));
    statistics(k, n);
    for (int b = 0; b < k->blocks; b++)
        ddp_group_norm_kernels()->apply(k->h, k->w, &k->coef[(size_t)n * k->blocks + b], scale_of(k, b),
                                        ddp_plane_of(k->call->in[0], n, b), ddp_plane_of(k->call->out, n, b));
}

static void forward(const struct ddp_op_call *call)
{
    struct work k = work_of(call);
    prepare_scale(&k);
    ddp_parallel(call->pool, call->in[0]->n, forward_task, &k);
}

/* ---- backward ---- */

static void backward_task(void *ctx, int n)
{
    const struct work *k = ctx;
    const struct ddp_op_call *call = k->call;
    const double count = (double)k->form.channels * pixels(k);
    const bool inside = k->form.elements; /* weights enter before the sums over pixels, else after them */
    float *means = k->means + (size_t)n * k->form.groups * 2;
    memset(means, 0, (size_t)k->form.groups * 2 * sizeof(float));
    spread(k, n);
    for (int b = 0; b < k->blocks; b++)
        ddp_group_norm_kernels()->grad_sums(k->h, k->w, &k->coef[(size_t)n * k->blocks + b],
                                            inside ? scale_of(k, b) : (struct ddp_group_scale){0},
                                            ddp_plane_of(call->in[0], n, b), ddp_plane_of(call->dout, n, b),
                                            sums_of(k, n) + b * DDP_CBLOCK,
                                            sums_of(k, n) + k->c16 + b * DDP_CBLOCK);
    if (!call->din[0])
        return;
    for (int g = 0; g < k->form.groups; g++) {
        double sum[2];
        group_sums(k, sums_of(k, n), !inside && k->affine ? call->param[0] : NULL, g, sum);
        means[2 * g] = (float)(sum[0] / count);
        means[2 * g + 1] = (float)(sum[1] / count);
    }
    spread(k, n);
    for (int b = 0; b < k->blocks; b++)
        ddp_group_norm_kernels()->gradient(k->h, k->w, &k->coef[(size_t)n * k->blocks + b], scale_of(k, b),
                                           ddp_plane_of(call->in[0], n, b), ddp_plane_of(call->dout, n, b),
                                           ddp_plane_of(call->din[0], n, b), call->accumulate[0]);
}

/* group_norm: gradients of a channel block's weights, from the sums of backward_task. */
static void channels_task(void *ctx, int block)
{
    const struct work *k = ctx;
    float *dweight = k->call->grad[0] + block * DDP_CBLOCK, *dbias = k->call->grad[1] + block * DDP_CBLOCK;
    memset(dweight, 0, DDP_CBLOCK * sizeof *dweight);
    memset(dbias, 0, DDP_CBLOCK * sizeof *dbias);
    for (int n = 0; n < k->call->in[0]->n; n++) {
        const float *sum = sums_of(k, n) + block * DDP_CBLOCK;
        for (int j = 0; j < DDP_CBLOCK; j++) {
            dbias[j] += sum[j];
            dweight[j] += sum[k->c16 + j];
        }
    }
}

/* layer_norm: gradients of the weights of a channel block's elements. */
static void elements_task(void *ctx, int block)
{
    const struct work *k = ctx;
    const struct ddp_op_call *call = k->call;
    const int P = pixels(k);
    const size_t floats = (size_t)P * DDP_CBLOCK;
    float *dweight = (P > 1 ? k->grads : call->grad[0]) + block * floats,
          *dbias = (P > 1 ? k->grads + k->blocks * floats : call->grad[1]) + block * floats;
    memset(dweight, 0, floats * sizeof *dweight);
    memset(dbias, 0, floats * sizeof *dbias);
    for (int n = 0; n < call->in[0]->n; n++)
        ddp_group_norm_kernels()->elements(k->h, k->w, &k->coef[(size_t)n * k->blocks + block],
                                           ddp_plane_of(call->in[0], n, block),
                                           ddp_plane_of(call->dout, n, block), dweight, dbias);
    if (P == 1)
        return;
    for (int j = 0; j < DDP_CBLOCK && block * DDP_CBLOCK + j < k->c; j++) {
        const int64_t at = (int64_t)(block * DDP_CBLOCK + j) * P;
        for (int q = 0; q < P; q++) {
            call->grad[0][at + q] = dweight[q * DDP_CBLOCK + j];
            call->grad[1][at + q] = dbias[q * DDP_CBLOCK + j];
        }
    }
}

static void backward(const struct ddp_op_call *call)
{
    struct work k = work_of(call);
    prepare_scale(&k);
    if (k.affine) { /* zeros past the last element */
        const size_t bytes = (size_t)ddp_layout_size(&call->plan->params[0]) * sizeof(float);
        memset(call->grad[0], 0, bytes);
        memset(call->grad[1], 0, bytes);
    }
    ddp_parallel(call->pool, call->in[0]->n, backward_task, &k);
    if (k.affine)
        ddp_parallel(call->pool, k.blocks, k.form.elements ? elements_task : channels_task, &k);
}

const struct ddp_op ddp_op_group_norm = {
    .name = "group_norm",
    .doc = "normalise groups of channels of each sample, then scale and shift each channel",
    .conf_bytes = sizeof(struct ddp_group_norm_conf),
    .keys = group_keys,
    .nin = 1,
    .plan = group_plan,
    .forward = forward,
    .backward = backward,
    .device = &ddp_group_norm_device,
};

const struct ddp_op ddp_op_layer_norm = {
    .name = "layer_norm",
    .doc = "normalise each sample over all of its elements, then scale and shift each element",
    .conf_bytes = sizeof(struct ddp_group_norm_conf),
    .keys = layer_keys,
    .nin = 1,
    .plan = layer_plan,
    .forward = forward,
    .backward = backward,
    .device = &ddp_layer_norm_device,
};
