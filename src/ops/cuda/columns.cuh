/* Kernels that keep to their channels over [pixels][c]: biases and batch norm.
 *
 * A block of 256 threads is `rows` x `lanes`: a lane holds 8 channels (their coefficients and sums stay in
 * registers), rows go along pixels. The channels are cut into `tiles` of `lanes` vectors, the pixels into
 * `chunks`; block = chunk * tiles + tile.
 *
 * Sums over pixels, in an order that only the shape decides: a chunk is DDP_GPU_SUM_ROWS pixels; row r of the
 * block adds pixels r, r + rows, ... of the chunk in order, in fp32; the rows are added in a tree of halves
 * (row i gets row i + half, half = the larger half), and a second kernel adds the chunks in doubles: thread j
 * of 32 takes chunks j, j + 32, ..., then a tree of halves. */
#ifndef DDP_COMPUTE_CUDA_COLUMNS_CUH
#define DDP_COMPUTE_CUDA_COLUMNS_CUH

#include "ops/cuda/items.cuh"

enum {
    DDP_COLUMN_THREADS = 256,
    DDP_COLUMN_BLOCKS = 528,  /* what keeps an H100 busy: 4 blocks on each of 132 multiprocessors */
    DDP_GROUP_THREADS = 1024, /* most of them in a block that adds chunks */
};

struct ddp_columns {
    int vectors; /* of 8 channels */
    int lanes, tiles, rows;
    int64_t chunks;
};

static inline int64_t ddp_columns_blocks(const struct ddp_columns *k)
{
    return k->chunks * k->tiles;
}

static inline struct ddp_columns ddp_columns_of(int c)
{
    struct ddp_columns k = {c / 8, c / 8 < 32 ? c / 8 : 32, 0, 0, 0};
    k.tiles = (k.vectors + k.lanes - 1) / k.lanes;
    k.lanes = (k.vectors + k.tiles - 1) / k.tiles;
    k.rows = DDP_COLUMN_THREADS / k.lanes;
    return k;
}

/* For sums in `chunks` chunks: where there are few, tiles become narrower (down to 64 bytes of 16-bit
 * elements, two whole sectors) until the device is full. */
static inline struct ddp_columns ddp_columns_sum(int64_t chunks, int c)
{
    struct ddp_columns k = ddp_columns_of(c);
    while (k.lanes > 4 && chunks * k.tiles < DDP_COLUMN_BLOCKS) {
        k.lanes = (k.lanes + 1) / 2;
        k.tiles = (k.vectors + k.lanes - 1) / k.lanes;
    }
    k.rows = DDP_COLUMN_THREADS / k.lanes;
    k.chunks = chunks;
    return k;
}

/* For elementwise work: chunk i starts at row i of the grid and goes on by the size of the grid. */
static inline struct ddp_columns ddp_columns_walk(int64_t pixels, int c)
{
    struct ddp_columns k = ddp_columns_of(c);
    const int64_t want = (pixels + k.rows - 1) / k.rows,
                  most = (2 * DDP_COLUMN_BLOCKS + k.tiles - 1) / k.tiles;
    k.chunks = want < most ? want : most;
    return k;
}

static inline int64_t ddp_sum_chunks(int64_t pixels)
{
    return (pixels + DDP_GPU_SUM_ROWS - 1) / DDP_GPU_SUM_ROWS;
}

/* Where a thread stands. */
struct ddp_column {
    bool on; /* false: a thread too many */
    int row, channel;
    int64_t chunk;
};
DDP_DEVICE struct ddp_column ddp_column_of(const struct ddp_columns *k)
{
    const int t = ddp_thread(), lane = t % k->lanes, vector = ddp_block() % k->tiles * k->lanes + lane;
    struct ddp_column r;
    r.row = t / k->lanes;
    r.chunk = ddp_block() / k->tiles;
    r.channel = vector * 8;
    r.on = r.row < k->rows && vector < k->vectors;
    return r;
}

/* v[SUMS][8] of row 0 <- sums over the rows; the others' become anything. shared: SUMS * 8 *
 * DDP_COLUMN_THREADS floats, laid out so that neighbours use neighbouring banks. All threads of the block
 * call it. */
template <int SUMS>
DDP_DEVICE void ddp_column_tree(const struct ddp_columns *k, int row, float *shared, float (*v)[8])
{
    const int t = ddp_thread();
#pragma unroll
    for (int s = 0; s < SUMS; s++)
#pragma unroll
        for (int i = 0; i < 8; i++)
            shared[(s * 8 + i) * DDP_COLUMN_THREADS + t] = v[s][i];
    DDP_SYNC();
    for (int n = k->rows; n > 1;) {
        const int half = (n + 1) / 2;
        if (row < n - half)
#pragma unroll
            for (int s = 0; s < SUMS * 8; s++)
                shared[s * DDP_COLUMN_THREADS + t] += shared[s * DDP_COLUMN_THREADS + t + half * k->lanes];
        DDP_SYNC();
        n = half;
    }
#pragma unroll
    for (int s = 0; s < SUMS; s++)
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[s][i] = shared[(s * 8 + i) * DDP_COLUMN_THREADS + t];
}

/* The second kernel: a block is groups x 8 channels, 32 groups, 128 where there are many chunks; block b has
 * channels 8 b.. */
static inline int ddp_group_threads(int64_t chunks)
{
    return chunks > 256 ? (int)DDP_GROUP_THREADS : 256;
}
DDP_DEVICE int ddp_group_channel()
{
    return ddp_block() * 8 + ddp_thread() % 8;
}
DDP_DEVICE int ddp_group()
{
    return ddp_thread() / 8;
}
DDP_DEVICE int ddp_groups()
{
    return ddp_threads() / 8;
}
/* Sum over the groups, for group 0. shared: SUMS * DDP_GROUP_THREADS doubles. All threads of the block call
 * it. */
template <int SUMS> DDP_DEVICE void ddp_group_tree(double *shared, double *v)
{
    const int t = ddp_thread();
    for (int s = 0; s < SUMS; s++)
        shared[s * DDP_GROUP_THREADS + t] = v[s];
    DDP_SYNC();
    for (int half = ddp_groups() / 2; half > 0; half /= 2) {
        if (ddp_group() < half)
            for (int s = 0; s < SUMS; s++)
                shared[s * DDP_GROUP_THREADS + t] += shared[s * DDP_GROUP_THREADS + t + half * 8];
        DDP_SYNC();
    }
    for (int s = 0; s < SUMS; s++)
        v[s] = shared[s * DDP_GROUP_THREADS + t];
}

#endif
