/* Trying out a plan on the device before it is taken: does it run, does its captured graph compute the same,
 * how long does it take? Only while plans are made. */
#ifndef DDP_CUDA_PROBE_H
#define DDP_CUDA_PROBE_H

#include <cuda_runtime_api.h>

#include "device/api.h"

enum { DDP_PROBE_OPERANDS = 4, DDP_PROBE_BIAS = 3 };

/* What one is tried with. The last is the epilogue's bias, of 0 bytes where there is none. */
struct ddp_probe_operand {
    size_t bytes;
    enum ddp_gpu_type type;
    bool result; /* the plan writes it */
};

struct ddp_probe {
    /* Numbers that look random: what a device computes of zeros takes less power and so less time. */
    void *operand[DDP_PROBE_OPERANDS];
    struct ddp_probe_operand of[DDP_PROBE_OPERANDS];
    int result; /* which of them */
    void *workspace;
    size_t workspace_bytes;
    cudaStream_t stream;
    cudaEvent_t begin, end;
    char *seen[2]; /* host: what a run left of the result, eager and from a graph */
    /* tuning */
    double until; /* seconds of ddp_probe_clock */
    int left;     /* candidates */
};

/* How much tuning tries for one plan: candidates that work, and seconds, of which the first candidate may
 * take more. A model has up to some fifty plans. */
enum { DDP_PROBE_CANDIDATES = 16, DDP_PROBE_SECONDS = 2 };
extern double (*ddp_probe_clock)(void); /* tests have one of their own */

/* DDP_E_RESOURCE with the bytes that were wanted; DDP_E_DEVICE. */
int ddp_probe_create(const struct ddp_probe_operand of[DDP_PROBE_OPERANDS], struct ddp_probe *p,
                     struct ddp_error *err);
void ddp_probe_destroy(struct ddp_probe *p); /* zeroed or half-built is fine */
/* At least so many bytes of workspace. */
int ddp_probe_workspace(struct ddp_probe *p, size_t bytes, struct ddp_error *err);
/* Whether the budget allows one candidate more; each that worked is counted by ddp_probe_try(). */
bool ddp_probe_more(const struct ddp_probe *p);

/* What is tried: enqueue it once on p's stream, with p's memory. false: why says what the library said. */
typedef bool (*ddp_probe_fn)(void *ctx, const struct ddp_probe *p, char *why, size_t size);

/* Run it once, then capture it in a graph and launch that: both must leave the same result to the bit, at its
 * beginning and end. With a bias that is no number nothing in the result may be one. If microseconds is not
 * NULL, as often as it takes to time it. *works false: why. DDP_E_DEVICE: the device is no longer usable. */
int ddp_probe_try(struct ddp_probe *p, ddp_probe_fn run, void *ctx, bool *works, float *microseconds,
                  char *why, size_t size, struct ddp_error *err);

#endif
