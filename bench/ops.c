/* ddp-bench ops: forward, data gradient and weight gradient of the layers that decide how fast training is.
 *
 * Time is CPU time of the thread (other work on the machine hardly shows), the median of several rounds;
 * all layers and the peak are measured in each round, so that a change of clock hits them alike. "direct" is
 * the rate of the layer's definition, what a user gets; "done" that of the products that the algorithm really
 * does (Winograd's are 16 for a tile of 2x2 instead of 36, small pictures skip the taps outside), which is
 * what the peak is compared with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "bench/report.h"
#include "bench/stats.h"
#include "ops/ops.h"
#include "ops/builtin.h"

struct layer_spec {
    const char *name;
    const struct ddp_op *op;
    int c, h, w, k, kernel, stride, pad, n;
};

#define CONV   &ddp_op_conv2d
#define LINEAR &ddp_op_linear
static const struct layer_spec specs[] = {
    {"mnist conv1 1-32 28x28", CONV, 1, 28, 28, 32, 3, 1, 0, 16},
    {"mnist conv2 32-64 26x26", CONV, 32, 26, 26, 64, 3, 1, 0, 64},
    {"mnist conv2 32-64 26x26", CONV, 32, 26, 26, 64, 3, 1, 0, 16},
    {"resnet 64-64 32x32", CONV, 64, 32, 32, 64, 3, 1, 1, 16},
    {"resnet 128-128 16x16", CONV, 128, 16, 16, 128, 3, 1, 1, 16},
    {"resnet 256-256 8x8", CONV, 256, 8, 8, 256, 3, 1, 1, 16},
    {"resnet 512-512 4x4", CONV, 512, 4, 4, 512, 3, 1, 1, 16},
    {"resnet 64-128 /2 32x32", CONV, 64, 32, 32, 128, 3, 2, 1, 16},
    {"resnet 64-128 1x1 /2", CONV, 64, 32, 32, 128, 1, 2, 0, 16},
    {"resnet stem 3-64 32x32", CONV, 3, 32, 32, 64, 3, 1, 1, 16},
    {"mnist fc1 9216-128", LINEAR, 64, 12, 12, 128, 0, 0, 0, 64},
    {"mnist fc1 9216-128", LINEAR, 64, 12, 12, 128, 0, 0, 0, 16},
    {"mnist fc1 9216-128", LINEAR, 64, 12, 12, 128, 0, 0, 0, 8},
};

enum { PASSES = 3, ROUNDS = 7 };
static const char *const passes[PASSES] = {"forward", "data gradient", "weight gradient"};

struct layer {
    const struct layer_spec *spec;
    void *conf;
    struct ddp_layer_plan plan;
    struct ddp_tensor in, out, dout, din;
    struct ddp_op_call call;
    double seconds[PASSES][ROUNDS];
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Memory of the benchmark lives until it ends. */
static float *floats(int64_t n)
{
    float *p = ddp_pages_alloc((size_t)n * sizeof *p);
    if (!p) {
        fprintf(stderr, "ddp-bench: no memory for %lld floats\n", (long long)n);
        exit(DDP_EXIT_RESOURCE);
    }
    return p;
}

static uint32_t state = 1;

static void fill(float *p, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

static void make_tensor(struct ddp_tensor *t, bool features, int n, struct ddp_shape s, int halo)
{
    int64_t lead = 0,
            size = features ? ddp_tensor_features(t, n, s) : ddp_tensor_pictures(t, n, s, halo, &lead);
    t->p = floats(size) + lead;
    int64_t plain = (int64_t)n * s.c * s.h * s.w;
    float *values = floats(plain);
    fill(values, plain);
    ddp_tensor_pack(values, t);
    ddp_pages_free(values, (size_t)plain * sizeof *values);
}

static void set(const struct ddp_op *op, void *conf, const char *name, int64_t value)
{
    for (const struct ddp_key *k = op->keys; k->name; k++)
        if (!strcmp(k->name, name) && k->type == DDP_KEY_INT)
            memcpy((char *)conf + k->offset, &value, sizeof value);
}

/* The numbers that a config's layer has unless it says otherwise. */
static void set_defaults(const struct ddp_op *op, void *conf)
{
    for (const struct ddp_key *k = op->keys; k->name; k++)
        if (k->type == DDP_KEY_INT && k->dflt)
            set(op, conf, k->name, strtoll(k->dflt, NULL, 10));
}

static void make_layer(struct layer *l, const struct layer_spec *s)
{
    struct ddp_error err;
    struct ddp_shape in = {s->c, s->h, s->w};
    l->spec = s;
    l->conf = ddp_calloc(1, s->op->conf_bytes); /* no bias: its pass is memory-bound and not the subject */
    set_defaults(s->op, l->conf);
    set(s->op, l->conf, "out", s->k);
    set(s->op, l->conf, "kernel", s->kernel);
    set(s->op, l->conf, "stride", s->stride);
    set(s->op, l->conf, "padding", s->pad);
    if (s->op->plan(l->conf, &in, 1, s->n, &l->plan, &err)) {
        fprintf(stderr, "ddp-bench: %s: %s\n", s->name, err.text);
        exit(DDP_EXIT_USAGE);
    }
    bool f = l->plan.features;
    make_tensor(&l->in, f, s->n, in, l->plan.in_halo);
    make_tensor(&l->din, f, s->n, in, l->plan.in_halo);
    make_tensor(&l->out, f, s->n, l->plan.out, 0);
    make_tensor(&l->dout, f, s->n, l->plan.out, l->plan.dout_halo);
    int64_t weights = ddp_layout_size(&l->plan.params[0]);
    l->call = (struct ddp_op_call){.conf = l->conf,
                                   .plan = &l->plan,
                                   .training = true,
                                   .nin = 1,
                                   .in = {&l->in},
                                   .out = &l->out,
                                   .dout = &l->dout,
                                   .param = {floats(weights)},
                                   .grad = {floats(weights)},
                                   .scratch = floats((int64_t)(l->plan.scratch_bytes / sizeof(float)) + 16)};
    fill(l->call.param[0], weights);
    ddp_layout_unpack(&l->plan.params[0], l->call.param[0], l->call.grad[0]);
    ddp_layout_pack(&l->plan.params[0], l->call.grad[0], l->call.param[0]);
}

/* One round: the weight gradient alone, then both gradients; the difference is the data gradient. */
static void measure(struct layer *l, int round)
{
    const struct ddp_op *op = l->spec->op;
    double flops = l->plan.flops * l->spec->n;
    int repeat = 1 + (int)(2e8 / flops);
    for (int pass = 0; pass < PASSES; pass++) {
        l->call.din[0] = pass == 1 ? &l->din : NULL;
        double t = now();
        for (int i = 0; i < repeat; i++) {
            if (pass == 0)
                op->forward(&l->call);
            else
                op->backward(&l->call);
        }
        l->seconds[pass][round] = (now() - t) / repeat;
    }
    l->seconds[1][round] -= l->seconds[2][round];
}

static const struct ddp_option options[] = {BENCH_REPORT_OPTIONS, DDP_COMMON_OPTIONS, {0}};
static const char *const usage[] = {"[options] [TEXT]", NULL};

const struct ddp_manual bench_ops_manual = {
    .name = "ddp-bench ops",
    .summary = "GFLOP/s of the CPU kernels on one core, layer by layer, against the core's peak",
    .usage = usage,
    .about = "GFLOP/s of the CPU kernels on one core, layer by layer, against the core's peak. TEXT: only "
             "layers whose "
             "name contains it. DDP_ISA=avx2 (..) chooses the instruction set.",
    .options = options,
};

/* An exit status, or -1: go on. */
static int parse(int argc, char **argv, const char **filter, struct bench_outputs *outputs)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value;
    *filter = NULL;
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        int rc = ddp_option_next(&walk, &bench_ops_manual, &id, &value, &err);
        if (rc == 0 && ddp_manual_answer(&bench_ops_manual, id))
            return DDP_EXIT_OK;
        if (rc == 0 && id == DDP_OPTION_WORD && *filter)
            rc = ddp_fail(&err, DDP_E_USAGE, "%s: one TEXT is enough", value);
        if (rc != 0) {
            ddp_say("ddp-bench ops", "%s", err.text);
            return DDP_EXIT_USAGE;
        }
        if (!bench_outputs_take(outputs, id, value) && id == DDP_OPTION_WORD)
            *filter = value;
    }
    *filter = *filter ? *filter : "";
    return -1;
}

static int make_layers(const char *filter, struct layer *layers)
{
    int n = 0;
    for (size_t i = 0; i < DDP_COUNT(specs); i++)
        if (strstr(specs[i].name, filter))
            make_layer(&layers[n++], &specs[i]);
    return n;
}

static void measure_all(struct bench_report *r, struct layer *layers, int n, double peak[ROUNDS])
{
    float sink = 0;
    for (int round = -1; round < ROUNDS; round++) { /* the first warms up */
        const int to = round < 0 ? 0 : round;
        const double t = now(), flops = bench_peak_kernels()->run(3000000, &sink);
        peak[to] = flops / (now() - t);
        bench_report_clock(r);
        for (int i = 0; i < n; i++)
            measure(&layers[i], to);
    }
}

static const struct bench_column columns[] = {
    {"layer", "layer", NULL},
    {"batch", "batch", "%.0f"},
    {"pass", "pass", NULL},
    {"algorithm", "algorithm", NULL},
    {"ms", "ms", "%.3f"},
    {"direct_gflops", "direct", "%.1f"},
    {"done_gflops", "done", "%.1f"},
    {"percent_of_peak", "%peak", "%.1f"},
    {"spread_percent", "+-%", "%.1f"},
};

static const struct bench_plot plot = {.kind = BENCH_BARS,
                                       .title = "Kernels on one core",
                                       .x = "batch",
                                       .x_title = "row of the table, by batch",
                                       .y_title = "GFLOP/s of products done",
                                       .parts = {"done_gflops"}};

static void tell(struct bench_report *r, const struct layer *layers, int n, double peak)
{
    struct bench_table *t = bench_report_table(
        r, "layers", "GFLOP/s by the layer's definition (direct), and of the products done (done)", columns,
        DDP_COUNT(columns));
    double worst = 0;
    for (int i = 0; i < n; i++) {
        for (int pass = 0; pass < PASSES; pass++) {
            const struct ddp_layer_plan *plan = &layers[i].plan;
            const double s = bench_median(layers[i].seconds[pass], ROUNDS), batch = layers[i].spec->n,
                         done = batch * (plan->algorithm ? plan->done : plan->flops) / s,
                         spread = bench_spread(layers[i].seconds[pass], ROUNDS);
            worst = spread > worst ? spread : worst;
            bench_row(t, BENCH_TEXT(layers[i].spec->name), BENCH_NUMBER(batch), BENCH_TEXT(passes[pass]),
                      BENCH_TEXT(plan->algorithm ? plan->algorithm : "direct"), BENCH_NUMBER(s * 1e3),
                      BENCH_NUMBER(batch * plan->flops / s * 1e-9), BENCH_NUMBER(done * 1e-9),
                      BENCH_NUMBER(100 * done / peak), BENCH_NUMBER(100 * spread));
        }
    }
    bench_report_plot(r, t, &plot);
    bench_warn_spread(r, "the row that moves most", worst, 0.3);
}

static int run(struct bench_report *r, struct layer *layers, int n, struct ddp_error *err)
{
    double peak[ROUNDS];
    int status = bench_report_begin(r, err);
    if (status)
        return status;
    bench_report_pinning(r, "none: one thread, its own CPU time");
    measure_all(r, layers, n, peak);
    bench_fact_number(r, "peak_gflops", bench_median(peak, ROUNDS) * 1e-9, "peak of one core",
                      "%.1f GFLOP/s (multiply-adds in registers)");
    bench_warn_spread(r, "the peak", bench_spread(peak, ROUNDS), 0.1);
    tell(r, layers, n, bench_median(peak, ROUNDS));
    return bench_report_finish(r, err);
}

int bench_ops(int argc, char **argv)
{
    struct bench_outputs outputs = {0};
    struct ddp_error err = {0};
    const char *filter;
    int status = parse(argc, argv, &filter, &outputs);
    if (status >= 0)
        return status;
    if (ddp_cpu_select(NULL, &err)) {
        fprintf(stderr, "ddp-bench: %s\n", err.text);
        return DDP_EXIT_USAGE;
    }
    struct layer *layers = ddp_calloc(DDP_COUNT(specs), sizeof *layers);
    const int n = make_layers(filter, layers);
    if (!n) {
        fprintf(stderr, "ddp-bench: no layer's name contains '%s'\n", filter);
        return DDP_EXIT_USAGE;
    }
    struct bench_report *r = bench_report_create(bench_ops_manual.name, argc, argv, &outputs);
    status = run(r, layers, n, &err);
    bench_report_destroy(r);
    free(layers);
    return status ? ddp_report("ddp-bench ops", &err) : DDP_EXIT_OK;
}
