/* Data of real numbers: tables, scaling, the generated problem, and the loader's way with them. */
#include "data_testing.h"

#include "data/scaling.h"
#include "data/table.h"

/* ---- tables ---------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    int rows; /* -1: refused, with words */
    float value[4];
    const char *says;
} tables[] = {
    {"a,b\n1,2\n3,4\n", 2, {1, 2, 3, 4}, NULL},
    {"\xef\xbb\xbf"
     "a,b\r\n1,2\r\n\r\n3,4",
     2,
     {1, 2, 3, 4},
     NULL},
    {" a , b \n 1 , 2e1 \n", 1, {1, 20}, NULL},
    {"\"a\",\"b\"\n\"1\",\" 2\"\n", -1, {0}, "column \"b\" holds \" 2\""},
    {"\"a\",b\n\"-1.5\",2\n", 1, {-1.5f, 2}, NULL},
    {"b,x,a\n2,no number,1\n", 1, {1, 2}, NULL}, /* others are not looked at, and order is ours */
    {"b,\"x, \"\"y\"\"\",a\n2,,1\n", 1, {1, 2}, NULL},
    {"a,b\n1,2,3\n", -1, {0}, "t.csv:2: 3 fields, but the first line has 2 names"},
    {"a,b\n1\n", -1, {0}, "t.csv:2: 1 fields"},
    {"a,b\n1,2\n1,x\n", -1, {0}, "t.csv:3: column \"b\" holds \"x\", which is no number"},
    {"a,b\n1,\n", -1, {0}, "t.csv:2: column \"b\" holds \"\""},
    {"a,b\n1,nan\n", -1, {0}, "holds \"nan\""},
    {"a,b\n1,1e39\n", -1, {0}, "holds \"1e39\""}, /* no float */
    {"a,c\n1,2\n", -1, {0}, "no column is named \"b\"; its first line has 2 names from \"a\" to \"c\""},
    {"a,b,b\n1,2,3\n", -1, {0}, "more than one column is named \"b\""},
    {"a,b\n", -1, {0}, "no line below"},
    {"\n\n", -1, {0}, "is empty"},
    {"a,b\n1,\"2\n", -1, {0}, "t.csv:2: a quoted field does not end"},
    {"a,b\n1,\"2\"3\n", -1, {0}, "t.csv:2: something follows a quoted field"},
};

static void test_tables(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b"};
    char *folder = make_folder();
    const char *path = in_folder(folder, "t.csv");
    for (size_t i = 0; i < DDP_COUNT(tables); i++) {
        struct ddp_error err = {0};
        struct ddp_table t;
        write_bytes(path, tables[i].text, strlen(tables[i].text));
        const int rc = ddp_table_read(path, &(struct ddp_strings){2, names}, &t, &err);
        if ((rc == 0) != (tables[i].rows >= 0))
            fail_msg("table %zu: %s", i, rc ? err.text : "was accepted");
        if (rc) {
            assert_int_equal(rc, DDP_E_DATA);
            assert_contains(err.text, tables[i].says);
            continue;
        }
        assert_int_equal(t.rows, tables[i].rows);
        assert_memory_equal(t.value, tables[i].value, (size_t)t.rows * 2 * sizeof(float));
        assert_string_equal(t.name[1], "b");
        ddp_table_finish(&t);
    }
    remove_folder(folder);
}

/* Any byte changed or the end cut: an error or a table, and nothing else happens. */
static void test_tables_of_damaged_files(void **state)
{
    (void)state;
    static const char text[] = "a,\"b\"\n1,2\n3,\"4\"\n5,6\r\n", junk[] = {',', '\n', '"', '\r', 0, ' ', 'x'};
    static const char *const names[] = {"a", "b"};
    char *folder = make_folder(), copy[sizeof text];
    const char *path = in_folder(folder, "t.csv");
    int read = 0;
    for (size_t at = 0; at < sizeof text - 1; at++)
        for (size_t k = 0; k <= sizeof junk; k++) {
            struct ddp_error err = {0};
            struct ddp_table t;
            memcpy(copy, text, sizeof text);
            if (k < sizeof junk)
                copy[at] = junk[k];
            write_bytes(path, copy, k < sizeof junk ? sizeof text - 1 : at);
            if (ddp_table_read(path, &(struct ddp_strings){2, names}, &t, &err) == 0) {
                read++;
                ddp_table_finish(&t);
            }
        }
    assert_true(read > 10);
    remove_folder(folder);
}

/* ---- scaling --------------------------------------------------------------------------------- */

static struct ddp_config friedman(int64_t train, int64_t test)
{
    struct ddp_config cfg = basic_config("friedman", "");
    cfg.data.train_count = train;
    cfg.data.test_count = test;
    return cfg;
}

/* What the training split comes out as has mean 0 and deviation 1, input by input; the test split is scaled
 * by the same numbers; without the keys all is as it was. */
static void test_scaling_is_the_training_splits(void **state)
{
    (void)state;
    struct ddp_config cfg = friedman(500, 60), raw = friedman(500, 60);
    struct ddp_error err = {0};
    struct ddp_dataset *train, *test, *as_is;
    cfg.data.normalize_targets = true;
    raw.data.normalize = false;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &train, &err), 0);
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &test, &err), 0);
    assert_int_equal(ddp_dataset_open(&raw, DDP_SPLIT_TEST, &as_is, &err), 0);
    assert_int_equal(train->inputs.n, 10);
    assert_int_equal(train->targets.n, 1);
    assert_int_equal(as_is->inputs.n + as_is->targets.n, 0);
    assert_memory_equal(train->inputs.std, test->inputs.std, 10 * sizeof(double));
    double sum[11] = {0}, square[11] = {0};
    for (int64_t i = 0; i < 500; i++) {
        float v[11];
        assert_int_equal(ddp_dataset_get(train, i, v, v + 10, &err), 0);
        for (int k = 0; k < 11; k++) {
            sum[k] += v[k];
            square[k] += (double)v[k] * v[k];
        }
    }
    for (int k = 0; k < 11; k++)
        assert_true(fabs(sum[k] / 500) < 1e-6 && fabs(square[k] / 500 - 1) < 1e-6);
    for (int64_t i = 0; i < 60; i++) {
        float v[11], w[11];
        assert_int_equal(ddp_dataset_get(test, i, v, v + 10, &err), 0);
        assert_int_equal(ddp_dataset_get(as_is, i, w, w + 10, &err), 0);
        for (int k = 0; k < 10; k++)
            assert_true(v[k] == (float)(((double)w[k] - train->inputs.mean[k]) / train->inputs.std[k]));
        assert_true(v[10] == (float)(((double)w[10] - train->targets.mean[0]) / train->targets.std[0]));
    }
    ddp_dataset_close(train);
    ddp_dataset_close(test);
    ddp_dataset_close(as_is);
}

static void test_scaling_takes_what_is_given(void **state)
{
    (void)state;
    static const double mean[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, std[10] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 4};
    for (int n = 1; n <= 10; n += 9) {
        struct ddp_config cfg = friedman(20, 5);
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        cfg.data.mean = (struct ddp_floats){n, mean};
        cfg.data.std = (struct ddp_floats){n, std};
        assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &ds, &err), 0);
        assert_true(ds->inputs.mean[9] == (n == 1 ? 1 : 10) && ds->inputs.std[9] == (n == 1 ? 2 : 4));
        ddp_dataset_close(ds);
    }
}

static void test_what_is_for_pictures_or_labels_is_refused(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    struct ddp_config cfg = friedman(20, 5);
    cfg.data.flip = true;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_CONFIG);
    assert_contains(err.text, "data.flip is for pictures");
    cfg = basic_config("digits", "");
    cfg.data.normalize_targets = true;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_CONFIG);
    assert_contains(err.text, "data.normalize_targets is for real targets");
}

/* ---- what does not go together --------------------------------------------------------------- */

/* An IDX file of bytes, all 7. */
static void write_idx(const char *path, int n, int each)
{
    uint8_t file[256] = {0, 0, 8, 2, 0, 0, 0, (uint8_t)n, 0, 0, 0, (uint8_t)each};
    memset(file + 12, 7, (size_t)n * (size_t)each);
    write_bytes(path, file, 12 + (size_t)n * (size_t)each);
}

/* The test split is scaled by the training split's numbers, one for each input: there must be as many. */
static void test_splits_of_other_shapes_are_refused(void **state)
{
    (void)state;
    static const struct {
        int inputs[2], targets[2]; /* of the training, of the test split */
        const char *says;
    } table[] = {
        {{9, 2},
         {1, 1},
         "train has numbers of [9, 1, 1] and 1 target, test numbers of [2, 1, 1] and 1 target"},
        {{2, 9}, {1, 1}, "the splits disagree"},
        {{3, 3}, {4, 1}, "and 4 targets, test"},
        {{3, 3}, {2, 2}, NULL},
    };
    char *folder = make_folder();
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_config cfg = basic_config("idx_real", folder);
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        cfg.data.normalize_targets = true;
        write_idx(in_folder(folder, "train-inputs.idx"), 4, table[i].inputs[0]);
        write_idx(in_folder(folder, "train-targets.idx"), 4, table[i].targets[0]);
        write_idx(in_folder(folder, "test-inputs.idx"), 3, table[i].inputs[1]);
        write_idx(in_folder(folder, "test-targets.idx"), 3, table[i].targets[1]);
        const int rc = ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &ds, &err);
        if (!table[i].says) {
            assert_int_equal(rc, 0);
            ddp_dataset_close(ds);
            continue;
        }
        assert_int_equal(rc, DDP_E_DATA);
        assert_contains(err.text, table[i].says);
    }
    remove_folder(folder);
}

/* A column that stands twice in a list would have one place filled and one not. */
static void test_columns_named_twice_are_refused(void **state)
{
    (void)state;
    static const char *const twice[] = {"a", "b", "a"}, *const c[] = {"c"}, *const cc[] = {"c", "c"};
    const struct {
        struct ddp_strings inputs, targets;
        const char *says;
    } table[] = {
        {{3, twice}, {1, c}, "column \"a\" is twice in data.inputs"},
        {{2, twice}, {2, cc}, "column \"c\" is twice in data.targets"},
        {{0, NULL}, {2, cc}, "column \"c\" is twice in data.targets"},
        {{1, c}, {1, c}, "column \"c\" is in data.inputs and in data.targets"},
        {{2, twice}, {1, c}, NULL},
    };
    char *folder = make_folder();
    static const char text[] = "a,b,c\n1,2,3\n4,5,6\n";
    write_bytes(in_folder(folder, "train.csv"), text, sizeof text - 1);
    write_bytes(in_folder(folder, "test.csv"), text, sizeof text - 1);
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_config cfg = basic_config("csv", folder);
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        cfg.data.inputs = table[i].inputs;
        cfg.data.targets = table[i].targets;
        const int rc = ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err);
        assert_int_equal(rc, table[i].says ? DDP_E_CONFIG : 0);
        if (rc)
            assert_contains(err.text, table[i].says);
        else
            ddp_dataset_close(ds);
    }
    remove_folder(folder);
}

/* ---- the generated problem ------------------------------------------------------------------- */

/* The function of the paper, noise of deviation 1 on top, uniform inputs; fixed bits. */
static void test_friedman(void **state)
{
    (void)state;
    enum { N = 4000 };
    struct ddp_config cfg = friedman(N, 10);
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    cfg.data.normalize = false;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    double sum = 0, square = 0, input = 0;
    for (int64_t i = 0; i < N; i++) {
        float x[10], y;
        assert_int_equal(ddp_dataset_get(ds, i, x, &y, &err), 0);
        const double f = 10 * sin(3.14159265358979323846 * x[0] * x[1]) + 20 * (x[2] - 0.5) * (x[2] - 0.5) +
                         10 * (double)x[3] + 5 * (double)x[4];
        sum += y - f;
        square += (y - f) * (y - f);
        input += x[9];
        assert_true(x[7] >= 0 && x[7] < 1);
    }
    assert_true(fabs(sum / N) < 0.05 && fabs(square / N - 1) < 0.08 && fabs(input / N - 0.5) < 0.02);
    ddp_dataset_close(ds);
}

/* ---- the loader ------------------------------------------------------------------------------ */

/* Floats as ddp_dataset_get() gives them, in either form, with targets in place of labels. */
static void test_loader_brings_numbers_and_targets(void **state)
{
    (void)state;
    for (int form = DDP_LOADER_FLOATS; form <= DDP_LOADER_BYTES; form++)
        for (int workers = 0; workers < 3; workers += 2) {
            struct ddp_config cfg = friedman(70, 10);
            struct ddp_error err = {0};
            struct ddp_dataset *ds;
            cfg.data.normalize_targets = true;
            cfg.data.limit_train = 50;
            assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
            assert_int_equal(ds->info.count, 50);
            const struct ddp_loader_conf conf = {.form = (enum ddp_loader_form)form,
                                                 .batch = 16,
                                                 .shards = 3,
                                                 .last_shard = 3,
                                                 .seed = 5,
                                                 .train = true,
                                                 .workers = workers,
                                                 .prefetch = 2};
            struct ddp_loader *l;
            const struct ddp_batch *b;
            assert_int_equal(ddp_loader_create(&cfg, ds, &conf, &l, &err), 0);
            for (int k = 0; k < 8; k++) { /* two epochs, with a short batch */
                assert_int_equal(ddp_loader_next(l, &b, &err), 0);
                for (int s = 0; s < 3; s++)
                    for (int i = 0; i < b->shard[s].n; i++) {
                        const struct ddp_shard *shard = &b->shard[s];
                        float x[10], y;
                        assert_int_equal(ddp_dataset_get(ds, shard->sample[i], x, &y, &err), 0);
                        const void *got = form == DDP_LOADER_FLOATS ? (const void *)(shard->pixels + i * 10)
                                                                    : shard->bytes + i * 40;
                        assert_memory_equal(got, x, sizeof x);
                        assert_null(shard->label);
                        assert_true(shard->target[i] == y);
                    }
            }
            ddp_loader_destroy(l);
            ddp_dataset_close(ds);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_tables_of_damaged_files),
        cmocka_unit_test(test_scaling_is_the_training_splits),
        cmocka_unit_test(test_scaling_takes_what_is_given),
        cmocka_unit_test(test_what_is_for_pictures_or_labels_is_refused),
        cmocka_unit_test(test_splits_of_other_shapes_are_refused),
        cmocka_unit_test(test_columns_named_twice_are_refused),
        cmocka_unit_test(test_friedman),
        cmocka_unit_test(test_loader_brings_numbers_and_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
