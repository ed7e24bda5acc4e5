/* Pooling, [batch][h][w][c] to [batch][oh][ow][c]: rules in ops/pool/pool.c.
 *
 * A thread takes 8 channels of a pixel: of the output in forward, of the input in backward, where it gathers
 * from the windows that hold the pixel, so nothing is added to from two sides. Positions in a window, and
 * windows in backward, go row by row; averages are one chain in that order. The mean of the whole picture is
 * a block per picture and tile of channels: row r of the block adds pixels r, r + rows, ... and the rows are
 * added as in columns.cuh.
 *
 * Bytes an output element, b = bytes of the type: forward b for itself and b kernel^2 read (from memory once,
 * b stride^2), max 1 for the index; backward the same the other way round. FLOPs: kernel^2. */
#include "ops/cuda/columns.cuh"
#include "ops/pool/pool_kernels.h"

/* The part of a window that lies in the picture. */
struct span {
    int y0, x0; /* of the window, maybe outside */
    int ky0, ky1, kx0, kx1;
};
DDP_DEVICE struct span span_of(const struct ddp_gpu_pool_args *a, int oy, int ox)
{
    struct span s;
    s.y0 = oy * a->stride - a->pad;
    s.x0 = ox * a->stride - a->pad;
    s.ky0 = s.y0 < 0 ? -s.y0 : 0;
    s.kx0 = s.x0 < 0 ? -s.x0 : 0;
    s.ky1 = s.y0 + a->kernel_h > a->h ? a->h - s.y0 : a->kernel_h;
    s.kx1 = s.x0 + a->kernel_w > a->w ? a->w - s.x0 : a->kernel_w;
    return s;
}
DDP_DEVICE float elements_of(const struct ddp_gpu_pool_args *a, const struct span *s)
{
    return a->count_pad ? (float)(a->kernel_h * a->kernel_w) : (float)((s->ky1 - s->ky0) * (s->kx1 - s->kx0));
}

/* First channel of a pixel in [batch][h][w][c]. */
DDP_DEVICE int64_t index_of(int n, int y, int x, int h, int w, int c)
{
    return (((int64_t)n * h + y) * w + x) * c;
}

/* Outputs [first, end) along one axis whose windows hold place i. */
struct outputs {
    int first, end;
};
DDP_DEVICE struct outputs outputs_of(int i, int kernel, int stride, int pad, int count)
{
    struct outputs r;
    const int low = i + pad - kernel + 1, high = (i + pad) / stride;
    r.first = low <= 0 ? 0 : (low + stride - 1) / stride;
    r.end = high < count ? high + 1 : count;
    return r;
}

/* use(v, ky, kx) of the window's pixels in the picture, row by row: 8 channels each, x at the first of them.
 * The usual window of 2 x 2 is asked for at once. */
template <class T, class Use>
DDP_DEVICE void each_of_window(const struct ddp_gpu_pool_args &a, const struct span &s, const T *x, int n,
                               Use use)
{
    if (s.ky1 - s.ky0 == 2 && s.kx1 - s.kx0 == 2) {
        const T *at = x + index_of(n, s.y0 + s.ky0, s.x0 + s.kx0, a.h, a.w, a.c);
        float v[4][8];
#pragma unroll
        for (int k = 0; k < 4; k++)
            ddp_load8(at + ((int64_t)(k / 2) * a.w + k % 2) * a.c, v[k]);
        ddp_loaded();
#pragma unroll
        for (int k = 0; k < 4; k++)
            use(v[k], s.ky0 + k / 2, s.kx0 + k % 2);
        return;
    }
    for (int ky = s.ky0; ky < s.ky1; ky++)
        for (int kx = s.kx0; kx < s.kx1; kx++) {
            float v[8];
            ddp_load8(x + index_of(n, s.y0 + ky, s.x0 + kx, a.h, a.w, a.c), v);
            use(v, ky, kx);
        }
}

/* Largest of the window, the first of equals; NaN wins. index (maybe NULL): its place, ky * kernel_w + kx. */
template <class T> DDP_KERNEL max_pool(struct ddp_gpu_pool_args a)
{
    const int vectors = a.c / 8;
    for (int64_t i = ddp_item_first(); i < (int64_t)a.batch * a.oh * a.ow * vectors; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, a.oh, a.ow, vectors);
        const struct span s = span_of(&a, at.y, at.x);
        const T *x = (const T *)a.x + at.vector * 8;
        float best[8];
        int place[8];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            best[j] = -INFINITY;
            place[j] = s.ky0 * a.kernel_w + s.kx0;
        }
        each_of_window(a, s, x, at.n, [&](const float v[8], int ky, int kx) {
#pragma unroll
            for (int j = 0; j < 8; j++)
                if (v[j] > best[j] || v[j] != v[j]) {
                    best[j] = v[j];
                    place[j] = ky * a.kernel_w + kx;
                }
        });
        ddp_store8((T *)a.y + i * 8, best);
        if (a.index) {
            uint64_t bytes = 0;
#pragma unroll
            for (int j = 0; j < 8; j++)
                bytes |= (uint64_t)place[j] << (8 * j);
            *(uint64_t *)(a.index + i * 8) = bytes;
        }
    }
}

template <class T> DDP_KERNEL max_pool_grad(struct ddp_gpu_pool_args a)
{
    const int vectors = a.c / 8;
    const T *dout = (const T *)a.dout;
    T *din = (T *)a.din;
    for (int64_t i = ddp_item_first(); i < (int64_t)a.batch * a.h * a.w * vectors; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, a.h, a.w, vectors);
        const struct outputs oys = outputs_of(at.y, a.kernel_h, a.stride, a.pad, a.oh);
        const struct outputs oxs = outputs_of(at.x, a.kernel_w, a.stride, a.pad, a.ow);
        float sum[8] = {0}, g[8];
        if (a.accumulate)
            ddp_load8(din + i * 8, sum);
        for (int oy = oys.first; oy < oys.end; oy++)
            for (int ox = oxs.first; ox < oxs.end; ox++) {
                const int64_t o = index_of(at.n, oy, ox, a.oh, a.ow, a.c) + at.vector * 8;
                const int place = (at.y + a.pad - oy * a.stride) * a.kernel_w + at.x + a.pad - ox * a.stride;
                const uint64_t bytes = *(const uint64_t *)(a.index + o);
                ddp_load8(dout + o, g);
                ddp_loaded();
#pragma unroll
                for (int j = 0; j < 8; j++)
                    if ((int)(bytes >> (8 * j) & 255) == place)
                        sum[j] += g[j];
            }
        ddp_store8(din + i * 8, sum);
    }
}

template <class T> DDP_KERNEL avg_pool(struct ddp_gpu_pool_args a)
{
    const int vectors = a.c / 8;
    for (int64_t i = ddp_item_first(); i < (int64_t)a.batch * a.oh * a.ow * vectors; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, a.oh, a.ow, vectors);
        const struct span s = span_of(&a, at.y, at.x);
        const T *x = (const T *)a.x + at.vector * 8;
        const float count = elements_of(&a, &s);
        float sum[8] = {0};
        each_of_window(a, s, x, at.n, [&](const float v[8], int, int) {
#pragma unroll
            for (int j = 0; j < 8; j++)
                sum[j] += v[j];
        });
        for (int j = 0; j < 8; j++)
            sum[j] /= count;
        ddp_store8((T *)a.y + i * 8, sum);
    }
}

/* y[n][c] = mean over the picture; a chunk is a picture. */
template <class T> DDP_KERNEL global_pool(struct ddp_gpu_pool_args a, struct ddp_columns k)
{
    DDP_SHARED(float, shared, 8 * DDP_COLUMN_THREADS);
    const struct ddp_column at = ddp_column_of(&k);
    const int pixels = a.h * a.w;
    const T *x = (const T *)a.x + at.chunk * pixels * a.c + at.channel;
    const int N = ddp_ahead<T>(1);
    float sum[1][8] = {{0}}, v[N][8];
    if (at.on)
        ddp_walk<N>(
            at.row * a.c, pixels * a.c, k.rows * a.c, [&](int q, int i) { ddp_load8(x + i, v[q]); },
            [&](int q, int) {
#pragma unroll
                for (int j = 0; j < 8; j++)
                    sum[0][j] += v[q][j];
            });
    ddp_column_tree<1>(&k, at.row, shared, sum);
    if (at.on && at.row == 0) {
        for (int j = 0; j < 8; j++)
            sum[0][j] /= (float)pixels;
        ddp_store8((T *)a.y + at.chunk * a.c + at.channel, sum[0]);
    }
}

template <class T> DDP_KERNEL avg_pool_grad(struct ddp_gpu_pool_args a)
{
    const int vectors = a.c / 8;
    const T *dout = (const T *)a.dout;
    T *din = (T *)a.din;
    for (int64_t i = ddp_item_first(); i < (int64_t)a.batch * a.h * a.w * vectors; i += ddp_item_step()) {
        const struct ddp_spot at = ddp_spot_of(i, a.h, a.w, vectors);
        const struct outputs oys = outputs_of(at.y, a.kernel_h, a.stride, a.pad, a.oh);
        const struct outputs oxs = outputs_of(at.x, a.kernel_w, a.stride, a.pad, a.ow);
        float sum[8] = {0}, g[8];
        if (a.accumulate)
            ddp_load8(din + i * 8, sum);
        for (int oy = oys.first; oy < oys.end; oy++)
            for (int ox = oxs.first; ox < oxs.end; ox++) {
                const struct span s = span_of(&a, oy, ox);
                const float count = elements_of(&a, &s);
                ddp_load8(dout + index_of(at.n, oy, ox, a.oh, a.ow, a.c) + at.vector * 8, g);
                for (int j = 0; j < 8; j++)
                    sum[j] += g[j] / count;
            }
        ddp_store8(din + i * 8, sum);
    }
}

static int64_t items(const struct ddp_gpu_pool_args *a, int h, int w)
{
    return (int64_t)a->batch * h * w * (a->c / 8);
}

static void launch_max_pool(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, max_pool, ddp_item_blocks(items(a, a->oh, a->ow)), DDP_ITEM_THREADS, *a);
}
static void launch_max_pool_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, max_pool_grad, ddp_item_blocks(items(a, a->h, a->w)), DDP_ITEM_THREADS, *a);
}
static void launch_avg_pool(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a)
{
    if (a->kernel_h == a->h && a->kernel_w == a->w && a->pad == 0) {
        const struct ddp_columns k = ddp_columns_sum(a->batch, a->c);
        DDP_LAUNCH_TYPED(s, a->type, global_pool, ddp_columns_blocks(&k), DDP_COLUMN_THREADS, *a, k);
    } else {
        DDP_LAUNCH_TYPED(s, a->type, avg_pool, ddp_item_blocks(items(a, a->oh, a->ow)), DDP_ITEM_THREADS, *a);
    }
}
static void launch_avg_pool_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a)
{
    DDP_LAUNCH_TYPED(s, a->type, avg_pool_grad, ddp_item_blocks(items(a, a->h, a->w)), DDP_ITEM_THREADS, *a);
}

const struct ddp_pool_device_kernels ddp_cuda_pool_kernels = {
    .max_pool = launch_max_pool,
    .max_pool_grad = launch_max_pool_grad,
    .avg_pool = launch_avg_pool,
    .avg_pool_grad = launch_avg_pool_grad,
};
