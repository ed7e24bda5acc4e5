/* The plan lock: a set that is the same file whatever order it was filled in, read back to the letter,
 * refused with a reason when anything is wrong with it, and compared with the machine at hand. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "device/lock.h"

static const struct ddp_gpu_identity h100 = {.device = "NVIDIA H100 80GB HBM3",
                                             .sms = 132,
                                             .major = 9,
                                             .minor = 0,
                                             .driver = 13000,
                                             .runtime = 13000,
                                             .cudnn = 91900,
                                             .cublaslt = 130000};

static const char *const plans[][2] = {
    {"conv fwd n128 h32 w32 c64 k64 r3 s3 st1 p1 g1 bf16", "eng=12;k3=1"},
    {"conv dgrad n128 h32 w32 c64 k64 r3 s3 st1 p1 g1 bf16", "eng=3"},
    {"matmul m128 n16 l512 nt bf16 bf16", "lt=130000;algo=00ff"},
    {"a", "b"},
    {"conv fwd n128 h32 w32 c64 k64 r3 s3 st1 p1 g1 bf1", "eng=1"},
};

static struct ddp_gpu_lock *filled(size_t first)
{
    struct ddp_gpu_lock *lock = ddp_gpu_lock_create(&h100);
    for (size_t i = 0; i < DDP_COUNT(plans); i++) {
        const size_t j = (first + i) % DDP_COUNT(plans);
        assert_int_equal(ddp_gpu_lock_add(lock, plans[j][0], plans[j][1], NULL), 0);
    }
    return lock;
}

static char *text_of(const struct ddp_gpu_lock *lock)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_gpu_lock_text(lock, &t);
    return t.s;
}

static void test_lock_finds_what_was_added(void **state)
{
    (void)state;
    struct ddp_gpu_lock *lock = filled(0);
    struct ddp_error err;
    assert_int_equal(ddp_gpu_lock_count(lock), DDP_COUNT(plans));
    for (size_t i = 0; i < DDP_COUNT(plans); i++)
        assert_string_equal(ddp_gpu_lock_find(lock, plans[i][0]), plans[i][1]);
    assert_null(ddp_gpu_lock_find(lock, "conv"));
    assert_null(ddp_gpu_lock_find(lock, "zzz"));

    assert_int_equal(ddp_gpu_lock_add(lock, "a", "b", &err), 0);
    assert_int_equal(ddp_gpu_lock_count(lock), DDP_COUNT(plans));
    char *twice = malloc(1002);
    memset(twice, 'x', 1001);
    twice[1001] = 0;
    static const char *const rejects[][3] = {
        {"a", "c", "has the plan 'b', not 'c'"},
        {"", "x", "is empty"},
        {"x", "", "is empty"},
        {"x\"", "x", "quote or backslash"},
        {"x", "a\\b", "quote or backslash"},
        {"x", "a\nb", "printable"},
        {"x", "\xc3\xa4", "printable"},
    };
    for (size_t i = 0; i < DDP_COUNT(rejects); i++) {
        assert_int_equal(ddp_gpu_lock_add(lock, rejects[i][0], rejects[i][1], &err), DDP_E_INTERNAL);
        assert_non_null(strstr(err.text, rejects[i][2]));
    }
    assert_int_equal(ddp_gpu_lock_add(lock, "x", twice, &err), DDP_E_INTERNAL);
    assert_int_equal(ddp_gpu_lock_count(lock), DDP_COUNT(plans));
    free(twice);
    ddp_gpu_lock_destroy(lock);
    ddp_gpu_lock_destroy(NULL);
}

static void test_lock_is_one_file_in_any_order(void **state)
{
    (void)state;
    struct ddp_gpu_lock *lock = filled(0);
    char *want = text_of(lock), hex[65], again[65];
    ddp_gpu_lock_hash(lock, hex);
    assert_int_equal(strlen(hex), 64);
    for (size_t first = 1; first < DDP_COUNT(plans); first++) {
        struct ddp_gpu_lock *other = filled(first);
        char *got = text_of(other);
        assert_string_equal(got, want);
        ddp_gpu_lock_hash(other, again);
        assert_string_equal(again, hex);
        assert_int_equal(ddp_gpu_lock_add(other, "one more", "x", NULL), 0);
        ddp_gpu_lock_hash(other, again);
        assert_string_not_equal(again, hex);
        free(got);
        ddp_gpu_lock_destroy(other);
    }
    free(want);
    ddp_gpu_lock_destroy(lock);
}

static void test_lock_file_comes_back(void **state)
{
    (void)state;
    char dir[] = "/tmp/ddp-lock-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/" DDP_GPU_LOCK_FILE, dir);
    struct ddp_error err;
    struct ddp_gpu_lock *back = NULL;
    assert_int_equal(ddp_gpu_lock_read(path, &back, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, path));
    for (int empty = 0; empty < 2; empty++) {
        struct ddp_gpu_lock *lock = empty ? ddp_gpu_lock_create(&h100) : filled(2);
        assert_int_equal(ddp_gpu_lock_write(lock, path, &err), 0);
        assert_int_equal(ddp_gpu_lock_read(path, &back, &err), 0);
        char *want = text_of(lock), *got = text_of(back);
        assert_string_equal(got, want);
        assert_memory_equal(ddp_gpu_lock_identity(back), &h100, sizeof h100);
        assert_int_equal(ddp_gpu_lock_match(back, &h100, &err), 0);

        /* the hash is that of the file */
        char *file, hex[65], of_file[65];
        size_t bytes;
        struct ddp_sha256 h;
        assert_int_equal(ddp_file_read(path, 0, &file, &bytes, &err), 0);
        ddp_sha256_init(&h);
        ddp_sha256_update(&h, file, bytes);
        ddp_sha256_hex(&h, of_file);
        ddp_gpu_lock_hash(back, hex);
        assert_string_equal(hex, of_file);
        free(file);
        free(want);
        free(got);
        ddp_gpu_lock_destroy(lock);
        ddp_gpu_lock_destroy(back);
    }
    assert_int_equal(ddp_dir_remove(dir, &err), 0);
}

#define IDENTITY                                                                                             \
    "\"identity\":{\"device\":\"d\",\"compute_capability\":\"9.0\",\"sms\":1,\"driver\":1,\"runtime\":1,"    \
    "\"cudnn\":1,\"cublaslt\":1}"
#define FORMAT "\"format\":\"ddp plan lock 1\""

/* Put into place one by one, 150,000 plans that come in disorder took 18 s. */
static void test_lock_reader_sorts_once(void **state)
{
    (void)state;
    enum { MANY = 150000 };
    struct ddp_text t;
    struct ddp_error err = {0};
    struct ddp_gpu_lock *lock;
    struct ddp_gpu_lock *some = filled(0);
    char *head = text_of(some), signature[32];
    ddp_text_init(&t);
    ddp_text_append(&t, head, (size_t)(strstr(head, "\"plans\": {") - head) + strlen("\"plans\": {"));
    for (int i = MANY; i-- > 0;)
        ddp_text_add(&t, "\"s%07d\": \"t%d\"%s", i, i, i ? "," : "}}");
    const double began = ddp_now();
    if (ddp_gpu_lock_parse("big", t.s, t.len, &lock, &err) != 0)
        fail_msg("%s", err.text);
    if (ddp_now() - began > 5)
        fail_msg("took %.1f s", ddp_now() - began);
    assert_int_equal(ddp_gpu_lock_count(lock), MANY);
    for (int i = 0; i < MANY; i += 997) {
        char want[16];
        snprintf(signature, sizeof signature, "s%07d", i);
        snprintf(want, sizeof want, "t%d", i);
        assert_string_equal(ddp_gpu_lock_find(lock, signature), want);
    }
    ddp_gpu_lock_destroy(lock);
    ddp_gpu_lock_destroy(some);
    ddp_text_finish(&t);
    free(head);
}

static void test_lock_reader_says_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *json, *why; /* why NULL: fine */
    } cases[] = {
        {"{" FORMAT "," IDENTITY ",\"plans\":{}}", NULL},
        {"{\"plans\":{\"b\":\"x\",\"a\":\"y\"}," IDENTITY "," FORMAT "}  \n", NULL},
        {"", "line 1"},
        {"{", "line 1"},
        {"[]", "not a JSON object"},
        {"{" FORMAT "," IDENTITY ",\"plans\":{}} x", "line 1"},
        {"{" IDENTITY ",\"plans\":{}}", "has no text \"format\""},
        {"{\"format\":\"ddp plan lock 2\"," IDENTITY ",\"plans\":{}}",
         "this program reads 'ddp plan lock 1'"},
        {"{" FORMAT ",\"plans\":{}}", "nothing else"},
        {"{" FORMAT "," IDENTITY ",\"plans\":[]}", "nothing else"},
        {"{" FORMAT "," IDENTITY ",\"plans\":{},\"x\":1}", "nothing else"},
        {"{" FORMAT "," IDENTITY ",\"plans\":{\"a\":1}}", "has no text \"a\""},
        {"{" FORMAT "," IDENTITY ",\"plans\":{\"a\":\"\"}}", "\"a\" is empty"},
        {"{" FORMAT "," IDENTITY ",\"plans\":{\"\":\"x\"}}", "a signature is empty"},
        {"{" FORMAT "," IDENTITY ",\"plans\":{\"a\":\"x\\n\"}}", "printable ASCII"},
        {"{" FORMAT "," IDENTITY ",\"plans\":{\"a\":\"\\u0000\"}}", "line 1"},
        {"{" FORMAT "," IDENTITY ",\"plans\":{\"a\":\"x\",\"a\":\"x\"}}", "duplicate"},
        {"{" FORMAT ",\"identity\":{},\"plans\":{}}", "has no text \"device\""},
        {"{" FORMAT
         ",\"identity\":{\"device\":\"d\",\"compute_capability\":\"9\",\"sms\":1,\"driver\":1,\"runtime\":1,"
         "\"cudnn\":1,\"cublaslt\":1},\"plans\":{}}",
         "it is two numbers"},
        {"{" FORMAT ",\"identity\":{\"device\":\"d\",\"compute_capability\":\"9.0 \",\"sms\":1,\"driver\":1,"
         "\"runtime\":1,\"cudnn\":1,\"cublaslt\":1},\"plans\":{}}",
         "it is two numbers"},
        {"{" FORMAT ",\"identity\":{\"device\":\"d\",\"compute_capability\":\"9.0\",\"sms\":-1,\"driver\":1,"
         "\"runtime\":1,\"cudnn\":1,\"cublaslt\":1},\"plans\":{}}",
         "no whole number \"sms\""},
        {"{" FORMAT ",\"identity\":{\"device\":\"d\",\"compute_capability\":\"9.0\",\"sms\":1,\"driver\":1.5,"
         "\"runtime\":1,\"cudnn\":1,\"cublaslt\":1},\"plans\":{}}",
         "no whole number \"driver\""},
        {"{" FORMAT ",\"identity\":{\"device\":\"d\",\"compute_capability\":\"9.0\",\"sms\":1,\"driver\":1,"
         "\"runtime\":1,\"cudnn\":3000000000,\"cublaslt\":1},\"plans\":{}}",
         "no whole number \"cudnn\""},
        {"{" FORMAT ",\"identity\":{\"device\":\"d\",\"compute_capability\":\"9.0\",\"sms\":1,\"driver\":1,"
         "\"runtime\":1,\"cudnn\":1,\"cublaslt\":1,\"more\":1},\"plans\":{}}",
         "other members"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_error err;
        struct ddp_gpu_lock *lock = NULL;
        const int rc = ddp_gpu_lock_parse("x.json", cases[i].json, strlen(cases[i].json), &lock, &err);
        if (rc != (cases[i].why ? DDP_E_CONFIG : 0))
            fail_msg("case %zu: %d", i, rc);
        if (cases[i].why) {
            assert_null(lock);
            assert_memory_equal(err.text, "x.json: not a plan lock", 23);
            if (!strstr(err.text, cases[i].why))
                fail_msg("case %zu: %s", i, err.text);
        }
        ddp_gpu_lock_destroy(lock);
    }
}

/* Damaged files by the thousand, the same ones in every run: refused with a reason, or read, and then the
 * text that is written reads back as itself. */
static void test_lock_reader_survives_damage(void **state)
{
    (void)state;
    struct ddp_gpu_lock *lock = filled(0);
    char *good = text_of(lock);
    const size_t n = strlen(good);
    char *bad = malloc(n + 64);
    uint64_t r = 12345;
    int read = 0;
    for (int round = 0; round < 20000; round++) {
        size_t bytes = n;
        memcpy(bad, good, n);
        for (int edits = 1 + round % 4; edits > 0; edits--) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            const size_t at = (size_t)(r >> 33) % bytes, kind = (r >> 20) % 5;
            if (kind == 0) {
                bad[at] = (char)(r >> 24);
            } else if (kind == 1) { /* a piece away */
                const size_t len = (size_t)(r >> 24) % 20 % (bytes - at) + 1;
                memmove(bad + at, bad + at + len, bytes - at - len);
                bytes -= len;
            } else if (kind == 2 && bytes + 8 < n + 64) { /* a piece twice */
                const size_t len = bytes - at < 8 ? bytes - at : 8;
                memmove(bad + at + len, bad + at, bytes - at);
                bytes += len;
            } else if (kind == 3) {
                bad[at] = "{}[]\",:\\0-e9u"[(r >> 24) % 13];
            } else {
                bytes = at + 1;
            }
            if (bytes < 2)
                break;
        }
        struct ddp_error err = {0};
        struct ddp_gpu_lock *got = NULL, *again = NULL;
        const int rc = ddp_gpu_lock_parse("fuzz", bad, bytes, &got, &err);
        if (rc) {
            assert_int_equal(rc, DDP_E_CONFIG);
            assert_null(got);
            assert_memory_equal(err.text, "fuzz: ", 6);
            continue;
        }
        read++;
        char *once = text_of(got);
        assert_int_equal(ddp_gpu_lock_parse("fuzz", once, strlen(once), &again, &err), 0);
        char *twice = text_of(again);
        assert_string_equal(twice, once);
        free(once);
        free(twice);
        ddp_gpu_lock_destroy(got);
        ddp_gpu_lock_destroy(again);
    }
    assert_true(read > 100); /* not all of the damage is where it hurts */
    free(bad);
    free(good);
    ddp_gpu_lock_destroy(lock);
}

static void test_lock_names_each_difference(void **state)
{
    (void)state;
    struct ddp_gpu_lock *lock = filled(0);
    struct ddp_error err;
    assert_int_equal(ddp_gpu_lock_match(lock, &h100, &err), 0);
    struct ddp_gpu_identity here = h100;
    strcpy(here.device, "NVIDIA A100-SXM4-80GB");
    here.major = 8;
    here.sms = 108;
    here.cudnn = 90800;
    assert_int_equal(ddp_gpu_lock_match(lock, &here, &err), DDP_E_CONFIG);
    static const char *const lines[] = {
        "device: NVIDIA H100 80GB HBM3 in the lock, NVIDIA A100-SXM4-80GB here",
        "compute capability: 9.0 in the lock, 8.0 here",
        "sms: 132 in the lock, 108 here",
        "cudnn version: 91900 in the lock, 90800 here",
        "--relock",
    };
    for (size_t i = 0; i < DDP_COUNT(lines); i++)
        assert_non_null(strstr(err.text, lines[i]));
    assert_null(strstr(err.text, "driver"));
    assert_null(strstr(err.text, "cublaslt"));

    int *const fields[] = {&here.sms,     &here.major, &here.minor,   &here.driver,
                           &here.runtime, &here.cudnn, &here.cublaslt};
    for (size_t i = 0; i < DDP_COUNT(fields); i++) {
        here = h100;
        ++*fields[i];
        assert_int_equal(ddp_gpu_lock_match(lock, &here, &err), DDP_E_CONFIG);
    }
    ddp_gpu_lock_destroy(lock);
}

static void test_identity_holds_any_name(void **state)
{
    (void)state;
    struct ddp_gpu_info info = {.sms = 1, .major = 7, .minor = 5};
    const struct ddp_gpu_versions versions = {.driver = 1, .runtime = 2, .cudnn = 3, .cublaslt = 4};
    static const char *const names[][2] = {{"Tesla T4", "Tesla T4"}, {"", "?"}, {"a\"b\\c\xff", "a?b?c?"}};
    for (size_t i = 0; i < DDP_COUNT(names); i++) {
        struct ddp_gpu_identity id;
        strcpy(info.name, names[i][0]);
        ddp_gpu_identity_init(&id, &info, &versions);
        assert_string_equal(id.device, names[i][1]);
        struct ddp_gpu_lock *lock = ddp_gpu_lock_create(&id), *back;
        char *text = text_of(lock);
        assert_int_equal(ddp_gpu_lock_parse("x", text, strlen(text), &back, NULL), 0);
        assert_int_equal(ddp_gpu_lock_match(back, &id, NULL), 0);
        free(text);
        ddp_gpu_lock_destroy(lock);
        ddp_gpu_lock_destroy(back);
    }
}

static void test_signatures_name_the_whole_problem(void **state)
{
    (void)state;
    char buf[DDP_GPU_SIGNATURE];
    struct ddp_gpu_conv c = {128, 32, 30, 64, 72, 3, 5, 1, 1, 1, DDP_GPU_BF16, true, 1, 0};
    assert_string_equal(ddp_gpu_conv_signature(&c, DDP_GPU_CONV_FORWARD, buf),
                        "conv fwd n128 h32 w30 c64 k72 r3 s5 st1 p1 g1 bf16");
    c.dilation = 3;
    assert_string_equal(ddp_gpu_conv_signature(&c, DDP_GPU_CONV_FORWARD, buf),
                        "conv fwd n128 h32 w30 c64 k72 r3 s5 st1 p1 d3 g1 bf16");
    c.dilation = 1;
    c.type = DDP_GPU_F32;
    assert_string_equal(ddp_gpu_conv_signature(&c, DDP_GPU_CONV_DGRAD, buf),
                        "conv dgrad n128 h32 w30 c64 k72 r3 s5 st1 p1 g1 f32 tf32");
    c.tf32 = false;
    assert_string_equal(ddp_gpu_conv_signature(&c, DDP_GPU_CONV_WGRAD, buf),
                        "conv wgrad n128 h32 w30 c64 k72 r3 s5 st1 p1 g1 f32");
    const struct ddp_gpu_matmul m = {128, 16, 512, false, true, DDP_GPU_F16, DDP_GPU_F32, false, 0};
    assert_string_equal(ddp_gpu_matmul_signature(&m, buf), "matmul m128 n16 l512 nt f16 f32");
    const struct ddp_gpu_conv big = {INT32_MAX,   INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX,
                                     INT32_MAX,   INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX,
                                     DDP_GPU_F32, true,      INT32_MAX, 0};
    const char *s = ddp_gpu_conv_signature(&big, DDP_GPU_CONV_WGRAD, buf);
    assert_string_equal(s + strlen(s) - 9, " f32 tf32");
    c.epilogue = DDP_GPU_BIAS;
    assert_string_equal(ddp_gpu_conv_signature(&c, DDP_GPU_CONV_FORWARD, buf),
                        "conv fwd n128 h32 w30 c64 k72 r3 s5 st1 p1 g1 f32 bias");
    struct ddp_gpu_matmul whole = m;
    whole.epilogue = DDP_GPU_BIAS_RELU;
    assert_string_equal(ddp_gpu_matmul_signature(&whole, buf), "matmul m128 n16 l512 nt f16 f32 bias relu");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lock_finds_what_was_added),
        cmocka_unit_test(test_lock_is_one_file_in_any_order),
        cmocka_unit_test(test_lock_file_comes_back),
        cmocka_unit_test(test_lock_reader_sorts_once),
        cmocka_unit_test(test_lock_reader_says_what_is_wrong),
        cmocka_unit_test(test_lock_reader_survives_damage),
        cmocka_unit_test(test_lock_names_each_difference),
        cmocka_unit_test(test_identity_holds_any_name),
        cmocka_unit_test(test_signatures_name_the_whole_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
