/* Concatenation along channels, and back: ops/shape/concat.c. wide[p][first + j] = narrow[p][j].
 *
 * One launch for each input. A thread has 8 channels of the narrow tensor: wide accesses there, in the wide
 * tensor too where the input begins at a multiple of 8, else one by one. Bytes an element: 2b (accumulating
 * 3b), b = bytes of the type. */
#include "ops/cuda/items.cuh"
#include "ops/shape/concat_kernels.h"

template <class T> DDP_KERNEL join_channels(const struct ddp_gpu_concat_args a)
{
    const int vectors = a.c / 8, end = a.first + a.real_c;
    for (int64_t i = ddp_item_first(); i < a.pixels * vectors; i += ddp_item_step()) {
        const int64_t p = i / vectors;
        const int j = (int)(i - p * vectors) * 8, real = min(8, a.real_c - j);
        T *to = (T *)a.wide + p * a.wide_c + a.first + j;
        float v[8];
        ddp_load8((const T *)a.narrow + i * 8, v);
        if (a.first % 8 == 0 && real == 8)
            ddp_store8(to, v);
        else
            for (int k = 0; k < real; k++)
                to[k] = ddp_from_float<T>(v[k]);
        if (a.last && j + 8 >= a.real_c)
            for (int c = end; c < a.wide_c; c++)
                ((T *)a.wide)[p * a.wide_c + c] = ddp_from_float<T>(0.0f);
    }
}

template <class T> DDP_KERNEL split_channels(const struct ddp_gpu_concat_args a)
{
    const int vectors = a.c / 8;
    for (int64_t i = ddp_item_first(); i < a.pixels * vectors; i += ddp_item_step()) {
        const int64_t p = i / vectors;
        const int j = (int)(i - p * vectors) * 8, real = min(8, a.real_c - j);
        const T *from = (const T *)a.wide + p * a.wide_c + a.first + j;
        float v[8] = {0.0f};
        if (a.first % 8 == 0 && real == 8)
            ddp_load8(from, v);
        else
            for (int k = 0; k < real; k++)
                v[k] = ddp_float(from[k]);
        ddp_put8((T *)a.narrow + i * 8, v, a.accumulate);
    }
}

static int64_t blocks(const struct ddp_gpu_concat_args *a)
{
    return ddp_item_blocks(a->pixels * (a->c / 8));
}

static void launch_join(struct ddp_gpu_stream *s, const struct ddp_gpu_concat_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, join_channels, blocks(a), DDP_ITEM_THREADS, *a);
}

static void launch_split(struct ddp_gpu_stream *s, const struct ddp_gpu_concat_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, split_channels, blocks(a), DDP_ITEM_THREADS, *a);
}

const struct ddp_concat_device_kernels ddp_cuda_concat_kernels = {
    .join = launch_join,
    .split = launch_split,
};
