/* Errors, text, hashing, Philox, threads, logs and files. */
#include "cmocka_all.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

static void test_error_prefix_and_add_keep_the_reason(void **s)
{
    (void)s;
    struct ddp_error err = {0};
    assert_int_equal(ddp_fail(&err, DDP_E_SHAPE, "got %d", 3), DDP_E_SHAPE);
    assert_int_equal(ddp_error_prefix(&err, "layer '%s'", "a"), DDP_E_SHAPE);
    assert_string_equal(err.text, "layer 'a': got 3");
    ddp_error_add(&err, DDP_E_CONFIG, "second");
    assert_string_equal(err.text, "layer 'a': got 3\nsecond");
    assert_int_equal(err.code, DDP_E_SHAPE);
    assert_int_equal(ddp_fail(NULL, DDP_E_IO, "x"), DDP_E_IO);
}

static void test_error_says_that_there_is_no_room_for_more(void **s)
{
    (void)s;
    struct ddp_error err = {0};
    static const char line[] = "a fault of some length, as there may be hundreds: number";
    int n = 0;
    for (; n < 1000 && !ddp_error_is_full(&err); n++)
        assert_int_equal(ddp_error_add(&err, DDP_E_CONFIG, "%s %d", line, n), DDP_E_CONFIG);
    assert_in_range(n, 100, 200);
    assert_non_null(strstr(err.text, "\n.. and more than there is room to list here"));
    char before[sizeof err.text];
    strcpy(before, err.text);
    ddp_error_add(&err, DDP_E_SHAPE, "one more");
    assert_string_equal(err.text, before);
    assert_int_equal(err.code, DDP_E_CONFIG);
    struct ddp_error copy = {0}; /* whole, and still known to be full */
    ddp_error_add(&copy, err.code, "%s", err.text);
    assert_string_equal(copy.text, before);
    assert_true(ddp_error_is_full(&copy));
}

static void test_words_of_others_do_not_command_the_terminal(void **s)
{
    (void)s;
    static const struct {
        const char *in, *out;
    } rows[] = {{"plain\n\ttext", "plain\n\ttext"},
                {"\x1b[31mred\x1b[0m\a\b", "?[31mred?[0m??"},
                {"\r\x7f", "??"},
                {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
                {"\xc2\x9b"
                 "2J \xc2\xa0",
                 "??2J \xc2\xa0"},
                {"\xc2", "\xc2"}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct ddp_error err = {0}, two = {0};
        ddp_fail(&err, DDP_E_IO, "%s", rows[i].in);
        assert_string_equal(err.text, rows[i].out);
        ddp_error_add(&two, DDP_E_IO, "%s", rows[i].in);
        assert_string_equal(two.text, rows[i].out);
        ddp_error_prefix(&two, "%s", rows[i].in);
        assert_null(strchr(two.text, '\x1b'));
    }
}

static void test_error_codes_map_to_exit_codes(void **s)
{
    (void)s;
    static const struct {
        int code, status;
        const char *name;
    } rows[] = {
        {DDP_E_USAGE, 2, "wrong use"}, {DDP_E_CONFIG, 2, "config"},     {DDP_E_SHAPE, 2, "shape"},
        {DDP_E_DATA, 3, "data"},       {DDP_E_RESOURCE, 3, "resource"}, {DDP_E_COMM, 4, "communication"},
        {DDP_E_NUMERIC, 4, "numeric"}, {DDP_E_STOPPED, 75, "stopped"},  {0, 0, "ok"}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        assert_int_equal(ddp_error_exit(rows[i].code), rows[i].status);
        assert_string_equal(ddp_error_name(rows[i].code), rows[i].name);
        assert_true(rows[i].code <= 0);
    }
}

static void test_text_doubles_round_trip_in_every_locale(void **s)
{
    (void)s;
    setlocale(LC_ALL, "de_DE.UTF-8"); /* a comma as decimal point, where installed */
    static const double values[] = {
        0, 1, -1, 0.1, 1e-5, 1.0 / 3, 5e-324, 1.7976931348623157e308, 123456789.125, 1e22};
    for (size_t i = 0; i < DDP_COUNT(values); i++) {
        char buf[32];
        double back;
        ddp_double_text(values[i], buf);
        assert_true(ddp_parse_double(buf, &back));
        assert_true(back == values[i]);
        assert_non_null(strpbrk(buf, ".e"));
    }
    char buf[32];
    assert_string_equal(ddp_double_text(0.1, buf), "0.1");
    assert_string_equal(ddp_double_text(3, buf), "3.0");
    setlocale(LC_ALL, "C");
}

static void test_text_parse_rejects_leftovers(void **s)
{
    (void)s;
    int64_t i;
    double d;
    static const char *const bad_int[] = {"", "x", "1x", "1.0", " 1", "99999999999999999999", "0x", "--1"};
    for (size_t k = 0; k < DDP_COUNT(bad_int); k++)
        assert_false(ddp_parse_int(bad_int[k], &i));
    static const char *const bad_double[] = {"", "x", "1,5", "1.0x", " 1", "1e999"};
    for (size_t k = 0; k < DDP_COUNT(bad_double); k++)
        assert_false(ddp_parse_double(bad_double[k], &d));
    assert_true(ddp_parse_int("-12", &i) && i == -12);
    assert_true(ddp_parse_int("0x10", &i) && i == 16);
    assert_true(ddp_parse_int("010", &i) && i == 10);
    assert_true(ddp_parse_double("1e-3", &d) && d == 1e-3);
}

static void test_text_edit_distance(void **s)
{
    (void)s;
    static const struct {
        const char *a, *b;
        int d;
    } rows[] = {{"", "", 0},     {"abc", "abc", 0},      {"abc", "", 3},           {"abc", "acb", 1},
                {"lr", "lt", 1}, {"epoch", "epochs", 1}, {"kitten", "sitting", 3}, {"shrads", "shards", 1}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++)
        assert_int_equal(ddp_edit_distance(rows[i].a, rows[i].b), rows[i].d);
}

static void test_hash_is_sha256(void **s)
{
    (void)s;
    struct ddp_sha256 h;
    char hex[65];
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, "abc", 3);
    ddp_sha256_hex(&h, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_philox_matches_the_published_vectors(void **s)
{
    (void)s; /* known answers of Random123, philox4x32_10 */
    struct ddp_philox4 z = ddp_philox4(0, 0, 0, 0, 0);
    assert_int_equal(z.v[0], 0x6627e8d5u);
    assert_int_equal(z.v[1], 0xe169c58du);
    assert_int_equal(z.v[2], 0xbc57ac4cu);
    assert_int_equal(z.v[3], 0x9b00dbd8u);
    struct ddp_philox4 f = ddp_philox4(~0u, ~0u, ~0u, ~0u, ~0ull);
    assert_int_equal(f.v[0], 0x408f276du);
    assert_int_equal(f.v[1], 0x41c83b0eu);
    assert_int_equal(f.v[2], 0xa20bc7c6u);
    assert_int_equal(f.v[3], 0x6d5451fdu);
    uint32_t c[4] = {1, 2, 3, 4}, k[2] = {5, 6}, out[4];
    ddp_philox(c, k, out);
    struct ddp_philox4 same = ddp_philox4(1, 2, 3, 4, 5 | 6ull << 32);
    assert_memory_equal(out, same.v, sizeof out);
}

static void square(void *ctx, int task)
{
    ((int64_t *)ctx)[task] = (int64_t)task * task;
}

struct looker {
    pthread_t caller;
    struct ddp_pool *pool; /* for tasks that pause: every second one */
    atomic_int tasks, looks, elsewhere;
    int mine, odd; /* tasks of the caller, those of them that pause */
};

static void do_task(void *ctx, int task)
{
    struct looker *k = ctx;
    const bool mine = pthread_equal(pthread_self(), k->caller);
    if (k->pool && task % 2)
        ddp_pool_pause(k->pool);
    if (mine) {
        k->mine++;
        k->odd += k->pool && task % 2;
    }
    atomic_fetch_add(&k->tasks, 1);
}

static void look(void *ctx)
{
    struct looker *k = ctx;
    k->looks++;
    k->elsewhere += !pthread_equal(pthread_self(), k->caller);
}

static void test_pool_looks_up_between_tasks_of_the_caller(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        struct ddp_pool *pool = NULL;
        struct looker k = {.caller = pthread_self()};
        assert_int_equal(ddp_pool_create(threads, NULL, 0, &pool, NULL), 0);
        ddp_pool_between(pool, look, &k);
        ddp_parallel(pool, 12, do_task, &k);
        assert_int_equal(k.tasks, 12);
        assert_int_equal(k.looks, k.mine); /* behind each of its own */
        assert_int_equal(k.elsewhere, 0);
        k.pool = pool;
        ddp_parallel(pool, 12, do_task, &k); /* in workers a pause is nothing */
        assert_int_equal(k.looks, k.mine + k.odd);
        assert_int_equal(k.elsewhere, 0);
        k.pool = NULL;
        const int before = k.looks;
        ddp_pool_between(pool, NULL, NULL);
        ddp_parallel(pool, 12, do_task, &k);
        assert_int_equal(k.looks, before);
        ddp_pool_destroy(pool);
    }
}

struct held {
    pthread_t caller;
    atomic_bool others_done;
    atomic_int by_others;
};

/* The caller is held in its first task until the other thread has done all that is left, of both parts. */
static void hold_the_caller(void *ctx, int task)
{
    struct held *h = ctx;
    (void)task;
    if (pthread_equal(pthread_self(), h->caller)) {
        while (!h->others_done)
            sched_yield();
    } else if (atomic_fetch_add(&h->by_others, 1) == 10) {
        h->others_done = true;
    }
}

static void test_pool_does_the_tasks_of_a_thread_that_is_held_up(void **s)
{
    (void)s;
    struct held h = {.caller = pthread_self()};
    struct ddp_pool *pool;
    assert_int_equal(ddp_pool_create(2, NULL, 0, &pool, NULL), 0);
    ddp_parallel(pool, 12, hold_the_caller, &h);
    assert_true(h.by_others >= 11);
    ddp_pool_destroy(pool);
}

static void test_pool_runs_every_task_once(void **s)
{
    (void)s;
    struct ddp_error err;
    for (int threads = 1; threads <= 5; threads++) {
        struct ddp_pool *pool;
        assert_int_equal(ddp_pool_create(threads, NULL, threads % 2 ? 0 : 100, &pool, &err), 0);
        assert_int_equal(ddp_pool_threads(pool), threads);
        for (int tasks = 0; tasks < 40; tasks++) {
            int64_t v[40];
            memset(v, -1, sizeof v);
            ddp_parallel(pool, tasks, square, v);
            for (int i = 0; i < 40; i++)
                assert_int_equal(v[i], i < tasks ? i * i : -1);
        }
        ddp_pool_destroy(pool);
    }
    struct ddp_pool *none;
    assert_int_equal(ddp_pool_create(0, NULL, 0, &none, &err), DDP_E_USAGE);
}

static void test_wait_ends_on_target_and_on_stop(void **s)
{
    (void)s;
    ddp_word w = 5, stop = 1;
    assert_true(ddp_wait_reached(&w, 5, 0, NULL));
    assert_true(ddp_wait_reached(&w, 4, 0, NULL));
    assert_false(ddp_wait_reached(&w, 6, 0, &stop));
    atomic_store(&w, 0xfffffffeu); /* the counter wraps */
    ddp_wait_add(&w, 4);
    assert_true(ddp_wait_reached(&w, 1, 0, NULL));
}

static void test_outfile_is_complete_or_absent(void **s)
{
    (void)s;
    char dir[] = "/tmp/ddp-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char path[64];
    snprintf(path, sizeof path, "%s/f", dir);
    struct ddp_error err;
    assert_int_equal(ddp_file_write(path, "old", 3, &err), 0);
    long calls;
    ddp_fileio_fault(0, 0, NULL);
    assert_int_equal(ddp_file_write(path, "old", 3, &err), 0);
    calls = ddp_fileio_fault(0, 0, NULL);
    assert_true(calls >= 4); /* create, write, sync, rename, sync of the folder */
    static const struct {
        int error;
        const char *text;
    } rows[] = {{ENOSPC, "disk is full"}, {EROFS, "read-only"}, {EIO, "Input/output error"}};
    for (size_t r = 0; r < DDP_COUNT(rows); r++) {
        for (long n = 1; n <= calls; n++) {
            ddp_fileio_fault(n, rows[r].error, NULL);
            assert_int_equal(ddp_file_write(path, "newer", 5, &err), DDP_E_IO);
            assert_non_null(strstr(err.text, rows[r].text));
            assert_non_null(strstr(err.text, dir));
            ddp_fileio_fault(0, 0, NULL);
            char *data;
            size_t bytes;
            assert_int_equal(ddp_file_read(path, 0, &data, &bytes, &err), 0);
            assert_true(n == calls ? bytes == 5 : bytes == 3); /* the last call syncs after the rename */
            free(data);
            if (n == calls)
                assert_int_equal(ddp_file_write(path, "old", 3, &err), 0);
        }
    }
    char temporary[96];
    snprintf(temporary, sizeof temporary, "%s.tmp-%d", path, (int)getpid());
    assert_false(ddp_path_exists(temporary));
    assert_int_equal(ddp_dir_remove(dir, &err), 0);
    assert_false(ddp_path_exists(dir));
    assert_int_equal(ddp_dir_remove(dir, &err), 0);
}

static void test_file_read_rejects_what_it_must(void **s)
{
    (void)s;
    struct ddp_error err;
    char *data;
    size_t bytes;
    const void *map;
    assert_int_equal(ddp_file_read("/nonexistent/x", 0, &data, &bytes, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
    assert_int_equal(ddp_file_read("/proc/self/exe", 10, &data, &bytes, &err), DDP_E_IO);
    assert_int_equal(ddp_file_map("/tmp", &map, &bytes, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_int_equal(ddp_dir_make("/dev/null/x", &err), DDP_E_IO);
}

static void test_arena_memory_is_zeroed_and_aligned(void **s)
{
    (void)s;
    struct ddp_arena *a = ddp_arena_create();
    for (size_t n = 1; n < 40000; n = n * 3 + 1) {
        char *p = ddp_arena_alloc(a, n);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0x55, n);
    }
    assert_string_equal(ddp_arena_strdup(a, "hello"), "hello");
    ddp_arena_destroy(a);
    ddp_arena_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_prefix_and_add_keep_the_reason),
        cmocka_unit_test(test_error_says_that_there_is_no_room_for_more),
        cmocka_unit_test(test_words_of_others_do_not_command_the_terminal),
        cmocka_unit_test(test_error_codes_map_to_exit_codes),
        cmocka_unit_test(test_text_doubles_round_trip_in_every_locale),
        cmocka_unit_test(test_text_parse_rejects_leftovers),
        cmocka_unit_test(test_text_edit_distance),
        cmocka_unit_test(test_hash_is_sha256),
        cmocka_unit_test(test_philox_matches_the_published_vectors),
        cmocka_unit_test(test_pool_looks_up_between_tasks_of_the_caller),
        cmocka_unit_test(test_pool_runs_every_task_once),
        cmocka_unit_test(test_pool_does_the_tasks_of_a_thread_that_is_held_up),
        cmocka_unit_test(test_wait_ends_on_target_and_on_stop),
        cmocka_unit_test(test_outfile_is_complete_or_absent),
        cmocka_unit_test(test_file_read_rejects_what_it_must),
        cmocka_unit_test(test_arena_memory_is_zeroed_and_aligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
