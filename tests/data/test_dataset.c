/* The list of formats, opening by config, limits, where data is looked for. */
#include "data_testing.h"

struct fake {
    int64_t count;
};
static struct ddp_dataset_info fake_info_value = {.count = 10, .shape = {1, 2, 2}, .classes = 2, .std = {1}};
static int fake_closed;

static int fake_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                     struct ddp_error *err)
{
    (void)split;
    if (strcmp(conf->path, "bad") == 0)
        return ddp_fail(err, DDP_E_DATA, "root %s path %s", conf->root, conf->path);
    *out = &fake_info_value;
    return 0;
}
static void fake_info(const void *ds, struct ddp_dataset_info *info)
{
    *info = *(const struct ddp_dataset_info *)ds;
}
static int fake_get(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err)
{
    (void)ds, (void)err;
    memset(pixels, (int)index, 4);
    *label = (int32_t)(index % 2);
    return 0;
}
static int fake_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    (void)ds, (void)err;
    memset(hex, 'a', 64);
    hex[64] = '\0';
    return 0;
}
static void fake_close(void *ds)
{
    (void)ds;
    fake_closed++;
}
static const struct ddp_dataset_ops fake_ops = {.name = "fake",
                                                .doc = "for the test",
                                                .open = fake_open,
                                                .info = fake_info,
                                                .get = fake_get,
                                                .digest = fake_digest,
                                                .close = fake_close};

static void test_register_checks_members_and_names(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    static const char *const members[] = {"open", "info", "get", "digest", "close"};
    for (int i = 0; i < 5; i++) {
        struct ddp_dataset_ops ops = fake_ops;
        if (i == 0)
            ops.open = NULL;
        if (i == 1)
            ops.info = NULL;
        if (i == 2)
            ops.get = NULL;
        if (i == 3)
            ops.digest = NULL;
        if (i == 4)
            ops.close = NULL;
        assert_int_equal(ddp_dataset_register(&ops, &err), DDP_E_USAGE);
        assert_contains(err.text, members[i]);
    }
    struct ddp_dataset_ops ops = fake_ops;
    ops.name = "";
    assert_int_equal(ddp_dataset_register(&ops, &err), DDP_E_USAGE);
    ops.name = "idx";
    assert_int_equal(ddp_dataset_register(&ops, &err), DDP_E_USAGE);
    assert_contains(err.text, "already");
    assert_int_equal(ddp_dataset_register(&fake_ops, &err), 0);
    assert_int_equal(ddp_dataset_register(&fake_ops, &err), DDP_E_USAGE);
    bool found = false;
    int n = 0;
    for (; ddp_dataset_format_at(n); n++)
        found |= ddp_dataset_format_at(n) == &fake_ops;
    assert_true(found);
    assert_int_equal(n, 11);
    assert_null(ddp_dataset_format_at(-1));
}

/* info() says which of the two ways to read a sample is taken: that one is there. */
static void test_a_format_has_what_its_samples_are_read_with(void **state)
{
    (void)state;
    const struct ddp_dataset_info before = fake_info_value;
    struct ddp_config cfg = basic_config("fake", "");
    struct ddp_dataset *ds;
    for (int i = 0; i < 2; i++) {
        struct ddp_error err = {0};
        fake_info_value.real = i == 0;
        fake_info_value.targets = i;
        fake_info_value.classes = i ? 0 : before.classes;
        assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_USAGE);
        assert_contains(err.text, "'fake' has no get_real");
        fake_info_value = before;
    }
}

static void test_unknown_format_names_the_nearest(void **state)
{
    (void)state;
    struct ddp_config cfg = basic_config("cifar11", "");
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_CONFIG);
    assert_contains(err.text, "data.format = \"cifar11\"");
    assert_contains(err.text, "digits, idx, cifar10, cifar100, packed, csv, idx_real, friedman, noise");
    assert_contains(err.text, "nearest is cifar10");
}

static void test_limits_cut_each_split(void **state)
{
    (void)state;
    static const struct {
        int64_t limit, want;
    } table[] = {{0, 10}, {1, 1}, {9, 9}, {10, 10}, {11, 10}};
    for (size_t i = 0; i < DDP_COUNT(table); i++)
        for (int split = 0; split < 2; split++) {
            struct ddp_config cfg = basic_config("fake", "");
            struct ddp_error err = {0};
            struct ddp_dataset *ds;
            cfg.data.limit_train = split == DDP_SPLIT_TRAIN ? table[i].limit : 3;
            cfg.data.limit_test = split == DDP_SPLIT_TEST ? table[i].limit : 3;
            assert_int_equal(ddp_dataset_open(&cfg, (enum ddp_split)split, &ds, &err), 0);
            assert_int_equal(ds->info.count, table[i].want);
            assert_int_equal(ds->split, split);
            ddp_dataset_close(ds);
        }
    ddp_dataset_close(NULL);
}

/* ---- which samples a limit takes ---- */

/* 64 samples: label i is what the table says for i, pixels say which sample it is. */
static struct {
    int count, classes;
    const int32_t *label;
} sorted;
static void sorted_info(const void *ds, struct ddp_dataset_info *info)
{
    (void)ds;
    *info = (struct ddp_dataset_info){
        .count = sorted.count, .shape = {1, 2, 2}, .classes = sorted.classes, .std = {1}};
}
static int sorted_get(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err)
{
    (void)ds, (void)err;
    memset(pixels, (int)index, 4);
    *label = sorted.label[index];
    return 0;
}
static int sorted_label(const void *ds, int64_t index, int32_t *label, struct ddp_error *err)
{
    (void)ds, (void)err;
    *label = sorted.label[index];
    return 0;
}

/* Samples and labels of the first `limit`, in order. */
static void take(bool label_op, int limit, int64_t seed, int sample[], int32_t label[])
{
    struct ddp_dataset_ops ops = fake_ops;
    struct ddp_dataset ds = {.ops = &ops};
    struct ddp_error err = {0};
    uint8_t pixels[4];
    ops.get = sorted_get;
    ops.label = label_op ? sorted_label : NULL;
    sorted_info(NULL, &ds.info);
    assert_int_equal(ddp_dataset_limit(&ds, limit, (uint64_t)seed, &err), 0);
    assert_int_equal(ds.info.count, limit > 0 && limit < sorted.count ? limit : sorted.count);
    for (int i = 0; i < ds.info.count; i++) {
        int32_t alone;
        assert_int_equal(ddp_dataset_get(&ds, i, pixels, &label[i], &err), 0);
        assert_int_equal(ddp_dataset_label(&ds, i, pixels, &alone, &err), 0);
        assert_int_equal(alone, label[i]);
        sample[i] = pixels[0];
    }
    free(ds.pick);
}

/* Every class has its share of every beginning to within one sample, beside a crowd of rare ones two; nothing
 * comes twice; a smaller limit is the beginning of a larger one; another seed is another choice; label() and
 * get() give the same. */
static void test_limit_takes_of_all_classes(void **state)
{
    (void)state;
    enum { N = 64, CLASSES = 5 };
    static const int share[][CLASSES] = {{13, 13, 13, 13, 12}, {32, 16, 8, 8, 0}, {60, 1, 1, 1, 1}, {64}};
    for (size_t s = 0; s < DDP_COUNT(share); s++) {
        int32_t of[N], label[N], all_label[N];
        int n = 0, sample[N], all[N], other[N];
        for (int c = 0; c < CLASSES; c++)
            for (int i = 0; i < share[s][c]; i++)
                of[n++] = c; /* sorted by class, as packed folders are */
        sorted.count = N;
        sorted.classes = CLASSES;
        sorted.label = of;
        take(true, N - 1, 1, all, all_label);
        take(false, N - 1, 2, other, label);
        assert_memory_not_equal(all, other, (N - 1) * sizeof(int));
        for (int limit = 1; limit < N; limit++) {
            int found[CLASSES] = {0};
            bool seen[N] = {false};
            take(limit % 2, limit, 1, sample, label);
            for (int i = 0; i < limit; i++) {
                assert_int_equal(sample[i], all[i]);
                assert_int_equal(label[i], of[sample[i]]);
                assert_false(seen[sample[i]]);
                seen[sample[i]] = true;
                found[label[i]]++;
            }
            for (int c = 0; c < CLASSES; c++) {
                double fair = (double)limit * share[s][c] / N;
                if (fabs(found[c] - fair) > (s < 2 ? 1.0 : 2.0) + 1e-9)
                    fail_msg("set %zu, limit %d: class %d %d times, its share is %g", s, limit, c, found[c],
                             fair);
            }
        }
    }
}

/* As few as there are classes, out of a set that is sorted. */
static void test_limit_takes_four_classes_of_four(void **state)
{
    (void)state;
    static const int32_t of[] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3};
    sorted.count = 12;
    sorted.classes = 4;
    sorted.label = of;
    for (int64_t seed = 0; seed < 20; seed++) {
        int sample[12], found = 0;
        int32_t label[12];
        take(true, 4, seed, sample, label);
        for (int i = 0; i < 4; i++)
            found |= 1 << label[i];
        assert_int_equal(found, 15);
    }
    int sample[12];
    int32_t label[12];
    take(true, 0, 1, sample, label); /* all: as they lie */
    for (int i = 0; i < 12; i++)
        assert_int_equal(sample[i], i);
}

static void test_limit_refuses_a_label_out_of_range(void **state)
{
    (void)state;
    static const int32_t of[] = {0, 1, 7};
    struct ddp_dataset_ops ops = fake_ops;
    struct ddp_dataset ds = {.ops = &ops};
    struct ddp_error err = {0};
    sorted.count = 3;
    sorted.classes = 2;
    sorted.label = of;
    ops.get = sorted_get;
    sorted_info(NULL, &ds.info);
    assert_int_equal(ddp_dataset_limit(&ds, 2, 1, &err), DDP_E_DATA);
    assert_contains(err.text, "sample 2: label 7 is out of range; allowed are 0..1");
    assert_null(ds.pick);
}

static void test_root_comes_from_config_then_environment_then_default(void **state)
{
    (void)state;
    static const struct {
        const char *root, *env, *want;
    } table[] = {{"/a", "/b", "root /a path bad"},
                 {"", "/b", "root /b path bad"},
                 {NULL, "/b", "root /b path bad"},
                 {"", "", "root data path bad"},
                 {"", NULL, "root data path bad"}};
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_config cfg = basic_config("fake", table[i].root);
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        cfg.data.path = "bad";
        if (table[i].env)
            setenv("DDP_DATA_DIR", table[i].env, 1);
        else
            unsetenv("DDP_DATA_DIR");
        assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &ds, &err), DDP_E_DATA);
        assert_contains(err.text, table[i].want);
        assert_contains(err.text, "data 'sample', test split: ");
    }
    unsetenv("DDP_DATA_DIR");
}

static void test_open_refuses_what_a_format_must_not_deliver(void **state)
{
    (void)state;
    const struct ddp_dataset_info good = fake_info_value;
    for (int i = 0; i < 6; i++) {
        struct ddp_config cfg = basic_config("fake", "");
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        fake_info_value = good;
        static const char *const want[] = {"no sample", "4294967295", "[0, 2, 2]",
                                           "[5, 2, 2]", "[1, 2, 0]",  "0 classes"};
        if (i == 0)
            fake_info_value.count = 0;
        if (i == 1)
            fake_info_value.count = INT64_C(1) << 32;
        if (i == 2)
            fake_info_value.shape.c = 0;
        if (i == 3)
            fake_info_value.shape.c = 5;
        if (i == 4)
            fake_info_value.shape.w = 0;
        if (i == 5)
            fake_info_value.classes = 0;
        int closed = fake_closed;
        assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
        assert_contains(err.text, want[i]);
        assert_int_equal(fake_closed, closed + 1);
    }
    fake_info_value = good;
}

static void test_open_accepts_the_extremes(void **state)
{
    (void)state;
    const struct ddp_dataset_info good = fake_info_value;
    struct ddp_config cfg = basic_config("fake", "");
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    fake_info_value = (struct ddp_dataset_info){.count = UINT32_MAX, .shape = {4, 1, 1}, .classes = 1};
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    ddp_dataset_close(ds);
    fake_info_value.count = 1;
    fake_info_value.shape.c = 1;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    ddp_dataset_close(ds);
    fake_info_value = good;
}

static void test_mean_and_std_must_fit_the_channels(void **state)
{
    (void)state;
    struct ddp_dataset_info good = fake_info_value;
    fake_info_value.shape.c = 3;
    static const double v[4] = {0.5, 0.25, 0.0, 0.5};
    static const struct {
        int mean, std, rc;
        const char *text;
    } table[] = {{0, 0, 0, ""},
                 {1, 1, 0, ""},
                 {3, 2, DDP_E_CONFIG, "data.std has 2"},
                 {3, 0, 0, ""},
                 {2, 0, DDP_E_CONFIG, "data.mean has 2"},
                 {4, 0, DDP_E_CONFIG, "data.mean has 4"},
                 {0, 3, DDP_E_CONFIG, "data.std[2] must be above 0"}};
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_config cfg = basic_config("fake", "");
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        cfg.data.mean = (struct ddp_floats){table[i].mean, v};
        cfg.data.std = (struct ddp_floats){table[i].std, v};
        int rc = ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err);
        assert_int_equal(rc, table[i].rc);
        if (rc)
            assert_contains(err.text, table[i].text);
        else
            ddp_dataset_close(ds);
    }
    fake_info_value = good;
}

static void test_missing_data_says_where_and_how_to_get_it(void **state)
{
    (void)state;
    static const struct {
        const char *format, *path, *has, *fetch;
    } table[] = {
        {"idx", "mnist", "train-images-idx3-ubyte", "`ddp-data fetch mnist --root /nowhere`"},
        {"idx", "fashion-mnist", "/nowhere/fashion-mnist", "`ddp-data fetch fashion-mnist --root /nowhere`"},
        {"cifar10", "cifar10", "data_batch_1.bin in /nowhere/cifar10",
         "`ddp-data fetch cifar10 --root /nowhere`"},
        {"cifar100", "mine", "train.bin in /nowhere/mine", "put it there"},
        {"packed", "mine.ddp", "/nowhere/mine.ddp", "`ddp-data pack DIR OUT`"},
        {"packed", "", "data.path", "ddp-data pack"},
        {"folder", "mine", "folder of classes of pictures in /nowhere/mine", "put it there"},
        {"folder", "", "data.path is not set", "train/CLASS"},
        {"idx", "/abs/mnist", "in /abs/mnist", "fetch mnist"},
    };
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_config cfg = basic_config(table[i].format, "/nowhere");
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        cfg.data.path = table[i].path;
        int rc = ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err);
        assert_true(rc == DDP_E_DATA || rc == DDP_E_CONFIG);
        assert_contains(err.text, table[i].has);
        assert_contains(err.text, table[i].fetch);
        assert_null(strstr(err.text, "from DDP_DATA_DIR"));
    }
    struct ddp_config cfg = basic_config("idx", "");
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    setenv("DDP_DATA_DIR", "/elsewhere", 1);
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
    assert_contains(err.text, "/elsewhere, from DDP_DATA_DIR");
    unsetenv("DDP_DATA_DIR");
}

static void test_pixel_stats_are_exact(void **state)
{
    (void)state;
    struct ddp_pixel_stats s = {0};
    static const uint8_t a[] = {0, 255, 10, 10}, b[] = {255, 0, 10, 10};
    ddp_pixel_stats_add(&s, (struct ddp_shape){2, 1, 2}, a);
    ddp_pixel_stats_add(&s, (struct ddp_shape){2, 1, 2}, b);
    double mean[4], std[4];
    ddp_pixel_stats_result(&s, 2, mean, std);
    assert_true(mean[0] == 0.5 && std[0] == 0.5);
    assert_true(mean[1] == 10.0 / 255.0 && std[1] == 1.0); /* constant: nothing to divide by */
}

int main(void)
{
    unsetenv("DDP_DATA_DIR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register_checks_members_and_names), /* first: registers "fake" */
        cmocka_unit_test(test_a_format_has_what_its_samples_are_read_with),
        cmocka_unit_test(test_unknown_format_names_the_nearest),
        cmocka_unit_test(test_limits_cut_each_split),
        cmocka_unit_test(test_limit_takes_of_all_classes),
        cmocka_unit_test(test_limit_takes_four_classes_of_four),
        cmocka_unit_test(test_limit_refuses_a_label_out_of_range),
        cmocka_unit_test(test_root_comes_from_config_then_environment_then_default),
        cmocka_unit_test(test_open_refuses_what_a_format_must_not_deliver),
        cmocka_unit_test(test_open_accepts_the_extremes),
        cmocka_unit_test(test_mean_and_std_must_fit_the_channels),
        cmocka_unit_test(test_missing_data_says_where_and_how_to_get_it),
        cmocka_unit_test(test_pixel_stats_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
