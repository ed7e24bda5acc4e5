/* Models that a seed draws: layers of all kinds, each of a shape that fits what is there. The shape is
 * carried along, so no draw is thrown away. */
#include "bench/repro/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 28, MOST_CHANNELS = 12, STREAM = 0x7a1f3b29 };

struct drawing {
    struct ddp_text *out;
    uint64_t seed;
    int64_t index;
    uint32_t draws;
    int c, h, w; /* of what the next layer reads */
    int layers;
};

/* 0 .. n-1 */
static int draw(struct drawing *d, int n)
{
    const struct ddp_philox4 r =
        ddp_philox4(d->draws++, (uint32_t)d->index, (uint32_t)((uint64_t)d->index >> 32), STREAM, d->seed);
    return (int)ddp_uniform_int(r.v[0], (uint32_t)n);
}

static bool coin(struct drawing *d)
{
    return draw(d, 2) != 0;
}

static const char *truth(struct drawing *d)
{
    return coin(d) ? "true" : "false";
}

/* A layer named l1, l2, ..; fmt: its keys behind the name, each with a comma before it. */
static void add(struct drawing *d, const char *type, const char *fmt, ...) DDP_PRINTF(3, 4);
static void add(struct drawing *d, const char *type, const char *fmt, ...)
{
    char keys[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(keys, sizeof keys, fmt, ap);
    va_end(ap);
    ddp_text_add(d->out, "%s    {type = \"%s\", name = \"l%d\"%s}", d->layers ? ",\n" : "", type,
                 d->layers + 1, keys);
    d->layers++;
}

/* ---- layers that keep the shape -------------------------------------------------------------------- */

static void add_activation(struct drawing *d)
{
    static const char *const kinds[] = {"relu", "relu", "gelu", "silu", "tanh", "sigmoid", "leaky_relu"};
    add(d, kinds[draw(d, DDP_COUNT(kinds))], "%s", "");
}

static void add_norm(struct drawing *d)
{
    const int kind = draw(d, 3);
    if (kind == 0)
        add(d, "batch_norm", ", sync = %s",
            d->h * d->w > 1 ? truth(d) : "true"); /* a shard may have one sample */
    else if (kind == 1)
        add(d, "layer_norm", "%s", "");
    else
        add(d, "group_norm", ", groups = %d", d->c % 3 == 0 ? 3 : d->c % 2 == 0 ? 2 : 1);
}

static void add_dropout(struct drawing *d)
{
    add(d, "dropout", ", p = 0.%d", 1 + draw(d, 6));
}

/* ---- layers of pictures ---------------------------------------------------------------------------- */

/* Taps of a kernel reach `span` pixels; at least one place for it is left. */
static int extent_after(int side, int span, int stride, int padding)
{
    return (side + 2 * padding - span) / stride + 1;
}

static void add_conv(struct drawing *d)
{
    const int least = d->h < d->w ? d->h : d->w, kernel = 1 + draw(d, least < 5 ? least : 5);
    const int dilation = coin(d) && kernel > 1 && 2 * (kernel - 1) + 1 <= least ? 2 : 1;
    const int span = (kernel - 1) * dilation + 1, stride = 1 + draw(d, 2), padding = draw(d, span / 2 + 1);
    const int groups = d->c % 2 == 0 && draw(d, 4) == 0 ? 2 : 1;
    const int out = groups * (1 + draw(d, MOST_CHANNELS / groups));
    add(d, "conv2d",
        ", out = %d, kernel = %d, stride = %d, padding = %d, dilation = %d, groups = %d, bias = %s", out,
        kernel, stride, padding, dilation, groups, truth(d));
    d->c = out;
    d->h = extent_after(d->h, span, stride, padding);
    d->w = extent_after(d->w, span, stride, padding);
}

static void add_pool(struct drawing *d)
{
    const int least = d->h < d->w ? d->h : d->w, kernel = 1 + draw(d, least < 3 ? least : 3);
    const int stride = 1 + draw(d, kernel), padding = draw(d, kernel / 2 + 1);
    add(d, coin(d) ? "max_pool" : "avg_pool", ", kernel = %d, stride = %d, padding = %d", kernel, stride,
        padding);
    d->h = extent_after(d->h, kernel, stride, padding);
    d->w = extent_after(d->w, kernel, stride, padding);
}

/* A convolution beside what it reads: added to it, or put behind it. */
static void add_branch(struct drawing *d)
{
    const bool sum = coin(d) || 2 * d->c > MOST_CHANNELS;
    const int from = d->layers, out = sum ? d->c : 1 + draw(d, MOST_CHANNELS - d->c);
    if (from == 0)
        return;
    add(d, "conv2d", ", out = %d, kernel = %d, padding = \"same\"", out, coin(d) ? 1 : 3);
    if (coin(d))
        add_activation(d);
    add(d, sum ? "add" : "concat", ", input = [\"l%d\", \"l%d\"]", d->layers, from);
    d->c = sum ? d->c : d->c + out;
}

static void add_pictures(struct drawing *d)
{
    static void (*const kinds[])(struct drawing *) = {add_conv,       add_conv,   add_conv,   add_pool,
                                                      add_norm,       add_norm,   add_branch, add_activation,
                                                      add_activation, add_dropout};
    const int first = 3 + draw(d, 3); /* a small picture soon: the rest costs little */
    d->c = 1 + draw(d, MOST_CHANNELS);
    add(d, "conv2d", ", out = %d, kernel = %d, stride = %d", d->c, first, first - 1);
    d->h = d->w = extent_after(SIDE, first, first - 1, 0);
    for (int n = 1 + draw(d, 6); n > 0; n--)
        kinds[draw(d, DDP_COUNT(kinds))](d);
}

/* ---- the whole ------------------------------------------------------------------------------------- */

static void add_loss(struct drawing *d)
{
    const int kind = draw(d, 5);
    if (kind < 3)
        add(d, "softmax_cross_entropy", ", label_smoothing = 0.%d", draw(d, 3));
    else
        add(d, kind == 3 ? "mse" : "huber", "%s", "");
}

static void add_layers(struct drawing *d)
{
    if (draw(d, 4) > 0)
        add_pictures(d);
    if (d->layers > 0 && draw(d, 4) == 0)
        add(d, "global_avg_pool", "%s", "");
    add(d, "flatten", "%s", "");
    d->h = d->w = 1;
    for (int n = draw(d, 3); n > 0; n--) {
        d->c = 3 + draw(d, 40);
        add(d, "linear", ", out = %d, bias = %s", d->c, truth(d));
        if (coin(d))
            add_norm(d);
        add_activation(d);
        if (draw(d, 3) == 0)
            add_dropout(d);
    }
    add(d, "linear", "%s", ", out = \"classes\"");
    add_loss(d);
}

static void add_optimizer(struct drawing *d)
{
    static const char *const kinds[][2] = {{"sgd", "0.02"},    {"sgd", "0.05"},      {"adam", "0.002"},
                                           {"adamw", "0.003"}, {"rmsprop", "0.001"}, {"lars", "0.5"},
                                           {"lamb", "0.002"}};
    static const char *const schedules[] = {"constant", "cosine", "onecycle", "poly"};
    const char *const *kind = kinds[draw(d, DDP_COUNT(kinds))];
    ddp_text_add(
        d->out, "optim: { base = \"%s\"; lr = %s; schedule = \"%s\"; warmup_steps = %d; weight_decay = %s;",
        kind[0], kind[1], schedules[draw(d, DDP_COUNT(schedules))], draw(d, 4), coin(d) ? "0.01" : "0.0");
    if (draw(d, 3) == 0)
        ddp_text_add(d->out, " clip_norm = 0.%d;", 1 + draw(d, 9));
    if (draw(d, 3) == 0)
        ddp_text_add(d->out, " ema = 0.5;");
    ddp_text_add(d->out, " };\n");
}

/* Three or four batches, and perhaps a rest of two or more. */
static void add_data(struct drawing *d, int batch)
{
    const int count = batch * (3 + draw(d, 2)) + (coin(d) ? 2 + draw(d, batch - 2) : 0);
    ddp_text_add(d->out, "data: { base = \"digits\"; train_count = %d; test_count = %d; seed = %d;", count,
                 1 + draw(d, 30), 1 + draw(d, 1000));
    ddp_text_add(d->out, " crop_padding = %d; flip = %s; cutout = %d; shuffle = %s;", draw(d, 3), truth(d),
                 draw(d, 2) * 5, draw(d, 4) ? "true" : "false");
    if (draw(d, 4) == 0)
        ddp_text_add(d->out, " crop_area = [0.%d, 1]; rotate = %d; translate = 0.%d; shear = %d;",
                     1 + draw(d, 9), draw(d, 3) * 15, draw(d, 3), draw(d, 2) * 10);
    if (draw(d, 4) == 0)
        ddp_text_add(d->out, " mixup = 0.%d;", draw(d, 10));
    if (draw(d, 4) == 0)
        ddp_text_add(d->out, " scale = [0.8, 1.%d]; brightness = 0.%d; contrast = 0.%d;", draw(d, 4),
                     draw(d, 6), draw(d, 6));
    ddp_text_add(d->out, " };\n");
}

/* The first draw of all. */
static int draw_shards(struct drawing *d)
{
    static const int counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 11, 16};
    return counts[draw(d, DDP_COUNT(counts))];
}

struct repro_model repro_draw(uint64_t seed, int64_t index)
{
    struct drawing d = {.seed = seed, .index = index};
    struct repro_model m = {.seed = seed, .index = index, .shards = draw_shards(&d), .small = index % 4 == 0};
    snprintf(m.name, sizeof m.name, "r%llu-%lld", (unsigned long long)seed, (long long)index);
    return m;
}

void repro_draw_config(const struct repro_model *m, struct ddp_text *out)
{
    struct drawing d = {.out = out, .seed = m->seed, .index = m->index, .c = 1, .h = SIDE, .w = SIDE};
    const int shards = draw_shards(&d);
    ddp_text_add(out, "seed = %d;\nmodel: { layers = (\n", 1 + draw(&d, 1000));
    add_layers(&d);
    ddp_text_add(out, "); };\n");
    const int batch = shards + 2 + draw(&d, 16);
    add_data(&d, batch);
    add_optimizer(&d);
    ddp_text_add(out, "train: { batch = %d; accumulate = %d; shards = %d;", batch, 1 + draw(&d, 2), shards);
}
