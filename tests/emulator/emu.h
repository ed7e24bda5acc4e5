/* The emulator that runs our CUDA kernels on the CPU, for tests (README.md). A .cu file is compiled as C++
 * with dialect/ddp_device.h in place of the CUDA one; each thread of a block is then a fiber (a plain call
 * while it does not block), scheduled in random order between barriers, and blocks are taken in random order.
 *
 * Two libraries have this interface:
 *   ddp_emu_plain     kernels without instrumentation: fast; diverged barriers and bad launches are found.
 *   ddp_emu_checked   kernels compiled with -fsanitize=thread whose hooks are ours (shadow.cpp): besides,
 *                     races within a block and between blocks, accesses out of bounds or misaligned, and
 *                     reads of memory that nothing wrote are found.
 *
 * A fault prints one line ("emu: ...") and counts. With a stand-in for the runtime (emu_on_launch set) it
 * aborts the process; alone it does not, but a process that ends with faults nobody cleared exits with 1. The
 * environment overrides: DDP_EMU_FATAL=0 or 1. After an access out of bounds, a misaligned one and a diverged
 * barrier the launch is given up; after the others it goes on.
 *
 * Launches: DDP_LAUNCH captures the arguments by value and runs the kernel at once. A stand-in for streams
 * sets emu_on_launch and gets the launch instead, to run it when its turn comes, once or, from a graph, many
 * times.
 *
 * Environment:
 *   DDP_EMU_SEED=n         order of threads and blocks
 *   DDP_EMU_KERNELS=FILE   written when the process ends: the names of the kernels that ran, one on a line
 *   DDP_EMU_FATAL=0|1      as above
 *
 * All functions may be called from any thread of the host; launches run one at a time. */
#ifndef DDP_EMU_H
#define DDP_EMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- device memory ----
 * What a kernel may touch is memory from emu_alloc, its shared memory, its stack and its arguments. Fresh
 * memory is all ones (NaN) and counts as unwritten. Each allocation has pages of its own between pages that
 * belong to none, so that a stand-in may close it to the host while no kernel runs (emu_alloc_pages). */
void *emu_alloc(size_t bytes); /* NULL: the 4 GiB of the emulated device are used up */
void emu_free(void *p);        /* NULL is fine; touching it afterwards, by anyone, is a fault or SIGSEGV */
size_t emu_alloc_pages(const void *p, void **first); /* bytes of the whole pages of p, an emu_alloc() */
/* Whether all of it lies in one live allocation: what a copy has to ask first. */
bool emu_owns(const void *p, size_t bytes);
/* The host (a copy, a collective) wrote it; or made it as good as fresh: filled with ones, unwritten. */
void emu_mark_written(const void *p, size_t bytes);
void emu_poison(void *p, size_t bytes);
/* The first byte that nothing wrote, or -1. The plain library cannot tell: -1. */
int64_t emu_unwritten(const void *p, size_t bytes);
/* Of suites: copies that mark, and that count as a fault what is out of bounds or was not written. */
void emu_copy_in(void *device, const void *host, size_t bytes);
void emu_copy_out(void *host, const void *device, size_t bytes);

/* ---- launches ---- */
struct emu_work; /* a kernel with its arguments */
/* Set by the stand-in for streams: takes the launch over and frees it. cuda_stream:
 * ddp_stream_cuda() of it. */
extern void (*emu_on_launch)(void *cuda_stream, struct emu_work *work);
void emu_work_run(struct emu_work *work); /* now, in this thread; any number of times */
void emu_work_free(struct emu_work *work);
const char *emu_work_name(const struct emu_work *work); /* as written in DDP_LAUNCH */
int64_t emu_work_blocks(const struct emu_work *work);
int emu_work_threads(const struct emu_work *work);

/* ---- faults ---- */
enum emu_fault {
    EMU_RACE,        /* two threads of a block, no barrier between them */
    EMU_RACE_BLOCKS, /* two blocks of a launch */
    EMU_BOUNDS,      /* neither device memory, shared memory, stack nor arguments */
    EMU_ALIGNMENT,
    EMU_UNWRITTEN, /* read of what nothing wrote */
    EMU_DIVERGED,  /* not all threads reach one barrier, or not all lanes one shuffle */
    EMU_LAUNCH,    /* more threads, blocks, shared memory or arguments than a GPU takes */
    EMU_HOST,      /* the host's part of a .cu file touches device memory */
    EMU_FAULTS
};
long emu_faults(void); /* of all kinds since the last clear */
long emu_fault_count(enum emu_fault kind);
const char *emu_last_fault(void); /* its line; "" when there is none */
void emu_clear_faults(void);      /* they were expected */
void emu_set_fatal(bool fatal);
/* For stand-ins that find a fault of their own. */
void emu_fault(enum emu_fault kind, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void emu_set_seed(uint64_t seed);
bool emu_checked(void); /* is this ddp_emu_checked? */
/* Since the start: what was done, for tests of the emulator and for speed. */
struct emu_counts {
    int64_t launches, blocks, threads, switches, accesses;
};
struct emu_counts emu_totals(void);

#ifdef __cplusplus
}
#endif
#endif
