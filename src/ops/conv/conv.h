/* What convolution and linear layers share: the geometry of blocked weights, and the kernels under them.
 *
 * Weights lie as [kb][wb][r][s][16c][16k]: for each block of 16 outputs the `wb` channel blocks that its
 * groups touch, starting at ddp_conv_first(). With groups = 1 these are all channel blocks; with groups of
 * whole blocks those of the group; else neighbouring groups share a block, and entries of another group are
 * zero and stay zero. */
#ifndef DDP_COMPUTE_CONV_H
#define DDP_COMPUTE_CONV_H

#include <stdbool.h>
#include <stdint.h>

#include "ops/cpu/cpu.h"
#include "ddp/op.h"

struct ddp_conv_geom {
    int c, k, r, s, groups; /* channels in and out, kernel rows and columns */
    int cg, kg;             /* channels of one group */
    int cb, kb;             /* blocks of 16 in c and k */
    int wb;                 /* channel blocks that a block of outputs reads */
};

struct ddp_conv_geom ddp_conv_geom(const struct ddp_param *weight);

/* First channel block that output block kb reads. It grows with kb. */
static inline int ddp_conv_first(const struct ddp_conv_geom *g, int kb)
{
    int first = kb * 16 / g->kg * g->cg / 16;
    return first < g->cb - g->wb ? first : g->cb - g->wb;
}

/* Floats of weights for one output block. */
static inline int64_t ddp_conv_kstride(const struct ddp_conv_geom *g)
{
    return (int64_t)g->wb * g->r * g->s * 256;
}

/* Real channels in block b of c channels. */
static inline int ddp_conv_real(int c, int b)
{
    return c - b * 16 < 16 ? c - b * 16 : 16;
}

/* Zero what is padding or off-group in a weight or its gradient. */
void ddp_conv_clear_padding(const struct ddp_conv_geom *g, float *w);

/* Tile of outputs: forward, data gradient, linear layers.
 *
 *     out[y][p][k] = epilogue(start + sum over blocks, taps r, taps s, channels c of
 *                                     a[y][p][block, r, s, c] * b[block, r, s, c][k])
 *
 * one chain of fused multiply-adds in exactly this order, starting from 0 or from what out holds (load), or
 * added to that when it is complete (add). The error of a chain grows with the root of its length: so sums of
 * many terms are cut, by calls with `add`, or, where one tap is summed over whole blocks, into pieces: chains
 * of `piece` blocks, added in pairs, and pairs in order. All strides in floats. */
struct ddp_conv_tile {
    const float *a;
    int64_t a_y, a_p, a_c, a_r,
        a_s; /* from one row of pixels, pixel, channel block, tap row, tap column to the next */
    const float *b;
    int64_t b_k, b_c, b_r, b_s; /* from one output block, channel block, tap row, tap column to the next */
    float *out;
    int64_t o_y, o_p, o_k;
    int ny, np, nk;    /* rows, pixels in a row, output blocks (1 or 2) */
    int nc, nr, ns;    /* channel blocks and taps to sum over; 0 taps: the sum is 0 */
    int last;          /* channels of the last of the nc blocks; the others have 16 */
    int real;          /* real outputs in the last of the nk blocks; the rest is written as zero */
    int piece;         /* 0: one chain; without load */
    bool load, add;    /* at most one of them */
    bool relu;         /* epilogue: max(0, .), NaN stays */
    const float *bias; /* epilogue: [nk * 16] added; NULL: none */
    /* Weights that come next, of as many blocks and of one tap, as b: asked for meanwhile, a few lines a
     * channel block. NULL: none; not with pieces or several rows. */
    const float *next;
};

/* Tile of weight gradients for one channel block and one or two output blocks:
 *
 *     w[k block][r][s][c][k] (+)= sum over images, rows y, columns x of
 *                 in[.][y * stride + r * dilation - pad][x * stride + s * dilation - pad][c] * d[.][y][x][k]
 *
 * one chain in this order from 0, then stored or added. clip: outside of the picture is not read but
 * skipped. */
struct ddp_conv_wtile {
    const float *x;        /* first image, pixel (0, 0), channel 0 of the block */
    int64_t x_n, x_y, x_x; /* from one image, row, pixel to the next */
    const float *d;
    int64_t d_n, d_y, d_x, d_k;
    float *w;
    int64_t w_k;
    int images, rows, cols; /* of d */
    int h, w_;              /* of x: only for clip */
    int stride, pad, dilation;
    int r, s, c, nk; /* taps, real channels, output blocks (1 or 2) */
    bool clip, add;
};

struct ddp_conv_kernels {
    void (*tile)(const struct ddp_conv_tile *t);
};

struct ddp_wgrad_kernels {
    void (*tile)(const struct ddp_conv_wtile *t);
};

struct ddp_bias_kernels {
    /* One channel block of n images, rows, columns: with out set, d becomes 0 where out <= 0; with sum set,
     * sum[16] = sums of d over all pixels. sum[i]: per chunk of `chunk` images four chains (x modulo 4),
     * added as (0 + 1) + (2 + 3), chunks added in order. */
    void (*mask_sum)(const struct ddp_tensor *d, const struct ddp_tensor *out, int block, int chunk,
                     float *sum);
    /* The sums where d lies behind a max_pool of 2x2 windows, argmax as in ddp_saved_pool(): those over all
     * pixels in front of it. */
    void (*sum_pooled)(const struct ddp_tensor *d, const uint8_t *argmax, int block, int chunk, float *sum);
    /* One channel block of a tensor, in another order. */
    void (*reorder)(const struct ddp_tensor *from, int block, const struct ddp_tensor *to);
    /* count blocks of 16 x 16, from_stride and to_stride floats apart, transposed. */
    void (*transpose)(const float *from, int64_t from_stride, float *to, int64_t to_stride, int count);
};

DDP_CPU_TABLE(struct ddp_conv_kernels, ddp_conv_kernels)
DDP_CPU_TABLE(struct ddp_wgrad_kernels, ddp_wgrad_kernels)
DDP_CPU_TABLE(struct ddp_bias_kernels, ddp_bias_kernels)

/* Bytes of a max_pool that the layer has taken along; NULL: it has not, or nobody will ask for them. */
uint8_t *ddp_conv_argmax(const struct ddp_op_call *call);
/* What both ops do before their gradients: mask dout by a fused ReLU and sum it into the bias gradient
 * (either may be absent), in one pass over dout. Behind a max_pool there is nothing to mask: a maximum that
 * ReLU has cut off stands at no pixel. chunk: images in one chain, by shape. */
void ddp_conv_mask_bias(const struct ddp_op_call *call, int chunk, float *bias_grad);
/* `from` in the order of `to`. */
void ddp_conv_reorder(const struct ddp_tensor *from, const struct ddp_tensor *to, struct ddp_pool *pool);
/* "weight" and "bias" with the chosen initial values; returns how many parameters. */
enum ddp_conv_init {
    DDP_CONV_INIT_DEFAULT,
    DDP_CONV_INIT_KN,
    DDP_CONV_INIT_KU,
    DDP_CONV_INIT_XU,
    DDP_CONV_INIT_XN
};
#define DDP_CONV_INIT_CHOICES "default|kaiming_normal|kaiming_uniform|xavier_uniform|xavier_normal"
int ddp_conv_params(struct ddp_param weight, int init, double fan_in, double fan_out, bool bias,
                    struct ddp_param *params);

#endif
