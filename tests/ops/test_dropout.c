/* Dropout: which element is kept is recomputed here from the documented counters, element by element. */
#include "op_kit.h"

#include <math.h>

struct conf {
    double p;
};

static const int64_t samples[] = {7, 0, 59999, (int64_t)3 << 33 | 5, 12};

static bool kept(const struct kit_args *a, int n, int c, int q)
{
    const struct conf *conf = a->conf;
    uint64_t sample = (uint64_t)a->sample[n];
    uint32_t s =
        DDP_STREAM_DROPOUT ^ a->layer ^ a->epoch * 0x9E3779B1u ^ (uint32_t)(sample >> 32) * 0xC2B2AE3Du;
    bool vector = a->in.h * a->in.w == 1;
    struct ddp_philox4 r = vector ? ddp_philox4((uint32_t)c / 4, 0xffffffffu, (uint32_t)sample, s, a->seed)
                                  : ddp_philox4((uint32_t)q / 4, (uint32_t)c, (uint32_t)sample, s, a->seed);
    return r.v[vector ? c % 4 : q % 4] >= conf->p * 0x1p32;
}

static const struct ddp_shape shapes[] = {{1, 1, 1},  {3, 5, 7},   {10, 1, 1}, {16, 4, 4},
                                          {20, 3, 2}, {600, 1, 1}, {33, 1, 3}};

static void test_dropout_follows_its_counters(void **state)
{
    (void)state;
    static const double ps[] = {0, 0.25, 0.5, 0.999};
    for (size_t s = 0; s < DDP_COUNT(shapes); s++)
        for (size_t i = 0; i < DDP_COUNT(ps); i++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                struct conf conf = {ps[i]};
                struct kit_args a = {.op = &ddp_op_dropout,
                                     .conf = &conf,
                                     .in = shapes[s],
                                     .batch = 5,
                                     .n = 5 - (int)i % 2,
                                     .seed = 0x123456789abcdefull,
                                     .layer = 0xdeadbeef,
                                     .epoch = 3,
                                     .sample = samples};
                int64_t n = (int64_t)a.n * a.in.c * a.in.h * a.in.w;
                float *x = kit_random(n, 1, 2, 1), *dout = kit_random(n, 1, 2, 2),
                      *before = kit_random(n, 1, 2, 3);
                a.x[0] = x;
                a.dout = dout;
                a.before[0] = accumulate ? before : NULL;
                struct kit_result r;
                kit_run_all(&a, &r);
                const float scale = (float)(1 / (1 - ps[i]));
                int64_t j = 0;
                for (int b = 0; b < a.n; b++)
                    for (int c = 0; c < a.in.c; c++)
                        for (int q = 0; q < a.in.h * a.in.w; q++, j++) {
                            bool k = kept(&a, b, c, q);
                            float g = k ? dout[j] * scale : 0;
                            assert_true(r.y[j] == (k ? x[j] * scale : 0));
                            assert_true(r.dx[0][j] == (accumulate ? before[j] + g : g));
                        }
                kit_free(&r);
                free(x);
                free(dout);
                free(before);
            }
}

static int64_t differing(const struct kit_args *a, const struct kit_args *b)
{
    struct kit_result x, y;
    kit_run(a, &(struct kit_variant){0}, &x);
    kit_run(b, &(struct kit_variant){0}, &y);
    int64_t n = 0;
    for (int64_t i = 0; i < x.ny; i++)
        n += (x.y[i] == 0) != (y.y[i] == 0);
    kit_free(&x);
    kit_free(&y);
    return n;
}

/* Seed, epoch, layer and sample (high half too) each give other bits; about p of them are zero. */
static void test_dropout_depends_on_what_it_should(void **state)
{
    (void)state;
    static const struct ddp_shape both[] = {{64, 10, 10}, {6400, 1, 1}};
    for (int v = 0; v < 2; v++) {
        struct conf conf = {0.5};
        float *ones = malloc(6400 * sizeof *ones);
        for (int i = 0; i < 6400; i++)
            ones[i] = 1;
        int64_t sample = 5, high = sample | (int64_t)1 << 32, next = 6;
        struct kit_args a = {.op = &ddp_op_dropout,
                             .conf = &conf,
                             .in = both[v],
                             .batch = 1,
                             .n = 1,
                             .seed = 1,
                             .sample = &sample,
                             .x = {ones},
                             .dout = ones},
                        b;
#define DIFFERS(field, value)                                                                                \
    (b = a, b.field = value, assert_in_range(differing(&a, &b), 6400 / 2 - 240, 6400 / 2 + 240))
        DIFFERS(seed, 2);
        DIFFERS(seed, 1 | (uint64_t)1 << 32);
        DIFFERS(layer, 1);
        DIFFERS(epoch, 1);
        DIFFERS(sample, &high);
        DIFFERS(sample, &next);
        assert_int_equal(differing(&a, &a), 0);
        conf.p = 0.25;
        struct kit_result r;
        kit_run(&a, &(struct kit_variant){0}, &r);
        int zeros = 0;
        for (int i = 0; i < 6400; i++)
            zeros += r.y[i] == 0;
        assert_in_range(zeros, 1600 - 140, 1600 + 140); /* 4 standard deviations */
        kit_free(&r);
        free(ones);
    }
}

static void test_dropout_copies_in_evaluation(void **state)
{
    (void)state;
    struct conf conf = {0.5};
    for (size_t s = 0; s < DDP_COUNT(shapes); s++) {
        struct kit_args a = {
            .op = &ddp_op_dropout, .conf = &conf, .in = shapes[s], .batch = 4, .n = 3, .evaluate = true};
        int64_t n = 3 * (int64_t)a.in.c * a.in.h * a.in.w;
        float *x = kit_random(n, -1, 1, 1);
        a.x[0] = x;
        struct kit_result r;
        kit_run_all(&a, &r);
        assert_memory_equal(r.y, x, (size_t)n * 4);
        kit_free(&r);
        free(x);
    }
}

static void test_dropout_in_place_and_empty(void **state)
{
    (void)state;
    struct conf conf = {0.3};
    for (int v = 0; v < 2; v++) {
        struct kit_args a = {.op = &ddp_op_dropout,
                             .conf = &conf,
                             .in = {20, v ? 1 : 3, v ? 1 : 3},
                             .batch = 4,
                             .n = 3,
                             .sample = samples};
        int64_t n = 3 * (int64_t)a.in.c * a.in.h * a.in.w;
        float *x = kit_random(n, 1, 2, 1), *dout = kit_random(n, 1, 2, 2);
        a.x[0] = x;
        a.dout = dout;
        struct kit_result apart, within, none;
        kit_run_all(&a, &apart);
        a.in_place = true;
        kit_run_all(&a, &within);
        assert_memory_equal(apart.y, within.y, (size_t)n * 4);
        assert_memory_equal(apart.dx[0], within.dx[0], (size_t)n * 4);
        a.n = 0;
        a.in_place = false;
        kit_run_all(&a, &none);
        kit_free(&apart);
        kit_free(&within);
        kit_free(&none);
        free(x);
        free(dout);
    }
}

static void test_dropout_rejects_probabilities(void **state)
{
    (void)state;
    static const struct {
        double p;
        const char *words[3];
    } bad[] = {
        {1, {"p is 1", "not including, 1"}}, {-0.1, {"p is -0.1"}}, {1.5, {"p is 1.5"}}, {NAN, {"nan"}}};
    for (size_t i = 0; i < DDP_COUNT(bad); i++) {
        struct conf conf = {bad[i].p};
        kit_expect_plan_error(&ddp_op_dropout, &conf, &shapes[1], 1, DDP_E_CONFIG, bad[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout_follows_its_counters),
        cmocka_unit_test(test_dropout_depends_on_what_it_should),
        cmocka_unit_test(test_dropout_copies_in_evaluation),
        cmocka_unit_test(test_dropout_in_place_and_empty),
        cmocka_unit_test(test_dropout_rejects_probabilities),
    };
    return KIT_MAIN(tests);
}
