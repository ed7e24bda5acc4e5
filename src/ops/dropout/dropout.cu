/* Dropout: numbering, Philox counters and equation in ops/dropout/dropout.c. The mask is not kept: backward
 * draws it again.
 *
 * Pictures: a thread takes 4 pixels of 8 channels, 8 Philox calls for 32 elements; vectors: 8 channels, 2
 * calls. Bytes an element: 2b (accumulating 3b), b = bytes of the type; 25 integer instructions, about what
 * the memory leaves time for. */
#include "ops/dropout/dropout_kernels.h"
#include "ops/cuda/philox.cuh"
#include "ops/cuda/items.cuh"

DDP_DEVICE uint32_t stream_of(const struct ddp_gpu_dropout_args *a, int64_t sample)
{
    return (uint32_t)DDP_STREAM_DROPOUT ^ a->layer ^ (uint32_t)a->step->epoch * 0x9E3779B1u ^
           (uint32_t)((uint64_t)sample >> 32) * 0xC2B2AE3Du;
}

DDP_DEVICE float drop(const struct ddp_gpu_dropout_args *a, int channel, uint32_t word, float v)
{
    return word >= a->threshold && channel < a->real_c ? v * a->scale : 0.0f;
}

template <class T> DDP_KERNEL dropout_pictures(struct ddp_gpu_dropout_args a)
{
    const int vectors = a.c / 8, pixels = a.h * a.w, groups = (pixels + 3) / 4;
    for (int64_t i = ddp_item_first(); i < (int64_t)a.batch * groups * vectors; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, 1, groups, vectors);
        const int64_t sample = a.sample[at.n];
        const uint32_t stream = stream_of(&a, sample);
        const int first = at.x * 4, count = pixels - first < 4 ? pixels - first : 4, channel = at.vector * 8;
        const int64_t from = ((int64_t)at.n * pixels + first) * a.c + channel;
        float v[4][8];
#pragma unroll
        for (int q = 0; q < 4; q++)
            if (q < count)
                ddp_load8((const T *)a.in + from + (int64_t)q * a.c, v[q]);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const struct ddp_philox4 r =
                ddp_device_philox((uint32_t)at.x, (uint32_t)(channel + j), (uint32_t)sample, stream, a.seed);
#pragma unroll
            for (int q = 0; q < 4; q++)
                if (q < count)
                    v[q][j] = drop(&a, channel + j, r.v[q], v[q][j]);
        }
#pragma unroll
        for (int q = 0; q < 4; q++)
            if (q < count)
                ddp_put8((T *)a.out + from + (int64_t)q * a.c, v[q], a.accumulate);
    }
}

template <class T> DDP_KERNEL dropout_vectors(struct ddp_gpu_dropout_args a)
{
    const int vectors = a.c / 8;
    for (int64_t i = ddp_item_first(); i < (int64_t)a.batch * vectors; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, 1, 1, vectors);
        const int64_t sample = a.sample[at.n];
        const uint32_t stream = stream_of(&a, sample);
        float v[8];
        ddp_load8((const T *)a.in + i * 8, v);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const struct ddp_philox4 r = ddp_device_philox((uint32_t)(at.vector * 2 + half), 0xffffffffu,
                                                           (uint32_t)sample, stream, a.seed);
#pragma unroll
            for (int j = 0; j < 4; j++)
                v[half * 4 + j] = drop(&a, at.vector * 8 + half * 4 + j, r.v[j], v[half * 4 + j]);
        }
        ddp_put8((T *)a.out + i * 8, v, a.accumulate);
    }
}

static void launch_dropout(struct ddp_gpu_stream *s, const struct ddp_gpu_dropout_args *a)
{
    const int64_t groups = a->vector ? 1 : ((int64_t)a->h * a->w + 3) / 4;
    const int64_t blocks = ddp_item_blocks(a->batch * groups * (a->c / 8));
    if (a->vector)
        DDP_LAUNCH_TYPED(s, a->type, dropout_vectors, blocks, DDP_ITEM_THREADS, *a);
    else
        DDP_LAUNCH_TYPED(s, a->type, dropout_pictures, blocks, DDP_ITEM_THREADS, *a);
}

const struct ddp_dropout_device_kernels ddp_cuda_dropout_kernels = {
    .dropout = launch_dropout,
};
