/* Marks of data sets: other data has another one, and little is read for it. */
#include "data_testing.h"

#include <sys/stat.h>
#include <unistd.h>

enum { H = 200, W = 200, TRAIN = 12, TEST = 7 };

static const char *const names[4] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                     "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

static void write_set(const char *folder)
{
    for (int i = 0; i < 4; i++) {
        const uint32_t n = i < 2 ? TRAIN : TEST;
        size_t bytes;
        uint8_t *p = i % 2 ? idx_labels(n, 3, &bytes) : idx_images(i < 2 ? 1 : 2, n, H, W, &bytes);
        write_bytes(in_folder(folder, names[i]), p, bytes);
        free(p);
    }
}

static void both(const char *folder, enum ddp_split split, char mark[65], char digest[65])
{
    const struct ddp_config cfg = basic_config("idx", folder);
    struct ddp_error err = {0};
    assert_int_equal(ddp_dataset_mark(&cfg, split, mark, &err), 0);
    assert_int_equal(ddp_dataset_digest(&cfg, split, digest, &err), 0);
}

/* One more in a byte at `at`; behind the end: a byte more. */
static void change(const char *path, long at)
{
    FILE *f = fopen(path, "r+e");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    const int was = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    fputc(was + 1, f);
    fclose(f);
}

static void test_mark_tells_data_apart(void **state)
{
    static const struct {
        int file;
        long at;
        bool train, test; /* marks of which splits change */
    } table[] = {
        {0, 16, true, false},                       /* the first pixel */
        {0, 16 + TRAIN * H * W - 1, true, false},   /* the last */
        {2, 16 + TEST * H * W / 3, false, true},    /* in the midst */
        {1, 8, true, false},                        /* a label; 2 is a class as well */
        {0, 16 + TRAIN * H * W / 30, false, false}, /* between two pieces: --check sees it */
    };
    char *folder = make_folder();
    char mark[2][65], digest[2][65], now[65], whole[65];
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        write_set(folder);
        both(folder, DDP_SPLIT_TRAIN, mark[0], digest[0]);
        both(folder, DDP_SPLIT_TEST, mark[1], digest[1]);
        assert_string_not_equal(mark[0], mark[1]);
        both(folder, DDP_SPLIT_TRAIN, now, whole);
        assert_string_equal(now, mark[0]);
        change(in_folder(folder, names[table[i].file]), table[i].at);
        both(folder, DDP_SPLIT_TRAIN, now, whole);
        assert_int_equal(strcmp(now, mark[0]) != 0, table[i].train);
        assert_int_equal(strcmp(whole, digest[0]) != 0, table[i].file < 2);
        both(folder, DDP_SPLIT_TEST, now, whole);
        assert_int_equal(strcmp(now, mark[1]) != 0, table[i].test);
        assert_int_equal(strcmp(whole, digest[1]) != 0, table[i].file >= 2);
    }
    remove_folder(folder);
}

/* 12 GB of holes: whoever read them would need a minute. */
static void test_mark_reads_little(void **state)
{
    enum { SIDE = 32768 };
    char *folder = make_folder(), mark[65];
    const struct ddp_config cfg = basic_config("idx", folder);
    struct ddp_error err = {0};
    (void)state;
    write_set(folder);
    size_t bytes;
    uint8_t *head = idx_images(1, 1, SIDE, 1, &bytes);
    head[7] = TRAIN;
    head[14] = SIDE >> 8;
    head[15] = 0;
    write_bytes(in_folder(folder, names[0]), head, 16);
    free(head);
    if (truncate(in_folder(folder, names[0]), 16 + (off_t)TRAIN * SIDE * SIDE) != 0)
        skip(); /* no files with holes here */
    const double began = ddp_now();
    assert_int_equal(ddp_dataset_mark(&cfg, DDP_SPLIT_TRAIN, mark, &err), 0);
    assert_true(ddp_now() - began < 5);
    remove_folder(folder);
}

/* What tells no files is read. */
static void test_mark_of_made_data_is_its_digest(void **state)
{
    struct ddp_config cfg = basic_config("digits", "/nowhere");
    char mark[65], digest[65];
    struct ddp_error err = {0};
    (void)state;
    cfg.data.train_count = 20;
    cfg.data.test_count = 10;
    assert_int_equal(ddp_dataset_mark(&cfg, DDP_SPLIT_TRAIN, mark, &err), 0);
    assert_int_equal(ddp_dataset_digest(&cfg, DDP_SPLIT_TRAIN, digest, &err), 0);
    assert_string_equal(mark, digest);
}

static void test_mark_of_missing_data_says_so(void **state)
{
    char *folder = make_folder(), mark[65];
    const struct ddp_config cfg = basic_config("idx", folder);
    struct ddp_error err = {0};
    (void)state;
    assert_int_equal(ddp_dataset_mark(&cfg, DDP_SPLIT_TRAIN, mark, &err), DDP_E_DATA);
    assert_contains(err.text, "found no train-images-idx3-ubyte");
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mark_tells_data_apart),
        cmocka_unit_test(test_mark_reads_little),
        cmocka_unit_test(test_mark_of_made_data_is_its_digest),
        cmocka_unit_test(test_mark_of_missing_data_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
