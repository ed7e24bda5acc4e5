/* Runs as their directories tell them: whole ones, damaged ones, and what is none. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "clear.h"
#include "folder.h"
#include "record/record.h"

static const char *at(const char *name)
{
    static char path[4][512];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, 512, "%s/%s", dir, name);
    return p;
}

static void put(const char *name, const char *text)
{
    char *parent = ddp_path_parent(at(name));
    assert_int_equal(ddp_dir_make(parent, NULL), 0);
    free(parent);
    assert_int_equal(ddp_file_write(at(name), text, strlen(text), NULL), 0);
}

#define DONE "{\"status\": \"done\", \"legs\": [{\"began\": \"2026-01-0%d\"}], \"train\": {\"steps\": %d}}"

static void put_done(const char *run, int day, int steps)
{
    char name[128], text[256];
    snprintf(name, sizeof name, "%s/run.json", run);
    snprintf(text, sizeof text, DONE, day, steps);
    put(name, text);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void test_past_state_of_every_kind_of_directory(void **s)
{
    (void)s;
    static const struct {
        const char *record; /* NULL: none */
        int state;
        const char *fault;
    } cases[] = {
        {"{\"status\": \"done\"}", DDP_PAST_DONE, ""},
        {"{\"status\": \"stopped\"}", DDP_PAST_STOPPED, ""},
        {"{\"status\": \"failed\"}", DDP_PAST_FAILED, ""},
        {"{\"status\": \"running\"}", DDP_PAST_GONE, ""}, /* nobody holds it */
        {"{\"status\": \"sleeping\"}", DDP_PAST_DAMAGED, "('sleeping')"},
        {"{\"status\": 7}", DDP_PAST_DAMAGED, "no status"},
        {"{}", DDP_PAST_DAMAGED, "no status"},
        {"[1, 2]", DDP_PAST_DAMAGED, "no record"},
        {"{\"status\": \"do", DDP_PAST_DAMAGED, "no JSON"},
        {"", DDP_PAST_DAMAGED, "no JSON"},
        {NULL, DDP_PAST_HALF, "no run.json"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        char run[32], file[64];
        struct ddp_past p;
        snprintf(run, sizeof run, "run-%zu", i);
        snprintf(file, sizeof file, "%s/log", run);
        assert_int_equal(ddp_dir_make(at(file), NULL), 0);
        snprintf(file, sizeof file, "%s/checkpoints", run);
        assert_int_equal(ddp_dir_make(at(file), NULL), 0);
        snprintf(file, sizeof file, "%s/run.json", run);
        if (cases[i].record)
            put(file, cases[i].record);
        assert_int_equal(ddp_past_read(at(run), &p, NULL), 0);
        assert_int_equal(p.state, cases[i].state);
        assert_non_null(strstr(p.fault, cases[i].fault));
        assert_string_equal(p.name, run);
        ddp_past_finish(&p);
    }
}

static void test_past_of_a_run_that_a_process_holds(void **s)
{
    (void)s;
    struct ddp_past p;
    int lock;
    put("held/run.json", "{\"status\": \"running\"}");
    assert_int_equal(ddp_run_lock(at("held"), &lock, NULL), 0);
    assert_int_equal(ddp_past_read(at("held"), &p, NULL), 0);
    assert_int_equal(p.state, DDP_PAST_RUNNING);
    ddp_past_finish(&p);
    ddp_run_unlock(lock);
    assert_int_equal(ddp_past_read(at("held"), &p, NULL), 0);
    assert_int_equal(p.state, DDP_PAST_GONE);
    ddp_past_finish(&p);
}

static void test_past_of_what_is_no_run(void **s)
{
    (void)s;
    struct ddp_past p;
    struct ddp_error err = {0};
    assert_int_equal(ddp_past_read(at("nothing"), &p, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "no such run directory"));
    assert_int_equal(ddp_past_read(dir, &p, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "no run.json"));
    put("pipe/x", "");
    assert_int_equal(mkfifo(at("pipe/run.json"), 0600), 0); /* is not waited for */
    assert_int_equal(ddp_past_read(at("pipe"), &p, &err), 0);
    assert_int_equal(p.state, DDP_PAST_DAMAGED);
    ddp_past_finish(&p);
}

static void test_past_steps_of_an_unfinished_run_are_those_of_its_last_whole_line(void **s)
{
    (void)s;
    static const struct {
        const char *metrics;
        int steps;
    } cases[] = {{"", -1},
                 {"{\"step\": 3}\n", 3},
                 {"{\"step\": 3}\n{\"step\": 4}\n{\"step\": 5", 4},
                 {"{\"step\": 3}\nnonsense\n", 3},
                 {"nonsense\n", -1}};
    put("r/run.json", "{\"status\": \"failed\"}");
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_past p;
        put("r/metrics.jsonl", cases[i].metrics);
        assert_int_equal(ddp_past_read(at("r"), &p, NULL), 0);
        assert_int_equal(ddp_past_steps(&p), cases[i].steps);
        ddp_past_finish(&p);
    }
}

/* ---- columns, filters, order ----------------------------------------------------------------- */

static void test_past_at_finds_what_is_there(void **s)
{
    (void)s;
    json_t *o = json_loads("{\"a\": {\"b\": [1, {\"c\": \"x\"}]}}", 0, NULL);
    assert_string_equal(json_string_value(ddp_past_at(o, "a.b[1].c")), "x");
    assert_int_equal(json_integer_value(ddp_past_at(o, "a.b[0]")), 1);
    static const char *const none[] = {"a.c", "a.b[2]", "a.b[x]", "a.b[0].c", "b", "a.b[1"};
    for (size_t i = 0; i < DDP_COUNT(none); i++)
        assert_null(ddp_past_at(o, none[i]));
    json_decref(o);
}

static void test_filters(void **s)
{
    (void)s;
    static const struct {
        const char *word;
        bool holds;
    } cases[] = {
        {"optim.lr=0.1", true},
        {"optim.lr=1e-1", true},
        {"optim.lr=0.10001", false},
        {"optim.lr!=0.1", false},
        {"data.format=dig*", true},
        {"data.format=x*", false},
        {"state=done", true},
        {"state!=done", false},
        {"data.shuffle=true", true},
        {"data.shuffle=no", false},
        {"steps=5", true},
        {"mark=no", true},
        {"model.layers[0].out=16", true},
        {"run.name=-", true},
    };
    struct ddp_past p;
    put_done("r", 1, 5);
    put("r/config.json", "{\"optim\": {\"lr\": 0.1}, \"data\": {\"format\": \"digits\", \"shuffle\": true}, "
                         "\"model\": {\"layers\": [{\"out\": 16}]}}");
    assert_int_equal(ddp_past_read(at("r"), &p, NULL), 0);
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_shelf_filter f;
        assert_int_equal(ddp_shelf_filter_parse(cases[i].word, &f, NULL), 0);
        if (ddp_shelf_filter_holds(&f, &p) != cases[i].holds)
            fail_msg("%s", cases[i].word);
    }
    ddp_past_finish(&p);
    static const struct {
        const char *word, *says;
    } wrong[] = {
        {"optim.lrr=1", "'optim.lr'"}, {"stat=done", "'state'"}, {"word", "no filter"}, {"=1", "no filter"}};
    for (size_t i = 0; i < DDP_COUNT(wrong); i++) {
        struct ddp_shelf_filter f;
        struct ddp_error err = {0};
        assert_int_equal(ddp_shelf_filter_parse(wrong[i].word, &f, &err), DDP_E_USAGE);
        assert_non_null(strstr(err.text, wrong[i].says));
    }
}

static void expect_order(const struct ddp_shelf *shelf, const char *names)
{
    char all[256] = "";
    for (int i = 0; i < shelf->n; i++)
        strcat(strcat(all, shelf->run[i].name), " ");
    assert_string_equal(all, names);
}

static void test_shelf_order(void **s)
{
    (void)s;
    struct ddp_shelf shelf;
    put_done("a", 3, 5);
    put_done("b", 1, 40);
    put_done("c", 2, 5);
    put("d/run.json", "{\"status\": \"failed\"}"); /* of which no steps are known */
    put("notes/text", "");
    assert_int_equal(symlink(at("a"), at("link")), 0);
    assert_int_equal(ddp_shelf_read(dir, &shelf, NULL), 0);
    assert_int_equal(shelf.others, 2);
    expect_order(&shelf, "b c a d ");
    ddp_shelf_sort(&shelf, "steps", false);
    expect_order(&shelf, "c a b d ");
    ddp_shelf_sort(&shelf, "steps", true);
    expect_order(&shelf, "b c a d ");
    struct ddp_shelf_filter f;
    assert_int_equal(ddp_shelf_filter_parse("steps=5", &f, NULL), 0);
    ddp_shelf_keep(&shelf, &f, 1);
    expect_order(&shelf, "c a ");
    ddp_shelf_finish(&shelf);
    assert_int_equal(ddp_shelf_read(at("nowhere"), &shelf, NULL), DDP_E_USAGE);
}

/* ---- clearing away --------------------------------------------------------------------------- */

static void test_clear_takes_unfinished_runs_and_no_other(void **s)
{
    (void)s;
    static const struct {
        const char *run, *record, *more; /* more: another file in it */
        bool goes, goes_stopped;
        const char *says;
    } cases[] = {
        {"done", "{\"status\": \"done\"}", NULL, false, false, "done"},
        {"failed", "{\"status\": \"failed\"}", "metrics.jsonl", true, true, "failed"},
        {"gone", "{\"status\": \"running\"}", "run.json.tmp-77", true, true, "gone"},
        {"bad", "{\"stat", "model_ema.safetensors", true, true, "damaged"},
        {"stopped", "{\"status\": \"stopped\"}", NULL, false, true, "stopped"},
        {"marked", "{\"status\": \"failed\"}", "KEEP", false, false, "marked"},
        {"notes", "{\"status\": \"failed\"}", "my-notes.txt", false, false, "my-notes.txt in it"},
        {"parent", "{\"status\": \"failed\"}", NULL, false, false, "child goes on from it"},
        {"best", "{\"status\": \"failed\"}", NULL, false, false, "child goes on from it"},
        {"child",
         "{\"status\": \"done\", \"parent\": {\"run\": \"x/parent\"}, \"best\": {\"path\": "
         "\"x/best/checkpoints/step-1\"}}",
         NULL, false, false, "done"},
        {"young", "{\"status\": \"failed\"}", NULL, false, false, "a short while ago"},
    };
    struct ddp_clear_options opt = {.older_s = 3600};
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        char file[64];
        const struct utimbuf long_ago = {1000000000, 1000000000};
        snprintf(file, sizeof file, "%s/run.json", cases[i].run);
        put(file, cases[i].record);
        if (cases[i].more) {
            char more[64];
            snprintf(more, sizeof more, "%s/%s", cases[i].run, cases[i].more);
            put(more, "");
            utime(at(more), &long_ago);
        }
        if (strcmp(cases[i].run, "young") != 0) {
            utime(at(file), &long_ago);
            utime(at(cases[i].run), &long_ago);
        }
    }
    struct ddp_shelf shelf;
    assert_int_equal(ddp_shelf_read(dir, &shelf, NULL), 0);
    assert_int_equal(shelf.n, (int)DDP_COUNT(cases));
    for (int k = 0; k < shelf.n; k++)
        for (size_t i = 0; i < DDP_COUNT(cases); i++) {
            char why[512];
            if (strcmp(cases[i].run, shelf.run[k].name) != 0)
                continue;
            opt.stopped = false;
            if (ddp_clear_may(&shelf, &shelf.run[k], &opt, why, sizeof why) != cases[i].goes ||
                !strstr(why, cases[i].says))
                fail_msg("%s: %s", cases[i].run, why);
            opt.stopped = true;
            assert_int_equal(ddp_clear_may(&shelf, &shelf.run[k], &opt, why, sizeof why),
                             cases[i].goes_stopped);
        }
    ddp_shelf_finish(&shelf);
}

static void test_clear_looks_again_before_it_removes(void **s)
{
    (void)s;
    struct ddp_shelf shelf;
    struct ddp_error err = {0};
    const struct ddp_clear_options opt = {0};
    int lock;
    put("r/run.json", "{\"status\": \"failed\"}");
    put("r/log/rank-0.log", "words");
    assert_int_equal(ddp_shelf_read(dir, &shelf, NULL), 0);
    assert_int_equal(ddp_clear_bytes(at("r")), 24 + 1);
    assert_int_equal(ddp_run_lock(at("r"), &lock, NULL), 0);
    assert_int_equal(ddp_clear_remove(&shelf, &shelf.run[0], &opt, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "a process works in it"));
    ddp_run_unlock(lock);
    put("r/run.json", "{\"status\": \"done\"}"); /* somebody resumed it meanwhile */
    assert_int_equal(ddp_clear_remove(&shelf, &shelf.run[0], &opt, &err), DDP_E_RESOURCE);
    assert_true(ddp_path_exists(at("r/log/rank-0.log")));
    put("r/run.json", "{\"status\": \"failed\"}");
    assert_int_equal(ddp_clear_remove(&shelf, &shelf.run[0], &opt, &err), 0);
    assert_false(ddp_path_exists(at("r")));
    ddp_shelf_finish(&shelf);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_past_state_of_every_kind_of_directory),
        EACH(test_past_of_a_run_that_a_process_holds),
        EACH(test_past_of_what_is_no_run),
        EACH(test_past_steps_of_an_unfinished_run_are_those_of_its_last_whole_line),
        EACH(test_past_at_finds_what_is_there),
        EACH(test_filters),
        EACH(test_shelf_order),
        EACH(test_clear_takes_unfinished_runs_and_no_other),
        EACH(test_clear_looks_again_before_it_removes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
