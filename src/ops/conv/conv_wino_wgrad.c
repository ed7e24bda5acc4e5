/* The weight gradient of Winograd's convolution. Accumulation order, fixed by shape: tiles ascending in
 * chains of DDP_WINO_CHAIN, chains added in order, at each point. Threads take rectangles of output blocks
 * and channel blocks, each with memory of its own.
 *
 *   tiles outside     a chain of tiles is transformed, and its products added to the points of a whole
 *                     rectangle
 *   weights outside   all tiles are transformed first; the points of one small rectangle after the other
 *                     stay in the second-level cache until their sums are complete */
#include "ops/conv/conv_wino.h"

#include "ops/ops.h"
#include "ops/conv/conv_wino_plan.h"

struct wgrad {
    const struct ddp_op_call *call;
    struct ddp_conv_geom g;
    struct ddp_wino_tiles in, dout;
    int tiles, pad, tasks_k, tasks_c;
    float *points, *lanes; /* gradient at the points [point][kb][cb][256]; memory of threads */
};

/* Output blocks [k0, k1), channel blocks [c0, c1). */
struct rectangle {
    int k0, k1, c0, c1;
};

static int64_t lane_floats(const struct ddp_conv_geom *g, bool weights_outside)
{
    if (weights_outside)
        return DDP_WINO_POINTS * ddp_wino_weights(2 * DDP_WINO_PART);
    return DDP_WINO_POINTS * (ddp_wino_room(g->cb, DDP_WINO_CHAIN) + ddp_wino_room(g->kb, DDP_WINO_CHAIN));
}

static int64_t shared_floats(const struct ddp_conv_geom *g, int tiles, bool weights_outside)
{
    return DDP_WINO_POINTS * (weights_outside ? ddp_wino_room(g->cb, tiles) + ddp_wino_room(g->kb, tiles)
                                              : ddp_wino_weights(g->cb * g->kb));
}

int64_t ddp_wino_wgrad_floats(const struct ddp_conv_geom *g, int tiles)
{
    const bool outside = ddp_wino_weights_outside(g->cb * g->kb, tiles);
    return shared_floats(g, tiles, outside) + DDP_WINO_LANES * lane_floats(g, outside);
}

/* Add one chain, tiles [at, at + count) of those that in and dout hold, to the points of a rectangle: `to` of
 * block (k0, c0) on, k_step floats from one output block to the next. first: there is nothing yet. */
static void add_chain(const struct rectangle *r, const struct ddp_wino_tiles *in,
                      const struct ddp_wino_tiles *dout, int at, int count, bool first, float *to,
                      int64_t point, int64_t k_step)
{
    struct ddp_conv_wtile t = {.dilation = 1,
                               .x_x = 16,
                               .d_x = 16,
                               .d_k = dout->room * 16,
                               .w_k = k_step,
                               .images = 1,
                               .rows = 1,
                               .cols = count,
                               .stride = 1,
                               .r = 1,
                               .s = 1,
                               .c = 16,
                               .add = !first};
    for (int p = 0; p < DDP_WINO_POINTS; p++) {
        for (int kb = r->k0; kb < r->k1; kb += 2) {
            t.nk = kb + 1 < r->k1 ? 2 : 1;
            t.d = dout->points + p * dout->point + ((int64_t)(kb - dout->block) * dout->room + at) * 16;
            for (int cb = r->c0; cb < r->c1; cb++) {
                t.x = in->points + p * in->point + ((int64_t)(cb - in->block) * in->room + at) * 16;
                t.w = to + p * point + (kb - r->k0) * k_step + (cb - r->c0) * (int64_t)256;
                ddp_wgrad_kernels()->tile(&t);
            }
        }
    }
}

/* From the points of a rectangle to its gradient. */
static void transform_back(const struct wgrad *w, const struct rectangle *r, const float *from, int64_t point,
                           int64_t k_step)
{
    for (int kb = r->k0; kb < r->k1; kb++)
        for (int cb = r->c0; cb < r->c1; cb++)
            ddp_wino_kernels()->weights_back(from + (kb - r->k0) * k_step + (cb - r->c0) * (int64_t)256,
                                             point,
                                             w->call->grad[0] + ((int64_t)kb * w->g.cb + cb) * 9 * 256);
}

/* Task of tasks_k x tasks_c. */
static struct rectangle rectangle_of(const struct wgrad *w, int task)
{
    const int pairs = (w->g.kb + 1) / 2, tk = task / w->tasks_c, tc = task % w->tasks_c;
    struct rectangle r = {.k0 = pairs * tk / w->tasks_k * 2,
                          .k1 = pairs * (tk + 1) / w->tasks_k * 2,
                          .c0 = w->g.cb * tc / w->tasks_c,
                          .c1 = w->g.cb * (tc + 1) / w->tasks_c};
    r.k1 = r.k1 < w->g.kb ? r.k1 : w->g.kb;
    return r;
}

/* ---- tiles outside ---- */

static void tiles_task(void *ctx, int task)
{
    const struct wgrad *w = ctx;
    const struct rectangle r = rectangle_of(w, task);
    const int64_t point = ddp_wino_weights(w->g.cb * w->g.kb), k_step = w->g.cb * (int64_t)256;
    float *to = w->points + r.k0 * k_step + r.c0 * (int64_t)256;
    struct ddp_wino_tiles v = w->in, s = w->dout;
    v.room = s.room = DDP_WINO_CHAIN;
    v.block = r.c0;
    v.blocks = r.c1 - r.c0;
    v.points = w->lanes + task * lane_floats(&w->g, false);
    v.point = ddp_wino_room(v.blocks, DDP_WINO_CHAIN);
    s.block = r.k0;
    s.blocks = r.k1 - r.k0;
    s.points = v.points + DDP_WINO_POINTS * v.point;
    s.point = ddp_wino_room(s.blocks, DDP_WINO_CHAIN);
    for (int i = 0; i < w->tiles; i += DDP_WINO_CHAIN) {
        v.first = s.first = i;
        v.count = s.count = w->tiles - i < DDP_WINO_CHAIN ? w->tiles - i : DDP_WINO_CHAIN;
        ddp_wino_kernels()->window(&v);
        ddp_wino_kernels()->spread(&s);
        add_chain(&r, &v, &s, 0, v.count, i == 0, to, point, k_step);
        ddp_pool_pause(w->call->pool);
    }
    transform_back(w, &r, to, point, k_step);
}

/* ---- weights outside ---- */

/* Blocks of channels, then of outputs. */
static void transform_task(void *ctx, int block)
{
    const struct wgrad *w = ctx;
    const bool in = block < w->g.cb;
    struct ddp_wino_tiles t = in ? w->in : w->dout;
    t.block = in ? block : block - w->g.cb;
    t.points += (int64_t)t.block * t.room * 16;
    t.blocks = 1;
    if (in)
        ddp_wino_kernels()->window(&t);
    else
        ddp_wino_kernels()->spread(&t);
}

static void rectangles_task(void *ctx, int task)
{
    const struct wgrad *w = ctx;
    const struct rectangle all = rectangle_of(w, task);
    const int64_t point = ddp_wino_weights(2 * DDP_WINO_PART), k_step = DDP_WINO_PART * 256;
    float *to = w->lanes + task * lane_floats(&w->g, true);
    for (int k = all.k0; k < all.k1; k += 2) {
        for (int c = all.c0; c < all.c1; c += DDP_WINO_PART) {
            const struct rectangle r = {k, k + 2 < all.k1 ? k + 2 : all.k1, c,
                                        c + DDP_WINO_PART < all.c1 ? c + DDP_WINO_PART : all.c1};
            for (int i = 0; i < w->tiles; i += DDP_WINO_CHAIN)
                add_chain(&r, &w->in, &w->dout, i,
                          w->tiles - i < DDP_WINO_CHAIN ? w->tiles - i : DDP_WINO_CHAIN, i == 0, to, point,
                          k_step);
            transform_back(w, &r, to, point, k_step);
        }
        ddp_pool_pause(w->call->pool);
    }
}

void ddp_wino_weight_gradient(const struct ddp_op_call *call, int pad)
{
    const struct ddp_tensor *d = call->dout;
    struct wgrad w = {.call = call, .g = ddp_conv_geom(&call->plan->params[0]), .pad = pad};
    const int pairs = (w.g.kb + 1) / 2, threads = ddp_wino_threads(call->pool);
    w.dout = (struct ddp_wino_tiles){.x = d,
                                     .blocks = w.g.kb,
                                     .ny = ddp_wino_across(call->plan->out.h),
                                     .nx = ddp_wino_across(call->plan->out.w)};
    w.tiles = w.dout.count = w.dout.room = d->n * w.dout.ny * w.dout.nx;
    w.in = w.dout;
    w.in.x = call->in[0];
    w.in.blocks = w.g.cb;
    w.in.shift = -pad;
    w.dout.pooled = call->fused & DDP_FUSE_POOL;
    w.dout.argmax = ddp_conv_argmax(call);
    const bool outside = ddp_wino_weights_outside(w.g.cb * w.g.kb, w.tiles);
    w.points = call->scratch;
    w.lanes = w.points + shared_floats(&w.g, w.tiles, outside);
    w.in.points = w.points;
    w.in.point = ddp_wino_room(w.g.cb, w.tiles);
    w.dout.points = w.in.points + DDP_WINO_POINTS * w.in.point;
    w.dout.point = ddp_wino_room(w.g.kb, w.tiles);
    w.tasks_k = pairs < threads ? pairs : threads;
    w.tasks_c = w.g.cb < threads / w.tasks_k ? w.g.cb : threads / w.tasks_k;
    if (outside)
        ddp_parallel(call->pool, w.g.cb + w.g.kb, transform_task, &w);
    ddp_parallel(call->pool, w.tasks_k * w.tasks_c, outside ? rectangles_task : tiles_task, &w);
}
