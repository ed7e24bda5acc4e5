/* The built-in digits. */
#include "data_testing.h"

#include "data/digits.h"

static int by_hash(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t picture_hash(const uint8_t *p)
{
    uint64_t h = UINT64_C(1469598103934665603);
    for (int i = 0; i < DDP_DIGIT_PIXELS; i++)
        h = (h ^ p[i]) * UINT64_C(1099511628211);
    return h;
}

static void test_digits_are_the_same_bytes_everywhere(void **state)
{
    (void)state;
    enum { N = 512, SAMPLE = DDP_DIGIT_PIXELS + 4 };
    uint8_t *all = malloc((size_t)N * SAMPLE);
    for (int i = 0; i < N; i++) {
        int32_t label;
        ddp_digit_draw(1, i % 2 ? DDP_SPLIT_TEST : DDP_SPLIT_TRAIN, i, all + (size_t)i * SAMPLE, &label);
        memcpy(all + (size_t)i * SAMPLE + DDP_DIGIT_PIXELS, &label, sizeof label);
    }
    assert_sha(all, (size_t)N * SAMPLE, "abd911347e93bfe5b41987f5bdeb7b540aaee61b1c0e4c4a0e37a2a4cb0eaf11");
    free(all);
}

static void test_digit_depends_on_seed_split_and_index(void **state)
{
    (void)state;
    uint8_t a[DDP_DIGIT_PIXELS], b[DDP_DIGIT_PIXELS];
    int32_t label;
    ddp_digit_draw(1, DDP_SPLIT_TRAIN, 5, a, &label);
    ddp_digit_draw(1, DDP_SPLIT_TRAIN, 5, b, &label);
    assert_memory_equal(a, b, sizeof a);
    ddp_digit_draw(2, DDP_SPLIT_TRAIN, 5, b, &label);
    assert_memory_not_equal(a, b, sizeof a);
    ddp_digit_draw(1, DDP_SPLIT_TEST, 5, b, &label);
    assert_memory_not_equal(a, b, sizeof a);
    ddp_digit_draw(1, DDP_SPLIT_TRAIN, 6, b, &label);
    assert_memory_not_equal(a, b, sizeof a);
}

static void test_digits_of_test_never_occur_in_training(void **state)
{
    (void)state;
    enum { TRAIN = 12000, TEST = 2000, N = TRAIN + TEST };
    uint64_t *hash = malloc(N * sizeof *hash);
    for (int i = 0; i < N; i++) {
        uint8_t p[DDP_DIGIT_PIXELS];
        int32_t label;
        bool train = i < TRAIN;
        ddp_digit_draw(1, train ? DDP_SPLIT_TRAIN : DDP_SPLIT_TEST, train ? i : i - TRAIN, p, &label);
        hash[i] = picture_hash(p);
    }
    qsort(hash, N, sizeof *hash, by_hash);
    for (int i = 1; i < N; i++)
        assert_true(hash[i] != hash[i - 1]); /* neither between the splits nor within one */
    free(hash);
}

static void test_digits_are_balanced_and_look_like_ink_on_paper(void **state)
{
    (void)state;
    enum { N = 4000 };
    int count[10] = {0};
    double sum = 0.0, rim = 0.0;
    for (int i = 0; i < N; i++) {
        uint8_t p[DDP_DIGIT_PIXELS];
        int32_t label;
        ddp_digit_draw(3, DDP_SPLIT_TRAIN, i, p, &label);
        assert_in_range(label, 0, 9);
        count[label]++;
        int ink = 0;
        for (int k = 0; k < DDP_DIGIT_PIXELS; k++) {
            ink += p[k] > 128;
            sum += p[k];
            int y = k / DDP_DIGIT_SIDE, x = k % DDP_DIGIT_SIDE;
            if (y == 0 || x == 0 || y == DDP_DIGIT_SIDE - 1 || x == DDP_DIGIT_SIDE - 1)
                rim += p[k] > 100; /* above the specks */
        }
        assert_in_range(ink, 12, 420);
    }
    for (int d = 0; d < 10; d++)
        assert_in_range(count[d], 320, 480);
    assert_in_range((int)(1000.0 * sum / N / DDP_DIGIT_PIXELS / 255.0), 125, 146);
    assert_true(rim / N < 0.5);
}

static void test_glyphs_are_well_formed(void **state)
{
    (void)state;
    for (int d = 0; d < 10; d++) {
        int n;
        const struct ddp_glyph *g = ddp_digit_glyphs(d, &n);
        assert_in_range(n, 2, DDP_GLYPH_MAX_STYLES);
        for (int i = 0; i < n; i++) {
            assert_true(g[i].weight > 0);
            assert_in_range(g[i].n, 2, DDP_GLYPH_MAX_POINTS);
            assert_int_equal(g[i].point[g[i].n - 1].pen, DDP_PEN_UP);
            assert_int_not_equal(g[i].point[0].pen, DDP_PEN_UP);
            for (int k = 1; k < g[i].n; k++) /* no stroke of one point */
                assert_false(g[i].point[k].pen == DDP_PEN_UP && g[i].point[k - 1].pen == DDP_PEN_UP);
        }
    }
}

static void test_digits_open_as_a_data_set(void **state)
{
    (void)state;
    struct ddp_config cfg = basic_config("digits", "");
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    char first[65], second[65], other[65];
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    assert_int_equal(ds->info.count, 60000);
    assert_int_equal(ds->info.classes, 10);
    assert_string_equal(ds->info.class_names[7], "7");
    assert_true(ds->info.shape.c == 1 && ds->info.shape.h == 28 && ds->info.shape.w == 28);
    assert_int_equal(ds->ops->digest(ds->self, first, &err), 0);
    assert_int_equal(ds->ops->digest(ds->self, second, &err), 0);
    assert_string_equal(first, second);
    uint8_t p[DDP_DIGIT_PIXELS], q[DDP_DIGIT_PIXELS];
    int32_t label, want;
    assert_int_equal(ds->ops->get(ds->self, 59999, p, &label, &err), 0);
    ddp_digit_draw(1, DDP_SPLIT_TRAIN, 59999, q, &want);
    assert_memory_equal(p, q, sizeof p);
    assert_int_equal(label, want);
    assert_int_equal(ds->ops->get(ds->self, 60000, p, &label, &err), DDP_E_DATA);
    assert_int_equal(ds->ops->get(ds->self, -1, p, &label, &err), DDP_E_DATA);
    ddp_dataset_close(ds);

    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &ds, &err), 0);
    assert_int_equal(ds->info.count, 10000);
    assert_int_equal(ds->ops->digest(ds->self, other, &err), 0);
    assert_string_not_equal(first, other);
    ddp_dataset_close(ds);

    cfg.data.train_count = 100;
    cfg.data.seed = 2;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    assert_int_equal(ds->info.count, 100);
    assert_int_equal(ds->ops->digest(ds->self, other, &err), 0);
    assert_string_not_equal(first, other);
    ddp_dataset_close(ds);

    cfg.data.train_count = INT64_C(1) << 40;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_CONFIG);
    assert_contains(err.text, "data.train_count");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digits_are_the_same_bytes_everywhere),
        cmocka_unit_test(test_digit_depends_on_seed_split_and_index),
        cmocka_unit_test(test_digits_of_test_never_occur_in_training),
        cmocka_unit_test(test_digits_are_balanced_and_look_like_ink_on_paper),
        cmocka_unit_test(test_glyphs_are_well_formed),
        cmocka_unit_test(test_digits_open_as_a_data_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
