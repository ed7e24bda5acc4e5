/* IDX files: read plain and packed, and every kind of damage refused with its reason. */
#include "data_testing.h"

#include <zlib.h>

static const char *const names[4] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                     "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

static int open_in(const char *folder, enum ddp_split split, struct ddp_dataset **ds, struct ddp_error *err)
{
    struct ddp_config cfg = basic_config("idx", folder);
    err->code = 0;
    return ddp_dataset_open(&cfg, split, ds, err);
}

static void pack_file(const char *folder, const char *name, bool keep)
{
    struct ddp_error err = {0};
    char *data;
    size_t bytes;
    char gz[600];
    snprintf(gz, sizeof gz, "%s.gz", in_folder(folder, name));
    assert_int_equal(ddp_file_read(in_folder(folder, name), 0, &data, &bytes, &err), 0);
    gzFile f = gzopen(gz, "wb");
    assert_int_equal(gzwrite(f, data, (unsigned)bytes), (int)bytes);
    assert_int_equal(gzclose(f), Z_OK);
    free(data);
    if (!keep)
        assert_int_equal(remove(in_folder(folder, name)), 0);
}

/* Replace one byte, or cut or lengthen the file. */
static void damage(const char *path, long at, int value, long cut_to)
{
    struct ddp_error err = {0};
    char *data;
    size_t bytes;
    assert_int_equal(ddp_file_read(path, 0, &data, &bytes, &err), 0);
    if (at >= 0)
        data[at] = (char)value;
    data = realloc(data, bytes + 16);
    memset(data + bytes, 0, 16);
    write_bytes(path, data, cut_to >= 0 ? (size_t)cut_to : bytes);
    free(data);
}

static void check_content(struct ddp_dataset *ds, uint32_t stream, int n)
{
    assert_int_equal(ds->info.count, n);
    assert_int_equal(ds->info.classes, IDX_CLASSES);
    assert_true(ds->info.shape.c == 1 && ds->info.shape.h == IDX_H && ds->info.shape.w == IDX_W);
    struct ddp_error err = {0};
    for (int i = 0; i < n; i++) {
        uint8_t p[IDX_H * IDX_W];
        int32_t label;
        assert_int_equal(ds->ops->get(ds->self, i, p, &label, &err), 0);
        assert_int_equal(label, i % IDX_CLASSES);
        for (uint32_t k = 0; k < sizeof p; k++)
            assert_int_equal(p[k], test_byte(stream, (uint32_t)i * sizeof p + k));
    }
    uint8_t p[IDX_H * IDX_W];
    int32_t label;
    assert_int_equal(ds->ops->get(ds->self, n, p, &label, &err), DDP_E_DATA);
    assert_int_equal(ds->ops->get(ds->self, -1, p, &label, &err), DDP_E_DATA);
}

static void test_idx_reads_plain_and_packed_alike(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    char digest[2][65];
    write_idx_set(folder);
    for (int packed = 0; packed < 2; packed++) {
        for (int split = 0; split < 2; split++) {
            struct ddp_dataset *ds;
            assert_int_equal(open_in(folder, (enum ddp_split)split, &ds, &err), 0);
            check_content(ds, split ? 2 : 1, split ? IDX_TEST : IDX_TRAIN);
            char hex[65];
            assert_int_equal(ds->ops->digest(ds->self, hex, &err), 0);
            if (packed)
                assert_string_equal(hex, digest[split]);
            memcpy(digest[split], hex, sizeof hex);
            ddp_dataset_close(ds);
        }
        for (int i = 0; i < 4 && !packed; i++)
            pack_file(folder, names[i], false);
    }
    assert_string_not_equal(digest[0], digest[1]);
    remove_folder(folder);
}

static void test_idx_finds_names_with_a_dot_and_names_of_the_config(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    write_idx_set(folder);
    assert_int_equal(rename(in_folder(folder, names[0]), in_folder(folder, "train-images.idx3-ubyte")), 0);
    assert_int_equal(open_in(folder, DDP_SPLIT_TRAIN, &ds, &err), 0);
    check_content(ds, 1, IDX_TRAIN);
    ddp_dataset_close(ds);

    static const char *const own[4] = {"a", "b", "c", "d"};
    assert_int_equal(rename(in_folder(folder, "train-images.idx3-ubyte"), in_folder(folder, "a")), 0);
    for (int i = 1; i < 4; i++)
        assert_int_equal(rename(in_folder(folder, names[i]), in_folder(folder, own[i])), 0);
    struct ddp_config cfg = basic_config("idx", folder);
    cfg.data.files = (struct ddp_strings){4, own};
    for (int split = 0; split < 2; split++) {
        assert_int_equal(ddp_dataset_open(&cfg, (enum ddp_split)split, &ds, &err), 0);
        check_content(ds, split ? 2 : 1, split ? IDX_TEST : IDX_TRAIN);
        ddp_dataset_close(ds);
    }
    cfg.data.files.n = 3;
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_CONFIG);
    assert_contains(err.text, "data.files has 3 names");
    remove_folder(folder);
}

static void test_idx_both_splits_use_the_training_statistics(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    write_idx_set(folder);
    double sum = 0, square = 0;
    int n = IDX_TRAIN * IDX_H * IDX_W;
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        sum += test_byte(1, i);
        square += (double)test_byte(1, i) * test_byte(1, i);
    }
    double mean = sum / n / 255.0, std = sqrt(square / n - (sum / n) * (sum / n)) / 255.0;
    for (int split = 0; split < 2; split++) {
        struct ddp_dataset *ds;
        assert_int_equal(open_in(folder, (enum ddp_split)split, &ds, &err), 0);
        assert_true(fabs(ds->info.mean[0] - mean) < 1e-12 && fabs(ds->info.std[0] - std) < 1e-12);
        ddp_dataset_close(ds);
    }
    remove_folder(folder);
}

static void test_emnist_pictures_are_turned_upright(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    static const char *const own[4] = {
        "emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte",
        "emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte"};
    write_idx_set(folder);
    for (int i = 0; i < 4; i++)
        assert_int_equal(rename(in_folder(folder, names[i]), in_folder(folder, own[i])), 0);
    struct ddp_config cfg = basic_config("idx", folder);
    cfg.data.files = (struct ddp_strings){4, own};
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TEST, &ds, &err), 0);
    assert_int_equal(ds->info.classes, 27);
    assert_true(ds->info.shape.h == IDX_W && ds->info.shape.w == IDX_H);
    uint8_t p[IDX_H * IDX_W];
    int32_t label;
    assert_int_equal(ds->ops->get(ds->self, 3, p, &label, &err), 0);
    for (uint32_t y = 0; y < IDX_W; y++)
        for (uint32_t x = 0; x < IDX_H; x++)
            assert_int_equal(p[y * IDX_H + x], test_byte(2, 3 * sizeof p + x * IDX_W + y));
    ddp_dataset_close(ds);
    remove_folder(folder);
}

static void test_idx_damage_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int file;
        long at;
        int value;
        long cut;
        const char *text;
    } table[] = {
        {"empty file", 0, -1, 0, 0, "truncated"},
        {"half a header", 0, -1, 0, 15, "its header alone takes 16"},
        {"header only", 0, -1, 0, 16, "it holds 16 bytes, its header promises 160"},
        {"one byte short", 0, -1, 0, 159, "truncated"},
        {"one byte long", 0, -1, 0, 161, "damaged: bytes follow the 160"},
        {"first magic byte", 0, 0, 1, -1, "starts with 01 00 08 03, not 00 00 08 03"},
        {"second magic byte", 0, 1, 1, -1, "no IDX file"},
        {"type is not bytes", 0, 2, 0x0d, -1, "no IDX file"},
        {"labels for pictures", 0, 3, 1, -1, "no IDX file of bytes with 3 dimensions"},
        {"more pictures than there are", 0, 7, 13, -1, "truncated"},
        {"fewer pictures than there are", 0, 7, 11, -1, "damaged"},
        {"no pictures", 0, 7, 0, -1, "size 0 in its header is 0"},
        {"no rows", 0, 11, 0, -1, "size 1 in its header is 0"},
        {"rows beyond all", 0, 8, 0xff, -1, "truncated"},
        {"labels short", 1, -1, 0, 19, "truncated"},
        {"labels long", 1, -1, 0, 21, "damaged"},
        {"labels' magic", 1, 3, 3, -1, "no IDX file of bytes with 1 dimension:"},
        {"a label beyond all", 1, 12, 200, -1, "label 200 is out of range"},
    };
    for (size_t i = 0; i < DDP_COUNT(table); i++)
        for (int packed = 0; packed < 2; packed++) {
            char *folder = make_folder();
            struct ddp_error err = {0};
            struct ddp_dataset *ds;
            write_idx_set(folder);
            damage(in_folder(folder, names[table[i].file]), table[i].at, table[i].value, table[i].cut);
            if (packed)
                pack_file(folder, names[table[i].file], false);
            assert_int_equal(open_in(folder, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
            if (!strstr(err.text, table[i].text) &&
                !(packed && strstr(err.text, "more than"))) /* caught by size before */
                fail_msg("%s: \"%s\" lacks \"%s\"", table[i].what, err.text, table[i].text);
            assert_contains(err.text, names[table[i].file]);
            remove_folder(folder);
        }
}

static void test_idx_files_that_disagree_are_refused(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    write_idx_set(folder);
    size_t bytes;
    uint8_t *labels = idx_labels(IDX_TRAIN + 1, IDX_CLASSES, &bytes);
    write_bytes(in_folder(folder, names[1]), labels, bytes);
    free(labels);
    assert_int_equal(open_in(folder, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
    assert_contains(err.text, "holds 12 pictures");
    assert_contains(err.text, "13 labels");
    remove_folder(folder);

    folder = make_folder(); /* a test label that training does not have */
    write_idx_set(folder);
    damage(in_folder(folder, names[3]), 8, 3, -1);
    assert_int_equal(open_in(folder, DDP_SPLIT_TRAIN, &ds, &err), 0);
    ddp_dataset_close(ds);
    assert_int_equal(open_in(folder, DDP_SPLIT_TEST, &ds, &err), DDP_E_DATA);
    assert_contains(err.text, "label 3 of sample 0 is out of range; allowed are 0..2");
    remove_folder(folder);
}

static void test_idx_labels_may_start_at_one(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    write_idx_set(folder);
    size_t bytes;
    uint8_t *labels = idx_labels(IDX_TRAIN, IDX_CLASSES, &bytes);
    for (int i = 0; i < IDX_TRAIN; i++)
        labels[8 + i]++;
    write_bytes(in_folder(folder, names[1]), labels, bytes);
    assert_int_equal(open_in(folder, DDP_SPLIT_TRAIN, &ds, &err), 0);
    assert_int_equal(ds->info.classes, IDX_CLASSES + 1);
    ddp_dataset_close(ds);
    labels[8] = IDX_CLASSES + 2; /* 4 different ones, the highest of them 5 */
    write_bytes(in_folder(folder, names[1]), labels, bytes);
    assert_int_equal(open_in(folder, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
    free(labels);
    remove_folder(folder);
}

static void test_damaged_gz_is_refused(void **state)
{
    (void)state;
    /* a packed file cut or changed anywhere: never accepted with other content */
    char *good = make_folder();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    write_idx_set(good);
    pack_file(good, names[0], false);
    char gz[600];
    snprintf(gz, sizeof gz, "%s.gz", in_folder(good, names[0]));
    char *data;
    size_t bytes;
    assert_int_equal(ddp_file_read(gz, 0, &data, &bytes, &err), 0);
    int refused = 0;
    for (size_t cut = 0; cut < bytes; cut++) {
        write_bytes(gz, data, cut);
        assert_int_equal(open_in(good, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
        assert_contains(err.text, ".gz");
    }
    for (size_t at = 0; at < bytes; at++) {
        data[at] ^= 0x10;
        write_bytes(gz, data, bytes);
        data[at] ^= 0x10;
        if (open_in(good, DDP_SPLIT_TRAIN, &ds, &err) == 0) { /* a name or time in gzip's own header */
            check_content(ds, 1, IDX_TRAIN);
            ddp_dataset_close(ds);
        } else {
            refused++;
        }
    }
    assert_true(refused > (int)bytes - 12);
    free(data);
    remove_folder(good);
}

/* Several members are one file, as gzip has it; anything else behind a member is damage, and so is a file
 * that is not packed under a packed one's name. */
static void test_what_follows_a_gz_member(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint8_t bytes[4];
        size_t n;
    } table[] = {{"text", "oops", 4},
                 {"one byte", {7}, 1},
                 {"zeros", {0, 0, 0, 0}, 4},
                 {"half a head", {0x1f, 0x8b, 8}, 3}};
    char *folder = make_folder(), gz[600];
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    char *data;
    size_t bytes, plain_bytes;
    uint8_t *plain = idx_images(1, IDX_TRAIN, IDX_H, IDX_W, &plain_bytes);
    write_idx_set(folder);
    pack_file(folder, names[0], false);
    snprintf(gz, sizeof gz, "%s.gz", in_folder(folder, names[0]));
    assert_int_equal(ddp_file_read(gz, 0, &data, &bytes, &err), 0);
    uint8_t *more = malloc(bytes + 4);
    memcpy(more, data, bytes);
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        memcpy(more + bytes, table[i].bytes, table[i].n);
        write_bytes(gz, more, bytes + table[i].n);
        err = (struct ddp_error){0};
        if (open_in(folder, DDP_SPLIT_TRAIN, &ds, &err) != DDP_E_DATA)
            fail_msg("%s was accepted", table[i].what);
        assert_contains(err.text, ".gz");
        assert_contains(err.text, "fetch it again");
    }
    write_bytes(gz, plain, plain_bytes);
    assert_int_equal(open_in(folder, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
    assert_contains(err.text, "no gzip file");
    gzFile f = gzopen(gz, "wb"); /* two members */
    assert_int_equal(gzwrite(f, plain, 20), 20);
    assert_int_equal(gzclose(f), Z_OK);
    f = gzopen(gz, "ab");
    assert_int_equal(gzwrite(f, plain + 20, (unsigned)plain_bytes - 20), (int)plain_bytes - 20);
    assert_int_equal(gzclose(f), Z_OK);
    assert_int_equal(open_in(folder, DDP_SPLIT_TRAIN, &ds, &err), 0);
    check_content(ds, 1, IDX_TRAIN);
    ddp_dataset_close(ds);
    free(more);
    free(data);
    free(plain);
    remove_folder(folder);
}

static void test_packed_header_that_promises_too_much_does_not_allocate(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    write_idx_set(folder);
    damage(in_folder(folder, names[0]), 4, 0x7f, -1);
    pack_file(folder, names[0], false);
    assert_int_equal(open_in(folder, DDP_SPLIT_TRAIN, &ds, &err), DDP_E_DATA);
    assert_contains(err.text, "packed bytes can hold");
    remove_folder(folder);
}

static void test_real_mnist_where_there_is_some(void **state)
{
    (void)state;
    const char *root = getenv("DDP_TEST_MNIST");
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    if (!root)
        skip();
    struct ddp_config cfg = basic_config("idx", root);
    cfg.data.path = "mnist";
    assert_int_equal(ddp_dataset_open(&cfg, DDP_SPLIT_TRAIN, &ds, &err), 0);
    assert_int_equal(ds->info.count, 60000);
    assert_true(ds->info.mean[0] == 0.1307 && ds->info.std[0] == 0.3081 && ds->info.classes == 10);
    ddp_dataset_close(ds);
}

int main(void)
{
    const char *dir = getenv("DDP_DATA_DIR");
    if (dir && ddp_path_exists(in_folder(dir, "mnist")))
        setenv("DDP_TEST_MNIST", dir, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx_reads_plain_and_packed_alike),
        cmocka_unit_test(test_idx_finds_names_with_a_dot_and_names_of_the_config),
        cmocka_unit_test(test_idx_both_splits_use_the_training_statistics),
        cmocka_unit_test(test_emnist_pictures_are_turned_upright),
        cmocka_unit_test(test_idx_damage_is_refused_with_its_reason),
        cmocka_unit_test(test_idx_files_that_disagree_are_refused),
        cmocka_unit_test(test_idx_labels_may_start_at_one),
        cmocka_unit_test(test_damaged_gz_is_refused),
        cmocka_unit_test(test_what_follows_a_gz_member),
        cmocka_unit_test(test_packed_header_that_promises_too_much_does_not_allocate),
        cmocka_unit_test(test_real_mnist_where_there_is_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
