/* N devices in one thread, for tests of what the reduction enqueues: calls are only noted, and run later, the
 * work of all streams of all devices interleaved at random as far as events and exchanges allow. So an order
 * that nobody asked for shows as a different result. Kernels are the emulator's. Collective calls of all
 * devices must match: kind, count, root and their order. */
#ifndef TESTS_CUDA_EMU_FAKE_DEVICE_H
#define TESTS_CUDA_EMU_FAKE_DEVICE_H

#include "device/api.h"

struct fake_world;

struct fake_world *fake_world_create(int devices);
void fake_world_destroy(struct fake_world *w);
struct ddp_gpu *fake_gpu(struct fake_world *w, int device);
struct ddp_gpu_comm *fake_comm(struct fake_world *w, int device);
const struct ddp_gpu_api *fake_api(void);

/* Run all that was enqueued, in an order drawn from seed. Fails the test when nothing can go on. */
void fake_run(struct fake_world *w, uint32_t seed);
/* Floats that one device has sent to another; all-gathers that there were; floats that a device had behind
 * all collective calls, its own among them. */
int64_t fake_sent(const struct fake_world *w, int from, int to);
int64_t fake_gathers(const struct fake_world *w);
int64_t fake_spread(const struct fake_world *w);
/* Bytes of device memory that are allocated, each rounded up to DDP_GPU_ALIGN. */
size_t fake_bytes(const struct fake_world *w, int device);

#endif
