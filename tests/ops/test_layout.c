/* Plain to blocked elements and back: weights and tensors in both orders. */
#include "cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"

#define CONV(k, c, r, s, g)                                                                                  \
    {                                                                                                        \
        .layout = DDP_LAYOUT_CONV, .ndim = 4, .dims = {k, c, r, s}, .groups = g                              \
    }

static const struct {
    struct ddp_param p;
    int64_t size;
} params[] = {
    {{.layout = DDP_LAYOUT_VECTOR, .ndim = 1, .dims = {10}}, 16},
    {{.layout = DDP_LAYOUT_VECTOR, .ndim = 1, .dims = {32}}, 32},
    {CONV(32, 1, 3, 3, 1), 2 * 1 * 9 * 256},
    {CONV(64, 32, 3, 3, 1), 64 * 32 * 9},
    {CONV(20, 17, 5, 3, 1), 2 * 2 * 15 * 256},
    {CONV(96, 32, 3, 3, 2), 96 * 32 * 9},     /* groups of whole blocks: nothing wasted */
    {CONV(48, 1, 3, 3, 48), 3 * 1 * 9 * 256}, /* depthwise: one channel block for each */
    {CONV(60, 8, 1, 1, 3),
     4 * 2 * 256}, /* outputs 16..31 and 32..47 touch groups in two blocks of channels */
    {{.layout = DDP_LAYOUT_CONV, .ndim = 2, .dims = {10, 128}, .groups = 1}, 8 * 256},
    {{.layout = DDP_LAYOUT_CONV, .ndim = 2, .dims = {128, 9216}, .groups = 1, .in = {64, 12, 12}},
     128 * 9216},
    {{.layout = DDP_LAYOUT_CONV, .ndim = 2, .dims = {5, 20 * 6}, .groups = 1, .in = {20, 2, 3}}, 2 * 6 * 256},
};

static void test_layout_round_trips_with_zero_padding(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(params); i++) {
        const struct ddp_param *p = &params[i].p;
        int64_t plain = ddp_layout_plain_size(p), size = ddp_layout_size(p);
        assert_int_equal(size, params[i].size);
        float *a = ddp_calloc((size_t)plain, 4), *b = ddp_calloc((size_t)plain, 4),
              *flat = ddp_calloc((size_t)size, 4);
        for (int64_t j = 0; j < plain; j++)
            a[j] = (float)(j + 1);
        memset(flat, 0x7f, (size_t)size * 4);
        ddp_layout_pack(p, a, flat);
        double sum = 0; /* every element once, zeros elsewhere */
        for (int64_t j = 0; j < size; j++)
            sum += (double)flat[j];
        assert_true(sum == (double)plain * (double)(plain + 1) / 2);
        ddp_layout_unpack(p, flat, b);
        assert_memory_equal(a, b, (size_t)plain * 4);
        free(a), free(b), free(flat);
    }
}

static void test_layout_puts_elements_where_the_format_says(void **state)
{
    (void)state;
    struct ddp_param p = CONV(40, 35, 3, 2, 1);
    float *plain = ddp_calloc(40 * 35 * 6, 4), *flat = ddp_calloc((size_t)ddp_layout_size(&p), 4);
    plain[((37 * 35 + 20) * 3 + 2) * 2 + 1] = 5; /* [k = 37][c = 20][r = 2][s = 1] */
    ddp_layout_pack(&p, plain, flat);
    assert_true(flat[((((2 * 3 + 1) * 3 + 2) * 2 + 1) * 16 + 4) * 16 + 5] == 5);
    free(plain), free(flat);

    struct ddp_param l = {
        .layout = DDP_LAYOUT_CONV, .ndim = 2, .dims = {20, 32 * 12}, .groups = 1, .in = {32, 3, 4}};
    plain = ddp_calloc(20 * 384, 4), flat = ddp_calloc((size_t)ddp_layout_size(&l), 4);
    plain[17 * 384 + (21 * 3 + 2) * 4 + 1] = 5; /* out 17, channel 21 at y = 2, x = 1 */
    ddp_layout_pack(&l, plain, flat);
    assert_true(flat[((((1 * 2 + 1) * 3 + 2) * 4 + 1) * 16 + 5) * 16 + 1] == 5);
    free(plain), free(flat);

    /* on a GPU: filters of whole pictures, channels last, both padded to 8 */
    p.layout = l.layout = DDP_LAYOUT_KRSC;
    assert_int_equal(ddp_layout_size(&p), 40 * 3 * 2 * 40);
    plain = ddp_calloc(40 * 35 * 6, 4), flat = ddp_calloc((size_t)ddp_layout_size(&p), 4);
    plain[((37 * 35 + 20) * 3 + 2) * 2 + 1] = 5;
    ddp_layout_pack(&p, plain, flat);
    assert_true(flat[((37 * 3 + 2) * 2 + 1) * 40 + 20] == 5);
    free(plain), free(flat);
    assert_int_equal(ddp_layout_size(&l), 24 * 12 * 32);
    plain = ddp_calloc(20 * 384, 4), flat = ddp_calloc((size_t)ddp_layout_size(&l), 4);
    plain[17 * 384 + (21 * 3 + 2) * 4 + 1] = 5;
    ddp_layout_pack(&l, plain, flat);
    assert_true(flat[((17 * 3 + 2) * 4 + 1) * 32 + 21] == 5);
    free(plain), free(flat);
    struct ddp_param depthwise = {.layout = DDP_LAYOUT_KRSC, .ndim = 4, .dims = {16, 1, 3, 3}, .groups = 16};
    assert_int_equal(ddp_layout_size(&depthwise), 16 * 9);
}

static void test_tensor_round_trips_in_both_orders(void **state)
{
    (void)state;
    static const struct {
        struct ddp_shape s;
        int n, halo;
    } rows[] = {
        {{1, 28, 28}, 3, 0}, {{20, 5, 7}, 2, 1}, {{16, 4, 4}, 5, 3}, {{33, 1, 1}, 4, 0}, {{64, 8, 8}, 2, 0}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct ddp_shape s = rows[i].s;
        int n = rows[i].n;
        int64_t plain = (int64_t)n * s.c * s.h * s.w;
        float *a = ddp_calloc((size_t)plain, 4), *b = ddp_calloc((size_t)plain, 4);
        for (int64_t j = 0; j < plain; j++)
            a[j] = (float)(j + 1);
        for (int features = 0; features < 2; features++) {
            struct ddp_tensor t;
            int64_t lead = 0;
            int64_t floats =
                features ? ddp_tensor_features(&t, n, s) : ddp_tensor_pictures(&t, n, s, rows[i].halo, &lead);
            assert_null(t.p);
            assert_int_equal(lead % 16, 0);
            int64_t guard = 64;
            float *mem = ddp_pages_alloc((size_t)(floats + guard) * 4);
            for (int64_t j = 0; j < floats + guard; j++)
                mem[j] = -1;
            t.p = mem + lead;
            ddp_tensor_pack(a, &t);
            int64_t real = 0, zero = 0;
            for (int64_t j = 0; j < floats + guard; j++) {
                real += mem[j] > 0;
                zero += mem[j] == 0;
                assert_true(j < floats || mem[j] == -1);
            }
            assert_int_equal(real, plain);
            assert_int_equal(zero, (int64_t)n * (ddp_blocks(s.c) * 16 - s.c) * s.h * s.w);
            ddp_tensor_unpack(&t, b);
            assert_memory_equal(a, b, (size_t)plain * 4);
            if (!features) /* the far corners of the halo are inside */
                assert_true(ddp_at(&t, 0, 0, -t.halo, -t.halo) >= mem &&
                            ddp_at(&t, n - 1, ddp_blocks(s.c) - 1, s.h - 1 + t.halo, s.w - 1 + t.halo) + 16 <=
                                mem + floats);
            ddp_pages_free(mem, (size_t)(floats + guard) * 4);
        }
        free(a), free(b);
    }
}

static void test_tensor_samples_do_not_share_cache_sets(void **state)
{
    (void)state;
    static const struct ddp_shape shapes[] = {{64, 32, 32}, {512, 4, 4}, {512, 2, 2}, {256, 8, 8}};
    for (size_t i = 0; i < DDP_COUNT(shapes); i++) {
        struct ddp_tensor t;
        int64_t lead;
        ddp_tensor_pictures(&t, 4, shapes[i], 0, &lead);
        assert_true(t.sn % 512 != 0 && t.sn % 16 == 0);
    }
}

static void test_tensor_find_bad_names_the_first(void **state)
{
    (void)state;
    struct ddp_tensor t;
    int64_t lead;
    int64_t floats = ddp_tensor_pictures(&t, 3, (struct ddp_shape){20, 4, 5}, 1, &lead);
    float *mem = ddp_pages_alloc((size_t)floats * 4);
    t.p = mem + lead;
    int n, c, y, x;
    float v;
    assert_false(ddp_tensor_find_bad(&t, &n, &c, &y, &x, &v));
    ddp_at(&t, 0, 0, -1, -1)[0] = NAN; /* halo and padding do not count */
    ddp_at(&t, 0, 1, 0, 0)[4] = NAN;
    assert_false(ddp_tensor_find_bad(&t, &n, &c, &y, &x, &v));
    ddp_at(&t, 2, 1, 3, 4)[3] = -INFINITY;
    assert_true(ddp_tensor_find_bad(&t, &n, &c, &y, &x, &v));
    assert_true(n == 2 && c == 19 && y == 3 && x == 4 && isinf(v));
    ddp_at(&t, 2, 0, 1, 2)[9] = NAN;
    assert_true(ddp_tensor_find_bad(&t, &n, &c, &y, &x, &v));
    assert_true(n == 2 && c == 9 && y == 1 && x == 2 && isnan(v));
    ddp_pages_free(mem, (size_t)floats * 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_round_trips_with_zero_padding),
        cmocka_unit_test(test_layout_puts_elements_where_the_format_says),
        cmocka_unit_test(test_tensor_round_trips_in_both_orders),
        cmocka_unit_test(test_tensor_samples_do_not_share_cache_sets),
        cmocka_unit_test(test_tensor_find_bad_names_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
