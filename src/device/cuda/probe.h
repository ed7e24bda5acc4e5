/* Trying out a plan on the device before it is taken: does it run, can it be captured in a graph, how long
 * does it take? Only while plans are made. */
#ifndef DDP_CUDA_PROBE_H
#define DDP_CUDA_PROBE_H

#include <cuda_runtime_api.h>

#include "device/api.h"

enum { DDP_PROBE_OPERANDS = 3 };

struct ddp_probe {
    void *operand[DDP_PROBE_OPERANDS]; /* zeroed */
    void *workspace;
    size_t workspace_bytes;
    cudaStream_t stream;
    cudaEvent_t begin, end;
};

/* DDP_E_RESOURCE with the bytes that were wanted. */
int ddp_probe_create(const size_t bytes[DDP_PROBE_OPERANDS], struct ddp_probe *p, struct ddp_error *err);
void ddp_probe_destroy(struct ddp_probe *p); /* zeroed or half-built is fine */
/* At least so many bytes of workspace. */
int ddp_probe_workspace(struct ddp_probe *p, size_t bytes, struct ddp_error *err);

/* What is tried: enqueue it once on p's stream, with p's memory. false: why says what the library said. */
typedef bool (*ddp_probe_fn)(void *ctx, const struct ddp_probe *p, char *why, size_t size);

/* Run it once, then once under capture, and if microseconds is not NULL as often as it takes to time it.
 * *works false: why. DDP_E_DEVICE: the device is no longer usable. */
int ddp_probe_try(struct ddp_probe *p, ddp_probe_fn run, void *ctx, bool *works, float *microseconds,
                  char *why, size_t size, struct ddp_error *err);

#endif
