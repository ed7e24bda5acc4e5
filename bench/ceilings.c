/* Peaks, measured on many cores at once: all threads go through the same kernels at the same time. The
 * best of some tries counts, by the threads' own CPU time: what else runs on the machine makes a try
 * worse, and is not what is asked. Bytes go by the clock on the wall: memory is shared by those that run. */
#include "bench/ceilings.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"
#include "bench/report/private.h"
#include "ops/ops.h"

enum { TRIES = 12, FLOATS = 4 << 20 }; /* three arrays of 16 MB a thread */
static const long ROUNDS = 200000;

struct lane {
    pthread_t thread;
    pthread_barrier_t *all;
    int cpu; /* -1: any */
    float *array;
    struct bench_ceilings best;
};

static double thread_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *measure(void *arg)
{
    struct lane *l = arg;
    float sink = 0;
    cpu_set_t one;
    CPU_ZERO(&one);
    if (l->cpu >= 0) {
        CPU_SET(l->cpu, &one);
        sched_setaffinity(0, sizeof one, &one); /* where it cannot be, numbers are those of any CPU */
    }
    for (long i = 0; i < 3L * FLOATS; i++)
        l->array[i] = 1;
    const struct bench_peak_kernels *k = bench_peak_kernels();
    for (int try = 0; try < TRIES; try++) {
        pthread_barrier_wait(l->all);
        double from = thread_now();
        const double done = k->run(ROUNDS, &sink);
        l->best.flops = fmax(l->best.flops, done / (thread_now() - from));
        l->best.ghz = fmax(l->best.ghz, bench_clock_probe()); /* while it is warm */
        pthread_barrier_wait(l->all);
        from = ddp_now();
        const double bytes = k->triad(l->array, l->array + FLOATS, l->array + 2L * FLOATS, FLOATS);
        l->best.bytes = fmax(l->best.bytes, bytes / (ddp_now() - from));
    }
    l->array[0] = sink;
    return NULL;
}

/* The i-th CPU that we may use; -1: there are not so many. */
static int nth_cpu(int i)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set) && i-- == 0)
            return cpu;
    return -1;
}

int bench_ceilings_measure(int threads, struct bench_ceilings *out, struct ddp_error *err)
{
    struct lane *lane = ddp_calloc((size_t)threads, sizeof *lane);
    pthread_barrier_t all;
    const size_t bytes = 3UL * FLOATS * sizeof(float);
    int status = ddp_cpu_select(NULL, err), made = 0, started = 0;
    pthread_barrier_init(&all, NULL, (unsigned)threads);
    *out = (struct bench_ceilings){0};
    for (; made < threads && status == 0; made++) {
        lane[made] = (struct lane){.all = &all, .cpu = nth_cpu(made), .array = ddp_pages_alloc(bytes)};
        if (!lane[made].array)
            status = ddp_fail(err, DDP_E_RESOURCE, "no memory for arrays of %zu bytes on %d threads", bytes,
                              threads);
    }
    for (; started < threads && status == 0; started++)
        if (pthread_create(&lane[started].thread, NULL, measure, &lane[started]) != 0)
            abort(); /* those that are there wait for the others */
    for (int i = 0; i < started; i++) {
        pthread_join(lane[i].thread, NULL);
        out->flops += lane[i].best.flops / threads;
        out->bytes += lane[i].best.bytes / threads;
        out->ghz += lane[i].best.ghz / threads;
    }
    for (int i = 0; i < made; i++)
        if (lane[i].array)
            ddp_pages_free(lane[i].array, bytes);
    pthread_barrier_destroy(&all);
    free(lane);
    return status;
}
