/* A report: the same rows in all its files, what is no number, and when it says that it cannot be trusted. */
#include "cmocka_all.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/report/private.h"

static char folder[] = "/tmp/ddp-test-report-XXXXXX";

static const struct bench_column columns[] = {
    {"name", "what", NULL}, {"n", "ranks", "%.0f"}, {"ms", "ms", "%.2f"}, {"hidden", NULL, "%g"}};

static char *in_folder(const char *name)
{
    static char path[4][128];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static char *read_all(const char *path)
{
    char *text;
    size_t bytes;
    assert_int_equal(ddp_file_read(path, 0, &text, &bytes, NULL), 0);
    return text;
}

/* Before anything is measured for it; what was there stays as it was. */
static void test_files_that_cannot_be_made(void **state)
{
    (void)state;
    static const char *const names[] = {"none/x", ".", "kept"};
    assert_int_equal(ddp_file_write(in_folder("kept"), "old", 3, NULL), 0);
    for (size_t i = 0; i < DDP_COUNT(names); i++)
        for (int k = 0; k < 4; k++) {
            const char *const path = in_folder(names[i]), *given[4] = {NULL};
            given[k] = path;
            const struct bench_outputs o = {given[0], given[1], given[2], given[3]};
            struct bench_report *r = bench_report_create("ddp-bench step", 0, NULL, &o);
            struct ddp_error err = {0};
            assert_int_equal(bench_report_begin(r, &err), i < 2 ? DDP_E_IO : 0);
            if (i < 2)
                assert_non_null(strstr(err.text, path));
            bench_report_destroy(r);
        }
    char *text = read_all(in_folder("kept"));
    assert_string_equal(text, "old");
    free(text);
    assert_int_equal(remove(in_folder("kept")), 0);
}

static struct bench_report *filled(const struct bench_outputs *o, bool bars)
{
    static char *argv[] = {"step", "-n", "2", NULL};
    static const struct bench_plot line = {.title = "A <plot>",
                                           .x = "n",
                                           .y = "ms",
                                           .x_title = "ranks",
                                           .y_title = "ms",
                                           .series = "name",
                                           .log_x = true},
                                   bar = {.kind = BENCH_BARS,
                                          .title = "Bars",
                                          .x = "name",
                                          .parts = {"ms", "hidden"}};
    struct bench_report *r = bench_report_create("ddp-bench step", 3, argv, o);
    struct ddp_error err = {0};
    assert_int_equal(bench_report_begin(r, &err), 0);
    struct bench_table *t = bench_report_table(r, "rows", "The rows", columns, DDP_COUNT(columns));
    bench_row(t, BENCH_TEXT("a \"b\", c|d"), BENCH_NUMBER(1), BENCH_NUMBER(2.5), BENCH_NUMBER(1e-7));
    bench_row(t, BENCH_TEXT("x"), BENCH_NUMBER(2), BENCH_NUMBER(NAN), BENCH_NUMBER(3));
    bench_row(t, BENCH_TEXT("x"), BENCH_NUMBER(4), BENCH_NUMBER(7.25), BENCH_NUMBER(3));
    bench_report_table(r, "none", "No rows", columns, DDP_COUNT(columns));
    bench_fact_number(r, "images_per_s", 1234.5, "images/s", "%.0f images/s");
    bench_fact_text(r, "model", "mnist_cnn", NULL);
    bench_note(r, "a remark about %d", 7);
    bench_report_plot(r, t, bars ? &bar : &line);
    return r;
}

static void test_files_say_the_same(void **state)
{
    (void)state;
    const struct bench_outputs o = {in_folder("r.json"), in_folder("r.csv"), in_folder("r.svg"),
                                    in_folder("r.md")};
    struct bench_report *r = filled(&o, false);
    struct ddp_error err = {0};
    assert_int_equal(bench_report_finish(r, &err), 0);
    bench_report_destroy(r);

    json_t *j = json_load_file(o.json, 0, NULL), *rows = json_object_get(j, "rows");
    assert_int_equal(json_array_size(rows), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "name")), "a \"b\", c|d");
    assert_true(json_is_null(json_object_get(json_array_get(rows, 1), "ms")));
    assert_true(json_is_integer(json_object_get(json_array_get(rows, 1), "n")));
    assert_float_equal(json_real_value(json_object_get(j, "images_per_s")), 1234.5, 0);
    assert_string_equal(json_string_value(json_object_get(j, "model")), "mnist_cnn");
    assert_string_equal(json_string_value(json_array_get(json_object_get(j, "command"), 0)), "ddp-bench");
    assert_true(json_is_string(json_object_get(json_object_get(j, "machine"), "topology")));
    assert_true(json_is_string(json_object_get(json_object_get(j, "code"), "version")));
    assert_true(json_number_value(json_object_get(json_object_get(j, "load"), "wall_s")) >= 0);
    assert_int_equal(json_array_size(json_object_get(json_object_get(j, "load"), "clock_ghz")), 2);
    assert_true(json_is_array(json_object_get(j, "warnings")));
    assert_true(json_is_array(json_object_get(j, "none")));
    json_decref(j);

    char *csv = read_all(o.csv), *md = read_all(o.md), *svg = read_all(o.svg);
    assert_string_equal(csv, "name,n,ms,hidden\n\"a \"\"b\"\", c|d\",1,2.5,1e-07\nx,2,,3\nx,4,7.25,3\n");
    assert_non_null(strstr(
        md, "| what | ranks | ms |\n| --- | ---: | ---: |\n| a \"b\", c\\|d | 1 | 2.50 |\n| x | 2 | - |\n"));
    assert_non_null(strstr(md, "a remark about 7"));
    assert_null(strstr(md, "No rows")); /* JSON has the empty list */
    assert_non_null(strstr(svg, "A &lt;plot>"));
    assert_non_null(strstr(svg, "<circle"));
    assert_null(strstr(svg, "nan"));
    free(csv);
    free(md);
    free(svg);
}

static void test_bars(void **state)
{
    (void)state;
    const struct bench_outputs o = {.svg = in_folder("bars.svg")};
    struct bench_report *r = filled(&o, true);
    struct ddp_error err = {0};
    assert_int_equal(bench_report_finish(r, &err), 0);
    bench_report_destroy(r);
    char *svg = read_all(o.svg);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "height=\"-"));
    free(svg);
}

static void test_a_file_that_cannot_be(void **state)
{
    (void)state;
    const struct bench_outputs o = {.csv = in_folder("gone/all.csv")};
    struct ddp_error err = {0};
    assert_int_equal(ddp_dir_make(in_folder("gone"), &err), 0);
    struct bench_report *r = filled(&o, false);
    assert_int_equal(remove(in_folder("gone")), 0);
    assert_int_equal(bench_report_finish(r, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, "gone/all.csv"));
    bench_report_destroy(r);
}

/* ---- the load ---- */

static bool first_two(int cpu)
{
    return cpu < 2;
}

static void test_load_is_read(void **state)
{
    (void)state;
    static const char stat[] = "cpu  9 9 9 9 9 9 9 9 0 0\n"
                               "cpu0 100 10 50 800 30 1 2 7 5 0\n"
                               "cpu1 200 0 0 800 0 0 0 0 0 0\n"
                               "cpu2 900 0 0 100 0 0 0 0 0 0\nintr 7\n";
    double busy, steal, all;
    bench_load_parse(stat, first_two, 100, &busy, &steal, &all);
    assert_float_equal(busy, 3.63, 1e-9);
    assert_float_equal(steal, 0.07, 1e-9);
    assert_float_equal(all, 20, 1e-9);
    assert_float_equal(bench_load_pressure("some avg10=1.00 avg60=0.00 avg300=0.00 total=2500000\nfull x\n"),
                       2.5, 1e-12);
    assert_true(isnan(bench_load_pressure("nothing")));
}

static void test_load_between(void **state)
{
    (void)state;
    struct bench_load_mark now;
    bench_load_mark(&now); /* knows how many CPUs there are */
    const struct bench_load_mark from =
                                     {.now = 10, .own = 1, .busy = 5, .steal = 1, .all = 50, .pressure = 2},
                                 to = {.now = 20, .own = 6, .busy = 13, .steal = 2, .all = 70, .pressure = 7};
    struct bench_load l;
    bench_load_between(&from, &to, &l);
    assert_float_equal(l.own_cpus, 0.5, 1e-12);
    assert_float_equal(l.other_cpus, 0.3, 1e-12);
    assert_float_equal(l.steal_percent, 5, 1e-12);
    assert_float_equal(l.pressure_percent, 50, 1e-12);
    assert_true(l.cpus > 0);
}

/* ---- the judgement ---- */

static bool warns(struct bench_report *r, const char *of)
{
    bool found = false;
    for (int i = 0; i < r->nwarnings; i++)
        found |= strstr(r->warning[i], of) != NULL;
    return found;
}

/* Each kind of trouble is named, and only it: the machine that runs the test may have some of its own. */
static void test_what_cannot_be_trusted(void **state)
{
    (void)state;
    const struct bench_outputs o = {.md = in_folder("judged.md")};
    struct bench_report *r = filled(&o, false);
    struct ddp_error err = {0};
    assert_false(warns(r, "frequency"));
    r->clock[r->nclocks++] = 2 * r->clock[0];
    r->began.busy -= 1e6;
    r->began.now -= 1;
    r->began.all -= 1e6;
    r->began.steal -= 1e5;
    bench_warn_spread(r, "the median", 0.04, 0.05);
    assert_false(warns(r, "the median"));
    bench_warn_spread(r, "the median", 0.5, 0.05);
    assert_true(warns(r, "the median: repetitions differ by 50 %"));
    assert_int_equal(bench_report_finish(r, &err), 0);
    assert_true(warns(r, "frequency moved"));
    assert_true(warns(r, "other processes used"));
    assert_true(warns(r, "the host of this virtual machine"));
    bench_report_destroy(r);
}

static void test_options_are_taken(void **state)
{
    (void)state;
    struct bench_outputs o = {0};
    assert_true(bench_outputs_take(&o, BENCH_SVG, "a"));
    assert_true(bench_outputs_take(&o, BENCH_JSON, "b"));
    assert_false(bench_outputs_take(&o, 1, "c"));
    assert_string_equal(o.svg, "a");
    assert_string_equal(o.json, "b");
    assert_null(o.csv);
}

static int begin(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    return ddp_dir_remove(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_that_cannot_be_made),
        cmocka_unit_test(test_files_say_the_same),
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_a_file_that_cannot_be),
        cmocka_unit_test(test_load_is_read),
        cmocka_unit_test(test_load_between),
        cmocka_unit_test(test_what_cannot_be_trusted),
        cmocka_unit_test(test_options_are_taken),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
