/* What all kernels of activations share: a launch for the element type at hand, and the shape of a flat
 * launch. */
#ifndef DDP_COMPUTE_CUDA_ITEMS_CUH
#define DDP_COMPUTE_CUDA_ITEMS_CUH

#include "ddp_device.h"

/* DDP_LAUNCH of kernel<T>, T the C++ type of `type`. */
#define DDP_LAUNCH_TYPED(stream, type, kernel, blocks, threads, ...)                                         \
    do {                                                                                                     \
        switch (type) {                                                                                      \
        case DDP_GPU_F32:                                                                                    \
            DDP_LAUNCH(stream, kernel<float>, blocks, threads, __VA_ARGS__);                                 \
            break;                                                                                           \
        case DDP_GPU_BF16:                                                                                   \
            DDP_LAUNCH(stream, kernel<ddp_bf16>, blocks, threads, __VA_ARGS__);                              \
            break;                                                                                           \
        case DDP_GPU_F16:                                                                                    \
            DDP_LAUNCH(stream, kernel<ddp_f16>, blocks, threads, __VA_ARGS__);                               \
            break;                                                                                           \
        }                                                                                                    \
    } while (0)

/* Elements first, first + step, .. below end, in order, N at a time: load(k, i) of all N, then use(k, i) of
 * each, so that N loads are under way together. Left to itself the compiler moves no load up over a store of
 * use(), and moves loads down into branches: there are none in a whole batch. Of the last one, which may have
 * fewer, the first element is loaded again for those past the end; it is this thread's own. */
template <int N, class I, class Load, class Use>
DDP_DEVICE void ddp_walk(I first, I end, I step, Load load, Use use)
{
    I i = first;
    for (; i + (N - 1) * step < end; i += N * step) {
#pragma unroll
        for (int k = 0; k < N; k++)
            load(k, i + k * step);
        ddp_loaded();
#pragma unroll
        for (int k = 0; k < N; k++)
            use(k, i + k * step);
    }
    if (i >= end)
        return;
#pragma unroll
    for (int k = 0; k < N - 1; k++)
        load(k, i + k * step < end ? i + k * step : i);
    ddp_loaded();
#pragma unroll
    for (int k = 0; k < N - 1; k++)
        if (i + k * step < end)
            use(k, i + k * step);
}

/* How many vectors of 8 elements a thread asks for before it uses one: 64 bytes from each of up to two
 * tensors, 32 from each of more. With 512 threads on a multiprocessor that is 32 KB or more; an H100 needs 18
 * (3.35 TB/s for 0.7 us, over 132 of them). */
template <class T> DDP_DEVICE constexpr int ddp_ahead(int tensors)
{
    return (tensors > 2 ? 2 : 4) / (sizeof(T) > 2 ? 2 : 1);
}

/* Flat launches: a thread takes items (8 elements mostly) and goes on by the size of the grid. 2,112 blocks
 * of 256 threads fill an H100 twice. */
enum { DDP_ITEM_THREADS = 256, DDP_ITEM_BLOCKS = 2112 };

static inline int64_t ddp_item_blocks(int64_t items)
{
    const int64_t blocks = (items + DDP_ITEM_THREADS - 1) / DDP_ITEM_THREADS;
    return blocks < DDP_ITEM_BLOCKS ? blocks : (int64_t)DDP_ITEM_BLOCKS;
}
DDP_DEVICE int64_t ddp_item_first()
{
    return (int64_t)ddp_block() * ddp_threads() + ddp_thread();
}
DDP_DEVICE int64_t ddp_item_step()
{
    return (int64_t)ddp_blocks() * ddp_threads();
}

/* Item i of [n][h][w][vectors], vectors of 8 channels. Division by 32-bit numbers takes a third of the time
 * of 64-bit ones, which for 8 elements would show. */
struct ddp_spot {
    int n, y, x, vector;
};
DDP_DEVICE struct ddp_spot ddp_spot_of(int64_t i, int h, int w, int vectors)
{
    struct ddp_spot s;
    if (i <= 0xffffffff) {
        uint32_t u = (uint32_t)i, q = u / (uint32_t)vectors;
        s.vector = (int)(u - q * (uint32_t)vectors);
        u = q, q = u / (uint32_t)w;
        s.x = (int)(u - q * (uint32_t)w);
        u = q, q = u / (uint32_t)h;
        s.y = (int)(u - q * (uint32_t)h);
        s.n = (int)q;
    } else {
        int64_t q = i / vectors;
        s.vector = (int)(i - q * vectors);
        i = q, q = i / w;
        s.x = (int)(i - q * w);
        i = q, q = i / h;
        s.y = (int)(i - q * h);
        s.n = (int)q;
    }
    return s;
}

/* x where it is not below zero; NaN stays NaN, so that it reaches the loss. */
DDP_DEVICE float ddp_relu(float x)
{
    return x <= 0.0f ? 0.0f : x;
}

/* p[0..8) (+)= v */
template <class T> DDP_DEVICE void ddp_put8(T *p, const float v[8], bool accumulate)
{
    if (!accumulate) {
        ddp_store8(p, v);
        return;
    }
    float sum[8];
    ddp_load8(p, sum);
    for (int i = 0; i < 8; i++)
        sum[i] += v[i];
    ddp_store8(p, sum);
}

#endif
