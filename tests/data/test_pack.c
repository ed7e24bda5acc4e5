/* Folders of pictures -> packed file -> data set; and what must be refused on the way. */
#include "data_testing.h"

#include <glob.h>
#include <jpeglib.h>
#include <sys/stat.h>
#include <zlib.h>

#include "data/image.h"
#include "data/pack.h"
#include "data/packed.h"

/* A picture of its own for each (stream): interleaved bytes. */
static void write_png(const char *path, int c, int h, int w, uint32_t stream)
{
    struct ddp_error err = {0};
    uint8_t *p = malloc((size_t)(c * h * w));
    for (uint32_t i = 0; i < (uint32_t)(c * h * w); i++)
        p[i] = test_byte(stream, i);
    assert_int_equal(ddp_image_write_png(path, p, c, h, w, &err), 0);
    free(p);
}

static void write_jpeg(const char *path, int c, int h, int w, uint8_t value)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr mgr;
    FILE *f = fopen(path, "wb");
    jpeg.err = jpeg_std_error(&mgr);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, f);
    jpeg.image_width = (JDIMENSION)w;
    jpeg.image_height = (JDIMENSION)h;
    jpeg.input_components = c;
    jpeg.in_color_space = c == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    uint8_t *row = malloc((size_t)(w * c));
    JSAMPROW rows[1] = {row};
    for (int y = 0; y < h; y++) {
        for (int i = 0; i < w * c; i++)
            row[i] = (uint8_t)(value + y);
        jpeg_write_scanlines(&jpeg, rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    fclose(f);
    free(row);
}

static void make_dirs(const char *folder, const char *const *dirs)
{
    struct ddp_error err = {0};
    for (; *dirs; dirs++)
        assert_int_equal(ddp_dir_make(in_folder(folder, *dirs), &err), 0);
}

/* train: cat a b, dog c; test: cat d, dog e. Pictures 5 x 4, streams 1 to 5 in that order. */
static char *make_pictures(int channels)
{
    char *folder = make_folder();
    make_dirs(folder, (const char *const[]){"train/dog", "train/cat", "test/cat", "test/dog", NULL});
    static const char *const files[5] = {"train/cat/a.png", "train/cat/b.PNG", "train/dog/c.png",
                                         "test/cat/d.png", "test/dog/e.png"};
    for (uint32_t i = 0; i < 5; i++)
        write_png(in_folder(folder, files[i]), channels, 4, 5, i + 1);
    return folder;
}

static struct ddp_pack_options options(const char *folder)
{
    static char out[600];
    snprintf(out, sizeof out, "%s/out.ddp", folder);
    return (struct ddp_pack_options){.dir = folder, .out = out, .threads = 2, .test_fraction = 0.1};
}

static int open_packed(const char *path, enum ddp_split split, bool verify, struct ddp_dataset **ds,
                       struct ddp_error *err)
{
    struct ddp_config cfg = basic_config("packed", "");
    cfg.data.path = path;
    cfg.data.verify = verify;
    err->code = 0;
    return ddp_dataset_open(&cfg, split, ds, err);
}

static void test_pack_keeps_every_pixel(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        char *folder = make_pictures(channels);
        struct ddp_pack_options opt = options(folder);
        struct ddp_pack_result r;
        struct ddp_error err = {0};
        assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
        assert_true(r.count[0] == 3 && r.count[1] == 2 && r.classes == 2 && r.c == channels && r.h == 4 &&
                    r.w == 5);
        struct ddp_pixel_stats stats = {0};
        for (int split = 0; split < 2; split++) {
            struct ddp_dataset *ds;
            assert_int_equal(open_packed(opt.out, (enum ddp_split)split, true, &ds, &err), 0);
            assert_int_equal(ds->info.count, split ? 2 : 3);
            assert_int_equal(ds->info.classes, 2);
            assert_string_equal(ds->info.class_names[0], "cat");
            assert_string_equal(ds->info.class_names[1], "dog");
            struct ddp_sha256 sha;
            ddp_sha256_init(&sha);
            static const int32_t labels[2][3] = {{0, 0, 1}, {0, 1}};
            ddp_sha256_update(&sha, labels[split], (size_t)ds->info.count * 4);
            for (int i = 0; i < ds->info.count; i++) {
                uint8_t p[60];
                int32_t label;
                assert_int_equal(ds->ops->get(ds->self, i, p, &label, &err), 0);
                assert_int_equal(label, labels[split][i]);
                for (int c = 0; c < channels; c++)
                    for (int k = 0; k < 20; k++)
                        assert_int_equal(p[c * 20 + k], test_byte((uint32_t)(split * 3 + i + 1),
                                                                  (uint32_t)(k * channels + c)));
                ddp_sha256_update(&sha, p, (size_t)channels * 20);
                if (!split)
                    ddp_pixel_stats_add(&stats, ds->info.shape, p);
            }
            char want[65], hex[65];
            ddp_sha256_hex(&sha, want);
            assert_int_equal(ds->ops->digest(ds->self, hex, &err), 0);
            assert_string_equal(hex, want);
            assert_string_equal(r.digest[split], want);
            double mean[4], std[4];
            if (!split)
                ddp_pixel_stats_result(&stats, channels, mean, std);
            else
                ddp_pixel_stats_result(&stats, channels, mean, std);
            assert_memory_equal(ds->info.mean, mean,
                                (size_t)channels * sizeof *mean); /* train's, in both splits */
            assert_memory_equal(ds->info.std, std, (size_t)channels * sizeof *std);
            uint8_t p[60];
            int32_t label;
            assert_int_equal(ds->ops->get(ds->self, ds->info.count, p, &label, &err), DDP_E_DATA);
            assert_int_equal(ds->ops->get(ds->self, -1, p, &label, &err), DDP_E_DATA);
            ddp_dataset_close(ds);
        }
        remove_folder(folder);
    }
}

static void test_pack_writes_the_same_file_at_any_number_of_threads(void **state)
{
    (void)state;
    char *folder = make_folder(), first[65] = "";
    make_dirs(folder, (const char *const[]){"a", "b", NULL});
    for (uint32_t i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "%c/%02u.png", i % 2 ? 'a' : 'b', i);
        write_png(in_folder(folder, name), 1, 3, 3, i);
    }
    for (int threads = 1; threads <= 3; threads++) {
        struct ddp_pack_options opt = options(folder);
        struct ddp_pack_result r;
        struct ddp_error err = {0};
        opt.threads = threads;
        opt.test_fraction = 0.25;
        assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
        assert_true(r.count[0] == 30 && r.count[1] == 10);
        char *data, hex[65];
        size_t bytes;
        assert_int_equal(ddp_file_read(opt.out, 0, &data, &bytes, &err), 0);
        struct ddp_sha256 sha;
        ddp_sha256_init(&sha);
        ddp_sha256_update(&sha, data, bytes);
        ddp_sha256_hex(&sha, hex);
        free(data);
        assert_int_equal(remove(opt.out), 0);
        if (threads == 1)
            memcpy(first, hex, sizeof first);
        assert_string_equal(hex, first);
    }
    remove_folder(folder);
}

static void test_pack_reads_jpeg_and_turns_colour_to_gray(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    make_dirs(folder, (const char *const[]){"train/x", "val/x", NULL});
    write_jpeg(in_folder(folder, "train/x/1.jpg"), 3, 16, 8, 100);
    write_jpeg(in_folder(folder, "train/x/2.JPEG"), 1, 16, 8, 50);
    write_bytes(in_folder(folder, "train/x/notes.txt"), "x", 1);
    write_png(in_folder(folder, "val/x/3.png"), 3, 16, 8, 4);
    for (int channels = 0; channels <= 3; channels += channels ? 2 : 1) {
        struct ddp_pack_options opt = options(folder);
        struct ddp_pack_result r;
        struct ddp_dataset *ds;
        opt.channels = channels;
        assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
        assert_int_equal(r.c, channels ? channels : 3); /* any has colour */
        assert_int_equal(r.ignored, 1);
        assert_int_equal(open_packed(opt.out, DDP_SPLIT_TRAIN, true, &ds, &err), 0);
        uint8_t p[3 * 128];
        int32_t label;
        for (int i = 0; i < 2; i++) {
            assert_int_equal(ds->ops->get(ds->self, i, p, &label, &err), 0);
            for (int k = 0; k < r.c * 128; k++) /* gray values survive JPEG within a few steps */
                assert_in_range(p[k], (i ? 50 : 100) + k % 128 / 8 - 3, (i ? 50 : 100) + k % 128 / 8 + 3);
        }
        ddp_dataset_close(ds);
        if (channels == 1) {
            assert_int_equal(open_packed(opt.out, DDP_SPLIT_TEST, true, &ds, &err), 0);
            assert_int_equal(ds->ops->get(ds->self, 0, p, &label, &err), 0);
            for (uint32_t k = 0; k < 128; k++) {
                double want = 0.299 * test_byte(4, 3 * k) + 0.587 * test_byte(4, 3 * k + 1) +
                              0.114 * test_byte(4, 3 * k + 2);
                assert_true(fabs(p[k] - want) <= 0.51);
            }
            ddp_dataset_close(ds);
        }
    }
    remove_folder(folder);
}

static void test_pack_refuses_with_the_name_of_the_culprit(void **state)
{
    (void)state;
    for (int i = 0; i < 11; i++) {
        char *folder = make_pictures(1);
        struct ddp_pack_options opt = options(folder);
        struct ddp_pack_result r;
        struct ddp_error err = {0};
        static const struct {
            int rc;
            const char *text;
        } want[] = {
            {DDP_E_DATA, "train/dog/c.png does not decode: it is neither JPEG nor PNG"},
            {DDP_E_DATA, "train/cat/b.PNG does not decode"},
            {DDP_E_DATA, "class folder "},
            {DDP_E_DATA, "test/eel is a class that the training folder does not have"},
            {DDP_E_DATA, "say --size WxH"},
            {DDP_E_DATA, "there is no folder"},
            {DDP_E_DATA, "holds no class folders"},
            {DDP_E_DATA, "test/dog/f.jpg does not decode"},
            {DDP_E_USAGE, "test fraction"},
            {DDP_E_IO, "missing-folder"},
            {DDP_E_DATA, "train/cat/0.jpg does not decode"},
        };
        char *data;
        size_t bytes;
        if (i == 0)
            write_bytes(in_folder(folder, "train/dog/c.png"), "hello", 5);
        if (i == 1) { /* cut off */
            assert_int_equal(ddp_file_read(in_folder(folder, "train/cat/b.PNG"), 0, &data, &bytes, &err), 0);
            write_bytes(in_folder(folder, "train/cat/b.PNG"), data, bytes - 20);
            free(data);
        }
        if (i == 2)
            make_dirs(folder, (const char *const[]){"train/eel", NULL});
        if (i == 3) {
            make_dirs(folder, (const char *const[]){"test/eel", NULL});
            write_png(in_folder(folder, "test/eel/x.png"), 1, 4, 5, 1);
        }
        if (i == 4)
            write_png(in_folder(folder, "test/cat/x.png"), 1, 5, 5, 1);
        if (i == 5)
            opt.dir = "/nowhere/at/all";
        if (i == 6) {
            assert_int_equal(ddp_dir_remove(in_folder(folder, "test/cat"), &err), 0);
            assert_int_equal(ddp_dir_remove(in_folder(folder, "test/dog"), &err), 0);
        }
        if (i == 7 || i == 10) { /* a JPEG that breaks off in its middle: libjpeg would only warn */
            const char *path = in_folder(folder, i == 7 ? "test/dog/f.jpg" : "train/cat/0.jpg");
            write_jpeg(path, 1, 4, 5, 100);
            assert_int_equal(ddp_file_read(path, 0, &data, &bytes, &err), 0);
            write_bytes(path, data, bytes - 8);
            free(data);
        }
        if (i == 8)
            opt.test_fraction = 1.0;
        char out[700];
        snprintf(out, sizeof out, "%s/missing-folder/out.ddp", folder);
        if (i == 9)
            opt.out = out;
        assert_int_equal(ddp_pack_run(&opt, &r, &err), want[i].rc);
        assert_contains(err.text, want[i].text);
        assert_false(ddp_path_exists(opt.out));
        remove_folder(folder);
    }
}

/* ---- pictures as cameras, scanners and damaged disks leave them ---- */

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

struct png_chunk {
    const char *kind;
    const void *data;
    size_t bytes;
};

/* A PNG of these chunks between IHDR and IEND; flip: this bit of the last chunk's data is wrong behind its
 * checksum, -1: none. */
static void write_png_chunks(const char *path, uint32_t w, uint32_t h, int depth, int kind,
                             const struct png_chunk *chunk, int n, int flip)
{
    FILE *f = fopen(path, "wb");
    uint8_t head[13] = {0}, word[4];
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, f);
    put32(head, w);
    put32(head + 4, h);
    head[8] = (uint8_t)depth;
    head[9] = (uint8_t)kind;
    for (int i = -1; i <= n; i++) {
        const struct png_chunk c = i < 0    ? (struct png_chunk){"IHDR", head, 13}
                                   : i == n ? (struct png_chunk){"IEND", "", 0}
                                            : chunk[i];
        uint8_t *copy = malloc(c.bytes + 4);
        memcpy(copy, c.kind, 4);
        memcpy(copy + 4, c.data, c.bytes);
        const uint32_t crc = (uint32_t)crc32(0, copy, (uInt)(c.bytes + 4));
        if (flip >= 0 && i == 0)
            copy[4 + flip / 8] ^= (uint8_t)(1 << flip % 8);
        put32(word, (uint32_t)c.bytes);
        fwrite(word, 1, 4, f);
        fwrite(copy, 1, c.bytes + 4, f);
        put32(word, crc);
        fwrite(word, 1, 4, f);
        free(copy);
    }
    fclose(f);
}

static struct png_chunk packed_rows(const uint8_t *rows, size_t bytes)
{
    static uint8_t out[4096];
    uLongf n = sizeof out;
    assert_int_equal(compress(out, &n, rows, bytes), Z_OK);
    return (struct png_chunk){"IDAT", out, n};
}

static void test_png_is_read_as_it_was_meant(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    struct ddp_image image;
    char path[600];
    snprintf(path, sizeof path, "%s/a.png", folder);
    /* 16 bits are sRGB too: the high byte, not light to be brightened */
    static const uint8_t deep[] = {0, 0x40, 0x10, 0x80, 0x20};
    write_png_chunks(path, 2, 1, 16, 0, (struct png_chunk[]){packed_rows(deep, sizeof deep)}, 1, -1);
    assert_int_equal(ddp_image_read(path, 0, 0, &image, &err), 0);
    assert_true(abs(image.p[0] - 0x40) <= 1 && abs(image.p[1] - 0x80) <= 1);
    ddp_image_finish(&image);
    /* transparent pixels lie on white: opaque 10, half 0, clear 0 */
    static const uint8_t alpha[] = {0, 10, 255, 0, 0};
    write_png_chunks(path, 2, 1, 8, 4, (struct png_chunk[]){packed_rows(alpha, sizeof alpha)}, 1, -1);
    assert_int_equal(ddp_image_read(path, 0, 0, &image, &err), 0);
    assert_true(image.p[0] == 10 && image.p[1] == 255);
    ddp_image_finish(&image);
    /* a flipped bit in a chunk that changes pixels is no warning */
    static const struct {
        const char *kind;
        uint8_t data[4];
        size_t bytes;
    } damaged[] = {{"gAMA", {0, 0, 0xb1, 0x8f}, 4}, {"tRNS", {0, 7}, 2}};
    static const uint8_t plain[] = {0, 1, 2};
    for (size_t i = 0; i < DDP_COUNT(damaged); i++)
        for (int flip = -1; flip < (int)damaged[i].bytes * 8; flip++) {
            const struct png_chunk chunks[] = {{damaged[i].kind, damaged[i].data, damaged[i].bytes},
                                               packed_rows(plain, sizeof plain)};
            write_png_chunks(path, 2, 1, 8, 0, chunks, 2, flip);
            assert_int_equal(ddp_image_read(path, 0, 0, &image, &err), flip < 0 ? 0 : DDP_E_DATA);
            if (flip < 0)
                ddp_image_finish(&image);
            else
                assert_contains(err.text, "a.png does not decode");
        }
    /* gigabytes are refused by the head, also from a small file */
    write_png_chunks(path, 32768, 32768, 8, 2, (struct png_chunk[]){packed_rows(plain, sizeof plain)}, 1, -1);
    assert_int_equal(ddp_image_read(path, 0, 0, &image, &err), DDP_E_DATA);
    assert_contains(err.text,
                    "a.png has 32768 x 32768 pixels; at most 100000000 in all are allowed (--max-pixels)");
    remove_folder(folder);
}

/* Two bytes a pixel would not do: a picture [2][3] whose pixels differ, stored in each of the eight ways. */
static void test_exif_orientation_is_undone(void **state)
{
    (void)state;
    static const uint8_t upright[6] = {1, 2, 3, 4, 5, 6};
    static const struct {
        int h, w;
        uint8_t p[6];
    } stored[9] = {
        [1] = {2, 3, {1, 2, 3, 4, 5, 6}}, [2] = {2, 3, {3, 2, 1, 6, 5, 4}}, [3] = {2, 3, {6, 5, 4, 3, 2, 1}},
        [4] = {2, 3, {4, 5, 6, 1, 2, 3}}, [5] = {3, 2, {1, 4, 2, 5, 3, 6}}, [6] = {3, 2, {3, 6, 2, 5, 1, 4}},
        [7] = {3, 2, {6, 3, 5, 2, 4, 1}}, [8] = {3, 2, {4, 1, 5, 2, 6, 3}},
    };
    for (int o = 1; o <= 8; o++) {
        uint8_t *p = malloc(12);
        memcpy(p, stored[o].p, 6);
        memcpy(p + 6, stored[o].p, 6);
        struct ddp_image image = {2, stored[o].h, stored[o].w, p};
        ddp_image_upright(&image, o);
        assert_true(image.h == 2 && image.w == 3);
        assert_memory_equal(image.p, upright, 6);
        assert_memory_equal(image.p + 6, upright, 6);
        ddp_image_finish(&image);
    }
    for (int big = 0; big < 2; big++)
        for (int o = 0; o <= 9; o++) {
            uint8_t tiff[26] = {0}, *e = tiff + 10;
            memcpy(tiff, big ? "MM\0*\0\0\0\x08\0\x01" : "II*\0\x08\0\0\0\x01\0", 10);
            memcpy(e, big ? "\x01\x12\0\x03\0\0\0\x01" : "\x12\x01\x03\0\x01\0\0\0", 8);
            e[big ? 9 : 8] = (uint8_t)o;
            assert_int_equal(ddp_exif_orientation(tiff, sizeof tiff), o >= 1 && o <= 8 ? o : 1);
            for (size_t cut = 0; cut < 22; cut++) /* what is cut off says nothing */
                assert_int_equal(ddp_exif_orientation(tiff, cut), 1);
        }
}

static void test_pack_turns_pictures_upright(void **state)
{
    (void)state;
    char *folder = make_folder(), *data;
    struct ddp_error err = {0};
    struct ddp_image image;
    size_t bytes;
    const char *path = in_folder(folder, "a.jpg");
    write_jpeg(path, 1, 16, 32, 100);
    assert_int_equal(ddp_file_read(path, 0, &data, &bytes, &err), 0);
    static const uint8_t exif[] = {0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0,    'M', 'M',
                                   0,    '*',  0, 0,  0,   8,   0,   1,   1, 0x12, 0,   3,
                                   0,    0,    0, 1,  0,   6,   0,   0,   0, 0,    0,   0};
    uint8_t *with = malloc(bytes + sizeof exif);
    memcpy(with, data, 2);
    memcpy(with + 2, exif, sizeof exif);
    memcpy(with + 2 + sizeof exif, data + 2, bytes - 2);
    write_bytes(path, with, bytes + sizeof exif);
    assert_int_equal(ddp_image_read(path, 0, 0, &image, &err), 0);
    assert_true(image.h == 32 && image.w == 16);
    assert_in_range(image.p[15], 97, 103); /* rows of growing brightness now run from right to left */
    assert_in_range(image.p[0], 112, 118);
    ddp_image_finish(&image);
    free(with);
    free(data);
    remove_folder(folder);
}

static void count_bad(void *user, const char *why)
{
    assert_non_null(strstr(why, "/"));
    ++*(int *)user;
}

static void test_pack_tells_of_all_bad_pictures(void **state)
{
    (void)state;
    static const char *const bad[] = {"train/cat/0.png", "train/dog/z.jpg", "test/dog/z.png"};
    for (int skip = 0; skip < 2; skip++) {
        char *folder = make_pictures(1);
        struct ddp_pack_options opt = options(folder);
        struct ddp_pack_result r, clean;
        struct ddp_error err = {0};
        int told = 0;
        assert_int_equal(ddp_pack_run(&opt, &clean, &err), 0);
        assert_int_equal(remove(opt.out), 0);
        for (size_t i = 0; i < DDP_COUNT(bad); i++)
            write_bytes(in_folder(folder, bad[i]), i == 1 ? "GIF89a......" : "hello", i == 1 ? 12 : 5);
        opt.bad = count_bad;
        opt.user = &told;
        opt.skip_bad = skip;
        assert_int_equal(ddp_pack_run(&opt, &r, &err), skip ? 0 : DDP_E_DATA);
        assert_int_equal(told, 3);
        assert_int_equal(ddp_path_exists(opt.out), skip);
        if (skip) {
            assert_int_equal(r.bad, 3);
            assert_string_equal(r.digest[0], clean.digest[0]);
            assert_string_equal(r.digest[1], clean.digest[1]);
        } else {
            assert_contains(err.text, "3 of 8 pictures are bad");
            assert_contains(err.text, "train/cat/0.png");
        }
        remove_folder(folder);
    }
}

static void test_other_kinds_of_pictures_are_called_by_their_name(void **state)
{
    (void)state;
    static const struct {
        const char *head, *says;
    } kinds[] = {{"GIF89a......", "is a GIF picture"},
                 {"RIFF\x01\x01\x01\x01WEBP", "is a WebP picture"},
                 {"BM..........", "is a BMP picture"},
                 {"\x01\x01\x01\x18"
                  "ftypheic",
                  "is a HEIC or AVIF picture"}};
    for (size_t i = 0; i < DDP_COUNT(kinds); i++) {
        struct ddp_image image;
        struct ddp_error err = {0};
        assert_int_equal(ddp_image_decode("x.jpg", kinds[i].head, 12, 0, 0, &image, &err), DDP_E_DATA);
        assert_contains(err.text, kinds[i].says);
        assert_contains(err.text, "convert it to JPEG or PNG");
    }
}

/* Folders in a class are the class's; a pipe is no picture; a gray first picture leaves the others their
 * colour. */
static void test_pack_takes_folders_as_they_come(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    make_dirs(folder, (const char *const[]){"a/deep/er", "b", NULL});
    write_png(in_folder(folder, "a/0.png"), 1, 2, 2, 1);
    write_png(in_folder(folder, "a/deep/1.png"), 3, 2, 2, 2);
    write_png(in_folder(folder, "a/deep/er/2.png"), 1, 2, 2, 3);
    for (uint32_t i = 0; i < 3; i++)
        write_png(in_folder(folder, i == 0 ? "b/0.png" : i == 1 ? "b/1.png" : "b/2.png"), 1, 2, 2, 4 + i);
    assert_int_equal(mkfifo(in_folder(folder, "a/pipe"), 0600), 0);
    struct ddp_pack_options opt = options(folder);
    struct ddp_pack_result r;
    opt.test_fraction = 0.34;
    static const char *const lost[] = {"a/f.jpg", "a/deep/g.PNG", "b/0a", "c"};
    for (size_t i = 0; i < DDP_COUNT(lost); i++) { /* a picture that is a pipe; links that lead nowhere */
        const char *path = in_folder(folder, lost[i]);
        assert_int_equal(i ? symlink("nowhere", path) : mkfifo(path, 0600), 0);
        assert_int_equal(ddp_pack_run(&opt, &r, &err), DDP_E_DATA);
        assert_contains(err.text, lost[i]);
        assert_contains(err.text,
                        i ? "mount or bring back what it leads to" : "has a picture's name, but is no");
        assert_int_equal(remove(in_folder(folder, lost[i])), 0);
    }
    assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
    assert_true(r.count[0] == 4 && r.count[1] == 2 && r.ignored == 1 && r.c == 3 && r.mixed);
    opt.channels = 1;
    assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
    assert_true(r.c == 1 && !r.mixed);
    assert_int_equal(symlink("..", in_folder(folder, "a/deep/back")), 0);
    assert_int_equal(ddp_pack_run(&opt, &r, &err), DDP_E_DATA);
    assert_contains(err.text, "does a link lead back?");
    remove_folder(folder);
}

static void test_pack_stops_and_leaves_nothing(void **state)
{
    (void)state;
    char *folder = make_pictures(1);
    struct ddp_pack_options opt = options(folder);
    struct ddp_pack_result r;
    struct ddp_error err = {0};
    const volatile sig_atomic_t stop = 1;
    opt.stop = &stop;
    for (int skip = 0; skip < 2; skip++) {
        opt.skip_bad = skip;
        assert_int_equal(ddp_pack_run(&opt, &r, &err), DDP_E_STOPPED);
        assert_false(ddp_path_exists(opt.out));
        glob_t left;
        assert_int_equal(glob(in_folder(folder, "*.tmp-*"), 0, NULL, &left), GLOB_NOMATCH);
    }
    remove_folder(folder);
}

static void test_pack_leaves_nothing_when_the_disk_is_full(void **state)
{
    (void)state;
    char *folder = make_pictures(1);
    struct ddp_pack_options opt = options(folder);
    struct ddp_pack_result r;
    struct ddp_error err = {0};
    ddp_fileio_fault(0, 0, NULL);
    assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
    assert_int_equal(remove(opt.out), 0);
    int failed = 0;
    for (long n = 1; n < 40; n++) {
        ddp_fileio_fault(n, ENOSPC, "out.ddp");
        err.code = 0;
        int rc = ddp_pack_run(&opt, &r, &err);
        ddp_fileio_fault(0, 0, NULL);
        if (rc) {
            failed++;
            assert_int_equal(ddp_error_exit(rc), 3);
        } else {
            assert_int_equal(remove(opt.out), 0);
            break;
        }
        assert_false(ddp_path_exists(opt.out));
    }
    assert_true(failed >= 5);
    remove_folder(folder);
}

static void test_held_out_part_is_drawn_from_each_class(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddp_error err = {0};
    make_dirs(folder, (const char *const[]){"a", "b", NULL});
    for (uint32_t i = 0; i < 30; i++) {
        char name[32];
        snprintf(name, sizeof name, "%c/%02u.png", i < 20 ? 'a' : 'b', i);
        write_png(in_folder(folder, name), 1, 2, 2, i);
    }
    char digest[3][65];
    for (int k = 0; k < 3; k++) {
        struct ddp_pack_options opt = options(folder);
        struct ddp_pack_result r;
        struct ddp_dataset *ds;
        opt.test_fraction = 0.2;
        opt.seed = k == 2 ? 1 : 0;
        assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
        assert_true(r.count[0] == 24 && r.count[1] == 6);
        memcpy(digest[k], r.digest[1], sizeof digest[k]);
        assert_int_equal(open_packed(opt.out, DDP_SPLIT_TEST, true, &ds, &err), 0);
        int of_a = 0;
        for (int i = 0; i < 6; i++) {
            uint8_t p[4];
            int32_t label;
            assert_int_equal(ds->ops->get(ds->self, i, p, &label, &err), 0);
            of_a += label == 0;
        }
        assert_int_equal(of_a, 4);
        ddp_dataset_close(ds);
        assert_int_equal(remove(opt.out), 0);
    }
    assert_string_equal(digest[0], digest[1]);
    assert_string_not_equal(digest[0], digest[2]);
    struct ddp_pack_options opt = options(folder);
    struct ddp_pack_result r;
    opt.test_fraction = 0.0;
    assert_int_equal(ddp_pack_run(&opt, &r, &err), DDP_E_DATA);
    assert_contains(err.text, "left for testing");
    opt.test_fraction = 0.99;
    assert_int_equal(ddp_pack_run(&opt, &r, &err), DDP_E_DATA);
    assert_contains(err.text, "left for training");
    remove_folder(folder);
}

static void test_resize_is_exact_where_it_can_be(void **state)
{
    (void)state;
    uint8_t in[4 * 8], to[64];
    for (int i = 0; i < 32; i++)
        in[i] = (uint8_t)(8 * i);
    struct ddp_image a = {1, 4, 8, in}, b = {1, 4, 8, to};
    ddp_image_resize(&a, false, &b); /* to its own size */
    assert_memory_equal(in, to, sizeof in);
    b = (struct ddp_image){1, 2, 4, to};
    ddp_image_resize(&a, false, &b); /* halves: means of 2 x 2, rounded half up */
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 4; x++) {
            int k = 2 * y * 8 + 2 * x;
            assert_int_equal(to[y * 4 + x], (in[k] + in[k + 1] + in[k + 8] + in[k + 9] + 2) / 4);
        }
    b = (struct ddp_image){1, 4, 4, to};
    ddp_image_resize(&a, true, &b); /* keeps proportions: the middle four columns as they are */
    for (int i = 0; i < 16; i++)
        assert_int_equal(to[i], in[i / 4 * 8 + 2 + i % 4]);
    b = (struct ddp_image){1, 1, 3, to};
    ddp_image_resize(&(struct ddp_image){1, 1, 2, (uint8_t[]){0, 100}}, false,
                     &b); /* linear between centres */
    assert_true(to[0] == 0 && to[1] == 50 && to[2] == 100);
    b = (struct ddp_image){1, 1, 2, to};
    ddp_image_resize(&(struct ddp_image){1, 1, 3, (uint8_t[]){0, 30, 90}}, false, &b); /* 1.5 pixels each */
    assert_true(to[0] == 10 && to[1] == 70);
    b = (struct ddp_image){1, 2, 1, to};
    ddp_image_resize(&(struct ddp_image){1, 8, 2, in}, true, &b); /* too high: rows 2..5 */
    assert_true(to[0] == (in[4] + in[5] + in[6] + in[7] + 2) / 4 &&
                to[1] == (in[8] + in[9] + in[10] + in[11] + 2) / 4);
}

static void test_pack_brings_pictures_to_one_size(void **state)
{
    (void)state;
    char *folder = make_pictures(3);
    struct ddp_pack_options opt = options(folder);
    struct ddp_pack_result r, s;
    struct ddp_error err = {0};
    write_png(in_folder(folder, "train/cat/big.png"), 3, 60, 40, 9);
    opt.width = 8;
    opt.height = 6;
    assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
    assert_true(r.h == 6 && r.w == 8 && r.count[0] == 4);
    opt.stretch = true;
    assert_int_equal(ddp_pack_run(&opt, &s, &err), 0);
    assert_string_not_equal(r.digest[0], s.digest[0]);
    opt.width = opt.height = 1; /* the smallest there is */
    struct ddp_dataset *ds;
    assert_int_equal(ddp_pack_run(&opt, &s, &err), 0);
    assert_int_equal(open_packed(opt.out, DDP_SPLIT_TEST, true, &ds, &err), 0);
    assert_true(ds->info.shape.h == 1 && ds->info.shape.w == 1);
    ddp_dataset_close(ds);
    opt.height = 0;
    assert_int_equal(ddp_pack_run(&opt, &s, &err), DDP_E_USAGE);
    remove_folder(folder);
}

static void test_packed_file_damage_is_refused(void **state)
{
    (void)state;
    char *folder = make_pictures(1), *data;
    struct ddp_pack_options opt = options(folder);
    struct ddp_pack_result r;
    struct ddp_error err = {0};
    struct ddp_dataset *ds;
    size_t bytes;
    assert_int_equal(ddp_pack_run(&opt, &r, &err), 0);
    assert_int_equal(ddp_file_read(opt.out, 0, &data, &bytes, &err), 0);
    struct ddp_packed_head head;
    memcpy(&head, data, sizeof head);
    assert_int_equal(head.file_bytes, bytes);
    assert_true(head.labels_at % 64 == 0 && head.pixels_at % 4096 == 0);

    for (size_t cut = 0; cut < bytes; cut += cut < 1200 || cut > bytes - 400 ? 1 : 97) {
        write_bytes(opt.out, data, cut);
        assert_int_equal(open_packed(opt.out, DDP_SPLIT_TRAIN, false, &ds, &err), DDP_E_DATA);
        assert_contains(err.text, "out.ddp");
    }
    data = realloc(data, bytes + 1);
    write_bytes(opt.out, data, bytes + 1);
    assert_int_equal(open_packed(opt.out, DDP_SPLIT_TRAIN, false, &ds, &err), DDP_E_DATA);

    /* every byte of head, names and tail is covered; labels and pixels once verify is on */
    for (size_t at = 0; at < bytes; at++) {
        bool covered = at < sizeof head + head.names_bytes || at >= head.tail_at;
        bool train = (at >= head.labels_at && at < head.labels_at + 12) ||
                     (at >= head.pixels_at && at < head.pixels_at + 60);
        if (!covered && !train)
            continue;
        data[at] ^= 0x01;
        write_bytes(opt.out, data, bytes);
        data[at] ^= 0x01;
        if (covered)
            assert_int_equal(open_packed(opt.out, DDP_SPLIT_TRAIN, false, &ds, &err), DDP_E_DATA);
        assert_int_equal(open_packed(opt.out, DDP_SPLIT_TRAIN, true, &ds, &err), DDP_E_DATA);
        assert_contains(err.text, at < 8    ? "no packed data set"
                                  : at < 12 ? "byte order"
                                  : at < 16 ? "version"
                                            : "damaged");
    }
    data[head.labels_at] = 2; /* out of range is found without verify */
    write_bytes(opt.out, data, bytes);
    assert_int_equal(open_packed(opt.out, DDP_SPLIT_TRAIN, false, &ds, &err), DDP_E_DATA);
    assert_contains(err.text, "label 2 of sample 0 is out of range; allowed are 0..1");
    assert_int_equal(open_packed(opt.out, DDP_SPLIT_TEST, true, &ds, &err), 0);
    ddp_dataset_close(ds);
    free(data);
    remove_folder(folder);
}

static void test_packed_layout_does_not_overflow(void **state)
{
    (void)state;
    struct ddp_packed_head h = {.c = 4, .h = 32768, .w = 32768, .count = {UINT64_C(1) << 40, 0}};
    assert_false(ddp_packed_layout(&h));
    h.count[0] = UINT64_MAX;
    h.count[1] = 1;
    assert_false(ddp_packed_layout(&h));
    h = (struct ddp_packed_head){.c = UINT32_MAX, .h = UINT32_MAX, .w = UINT32_MAX, .count = {1, 1}};
    assert_false(ddp_packed_layout(&h));
    h = (struct ddp_packed_head){.c = 3, .h = 2, .w = 5, .count = {10, 4}, .names_bytes = 7};
    assert_true(ddp_packed_layout(&h));
    assert_int_equal(h.labels_at, 1088);
    assert_int_equal(h.pixels_at, 4096);
    assert_int_equal(h.tail_at, 4096 + 448); /* 14 pictures of 30 bytes, up to a multiple of 64 */
    assert_int_equal(h.file_bytes, h.tail_at + 192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack_keeps_every_pixel),
        cmocka_unit_test(test_pack_writes_the_same_file_at_any_number_of_threads),
        cmocka_unit_test(test_pack_reads_jpeg_and_turns_colour_to_gray),
        cmocka_unit_test(test_pack_refuses_with_the_name_of_the_culprit),
        cmocka_unit_test(test_png_is_read_as_it_was_meant),
        cmocka_unit_test(test_exif_orientation_is_undone),
        cmocka_unit_test(test_pack_turns_pictures_upright),
        cmocka_unit_test(test_pack_tells_of_all_bad_pictures),
        cmocka_unit_test(test_other_kinds_of_pictures_are_called_by_their_name),
        cmocka_unit_test(test_pack_takes_folders_as_they_come),
        cmocka_unit_test(test_pack_stops_and_leaves_nothing),
        cmocka_unit_test(test_pack_leaves_nothing_when_the_disk_is_full),
        cmocka_unit_test(test_held_out_part_is_drawn_from_each_class),
        cmocka_unit_test(test_resize_is_exact_where_it_can_be),
        cmocka_unit_test(test_pack_brings_pictures_to_one_size),
        cmocka_unit_test(test_packed_file_damage_is_refused),
        cmocka_unit_test(test_packed_layout_does_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
