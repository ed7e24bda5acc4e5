/* The whole life of a run, on an engine that computes nothing: what it is asked and when, what is left
 * behind, whatever fails. */
#include "cmocka_all.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_engine.h"
#include "train/train.h"

static char dir[64];
static int runs; /* folders used so far */

struct job { /* what to run */
    bool deep;
    const char *more[6]; /* overrides */
    const char *resume, *eval_only;
    int64_t hook_ends; /* the hook ends training after this step; 0: no hook */
};

struct outcome {
    int status;
    bool agreed;
    struct ddp_result result;
    struct ddp_error err;
};

struct rank {
    const struct job *job;
    struct ddp_comm *comm;
    struct ddp_config *cfg;
    struct outcome out;
};

static bool end_after(void *user, const struct ddp_step_info *info)
{
    const struct job *job = user;
    assert_true(info->loss == 2);
    return info->step == job->hook_ends;
}

static void *run_rank(void *arg)
{
    struct rank *r = arg;
    const struct ddp_train_options opt = {
        .cfg = r->cfg,
        .comm = r->comm,
        .threads = 1,
        .resume = r->job->resume,
        .eval_only = r->job->eval_only,
        .started = ddp_now(),
        .engine = r->job->deep ? &fake_engine_deep : &fake_engine,
        .hooks = {.on_step = r->job->hook_ends ? end_after : NULL, .user = (void *)(uintptr_t)r->job},
        .agreed = &r->out.agreed};
    r->out.status = ddp_train_run(&opt, &r->out.result, &r->out.err);
    /* as a session does: alone with an error, it ends the others, who may wait for it */
    if (r->out.status && r->out.status != DDP_E_STOPPED && !r->out.agreed)
        ddp_comm_abort(r->comm, 1);
    return NULL;
}

/* Four steps of 8 samples an epoch, one batch to evaluate, in a folder of its own. */
static struct ddp_config *config(const struct job *job)
{
    char folder[128];
    snprintf(folder, sizeof folder, "run.dir=%s/%d", dir, runs);
    const char *overrides[24] = {folder,
                                 "model=linear",
                                 "data.train_count=32",
                                 "train.batch=8",
                                 "data.test_count=8",
                                 "train.epochs=1",
                                 "log.level=error",
                                 "log.progress=false",
                                 "log.every_steps=1000"};
    int n = 9;
    for (size_t i = 0; i < DDP_COUNT(job->more) && job->more[i]; i++)
        overrides[n++] = job->more[i];
    const struct ddp_config_options opt = {
        .overrides = overrides, .noverrides = n, .configs_dir = DDP_TEST_CONFIGS};
    struct ddp_config *cfg;
    struct ddp_error err = {0};
    if (ddp_config_load(&opt, &cfg, &err))
        fail_msg("%s", err.text);
    return cfg;
}

/* out: [n] */
static void run_on(int n, const struct job *job, const struct fake_script *script, struct outcome *out)
{
    struct ddp_comm *comm[FAKE_RANKS];
    struct rank rank[FAKE_RANKS];
    pthread_t thread[FAKE_RANKS];
    struct ddp_error err = {0};
    runs++;
    fake_engine_play(script);
    assert_int_equal(ddp_comm_threads_create(n, comm, &err), 0);
    for (int i = 0; i < n; i++) {
        rank[i] = (struct rank){.job = job, .comm = comm[i], .cfg = config(job)};
        pthread_create(&thread[i], NULL, run_rank, &rank[i]);
    }
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < n; i++) {
        out[i] = rank[i].out;
        ddp_comm_destroy(comm[i]);
        ddp_config_destroy(rank[i].cfg);
    }
}

static struct outcome run(const struct job *job, const struct fake_script *script)
{
    struct outcome out;
    run_on(1, job, script, &out);
    return out;
}

/* The run directory that the last run_on left; false: none. */
static bool left_behind(char path[512])
{
    char folder[128];
    bool found = false;
    snprintf(folder, sizeof folder, "%s/%d", dir, runs);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            snprintf(path, 512, "%s/%s", folder, e->d_name);
            found = true;
        }
    if (d)
        closedir(d);
    return found;
}

static json_t *run_json(void)
{
    char path[512], file[600];
    assert_true(left_behind(path));
    snprintf(file, sizeof file, "%s/run.json", path);
    json_t *o = json_load_file(file, 0, NULL);
    assert_non_null(o);
    return o;
}

static void assert_run_says(const char *status, const char *error)
{
    json_t *o = run_json();
    const char *said = json_string_value(json_object_get(o, "error"));
    assert_string_equal(json_string_value(json_object_get(o, "status")), status);
    assert_string_equal(json_string_value(json_object_get(o, "device")), "fake");
    if (error && (!said || !strstr(said, error)))
        fail_msg("run.json says '%s', not '%s'", said ? said : "nothing", error);
    json_decref(o);
}

/* ---- what an engine is asked, and when ---- */

static void test_life_asks_the_engine_for_what_is_due(void **s)
{
    (void)s;
    /* eN, cN: step N enqueued, collected; v0 V: an evaluation. On a deep engine the second step of two is
     * enqueued before the first is collected, except where a result is wanted at once. */
    static const struct {
        const char *what;
        struct job job;
        struct fake_script script;
        int status;
        int64_t steps;
        const char *calls;
    } rows[] = {
        {.what = "one step after the other", .steps = 4, .calls = "e0 c0 e1 c1 e2 c2 e3 c3 v0 V download"},
        {.what = "a step behind",
         .job.deep = true,
         .steps = 4,
         .calls = "e0 c0 e1 e2 c1 e3 c2 c3 v0 V download"},
        {.what = "a record is due",
         .job = {.deep = true, .more = {"log.every_steps=2"}},
         .steps = 4,
         .calls = "e0 c0 e1 c1 e2 e3 c2 c3 v0 V download"},
        {.what = "a checkpoint is due",
         .job = {.deep = true, .more = {"checkpoint.every_steps=2"}},
         .steps = 4,
         .calls = "e0 c0 e1 c1 download e2 e3 c2 c3 v0 V download"},
        {.what = "the trail is due",
         .job = {.deep = true, .more = {"train.trail_every=3"}},
         .steps = 4,
         .calls = "e0 c0 e1 e2 c1 c2 download e3 c3 v0 V download"},
        {.what = "the last step",
         .job = {.deep = true, .more = {"train.max_steps=3"}},
         .steps = 3,
         .calls = "e0 c0 e1 e2 c1 c2 v0 V download"},
        {.what = "a hook looks at every step, and ends the run",
         .job = {.deep = true, .hook_ends = 3},
         .steps = 3,
         .calls = "e0 c0 e1 c1 e2 c2 v0 V download"},
        {.what = "a request to stop leaves no time to evaluate",
         .script.stop_after = 2,
         .status = DDP_E_STOPPED,
         .steps = 2,
         .calls = "e0 c0 e1 c1 download"},
        {.what = "what is on its way at a stop is part of the run",
         .job.deep = true,
         .script.stop_after = 2,
         .status = DDP_E_STOPPED,
         .steps = 3,
         .calls = "e0 c0 e1 e2 c1 c2 download"},
        {.what = "evaluation every other epoch",
         .job.more = {"train.epochs=2", "eval.every_epochs=2", "checkpoint.every_epochs=0"},
         .steps = 8,
         .calls = "e0 c0 e1 c1 e2 c2 e3 c3 e4 c4 e5 c5 e6 c6 e7 c7 v0 V download"},
        {.what = "the best is saved",
         .job.more = {"train.epochs=3", "train.batch=32", "checkpoint.every_epochs=0"},
         .script.eval_loss = {2, 3, 1},
         .steps = 3,
         .calls = "e0 c0 v0 V download e1 c1 v0 V e2 c2 v0 V download"},
        {.what = "early stop",
         .job.more = {"train.epochs=9", "train.batch=32", "checkpoint.every_epochs=0", "train.early_stop=2"},
         .script.eval_loss = {2, 1, 3, 1},
         .steps = 4,
         .calls = "e0 c0 v0 V download e1 c1 v0 V download e2 c2 v0 V e3 c3 v0 V download"},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        char calls[4096];
        snprintf(calls, sizeof calls, "memory init upload %s finish", rows[i].calls);
        const struct outcome out = run(&rows[i].job, &rows[i].script);
        if (out.status != rows[i].status)
            fail_msg("%s: %d: %s", rows[i].what, out.status, out.err.text);
        if (strcmp(fake_engine_calls(0), calls) != 0)
            fail_msg("%s: the engine was asked\n  %s, not\n  %s", rows[i].what, fake_engine_calls(0), calls);
        assert_int_equal(out.result.steps, rows[i].steps);
        assert_true(out.agreed);
        assert_run_says(rows[i].status ? "stopped" : "done", NULL);
    }
}

static void test_life_is_the_same_on_every_rank(void **s)
{
    (void)s;
    const struct job job = {.deep = true, .more = {"log.every_steps=2"}};
    const struct fake_script script = {0};
    struct outcome out[3];
    run_on(3, &job, &script, out);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(out[i].status, 0);
        assert_int_equal(out[i].result.steps, 4);
        assert_int_equal(out[i].result.eval_count, 8);
        assert_true(out[i].result.eval_loss == 1);
        /* rank 0 alone counts memory, for all */
        assert_string_equal(fake_engine_calls(i) + (i == 0 ? strlen("memory ") : 0), fake_engine_calls(1));
    }
}

/* ---- resuming ---- */

static void test_life_resumed_is_the_life_not_interrupted(void **s)
{
    (void)s;
    static const struct job whole = {.deep = true, .more = {"train.epochs=2"}};
    static const struct fake_script none = {0}, stop = {.stop_after = 2};
    const struct outcome straight = run(&whole, &none);
    assert_int_equal(straight.status, 0);

    const struct outcome first = run(&whole, &stop);
    assert_int_equal(first.status, DDP_E_STOPPED);
    assert_string_not_equal(first.result.weights_hash, straight.result.weights_hash);
    struct job rest = whole;
    rest.resume = first.result.run_dir;
    const struct outcome last = run(&rest, &none);
    assert_int_equal(last.status, 0);
    assert_string_equal(
        fake_engine_calls(0),
        "memory init upload e3 c3 v0 V download e4 e5 c4 e6 c5 e7 c6 c7 v0 V download finish");
    assert_string_equal(last.result.run_dir, first.result.run_dir);
    assert_string_equal(last.result.weights_hash, straight.result.weights_hash);

    /* a run that was over: evaluated for the report, nothing trained */
    const struct outcome over = run(&rest, &none);
    assert_int_equal(over.status, 0);
    assert_string_equal(fake_engine_calls(0), "memory init upload v0 V finish");
    assert_string_equal(over.result.weights_hash, straight.result.weights_hash);
}

static void test_life_resumed_makes_up_for_an_evaluation(void **s)
{
    (void)s;
    static const struct job whole = {.more = {"train.epochs=2"}};
    static const struct fake_script none = {0}, stop = {.stop_after = 4};
    const struct outcome first = run(&whole, &stop);
    assert_int_equal(first.status, DDP_E_STOPPED);
    assert_string_equal(fake_engine_calls(0), "memory init upload e0 c0 e1 c1 e2 c2 e3 c3 download finish");
    struct job rest = whole;
    rest.resume = first.result.run_dir;
    assert_int_equal(run(&rest, &none).status, 0);
    assert_string_equal(fake_engine_calls(0),
                        "memory init upload v0 V download e4 c4 e5 c5 e6 c6 e7 c7 v0 V download finish");
}

/* What metrics.jsonl holds of a run, without times; free it. */
static char *records(const char *run_dir)
{
    static const char *const timed[] = {"time",     "seconds",   "samples_per_s", "images_per_s",
                                        "step_s",   "data_wait", "comm_wait",     "forward",
                                        "backward", "optimizer", "reduce"};
    char path[1200];
    struct ddp_text t;
    snprintf(path, sizeof path, "%s/metrics.jsonl", run_dir);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    ddp_text_init(&t);
    for (json_t *o; (o = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL));) {
        for (size_t i = 0; i < DDP_COUNT(timed); i++)
            json_object_del(o, timed[i]);
        char *line = json_dumps(o, JSON_SORT_KEYS);
        ddp_text_add(&t, "%s\n", line);
        free(line);
        json_decref(o);
    }
    fclose(f);
    return t.s;
}

/* A stop breaks an evaluation off after a batch; what went before is saved, and in the end there are the same
 * records and weights as without it. */
static void test_life_breaks_off_an_evaluation(void **s)
{
    (void)s;
    static const struct {
        const char *what;
        struct job job;
        struct fake_script script;
        int64_t steps;
        const char *calls, *resumed; /* of a rank alone */
    } rows[] = {
        {.what = "between two epochs",
         .job.more = {"train.epochs=2", "data.test_count=32"},
         .script.stop_batch = 2,
         .steps = 4,
         .calls = "e0 c0 e1 c1 e2 c2 e3 c3 v0 v1 download",
         .resumed = "v0 v1 v2 v3 V download e4 c4 e5 c5 e6 c6 e7 c7 v0 v1 v2 v3 V download"},
        {.what = "in its first batch",
         .job = {.deep = true, .more = {"train.epochs=2", "data.test_count=32"}},
         .script.stop_batch = 1,
         .steps = 4,
         .calls = "e0 c0 e1 e2 c1 e3 c2 c3 v0 download",
         .resumed = "v0 v1 v2 v3 V download e4 c4 e5 e6 c5 e7 c6 c7 v0 v1 v2 v3 V download"},
        {.what = "in its last batch: it is over",
         .job.more = {"data.test_count=32"},
         .script.stop_batch = 4,
         .calls = "e0 c0 e1 c1 e2 c2 e3 c3 v0 v1 v2 v3 V download"},
        {.what = "at the end",
         .job.more = {"data.test_count=32"},
         .script.stop_batch = 3,
         .steps = 4,
         .calls = "e0 c0 e1 c1 e2 c2 e3 c3 v0 v1 v2 download",
         .resumed = "v0 v1 v2 v3 V download"},
        {.what = "at an end that is no epoch's",
         .job.more = {"data.test_count=32", "train.max_steps=3"},
         .script.stop_batch = 2,
         .steps = 3,
         .calls = "e0 c0 e1 c1 e2 c2 v0 v1 download",
         .resumed = "v0 v1 v2 v3 V download"},
        {.what = "at such an end, before the evaluation",
         .job.more = {"data.test_count=32", "train.max_steps=3"},
         .script.stop_after = 3,
         .steps = 3,
         .calls = "e0 c0 e1 c1 e2 c2 download",
         .resumed = "v0 v1 v2 v3 V download"},
        {.what = "at an epoch's end, before the evaluation",
         .job.more = {"train.epochs=2", "data.test_count=32"},
         .script.stop_after = 4,
         .steps = 4,
         .calls = "e0 c0 e1 c1 e2 c2 e3 c3 download",
         .resumed = "v0 v1 v2 v3 V download e4 c4 e5 c5 e6 c6 e7 c7 v0 v1 v2 v3 V download"},
    };
    static const struct fake_script none = {0};
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        char calls[4096];
        const struct outcome straight = run(&rows[i].job, &none);
        assert_int_equal(straight.status, 0);
        const struct outcome first = run(&rows[i].job, &rows[i].script);
        snprintf(calls, sizeof calls, "memory init upload %s finish", rows[i].calls);
        if (strcmp(fake_engine_calls(0), calls) != 0)
            fail_msg("%s: the engine was asked\n  %s, not\n  %s", rows[i].what, fake_engine_calls(0), calls);
        assert_int_equal(first.status, rows[i].resumed ? DDP_E_STOPPED : 0);
        if (!rows[i].resumed)
            continue;
        assert_int_equal(first.result.steps, rows[i].steps);
        assert_run_says("stopped", NULL);
        struct job rest = rows[i].job;
        rest.resume = first.result.run_dir;
        const struct outcome last = run(&rest, &none);
        assert_int_equal(last.status, 0);
        snprintf(calls, sizeof calls, "memory init upload %s finish", rows[i].resumed);
        if (strcmp(fake_engine_calls(0), calls) != 0)
            fail_msg("%s: resumed, the engine was asked\n  %s, not\n  %s", rows[i].what, fake_engine_calls(0),
                     calls);
        assert_string_equal(last.result.run_dir, first.result.run_dir);
        assert_string_equal(last.result.weights_hash, straight.result.weights_hash);
        char *got = records(last.result.run_dir), *want = records(straight.result.run_dir);
        if (strcmp(got, want) != 0)
            fail_msg("%s: records are\n%snot\n%s", rows[i].what, got, want);
        free(got);
        free(want);
        /* nothing is owed any more */
        assert_int_equal(run(&rest, &none).status, 0);
        assert_string_equal(fake_engine_calls(0), "memory init upload v0 v1 v2 v3 V finish");
    }
}

/* More steps than those after which it was stopped: the evaluation of that end is no longer due. */
static void test_life_forgets_an_end_that_is_none(void **s)
{
    (void)s;
    static const struct job to_three = {.more = {"train.max_steps=3"}},
                            whole = {.more = {"train.max_steps=0"}};
    static const struct fake_script none = {0}, stop = {.stop_after = 3};
    const struct outcome first = run(&to_three, &stop);
    assert_int_equal(first.status, DDP_E_STOPPED);
    struct job rest = whole;
    rest.resume = first.result.run_dir;
    assert_int_equal(run(&rest, &none).status, 0);
    assert_string_equal(fake_engine_calls(0), "memory init upload e3 c3 v0 V download finish");
}

/* One rank is asked, in the middle of an evaluation: all leave it, wherever they are. */
static void test_life_breaks_off_on_all_ranks(void **s)
{
    (void)s;
    static const struct job job = {.more = {"train.epochs=2", "data.test_count=512"}};
    for (int who = 0; who < 3; who++)
        for (int batch = 1; batch < 64; batch += 20) {
            const struct fake_script script = {.stop_batch = batch, .stop_rank = who};
            struct outcome out[3];
            run_on(3, &job, &script, out);
            for (int r = 0; r < 3; r++) {
                assert_int_equal(out[r].status, DDP_E_STOPPED);
                assert_int_equal(out[r].result.steps, 4);
                assert_true(out[r].agreed);
                assert_non_null(strstr(fake_engine_calls(r), " download finish"));
            }
            assert_null(strstr(fake_engine_calls(who), "V")); /* others may have been through */
            assert_run_says("stopped", NULL);
        }
}

static void test_life_breaks_off_what_saves_nothing(void **s)
{
    (void)s;
    static const struct job job = {.more = {"data.test_count=32"}};
    static const struct fake_script none = {0}, stop = {.stop_batch = 2};
    const struct outcome trained = run(&job, &none);
    char path[512];
    for (int again = 0; again < 2; again++) { /* only to evaluate; a finished run once more */
        struct job eval = job;
        eval.eval_only = again ? NULL : trained.result.run_dir;
        eval.resume = again ? trained.result.run_dir : NULL;
        const struct outcome out = run(&eval, &stop);
        assert_int_equal(out.status, DDP_E_STOPPED);
        assert_true(out.agreed);
        assert_string_equal(fake_engine_calls(0), "memory init upload v0 v1 finish");
        assert_string_equal(out.result.weights_hash, again ? trained.result.weights_hash : "");
        assert_false(left_behind(path));
    }
}

static void test_life_of_an_evaluation_leaves_no_run(void **s)
{
    (void)s;
    static const struct job job = {0};
    static const struct fake_script none = {0}, other = {.eval_loss = {3}};
    const struct outcome trained = run(&job, &none);
    struct job eval = job;
    char path[512];
    eval.eval_only = trained.result.run_dir;
    const struct outcome out = run(&eval, &other);
    assert_int_equal(out.status, 0);
    assert_true(out.result.eval_loss == 3);
    assert_string_equal(out.result.weights_hash, trained.result.weights_hash);
    assert_string_equal(fake_engine_calls(0), "memory init upload v0 V finish");
    assert_false(left_behind(path));
}

static void test_life_records_steps_and_the_epochs_means(void **s)
{
    (void)s;
    static const struct job job = {.deep = true, .more = {"log.every_steps=2"}};
    static const struct fake_script script = {.eval_loss = {3}};
    const struct outcome out = run(&job, &script);
    static const char *const lines[] = {"\"step\":2,", "\"step\":4,", "\"train_loss\":2.0", "\"loss\":3.0"};
    char path[1200], *text;
    size_t bytes;
    snprintf(path, sizeof path, "%s/metrics.jsonl", out.result.run_dir);
    assert_int_equal(ddp_file_read(path, 0, &text, &bytes, NULL), 0);
    for (size_t i = 0; i < DDP_COUNT(lines); i++)
        if (!strstr(text, lines[i]))
            fail_msg("no %s in %s", lines[i], text);
    assert_null(strstr(text, "\"step\":3,"));
    free(text);
}

static void test_life_keeps_the_engines_file_and_identity(void **s)
{
    (void)s;
    static const struct job job = {0};
    static const struct fake_script none = {0};
    const struct outcome out = run(&job, &none);
    static const char *const places[] = {"fake.txt", "checkpoints/step-00000004/fake.txt"};
    for (size_t i = 0; i < DDP_COUNT(places); i++) {
        char path[1200], *text;
        size_t bytes;
        snprintf(path, sizeof path, "%s/%s", out.result.run_dir, places[i]);
        assert_int_equal(ddp_file_read(path, 0, &text, &bytes, NULL), 0);
        assert_string_equal(text, "of a fake engine\n");
        free(text);
    }
    /* the experiment is config and engine: another one than the config's alone */
    char hex[65];
    struct ddp_config *cfg = config(&job);
    json_t *o = run_json();
    ddp_config_hash(cfg, hex);
    assert_string_not_equal(json_string_value(json_object_get(o, "config_hash")), hex);
    json_decref(o);
    ddp_config_destroy(cfg);
}

/* ---- failures ---- */

static void test_life_ends_with_the_error_of_any_call(void **s)
{
    (void)s;
    static const struct {
        const char *call;
        int at;
        bool opened; /* the run directory is there by then */
    } rows[] = {{"init", 1, false},    {"upload", 1, false},  {"enqueue", 1, true}, {"enqueue", 3, true},
                {"collect", 1, true},  {"collect", 4, true},  {"eval", 1, true},    {"eval_end", 1, true},
                {"eval_end", 2, true}, {"download", 1, true}, {"download", 2, true}};
    for (size_t i = 0; i < DDP_COUNT(rows); i++)
        for (int deep = 0; deep < 2; deep++)
            for (int ranks = 1; ranks <= 3; ranks += 2)
                for (int who = 0; who < ranks; who += 2) {
                    const struct job job = {.deep = deep, .more = {"train.epochs=2"}};
                    const struct fake_script script = {
                        .fail = rows[i].call, .fail_at = rows[i].at, .fail_rank = who};
                    struct outcome out[FAKE_RANKS];
                    char path[512], text[64];
                    snprintf(text, sizeof text, "fake engine: %s failed", rows[i].call);
                    run_on(ranks, &job, &script, out);
                    for (int r = 0; r < ranks; r++)
                        if (out[r].status == 0)
                            fail_msg("%s %d on rank %d of %d: rank %d says that all is well", rows[i].call,
                                     rows[i].at, who, ranks, r);
                    assert_int_equal(out[who].status, DDP_E_DEVICE);
                    assert_string_equal(out[who].err.text, text);
                    const char *calls = fake_engine_calls(who);
                    assert_string_equal(calls + strlen(calls) - strlen("abort"), "abort");
                    if (!rows[i].opened)
                        assert_false(left_behind(path));
                    else
                        assert_run_says("failed", who == 0 ? text : NULL);
                }
}

static void test_life_ends_with_a_loss_that_is_not_finite(void **s)
{
    (void)s;
    static const struct {
        struct fake_script script;
        const char *text;
    } rows[] = {
        {{.nan_step = 3},
         "step 3: the loss of shard 0 (rank 0) is nan; first bad tensor: tensor of step 2, shard 0, 8 "
         "samples. "
         "Checkpoints are from before this step; try a lower optim.lr"},
        {{.nan_step = 2, .nan_sum = true},
         "step 2: the loss of every shard is finite, their sum overflowed; try a lower optim.lr"},
        {{.refuse_step = 3, .refuse_block = 1},
         "step 3: the loss is finite, but sums over the batch are not; first bad tensor: gradient of "
         "parameter "
         "'fc.weight'. Nothing was updated with it. Checkpoints are from before this step; try a lower"},
        {{.nan_eval = 1},
         "evaluation after step 4: the loss of shard 0 (rank 0) is nan; first bad tensor: tensor of state 4, "
         "shard "
         "0, 8 samples. This state is not saved; try a lower optim.lr"},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++)
        for (int deep = 0; deep < 2; deep++) {
            const struct job job = {.deep = deep};
            struct outcome out[2];
            run_on(2, &job, &rows[i].script, out);
            for (int r = 0; r < 2; r++) { /* all leave together, and say the same */
                assert_int_equal(out[r].status, DDP_E_NUMERIC);
                assert_true(out[r].agreed);
                if (!strstr(out[r].err.text, rows[i].text))
                    fail_msg("rank %d says '%s', not '%s'", r, out[r].err.text, rows[i].text);
            }
            assert_null(strstr(fake_engine_calls(0), "download")); /* nothing of it is saved */
            assert_run_says("failed", rows[i].text);
        }
}

/* ---- a signal: it sticks to the process, so in one of its own ---- */

static void test_life_stops_by_a_signal(void **s)
{
    (void)s;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static const struct job job = {0};
        static const struct fake_script script = {.signal_in = 2};
        ddp_lifeline_join();
        const struct outcome out = run(&job, &script);
        _exit(out.status == DDP_E_STOPPED && out.result.steps == 2 && strstr(out.err.text, "--resume") ? 0
                                                                                                       : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    runs++;
    assert_run_says("stopped", NULL);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/ddp-test-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    unsetenv("DDP_LIFELINE");
    ddp_log_terminal(DDP_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_asks_the_engine_for_what_is_due),
        cmocka_unit_test(test_life_is_the_same_on_every_rank),
        cmocka_unit_test(test_life_resumed_is_the_life_not_interrupted),
        cmocka_unit_test(test_life_resumed_makes_up_for_an_evaluation),
        cmocka_unit_test(test_life_breaks_off_an_evaluation),
        cmocka_unit_test(test_life_forgets_an_end_that_is_none),
        cmocka_unit_test(test_life_breaks_off_on_all_ranks),
        cmocka_unit_test(test_life_breaks_off_what_saves_nothing),
        cmocka_unit_test(test_life_of_an_evaluation_leaves_no_run),
        cmocka_unit_test(test_life_records_steps_and_the_epochs_means),
        cmocka_unit_test(test_life_keeps_the_engines_file_and_identity),
        cmocka_unit_test(test_life_ends_with_the_error_of_any_call),
        cmocka_unit_test(test_life_ends_with_a_loss_that_is_not_finite),
        cmocka_unit_test(test_life_stops_by_a_signal),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ddp_dir_remove(dir, NULL);
    return failed;
}
