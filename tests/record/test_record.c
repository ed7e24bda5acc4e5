/* What any program may know of a run directory. */
#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "record/record.h"

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(ddp_dir_make(path, NULL), 0);
    *slash = '/';
    assert_int_equal(ddp_file_write(path, text, strlen(text), NULL), 0);
}

static char *get(const char *name)
{
    static char text[4096];
    char path[256], *data;
    size_t bytes;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(ddp_file_read(path, sizeof text - 1, &data, &bytes, NULL), 0);
    strcpy(text, data);
    free(data);
    return text;
}

static void test_run_lock_keeps_a_second_process_out(void **s)
{
    (void)s;
    int a = -1, b = -1;
    struct ddp_error err = {0};
    assert_int_equal(ddp_run_lock(dir, &a, &err), 0);
    assert_int_equal(ddp_run_lock(dir, &b, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, dir));
    ddp_run_unlock(a);
    assert_int_equal(ddp_run_lock(dir, &b, &err), 0);
    ddp_run_unlock(b);
    ddp_run_unlock(-1);
    assert_int_equal(ddp_run_lock("/nonexistent", &b, &err), DDP_E_IO);
}

static void test_run_that_is_moved_or_removed_is_noticed(void **s)
{
    (void)s;
    char run[128], moved[128];
    struct ddp_error err = {0};
    int lock = -1;
    snprintf(run, sizeof run, "%s/run", dir);
    snprintf(moved, sizeof moved, "%s/moved", dir);
    assert_int_equal(mkdir(run, 0777), 0);
    assert_int_equal(ddp_run_lock(run, &lock, &err), 0);
    assert_int_equal(ddp_run_still_there(run, lock, &err), 0);
    assert_int_equal(rename(run, moved), 0);
    assert_int_equal(ddp_run_still_there(run, lock, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, "renamed"));
    assert_int_equal(mkdir(run, 0777), 0); /* another one of that name */
    assert_int_equal(ddp_run_still_there(run, lock, &err), DDP_E_IO);
    assert_int_equal(rmdir(moved), 0);
    assert_int_equal(ddp_run_still_there(run, lock, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, "removed"));
    ddp_run_unlock(lock);
}

static void test_record_is_closed_when_it_is_open_and_free(void **s)
{
    static const struct {
        const char *json; /* NULL: none */
        bool held, closes;
    } table[] = {
        {"{\"status\": \"running\", \"legs\": [{\"status\": \"done\"}, {\"status\": \"running\"}]}", false,
         true},
        {"{\"status\": \"running\"}", false, true}, /* of the time before legs */
        {"{\"status\": \"running\", \"legs\": [{\"status\": \"running\"}]}", true, false},
        {"{\"status\": \"done\"}", false, false},
        {"{\"status\": \"sto", false, false},
        {NULL, false, false},
    };
    (void)s;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char run[128], status[16];
        int lock = -1;
        snprintf(run, sizeof run, "%s/run", dir);
        assert_int_equal(ddp_dir_remove(run, NULL), 0);
        assert_int_equal(mkdir(run, 0777), 0);
        if (table[i].json)
            put("run/run.json", table[i].json);
        if (table[i].held)
            assert_int_equal(ddp_run_lock(run, &lock, NULL), 0);
        assert_int_equal(ddp_run_close(run, "rank 2 was killed"), table[i].closes);
        ddp_run_unlock(lock);
        if (!table[i].closes) {
            assert_true(!table[i].json || strcmp(get("run/run.json"), table[i].json) == 0);
            continue;
        }
        ddp_run_status(run, status, sizeof status);
        assert_string_equal(status, "failed");
        assert_non_null(strstr(get("run/run.json"), "rank 2 was killed"));
        assert_null(strstr(get("run/run.json"), "running"));
        assert_int_equal(ddp_run_close(run, "again"), false);
    }
}

/* Whoever knows that a process is gone closes its record, even where something still holds the directory; not
 * that of another process. */
static void test_record_is_closed_by_who_knows(void **s)
{
    static const struct {
        const char *json;
        int pid;
        bool closes;
    } table[] = {
        {"{\"status\": \"running\", \"legs\": [{\"pid\": 7}, {\"status\": \"running\", \"pid\": 77}]}", 77,
         true},
        {"{\"status\": \"running\", \"legs\": [{\"pid\": 7}, {\"status\": \"running\", \"pid\": 77}]}", 7,
         false},
        {"{\"status\": \"running\", \"legs\": [{\"status\": \"running\", \"pid\": 77}]}", 0, false},
        {"{\"status\": \"running\", \"legs\": [{\"status\": \"running\"}]}", 0, false},
        {"{\"status\": \"done\", \"legs\": [{\"status\": \"done\", \"pid\": 77}]}", 77, false},
        {"{\"status\": \"running\", \"legs\": 3}", 77, false},
    };
    (void)s;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char run[128], status[16];
        int lock = -1;
        snprintf(run, sizeof run, "%s/run", dir);
        put("run/run.json", table[i].json);
        assert_int_equal(ddp_run_lock(run, &lock, NULL), 0);
        assert_int_equal(ddp_run_close_of(run, table[i].pid, "host n0 is lost"), table[i].closes);
        ddp_run_unlock(lock);
        ddp_run_status(run, status, sizeof status);
        if (table[i].closes) {
            assert_string_equal(status, "failed");
            assert_non_null(strstr(get("run/run.json"), "host n0 is lost"));
        } else {
            assert_string_equal(get("run/run.json"), table[i].json);
        }
    }
}

/* Where there is no room for a new file the old one is written over: no record stays at "running". */
static void test_record_is_closed_on_a_full_disk(void **s)
{
    (void)s;
    char run[128], status[16];
    snprintf(run, sizeof run, "%s/run", dir);
    put("run/run.json",
        "{\n        \"status\":          \"running\",\n         \"legs\":     [\n        {\n  \"status\":   "
        "\"running\"\n        }\n          ]\n                                                              "
        "                                              }\n");
    ddp_fileio_fault(1, ENOSPC, "run.json");
    const bool closed = ddp_run_close(run, "x");
    ddp_fileio_fault(0, 0, NULL);
    assert_true(closed);
    ddp_run_status(run, status, sizeof status);
    assert_string_equal(status, "failed");
}

static void test_names_stand_for_runs_and_configs(void **s)
{
    static const struct {
        const char *name, *path, *config; /* below dir; NULL: DDP_E_USAGE */
    } table[] = {
        {"new", "new", "new/checkpoints/step-00000020/config.cfg"},
        {"new/", "new", "new/checkpoints/step-00000020/config.cfg"},
        {"new@best", "new/checkpoints/step-00000010", "new/checkpoints/step-00000010/config.cfg"},
        {"new/checkpoints/step-00000010", "new/checkpoints/step-00000010",
         "new/checkpoints/step-00000010/config.cfg"},
        {"new/model.safetensors", "new/model.safetensors", "new/config.cfg"},
        {"old", "old", "old/config.cfg"}, /* its checkpoints hold no configs */
        {"old/checkpoints/step-00000010", "old/checkpoints/step-00000010", "old/config.cfg"},
        {"old@best", NULL, NULL},
        {"fork@best", "new/checkpoints/step-00000010", "new/checkpoints/step-00000010/config.cfg"},
        {"bare", "bare", NULL},
        {"bare/x.safetensors", "bare/x.safetensors", NULL},
        {"nowhere", NULL, NULL},
        {"nowhere@best", NULL, NULL},
    };
    char json[256];
    (void)s;
    put("new/config.cfg", "");
    put("new/model.safetensors", "");
    put("new/checkpoints/step-00000010/config.cfg", "");
    put("new/checkpoints/step-00000010/state.json", "{\"best\": true}");
    put("new/checkpoints/step-00000020/config.cfg", "");
    put("new/checkpoints/step-00000020/state.json", "{\"best\": false}");
    put("new/checkpoints/step-00000030.tmp-1/config.cfg", "");
    put("new/checkpoints/abandoned-1/step-00000040/config.cfg", "");
    put("old/config.cfg", "");
    put("old/checkpoints/step-00000010/state.json", "{}");
    snprintf(json, sizeof json, "{\"best\": {\"path\": \"%s/new/checkpoints/step-00000010\"}}", dir);
    put("fork/run.json", json);
    put("bare/x.safetensors", "");
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        char name[128], want[256], path[1024];
        for (int config = 0; config < 2; config++) {
            const char *expected = config ? table[i].config : table[i].path;
            struct ddp_error err = {0};
            snprintf(name, sizeof name, "%s/%s", dir, table[i].name);
            snprintf(want, sizeof want, "%s/%s", dir, expected ? expected : "");
            const int status = config ? ddp_run_config(name, path, sizeof path, &err)
                                      : ddp_run_resolve(name, path, sizeof path, &err);
            if (status != (expected ? 0 : DDP_E_USAGE) || (expected && strcmp(path, want) != 0))
                fail_msg("%s: %d, '%s' (%s)", table[i].name, status, path, err.text);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_run_lock_keeps_a_second_process_out),
        TEST(test_run_that_is_moved_or_removed_is_noticed),
        TEST(test_record_is_closed_when_it_is_open_and_free),
        TEST(test_record_is_closed_by_who_knows),
        TEST(test_record_is_closed_on_a_full_disk),
        TEST(test_names_stand_for_runs_and_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
