/* The dialect that our kernels (the .cu files under src) are written in, as CUDA understands it.
 * tests/emulator/dialect has a header of the same name that runs the same kernels on the CPU; a .cu file
 * includes "ddp_device.h" and knows of neither.
 *
 * Rules, so that both work (CONTRIBUTING.md has them with reasons):
 *   - one-dimensional blocks and grids: ddp_thread(), ddp_block(), ddp_threads(), ddp_blocks();
 *   - shared memory by DDP_SHARED only, barriers by DDP_SYNC() and DDP_SYNC_WARP(), which every thread of the
 *     block (warp) reaches: no return before a barrier; shuffles by all 32 lanes;
 *   - no atomics but ddp_raise(), no inline PTX, no textures, no dynamic parallelism; loads and stores
 *     through plain pointers;
 *   - multiply-adds by explicit fmaf(): nothing is contracted (-fmad=false). */
#ifndef DDP_DEVICE_H
#define DDP_DEVICE_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "device/cuda/private.h"
#include "device/kernels.h"

#define DDP_KERNEL static __global__ void
/* Of blocks of so many threads, of which so many are to have room on a multiprocessor. */
#define DDP_KERNEL_OF(threads, blocks) static __global__ void __launch_bounds__(threads, blocks)
#define DDP_DEVICE                     static __device__ __forceinline__
#define DDP_SHARED(type, name, count)  __shared__ type name[count]
#define DDP_SYNC()                     __syncthreads()
#define DDP_SYNC_WARP()                __syncwarp()

enum { DDP_WARP = 32 };

DDP_DEVICE int ddp_thread()
{
    return (int)threadIdx.x;
}
DDP_DEVICE int ddp_threads()
{
    return (int)blockDim.x;
}
DDP_DEVICE int ddp_block()
{
    return (int)blockIdx.x;
}
DDP_DEVICE int ddp_blocks()
{
    return (int)gridDim.x;
}

DDP_DEVICE float ddp_shuffle_down(float v, int delta)
{
    return __shfl_down_sync(0xffffffffu, v, (unsigned)delta);
}
DDP_DEVICE double ddp_shuffle_down(double v, int delta)
{
    return __shfl_down_sync(0xffffffffu, v, (unsigned)delta);
}
DDP_DEVICE int ddp_shuffle_down(int v, int delta)
{
    return __shfl_down_sync(0xffffffffu, v, (unsigned)delta);
}

/* *p = max(*p, v), by any threads at once: the order does not matter to a maximum. */
DDP_DEVICE void ddp_raise(int32_t *p, int32_t v)
{
    atomicMax(p, v);
}

/* High half of a product, for Philox. */
DDP_DEVICE uint32_t ddp_mulhi(uint32_t a, uint32_t b)
{
    return __umulhi(a, b);
}

/* Element types: float, ddp_bf16, ddp_f16. Conversions to them round to nearest even. */
typedef __nv_bfloat16 ddp_bf16;
typedef __half ddp_f16;

DDP_DEVICE float ddp_float(float v)
{
    return v;
}
DDP_DEVICE float ddp_float(ddp_bf16 v)
{
    return __bfloat162float(v);
}
DDP_DEVICE float ddp_float(ddp_f16 v)
{
    return __half2float(v);
}
template <class T> DDP_DEVICE T ddp_from_float(float v);
template <> __device__ __forceinline__ float ddp_from_float<float>(float v)
{
    return v;
}
template <> __device__ __forceinline__ ddp_bf16 ddp_from_float<ddp_bf16>(float v)
{
    return __float2bfloat16_rn(v);
}
template <> __device__ __forceinline__ ddp_f16 ddp_from_float<ddp_f16>(float v)
{
    return __float2half_rn(v);
}

/* Eight elements at once; p aligned to their bytes (32 for float, 16 else). */
DDP_DEVICE void ddp_load8(const float *p, float v[8])
{
    const float4 a = ((const float4 *)p)[0], b = ((const float4 *)p)[1];
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
template <class T> DDP_DEVICE void ddp_load8(const T *p, float v[8])
{
    const uint4 raw = *(const uint4 *)p;
    const T *t = (const T *)&raw;
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] = ddp_float(t[i]);
}
DDP_DEVICE void ddp_store8(float *p, const float v[8])
{
    ((float4 *)p)[0] = make_float4(v[0], v[1], v[2], v[3]);
    ((float4 *)p)[1] = make_float4(v[4], v[5], v[6], v[7]);
}
template <class T> DDP_DEVICE void ddp_store8(T *p, const float v[8])
{
    uint4 raw;
    T *t = (T *)&raw;
#pragma unroll
    for (int i = 0; i < 8; i++)
        t[i] = ddp_from_float<T>(v[i]);
    *(uint4 *)p = raw;
}

/* Four elements at once, of device memory; p aligned to their bytes (16 for float, 8 else). A warp's accesses
 * of floats are then one row. Stores by name, because the compiler takes wide ones apart where values come
 * from a loop. */
DDP_DEVICE void ddp_load4(const float *p, float v[4])
{
    const float4 a = *(const float4 *)p;
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
}
DDP_DEVICE void ddp_store4(float *p, const float v[4])
{
    __stwb((float4 *)p, make_float4(v[0], v[1], v[2], v[3]));
}
template <class T> DDP_DEVICE void ddp_store4(T *p, const float v[4])
{
    uint2 raw;
    T *t = (T *)&raw;
#pragma unroll
    for (int i = 0; i < 4; i++)
        t[i] = ddp_from_float<T>(v[i]);
    __stwb((uint2 *)p, raw);
}

/* What was loaded before this is asked for before it, too: the compiler moves no access over it. It is no
 * instruction. */
DDP_DEVICE void ddp_loaded()
{
    asm volatile("" ::: "memory");
}

/* Start a kernel: blocks may be 0, then nothing happens. A failure is kept in the stream's device. */
#define DDP_LAUNCH(stream, kernel, blocks, threads, ...)                                                     \
    do {                                                                                                     \
        const int64_t blocks_ = (blocks);                                                                    \
        if (blocks_ > 0 && ddp_stream_works(stream)) {                                                       \
            kernel<<<(unsigned)blocks_, (unsigned)(threads), 0, (cudaStream_t)ddp_stream_cuda(stream)>>>(    \
                __VA_ARGS__);                                                                                \
            ddp_stream_launched(stream, #kernel);                                                            \
        }                                                                                                    \
    } while (0)

#endif
