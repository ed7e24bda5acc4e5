/* The dialect that our kernels (the .cu files under src) are written in, on the CPU: the same names as
 * src/device/cuda/dialect/ddp_device.h, which has the rules. What they do stands in tests/emulator/emu.h. */
#ifndef DDP_DEVICE_H
#define DDP_DEVICE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <tuple>
#include <type_traits>
#include <utility>

#include "device/cuda/private.h"
#include "ddp_float16.h"
#include "device/kernels.h"
#include "launch.h"

#if defined(__clang__)
#define DDP_KERNEL static __attribute__((noinline)) void
#else
#define DDP_KERNEL static __attribute__((noipa)) void /* so that it keeps its name and arguments */
#endif
#define DDP_KERNEL_OF(threads, blocks) DDP_KERNEL
#define DDP_DEVICE                     static inline
#define DDP_SHARED(type, name, count)                                                                        \
    static struct emu_site name##_site;                                                                      \
    type(&name)[count] = *(type(*)[count])emu_shared(&name##_site, #name, sizeof(type[count]), alignof(type))
#define DDP_SYNC()      emu_sync(__FILE__, __LINE__)
#define DDP_SYNC_WARP() emu_sync_warp(__FILE__, __LINE__)

enum { DDP_WARP = 32 };

DDP_DEVICE int ddp_thread()
{
    return emu_thread();
}
DDP_DEVICE int ddp_threads()
{
    return emu_threads();
}
DDP_DEVICE int ddp_block()
{
    return emu_block();
}
DDP_DEVICE int ddp_blocks()
{
    return emu_blocks();
}

/* The defaults name the place of the call. */
DDP_DEVICE float ddp_shuffle_down(float v, int delta, const char *file = __builtin_FILE(),
                                  int line = __builtin_LINE())
{
    return ddp_unbits((uint32_t)emu_shuffle_down(ddp_bits(v), delta, file, line));
}
DDP_DEVICE double ddp_shuffle_down(double v, int delta, const char *file = __builtin_FILE(),
                                   int line = __builtin_LINE())
{
    uint64_t u;
    __builtin_memcpy(&u, &v, 8);
    u = emu_shuffle_down(u, delta, file, line);
    __builtin_memcpy(&v, &u, 8);
    return v;
}
DDP_DEVICE int ddp_shuffle_down(int v, int delta, const char *file = __builtin_FILE(),
                                int line = __builtin_LINE())
{
    return (int)(uint32_t)emu_shuffle_down((uint32_t)v, delta, file, line);
}

DDP_DEVICE void ddp_raise(int32_t *p, int32_t v)
{
    emu_raise(p, v);
}

/* High half of a product, for Philox. */
DDP_DEVICE uint32_t ddp_mulhi(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)a * b >> 32);
}

/* Element types: float, ddp_bf16, ddp_f16. */
DDP_DEVICE float ddp_float(float v)
{
    return v;
}
DDP_DEVICE float ddp_float(ddp_bf16 v)
{
    return ddp_bf16_float(v);
}
DDP_DEVICE float ddp_float(ddp_f16 v)
{
    return ddp_f16_float(v);
}
template <class T> DDP_DEVICE T ddp_from_float(float v);
template <> inline float ddp_from_float<float>(float v)
{
    return v;
}
template <> inline ddp_bf16 ddp_from_float<ddp_bf16>(float v)
{
    return ddp_bf16_from(v);
}
template <> inline ddp_f16 ddp_from_float<ddp_f16>(float v)
{
    return ddp_f16_from(v);
}

/* COUNT elements in accesses of the widest kind, as on the device: 16 bytes, or all where they are fewer. */
template <size_t bytes> struct ddp_access {
    typedef uint32_t part __attribute__((vector_size(16), may_alias));
};
template <> struct ddp_access<8> {
    typedef uint64_t part __attribute__((may_alias));
};

/* Unrolled by hand (I is 0, 1, ...): an indexed copy stays in memory, and each of its accesses would be
 * looked at. */
template <class T, int... I>
DDP_DEVICE void ddp_load_wide(const T *p, float *v, std::integer_sequence<int, I...>)
{
    const int COUNT = sizeof...(I);
    typedef typename ddp_access<COUNT * sizeof(T)>::part part;
    union {
        part raw[COUNT * sizeof(T) / sizeof(part)];
        T t[COUNT];
    } u;
    emu_aligned(p, COUNT * sizeof(T));
    u.raw[0] = ((const part *)p)[0];
    if (sizeof u.raw > sizeof(part))
        u.raw[sizeof u.raw / sizeof(part) - 1] = ((const part *)p)[1];
    ((v[I] = ddp_float(u.t[I])), ...);
}
template <class T, int... I>
DDP_DEVICE void ddp_store_wide(T *p, const float *v, std::integer_sequence<int, I...>)
{
    const int COUNT = sizeof...(I);
    typedef typename ddp_access<COUNT * sizeof(T)>::part part;
    union {
        part raw[COUNT * sizeof(T) / sizeof(part)];
        T t[COUNT];
    } u;
    emu_aligned(p, COUNT * sizeof(T));
    ((u.t[I] = ddp_from_float<T>(v[I])), ...);
    ((part *)p)[0] = u.raw[0];
    if (sizeof u.raw > sizeof(part))
        ((part *)p)[1] = u.raw[sizeof u.raw / sizeof(part) - 1];
}

/* Eight or four elements at once; p aligned to their bytes. */
template <class T> DDP_DEVICE void ddp_load8(const T *p, float v[8])
{
    ddp_load_wide(p, v, std::make_integer_sequence<int, 8>());
}
template <class T> DDP_DEVICE void ddp_store8(T *p, const float v[8])
{
    ddp_store_wide(p, v, std::make_integer_sequence<int, 8>());
}
template <class T> DDP_DEVICE void ddp_load4(const T *p, float v[4])
{
    ddp_load_wide(p, v, std::make_integer_sequence<int, 4>());
}
template <class T> DDP_DEVICE void ddp_store4(T *p, const float v[4])
{
    ddp_store_wide(p, v, std::make_integer_sequence<int, 4>());
}

DDP_DEVICE void ddp_loaded() {}

/* What CUDA's headers declare besides C's mathematics. */
DDP_DEVICE int min(int a, int b)
{
    return b < a ? b : a;
}
DDP_DEVICE int max(int a, int b)
{
    return a < b ? b : a;
}
DDP_DEVICE unsigned min(unsigned a, unsigned b)
{
    return b < a ? b : a;
}
DDP_DEVICE unsigned max(unsigned a, unsigned b)
{
    return a < b ? b : a;
}
DDP_DEVICE int64_t min(int64_t a, int64_t b)
{
    return b < a ? b : a;
}
DDP_DEVICE int64_t max(int64_t a, int64_t b)
{
    return a < b ? b : a;
}
DDP_DEVICE uint32_t __float_as_uint(float v)
{
    return ddp_bits(v);
}
DDP_DEVICE float __uint_as_float(uint32_t u)
{
    return ddp_unbits(u);
}

/* Calls to the library are not instrumented: these are. */
#define memcpy emu_memcpy
#define memset emu_memset

/* Start a kernel: blocks may be 0, then nothing happens. */
#define DDP_LAUNCH(stream, kernel, blocks, threads, ...)                                                     \
    do {                                                                                                     \
        const int64_t blocks_ = (blocks);                                                                    \
        if (blocks_ > 0 && ddp_stream_works(stream)) {                                                       \
            emu_launch(ddp_stream_cuda(stream), #kernel, kernel, blocks_, (int)(threads), __VA_ARGS__);      \
            ddp_stream_launched(stream, #kernel);                                                            \
        }                                                                                                    \
    } while (0)

#endif
