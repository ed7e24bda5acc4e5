/* Device passes against the CPU's: loss, right answers and the gradient of every tensor, for all shipped
 * models and for every op. DDP_CUDA_PLUGIN names the plug-in, the emulated one or a real one; GPU_TESTS=1:
 * without a device the test is skipped. */
#include "model/random_graph.h"
#include "passes.h"

#include <math.h>

#include "device/opened.h"
#include "engine/gpu/private.h"
#include "ops/point/point_kernels.h"
#include "reduce/flat_kernels.h"

enum { SHARDS = 3 };

static bool real; /* a GPU is meant, GPU_TESTS=1 */

static void *up(const void *from, size_t bytes)
{
    void *host = pinned(bytes), *to = device(bytes);
    memcpy(host, from, bytes);
    api->copy(stream, to, host, bytes);
    idle();
    api->release_pinned(gpu, host);
    return to;
}

static void down(void *to, const void *from, size_t bytes)
{
    void *host = pinned(bytes);
    api->copy(stream, host, from, bytes);
    idle();
    memcpy(to, host, bytes);
    api->release_pinned(gpu, host);
}

/* ---- one model on both sides ---- */

struct input { /* shards of the same pictures for both */
    int batch, n[SHARDS];
    size_t picture;
    uint8_t *bytes; /* [SHARDS][batch][picture] */
    float *pixels;
    int32_t *label;
    int64_t *sample;
};

static const struct ddp_augment augment = {.mean = {0.5f, 0.4f, 0.6f}, .inv_std = {4, 3, 5}};

static struct input make_input(struct ddp_shape s, int classes, int batch, const int *n)
{
    struct input in = {.batch = batch, .picture = (size_t)s.c * (size_t)s.h * (size_t)s.w};
    const size_t all = (size_t)SHARDS * (size_t)batch;
    in.bytes = ddp_calloc(all, in.picture);
    in.pixels = ddp_calloc(all * in.picture, sizeof(float));
    in.label = ddp_calloc(all, sizeof *in.label);
    in.sample = ddp_calloc(all, sizeof *in.sample);
    for (size_t i = 0; i < all; i++) {
        in.label[i] = (int32_t)(i * 7 % (size_t)classes);
        in.sample[i] = (int64_t)i * 13 + 5;
        for (size_t k = 0; k < in.picture; k++)
            in.bytes[i * in.picture + k] =
                (uint8_t)(ddp_philox4((uint32_t)k, (uint32_t)i, 0, 0, 3).v[0] >> 24);
        ddp_augment_apply(&augment, s, in.bytes + i * in.picture, 1, 0, in.sample[i],
                          in.pixels + i * in.picture);
    }
    for (int i = 0; i < SHARDS; i++)
        in.n[i] = n[i];
    return in;
}

static void free_input(struct input *in)
{
    free(in->bytes);
    free(in->pixels);
    free(in->label);
    free(in->sample);
}

struct outcome { /* gradients plain, tensor after tensor in the order of their names */
    float loss[SHARDS];
    int64_t correct[SHARDS];
    float *plain[SHARDS];
};

static int64_t plain_floats(const struct ddp_flat *f)
{
    int64_t n = 0;
    for (int i = 0; i < f->ntensors; i++)
        n += ddp_layout_plain_size(&f->tensor[i].param);
    return n;
}

/* Tensor `rank` by name: the flat layouts of two models may differ in their order. */
static const struct ddp_flat_tensor *by_name(const struct ddp_flat *f, int rank)
{
    for (int i = 0; i < f->ntensors; i++) {
        int before = 0;
        for (int j = 0; j < f->ntensors; j++)
            before += strcmp(f->tensor[j].name, f->tensor[i].name) < 0;
        if (before == rank)
            return &f->tensor[i];
    }
    fail_msg("two tensors of one name");
    return NULL;
}

static float *to_plain(const struct ddp_flat *f, const float *flat)
{
    float *plain = ddp_calloc((size_t)plain_floats(f) + 1, sizeof *plain), *at = plain;
    for (int i = 0; i < f->ntensors; i++) {
        const struct ddp_flat_tensor *t = by_name(f, i);
        ddp_layout_unpack(&t->param, flat + t->offset, at);
        at += ddp_layout_plain_size(&t->param);
    }
    return plain;
}

static void run_cpu(const struct ddp_model *m, const struct input *in, bool train, struct outcome *out)
{
    const struct ddp_flat *f = ddp_model_flat(m);
    float *params = ddp_pages_alloc((size_t)f->total * 4), *leaf[SHARDS];
    struct ddp_shard shard[SHARDS];
    int shards = SHARDS;
    const bool sync = ddp_model_needs_sync(m);
    struct ddp_cpu_pass_conf conf = {
        .training = train, .resident = sync ? SHARDS : 1, .seed = 1, .sync = sum_leaves, .sync_ctx = &shards};
    struct ddp_cpu_pass *cpu;
    ddp_model_init(m, 7, params);
    for (int i = 0; i < SHARDS; i++) {
        const size_t at = (size_t)i * (size_t)in->batch;
        leaf[i] = ddp_pages_alloc((size_t)f->total * 4);
        shard[i] = (struct ddp_shard){.n = in->n[i],
                                      .pixels = in->pixels + at * in->picture,
                                      .label = in->label + at,
                                      .sample = in->sample + at};
    }
    assert_int_equal(ddp_cpu_pass_create(m, &conf, &cpu, NULL), 0);
    const int64_t count = in->n[0] + in->n[1] + in->n[2];
    for (int i = 0; i < SHARDS; i += conf.resident) {
        assert_int_equal(ddp_cpu_pass_forward(cpu, params, shard + i, conf.resident, 2, count, out->loss + i,
                                              out->correct + i, NULL),
                         0);
        if (train)
            assert_int_equal(ddp_cpu_pass_backward(cpu, params, leaf + i, conf.resident, NULL, NULL, NULL),
                             0);
    }
    for (int i = 0; i < SHARDS; i++) {
        out->plain[i] = to_plain(f, leaf[i]);
        ddp_pages_free(leaf[i], (size_t)f->total * 4);
    }
    ddp_cpu_pass_destroy(cpu);
    ddp_pages_free(params, (size_t)f->total * 4);
}

/* The sum over all shards by the device's own kernel. */
static void device_sync(void *ctx, struct ddp_gpu_stream *s, int width, const double *leaves, double *sum)
{
    static const int32_t merges[SHARDS] = {0, 1, 1};
    (void)ctx;
    const struct ddp_gpu_shards_args a = {.count = width,
                                          .row = width,
                                          .shards = SHARDS,
                                          .leaves = leaves,
                                          .merges = up(merges, sizeof merges),
                                          .out = sum};
    api->kernels->flat->sum_shards(s, &a);
    idle();
    api->release(gpu, (void *)a.merges);
}

static void no_report(void *ctx, int i, int64_t lo, int64_t hi)
{
    (void)ctx, (void)i, (void)lo, (void)hi;
}

static void run_gpu(const struct ddp_model *m, const struct input *in, bool train, enum ddp_gpu_type type,
                    int branches, struct outcome *out)
{
    const struct ddp_flat *f = ddp_model_flat(m);
    const struct ddp_gpu_identity id = {.device = "test"};
    struct ddp_gpu_lock *lock = ddp_gpu_lock_create(&id);
    const struct ddp_gpu_pass_conf conf = {.api = api,
                                           .gpu = gpu,
                                           .model = m,
                                           .training = train,
                                           .shards = SHARDS,
                                           .branches = branches,
                                           .type = type,
                                           .seed = 1,
                                           .augment = augment,
                                           .lock = lock,
                                           .sync = device_sync};
    struct ddp_error err = {0};
    struct ddp_gpu_pass *p;
    if (ddp_gpu_pass_create(&conf, &p, &err) != 0 || ddp_gpu_pass_allocate(p, &err) != 0)
        fail_msg("%s", err.text);
    float *host = ddp_pages_alloc((size_t)f->total * 4);
    ddp_model_init(m, 7, host);
    float *params = up(host, (size_t)f->total * 4), *loss = device(SHARDS * 4), *leaf[SHARDS];
    int32_t *correct = device(SHARDS * 4);
    void *weights = type == DDP_GPU_F32 ? params : device((size_t)f->total * 2);
    const struct ddp_gpu_cast_args cast = {.type = type, .count = f->total, .f = params, .t = weights};
    if (type != DDP_GPU_F32)
        api->kernels->point->cast_from_float(stream, &cast);
    const struct ddp_gpu_step step = {.epoch = 2, .count = in->n[0] + in->n[1] + in->n[2]};
    const size_t all = (size_t)SHARDS * (size_t)in->batch;
    struct ddp_gpu_step *dstep = up(&step, sizeof step);
    uint8_t *bytes = up(in->bytes, all * in->picture);
    int32_t *label = up(in->label, all * 4), *n = up(in->n, sizeof in->n);
    int64_t *sample = up(in->sample, all * 8);
    struct ddp_gpu_shard shard[SHARDS];
    for (int i = 0; i < SHARDS; i++) {
        const size_t at = (size_t)i * (size_t)in->batch;
        leaf[i] = device((size_t)f->total * 4);
        api->zero(stream, leaf[i], (size_t)f->total * 4);
        shard[i] = (struct ddp_gpu_shard){
            .pixels = bytes + at * in->picture, .sample = sample + at, .label = label + at, .n = n + i};
    }
    const int beside = ddp_gpu_pass_beside(p);
    assert_int_equal(ddp_gpu_pass_branches(p), branches);
    assert_int_equal(beside, ddp_model_needs_sync(m) && train ? SHARDS : branches);
    for (int i = 0; i < SHARDS; i += beside) {
        const int of = SHARDS - i < beside ? SHARDS - i : beside;
        ddp_gpu_pass_forward(p, stream, params, weights, shard + i, of, dstep, NULL, loss + i, correct + i);
        if (train)
            ddp_gpu_pass_backward(p, stream, params, weights, leaf + i, of, no_report, NULL);
    }
    int32_t right[SHARDS];
    down(out->loss, loss, sizeof out->loss);
    down(right, correct, sizeof right);
    for (int i = 0; i < SHARDS; i++) {
        out->correct[i] = right[i];
        down(host, leaf[i], (size_t)f->total * 4);
        for (int t = 0; t < f->ntensors; t++) { /* padding between tensors is left alone */
            const struct ddp_flat_tensor *x = &f->tensor[t];
            const int64_t end = t + 1 < f->ntensors ? x[1].offset : f->metrics;
            for (int64_t k = x->offset + x->size; k < end; k++)
                assert_true(host[k] == 0);
        }
        out->plain[i] = to_plain(f, host);
        api->release(gpu, leaf[i]);
    }
    if (weights != params)
        api->release(gpu, weights);
    void *const memory[] = {params, loss, correct, dstep, bytes, label, n, sample};
    for (size_t i = 0; i < DDP_COUNT(memory); i++)
        api->release(gpu, memory[i]);
    ddp_pages_free(host, (size_t)f->total * 4);
    ddp_gpu_pass_destroy(p);
    ddp_gpu_lock_destroy(lock);
}

/* Difference of each tensor over all shards, in the Euclidean norm, as a part of its own norm. A gradient
 * that is zero but for rounding (a bias in front of a batch norm) is measured against the largest of all.
 *
 * A real GPU's convolutions round in ways of their own, and an input of a ReLU or a maximum that is zero but
 * for rounding then goes the other way: one in a million, and it moves a gradient by one part in the root of
 * its terms. */
static void compare(const char *what, const struct ddp_flat *f, const struct outcome *a,
                    const struct outcome *b, bool train, double tolerance)
{
    const double allowed = real && tolerance < 1e-3 ? 10 * tolerance : tolerance;
    double norm[256] = {0}, off[256] = {0}, largest = 0;
    int64_t at = 0;
    for (int i = 0; i < SHARDS; i++) {
        if (!(fabs(a->loss[i] - b->loss[i]) <= tolerance * (fabs(a->loss[i]) + 1)))
            fail_msg("%s: loss of shard %d: %g on the CPU, %g on the device", what, i, a->loss[i],
                     b->loss[i]);
        if (tolerance < 1e-3)
            assert_int_equal(a->correct[i], b->correct[i]);
    }
    assert_true(f->ntensors <= 256);
    for (int t = 0; train && t < f->ntensors; t++) {
        const int64_t end = at + ddp_layout_plain_size(&by_name(f, t)->param);
        for (; at < end; at++)
            for (int i = 0; i < SHARDS; i++) {
                const double x = a->plain[i][at], d = x - b->plain[i][at];
                norm[t] += x * x;
                off[t] += d * d;
            }
        largest = fmax(largest, norm[t]);
    }
    for (int t = 0; train && t < f->ntensors; t++)
        if (!(sqrt(off[t]) <= allowed * sqrt(fmax(norm[t], 1e-6 * largest))))
            fail_msg("%s: '%s' differs by %g of %g", what, by_name(f, t)->name, sqrt(off[t]), sqrt(norm[t]));
}

static void check(const char *what, struct ddp_config *cfg, struct ddp_shape shape, int batch, const int *n,
                  bool train, enum ddp_gpu_type type, double tolerance)
{
    struct ddp_model *cpu, *dev;
    struct ddp_error err = {0};
    /* on the CPU every layer by itself: nothing is fused, no flatten is only a name */
    const int classes = strcmp(cfg->model.name, "inline") == 0 ? 0 : 10;
    if (ddp_model_build(cfg, shape, classes, batch, DDP_BUILD_NO_FUSE | DDP_BUILD_NO_ALIAS, &cpu, &err) !=
            0 ||
        ddp_model_build(cfg, shape, classes, batch, DDP_BUILD_GPU, &dev, &err) != 0)
        fail_msg("%s", err.text);
    const struct ddp_layer *loss = &cpu->layer[cpu->nlayers - 1];
    struct input in = make_input(shape, loss->shape[0].c, batch, n);
    struct outcome a, b;
    run_cpu(cpu, &in, train, &a);
    run_gpu(dev, &in, train, type, 1, &b);
    compare(what, ddp_model_flat(cpu), &a, &b, train, tolerance);
    for (int i = 0; i < SHARDS; i++)
        free(a.plain[i]), free(b.plain[i]);
    free_input(&in);
    ddp_model_destroy(cpu);
    ddp_model_destroy(dev);
}

/* ---- tests ---- */

static const int full[SHARDS] = {4, 4, 4}, ragged[SHARDS] = {4, 3, 0};

static const struct {
    const char *name;
    struct ddp_shape shape;
    double
        narrow; /* tolerance in bf16, where the model is small enough for it to mean something; 0: not run */
} models[] = {{"linear", {1, 28, 28}, 0.03},    {"linear", {3, 8, 8}, 0.03},
              {"mlp", {3, 8, 8}, 0.15},         {"lenet5", {1, 28, 28}, 0.1},
              {"mnist_cnn", {1, 28, 28}, 0.25}, {"fashion_cnn", {1, 28, 28}, 0},
              {"resnet8", {3, 8, 8}, 0}};

static void test_pass_models_agree_with_the_cpu(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(models); i++)
        for (int r = 0; r < 2; r++)
            check(models[i].name, config_named(models[i].name), models[i].shape, 4, r ? ragged : full, true,
                  DDP_GPU_F32, 2e-4);
}

static void test_pass_evaluation_agrees_with_the_cpu(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(models); i++)
        check(models[i].name, config_named(models[i].name), models[i].shape, 4, ragged, false, DDP_GPU_F32,
              2e-4);
}

static void test_pass_narrow_types_agree_roughly(void **state)
{
    struct ddp_gpu_info info;
    (void)state;
    assert_int_equal(api->info(0, &info, NULL), 0);
    for (size_t i = 0; i < DDP_COUNT(models); i++)
        for (enum ddp_gpu_type type = DDP_GPU_BF16; type <= DDP_GPU_F16; type++)
            if (models[i].narrow > 0 && (type != DDP_GPU_BF16 || info.bf16))
                check(models[i].name, config_named(models[i].name), models[i].shape, 4, ragged, true, type,
                      models[i].narrow);
}

/* Every op, and what only a graph can get wrong: fusions, gradients that are added, flattens that reorder,
 * synchronised statistics. */
static const struct {
    const char *what, *layers;
    struct ddp_shape shape;
} graphs[] = {
    {"conv stride, bias, relu",
     "{type=\"conv2d\", out=10, kernel=3, stride=2, padding=1}, {type=\"relu\"}, {type=\"flatten\"},"
     "{type=\"linear\", out=5}, {type=\"softmax_cross_entropy\"}",
     {3, 9, 7}},
    {"grouped conv, oblong kernel",
     "{type=\"conv2d\", out=16, kernel=1}, {type=\"conv2d\", out=16, kernel=3, kernel_w=1, groups=2},"
     "{type=\"global_avg_pool\"}, {type=\"flatten\"}, {type=\"linear\", out=5}, "
     "{type=\"softmax_cross_entropy\", "
     "label_smoothing=0.1}",
     {2, 6, 6}},
    {"dilated conv, same padding, stride and dilation",
     "{type=\"conv2d\", out=16, kernel=3, padding=\"same\", dilation=2}, {type=\"relu\"},"
     "{type=\"conv2d\", out=16, kernel=3, padding=\"same\"}, {type=\"relu\"},"
     "{type=\"conv2d\", out=7, kernel=3, padding=2, dilation=2, stride=2}, {type=\"flatten\"},"
     "{type=\"linear\", out=5}, {type=\"softmax_cross_entropy\"}",
     {3, 9, 8}},
    {"residual, two readers, relu behind add",
     "{type=\"conv2d\", name=\"a\", out=8, kernel=3, padding=1}, {type=\"relu\", name=\"r\"},"
     "{type=\"conv2d\", name=\"b\", out=8, kernel=3, padding=1}, {type=\"add\", input=[\"b\", \"r\"]}, "
     "{type=\"relu\"},"
     "{type=\"global_avg_pool\"}, {type=\"flatten\"}, {type=\"linear\", out=4}, "
     "{type=\"softmax_cross_entropy\"}",
     {3, 5, 5}},
    {"add that nothing takes along",
     "{type=\"gelu\", name=\"g\"}, {type=\"conv2d\", name=\"c\", out=3, kernel=1},"
     "{type=\"silu\", name=\"s\"}, {type=\"add\", input=[\"g\", \"s\"]}, {type=\"relu\"},"
     "{type=\"flatten\"}, {type=\"linear\", out=4}, {type=\"mse\"}",
     {3, 4, 4}},
    {"norm with residual",
     "{type=\"conv2d\", name=\"a\", out=12, kernel=1, bias=false}, {type=\"batch_norm\", name=\"n\"},"
     "{type=\"relu\", name=\"r\"}, {type=\"conv2d\", name=\"b\", out=12, kernel=3, padding=1, bias=false},"
     "{type=\"batch_norm\", name=\"m\"}, {type=\"add\", input=[\"m\", \"r\"]}, {type=\"relu\"},"
     "{type=\"global_avg_pool\"}, {type=\"flatten\"}, {type=\"linear\", out=4}, "
     "{type=\"softmax_cross_entropy\"}",
     {3, 6, 6}},
    {"norm without affine",
     "{type=\"conv2d\", out=8, kernel=1}, {type=\"batch_norm\", affine=false}, {type=\"global_avg_pool\"}, "
     "{type=\"flatten\"},"
     "{type=\"linear\", out=4}, {type=\"softmax_cross_entropy\"}",
     {3, 4, 4}},
    {"synchronised norm",
     "{type=\"conv2d\", out=8, kernel=1}, {type=\"batch_norm\", sync=true}, {type=\"relu\"},"
     "{type=\"conv2d\", out=8, kernel=1, bias=false}, {type=\"batch_norm\", sync=true, affine=false},"
     "{type=\"global_avg_pool\"}, {type=\"flatten\"}, {type=\"linear\", out=4}, "
     "{type=\"softmax_cross_entropy\"}",
     {3, 4, 4}},
    {"norm of vectors",
     "{type=\"linear\", out=20}, {type=\"batch_norm\"}, {type=\"relu\"}, {type=\"linear\", out=4}, "
     "{type=\"mse\"}",
     {1, 4, 4}},
    {"pools",
     "{type=\"conv2d\", out=5, kernel=1}, {type=\"max_pool\", kernel=3, stride=2, padding=1},"
     "{type=\"avg_pool\", kernel=2, stride=1, padding=1, count_include_pad=false}, {type=\"avg_pool\", "
     "kernel=2},"
     "{type=\"flatten\"}, {type=\"linear\", out=4}, {type=\"softmax_cross_entropy\"}",
     {3, 9, 9}},
    {"group norm, leaky relu, tanh",
     "{type=\"conv2d\", out=12, kernel=3}, {type=\"group_norm\", groups=3}, {type=\"leaky_relu\", slope=0.2},"
     "{type=\"conv2d\", out=10, kernel=1}, {type=\"group_norm\", groups=2, affine=false}, {type=\"tanh\"},"
     "{type=\"flatten\"}, {type=\"linear\", out=4}, {type=\"softmax_cross_entropy\"}",
     {3, 6, 5}},
    {"layer norm of pictures and vectors, sigmoid",
     "{type=\"conv2d\", out=5, kernel=3}, {type=\"layer_norm\"}, {type=\"sigmoid\"}, {type=\"flatten\"},"
     "{type=\"linear\", out=20}, {type=\"layer_norm\"}, {type=\"tanh\"}, {type=\"layer_norm\", affine=false},"
     "{type=\"linear\", out=4}, {type=\"softmax_cross_entropy\"}",
     {3, 6, 6}},
    {"concat of blocks, of part blocks, of vectors, of one with itself",
     "{type=\"conv2d\", name=\"a\", out=16, kernel=1}, {type=\"relu\", name=\"r\"},"
     "{type=\"conv2d\", name=\"b\", out=5, kernel=1}, {type=\"concat\", name=\"ab\", input=[\"r\", \"b\"]},"
     "{type=\"concat\", name=\"abb\", input=[\"ab\", \"b\"]}, {type=\"concat\", input=[\"abb\", \"abb\"]},"
     "{type=\"global_avg_pool\"}, {type=\"flatten\"}, {type=\"linear\", name=\"l\", out=6},"
     "{type=\"sigmoid\", name=\"s\"}, {type=\"concat\", input=[\"s\", \"l\"]}, {type=\"linear\", out=4},"
     "{type=\"softmax_cross_entropy\"}",
     {3, 5, 4}},
    {"dropout of pictures and vectors",
     "{type=\"conv2d\", out=20, kernel=3}, {type=\"dropout\", p=0.3}, {type=\"flatten\"},"
     "{type=\"linear\", out=17}, {type=\"dropout\", p=0.5}, {type=\"linear\", out=4},"
     "{type=\"softmax_cross_entropy\"}",
     {1, 6, 6}},
};

static void test_pass_graphs_agree_with_the_cpu(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(graphs); i++)
        for (int r = 0; r < 2; r++)
            check(graphs[i].what, config_layers(graphs[i].layers), graphs[i].shape, 4, r ? ragged : full,
                  true, DDP_GPU_F32, 1e-4);
}

static void test_pass_of_what_is_read_twice_agrees_with_the_cpu(void **state)
{
    (void)state;
    for (int i = 0; i < nread_twice; i++)
        check(read_twice[i].layers, config_layers(read_twice[i].layers), read_twice[i].input, 4, ragged, true,
              DDP_GPU_F32, 1e-4);
}

static void test_pass_random_graphs_agree_with_the_cpu(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 40; seed++) {
        struct ddp_shape input;
        const char *layers = random_graph(seed, RANDOM_SMOOTH | RANDOM_SYNC, &input);
        char what[8192];
        snprintf(what, sizeof what, "graph %u:\n%s\n", seed, layers);
        check(what, config_layers(layers), input, 4, seed % 2 ? ragged : full, true, DDP_GPU_F32, 2e-4);
    }
}

/* Runs m, and expects every bit of `want`. */
static void expect_bits(const struct ddp_model *m, const struct input *in, enum ddp_gpu_type type,
                        int branches, const struct outcome *want)
{
    struct outcome got;
    run_gpu(m, in, true, type, branches, &got);
    assert_memory_equal(got.loss, want->loss, sizeof want->loss);
    assert_memory_equal(got.correct, want->correct, sizeof want->correct);
    for (int i = 0; i < SHARDS; i++) {
        assert_memory_equal(got.plain[i], want->plain[i],
                            (size_t)plain_floats(ddp_model_flat(m)) * sizeof(float));
        free(got.plain[i]);
    }
}

/* Gradients of inputs that are left in a sum's place, or put aside, for those that are written and added. */
static void check_places(struct ddp_config *cfg, struct ddp_shape shape, enum ddp_gpu_type type, int *left,
                         int *aside)
{
    struct ddp_model *m, *moved;
    struct ddp_error err = {0};
    struct outcome want;
    const int classes = strcmp(cfg->model.name, "inline") == 0 ? 0 : 10;
    if (ddp_model_build(cfg, shape, classes, 4, DDP_BUILD_GPU, &m, &err) != 0 ||
        ddp_model_build(cfg, shape, classes, 4, DDP_BUILD_GPU | DDP_BUILD_NO_OVER, &moved, &err) != 0)
        fail_msg("%s", err.text);
    struct input in = make_input(shape, m->layer[m->nlayers - 1].shape[0].c, 4, ragged);
    run_gpu(moved, &in, true, type, 1, &want);
    expect_bits(m, &in, type, 1, &want);
    for (int s = 0; s < m->nstages; s++)
        for (int k = 0; k < m->stage[s].nin; k++) {
            *left += m->stage[s].din[k] == DDP_GRAD_LEAVE;
            *aside += m->stage[s].din[k] == DDP_GRAD_ASIDE;
        }
    for (int i = 0; i < SHARDS; i++)
        free(want.plain[i]);
    free_input(&in);
    ddp_model_destroy(m);
    ddp_model_destroy(moved);
}

static void test_pass_bits_do_not_depend_on_where_gradients_lie(void **state)
{
    struct ddp_gpu_info info;
    struct ddp_shape input;
    int left = 0, aside = 0;
    (void)state;
    assert_int_equal(api->info(0, &info, NULL), 0);
    for (enum ddp_gpu_type type = DDP_GPU_F32; type <= DDP_GPU_BF16; type++) {
        if (type == DDP_GPU_BF16 && !info.bf16)
            continue;
        models_finish();
        check_places(config_named("resnet8"), (struct ddp_shape){3, 8, 8}, type, &left, &aside);
        assert_true(left >= 3 * aside / 4 && aside >= 3); /* three blocks */
        for (size_t i = 0; i < DDP_COUNT(graphs); i++)
            check_places(config_layers(graphs[i].layers), graphs[i].shape, type, &left, &aside);
        for (int i = 0; i < nread_twice; i++)
            check_places(config_layers(read_twice[i].layers), read_twice[i].input, type, &left, &aside);
        for (uint32_t seed = 200; seed < 208; seed++) {
            const char *layers = random_graph(seed, seed % 2 ? RANDOM_SYNC : 0, &input);
            check_places(config_layers(layers), input, type, &left, &aside);
        }
    }
    assert_true(left > 50 && aside > 7);
}

/* Shards side by side, on branches of their own: not a bit is another. */
static void test_pass_bits_do_not_depend_on_branches(void **state)
{
    (void)state;
    for (uint32_t seed = 100; seed < 120; seed++) {
        struct ddp_shape input;
        struct ddp_model *m;
        struct ddp_error err = {0};
        struct outcome one;
        const char *layers = random_graph(seed, seed % 2 ? RANDOM_SYNC : 0, &input);
        assert_int_equal(ddp_model_build(config_layers(layers), input, 0, 4, DDP_BUILD_GPU, &m, &err), 0);
        struct input in = make_input(input, m->layer[m->nlayers - 1].shape[0].c, 4, ragged);
        run_gpu(m, &in, true, DDP_GPU_F32, 1, &one);
        for (int branches = 2; branches <= SHARDS; branches++)
            expect_bits(m, &in, DDP_GPU_F32, branches, &one);
        for (int i = 0; i < SHARDS; i++)
            free(one.plain[i]);
        free_input(&in);
        ddp_model_destroy(m);
    }
}

static void test_pass_refuses_what_the_device_lacks(void **state)
{
    (void)state;
    struct ddp_config *cfg =
        config_layers("{type=\"conv2d\", name=\"odd\", out=6, kernel=1, groups=3}, {type=\"flatten\"},"
                      "{type=\"linear\", out=4}, {type=\"mse\"}");
    struct ddp_error err = {0};
    struct ddp_model *m;
    assert_int_equal(ddp_model_build(cfg, (struct ddp_shape){3, 4, 4}, 0, 4, DDP_BUILD_GPU, &m, &err), 0);
    const struct ddp_gpu_identity id = {.device = "test"};
    struct ddp_gpu_lock *lock = ddp_gpu_lock_create(&id);
    const struct ddp_gpu_pass_conf conf = {
        .api = api, .gpu = gpu, .model = m, .training = true, .shards = 1, .branches = 1, .lock = lock};
    struct ddp_gpu_pass *p;
    assert_int_equal(ddp_gpu_pass_create(&conf, &p, &err), DDP_E_SHAPE);
    assert_non_null(strstr(err.text, "'odd'"));
    assert_non_null(strstr(err.text, "multiples of 8"));
    ddp_gpu_lock_destroy(lock);
    ddp_model_destroy(m);
}

static int tear_down(void **state)
{
    models_finish();
    return close_device(state);
}

int main(void)
{
    const char *asked = getenv("GPU_TESTS");
    struct ddp_error err = {0};
    int devices;
    real = asked && strcmp(asked, "1") == 0;
    if (real && ddp_gpu_api_open(&api, &err) == 0 && api->count(&devices, &err) != 0) {
        printf("skipped: no CUDA device: %s\n", err.text);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass_graphs_agree_with_the_cpu),
        cmocka_unit_test(test_pass_of_what_is_read_twice_agrees_with_the_cpu),
        cmocka_unit_test(test_pass_random_graphs_agree_with_the_cpu),
        cmocka_unit_test(test_pass_models_agree_with_the_cpu),
        cmocka_unit_test(test_pass_evaluation_agrees_with_the_cpu),
        cmocka_unit_test(test_pass_narrow_types_agree_roughly),
        cmocka_unit_test(test_pass_bits_do_not_depend_on_where_gradients_lie),
        cmocka_unit_test(test_pass_bits_do_not_depend_on_branches),
        cmocka_unit_test(test_pass_refuses_what_the_device_lacks),
    };
    return cmocka_run_group_tests(tests, open_device, tear_down);
}
