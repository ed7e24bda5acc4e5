/* The format "noise": any shape, the same bytes again, all labels, all values of a pixel alike. */
#include "data_testing.h"

static const double shape[] = {3, 9, 7};

static struct ddp_config noise(uint64_t seed)
{
    struct ddp_config cfg = basic_config("noise", "");
    cfg.data.train_count = 5000;
    cfg.data.test_count = 40;
    cfg.data.seed = (int64_t)seed;
    cfg.data.shape = (struct ddp_floats){3, shape};
    cfg.data.classes = 7;
    return cfg;
}

static struct ddp_dataset *opened(const struct ddp_config *cfg, enum ddp_split split)
{
    struct ddp_dataset *ds;
    struct ddp_error err = {0};
    assert_int_equal(ddp_dataset_open(cfg, split, &ds, &err), 0);
    return ds;
}

static void test_samples(void **state)
{
    (void)state;
    struct ddp_config cfg = noise(3), other = noise(4);
    struct ddp_dataset *a = opened(&cfg, DDP_SPLIT_TRAIN), *b = opened(&cfg, DDP_SPLIT_TRAIN),
                       *test = opened(&cfg, DDP_SPLIT_TEST), *c = opened(&other, DDP_SPLIT_TRAIN);
    struct ddp_error err = {0};
    int64_t label_count[7] = {0}, value[256] = {0};
    assert_int_equal(a->info.count, 5000);
    assert_int_equal(test->info.count, 40);
    assert_int_equal(a->info.classes, 7);
    assert_int_equal(a->info.shape.c * 10000 + a->info.shape.h * 100 + a->info.shape.w, 30907);
    for (int64_t i = 0; i < 5000; i++) {
        uint8_t x[189], y[189];
        int32_t l, m;
        assert_int_equal(ddp_dataset_get(a, i, x, &l, &err), 0);
        assert_int_equal(ddp_dataset_get(b, i, y, &m, &err), 0);
        assert_memory_equal(x, y, sizeof x);
        assert_int_equal(l, m);
        label_count[l]++;
        for (size_t k = 0; k < sizeof x; k++)
            value[x[k]]++;
        ddp_dataset_get(c, i, y, &m, &err);
        assert_memory_not_equal(x, y, sizeof x);
        if (i < 40) {
            ddp_dataset_get(test, i, y, &m, &err);
            assert_memory_not_equal(x, y, sizeof x);
        }
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(label_count[i], 600, 830);
    for (int i = 0; i < 256; i++)
        assert_in_range(value[i], 3100, 4300); /* 3,691 on average */
    ddp_dataset_close(a);
    ddp_dataset_close(b);
    ddp_dataset_close(c);
    ddp_dataset_close(test);
}

/* What it is tells it apart from others. */
static void test_digest(void **state)
{
    (void)state;
    static const double wide[] = {3, 9, 8};
    struct ddp_config cfg[4] = {noise(3), noise(4), noise(3), noise(3)};
    char hex[4][65];
    cfg[2].data.shape = (struct ddp_floats){3, wide};
    cfg[3].data.classes = 8;
    for (int i = 0; i < 4; i++) {
        struct ddp_error err = {0};
        assert_int_equal(ddp_dataset_digest(&cfg[i], DDP_SPLIT_TRAIN, hex[i], &err), 0);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(hex[i], hex[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_samples), cmocka_unit_test(test_digest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
