/* CIFAR-10 and CIFAR-100, binary. */
#include "data_testing.h"

enum { PICTURE = 3072 };

/* `n` records; the label of record i is (i + first) % classes, the pixels are test_byte(stream + i). */
static void write_records(const char *path, int label_bytes, int classes, int n, int first, uint32_t stream,
                          long extra)
{
    size_t record = (size_t)label_bytes + PICTURE;
    uint8_t *p = calloc(1, (size_t)n * record + 16);
    for (int i = 0; i < n; i++) {
        uint8_t *r = p + (size_t)i * record;
        if (label_bytes == 2)
            r[0] = 77; /* coarse: not used */
        r[label_bytes - 1] = (uint8_t)((i + first) % classes);
        for (uint32_t k = 0; k < PICTURE; k++)
            r[(uint32_t)label_bytes + k] = test_byte(stream + (uint32_t)i, k);
    }
    write_bytes(path, p, (size_t)((long)((size_t)n * record) + extra));
    free(p);
}

static const char *const files[3] = {"a.bin", "b.bin", "t.bin"};

static struct ddp_config small_config(const char *format, const char *folder)
{
    struct ddp_config cfg = basic_config(format, folder);
    cfg.data.files = (struct ddp_strings){3, files};
    return cfg;
}

static void test_cifar_reads_files_one_after_the_other(void **state)
{
    (void)state;
    for (int hundred = 0; hundred < 2; hundred++) {
        char *folder = make_folder();
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        int bytes = 1 + hundred, classes = hundred ? 100 : 10;
        write_records(in_folder(folder, "a.bin"), bytes, classes, 5, 3, 10, 0);
        write_records(in_folder(folder, "b.bin"), bytes, classes, 4, 8, 20, 0);
        write_records(in_folder(folder, "t.bin"), bytes, classes, 2, 97, 30, 0);
        struct ddp_config cfg = small_config(hundred ? "cifar100" : "cifar10", folder);
        assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
        assert_int_equal(ds->info.count, 9);
        assert_int_equal(ds->info.classes, classes);
        assert_true(ds->info.shape.c == 3 && ds->info.shape.h == 32 && ds->info.shape.w == 32);
        assert_true(ds->info.mean[0] == (hundred ? 0.5071 : 0.4914) &&
                    ds->info.std[2] == (hundred ? 0.2762 : 0.2616));
        for (int i = 0; i < 9; i++) {
            uint8_t p[PICTURE];
            int32_t label;
            assert_int_equal(ds->ops->get(ds->self, i, p, &label, &err), 0);
            assert_int_equal(label, (i < 5 ? i + 3 : i - 5 + 8) % classes);
            for (uint32_t k = 0; k < PICTURE; k++)
                assert_int_equal(p[k], test_byte((uint32_t)(i < 5 ? 10 + i : 20 + i - 5), k));
        }
        uint8_t p[PICTURE];
        int32_t label;
        assert_int_equal(ds->ops->get(ds->self, 9, p, &label, &err), DDP_E_DATA);
        assert_int_equal(ds->ops->get(ds->self, -1, p, &label, &err), DDP_E_DATA);
        char train[65], test[65];
        assert_int_equal(ds->ops->digest(ds->self, train, &err), 0);
        ddp_dataset_close(ds);
        assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &ds, &err), 0);
        assert_int_equal(ds->info.count, 2);
        assert_int_equal(ds->ops->get(ds->self, 1, p, &label, &err), 0);
        assert_int_equal(label, 98 % classes);
        assert_int_equal(ds->ops->digest(ds->self, test, &err), 0);
        assert_string_not_equal(train, test);
        ddp_dataset_close(ds);
        remove_folder(folder);
    }
}

static void test_cifar_damage_is_refused(void **state)
{
    (void)state;
    static const struct {
        int n;
        long extra;
        const char *text;
    } table[] = {
        {0, 0, "0 bytes"}, {2, -1, "no multiple of 3073"}, {2, 1, "no multiple"}, {1, -3072, "1 bytes"}};
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char *folder = make_folder();
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        write_records(in_folder(folder, "a.bin"), 1, 10, 2, 0, 1, 0);
        write_records(in_folder(folder, "b.bin"), 1, 10, table[i].n, 0, 1, table[i].extra);
        struct ddp_config cfg = small_config("cifar10", folder);
        assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
        assert_contains(err.text, "b.bin is truncated");
        assert_contains(err.text, table[i].text);
        remove_folder(folder);
    }
}

static void test_cifar_label_out_of_range_is_named(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    write_records(in_folder(folder, "a.bin"), 1, 10, 2, 0, 1, 0);
    write_records(in_folder(folder, "b.bin"), 1, 11, 2, 9, 1, 0); /* 9, then 10 */
    struct ddp_config cfg = small_config("cifar10", folder);
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    uint8_t p[PICTURE];
    int32_t label;
    assert_int_equal(ds->ops->get(ds->self, 2, p, &label, &err), 0);
    assert_int_equal(label, 9);
    assert_int_equal(ds->ops->get(ds->self, 3, p, &label, &err), DDP_E_DATA);
    assert_contains(err.text, "b.bin: label 10 of record 1 is out of range; allowed are 0..9");
    ddp_dataset_close(ds);
    remove_folder(folder);
}

static void test_cifar_published_names_must_be_whole(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    struct ddp_config cfg = basic_config("cifar10", folder);
    assert_int_equal(mkdir(in_folder(folder, "cifar-10-batches-bin"), 0777), 0);
    write_records(in_folder(folder, "cifar-10-batches-bin/data_batch_1.bin"), 1, 10, 20, 0, 1, 0);
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
    assert_contains(
        err.text,
        "cifar-10-batches-bin/data_batch_1.bin is truncated: it holds 20 records, the published file 10000");
    /* 10,000 records of zeros, without writing them */
    assert_int_equal(truncate(in_folder(folder, "cifar-10-batches-bin/data_batch_1.bin"), 30730000), 0);
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
    assert_contains(err.text, "found no data_batch_2.bin");
    write_bytes(in_folder(folder, "test_batch.bin"), "", 0);
    assert_int_equal(truncate(in_folder(folder, "test_batch.bin"), 30730000), 0);
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &ds, &err), 0);
    assert_int_equal(ds->info.count, 10000);
    assert_string_equal(ds->info.class_names[9], "truck");
    ddp_dataset_close(ds);
    assert_int_equal(truncate(in_folder(folder, "test_batch.bin"), 30730000 + 3073), 0);
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &ds, &err), DDP_E_DATA);
    assert_contains(err.text, "is damaged: it holds 10001 records");
    remove_folder(folder);
}

static void test_cifar_files_key_is_checked(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    struct ddp_config cfg = small_config("cifar10", folder);
    cfg.data.files.n = 1;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_CONFIG);
    assert_contains(err.text, "data.files has 1 name;");
    const char *many[65];
    for (int i = 0; i < 65; i++)
        many[i] = "a.bin";
    write_records(in_folder(folder, "a.bin"), 1, 10, 1, 0, 1, 0);
    cfg.data.files = (struct ddp_strings){65, many};
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_CONFIG);
    cfg.data.files.n = 64;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    assert_int_equal(ds->info.count, 63);
    ddp_dataset_close(ds);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cifar_reads_files_one_after_the_other),
        cmocka_unit_test(test_cifar_damage_is_refused),
        cmocka_unit_test(test_cifar_label_out_of_range_is_named),
        cmocka_unit_test(test_cifar_published_names_must_be_whole),
        cmocka_unit_test(test_cifar_files_key_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
