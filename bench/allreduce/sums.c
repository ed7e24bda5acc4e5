/* What ranks on CPUs and on GPUs have in common: whether sums are right, the slowest's time, calls. */
#include <stdlib.h>

#include "bench/allreduce/allreduce.h"

static const double ROUND_S = 0.02; /* as in peers/mpi_allreduce.c */
enum { MOST_CALLS = 1000 };

int64_t bench_reduce_wrong(const float *sum, int64_t count, int ranks)
{
    int64_t wrong = 0;
    for (int64_t i = 0; i < count; i++) {
        float want = 0;
        for (int r = 0; r < ranks; r++)
            want += bench_reduce_input(i, r);
        wrong += sum[i] != want;
    }
    return wrong;
}

int bench_reduce_largest(struct ddp_comm *c, double *value, struct ddp_error *err)
{
    double *all = ddp_calloc((size_t)c->size, sizeof *all);
    const int status = ddp_comm_allgather(c, value, all, sizeof *value, err);
    for (int r = 0; r < c->size && status == 0; r++)
        *value = all[r] > *value ? all[r] : *value;
    free(all);
    return status;
}

int bench_reduce_calls(double once)
{
    const double n = ROUND_S / (once > 1e-9 ? once : 1e-9);
    return n < 1 ? 1 : n > MOST_CALLS ? MOST_CALLS : (int)n;
}
