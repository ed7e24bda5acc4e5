/* Pictures to vectors in the plain order, and back (ops/shape/flatten.c):
 *
 *     v[n][(c*H + y)*W + x] = p[n][y][x][c]
 *
 * Only for channels that are no multiple of 16 (LeNet sizes): a thread writes 8 elements and gathers them one
 * by one. Bytes an element: 2b, in sectors that are used in full only from the cache. */
#include "ops/cuda/items.cuh"
#include "ops/shape/flatten_kernels.h"

template <class T> DDP_KERNEL flatten_to(struct ddp_gpu_flatten_args a)
{
    const int vectors = a.f / 8, pixels = a.h * a.w, real = a.real_c * pixels;
    for (int64_t i = ddp_item_first(); i < (int64_t)a.batch * vectors; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, 1, 1, vectors);
        const T *from = (const T *)a.from + (int64_t)at.n * pixels * a.c;
        float v[8] = {0};
        for (int j = 0; j < 8; j++) {
            const int f = at.vector * 8 + j, c = f / pixels;
            if (f < real)
                v[j] = ddp_float(from[(int64_t)(f - c * pixels) * a.c + c]);
        }
        ddp_put8((T *)a.to + i * 8, v, a.accumulate);
    }
}

template <class T> DDP_KERNEL flatten_back(struct ddp_gpu_flatten_args a)
{
    const int vectors = a.c / 8, pixels = a.h * a.w;
    for (int64_t i = ddp_item_first(); i < (int64_t)a.batch * pixels * vectors; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, 1, pixels, vectors);
        const T *from = (const T *)a.from + (int64_t)at.n * a.f + at.x;
        float v[8] = {0};
        for (int j = 0; j < 8; j++)
            if (at.vector * 8 + j < a.real_c)
                v[j] = ddp_float(from[(int64_t)(at.vector * 8 + j) * pixels]);
        ddp_put8((T *)a.to + i * 8, v, a.accumulate);
    }
}

static void launch_flatten(struct ddp_gpu_stream *s, const struct ddp_gpu_flatten_args *a)
{
    const int64_t pixels = (int64_t)a->batch * a->h * a->w;
    if (a->back)
        DDP_LAUNCH_TYPED(s, a->type, flatten_back, ddp_item_blocks(pixels * (a->c / 8)), DDP_ITEM_THREADS,
                         *a);
    else
        DDP_LAUNCH_TYPED(s, a->type, flatten_to, ddp_item_blocks((int64_t)a->batch * (a->f / 8)),
                         DDP_ITEM_THREADS, *a);
}

const struct ddp_flatten_device_kernels ddp_cuda_flatten_kernels = {
    .flatten = launch_flatten,
};
