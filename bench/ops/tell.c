/* The tables of ddp-bench ops. */
#include <math.h>

#include "bench/ops/ops.h"
#include "bench/stats.h"

static const struct bench_column columns[] = {
    {"layer", "layer", NULL},
    {"batch", "batch", "%.0f"},
    {"pass", "pass", NULL},
    {"algorithm", "algorithm", NULL},
    {"ms", "ms", "%.3f"},
    {"direct_gflops", "direct", "%.1f"},
    {"done_gflops", "done", "%.1f"},
    {"percent_of_peak", "%peak", "%.1f"},
    {"mb", "MB", "%.2f"},
    {"gb_s", "GB/s", "%.1f"},
    {"ceiling_gb_s", "at most", "%.1f"},
    {"percent_of_memory", "%memory", "%.1f"},
    {"spread_percent", "+-%", "%.1f"},
    {"op", NULL, NULL}, /* for programs: what torch_ops.py measures again */
    {"c", NULL, "%.0f"},
    {"h", NULL, "%.0f"},
    {"w", NULL, "%.0f"},
    {"out", NULL, "%.0f"},
    {"kernel", NULL, "%.0f"},
    {"stride", NULL, "%.0f"},
    {"padding", NULL, "%.0f"},
};

static const struct bench_plot plot = {.kind = BENCH_BARS,
                                       .title = "Kernels on one core",
                                       .x = "batch",
                                       .x_title = "row of the table, by batch",
                                       .y_title = "GFLOP/s of products done",
                                       .parts = {"done_gflops"}};
static const struct bench_plot plot_bytes = {.kind = BENCH_BARS,
                                             .title = "Kernels on one core",
                                             .x = "batch",
                                             .x_title = "row of the table, by batch",
                                             .y_title = "GB/s of the least bytes",
                                             .parts = {"gb_s"}};

static void row(struct bench_table *t, const struct ops_layer *l, int pass, const struct ops_ceilings *c)
{
    const struct ops_spec *s = l->spec;
    const struct ddp_layer_plan *plan = &l->plan;
    const bool products = ops_has_products(s);
    const double seconds = bench_median(l->seconds[pass], OPS_ROUNDS),
                 direct = products ? s->n * plan->flops / seconds : NAN,
                 done = products && plan->algorithm ? s->n * plan->done / seconds : direct,
                 bytes = l->bytes[pass] / seconds, most = ops_ceiling_at(c, l->bytes[pass]);
    const char *direct_name = products ? "direct" : "-";
    bench_row(t, BENCH_TEXT(s->name), BENCH_NUMBER(s->n), BENCH_TEXT(s->passes[pass].name),
              BENCH_TEXT(plan->algorithm ? plan->algorithm : direct_name), BENCH_NUMBER(seconds * 1e3),
              BENCH_NUMBER(direct * 1e-9), BENCH_NUMBER(done * 1e-9),
              BENCH_NUMBER(100 * done / bench_median(c->flops, OPS_ROUNDS)),
              BENCH_NUMBER(l->bytes[pass] * 1e-6), BENCH_NUMBER(bytes * 1e-9), BENCH_NUMBER(most * 1e-9),
              BENCH_NUMBER(100 * bytes / most),
              BENCH_NUMBER(100 * bench_spread(l->seconds[pass], OPS_ROUNDS)), BENCH_TEXT(s->op->name),
              BENCH_NUMBER(s->c), BENCH_NUMBER(s->h), BENCH_NUMBER(s->w), BENCH_NUMBER(s->k),
              BENCH_NUMBER(s->kernel), BENCH_NUMBER(s->stride), BENCH_NUMBER(s->pad));
}

static void tell_layers(struct bench_report *r, const struct ops_layer *layers, int n,
                        const struct ops_ceilings *c)
{
    struct bench_table *t = bench_report_table(
        r, "layers",
        "GFLOP/s by the layer's definition (direct), and of the products done (done); the least bytes, and "
        "what a stream over as many reaches at most",
        columns, DDP_COUNT(columns));
    double worst = 0;
    bool products = false;
    for (int i = 0; i < n; i++) {
        products |= ops_has_products(layers[i].spec);
        for (int pass = 0; pass < layers[i].npasses; pass++) {
            row(t, &layers[i], pass, c);
            worst = fmax(worst, bench_spread(layers[i].seconds[pass], OPS_ROUNDS));
        }
    }
    bench_report_plot(r, t, products ? &plot : &plot_bytes);
    bench_warn_spread(r, "the row that moves most", worst, 0.3);
}

static const struct bench_column beside[] = {
    {"layer", "layer", NULL},
    {"batch", "batch", "%.0f"},
    {"pass", "pass", NULL},
    {"gflops", "ours", "%.1f"},
    {"blas_gflops", "OpenBLAS", "%.1f"},
    {"blas_percent_of_peak", "%peak", "%.1f"},
    {"ratio", "ours / OpenBLAS", "%.2f"},
    {"blas_spread_percent", "+-%", "%.1f"},
};

static void tell_blas(struct bench_report *r, const struct ops_layer *layers, int n, double peak)
{
    struct bench_table *t = NULL;
    for (int i = 0; i < n; i++) {
        const struct ops_layer *l = &layers[i];
        for (int pass = 0; l->blas && pass < l->npasses; pass++) {
            const double flops = l->spec->n * l->plan.flops, *seconds = ops_blas_seconds(l, pass),
                         ours = bench_median(l->seconds[pass], OPS_ROUNDS),
                         theirs = bench_median(seconds, OPS_ROUNDS);
            if (!t)
                t = bench_report_table(r, "openblas", "GFLOP/s beside OpenBLAS, in the same rounds", beside,
                                       DDP_COUNT(beside));
            bench_row(t, BENCH_TEXT(l->spec->name), BENCH_NUMBER(l->spec->n),
                      BENCH_TEXT(l->spec->passes[pass].name), BENCH_NUMBER(flops / ours * 1e-9),
                      BENCH_NUMBER(flops / theirs * 1e-9), BENCH_NUMBER(100 * flops / theirs / peak),
                      BENCH_NUMBER(theirs / ours), BENCH_NUMBER(100 * bench_spread(seconds, OPS_ROUNDS)));
        }
    }
}

static const struct bench_column levels[] = {
    {"mb", "MB", "%.2f"}, {"gb_s", "GB/s", "%.1f"}, {"spread_percent", "+-%", "%.1f"}};

static void tell_levels(struct bench_report *r, const struct ops_ceilings *c)
{
    struct bench_table *t =
        bench_report_table(r, "memory", "streams of one core, a = b + c / 2, by the size of all three arrays",
                           levels, DDP_COUNT(levels));
    for (int i = 0; i < OPS_LEVELS; i++)
        bench_row(t, BENCH_NUMBER(ops_level_bytes(i) * 1e-6),
                  BENCH_NUMBER(bench_median(c->bytes[i], OPS_ROUNDS) * 1e-9),
                  BENCH_NUMBER(100 * bench_spread(c->bytes[i], OPS_ROUNDS)));
}

void ops_tell(struct bench_report *r, const struct ops_layer *layers, int n, const struct ops_ceilings *c)
{
    const double peak = bench_median(c->flops, OPS_ROUNDS);
    bench_fact_number(r, "peak_gflops", peak * 1e-9, "peak of one core",
                      "%.1f GFLOP/s (multiply-adds in registers)");
    bench_fact_number(r, "memory_gb_s", bench_median(c->bytes[OPS_LEVELS - 1], OPS_ROUNDS) * 1e-9,
                      "memory of one core", "%.1f GB/s (a = b + c / 2 over 50 MB)");
    bench_warn_spread(r, "the peak", bench_spread(c->flops, OPS_ROUNDS), 0.1);
    tell_layers(r, layers, n, c);
    tell_blas(r, layers, n, peak);
    tell_levels(r, c);
}
