/* What the data tests share: a temporary folder, a config filled in by hand, small files of every format. */
#ifndef DDP_TESTS_DATA_TESTING_H
#define DDP_TESTS_DATA_TESTING_H

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "data/data.h"
#include "data/formats.h"

/* A new folder; removed by remove_folder. */
static inline char *make_folder(void)
{
    char *path = ddp_strdup("/tmp/ddp-test-data-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void remove_folder(char *path)
{
    struct ddp_error err = {0};
    assert_int_equal(ddp_dir_remove(path, &err), 0);
    free(path);
}

static inline const char *in_folder(const char *folder, const char *name)
{
    static char path[4][512];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static inline void write_bytes(const char *path, const void *data, size_t n)
{
    remove(path); /* some file systems flush to disk when a file is written anew in place */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline struct ddp_config basic_config(const char *format, const char *root)
{
    struct ddp_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.data.name = "sample";
    cfg.data.format = format;
    cfg.data.root = root;
    cfg.data.path = "";
    cfg.data.seed = 1;
    cfg.data.normalize = true;
    cfg.data.shuffle = true;
    return cfg;
}

/* Fixed pseudo-random bytes. */
static inline uint8_t test_byte(uint32_t stream, uint32_t i)
{
    return (uint8_t)ddp_philox4(i / 4, stream, 0, 0, 99).v[i % 4];
}

static inline size_t put_be32(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> (24 - 8 * i));
    return 4;
}

/* IDX bytes of `n` pictures h x w: pixel i of the file is test_byte(stream, i). malloc'd. */
static inline uint8_t *idx_images(uint32_t stream, uint32_t n, uint32_t h, uint32_t w, size_t *bytes)
{
    *bytes = 16 + (size_t)n * h * w;
    uint8_t *p = malloc(*bytes);
    put_be32(p, 0x803);
    put_be32(p + 4, n);
    put_be32(p + 8, h);
    put_be32(p + 12, w);
    for (uint32_t i = 0; i < n * h * w; i++)
        p[16 + i] = test_byte(stream, i);
    return p;
}

/* IDX bytes of `n` labels: i % classes. */
static inline uint8_t *idx_labels(uint32_t n, uint32_t classes, size_t *bytes)
{
    *bytes = 8 + n;
    uint8_t *p = malloc(*bytes);
    put_be32(p, 0x801);
    put_be32(p + 4, n);
    for (uint32_t i = 0; i < n; i++)
        p[8 + i] = (uint8_t)(i % classes);
    return p;
}

/* A whole small MNIST: 12 + 7 pictures of 4 x 3 in 3 classes. Streams 1 (train) and 2 (test). */
enum { IDX_TRAIN = 12, IDX_TEST = 7, IDX_H = 4, IDX_W = 3, IDX_CLASSES = 3 };
static inline void write_idx_set(const char *folder)
{
    static const char *const names[4] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    for (int i = 0; i < 4; i++) {
        uint32_t n = i < 2 ? IDX_TRAIN : IDX_TEST;
        size_t bytes;
        uint8_t *p =
            i % 2 ? idx_labels(n, IDX_CLASSES, &bytes) : idx_images(i < 2 ? 1 : 2, n, IDX_H, IDX_W, &bytes);
        write_bytes(in_folder(folder, names[i]), p, bytes);
        free(p);
    }
}

static inline void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

/* SHA-256 of some bytes, to hold results against golden ones. */
static inline void assert_sha(const void *data, size_t bytes, const char *want)
{
    struct ddp_sha256 sha;
    char hex[65];
    ddp_sha256_init(&sha);
    ddp_sha256_update(&sha, data, bytes);
    ddp_sha256_hex(&sha, hex);
    assert_string_equal(hex, want);
}

#endif
