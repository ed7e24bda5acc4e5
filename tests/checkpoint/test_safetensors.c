/* The safetensors reader and writer: exact bytes, a table of files that are refused, mutated files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/safetensors.h"
#include "scratch.h"

static const float f4[4] = {1, -2, 3.5f, 0};
static const int64_t i1 = 77;
static const uint8_t u3[3] = {1, 2, 3};
static const struct ddp_st_tensor sample[] = {
    {"z.bytes", "U8", 1, {3}, u3, 3},
    {"b.weight", "F32", 2, {2, 2}, f4, 16},
    {"c.count", "I64", 0, {0}, &i1, 8},
    {"a.empty", "F32", 2, {0, 5}, f4, 0},
};
static const char *const metadata[] = {"format", "pt", "note", "a \"quoted\" word", NULL};

static int setup(void **state)
{
    (void)state;
    scratch_make();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove();
    return 0;
}

static void write_sample(const char *path)
{
    struct ddp_error err = {0};
    if (ddp_st_write(path, sample, 4, metadata, &err) != 0)
        fail_msg("%s", err.text);
}

static void test_safetensors_writes_the_format(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"a \\\"quoted\\\" word\"},"
                                 "\"a.empty\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[8,8]},"
                                 "\"b.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[8,24]},"
                                 "\"c.count\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
                                 "\"z.bytes\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[24,27]}}";
    write_sample(scratch("x"));
    size_t bytes, padded = (strlen(header) + 7) / 8 * 8;
    char *data = scratch_read(scratch("x"), &bytes);
    assert_int_equal(bytes, 8 + padded + 27);
    assert_int_equal((unsigned char)data[0] | (unsigned char)data[1] << 8, padded);
    for (int i = 2; i < 8; i++)
        assert_int_equal(data[i], 0);
    assert_memory_equal(data + 8, header, strlen(header));
    for (size_t i = strlen(header); i < padded; i++)
        assert_int_equal(data[8 + i], ' ');
    assert_memory_equal(data + 8 + padded, &i1, 8);
    assert_memory_equal(data + 8 + padded + 8, f4, 16);
    assert_memory_equal(data + 8 + padded + 24, u3, 3);
    free(data);
}

static void test_safetensors_reads_what_it_wrote(void **state)
{
    (void)state;
    write_sample(scratch("x"));
    struct ddp_st_file *f;
    struct ddp_error err = {0};
    assert_int_equal(ddp_st_open(scratch("x"), &f, &err), 0);
    assert_int_equal(ddp_st_count(f), 4);
    assert_string_equal(ddp_st_at(f, 0)->name, "a.empty");
    assert_string_equal(ddp_st_at(f, 3)->name, "z.bytes");
    for (int i = 0; i < 4; i++) {
        const struct ddp_st_tensor *got = ddp_st_find(f, sample[i].name);
        assert_non_null(got);
        assert_string_equal(got->dtype, sample[i].dtype);
        assert_int_equal(got->ndim, sample[i].ndim);
        for (int d = 0; d < got->ndim; d++)
            assert_int_equal(got->dims[d], sample[i].dims[d]);
        assert_int_equal(got->bytes, sample[i].bytes);
        if (got->bytes)
            assert_memory_equal(got->data, sample[i].data, got->bytes);
        if (strcmp(got->dtype, "U8") != 0 && got->bytes)
            assert_int_equal((uintptr_t)got->data % (got->bytes == 8 ? 8 : 4), 0);
    }
    assert_null(ddp_st_find(f, "b"));
    assert_string_equal(ddp_st_metadata(f, "note"), "a \"quoted\" word");
    assert_null(ddp_st_metadata(f, "other"));
    ddp_st_close(f);
    ddp_st_close(NULL);
}

static void test_safetensors_may_be_empty(void **state)
{
    (void)state;
    struct ddp_st_file *f;
    struct ddp_error err = {0};
    assert_int_equal(ddp_st_write(scratch("x"), NULL, 0, NULL, &err), 0);
    assert_int_equal(ddp_st_open(scratch("x"), &f, &err), 0);
    assert_int_equal(ddp_st_count(f), 0);
    assert_null(ddp_st_find(f, "a"));
    assert_null(ddp_st_metadata(f, "format"));
    ddp_st_close(f);
}

static void test_safetensors_refuses_to_write(void **state)
{
    (void)state;
    static const struct {
        struct ddp_st_tensor t[2];
        const char *want;
    } cases[] = {
        {{{"a", "F31", 1, {4}, f4, 16}}, "type 'F31'"},
        {{{"a", "F32", 1, {4}, f4, 15}}, "15 bytes"},
        {{{"a", "F32", 2, {4, -1}, f4, 16}}, "16 bytes"},
        {{{"a", "F32", 3, {1LL << 40, 1LL << 40, 4}, f4, 16}}, "16 bytes"},
        {{{"a", "F32", 9, {1}, f4, 4}}, "9 dimensions"},
        {{{"a", "F32", -1, {1}, f4, 4}}, "-1 dimensions"},
        {{{"a", "F32", 1, {4}, f4, 16}, {"a", "F32", 1, {4}, f4, 16}}, "two tensors are named 'a'"},
        {{{"__metadata__", "F32", 1, {4}, f4, 16}}, "__metadata__"},
        {{{"\xff", "F32", 1, {4}, f4, 16}}, "UTF-8"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_error err = {0};
        assert_int_equal(ddp_st_write(scratch("x"), cases[i].t, cases[i].t[1].name ? 2 : 1, NULL, &err),
                         DDP_E_USAGE);
        if (!strstr(err.text, cases[i].want))
            fail_msg("'%s' is not in: %s", cases[i].want, err.text);
        assert_false(ddp_path_exists(scratch("x")));
    }
    struct ddp_error err = {0};
    static const struct ddp_st_tensor eight = {"a", "F32", 8, {1, 1, 1, 1, 1, 1, 1, 4}, f4, 16};
    assert_int_equal(ddp_st_write(scratch("x"), &eight, 1, NULL, &err), 0);
}

/* Header, bytes of data after it, what the error says (NULL: fine). */
struct header_case {
    const char *header;
    int data;
    const char *want;
};
#define A16 "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}"
static const struct header_case headers[] = {
    {"{" A16 "}", 16, NULL},
    {"{" A16 "}    ", 16, NULL},
    {"{}", 0, NULL},
    {"{\"a\":{\"data_offsets\":[0,16],\"shape\":[2,2],\"dtype\":\"F32\"}}", 16, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},\"b\":{\"dtype\":\"U8\",\"shape\":[3],"
     "\"data_offsets\":[0,3]}}",
     3, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, NULL},
    {"{\"__metadata__\":{}," A16 "}", 16, NULL},
    {"", 0, "no JSON object"},
    {"[]", 0, "no JSON object"},
    {"{" A16, 16, "no JSON object"},
    {"{" A16 "}x", 16, "no JSON object"},
    {"{" A16 "}", 15, "past the end"},
    {"{" A16 "}", 17, "at its end that belong to no tensor"},
    {"{" A16 "," A16 "}", 16, "no JSON object: duplicate"},
    {"{\"a\":[]}", 16, "'dtype', 'shape' and 'data_offsets'"},
    {"{\"a\":{\"shape\":[4],\"data_offsets\":[0,16]}}", 16, "'dtype', 'shape' and 'data_offsets'"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", 16, "'dtype', 'shape' and 'data_offsets'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", 16, "'dtype', 'shape' and 'data_offsets'"},
    {"{\"a\":{\"dtype\":4,\"shape\":[4],\"data_offsets\":[0,16]}}", 16,
     "'dtype', 'shape' and 'data_offsets'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}", 16,
     "'dtype', 'shape' and 'data_offsets'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16],\"x\":1}}", 16, "and nothing else"},
    {"{\"a\":{\"dtype\":\"F99\",\"shape\":[4],\"data_offsets\":[0,16]}}", 16, "type 'F99'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}}", 16, "dimension"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", 16, "dimension"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4,1,1,1,1,1,1,1,1],\"data_offsets\":[0,16]}}", 16, "more than 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]}}", 16, "offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,16]}}", 16, "offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-1,15]}}", 16, "offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", 16, "offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[16,8]}}", 16, "offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}", 16, "do not give the bytes"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[4],\"data_offsets\":[0,16]}}", 16, "do not give the bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,16]}}", 16,
     "do not give"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387908],\"data_offsets\":[0,16]}}", 16,
     "do not give"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],"
     "\"data_offsets\":[3,7]}}",
     7, "overlaps"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],"
     "\"data_offsets\":[0,4]}}",
     4, "overlaps"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],"
     "\"data_offsets\":[5,9]}}",
     9, "before it that belong to no tensor"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[1,5]}}", 5,
     "before it that belong to no tensor"},
    {"{}", 1, "at its end"},
    {"{\"__metadata__\":[]}", 0, "__metadata__"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "not a string"},
};

static volatile unsigned touched;

static int open_bytes(const char *data, size_t bytes, struct ddp_error *err)
{
    struct ddp_st_file *f;
    scratch_write(scratch("x"), data, bytes);
    int status = ddp_st_open(scratch("x"), &f, err);
    if (status)
        return status;
    /* every byte that it shows must be there */
    for (int i = 0; i < ddp_st_count(f); i++) {
        const struct ddp_st_tensor *t = ddp_st_at(f, i);
        for (size_t k = 0; k < t->bytes; k++)
            touched += ((const unsigned char *)t->data)[k];
        assert_non_null(ddp_st_find(f, t->name));
    }
    ddp_st_close(f);
    return 0;
}

static size_t build(const struct header_case *c, char *buf)
{
    size_t n = strlen(c->header);
    memset(buf, 0, 8);
    buf[0] = (char)(n & 255);
    buf[1] = (char)(n >> 8);
    memcpy(buf + 8, c->header, n);
    memset(buf + 8 + n, 1, (size_t)c->data);
    return 8 + n + (size_t)c->data;
}

static void test_safetensors_checks_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(headers); i++) {
        char buf[2048];
        struct ddp_error err = {0};
        int status = open_bytes(buf, build(&headers[i], buf), &err);
        if (headers[i].want ? status != DDP_E_CHECKPOINT || !strstr(err.text, headers[i].want) : status != 0)
            fail_msg("%s: %d: %s", headers[i].header, status, err.text);
        if (status) {
            assert_non_null(strstr(err.text, scratch("x")));
        }
    }
}

static void test_safetensors_checks_lengths(void **state)
{
    (void)state;
    static const struct {
        const char bytes[10];
        size_t n;
        const char *want;
    } cases[] = {
        {"", 0, "fewer than 8"},
        {"\2\0\0\0\0\0\0", 7, "fewer than 8"},
        {"\2\0\0\0\0\0\0\0{", 9, "cut off"},
        {"\2\0\0\0\0\0\0\0{}", 10, NULL},
        {"\3\0\0\0\0\0\0\0{}", 10, "cut off"},
        {"\2\0\0\0\0\0\0\200{}", 10, "longer than 100 MB"},
        {"\1\341\365\5\0\0\0\0{}", 10, "longer than 100 MB"}, /* 100,000,001 */
        {"\0\341\365\5\0\0\0\0{}", 10, "cut off"},            /* 100,000,000 */
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_error err = {0};
        int status = open_bytes(cases[i].bytes, cases[i].n, &err);
        if (cases[i].want ? status != DDP_E_CHECKPOINT || !strstr(err.text, cases[i].want) : status != 0)
            fail_msg("case %zu: %d: %s", i, status, err.text);
    }
    struct ddp_error err = {0};
    struct ddp_st_file *f;
    assert_int_equal(ddp_st_open(scratch("missing"), &f, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, "missing"));
}

/* Bits, bytes, digits and lengths changed at random: refused or read, never past the end (the sanitizers
 * watch). */
static void test_safetensors_survives_mutations(void **state)
{
    (void)state;
    write_sample(scratch("good"));
    size_t bytes;
    char *good = scratch_read(scratch("good"), &bytes), *data = ddp_malloc(bytes);
    uint32_t counter = 0;
    int refused = 0, taken = 0;
    for (int round = 0; round < 6000; round++) {
        size_t n = bytes;
        memcpy(data, good, bytes);
        for (uint32_t k = 1 + scratch_random(&counter, 3); k > 0; k--) {
            uint32_t at = scratch_random(&counter, (uint32_t)bytes);
            switch (scratch_random(&counter, 5)) {
            case 0:
                data[at] ^= (char)(1 << scratch_random(&counter, 8));
                break;
            case 1:
                data[at] = (char)scratch_random(&counter, 256);
                break;
            case 2: /* a digit of the header */
                while (at < bytes - 28 && (data[at] < '0' || data[at] > '9'))
                    at++;
                data[at] = (char)('0' + scratch_random(&counter, 10));
                break;
            case 3:
                data[scratch_random(&counter, 8)] = (char)scratch_random(&counter, 256);
                break;
            default:
                n = scratch_random(&counter, (uint32_t)bytes + 1);
            }
        }
        struct ddp_error err = {0};
        int status = open_bytes(data, n, &err);
        assert_true(status == 0 || (status == DDP_E_CHECKPOINT && err.text[0]));
        refused += status != 0;
        taken += status == 0;
    }
    assert_true(refused > 3000);
    assert_true(taken > 100); /* the data's own bytes, metadata, names */
    free(good);
    free(data);
}

static void test_safetensors_hash_is_as_documented(void **state)
{
    (void)state;
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    static const unsigned char two[8] = {2}, zero[8] = {0}, five[8] = {5}, one[8] = {1}, three[8] = {3};
    ddp_sha256_update(&h, "a.empty\0F32", 12);
    ddp_sha256_update(&h, two, 8);
    ddp_sha256_update(&h, zero, 8);
    ddp_sha256_update(&h, five, 8);
    ddp_sha256_update(&h, "b.weight\0F32", 13);
    ddp_sha256_update(&h, two, 8);
    ddp_sha256_update(&h, two, 8);
    ddp_sha256_update(&h, two, 8);
    ddp_sha256_update(&h, f4, 16);
    ddp_sha256_update(&h, "c.count\0I64", 12);
    ddp_sha256_update(&h, zero, 8);
    ddp_sha256_update(&h, &i1, 8);
    ddp_sha256_update(&h, "z.bytes\0U8", 11);
    ddp_sha256_update(&h, one, 8);
    ddp_sha256_update(&h, three, 8);
    ddp_sha256_update(&h, u3, 3);
    char want[65], got[65];
    ddp_sha256_hex(&h, want);
    ddp_st_hash(sample, 4, got);
    assert_string_equal(got, want);
    ddp_st_hash(sample, 3, got);
    assert_string_not_equal(got, want);
}

/* Each write-side call fails once: the file that was there stays, nothing else remains. */
static void test_safetensors_write_is_complete_or_absent(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EROFS, EIO};
    for (size_t e = 0; e < DDP_COUNT(errors); e++) {
        scratch_write(scratch("x"), "old", 3);
        int failures = 0;
        for (long n = 1;; n++) {
            struct ddp_error err = {0};
            ddp_fileio_fault(n, errors[e], scratch("x"));
            int status = ddp_st_write(scratch("x"), sample, 4, metadata, &err);
            ddp_fileio_fault(0, 0, NULL);
            if (status == 0)
                break;
            failures++;
            assert_int_equal(status, DDP_E_IO);
            assert_non_null(strstr(err.text, scratch("x")));
            if (errors[e] == ENOSPC)
                assert_non_null(strstr(err.text, "disk is full"));
            size_t bytes;
            char *data = scratch_read(scratch("x"), &bytes);
            assert_int_equal(bytes, 3);
            free(data);
            assert_int_equal(ddp_dir_sync(scratch(""), &err), 0);
        }
        assert_true(failures >= 8); /* create, length, header, three tensors, sync, rename */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_safetensors_writes_the_format, setup, teardown),
        cmocka_unit_test_setup_teardown(test_safetensors_reads_what_it_wrote, setup, teardown),
        cmocka_unit_test_setup_teardown(test_safetensors_may_be_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_safetensors_refuses_to_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_safetensors_checks_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_safetensors_checks_lengths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_safetensors_survives_mutations, setup, teardown),
        cmocka_unit_test(test_safetensors_hash_is_as_documented),
        cmocka_unit_test_setup_teardown(test_safetensors_write_is_complete_or_absent, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
