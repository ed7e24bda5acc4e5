/* Winograd's convolution over whole tensors, forward and data gradient, in one of two orders that give the
 * same bits:
 *
 *   tiles outside     weights are transformed once; blocks of tiles go through transform, products and
 *                     transform while they lie in the second-level cache
 *   weights outside   all tiles are transformed once; pairs of output blocks go through products and
 *                     transform, their weights transformed a few blocks at a time into that cache: where
 *                     tiles are few and weights many, so that these never pass memory
 *
 * Accumulation order, fixed by shape, at each point: chains of DDP_WINO_PIECE blocks of channels, added in
 * pairs, and pairs in order; the second order transforms weights a pair at a time. Threads take tiles or
 * output blocks, each with memory of its own; no sum is ever cut between them.
 *
 * Versions tried (AVX-512; time of both passes at 64 to 512 channels, error of ResNet-18's 512 beside that of
 * PyTorch): one chain, 12 times; pieces of 2 blocks, no slower, 4.0; of 1 block, in fours, +4 %, 3.5.
 *
 * FLOPs, C to K channels: 72 C K a tile, 4.5 C K an output; a direct convolution has 18 C K. */
#include "ops/conv/conv_wino.h"

#include "base/parts.h"
#include "ops/ops.h"
#include "ops/conv/conv_wino_plan.h"

bool ddp_wino_fits(const struct ddp_conv_geom *g, int stride, int pad, int out_h, int out_w)
{
    return g->r == 3 && g->s == 3 && g->groups == 1 && stride == 1 && pad <= 2 && g->c % 16 == 0 &&
           g->k % 16 == 0 && out_h >= DDP_WINO_TILE && out_w >= DDP_WINO_TILE;
}

/* Floats of one thread of a sweep from nb to mb blocks. */
static int64_t sweep_lane(int nb, int mb, int tiles, bool weights_outside)
{
    if (weights_outside)
        return DDP_WINO_POINTS * (ddp_wino_room(2, tiles) + ddp_wino_weights(2 * DDP_WINO_PART));
    return DDP_WINO_POINTS * (ddp_wino_room(nb, DDP_WINO_BLOCK) + ddp_wino_room(mb, DDP_WINO_BLOCK));
}

/* Floats that a sweep's threads share. */
static int64_t sweep_shared(int nb, int mb, int tiles, bool weights_outside)
{
    return DDP_WINO_POINTS * (weights_outside ? ddp_wino_room(nb, tiles) : ddp_wino_weights(nb * mb));
}

static int64_t sweep_floats(int nb, int mb, int tiles)
{
    const bool outside = ddp_wino_weights_outside(nb * mb, tiles);
    return sweep_shared(nb, mb, tiles, outside) + DDP_WINO_LANES * sweep_lane(nb, mb, tiles, outside);
}

void ddp_wino_plan(const struct ddp_conv_geom *g, int pad, const struct ddp_shape *in, int batch,
                   struct ddp_layer_plan *p)
{
    const int out = ddp_wino_across(p->out.h) * ddp_wino_across(p->out.w),
              back = ddp_wino_across(in->h) * ddp_wino_across(in->w);
    int64_t most = 0;
    for (int n = 1; n <= batch; n++) { /* a shard may have fewer: another order then */
        const int64_t floats[] = {sweep_floats(g->cb, g->kb, n * out), sweep_floats(g->kb, g->cb, n * back),
                                  ddp_wino_wgrad_floats(g, n * out)};
        for (int i = 0; i < 3; i++)
            most = floats[i] > most ? floats[i] : most;
    }
    p->in_halo = pad;
    p->dout_halo = 2 - pad;
    p->scratch_bytes = (size_t)most * sizeof(float);
    p->algorithm = "Winograd F(4x4,3x3)";
    p->done = 2.0 * DDP_WINO_POINTS * g->k * g->cg * out;
}

struct sweep {
    struct ddp_conv_geom g;
    struct ddp_pool *pool;
    const struct ddp_tensor *from, *to;
    const float *w;
    struct ddp_wino_epilogue epilogue;
    /* what threads share: transformed weights [point][block of to][block of from][256], or transformed tiles;
     * memory of threads */
    float *shared, *lanes;
    int nb, mb, tiles, ny, nx; /* blocks of from and to; tiles of all pictures and of one */
    int shift, blocks, tasks;
    bool back, pooled;
    uint8_t *argmax;
    struct ddp_part part[DDP_WINO_LANES]; /* [tasks] of the blocks */
};

/* Weights from block b of `from` to block m of `to`, at all points. */
static void transform_weights(const struct sweep *s, int m, int b, float *to, int64_t point)
{
    _Alignas(64) float turned[9 * 256];
    const int kb = s->back ? b : m, cb = s->back ? m : b;
    const float *w = s->w + ((int64_t)kb * s->g.cb + cb) * 9 * 256;
    if (s->back)
        ddp_bias_kernels()->transpose(w, 256, turned, 256, 9);
    ddp_wino_kernels()->weights(s->back ? turned : w, s->back, to, point);
}

static struct ddp_wino_tiles tiles_of(const struct sweep *s, const struct ddp_tensor *x, int blocks,
                                      float *points, int room)
{
    return (struct ddp_wino_tiles){.x = x,
                                   .blocks = blocks,
                                   .ny = s->ny,
                                   .nx = s->nx,
                                   .shift = s->shift,
                                   .points = points,
                                   .room = room,
                                   .point = ddp_wino_room(blocks, room),
                                   .pooled = s->pooled && s->back == (x == s->from),
                                   .argmax = s->argmax};
}

/* ---- tiles outside ---- */

/* Weights that make one block of outputs. */
static void weights_task(void *ctx, int m)
{
    const struct sweep *s = ctx;
    for (int b = 0; b < s->nb; b++)
        transform_weights(s, m, b, s->shared + ((int64_t)m * s->nb + b) * 256,
                          ddp_wino_weights(s->nb * s->mb));
}

/* Blocks of tiles, those of part `task` first. */
static void tiles_task(void *ctx, int task)
{
    struct sweep *s = ctx;
    struct ddp_wino_tiles v = tiles_of(
        s, s->from, s->nb, s->lanes + task * sweep_lane(s->nb, s->mb, s->tiles, false), DDP_WINO_BLOCK);
    struct ddp_wino_tiles m = tiles_of(s, s->to, s->mb, v.points + DDP_WINO_POINTS * v.point, DDP_WINO_BLOCK);
    struct ddp_conv_tile t = {.a_p = 16,
                              .a_c = DDP_WINO_BLOCK * 16,
                              .b_k = s->nb * 256,
                              .b_c = 256,
                              .o_p = 16,
                              .o_k = DDP_WINO_BLOCK * 16,
                              .ny = 1,
                              .nk = s->mb,
                              .piece = DDP_WINO_PIECE,
                              .nc = s->nb,
                              .nr = 1,
                              .ns = 1,
                              .last = 16,
                              .real = 16};
    for (int64_t i; (i = ddp_parts_take(s->part, s->tasks, task)) >= 0;) {
        v.first = m.first = ddp_wino_cut(s->tiles, s->blocks, i);
        t.np = v.count = m.count = ddp_wino_cut(s->tiles, s->blocks, i + 1) - v.first;
        ddp_wino_kernels()->window(&v);
        for (int p = 0; p < DDP_WINO_POINTS; p++) {
            t.a = v.points + p * v.point;
            t.b = s->shared + p * ddp_wino_weights(s->nb * s->mb);
            t.out = m.points + p * m.point;
            ddp_conv_kernels()->tile(&t);
        }
        ddp_wino_kernels()->gather(&m, s->epilogue);
        ddp_pool_pause(s->pool);
    }
}

/* ---- weights outside ---- */

static void window_task(void *ctx, int block)
{
    const struct sweep *s = ctx;
    struct ddp_wino_tiles v = tiles_of(s, s->from, s->nb, s->shared, s->tiles);
    v.points += (int64_t)block * s->tiles * 16;
    v.block = block;
    v.blocks = 1;
    v.count = s->tiles;
    ddp_wino_kernels()->window(&v);
}

/* Output blocks `first` and the next, of all tiles; w: the thread's memory. */
static void run_pair(const struct sweep *s, int first, float *w)
{
    const int nk = first + 1 < s->mb ? 2 : 1;
    const int64_t weights = ddp_wino_weights(2 * DDP_WINO_PART), from = ddp_wino_room(s->nb, s->tiles);
    struct ddp_wino_tiles m = tiles_of(s, s->to, 2, w + DDP_WINO_POINTS * weights, s->tiles);
    m.block = first;
    m.blocks = nk;
    m.count = s->tiles;
    struct ddp_conv_tile t = {.a_p = 16,
                              .a_c = s->tiles * 16,
                              .b_k = DDP_WINO_PART * 256,
                              .b_c = 256,
                              .o_p = 16,
                              .o_k = s->tiles * 16,
                              .ny = 1,
                              .np = s->tiles,
                              .nk = nk,
                              .piece = DDP_WINO_PIECE,
                              .nr = 1,
                              .ns = 1,
                              .last = 16,
                              .real = 16};
    for (int c = 0; c < s->nb; c += t.nc) {
        t.nc = s->nb - c < DDP_WINO_PART ? s->nb - c : DDP_WINO_PART;
        t.add = c > 0;
        for (int k = 0; k < nk; k++)
            for (int b = 0; b < t.nc; b++)
                transform_weights(s, first + k, c + b, w + (k * DDP_WINO_PART + b) * 256, weights);
        for (int p = 0; p < DDP_WINO_POINTS; p++) {
            t.a = s->shared + p * from + (int64_t)c * s->tiles * 16;
            t.b = w + p * weights;
            t.out = m.points + p * m.point;
            ddp_conv_kernels()->tile(&t);
        }
    }
    ddp_wino_kernels()->gather(&m, s->epilogue);
}

/* Pairs, those of part `task` first. */
static void pairs_task(void *ctx, int task)
{
    struct sweep *s = ctx;
    float *w = s->lanes + task * sweep_lane(s->nb, s->mb, s->tiles, true);
    for (int64_t i; (i = ddp_parts_take(s->part, s->tasks, task)) >= 0;) {
        run_pair(s, (int)(2 * i), w);
        ddp_pool_pause(s->pool);
    }
}

/* ---- a pass ---- */

static void sweep_run(struct sweep *s, const struct ddp_op_call *call)
{
    const int threads = ddp_wino_threads(call->pool);
    s->pool = call->pool;
    s->w = call->param[0];
    s->nb = ddp_blocks(s->from->c);
    s->mb = ddp_blocks(s->to->c);
    s->ny = ddp_wino_across(s->back ? s->to->h : call->plan->out.h);
    s->nx = ddp_wino_across(s->back ? s->to->w : call->plan->out.w);
    s->pooled = call->fused & DDP_FUSE_POOL;
    s->argmax = ddp_conv_argmax(call);
    s->tiles = s->to->n * s->ny * s->nx;
    s->shared = call->scratch;
    const bool outside = ddp_wino_weights_outside(s->nb * s->mb, s->tiles);
    s->lanes = s->shared + sweep_shared(s->nb, s->mb, s->tiles, outside);
    s->blocks = outside ? (s->mb + 1) / 2 : ddp_wino_blocks(s->tiles);
    s->tasks = s->blocks < threads ? s->blocks : threads;
    ddp_parts_cut(s->part, s->tasks, s->blocks);
    ddp_parallel(call->pool, outside ? s->nb : s->mb, outside ? window_task : weights_task, s);
    ddp_parallel(call->pool, s->tasks, outside ? pairs_task : tiles_task, s);
}

void ddp_wino_forward(const struct ddp_op_call *call, int pad, const float *bias)
{
    struct sweep s = {.g = ddp_conv_geom(&call->plan->params[0]),
                      .from = call->in[0],
                      .to = call->out,
                      .shift = -pad,
                      .epilogue = {.bias = bias, .relu = call->fused & DDP_FUSE_RELU}};
    sweep_run(&s, call);
}

void ddp_wino_data_gradient(const struct ddp_op_call *call, int pad)
{
    struct sweep s = {.g = ddp_conv_geom(&call->plan->params[0]),
                      .from = call->dout,
                      .to = call->din[0],
                      .shift = pad - 2,
                      .back = true,
                      .epilogue = {.load = call->accumulate[0], .mask = call->mask_din}};
    sweep_run(&s, call);
}
