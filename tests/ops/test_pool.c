/* Pooling against its definition in double; gradients of max by position, of means by differences. */
#include "op_kit.h"

#include <math.h>

struct conf { /* as pool.c reads it */
    int64_t kernel, stride, padding;
    bool count_include_pad;
};

static const struct {
    struct ddp_shape in;
    struct conf conf;
    struct ddp_shape out;
} table[] = {
    {{1, 4, 4}, {2, 0, 0, true}, {1, 2, 2}},
    {{3, 5, 7}, {2, 0, 0, true}, {3, 2, 3}},    /* rows and columns left over */
    {{10, 6, 6}, {3, 2, 1, true}, {10, 3, 3}},  /* overlapping, padded */
    {{16, 7, 5}, {3, 1, 1, false}, {16, 7, 5}}, /* all borders */
    {{20, 6, 9}, {3, 3, 0, true}, {20, 2, 3}},
    {{16, 7, 7}, {2, 3, 0, false}, {16, 2, 2}}, /* gaps */
    {{33, 5, 5}, {5, 0, 2, false}, {33, 1, 1}},
    {{16, 9, 8}, {4, 2, 2, true}, {16, 5, 5}},
    {{2, 16, 16}, {16, 0, 0, true}, {2, 1, 1}}, /* the largest index in a window */
    {{16, 2, 2}, {1, 2, 0, true}, {16, 1, 1}},
    {{10, 1, 1}, {1, 1, 0, true}, {10, 1, 1}},
};

struct pool {
    const struct conf *conf;
    struct ddp_shape in, out;
    int n;
    bool max;
    int64_t *from; /* max: index of the winner for each output, or NULL */
};

static void pool_of(const void *ctx, const double *x, double *y)
{
    const struct pool *p = ctx;
    int64_t k = p->conf->kernel, s = p->conf->stride ? p->conf->stride : k, i = 0;
    for (int plane = 0; plane < p->n * p->in.c; plane++)
        for (int oy = 0; oy < p->out.h; oy++)
            for (int ox = 0; ox < p->out.w; ox++, i++) {
                double best = -INFINITY, sum = 0;
                int64_t where = -1, count = 0;
                for (int64_t r = oy * s - p->conf->padding; r < oy * s - p->conf->padding + k; r++)
                    for (int64_t c = ox * s - p->conf->padding; c < ox * s - p->conf->padding + k; c++) {
                        if (r < 0 || c < 0 || r >= p->in.h || c >= p->in.w)
                            continue;
                        int64_t at = ((int64_t)plane * p->in.h + r) * p->in.w + c;
                        if (x[at] > best) {
                            best = x[at];
                            where = at;
                        }
                        sum += x[at];
                        count++;
                    }
                y[i] = p->max ? best : sum / (double)(p->conf->count_include_pad ? k * k : count);
                if (p->from)
                    p->from[i] = where;
            }
}

static void test_pool_forward_and_backward(void **state)
{
    (void)state;
    for (int max = 0; max < 2; max++)
        for (size_t t = 0; t < DDP_COUNT(table); t++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                struct kit_args a = {.op = max ? &ddp_op_max_pool : &ddp_op_avg_pool,
                                     .conf = &table[t].conf,
                                     .in = table[t].in,
                                     .batch = 3,
                                     .n = 2};
                struct pool p = {.conf = &table[t].conf, .in = a.in, .out = table[t].out, .n = 2, .max = max};
                int64_t nx = 2 * (int64_t)a.in.c * a.in.h * a.in.w,
                        ny = 2 * (int64_t)p.out.c * p.out.h * p.out.w;
                float *x = kit_random(nx, -2, -1, 1), *dout = kit_random(ny, -1, 1, 2),
                      *before = kit_random(nx, -1, 1, 3);
                if (max)
                    for (int64_t i = 0; i < nx; i += 3)
                        x[i] = -1.25f; /* ties, below the zeros of the halo */
                double *wide = kit_widen(x, nx), *y = malloc((size_t)ny * 8), *dx = calloc((size_t)nx, 8);
                p.from = malloc((size_t)ny * sizeof *p.from);
                pool_of(&p, wide, y);
                if (max) {
                    for (int64_t i = 0; i < ny; i++)
                        dx[p.from[i]] += dout[i];
                } else {
                    free(p.from);
                    p.from = NULL;
                    kit_differences(pool_of, &p, wide, nx, dout, ny, dx);
                }
                for (int64_t i = 0; accumulate && i < nx; i++)
                    dx[i] += before[i];
                a.x[0] = x;
                a.dout = dout;
                a.before[0] = accumulate ? before : NULL;
                struct kit_result r;
                kit_run_all(&a, &r);
                assert_memory_equal(&r.out, &table[t].out, sizeof r.out);
                kit_close_to(max ? "max y" : "avg y", r.y, y, ny, max ? 0 : 3e-7, 1);
                kit_close_to(max ? "max dx" : "avg dx", r.dx[0], dx, nx, 1e-6, 1);
                /* evaluation: the same values without anything saved */
                struct kit_result e;
                a.evaluate = true;
                kit_run_all(&a, &e);
                assert_memory_equal(e.y, r.y, (size_t)ny * 4);
                kit_free(&e);
                kit_free(&r);
                free(p.from);
                free(x);
                free(dout);
                free(before);
                free(wide);
                free(y);
                free(dx);
            }
}

static void test_max_pool_lets_nan_win(void **state)
{
    (void)state;
    const struct conf conf = {2, 0, 0, true};
    for (int i = 0; i < 4; i++) {
        float x[4] = {1, 2, 3, 4}, dout = 5;
        x[i] = NAN;
        struct kit_args a = {.op = &ddp_op_max_pool,
                             .conf = &conf,
                             .in = {1, 2, 2},
                             .batch = 1,
                             .n = 1,
                             .x = {x},
                             .dout = &dout};
        struct kit_result r;
        kit_run_all(&a, &r);
        assert_true(isnan(r.y[0]));
        assert_true(r.dx[0][i] == 5);
        kit_free(&r);
    }
}

static void global_of(const void *ctx, const double *x, double *y)
{
    const struct pool *p = ctx;
    int64_t pixels = (int64_t)p->in.h * p->in.w;
    for (int64_t i = 0; i < (int64_t)p->n * p->in.c; i++) {
        y[i] = 0;
        for (int64_t q = 0; q < pixels; q++)
            y[i] += x[i * pixels + q] / (double)pixels;
    }
}

static void test_global_avg_pool_forward_and_backward(void **state)
{
    (void)state;
    static const struct ddp_shape shapes[] = {{1, 1, 1}, {3, 5, 7}, {16, 4, 4}, {20, 3, 2}, {10, 1, 9}};
    for (size_t s = 0; s < DDP_COUNT(shapes); s++) {
        struct kit_args a = {.op = &ddp_op_global_avg_pool, .in = shapes[s], .batch = 3, .n = 2};
        struct pool p = {.in = a.in, .n = 2};
        int64_t ny = 2 * a.in.c, nx = ny * a.in.h * a.in.w;
        float *x = kit_random(nx, -1, 1, 1), *dout = kit_random(ny, -1, 1, 2);
        double *wide = kit_widen(x, nx), *y = malloc((size_t)ny * 8), *dx = malloc((size_t)nx * 8);
        global_of(&p, wide, y);
        kit_differences(global_of, &p, wide, nx, dout, ny, dx);
        a.x[0] = x;
        a.dout = dout;
        struct kit_result r;
        kit_run_all(&a, &r);
        kit_close_to("y", r.y, y, ny, 3e-7, 1);
        kit_close_to("dx", r.dx[0], dx, nx, 1e-6, 1);
        kit_free(&r);
        for (int64_t i = 0; i < nx; i++)
            dx[i] += x[i];
        a.before[0] = x;
        kit_run_all(&a, &r);
        kit_close_to("dx", r.dx[0], dx, nx, 1e-6, 1);
        kit_free(&r);
        free(x);
        free(dout);
        free(wide);
        free(y);
        free(dx);
    }
}

static void test_pool_takes_an_empty_batch(void **state)
{
    (void)state;
    const struct conf conf = {2, 0, 0, true};
    static const struct ddp_op *const ops[] = {&ddp_op_max_pool, &ddp_op_avg_pool, &ddp_op_global_avg_pool};
    const float none = 0;
    for (size_t i = 0; i < DDP_COUNT(ops); i++) {
        struct kit_args a = {
            .op = ops[i], .conf = &conf, .in = {10, 4, 4}, .batch = 3, .x = {&none}, .dout = &none};
        struct kit_result r;
        kit_run_all(&a, &r);
        assert_int_equal(r.ny, 0);
        kit_free(&r);
    }
}

static void test_pool_rejects_windows_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        struct ddp_shape in;
        struct conf conf;
        int code;
        const char *words[4];
    } bad[] = {
        {{16, 4, 4}, {5, 0, 0, true}, DDP_E_SHAPE, {"5 x 5", "4 x 4", "smaller"}},
        {{16, 4, 3}, {4, 0, 0, true}, DDP_E_SHAPE, {"4 x 4", "4 x 3"}},
        {{16, 2, 9}, {5, 1, 1, true}, DDP_E_SHAPE, {"5 x 5", "2 x 9", "padding 1"}},
        {{16, 8, 8}, {3, 1, 2, true}, DDP_E_CONFIG, {"padding is 2", "0 to 1", "kernel of 3"}},
        {{16, 8, 8}, {3, 1, -1, true}, DDP_E_CONFIG, {"padding is -1"}},
        {{16, 8, 8}, {0, 1, 0, true}, DDP_E_CONFIG, {"kernel is 0"}},
        {{16, 8, 8}, {2, -2, 0, true}, DDP_E_CONFIG, {"stride is -2"}},
    };
    for (size_t i = 0; i < DDP_COUNT(bad); i++) {
        kit_expect_plan_error(&ddp_op_max_pool, &bad[i].conf, &bad[i].in, 1, bad[i].code, bad[i].words);
        kit_expect_plan_error(&ddp_op_avg_pool, &bad[i].conf, &bad[i].in, 1, bad[i].code, bad[i].words);
    }
    const struct conf large = {17, 1, 0, true};
    kit_expect_plan_error(&ddp_op_max_pool, &large, (struct ddp_shape[]){{16, 20, 20}}, 1, DDP_E_CONFIG,
                          (const char *const[]){"kernel is 17", "1 to 16", NULL});
    struct ddp_layer_plan plan = {0};
    assert_int_equal(ddp_op_avg_pool.plan(&large, (struct ddp_shape[]){{16, 20, 20}}, 1, 1, &plan, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_forward_and_backward),
        cmocka_unit_test(test_max_pool_lets_nan_win),
        cmocka_unit_test(test_global_avg_pool_forward_and_backward),
        cmocka_unit_test(test_pool_takes_an_empty_batch),
        cmocka_unit_test(test_pool_rejects_windows_that_do_not_fit),
    };
    return KIT_MAIN(tests);
}
