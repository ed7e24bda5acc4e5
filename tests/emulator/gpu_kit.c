/* The suites of kernels on a real GPU: what they call of emu.h, on memory of the CUDA runtime, and the
 * streams of the plug-in, all the default stream, with a look at the device after every launch. A fault is an
 * error that the runtime reports, or a copy out of bounds; races, accesses out of bounds and reads of memory
 * that nothing wrote are for compute-sanitizer to find (CONTRIBUTING.md) and for the emulator.
 *
 * The program's main() is wrapped (-Wl,--wrap=main): without a device it says so and ends with 77.
 *
 * GPU_KIT_MANAGED: memory that the host may touch between launches, for suites whose host does. */
#include <cuda_runtime_api.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda/private.h"
#include "emu.h"

enum { SKIP = 77 };

struct area { /* of device memory, in a list */
    char *p;
    size_t bytes;
    struct area *next;
};
static struct area *areas;
static long faults;
static char last[512];
/* initcheck looks for reads of memory that nothing wrote: DDP_GPU_FRESH=keep does not fill it. */
static bool fill;

static void fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void fault(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(last, sizeof last, fmt, ap);
    va_end(ap);
    faults++;
    fprintf(stderr, "gpu: %s\n", last);
}

static bool good(cudaError_t e, const char *what)
{
    if (e != cudaSuccess)
        fault("%s: %s (%s)", what, cudaGetErrorString(e), cudaGetErrorName(e));
    return e == cudaSuccess;
}

/* ---- device memory ---- */

void *emu_alloc(size_t bytes)
{
    struct area *a = calloc(1, sizeof *a);
    void *p = NULL;
    if (!a)
        return NULL;
#ifdef GPU_KIT_MANAGED
    cudaError_t e = cudaMallocManaged(&p, bytes, cudaMemAttachGlobal);
#else
    cudaError_t e = cudaMalloc(&p, bytes);
#endif
    if (!good(e, "allocating device memory")) {
        free(a);
        return NULL;
    }
    *a = (struct area){p, bytes, areas};
    areas = a;
    if (fill)
        emu_poison(p, bytes);
    return p;
}

void emu_free(void *p)
{
    for (struct area **a = &areas; p && *a; a = &(*a)->next) {
        struct area *old = *a;
        if (old->p != p)
            continue;
        *a = old->next;
        free(old);
        good(cudaFree(p), "freeing device memory");
        return;
    }
    if (p)
        fault("freeing %p, which is no device memory", p);
}

bool emu_owns(const void *p, size_t bytes)
{
    for (const struct area *a = areas; a; a = a->next) {
        const size_t at = (size_t)((const char *)p - a->p); /* wraps where p is below */
        if (at <= a->bytes && bytes <= a->bytes - at)
            return true;
    }
    return false;
}

void emu_mark_written(const void *p, size_t bytes)
{
    (void)p, (void)bytes;
}

void emu_poison(void *p, size_t bytes)
{
    if (good(cudaMemset(p, 0xff, bytes), "filling device memory"))
        good(cudaDeviceSynchronize(), "filling device memory");
}

/* The first byte that is as it was when fresh: as much as can be told here. */
int64_t emu_unwritten(const void *p, size_t bytes)
{
    if (!fill)
        return 0;
    unsigned char *host = malloc(bytes);
    int64_t found = -1;
    emu_copy_out(host, p, host ? bytes : 0);
    for (size_t i = 0; host && i < bytes && found < 0; i++)
        if (host[i] == 0xff)
            found = (int64_t)i;
    free(host);
    return found;
}

void emu_copy_in(void *device, const void *host, size_t bytes)
{
    if (!emu_owns(device, bytes))
        fault("a copy of %zu bytes to %p, which is out of bounds", bytes, device);
    else
        good(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice), "a copy to the device");
}

void emu_copy_out(void *host, const void *device, size_t bytes)
{
    if (!emu_owns(device, bytes))
        fault("a copy of %zu bytes from %p, which is out of bounds", bytes, device);
    else
        good(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost), "a copy from the device");
}

/* ---- faults; the order of threads and blocks is the device's ---- */

long emu_faults(void)
{
    return faults;
}
const char *emu_last_fault(void)
{
    return last;
}
void emu_clear_faults(void)
{
    faults = 0;
}
void emu_set_seed(uint64_t seed)
{
    (void)seed;
}

/* ---- the plug-in's streams ---- */

void *ddp_stream_cuda(struct ddp_gpu_stream *s)
{
    (void)s;
    return NULL;
}
bool ddp_stream_works(const struct ddp_gpu_stream *s)
{
    (void)s;
    return true;
}
void ddp_stream_launched(struct ddp_gpu_stream *s, const char *what)
{
    (void)s;
    if (good(cudaGetLastError(), what))
        good(cudaDeviceSynchronize(), what);
}

/* ---- the program ---- */

int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);
int __wrap_main(int argc, char **argv)
{
    int devices = 0;
    const cudaError_t e = cudaGetDeviceCount(&devices);
    if (e == cudaErrorNoDevice || e == cudaErrorInsufficientDriver || e == cudaErrorStubLibrary ||
        (e == cudaSuccess && devices == 0)) { /* anything else is a broken machine */
        printf("skipped: no CUDA device: %s\n", e ? cudaGetErrorString(e) : "none is visible");
        return SKIP;
    }
    if (!good(e, "CUDA does not start"))
        return 1;
    const char *fresh = getenv("DDP_GPU_FRESH");
    fill = !fresh || strcmp(fresh, "keep") != 0;
    const int code = __real_main(argc, argv);
    return faults > 0 && code == 0 ? 1 : code;
}
