/* ddp-bench ops: forward and gradients of layers on one core, against what the core and its memory give.
 *
 * Time is CPU time of the thread (other work on the machine hardly shows), the median of several rounds; all
 * layers, the ceilings and OpenBLAS are measured in each round, so that a change of clock hits them alike.
 * "direct" is the rate of the layer's definition, what a user gets; "done" that of the products that the
 * algorithm really does (Winograd's are 36 for a tile of 4x4 instead of 144, small pictures skip the taps
 * outside), which is what the peak is compared with. Bytes are the least that any program of the pass moves,
 * and are compared with a stream over as many: what fits into a cache with that cache. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/ops/ops.h"

struct request {
    const char *filter, *openblas;
};

enum { OPENBLAS = 1 };
static const struct ddp_option options[] = {
    {"--openblas", NULL, "FILE", OPENBLAS,
     "The library that linear layers are compared with, if not libopenblas.so.0; none: no comparison."},
    BENCH_REPORT_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0}};
static const char *const usage[] = {"[options] [TEXT]", NULL};

const struct ddp_manual bench_ops_manual = {
    .name = "ddp-bench ops",
    .summary = "GFLOP/s and GB/s of the CPU kernels on one core, layer by layer, against the core's ceilings",
    .usage = usage,
    .about = "GFLOP/s and GB/s of the CPU kernels on one core, layer by layer, against the core's peak and "
             "its memory, and beside OpenBLAS where that is installed. TEXT: only layers whose name contains "
             "it. DDP_ISA=avx2 (..) chooses the instruction set.",
    .options = options,
};

static int take(void *options_, int id, const char *value, struct ddp_error *err)
{
    struct request *q = options_;
    if (id == OPENBLAS) {
        q->openblas = value;
        return 0;
    }
    if (q->filter)
        return ddp_fail(err, DDP_E_USAGE, "%s: one TEXT is enough", value);
    q->filter = value;
    return 0;
}

static int make_layers(const char *filter, struct ops_layer *layers)
{
    int n = 0;
    for (int i = 0; i < ops_nspecs; i++) {
        if (!strstr(ops_specs[i].name, filter))
            continue;
        ops_layer_make(&layers[n], &ops_specs[i], ops_specs[i].n);
        ops_bytes(&layers[n++]);
    }
    return n;
}

/* OpenBLAS beside those layers that have products of matrices. */
static int add_blas(struct bench_report *r, const char *file, struct ops_layer *layers, int n,
                    struct ddp_error *err)
{
    struct ops_blas *blas;
    const char *missing;
    int status = ops_blas_open(file, &blas, &missing, err);
    if (status == 0 && !blas)
        bench_note(r, "OpenBLAS is not beside linear layers: %s", missing);
    if (blas)
        bench_report_beside(r, ops_blas_version(blas));
    for (int i = 0; i < n && blas && status == 0; i++)
        status = ops_blas_attach(blas, &layers[i], err);
    return status;
}

static int run(struct bench_report *r, const struct request *q, struct ops_layer *layers, int n,
               struct ddp_error *err)
{
    struct ops_ceilings ceilings;
    int status = add_blas(r, q->openblas, layers, n, err);
    if (status == 0)
        status = bench_report_begin(r, err);
    if (status)
        return status;
    bench_report_pinning(r, "none: one thread, its own CPU time");
    ops_measure(r, layers, n, &ceilings);
    ops_tell(r, layers, n, &ceilings);
    return bench_report_finish(r, err);
}

int bench_ops(int argc, char **argv)
{
    struct bench_outputs outputs = {0};
    struct request q = {0};
    struct ddp_error err = {0};
    int status = bench_options_read(argc, argv, &bench_ops_manual, &outputs, take, &q);
    if (status >= 0)
        return status;
    if (ddp_cpu_select(NULL, &err)) {
        fprintf(stderr, "ddp-bench: %s\n", err.text);
        return DDP_EXIT_USAGE;
    }
    struct ops_layer *layers = ddp_calloc((size_t)ops_nspecs, sizeof *layers);
    const int n = make_layers(q.filter ? q.filter : "", layers);
    if (!n) {
        fprintf(stderr, "ddp-bench: no layer's name contains '%s'\n", q.filter);
        return DDP_EXIT_USAGE;
    }
    struct bench_report *r = bench_report_create(bench_ops_manual.name, argc, argv, &outputs);
    status = run(r, &q, layers, n, &err);
    bench_report_destroy(r);
    free(layers);
    return status ? ddp_report("ddp-bench ops", &err) : DDP_EXIT_OK;
}
