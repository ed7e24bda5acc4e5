/* Folders of pictures read as they are: the samples that packing them gives, and what is refused. */
#include "data_testing.h"

#include "data/image.h"
#include "data/pack.h"

enum { H = 4, W = 5 };

static void write_png(const char *path, int c, int h, int w, uint32_t stream)
{
    struct ddp_error err = {0};
    uint8_t p[3 * 8 * 8];
    for (uint32_t i = 0; i < sizeof p; i++)
        p[i] = test_byte(stream, i);
    assert_int_equal(ddp_image_write_png(path, p, c, h, w, &err), 0);
}

/* Two classes, `count` training pictures, and with split two to test with. */
static char *make_pictures(int channels, int count, bool split)
{
    static const char *const dirs[2][4] = {{"cat", "dog"},
                                           {"train/cat", "train/dog", "test/cat", "test/dog"}};
    char *folder = make_folder();
    struct ddp_error err = {0};
    for (int i = 0; i < (split ? 4 : 2); i++)
        assert_int_equal(ddp_dir_make(in_folder(folder, dirs[split][i]), &err), 0);
    for (int i = 0; i < count + 2 * split; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s/%04d.png", dirs[split][(i < count ? 0 : 2) + i % 2], i);
        char before[300]; /* beyond 64 they repeat: links cost less */
        snprintf(before, sizeof before, "%s", in_folder(folder, name));
        if (i < 64 || i >= count)
            write_png(in_folder(folder, name), channels, H, W, (uint32_t)i);
        else {
            char like[64];
            snprintf(like, sizeof like, "%s/%04d.png", dirs[split][i % 2], i % 64);
            assert_int_equal(link(in_folder(folder, like), before), 0);
        }
    }
    return folder;
}

static int open_as(const char *format, const char *path, enum ddp_split split, struct ddp_dataset **ds,
                   struct ddp_error *err)
{
    struct ddp_config cfg = basic_config(format, "");
    cfg.data.path = path;
    cfg.data.seed = 1;
    err->code = 0;
    return ddp_dataset_open(&cfg, split, ds, err);
}

static void same_samples(const struct ddp_dataset *a, const struct ddp_dataset *b)
{
    struct ddp_error err = {0};
    assert_int_equal(a->info.count, b->info.count);
    assert_int_equal(a->info.classes, b->info.classes);
    assert_string_equal(a->info.class_names[1], "dog");
    assert_memory_equal(&a->info.shape, &b->info.shape, sizeof a->info.shape);
    assert_memory_equal(a->info.mean, b->info.mean, (size_t)a->info.shape.c * sizeof *a->info.mean);
    assert_memory_equal(a->info.std, b->info.std, (size_t)a->info.shape.c * sizeof *a->info.std);
    for (int64_t i = 0; i < a->info.count; i++) {
        uint8_t p[2][3 * H * W] = {{0}};
        int32_t label[3];
        assert_int_equal(ddp_dataset_get(a, i, p[0], &label[0], &err), 0);
        assert_int_equal(ddp_dataset_get(b, i, p[1], &label[1], &err), 0);
        assert_int_equal(ddp_dataset_label(a, i, p[1], &label[2], &err), 0);
        assert_true(label[0] == label[1] && label[1] == label[2]);
        assert_memory_equal(p[0], p[1], sizeof p[0]);
    }
    uint8_t p[3 * H * W];
    int32_t label;
    assert_int_equal(ddp_dataset_get(a, a->info.count, p, &label, &err), DDP_E_DATA);
    assert_int_equal(ddp_dataset_get(a, -1, p, &label, &err), DDP_E_DATA);
}

static void test_folder_has_what_packing_it_gives(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        char *folder = make_pictures(form % 2 ? 3 : 1, 24, form / 2), out[300];
        snprintf(out, sizeof out, "%s.ddp", folder);
        const struct ddp_pack_options opt = {
            .dir = folder, .out = out, .threads = 1, .test_fraction = 0.1, .seed = 1};
        struct ddp_pack_result r;
        struct ddp_error err = {0};
        assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
        for (enum ddp_split split = DDP_SPLIT_TRAIN; split <= DDP_SPLIT_TEST; split++) {
            struct ddp_dataset *a, *b;
            assert_int_equal(open_as("folder", folder, split, &a, &err), 0);
            assert_int_equal(open_as("packed", out, split, &b, &err), 0);
            same_samples(a, b);
            ddp_dataset_close(a);
            ddp_dataset_close(b);
        }
        assert_int_equal(remove(out), 0);
        remove_folder(folder);
    }
}

/* Of more than 2,048 pictures that many are measured: a flat one that is not among them does not count. */
static void test_statistics_are_of_pictures_spread_evenly(void **state)
{
    (void)state;
    enum { COUNT = 4096 + 64 };
    char *folder = make_pictures(1, COUNT, true), name[64];
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    struct ddp_pixel_stats stats = {0};
    double mean[4], std[4];
    assert_int_equal(open_as("folder", folder, DDP_SPLIT_TRAIN, &ds, &err), 0);
    for (int64_t i = 0; i < 2048; i++) {
        uint8_t p[H * W];
        int32_t label;
        assert_int_equal(ddp_dataset_get(ds, i * COUNT / 2048, p, &label, &err), 0);
        ddp_pixel_stats_add(&stats, ds->info.shape, p);
    }
    ddp_pixel_stats_result(&stats, 1, mean, std);
    assert_true(ds->info.mean[0] == mean[0] && ds->info.std[0] == std[0]);
    ddp_dataset_close(ds);
    snprintf(name, sizeof name, "train/cat/%04d.png", 132); /* sample 66: 65 and 67 are taken */
    assert_int_equal(remove(in_folder(folder, name)), 0);
    write_png(in_folder(folder, name), 1, H, W, 99999);
    assert_int_equal(open_as("folder", folder, DDP_SPLIT_TEST, &ds, &err), 0);
    assert_true(ds->info.mean[0] == mean[0] && ds->info.count == 2);
    ddp_dataset_close(ds);
    remove_folder(folder);
}

static void test_pictures_that_do_not_fit_are_named(void **state)
{
    (void)state;
    static const struct {
        int first, c, h, w;
        const char *file, *says;
    } table[] = {
        {1, 1, 5, 5, "train/dog/0001.png", "has 5 x 5 pixels (width x height), and the first picture,"},
        {1, 1, 5, 5, "test/cat/0006.png", "`ddp-data pack DIR OUT --size 5x4` does"},
        {1, 3, H, W, "train/dog/0003.png", "is in colour, and the first picture,"},
        {3, 1, H, W, "train/dog/0003.png", NULL}, /* grey among colour is brought to it */
    };
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char *folder = make_pictures(table[i].first, 6, true);
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        const enum ddp_split split =
            strncmp(table[i].file, "test", 4) == 0 ? DDP_SPLIT_TEST : DDP_SPLIT_TRAIN;
        write_png(in_folder(folder, table[i].file), table[i].c, table[i].h, table[i].w, 7);
        int status = open_as("folder", folder, split, &ds, &err);
        const bool open = status == 0;
        for (int64_t k = 0; status == 0 && k < ds->info.count; k++) {
            uint8_t p[3 * H * W];
            int32_t label;
            status = ddp_dataset_get(ds, k, p, &label, &err);
        }
        if (open)
            ddp_dataset_close(ds);
        assert_int_equal(status, table[i].says ? DDP_E_DATA : 0);
        if (table[i].says) {
            assert_non_null(strstr(err.text, table[i].says));
            assert_non_null(strstr(err.text, table[i].file));
        }
        remove_folder(folder);
    }
}

/* Opening the test split looks at training files, too: the split that is named is the one at fault. */
static void test_the_split_at_fault_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *file; /* is spoilt; NULL: the folder is empty */
        bool split;
        const char *says;
    } table[] = {{"train/cat/0000.png", true, "data 'sample', train split: "},
                 {"train/dog/0003.png", true, "data 'sample', train split: "},
                 {"train/bird", true, "data 'sample', train split: class folder "},
                 {"test/bird", true, "data 'sample', test split: "},
                 {"bird", false, "data 'sample': class folder "},
                 {NULL, false, "data 'sample': "}};
    for (size_t i = 0; i < DDP_COUNT(table); i++)
        for (enum ddp_split split = DDP_SPLIT_TRAIN; split <= DDP_SPLIT_TEST; split++) {
            char *folder = table[i].file ? make_pictures(1, 6, table[i].split) : make_folder();
            struct ddp_error err = {0};
            struct ddp_dataset *ds;
            if (table[i].file && strstr(table[i].file, "png"))
                assert_int_equal(ddp_file_write(in_folder(folder, table[i].file), "GIF8", 4, NULL), 0);
            else if (table[i].file)
                assert_int_equal(ddp_dir_make(in_folder(folder, table[i].file), &err), 0);
            assert_int_equal(open_as("folder", folder, split, &ds, &err), DDP_E_DATA);
            if (strncmp(err.text, table[i].says, strlen(table[i].says)) != 0)
                fail_msg("%s, not %s", err.text, table[i].says);
            remove_folder(folder);
        }
}

static void test_digest_is_of_every_file_and_label(void **state)
{
    (void)state;
    char *folder = make_pictures(1, 40, true), hex[4][65], from[300];
    struct ddp_error err = {0};
    for (int i = 0; i < 4; i++) {
        struct ddp_dataset *ds;
        if (i == 2) /* one of the pictures that are not decoded for it */
            write_png(in_folder(folder, "train/dog/0035.png"), 1, H, W, 1234);
        if (i == 3) {
            snprintf(from, sizeof from, "%s", in_folder(folder, "train/cat/0038.png"));
            assert_int_equal(rename(from, in_folder(folder, "train/dog/0000.png")), 0);
        }
        assert_int_equal(open_as("folder", folder, DDP_SPLIT_TRAIN, &ds, &err), 0);
        assert_int_equal(ds->ops->digest(ds->self, hex[i], &err), 0);
        assert_non_null(strstr(ds->ops->file(ds->self, 39), "dog/0039.png"));
        assert_null(ds->ops->file(ds->self, 40));
        ddp_dataset_close(ds);
    }
    assert_string_equal(hex[0], hex[1]);
    assert_string_not_equal(hex[1], hex[2]);
    assert_string_not_equal(hex[2], hex[3]);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder_has_what_packing_it_gives),
        cmocka_unit_test(test_statistics_are_of_pictures_spread_evenly),
        cmocka_unit_test(test_pictures_that_do_not_fit_are_named),
        cmocka_unit_test(test_the_split_at_fault_is_named),
        cmocka_unit_test(test_digest_is_of_every_file_and_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
