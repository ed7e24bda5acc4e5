/* Run directories, records, run.json, the trail and the progress line. */
#include "cmocka_all.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "telemetry/telemetry.h"

static char dir[64];
static struct ddp_config *cfg;

static int set_up(void **s)
{
    (void)s;
    struct ddp_error err = {0};
    char over[128];
    snprintf(dir, sizeof dir, "/tmp/ddp-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(over, sizeof over, "run.dir=%s/runs", dir);
    const char *overrides[] = {over, "run.name=demo"};
    struct ddp_config_options opt = {
        .overrides = overrides, .noverrides = 2, .configs_dir = DDP_TEST_CONFIGS};
    return ddp_config_load(&opt, &cfg, &err);
}

static int tear_down(void **s)
{
    (void)s;
    ddp_config_destroy(cfg);
    return ddp_dir_remove(dir, NULL);
}

static void test_rundir_has_name_time_and_folders(void **s)
{
    (void)s;
    char a[1024], b[1024], sub[1100];
    struct ddp_error err = {0};
    assert_int_equal(ddp_rundir_create(cfg, NULL, a, sizeof a, &err), 0);
    assert_int_equal(ddp_rundir_create(cfg, NULL, b, sizeof b, &err), 0);
    assert_string_not_equal(a, b); /* two runs of one second */
    const char *name = strrchr(a, '/') + 1;
    assert_int_equal(strncmp(name, "demo-20", 7), 0);
    assert_int_equal(strlen(name), strlen("demo-20261123-142233-7f3a"));
    snprintf(sub, sizeof sub, "%s/checkpoints", a);
    assert_true(ddp_path_exists(sub));
    snprintf(sub, sizeof sub, "%s/log", a);
    assert_true(ddp_path_exists(sub));
}

/* Which one it is among those that can go on: tests/system/test_records.py. */
static void test_rundir_latest_says_what_cannot_go_on(void **s)
{
    (void)s;
    static const char *const names[] = {"demo-20200101-000000-aaaa", "demo-20991231-235959-0001", "other"};
    char path[1024];
    struct ddp_error err = {0};
    assert_int_equal(ddp_rundir_find(cfg, NULL, "latest", path, sizeof path, &err), DDP_E_USAGE);
    for (size_t i = 0; i < DDP_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s/checkpoints", cfg->run.dir, names[i]);
        assert_int_equal(ddp_dir_make(path, &err), 0);
    }
    err = (struct ddp_error){0};
    assert_int_equal(ddp_rundir_find(cfg, NULL, "latest", path, sizeof path, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "2 of that name have no checkpoint"));
    assert_int_equal(ddp_rundir_find(cfg, NULL, "auto", path, sizeof path, &err), 0);
    assert_string_equal(path, "");
    err = (struct ddp_error){0};
    assert_int_equal(ddp_rundir_find(cfg, NULL, "/nonexistent", path, sizeof path, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "latest"));
}

static void test_rundir_last_ms_is_behind_every_save(void **s)
{
    (void)s;
    char path[1024];
    struct ddp_error err = {0};
    assert_true(ddp_rundir_last_ms(cfg) == 0);
    snprintf(path, sizeof path, "%s/demo-20200101-000000-aaaa/checkpoints", cfg->run.dir);
    assert_int_equal(ddp_dir_make(path, &err), 0);
    const struct timespec later[2] = {{.tv_sec = 4102444800},
                                      {.tv_sec = 4102444800}}; /* 2100: the clock is set back */
    assert_int_equal(utimensat(AT_FDCWD, path, later, 0), 0);
    assert_true(ddp_rundir_last_ms(cfg) > 4102444800000);
}

/* A resumed run appends, and what was written of the legs before it stays. */
static void test_runjson_keeps_its_legs(void **s)
{
    (void)s;
    const struct ddp_key_change change = {"train.threads", "1", "2"};
    struct ddp_run_info info = {
        .run_dir = dir, .opens = true, .status = "running", .config_hash = "a1", .ranks = 2};
    struct ddp_error err = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/run.json", dir);
    assert_int_equal(ddp_runjson_write(cfg, &info, &err), 0);
    info.opens = false;
    info.status = "stopped";
    info.finished = true;
    info.steps = 4;
    strcpy(info.weights_hash, "w4");
    assert_int_equal(ddp_runjson_write(cfg, &info, &err), 0);
    struct ddp_run_info second = {.run_dir = dir,
                                  .opens = true,
                                  .status = "running",
                                  .config_hash = "b2",
                                  .ranks = 3,
                                  .resumed_from = "x/step-4",
                                  .from_step = 4,
                                  .set_aside = "abandoned-1",
                                  .nchanges = 1,
                                  .changes = &change};
    assert_int_equal(ddp_runjson_write(cfg, &second, &err), 0);
    assert_int_equal(ddp_runjson_write(cfg, &second, &err), 0); /* the second was killed: a third */
    json_t *o = json_load_file(path, 0, NULL), *legs = json_object_get(o, "legs");
    static const struct {
        const char *status, *hash, *error;
        int ranks;
    } want[] = {
        {"stopped", "a1", NULL, 2}, {"failed", "b2", "its process is gone", 3}, {"running", "b2", NULL, 3}};
    assert_int_equal(json_array_size(legs), DDP_COUNT(want));
    for (size_t i = 0; i < DDP_COUNT(want); i++) {
        json_t *leg = json_array_get(legs, i);
        const char *error = json_string_value(json_object_get(leg, "error"));
        assert_string_equal(json_string_value(json_object_get(leg, "status")), want[i].status);
        assert_string_equal(json_string_value(json_object_get(leg, "config_hash")), want[i].hash);
        assert_int_equal(json_integer_value(json_object_get(leg, "ranks")), want[i].ranks);
        assert_int_equal(error != NULL, want[i].error != NULL);
        assert_true(!error || strstr(error, want[i].error));
    }
    assert_string_equal(json_string_value(json_object_get(json_array_get(legs, 0), "weights_hash")), "w4");
    assert_string_equal(json_string_value(json_object_get(json_array_get(legs, 1), "from")), "x/step-4");
    json_t *changed = json_object_get(json_array_get(legs, 1), "changed");
    assert_string_equal(json_string_value(json_object_get(changed, "train.threads")), "2");
    assert_string_equal(json_string_value(json_object_get(o, "config_hash")), "b2"); /* of the newest */
    json_decref(o);
}

static void test_rundir_tidy_removes_what_was_half_written(void **s)
{
    (void)s;
    static const struct {
        const char *name;
        bool stays;
    } files[] = {{"run.json", true},          {"run.json.tmp-17", false}, {"metrics.jsonl.tmp-4711", false},
                 {"notes.tmp-of-mine", true}, {"notes.tmp-", true},       {"notes.tmp-1.txt", true},
                 {"notes.tmp", true}};
    char path[1024];
    struct ddp_error err = {0};
    assert_int_equal(ddp_dir_make(cfg->run.dir, &err), 0);
    for (size_t i = 0; i < DDP_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", cfg->run.dir, files[i].name);
        assert_int_equal(ddp_file_write(path, "x", 1, &err), 0);
    }
    ddp_rundir_tidy("/nonexistent");
    ddp_rundir_tidy(cfg->run.dir);
    for (size_t i = 0; i < DDP_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", cfg->run.dir, files[i].name);
        assert_int_equal(ddp_path_exists(path), files[i].stays);
    }
}

static void test_runjson_holds_the_contract(void **s)
{
    (void)s;
    const char *command[] = {"ddp-launch", "-n", "2"}, *hosts[] = {"h"};
    struct ddp_data_id data[] = {{"digits/train", "00"}};
    struct ddp_run_info info = {.run_dir = dir,
                                .argc = 3,
                                .command = command,
                                .ranks = 2,
                                .threads = 1,
                                .shards = 8,
                                .config_hash = "c0ffee",
                                .nhosts = 1,
                                .hosts = hosts,
                                .ndata = 1,
                                .data = data,
                                .finished = true,
                                .status = "done",
                                .weights_hash = "abc",
                                .eval_accuracy = 0.5,
                                .eval_loss = NAN,
                                .eval_count = 10,
                                .steps = 7};
    struct ddp_error err = {0};
    assert_int_equal(ddp_runjson_write(cfg, &info, &err), 0);
    char path[128];
    snprintf(path, sizeof path, "%s/run.json", dir);
    json_t *o = json_load_file(path, 0, NULL);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "weights_hash")), "abc");
    json_t *eval = json_object_get(o, "eval");
    assert_true(json_real_value(json_object_get(eval, "accuracy")) == 0.5);
    assert_true(json_is_null(json_object_get(eval, "loss"))); /* JSON has no nan */
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "train"), "steps")), 7);
    assert_int_equal(json_array_size(json_object_get(o, "command")), 3);
    assert_string_equal(json_string_value(json_object_get(o, "config_hash")), "c0ffee");
    assert_null(json_object_get(o, "gpu")); /* no facts were told */
    json_t *code = json_object_get(o, "code");
    assert_non_null(json_object_get(code, "version"));
    assert_non_null(json_object_get(code, "dirty"));
    json_decref(o);
    const struct ddp_fact fact[] = {{.key = "device", .text = "cuda"},
                                    {.key = "gpu.name", .text = "A GPU"},
                                    {.key = "gpu.versions.nccl", .kind = DDP_FACT_INTEGER, .integer = 22809},
                                    {.key = "gpu.graph", .kind = DDP_FACT_BOOL, .integer = 1},
                                    {.key = "gpu.memory_mb", .kind = DDP_FACT_REAL, .real = 1.5}};
    info.eval_count = 0;
    assert_int_equal(ddp_runjson_write(cfg, &info, &err), 0);
    o = json_load_file(path, 0, NULL);
    assert_true(json_is_null(json_object_get(o, "eval"))); /* not one of loss 0 */
    json_decref(o);
    info.facts = fact;
    info.nfacts = DDP_COUNT(fact);
    info.finished = false;
    assert_int_equal(ddp_runjson_write(cfg, &info, &err), 0);
    o = json_load_file(path, 0, NULL);
    assert_null(json_object_get(o, "weights_hash"));
    json_t *g = json_object_get(o, "gpu");
    assert_string_equal(json_string_value(json_object_get(o, "device")), "cuda");
    assert_string_equal(json_string_value(json_object_get(g, "name")), "A GPU");
    assert_true(json_is_true(json_object_get(g, "graph")));
    assert_true(json_real_value(json_object_get(g, "memory_mb")) == 1.5);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(g, "versions"), "nccl")), 22809);
    json_decref(o);
}

static int count_lines(const char *path, const char *needle)
{
    char *data;
    size_t bytes;
    int n = 0;
    assert_int_equal(ddp_file_read(path, 0, &data, &bytes, NULL), 0);
    for (char *p = data; (p = strstr(p, needle)); p++)
        n++;
    free(data);
    return n;
}

static void test_metrics_of_a_resumed_run_have_each_step_once(void **s)
{
    (void)s;
    struct ddp_metrics *m;
    struct ddp_error err = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    assert_int_equal(ddp_metrics_open(dir, NULL, NULL, &m, &err), 0);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(
            ddp_metrics_step(m, &(struct ddp_step_metrics){.step = i, .loss = i / 3.0, .grad_norm = -1},
                             &err),
            0);
    struct ddp_eval_metrics last;
    assert_false(ddp_metrics_last_eval(dir, &last));
    const struct ddp_eval_metrics evals[] = {{.step = 4, .loss = 1, .count = 8},
                                             {.step = 5, .loss = INFINITY, .accuracy = 0.1, .count = 9}};
    assert_int_equal(ddp_metrics_eval(m, &evals[0], &err), 0);
    assert_int_equal(ddp_metrics_eval(m, &evals[1], &err), 0);
    ddp_metrics_close(m);
    assert_true(ddp_metrics_last_eval(dir, &last));
    assert_true(last.step == 5 && last.count == 9 && last.accuracy == 0.1 && isnan(last.loss) &&
                isnan(last.error));
    assert_int_equal(count_lines(path, "\"type\":\"step\""), 5);
    assert_int_equal(count_lines(path, "\"loss\":null"), 1);
    assert_int_equal(count_lines(path, "grad_norm"), 0);
    FILE *f = fopen(path, "a");
    fputs("{\"type\":\"step\",\"st", f); /* cut by a crash */
    fclose(f);
    assert_int_equal(ddp_metrics_open(dir, &(struct ddp_records_from){5, true}, NULL, &m, &err),
                     0); /* its evaluation is made again */
    ddp_metrics_close(m);
    assert_int_equal(count_lines(path, "\"type\":\"step\""), 5);
    assert_int_equal(count_lines(path, "\"type\":\"eval\""), 1);
    assert_true(ddp_metrics_last_eval(dir, &last) && last.step == 4 && last.loss == 1);
    assert_int_equal(ddp_metrics_open(dir, &(struct ddp_records_from){3, false}, NULL, &m, &err), 0);
    assert_int_equal(ddp_metrics_step(m, &(struct ddp_step_metrics){.step = 4, .grad_norm = 2}, &err), 0);
    ddp_metrics_close(m);
    assert_int_equal(count_lines(path, "\"type\":\"step\""), 4);
    assert_int_equal(count_lines(path, "\"step\":4"), 1);
    assert_int_equal(count_lines(path, "\"step\":5"), 0);
    assert_int_equal(count_lines(path, "\"grad_norm\":2.0"), 1);
}

/* What a power cut may leave: pages of zeros, torn lines, an empty file, none. */
static void test_records_survive_what_a_power_cut_leaves(void **s)
{
    static const char zeros[4096] = {0};
    static const struct {
        const char *before; /* NULL: zeros */
        int steps;          /* whole records behind it */
        bool missing;
    } table[] = {
        {"", 0, false}, {NULL, 0, false}, {NULL, 3, false}, {"{\"step\":1,\"pa", 0, false}, {"", 0, true}};
    (void)s;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_error err = {0};
        struct ddp_trail *t;
        struct ddp_metrics *m;
        char path[2][128];
        snprintf(path[0], sizeof path[0], "%s/weights.trail", dir);
        snprintf(path[1], sizeof path[1], "%s/metrics.jsonl", dir);
        for (int k = 0; k < 2; k++) {
            remove(path[k]);
            FILE *f = table[i].missing ? NULL : fopen(path[k], "w");
            if (f && table[i].before)
                fputs(table[i].before, f);
            else if (f)
                fwrite(zeros, 1, sizeof zeros, f);
            for (int step = 1; f && step <= table[i].steps; step++)
                fprintf(f, "%s{\"step\":%d}\n", step == 1 ? "\n" : "", step);
            if (f)
                fclose(f);
        }
        assert_int_equal(ddp_trail_open(dir, &(struct ddp_records_from){2, false}, NULL, &t, &err), 0);
        ddp_trail_close(t);
        assert_int_equal(ddp_metrics_open(dir, &(struct ddp_records_from){2, false}, NULL, &m, &err), 0);
        assert_int_equal(ddp_metrics_step(m, &(struct ddp_step_metrics){.step = 3, .grad_norm = -1}, &err),
                         0);
        ddp_metrics_close(m);
        const int kept = table[i].steps > 2 ? 2 : table[i].steps;
        char *data;
        size_t bytes;
        assert_int_equal(ddp_file_read(path[0], 0, &data, &bytes, NULL), 0);
        assert_int_equal(strncmp(data, "{\"format\":\"ddp-trail\"", 21), 0);
        assert_int_equal(strlen(data), bytes);
        free(data);
        assert_int_equal(count_lines(path[0], "\"format\""), 1);
        assert_int_equal(count_lines(path[0], "\"step\""), kept);
        assert_int_equal(count_lines(path[1], "\"step\":"), kept + 1);
    }
}

static void test_progress_line_reads_well(void **s)
{
    (void)s;
    char line[256];
    struct ddp_step_metrics m = {.step = 120,
                                 .epoch = 0,
                                 .count = 128,
                                 .loss = 0.12345,
                                 .accuracy = 0.9612,
                                 .samples_per_s = 5120,
                                 .data_wait = 0.004,
                                 .comm_wait = 0.031};
    ddp_progress_line(&m, 938, 2, NULL, 0, 0, line, sizeof line);
    assert_string_equal(
        line,
        "step 120/938  epoch 1/2  loss 0.1235  acc 96.12 %  5,120 samples/s  data 0 %  comm 3 %  ETA 0:20");
    m.samples_per_s = 20;
    ddp_progress_line(&m, 938, 2, NULL, 0, 0, line, sizeof line);
    assert_non_null(strstr(line, "ETA 1:27:15"));
    m.samples_per_s = 0;
    ddp_progress_line(&m, 938, 2, NULL, 0, 0, line, sizeof line);
    assert_non_null(strstr(line, "ETA -"));
}

static void test_progress_line_fits_the_terminal(void **s)
{
    (void)s;
    static const struct {
        int columns;
        const char *line;
    } rows[] = {
        {0,
         "step 120/938  epoch 1/2  loss 0.1235  acc 96.12 %  5,120 samples/s  data 0 %  comm 3 %  ETA 0:20"},
        {200,
         "step 120/938  epoch 1/2  loss 0.1235  acc 96.12 %  5,120 samples/s  data 0 %  comm 3 %  ETA 0:20"},
        {80, "step 120/938  epoch 1/2  loss 0.1235  acc 96.12 %  5,120 samples/s  ETA 0:20"},
        {60, "step 120/938  epoch 1/2  loss 0.1235  acc 96.12 %  ETA 0:20"},
        {40, "step 120/938  loss 0.1235  ETA 0:20"},
        {20, "step 120/938"},
        {10, "step 120/"},
        {1, ""},
    };
    const struct ddp_step_metrics m = {.step = 120,
                                       .count = 128,
                                       .loss = 0.12345,
                                       .accuracy = 0.9612,
                                       .samples_per_s = 5120,
                                       .data_wait = 0.004,
                                       .comm_wait = 0.031};
    char line[256];
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        ddp_progress_line(&m, 938, 2, NULL, 0, rows[i].columns, line, sizeof line);
        assert_string_equal(line, rows[i].line);
    }
    for (int columns = 1; columns < 200; columns++) {
        ddp_progress_line(&m, 938, 2, NULL, 0, columns, line, sizeof line);
        assert_true((int)strlen(line) < columns);
    }
}

/* Who holds the others up, while it does: the latest, and how many more there are. */
static void test_progress_line_names_slow_ranks(void **s)
{
    (void)s;
    static const struct ddp_slow_rank over = {.rank = 1, .host = "n1", .late = 0.9, .over = true},
                                      three = {.rank = 3, .host = "n7", .late = 0.0482},
                                      four = {.rank = 4, .host = "n8", .late = 0.02};
    const struct {
        struct ddp_slow_rank slow[3];
        int n, columns;
        const char *end;
    } rows[] = {
        {{over}, 1, 0, "  comm 3 %  ETA 0:20"},
        {{over, three}, 2, 0, "  comm 3 %  ETA 0:20  rank 3 on n7 48 ms late"},
        {{four, three, over}, 3, 0, "  ETA 0:20  rank 3 on n7 48 ms late (and 1 more)"},
        {{three}, 1, 60, "step 120/938  loss 0.1235  rank 3 on n7 48 ms late"},
        {{three}, 1, 40, "step 120/938  loss 0.1235"},
    };
    const struct ddp_step_metrics m = {.step = 120,
                                       .count = 128,
                                       .loss = 0.12345,
                                       .accuracy = 0.9612,
                                       .samples_per_s = 5120,
                                       .comm_wait = 0.031};
    char line[256];
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        ddp_progress_line(&m, 938, 2, rows[i].slow, rows[i].n, rows[i].columns, line, sizeof line);
        assert_true(strlen(line) >= strlen(rows[i].end));
        assert_string_equal(line + strlen(line) - strlen(rows[i].end), rows[i].end);
    }
}

static int shown_in(double seconds, double tick, double every)
{
    struct ddp_progress p = {0};
    int shown = 0;
    for (double t = 0; t < seconds; t += tick)
        shown += ddp_progress_due(&p, 1000 + t, every);
    return shown;
}

static void test_progress_comes_at_a_steady_rate(void **s)
{
    (void)s;
    setenv("DDP_TTY", "0", 1);
    assert_int_equal(shown_in(100, 0.5, 10), 10);
    assert_in_range(shown_in(10000, 0.5, 10), 999, 1001); /* it does not thin out */
    assert_in_range(shown_in(100, 0.5, 0.5), 199, 201);
    assert_int_equal(shown_in(100, 30, 10), 4); /* steps longer than that */
    setenv("DDP_TTY", "80:", 1);
    assert_in_range(shown_in(10, 0.1, 10), 17, 21); /* twice a second on a terminal */
    unsetenv("DDP_TTY");
}

static void test_columns_are_those_of_the_terminal(void **s)
{
    (void)s;
    static const struct {
        const char *tty;
        int columns;
    } rows[] = {{"0", 0},
                {"", 0},
                {"x", 0},
                {"1", 80},
                {"132:", 132},
                {"100:/nowhere/tty", 100},
                {"90:/dev/null", 90}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        setenv("DDP_TTY", rows[i].tty, 1);
        if (ddp_log_columns() != rows[i].columns)
            fail_msg("DDP_TTY=%s: %d columns", rows[i].tty, ddp_log_columns());
        assert_true(ddp_log_is_terminal() == (rows[i].columns > 0));
    }
    unsetenv("DDP_TTY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rundir_has_name_time_and_folders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rundir_latest_says_what_cannot_go_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rundir_tidy_removes_what_was_half_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_runjson_holds_the_contract, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_metrics_of_a_resumed_run_have_each_step_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_survive_what_a_power_cut_leaves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rundir_last_ms_is_behind_every_save, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_runjson_keeps_its_legs, set_up, tear_down),
        cmocka_unit_test(test_progress_line_reads_well),
        cmocka_unit_test(test_progress_line_fits_the_terminal),
        cmocka_unit_test(test_progress_line_names_slow_ranks),
        cmocka_unit_test(test_progress_comes_at_a_steady_rate),
        cmocka_unit_test(test_columns_are_those_of_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
