/* What the machine gives at most: floating-point operations in registers, bytes from memory, cycles, on one
 * core alone and on many at once. */
#ifndef DDP_BENCH_CEILINGS_H
#define DDP_BENCH_CEILINGS_H

#include "ddp/error.h"

struct bench_ceilings { /* of one thread, on average */
    double flops;       /* a second: multiply-adds in registers */
    double bytes;       /* a second: a = b + c / 2 over arrays that no cache holds */
    double ghz;         /* one addition a cycle */
};

/* Of `threads` threads at the same time, each on a CPU of its own where there are as many (of those that
 * we may use, in their order). A quarter of a second. DDP_E_RESOURCE: no memory, no threads. */
int bench_ceilings_measure(int threads, struct bench_ceilings *out, struct ddp_error *err);

#endif
