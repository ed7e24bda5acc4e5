/* Winograd's minimal filtering (Lavin and Gray, CVPR 2016) for 3x3 convolutions with stride 1: outputs in
 * tiles of 2x2, each from a window of 4x4 inputs with 16 multiplications instead of 36.
 *
 *     forward, data gradient   y  = A' [(G g G') * (B' d B)] A      * by point, then summed over channels
 *     weight gradient          dg = G' [(A dy A') * (B' d B)] G     * by point, then summed over tiles
 *     B' = 1  0 -1  0    G = 1    0   0     A' = 1 1  1  0
 *          0  1  1  0        1/2  1/2 1/2        0 1 -1 -1
 *          0 -1  1  0        1/2 -1/2 1/2
 *          0  1  0 -1        0    0   1
 *
 * The sums are 16 matrix products, one a point, by the micro-kernels of conv.h. The data gradient is the
 * forward pass over dout with transposed weights turned by 180 degrees.
 *
 * Where a value is not finite, all outputs of the tiles that read it are not finite: up to two pixels further
 * than by definition. */
#ifndef DDP_COMPUTE_CONV_WINO_H
#define DDP_COMPUTE_CONV_WINO_H

#include "ops/conv/conv.h"

/* Whether a layer is computed this way: a function of its shape alone, because it decides the bits. */
bool ddp_wino_fits(const struct ddp_conv_geom *g, int stride, int pad, int out_h, int out_w);
/* Zero borders that windows and tiles at the edge reach into, the memory of all passes, and their work. */
void ddp_wino_plan(const struct ddp_conv_geom *g, int pad, struct ddp_layer_plan *p);

/* The passes of a layer that fits; pad is the layer's. Each wants at least one sample. */
void ddp_wino_forward(const struct ddp_op_call *call, int pad, const float *bias);
void ddp_wino_data_gradient(const struct ddp_op_call *call, int pad);
void ddp_wino_weight_gradient(const struct ddp_op_call *call, int pad);

/* Tiles of 2x2, counted row by row through all pictures, and what is kept of them at each of 16 points:
 * points[p * point + (block * room + tile) * 16], tile 0 being `first`. */
struct ddp_wino_tiles {
    const struct ddp_tensor *x;
    int block, blocks; /* channel blocks */
    int ny, nx;        /* tiles of a picture */
    int first, count;
    int shift; /* window and spread read tile (i, j) from row 2i + shift, column 2j + shift on */
    float *points;
    int room;
    int64_t point;
};

struct ddp_wino_kernels {
    void (*window)(const struct ddp_wino_tiles *t); /* points = B' d B of the window of 4x4 */
    void (*spread)(const struct ddp_wino_tiles *t); /* points = A dy A' of the tile of 2x2 */
    /* x = epilogue(A' points A), tile (i, j) from row 2i, column 2j on; what lies outside of x is not
     * written. load: add to x; bias: [blocks * 16] or NULL; relu: max(0, .), NaN stays. */
    void (*gather)(const struct ddp_wino_tiles *t, bool load, const float *bias, bool relu);
    /* points[p * point + i] = G g G' for the 256 weights i of a block; their 9 taps lie 256 floats apart.
     * turn: from the last tap to the first. */
    void (*weights)(const float *g, bool turn, float *points, int64_t point);
    void (*weights_back)(const float *points, int64_t point, float *g); /* g = G' points G */
};

DDP_CPU_TABLE(struct ddp_wino_kernels, ddp_wino_kernels)

#endif
