/* Crop, flip, cutout, normalise: bytes [c][h][w] to [batch][h][w][cpad]; rules and draws in data/augment.c,
 * whose bits fp32 has.
 *
 * A block takes up to 1,024 pixels of one picture; its first thread makes the picture's draws. A thread
 * writes all channels of a pixel. Bytes a pixel: c read, cpad b written. */
#include "data/augment_kernels.h"
#include "ops/cuda/philox.cuh"
#include "ops/cuda/items.cuh"

enum { PART = 1024 };

struct draws {
    int dy, dx, mirror;
    int top, bottom, left, right; /* of the cutout; empty without */
};

DDP_DEVICE void draw(const struct ddp_gpu_augment *a, int64_t sample, struct draws *d)
{
    const uint32_t index = (uint32_t)sample, epoch = (uint32_t)a->step->epoch;
    if (a->crop_padding > 0 || a->flip) {
        const struct ddp_philox4 r = ddp_device_philox(0, index, epoch, DDP_STREAM_AUGMENT, a->seed);
        d->dy = ddp_device_uniform_int(r.v[0], 2 * a->crop_padding + 1) - a->crop_padding;
        d->dx = ddp_device_uniform_int(r.v[1], 2 * a->crop_padding + 1) - a->crop_padding;
        d->mirror = a->flip && r.v[2] >> 31;
    }
    if (a->cutout > 0) {
        const struct ddp_philox4 r = ddp_device_philox(1, index, epoch, DDP_STREAM_AUGMENT, a->seed);
        d->top = ddp_device_uniform_int(r.v[0], a->h) - a->cutout / 2;
        d->left = ddp_device_uniform_int(r.v[1], a->w) - a->cutout / 2;
        d->bottom = d->top + a->cutout;
        d->right = d->left + a->cutout;
    }
}

template <class T> DDP_KERNEL augment(struct ddp_gpu_augment a, int parts)
{
    DDP_SHARED(struct draws, shared, 1);
    const int n = ddp_block() / parts, pixels = a.h * a.w, first = ddp_block() % parts * PART;
    const int end = first + PART < pixels ? first + PART : pixels;
    const bool real = n < *a.n;
    T *out = (T *)a.out + (int64_t)n * pixels * a.cpad;
    if (ddp_thread() == 0) {
        struct draws *d = &shared[0];
        d->dy = d->dx = d->mirror = d->top = d->bottom = d->left = d->right = 0;
        if (real && a.train)
            draw(&a, a.sample[n], d);
    }
    DDP_SYNC();
    const struct draws d = shared[0];
    const uint8_t *planes = a.pixels;
    if (real)
        planes += (a.resident ? a.sample[n] : (int64_t)n) * a.c * pixels;
    for (int p = first + ddp_thread(); p < end; p += ddp_threads()) {
        const int y = p / a.w, x = p - y * a.w;
        const int sy = y + d.dy, sx = (d.mirror ? a.w - 1 - x : x) + d.dx;
        const bool inside = sy >= 0 && sy < a.h && sx >= 0 && sx < a.w;
        const bool cut = y >= d.top && y < d.bottom && x >= d.left && x < d.right;
        float v[8] = {0};
        if (real && !cut)
#pragma unroll
            for (int c = 0; c < 4; c++)
                if (c < a.c) {
                    const float byte = inside ? (float)planes[(int64_t)c * pixels + sy * a.w + sx] : 0.0f;
                    v[c] = (byte / 255.0f - a.mean[c]) * a.inv_std[c];
                }
        ddp_store8(out + (int64_t)p * a.cpad, v);
        const float zero[8] = {0};
        for (int c = 8; c < a.cpad; c += 8)
            ddp_store8(out + (int64_t)p * a.cpad + c, zero);
    }
}

/* Real numbers [c][h][w] to [batch][h][w][cpad]: a thread writes 8 channels of a pixel. Bytes a value: 4
 * read, b written. */
template <class T> DDP_KERNEL place(struct ddp_gpu_augment a)
{
    const int64_t pixels = (int64_t)a.h * a.w, items = a.batch * pixels * (a.cpad / 8);
    for (int64_t i = ddp_item_first(); i < items; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, a.h, a.w, a.cpad / 8);
        const bool real = at.n < *a.n;
        const int64_t pixel = (int64_t)at.y * a.w + at.x;
        const float *from = (const float *)a.pixels;
        if (real)
            from += (a.resident ? a.sample[at.n] : (int64_t)at.n) * a.c * pixels + pixel;
        float v[8] = {0};
        for (int k = 0; k < 8 && real; k++)
            if (at.vector * 8 + k < a.c)
                v[k] = from[(at.vector * 8 + k) * pixels];
        ddp_store8((T *)a.out + (at.n * pixels + pixel) * a.cpad + at.vector * 8, v);
    }
}

static void launch_augment(struct ddp_gpu_stream *s, const struct ddp_gpu_augment *a)
{
    const int parts = (a->h * a->w + PART - 1) / PART;
    if (a->real) {
        DDP_LAUNCH_TYPED(s, a->type, place, ddp_item_blocks((int64_t)a->batch * a->h * a->w * (a->cpad / 8)),
                         DDP_ITEM_THREADS, *a);
        return;
    }
    DDP_LAUNCH_TYPED(s, a->type, augment, (int64_t)a->batch * parts, DDP_ITEM_THREADS, *a, parts);
}

const struct ddp_augment_device_kernels ddp_cuda_augment_kernels = {
    .augment = launch_augment,
};
