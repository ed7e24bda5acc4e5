/* The part of CUDA's runtime that plans are tried with, as a clock and some counters: device memory is the
 * host's, work runs when it is enqueued and takes as long as fake_work() is told. For tests of how plans are
 * chosen. */
#ifndef DDP_TESTS_FAKE_CUDART_H
#define DDP_TESTS_FAKE_CUDART_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

struct fake_cudart {
    double clock_us;
    int live; /* allocations, streams, events, graphs that are there */
    int major;
    bool capturing;
    bool capture_broken;        /* what was enqueued cannot be captured */
    void *set;                  /* what was last memset: a result, before it is computed */
    void (*replay)(void);       /* what a launch of the captured graph does; NULL: nothing is computed */
    int launches, wrong_launch; /* of graphs; the one that leaves another bit than eager runs, from 1 */
    size_t memory;              /* largest allocation; 0: any */
    cudaError_t at_synchronize; /* the next synchronize fails so */
    bool lost;                  /* and everything after it */
    char failure[512];          /* of ddp_stream_fail; "" none */
};
extern struct fake_cudart fake;

/* A kernel of a library's: takes time unless it is captured. */
void fake_work(double us, bool capturable);
double fake_clock(void); /* for ddp_probe_clock */
void fake_reset(void);

#endif
