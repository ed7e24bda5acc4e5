/* The CUDA runtime behind struct ddp_gpu_api: failures, devices, memory. runtime_stream.c has the rest.
 *
 * The failure of a device is sticky: what is enqueued goes through works() and ddp_cuda_keep(), so the first
 * failure is worded once and everything after it does nothing until check() has told the caller. */
#include <cuda_runtime_api.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda/private.h"
#include "device/cuda/runtime.h"

/* ---- failures ---- */

/* Whose fault an error of the runtime is: a device's, a lack of something, or a wrong call of ours. */
static int code_of(cudaError_t e)
{
    switch (e) {
    case cudaErrorMemoryAllocation:
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorDevicesUnavailable:
        return DDP_E_RESOURCE;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureImplicit:
        return DDP_E_INTERNAL;
    default:
        return DDP_E_DEVICE;
    }
}

int ddp_cuda_word(struct ddp_error *err, const struct ddp_gpu *gpu, cudaError_t e, const char *what)
{
    const char *name = cudaGetErrorName(e), *text = cudaGetErrorString(e);
    if (e == cudaErrorNoKernelImageForDevice)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "GPU %d (%s): %s: the CUDA plug-in has no code for compute capability %d.%d; build "
                        "it with -DDDP_CUDA_ARCH=native",
                        gpu->device, gpu->name, what, gpu->major, gpu->minor);
    if (e == cudaErrorDevicesUnavailable)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "GPU %d (%s): %s: another process has it for itself (nvidia-smi shows which; compute "
                        "mode 'Default' lets several in)",
                        gpu->device, gpu->name, what);
    return ddp_fail(err, code_of(e), "GPU %d (%s): %s: %s (%s)", gpu->device, gpu->name, what, text, name);
}

bool ddp_gpu_works(const struct ddp_gpu *gpu)
{
    return gpu->first.code == 0;
}

void ddp_gpu_fail(struct ddp_gpu *gpu, int code, const char *fmt, ...)
{
    if (!ddp_gpu_works(gpu))
        return;
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ddp_fail(&gpu->first, code, "GPU %d (%s): %s", gpu->device, gpu->name, text);
}

void ddp_cuda_keep(struct ddp_gpu *gpu, cudaError_t e, const char *what)
{
    if (e == cudaSuccess)
        return;
    (void)cudaGetLastError(); /* or the next launch would be blamed for it */
    if (ddp_gpu_works(gpu))
        ddp_cuda_word(&gpu->first, gpu, e, what);
}

int ddp_gpu_ordinal(const struct ddp_gpu *gpu)
{
    return gpu->device;
}

int ddp_cuda_check(struct ddp_gpu *gpu, struct ddp_error *err)
{
    if (ddp_gpu_works(gpu))
        return 0;
    return ddp_fail(err, gpu->first.code, "%s", gpu->first.text);
}

/* ---- devices: nothing before gpu_open() creates a context, so a launcher may look around ---- */

static int gpu_count(int *n, struct ddp_error *err)
{
    int devices = 0, driver = 0, runtime = 0;
    cudaError_t e = cudaGetDeviceCount(&devices);
    (void)cudaGetLastError();
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (e == cudaErrorInsufficientDriver && driver == 0)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "no NVIDIA driver: libcuda.so.1 cannot be loaded; install the driver, or train on "
                        "the CPU with device=cpu");
    if (e == cudaErrorInsufficientDriver)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "the NVIDIA driver is too old: it knows CUDA %d.%d, the plug-in was built with CUDA "
                        "%d.%d; update the driver, build with "
                        "an older toolkit (12.4 and newer will do), or train on the CPU with device=cpu",
                        driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (e == cudaErrorStubLibrary)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "the libcuda.so.1 that was loaded is the toolkit's stub, not a driver: take the "
                        "toolkit's stubs folder off LD_LIBRARY_PATH");
    if (e == cudaErrorNoDevice || (e == cudaSuccess && devices == 0)) {
        const char *visible = getenv("CUDA_VISIBLE_DEVICES");
        if (visible)
            return ddp_fail(err, DDP_E_RESOURCE,
                            "no CUDA device: CUDA_VISIBLE_DEVICES is '%s', which names none that is there",
                            visible);
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "no CUDA device: the driver knows CUDA %d.%d but sees no GPU (does nvidia-smi -L show one?)",
            driver / 1000, driver % 1000 / 10);
    }
    if (e != cudaSuccess)
        return ddp_fail(err, DDP_E_RESOURCE, "CUDA does not start: %s (%s)", cudaGetErrorString(e),
                        cudaGetErrorName(e));
    *n = devices;
    return 0;
}

static int gpu_info(int device, struct ddp_gpu_info *out, struct ddp_error *err)
{
    struct cudaDeviceProp p;
    cudaError_t e = cudaGetDeviceProperties(&p, device);
    struct ddp_gpu_info i = {0};
    if (e == cudaSuccess)
        e = cudaDeviceGetPCIBusId(i.pci, sizeof i.pci, device);
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        return ddp_fail(err, DDP_E_RESOURCE, "GPU %d: cannot be asked: %s (%s)", device,
                        cudaGetErrorString(e), cudaGetErrorName(e));
    }
    for (char *c = i.pci; *c; c++) /* as the kernel and hwloc write it */
        if (*c >= 'A' && *c <= 'F')
            *c = (char)(*c - 'A' + 'a');
    snprintf(i.name, sizeof i.name, "%s", p.name);
    /* The runtime gives the bytes of a UUID only; a slice of a GPU is told by its name. */
    const unsigned char *u = (const unsigned char *)p.uuid.bytes;
    int len = snprintf(i.uuid, sizeof i.uuid, "%s", strstr(p.name, " MIG ") ? "MIG-" : "GPU-");
    for (int b = 0; b < 16; b++)
        len += snprintf(i.uuid + len, sizeof i.uuid - (size_t)len, "%s%02x",
                        b == 4 || b == 6 || b == 8 || b == 10 ? "-" : "", u[b]);
    i.sms = p.multiProcessorCount;
    i.major = p.major;
    i.minor = p.minor;
    i.memory = p.totalGlobalMem;
    i.bf16 = p.major >= 8;
    *out = i;
    return 0;
}

static int gpu_open(int device, struct ddp_gpu **out, struct ddp_error *err)
{
    struct ddp_gpu_info info = {0};
    int code = gpu_info(device, &info, err);
    if (code)
        return code;
    if (info.major < 7)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "GPU %d (%s): compute capability %d.%d; ddp needs 7.0 (Volta) or newer: device=cpu",
                        device, info.name, info.major, info.minor);
    struct ddp_gpu *gpu = calloc(1, sizeof *gpu);
    if (!gpu)
        return ddp_fail(err, DDP_E_RESOURCE, "GPU %d (%s): out of host memory", device, info.name);
    gpu->device = device;
    gpu->major = info.major;
    gpu->minor = info.minor;
    snprintf(gpu->name, sizeof gpu->name, "%s", info.name);
    cudaError_t e = cudaSetDevice(device); /* makes the context */
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        code = ddp_cuda_word(err, gpu, e, "cannot be opened");
        free(gpu);
        return code;
    }
    *out = gpu;
    return 0;
}

static void gpu_close(struct ddp_gpu *gpu)
{
    free(gpu); /* the context goes with the process: others (NCCL's threads) may still use it */
}

/* ---- memory ---- */

static int gpu_memory(struct ddp_gpu *gpu, size_t *avail, size_t *total, struct ddp_error *err)
{
    size_t f = 0, t = 0;
    cudaError_t e = cudaMemGetInfo(&f, &t);
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        return ddp_cuda_word(err, gpu, e, "size of its memory");
    }
    *avail = f;
    *total = t;
    return 0;
}

static int gpu_alloc(struct ddp_gpu *gpu, size_t bytes, void **out, struct ddp_error *err)
{
    void *p = NULL;
    size_t size = bytes > 0 ? bytes : 1; /* an address of its own for everything */
    cudaError_t e = cudaMalloc(&p, size);
    if (e == cudaErrorMemoryAllocation) {
        size_t f = 0, t = 0;
        (void)cudaGetLastError();
        (void)cudaMemGetInfo(&f, &t);
        return ddp_fail(err, DDP_E_RESOURCE,
                        "GPU %d (%s): out of memory: %zu MiB wanted, %zu MiB of %zu MiB free; a smaller "
                        "train.batch, fewer "
                        "ranks on this GPU, or train.precision=bf16 takes less",
                        gpu->device, gpu->name, bytes >> 20, f >> 20, t >> 20);
    }
    if (e == cudaSuccess)
        e = cudaMemset(p, 0, size);
    if (e == cudaSuccess)
        e = cudaDeviceSynchronize(); /* our streams do not wait for the default one, which writes the zeros */
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        (void)cudaFree(p);
        return ddp_cuda_word(err, gpu, e, "memory");
    }
    *out = p;
    return 0;
}

static void gpu_release(struct ddp_gpu *gpu, void *p)
{
    (void)gpu;
    if (p && cudaFree(p) != cudaSuccess)
        (void)cudaGetLastError(); /* the device is lost, or was before: there is nothing left to free */
}

static int gpu_alloc_pinned(struct ddp_gpu *gpu, size_t bytes, void **out, struct ddp_error *err)
{
    void *p = NULL;
    size_t size = bytes > 0 ? bytes : 1;
    cudaError_t e = cudaHostAlloc(&p, size, cudaHostAllocDefault);
    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return ddp_fail(err, DDP_E_RESOURCE,
                        "GPU %d (%s): no %zu KiB of pinned host memory: the host has too little left, or a "
                        "limit (ulimit -l) "
                        "stands in the way",
                        gpu->device, gpu->name, bytes >> 10);
    }
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        return ddp_cuda_word(err, gpu, e, "pinned memory");
    }
    memset(p, 0, size);
    *out = p;
    return 0;
}

static void gpu_release_pinned(struct ddp_gpu *gpu, void *p)
{
    (void)gpu;
    if (p && cudaFreeHost(p) != cudaSuccess)
        (void)cudaGetLastError();
}

void ddp_cuda_runtime_fill(struct ddp_gpu_api *api)
{
    api->count = gpu_count;
    api->info = gpu_info;
    api->open = gpu_open;
    api->close = gpu_close;
    api->check = ddp_cuda_check;
    api->memory = gpu_memory;
    api->alloc = gpu_alloc;
    api->release = gpu_release;
    api->alloc_pinned = gpu_alloc_pinned;
    api->release_pinned = gpu_release_pinned;
}
