/* Winograd's minimal filtering (Lavin and Gray, CVPR 2016) for 3x3 convolutions with stride 1: outputs in
 * tiles of 4x4, each from a window of 6x6 inputs with 36 multiplications instead of 144.
 *
 *     forward, data gradient   y  = A' N [(G g G') * (B' d B)] N A      * by point, summed over channels
 *     weight gradient          dg = G' N [(A dy A') * (B' d B)] N G     * by point, summed over tiles
 *
 * from the polynomials at 0, a, -a, b, -b and infinity:
 *
 *     B' = 1      0    -1/a2-1/b2    0      1/a2b2   0     G = 1   0  0       A' = 1  1   1  1   1  0
 *          0    -ab2     -b2         a        1      0         1   a  a2           0  a  -a  b  -b  0
 *          0     ab2     -b2        -a        1      0         1  -a  a2           0  a2 a2  b2 b2  0
 *          0    -a2b     -a2         b        1      0         1   b  b2           0  a3 -a3 b3 -b3 1
 *          0     a2b     -a2        -b        1      0         1  -b  b2
 *          0    a2b2      0       -a2-b2      0      1         0   0  1       N  = diag(1 na na nb nb 1)
 *
 *     a = 11/16, b = 3/2, na = 1 / (2 a2 (a2 - b2)), nb = 1 / (2 b2 (b2 - a2))
 *
 * Errors. An output is a sum over points that cancel in part: with independent inputs and weights, what is
 * off in the products counts 4.8 times (root mean square; 10.8 times at the usual points 1 and 2; no five
 * points beside infinity have less than 4.7). So chains over channels are short (conv_wino.c), and N, whose
 * numbers no float has, stands where it costs no rounding of its own: all constants but na, nb and 1/a2b2 are
 * exact, and weights are rounded twice a dimension. In units of 2^-24 of the output, of random numbers: 2.6
 * from the window, 2.1 from the weights, 2.5 from the outputs' transform, 7 from the sums; a direct sum of 64
 * channels in one chain has 5.7.
 *
 * The sums are 36 matrix products, one a point, by the micro-kernels of conv.h. The data gradient is the
 * forward pass over dout with transposed weights turned by 180 degrees.
 *
 * Where a value is not finite, all outputs of the tiles that read it are not finite: up to four pixels
 * further than by definition. */
#ifndef DDP_COMPUTE_CONV_WINO_H
#define DDP_COMPUTE_CONV_WINO_H

#include "ops/conv/conv.h"

enum {
    DDP_WINO_TILE = 4,
    DDP_WINO_WINDOW = DDP_WINO_TILE + 2,
    DDP_WINO_POINTS = DDP_WINO_WINDOW * DDP_WINO_WINDOW,
    /* They decide the bits: */
    DDP_WINO_CHAIN = 28, /* tiles in one chain of the weight gradient */
    DDP_WINO_PIECE = 2,  /* channel blocks in one chain of forward and data gradient */
};
#define DDP_WINO_A 0.6875
#define DDP_WINO_B 1.5

/* Whether a layer is computed this way: a function of its shape alone, because it decides the bits. */
bool ddp_wino_fits(const struct ddp_conv_geom *g, int stride, int pad, int out_h, int out_w);
/* Zero borders that windows reach into, the memory of all passes for shards of `batch` samples, and the
 * work. */
void ddp_wino_plan(const struct ddp_conv_geom *g, int pad, const struct ddp_shape *in, int batch,
                   struct ddp_layer_plan *p);

/* The passes of a layer that fits; pad is the layer's. Each wants at least one sample. */
void ddp_wino_forward(const struct ddp_op_call *call, int pad, const float *bias);
void ddp_wino_data_gradient(const struct ddp_op_call *call, int pad);
void ddp_wino_weight_gradient(const struct ddp_op_call *call, int pad);

/* Tiles, counted row by row through all pictures, and what is kept of them at each point:
 * points[p * point + (block * room + tile) * 16], block 0 being `block` of x, tile 0 being `first`. */
struct ddp_wino_tiles {
    const struct ddp_tensor *x;
    int block, blocks; /* channel blocks */
    int ny, nx;        /* tiles of a picture */
    int first, count;
    int shift; /* window reads tile (i, j) from row 4i + shift, column 4j + shift on */
    float *points;
    int room;
    int64_t point;
    /* x lies behind a max_pool of 2x2 windows: gather leaves maxima, window and spread read each at its place
     * in front of the pool and zeros around it. argmax: as in ddp_saved_pool(); gather: NULL where nobody
     * will ask. */
    bool pooled;
    uint8_t *argmax;
};

/* At most one of load, mask and the others. */
struct ddp_wino_epilogue {
    bool load;         /* add to x */
    bool mask;         /* zero where x is not positive */
    bool relu;         /* max(0, .), NaN stays */
    const float *bias; /* [c of x] added; NULL: none */
};

/* What lies outside of a picture and its border is read as zero. */
struct ddp_wino_kernels {
    void (*window)(const struct ddp_wino_tiles *t); /* points = B' d B of the window of 6x6 */
    void (*spread)(const struct ddp_wino_tiles *t); /* points = A dy A' of the tile of 4x4 */
    /* x = epilogue(A' points A); what lies outside of x is not written. */
    void (*gather)(const struct ddp_wino_tiles *t, struct ddp_wino_epilogue e);
    /* points[p * point + i] = G g G' for the 256 weights i of a block; their 9 taps lie 256 floats apart.
     * turn: from the last tap to the first. */
    void (*weights)(const float *g, bool turn, float *points, int64_t point);
    void (*weights_back)(const float *points, int64_t point, float *g); /* g = G' points G */
};

DDP_CPU_TABLE(struct ddp_wino_kernels, ddp_wino_kernels)

#endif
