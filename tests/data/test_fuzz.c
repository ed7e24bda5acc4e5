/* Thousands of damaged files: each is refused, or read without a step outside; under the sanitizers a stray
 * read ends the test. Fixed seeds, so that a failure comes back. */
#include "data_testing.h"

#include "data/image.h"
#include "data/pack.h"
#include "data/packed.h"

enum { ROUNDS = 1500 };

static uint32_t draw(uint32_t round, uint32_t i, uint32_t below)
{
    return ddp_uniform_int(ddp_philox4(i, round, 7, 0, 2026).v[0], below);
}

/* Damage a copy: flipped bits, overwritten bytes (often 0, 255, or in the first 64), a piece removed or
 * doubled, cut. */
static uint8_t *mutate(const uint8_t *data, size_t bytes, uint32_t round, size_t *out_bytes)
{
    uint8_t *p = malloc(2 * bytes + 1);
    memcpy(p, data, bytes);
    size_t n = bytes;
    uint32_t at = 0, edits = 1 + draw(round, at++, 4);
    for (uint32_t e = 0; e < edits && n > 0; e++) {
        uint32_t kind = draw(round, at++, 6);
        size_t where =
            draw(round, at++, 2) ? draw(round, at, (uint32_t)n) : draw(round, at, n < 64 ? (uint32_t)n : 64);
        at++;
        uint32_t value = draw(round, at++, 256);
        if (kind == 0)
            p[where] ^= (uint8_t)(1u << (value % 8));
        else if (kind == 1)
            p[where] = (uint8_t)value;
        else if (kind == 2)
            p[where] = value & 1 ? 255 : 0;
        else if (kind == 3)
            n = where;
        else if (kind == 4 && n + value <= 2 * bytes) {
            memset(p + n, (int)value, value);
            n += value;
        } else if (where + 4 <= n)
            memset(p + where, value & 1 ? 255 : 0, 4);
    }
    *out_bytes = n;
    return p;
}

/* Open and read everything that a damaged file still claims to hold. */
static bool read_all(const struct ddp_config *cfg)
{
    bool opened = false;
    for (int split = 0; split < 2; split++) {
        struct ddp_error err = {0};
        struct ddp_dataset *ds;
        int rc = ddp_dataset_open(cfg, (enum ddp_split)split, &ds, &err);
        if (rc) {
            assert_true(err.text[0] != '\0' && (rc == DDP_E_DATA || rc == DDP_E_IO || rc == DDP_E_RESOURCE));
            continue;
        }
        opened = true;
        size_t picture = (size_t)ds->info.shape.c * (size_t)ds->info.shape.h * (size_t)ds->info.shape.w;
        uint8_t *p = malloc(picture);
        for (int64_t i = 0; i < ds->info.count; i++) {
            int32_t label = 0;
            if (ds->ops->get(ds->self, i, p, &label, &err) == 0)
                assert_in_range(label, 0, ds->info.classes - 1);
        }
        char hex[65];
        assert_int_equal(ds->ops->digest(ds->self, hex, &err), 0);
        free(p);
        ddp_dataset_close(ds);
    }
    return opened;
}

static void fuzz_file(const struct ddp_config *cfg, const char *path, uint32_t salt, int *opened)
{
    struct ddp_error err = {0};
    char *data;
    size_t bytes;
    assert_int_equal(ddp_file_read(path, 0, &data, &bytes, &err), 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        size_t n;
        uint8_t *p = mutate((const uint8_t *)data, bytes, salt + round, &n);
        write_bytes(path, p, n);
        free(p);
        *opened += read_all(cfg);
    }
    write_bytes(path, data, bytes);
    free(data);
}

static void test_fuzz_idx(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_config cfg = basic_config("idx", folder);
    int opened = 0;
    write_idx_set(folder);
    fuzz_file(&cfg, in_folder(folder, "train-images-idx3-ubyte"), 0, &opened);
    fuzz_file(&cfg, in_folder(folder, "train-labels-idx1-ubyte"), 10000, &opened);
    fuzz_file(&cfg, in_folder(folder, "t10k-labels-idx1-ubyte"), 20000, &opened);
    assert_true(opened > 0);
    assert_true(read_all(&cfg));
    remove_folder(folder);
}

static void test_fuzz_idx_gz(void **state)
{
    (void)state;
    char *folder = make_folder(), command[1400];
    struct ddp_config cfg = basic_config("idx", folder);
    int opened = 0;
    write_idx_set(folder);
    snprintf(command, sizeof command, "gzip %s %s", in_folder(folder, "train-images-idx3-ubyte"),
             in_folder(folder, "train-labels-idx1-ubyte"));
    assert_int_equal(system(command), 0);
    fuzz_file(&cfg, in_folder(folder, "train-images-idx3-ubyte.gz"), 30000, &opened);
    assert_true(read_all(&cfg));
    remove_folder(folder);
}

static void test_fuzz_cifar(void **state)
{
    (void)state;
    char *folder = make_folder();
    static const char *const files[] = {"a.bin", "t.bin"};
    struct ddp_config cfg = basic_config("cifar100", folder);
    cfg.data.files = (struct ddp_strings){2, files};
    uint8_t *p = calloc(2, 3074);
    write_bytes(in_folder(folder, "a.bin"), p, 2 * 3074);
    write_bytes(in_folder(folder, "t.bin"), p, 3074);
    free(p);
    int opened = 0;
    fuzz_file(&cfg, in_folder(folder, "a.bin"), 40000, &opened);
    assert_true(read_all(&cfg));
    remove_folder(folder);
}

/* Random damage is caught by the checksums; so also damage whose checksums are right, to reach what comes
 * after. */
static void test_fuzz_packed(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    assert_int_equal(ddp_dir_make(in_folder(folder, "pics/a"), &err), 0);
    assert_int_equal(ddp_dir_make(in_folder(folder, "pics/b"), &err), 0);
    static const uint8_t pixels[16] = {1, 2, 3};
    for (int i = 0; i < 8; i++) {
        char name[32];
        snprintf(name, sizeof name, "pics/%c/%d.png", i % 2 ? 'a' : 'b', i);
        assert_int_equal(ddp_image_write_png(in_folder(folder, name), pixels, 1, 4, 4, &err), 0);
    }
    char out[600], dir[600];
    snprintf(out, sizeof out, "%s/out.ddp", folder);
    snprintf(dir, sizeof dir, "%s/pics", folder);
    struct ddp_pack_options opt = {.dir = dir, .out = out, .threads = 1, .test_fraction = 0.25};
    struct ddp_pack_result r;
    assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
    struct ddp_config cfg = basic_config("packed", "");
    cfg.data.path = out;
    int opened = 0;
    fuzz_file(&cfg, out, 50000, &opened);

    char *data;
    size_t bytes;
    assert_int_equal(ddp_file_read(out, 0, &data, &bytes, &err), 0);
    int sealed = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        size_t n;
        uint8_t *p = mutate((const uint8_t *)data, bytes, 60000 + round, &n);
        struct ddp_packed_head head;
        if (n >= sizeof head) {
            memcpy(&head, p, sizeof head);
            memcpy(head.magic, data, 16);
            if (draw(round, 50, 2))
                ddp_packed_layout(&head);
            if (head.names_bytes <= n - sizeof head)
                ddp_packed_seal_head(&head, (const char *)p + sizeof head);
            memcpy(p, &head, sizeof head);
            if (head.tail_at <= n && n - head.tail_at >= sizeof(struct ddp_packed_tail)) {
                struct ddp_packed_tail tail;
                memcpy(&tail, p + head.tail_at, sizeof tail);
                memcpy(tail.magic, data, sizeof tail.magic);
                ddp_packed_seal_tail(&tail);
                memcpy(p + head.tail_at, &tail, sizeof tail);
            }
        }
        write_bytes(out, p, n);
        free(p);
        sealed += read_all(&cfg);
    }
    assert_true(sealed > 100);
    free(data);
    remove_folder(folder);
}

static void test_fuzz_pictures(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    uint8_t pixels[3 * 15 * 17];
    for (uint32_t i = 0; i < sizeof pixels; i++)
        pixels[i] = test_byte(1, i);
    const char *path = in_folder(folder, "x.png");
    assert_int_equal(ddp_image_write_png(path, pixels, 3, 15, 17, &err), 0);
    char *data;
    size_t bytes;
    assert_int_equal(ddp_file_read(path, 0, &data, &bytes, &err), 0);
    for (uint32_t round = 0; round < 400; round++) {
        size_t n;
        uint8_t *p = mutate((const uint8_t *)data, bytes, 70000 + round, &n);
        struct ddp_image image = {0};
        if (ddp_image_decode("x.png", p, n, (int)(round % 2) * 3, 0, &image, &err) == 0)
            assert_true(image.c == 1 || image.c == 3);
        ddp_image_finish(&image);
        free(p);
    }
    free(data);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuzz_idx),      cmocka_unit_test(test_fuzz_idx_gz),
        cmocka_unit_test(test_fuzz_cifar),    cmocka_unit_test(test_fuzz_packed),
        cmocka_unit_test(test_fuzz_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
