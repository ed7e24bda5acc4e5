/* Programs that a measurement starts: what they say, how they fail, when they take too long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/run.h"

static int shell(const char *text, const char *const *env, double limit_s, struct bench_run *run,
                 struct ddp_error *err)
{
    struct bench_words words = {0};
    bench_words_add(&words, "%s", "sh");
    bench_words_add(&words, "%s", "-c");
    bench_words_add(&words, "%s", text);
    const int status = bench_run(&words, env, limit_s, run, err);
    bench_words_finish(&words);
    return status;
}

static void test_run_hears_both_streams(void **state)
{
    (void)state;
    struct bench_run run;
    struct ddp_error err = {0};
    const char *const env[] = {"A_WORD=of ours", NULL};
    setenv("A_WORD", "of before", 1);
    assert_int_equal(shell("echo \"$A_WORD\"; echo aside >&2", env, 60, &run, &err), 0);
    assert_string_equal(run.out, "of ours\n");
    assert_string_equal(run.words, "aside\n");
    assert_true(run.wall_s > 0 && run.cpu_s >= 0);
    bench_run_finish(&run);
    /* more than a pipe holds, on both */
    assert_int_equal(
        shell("yes 0123456789 | head -n 100000; yes abc | head -n 100000 >&2", NULL, 60, &run, &err), 0);
    assert_int_equal(strlen(run.out), 1100000);
    assert_int_equal(strlen(run.words), 400000);
    bench_run_finish(&run);
}

static void test_run_says_why_it_failed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *says[2];
    } table[] = {
        {"echo the reason >&2; exit 3", DDP_E_COMM, {"sh failed (exit status 3)", "the reason"}},
        {"echo wrong words >&2; exit 2", DDP_E_USAGE, {"exit status 2", "wrong words"}},
        {"kill -9 $$", DDP_E_COMM, {"sh failed (signal 9)", ""}},
    };
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct bench_run run;
        struct ddp_error err = {0};
        assert_int_equal(shell(table[i].text, NULL, 60, &run, &err), table[i].code);
        for (int k = 0; k < 2; k++)
            assert_non_null(strstr(err.text, table[i].says[k]));
        bench_run_finish(&run);
    }
}

static void test_run_ends_what_takes_too_long(void **state)
{
    (void)state;
    struct bench_run run;
    struct ddp_error err = {0};
    const double began = ddp_now();
    /* its children, too: they hold the streams */
    assert_int_equal(shell("echo begun; sleep 600 & sleep 600", NULL, 0.3, &run, &err), DDP_E_COMM);
    assert_true(ddp_now() - began < 60);
    assert_non_null(strstr(err.text, "took longer"));
    assert_string_equal(run.out, "begun\n");
    bench_run_finish(&run);
}

static void test_run_without_a_program(void **state)
{
    (void)state;
    struct bench_words words = {0};
    struct bench_run run;
    struct ddp_error err = {0};
    char path[PATH_MAX];
    bench_words_add(&words, "%s", "/nowhere/at-all");
    assert_int_equal(bench_run(&words, NULL, 60, &run, &err), DDP_E_COMM);
    assert_non_null(strstr(err.text, "/nowhere/at-all cannot be started"));
    bench_run_finish(&run);
    bench_words_finish(&words);
    assert_int_equal(bench_program_find("at-all", path, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "at-all is missing"));
    assert_true(bench_program_on_path("sh"));
    assert_false(bench_program_on_path("no-such-program-at-all"));
}

static void test_run_folder(void **state)
{
    (void)state;
    char path[PATH_MAX], file[PATH_MAX + 8];
    struct ddp_error err = {0};
    assert_int_equal(bench_folder_make(".", path, &err), 0);
    snprintf(file, sizeof file, "%s/file", path);
    assert_int_equal(ddp_file_write(file, "x", 1, &err), 0);
    bench_folder_remove(path);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(bench_folder_make("/nowhere", path, &err), DDP_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_hears_both_streams),
        cmocka_unit_test(test_run_says_why_it_failed),
        cmocka_unit_test(test_run_ends_what_takes_too_long),
        cmocka_unit_test(test_run_without_a_program),
        cmocka_unit_test(test_run_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
