/* Rounds: ceilings, then each layer's passes, ours and OpenBLAS's one behind the other. */
#include <math.h>

#include "bench/ops/ops.h"

/* Calls in some 2 ms, by rates that a core may have; a few, or the first one's cold caches would count. */
static int repeats(const struct ops_layer *l, int pass)
{
    const double flops = ops_has_products(l->spec) ? l->plan.flops * l->spec->n : 0,
                 seconds = fmax(flops / 1e11, l->bytes[pass] / 2e10);
    return 3 + (int)fmin(2e-3 / seconds, 1000);
}

static void measure(struct ops_layer *l, int round)
{
    const struct ops_pass *pass = l->spec->passes;
    for (int p = 0; p < l->npasses; p++) {
        const int repeat = repeats(l, p);
        const double from = ops_now();
        for (int i = 0; i < repeat; i++)
            ops_layer_run(l, &pass[p]);
        l->seconds[p][round] = (ops_now() - from) / repeat;
    }
    for (int p = 0; p + 1 < l->npasses; p++)
        if (pass[p].data && !pass[p].weights && !pass[p].forward)
            l->seconds[p][round] -= l->seconds[p + 1][round]; /* both less the weights' alone */
}

static void measure_blas(struct ops_layer *l, int round)
{
    for (int p = 0; p < l->npasses; p++) {
        const int repeat = repeats(l, p);
        const double from = ops_now();
        for (int i = 0; i < repeat; i++)
            ops_blas_run(l, p);
        ops_blas_seconds(l, p)[round] = (ops_now() - from) / repeat;
    }
}

void ops_measure(struct bench_report *r, struct ops_layer *layers, int n, struct ops_ceilings *c)
{
    for (int round = -1; round < OPS_ROUNDS; round++) { /* the first warms up */
        const int to = round < 0 ? 0 : round;
        ops_ceilings_measure(c, to);
        bench_report_clock(r);
        for (int i = 0; i < n; i++) {
            measure(&layers[i], to);
            if (layers[i].blas)
                measure_blas(&layers[i], to);
        }
    }
}
