/* Winograd's convolution over whole tensors: blocks of tiles go through transform, 16 products and transform
 * while they lie in the second-level cache.
 *
 * Accumulation order, fixed by shape. Forward and data gradient: channels ascending, at each point. Weight
 * gradient: tiles ascending in chains of 42 tiles, chains added in order, at each point. Threads take
 * tiles (forward, data gradient) or blocks of weights (weight gradient), each with memory of its own; no
 * chain is ever cut between them.
 *
 * FLOPs, C to K channels: 32 C K a tile, 8 C K an output; a direct convolution has 18 C K. */
#include "ops/conv/conv_wino.h"

#include "ops/ops.h"

enum {
    POINTS = 16,
    /* Tiles in a block, and in a chain of the weight gradient: there it decides the bits. Whole tiles of all
     * micro-kernels; the points of 64 + 64 channels take 350 KiB. */
    ROOM = 42,
    GAP = 16, /* floats between points: without it, a power of two apart, all fall into one set of a cache */
    LANES = 16, /* threads at most */
};

bool ddp_wino_fits(const struct ddp_conv_geom *g, int stride, int pad, int out_h, int out_w)
{
    return g->r == 3 && g->s == 3 && g->groups == 1 && stride == 1 && pad <= 2 && g->c % 16 == 0 &&
           g->k % 16 == 0 && out_h * out_w > 16;
}

static int tiles(int size)
{
    return (size + 1) / 2;
}

static int64_t point_weights(const struct ddp_conv_geom *g)
{
    return (int64_t)g->cb * g->kb * 256 + GAP;
}

static int64_t point_tiles(int blocks)
{
    return (int64_t)blocks * ROOM * 16 + GAP;
}

/* Floats of one thread: points of what comes in and of what goes out. */
static int64_t lane_floats(const struct ddp_conv_geom *g)
{
    return POINTS * (point_tiles(g->cb) + point_tiles(g->kb));
}

void ddp_wino_plan(const struct ddp_conv_geom *g, int pad, struct ddp_layer_plan *p)
{
    int odd = p->out.h % 2 || p->out.w % 2; /* so is what comes in */
    p->in_halo = pad + odd;
    p->dout_halo = 2 - pad + odd;
    p->scratch_bytes = (size_t)(POINTS * point_weights(g) + LANES * lane_floats(g)) * sizeof(float);
    p->algorithm = "Winograd F(2x2,3x3)";
    p->done = 2.0 * POINTS * g->k * g->cg * tiles(p->out.h) * tiles(p->out.w);
}

/* ---- forward and data gradient ---- */

struct sweep {
    struct ddp_conv_geom g;
    struct ddp_pool *pool;
    const struct ddp_tensor *from, *to;
    const float *w, *bias;
    float *points,
        *lanes; /* transformed weights [16][blocks of to][blocks of from][256]; memory of threads */
    int shift, blocks, tasks;
    bool back, load, relu;
};

/* Weights that make one block of outputs. */
static void weights_task(void *ctx, int block)
{
    const struct sweep *s = ctx;
    const struct ddp_conv_geom *g = &s->g;
    _Alignas(64) float turned[9 * 256];
    float *to = s->points + (int64_t)block * ddp_blocks(s->from->c) * 256;
    for (int b = 0; b < ddp_blocks(s->from->c); b++, to += 256) {
        int kb = s->back ? b : block, cb = s->back ? block : b;
        const float *w = s->w + ((int64_t)kb * g->cb + cb) * 9 * 256;
        if (s->back)
            ddp_bias_kernels()->transpose(w, 256, turned, 256, 9);
        ddp_wino_kernels()->weights(s->back ? turned : w, s->back, to, point_weights(g));
    }
}

/* Part `task` of the blocks of tiles. */
static void sweep_task(void *ctx, int task)
{
    const struct sweep *s = ctx;
    int nb = ddp_blocks(s->from->c), mb = ddp_blocks(s->to->c);
    struct ddp_wino_tiles v = {.x = s->from,
                               .blocks = nb,
                               .ny = tiles(s->to->h),
                               .nx = tiles(s->to->w),
                               .shift = s->shift,
                               .points = s->lanes + task * lane_floats(&s->g),
                               .room = ROOM,
                               .point = point_tiles(nb)};
    struct ddp_wino_tiles m = v;
    m.x = s->to;
    m.blocks = mb;
    m.points = v.points + POINTS * v.point;
    m.point = point_tiles(mb);
    struct ddp_conv_tile t = {.a_p = 16,
                              .a_c = ROOM * 16,
                              .b_k = nb * 256,
                              .b_c = 256,
                              .o_p = 16,
                              .o_k = ROOM * 16,
                              .ny = 1,
                              .nk = mb,
                              .nc = nb,
                              .nr = 1,
                              .ns = 1,
                              .last = 16,
                              .real = 16};
    int all = s->to->n * v.ny * v.nx, lo = (int)((int64_t)s->blocks * task / s->tasks) * ROOM,
        hi = (int)((int64_t)s->blocks * (task + 1) / s->tasks) * ROOM;
    hi = hi < all ? hi : all;
    for (int i = lo; i < hi; i += ROOM) {
        v.first = m.first = i;
        t.np = v.count = m.count = hi - i < ROOM ? hi - i : ROOM;
        ddp_wino_kernels()->window(&v);
        for (int p = 0; p < POINTS; p++) {
            t.a = v.points + p * v.point;
            t.b = s->points + p * point_weights(&s->g);
            t.out = m.points + p * m.point;
            ddp_conv_kernels()->tile(&t);
        }
        ddp_wino_kernels()->gather(&m, s->load, s->bias, s->relu);
        ddp_pool_pause(s->pool);
    }
}

static int threads_of(const struct ddp_pool *pool)
{
    int threads = pool ? ddp_pool_threads(pool) : 1;
    return threads < LANES ? threads : LANES;
}

static void sweep_run(struct sweep *s, const struct ddp_op_call *call)
{
    int threads = threads_of(call->pool);
    s->pool = call->pool;
    s->w = call->param[0];
    s->points = call->scratch;
    s->lanes = s->points + POINTS * point_weights(&s->g);
    s->blocks = (s->to->n * tiles(s->to->h) * tiles(s->to->w) + ROOM - 1) / ROOM;
    s->tasks = s->blocks < threads ? s->blocks : threads;
    ddp_parallel(call->pool, ddp_blocks(s->to->c), weights_task, s);
    ddp_parallel(call->pool, s->tasks, sweep_task, s);
}

void ddp_wino_forward(const struct ddp_op_call *call, int pad, const float *bias)
{
    struct sweep s = {.g = ddp_conv_geom(&call->plan->params[0]),
                      .from = call->in[0],
                      .to = call->out,
                      .bias = bias,
                      .shift = -pad,
                      .relu = call->fused & DDP_FUSE_RELU};
    sweep_run(&s, call);
}

void ddp_wino_data_gradient(const struct ddp_op_call *call, int pad)
{
    struct sweep s = {.g = ddp_conv_geom(&call->plan->params[0]),
                      .from = call->dout,
                      .to = call->din[0],
                      .shift = pad - 2,
                      .back = true,
                      .load = call->accumulate[0]};
    sweep_run(&s, call);
}

/* ---- weight gradient ---- */

struct wgrad {
    const struct ddp_op_call *call;
    struct ddp_conv_geom g;
    float *points, *lanes; /* gradient at the points [16][kb][cb][256]; memory of threads */
    int pad, tasks_k, tasks_c;
};

/* One rectangle of output blocks (in pairs) and channel blocks. */
static void wgrad_task(void *ctx, int task)
{
    const struct wgrad *w = ctx;
    const struct ddp_conv_geom *g = &w->g;
    const struct ddp_tensor *in = w->call->in[0], *d = w->call->dout;
    int pairs = (g->kb + 1) / 2, tk = task / w->tasks_c, tc = task % w->tasks_c;
    int k0 = pairs * tk / w->tasks_k * 2, k1 = pairs * (tk + 1) / w->tasks_k * 2;
    int c0 = g->cb * tc / w->tasks_c, c1 = g->cb * (tc + 1) / w->tasks_c;
    k1 = k1 < g->kb ? k1 : g->kb;
    struct ddp_wino_tiles v = {.x = in,
                               .block = c0,
                               .blocks = c1 - c0,
                               .ny = tiles(d->h),
                               .nx = tiles(d->w),
                               .shift = -w->pad,
                               .points = w->lanes + task * lane_floats(g),
                               .room = ROOM,
                               .point = point_tiles(c1 - c0)};
    struct ddp_wino_tiles s = v;
    s.x = d;
    s.block = k0;
    s.blocks = k1 - k0;
    s.shift = 0;
    s.points = v.points + POINTS * v.point;
    s.point = point_tiles(k1 - k0);
    struct ddp_conv_wtile t = {.dilation = 1,
                               .x_x = 16,
                               .d_x = 16,
                               .d_k = ROOM * 16,
                               .w_k = g->cb * 256,
                               .images = 1,
                               .rows = 1,
                               .stride = 1,
                               .r = 1,
                               .s = 1,
                               .c = 16};
    int all = d->n * v.ny * v.nx;
    for (int i = 0; i < all; i += ROOM) {
        v.first = s.first = i;
        t.cols = v.count = s.count = all - i < ROOM ? all - i : ROOM;
        t.add = i > 0;
        ddp_wino_kernels()->window(&v);
        ddp_wino_kernels()->spread(&s);
        for (int p = 0; p < POINTS; p++) {
            for (int kb = k0; kb < k1; kb += 2) {
                t.nk = kb + 1 < k1 ? 2 : 1;
                t.d = s.points + p * s.point + (kb - k0) * t.d_k;
                for (int cb = c0; cb < c1; cb++) {
                    t.x = v.points + p * v.point + (int64_t)(cb - c0) * ROOM * 16;
                    t.w = w->points + p * point_weights(g) + (kb * g->cb + cb) * (int64_t)256;
                    ddp_wgrad_kernels()->tile(&t);
                }
            }
        }
        ddp_pool_pause(w->call->pool);
    }
    for (int kb = k0; kb < k1; kb++) {
        for (int cb = c0; cb < c1; cb++) {
            int64_t at = (int64_t)kb * g->cb + cb;
            ddp_wino_kernels()->weights_back(w->points + at * 256, point_weights(g),
                                             w->call->grad[0] + at * 9 * 256);
        }
    }
}

void ddp_wino_weight_gradient(const struct ddp_op_call *call, int pad)
{
    struct wgrad w = {.call = call, .g = ddp_conv_geom(&call->plan->params[0]), .pad = pad};
    int pairs = (w.g.kb + 1) / 2, threads = threads_of(call->pool);
    w.points = call->scratch;
    w.lanes = w.points + POINTS * point_weights(&w.g);
    w.tasks_k = pairs < threads ? pairs : threads;
    w.tasks_c = w.g.cb < threads / w.tasks_k ? w.g.cb : threads / w.tasks_k;
    ddp_parallel(call->pool, w.tasks_k * w.tasks_c, wgrad_task, &w);
}
