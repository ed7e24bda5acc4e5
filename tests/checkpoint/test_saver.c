/* Saving: what is kept, same step twice, background, faults at every write, kills at any moment. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/private.h"
#include "toy_model.h"

struct rig {
    struct toy toy;
    struct ddp_snapshot *snap;
    struct ddp_saver *saver;
};

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

static void rig_init(struct rig *r, int keep, bool background)
{
    struct ddp_error err = {0};
    toy_init(&r->toy, 10, DDP_OPTIM_SGD, 1);
    assert_int_equal(ddp_snapshot_create(&r->toy.model, r->toy.optim, &r->snap, &err), 0);
    assert_int_equal(ddp_saver_create(scratch("c"), keep, background, &r->saver, &err), 0);
}

static void rig_finish(struct rig *r)
{
    ddp_saver_destroy(r->saver);
    ddp_snapshot_destroy(r->snap);
    toy_finish(&r->toy);
}

/* Save step `step`, whose parameters are a function of `content`. */
static int rig_save(struct rig *r, int64_t step, uint32_t content, bool best, struct ddp_error *err)
{
    assert_int_equal(ddp_saver_wait(r->saver, err), 0);
    toy_fill(&r->toy, content);
    r->toy.state.step = step;
    r->toy.state.evaluations = content;
    ddp_snapshot_take(r->snap, r->toy.params, &r->toy.state);
    return ddp_saver_save(r->saver, r->snap, best, err);
}

static void must_save(struct rig *r, int64_t step, uint32_t content, bool best)
{
    struct ddp_error err = {0};
    if (rig_save(r, step, content, best, &err) != 0 || ddp_saver_wait(r->saver, &err) != 0)
        fail_msg("%s", err.text);
}

/* What lies in the folder, newest first: "30 20 10", leftovers with their mark. */
static void expect_list(const char *want)
{
    struct ddp_folder *list;
    int n;
    struct ddp_error err = {0};
    struct ddp_text t;
    ddp_text_init(&t);
    assert_int_equal(ddp_folder_list(scratch("c"), &list, &n, &err), 0);
    for (int i = 0; i < n; i++)
        ddp_text_add(&t, "%s%lld%s", i ? " " : "", (long long)list[i].step,
                     list[i].kind == DDP_FOLDER_STEP  ? ""
                     : list[i].kind == DDP_FOLDER_OLD ? ".old"
                                                      : ".tmp");
    assert_string_equal(t.s, want);
    ddp_text_finish(&t);
    free(list);
}

/* The newest is whole and its parameters are those of the content that its state names. Returns the step. */
static int64_t check_newest(uint32_t *content)
{
    char path[512], want[65], got[65];
    struct ddp_error err = {0};
    struct toy t;
    if (ddp_checkpoint_find(scratch("c"), path, sizeof path, &err) != 0)
        fail_msg("%s", err.text);
    toy_init(&t, 10, DDP_OPTIM_SGD, 99);
    if (ddp_checkpoint_load(path, &t.model, t.params, t.optim, &t.state, &err) != 0)
        fail_msg("%s", err.text);
    toy_hash(&t, got);
    toy_fill(&t, (uint32_t)t.state.evaluations);
    toy_hash(&t, want);
    assert_string_equal(got, want);
    *content = (uint32_t)t.state.evaluations;
    int64_t step = t.state.step;
    toy_finish(&t);
    return step;
}

static void test_saver_keeps_the_last_and_the_best(void **state)
{
    (void)state;
    for (int background = 0; background < 2; background++) {
        struct rig r;
        rig_init(&r, 2, background);
        must_save(&r, 10, 1, false);
        must_save(&r, 20, 2, true);
        expect_list("20 10");
        must_save(&r, 30, 3, false);
        expect_list("30 20");
        must_save(&r, 40, 4, false);
        must_save(&r, 50, 5, false);
        expect_list("50 40 20");
        must_save(&r, 60, 6, true);
        expect_list("60 50");
        must_save(&r, 70, 7, false);
        must_save(&r, 80, 8, false);
        expect_list("80 70 60");
        rig_finish(&r);
        /* another process goes on: it knows the best from the files */
        rig_init(&r, 1, background);
        must_save(&r, 90, 9, false);
        expect_list("90 60");
        rig_finish(&r);
        struct ddp_error err = {0};
        assert_int_equal(ddp_dir_remove(scratch("c"), &err), 0);
    }
}

static void test_saver_keeps_all_with_zero(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 0, false);
    for (int i = 1; i < 6; i++)
        must_save(&r, i, 1, false);
    expect_list("5 4 3 2 1");
    rig_finish(&r);
    struct ddp_saver *s = NULL;
    struct ddp_error err = {0};
    assert_int_equal(ddp_saver_create(scratch("c"), -1, false, &s, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "checkpoint.keep"));
    assert_null(s);
}

/* A run that went back to step 10 and saves again: what lies in its future is not counted, nor removed. */
static void test_saver_leaves_later_steps_alone(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 1, false);
    must_save(&r, 100, 1, false);
    must_save(&r, 10, 2, false);
    must_save(&r, 20, 3, false);
    expect_list("100 20");
    must_save(&r, 100, 4, false);
    expect_list("100");
    uint32_t content;
    assert_int_equal(check_newest(&content), 100);
    assert_int_equal(content, 4);
    rig_finish(&r);
}

static void test_saver_replaces_the_same_step(void **state)
{
    (void)state;
    struct rig r;
    uint32_t content;
    rig_init(&r, 3, true);
    must_save(&r, 10, 1, false);
    must_save(&r, 10, 2, true);
    expect_list("10");
    assert_int_equal(check_newest(&content), 10);
    assert_int_equal(content, 2);
    rig_finish(&r);
    rig_init(&r, 1, true); /* that it is the best was in the second */
    must_save(&r, 20, 3, false);
    expect_list("20 10");
    rig_finish(&r);
}

static void test_saver_settles_the_run_first(void **state)
{
    (void)state;
    struct rig r;
    struct ddp_error err = {0};
    struct ddp_later *later = ddp_later_create();
    rig_init(&r, 1, true);
    assert_int_equal(ddp_later_file(later, scratch("config.cfg"), "x", 1, &err), 0);
    ddp_saver_settle_first(r.saver, later);
    ddp_fileio_fault(1, EIO, "config.cfg");
    int status = rig_save(&r, 10, 1, false, &err);
    assert_int_equal(status ? status : ddp_saver_wait(r.saver, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, "the run directory before its checkpoint"));
    expect_list("");
    ddp_fileio_fault(0, 0, NULL);
    must_save(&r, 20, 1, false);
    expect_list("20");
    ddp_fileio_fault(1, EIO, "config.cfg"); /* once and no more */
    assert_int_equal(ddp_later_settle(later, &err), 0);
    ddp_fileio_fault(0, 0, NULL);
    rig_finish(&r);
    ddp_later_destroy(later);
}

static void test_saver_finishes_with_nothing_left(void **state)
{
    (void)state;
    struct rig r;
    struct ddp_error err = {0};
    rig_init(&r, 1, true);
    must_save(&r, 10, 1, false);
    assert_int_equal(ddp_dir_make(scratch("c/step-00000005.tmp-1/x"), &err), 0); /* could not be removed */
    expect_list("10 5.tmp");
    assert_int_equal(ddp_saver_finish(r.saver, &err), 0);
    expect_list("10");
    ddp_fileio_fault(1, EIO, NULL);
    assert_int_equal(ddp_saver_finish(r.saver, &err), DDP_E_IO);
    ddp_fileio_fault(0, 0, NULL);
    rig_finish(&r);
}

static void test_saver_cleans_up_after_a_killed_one(void **state)
{
    (void)state;
    struct rig r;
    uint32_t content;
    struct ddp_error err = {0};
    rig_init(&r, 3, false);
    must_save(&r, 10, 1, false);
    must_save(&r, 20, 2, false);
    rig_finish(&r);
    /* killed while it wrote 30, and between the two renames of a second 20 */
    assert_int_equal(ddp_dir_make(scratch("c/step-00000030.tmp-4711"), &err), 0);
    scratch_write(scratch("c/step-00000030.tmp-4711/model.safetensors"), "x", 1);
    assert_int_equal(rename(scratch("c/step-00000020"), scratch("c/step-00000020.old-4711")), 0);
    /* and after the second of a second 10 */
    assert_int_equal(ddp_dir_make(scratch("c/step-00000010.old-4711"), &err), 0);
    assert_int_equal(ddp_dir_make(scratch("c/keep-me"), &err), 0);
    expect_list("30.tmp 20.old 10 10.old");
    assert_int_equal(check_newest(&content), 20);
    rig_init(&r, 3, false);
    expect_list("20 10");
    assert_int_equal(check_newest(&content), 20);
    assert_int_equal(content, 2);
    assert_true(ddp_path_exists(scratch("c/keep-me")));
    rig_finish(&r);
}

static void test_saver_reports_background_errors_once(void **state)
{
    (void)state;
    struct rig r;
    struct ddp_error err = {0};
    rig_init(&r, 3, true);
    must_save(&r, 10, 1, false);
    ddp_fileio_fault(1, ENOSPC, scratch("c"));
    assert_int_equal(rig_save(&r, 20, 2, false, &err), 0); /* not known yet */
    int status = ddp_saver_save(r.saver, r.snap, false, &err);
    ddp_fileio_fault(0, 0, NULL);
    assert_int_equal(status, DDP_E_IO);
    assert_non_null(strstr(err.text, "step 20 could not be saved"));
    assert_non_null(strstr(err.text, "disk is full"));
    expect_list("10"); /* the second call did nothing but report */
    assert_int_equal(ddp_saver_wait(r.saver, &err), 0);
    must_save(&r, 20, 2, false);
    expect_list("20 10");
    /* destroy waits */
    assert_int_equal(rig_save(&r, 30, 3, false, &err), 0);
    rig_finish(&r);
    expect_list("30 20 10");
}

/* A checkpoint whose records cannot be brought to disk first does not appear. */
static void test_saver_syncs_the_records_first(void **state)
{
    (void)state;
    struct rig r;
    struct ddp_error err = {0};
    rig_init(&r, 3, false);
    ddp_saver_sync_first(r.saver, -1);
    must_save(&r, 10, 1, false);
    int fd = open(scratch("c"), O_PATH | O_DIRECTORY | O_CLOEXEC); /* what cannot be synced */
    ddp_saver_sync_first(r.saver, fd);
    assert_int_equal(rig_save(&r, 20, 2, false, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, "the records before the checkpoint"));
    expect_list("10");
    close(fd);
    rig_finish(&r);
}

/* What is not finite takes nobody's place. */
static void test_saver_refuses_what_is_not_finite(void **state)
{
    (void)state;
    static const struct {
        int tensor;
        float value;
        const char *text;
    } cases[] = {
        {0, NAN, "not saved after step 20: 'conv1.weight' holds nan (1 of 540 elements are not finite)"},
        {6, INFINITY, "running_var' holds inf (1 of 20 elements"},
        {5, -INFINITY, "running_mean' holds -inf (1 of 20 elements"}};
    for (size_t k = 0; k < DDP_COUNT(cases); k++)
        for (int background = 0; background < 2; background++) {
            struct rig r;
            struct ddp_error err = {0};
            scratch_remove();
            scratch_make();
            rig_init(&r, 1, background);
            must_save(&r, 10, 10, false);
            toy_fill(&r.toy, 20);
            r.toy.params[r.toy.model.tensor[cases[k].tensor].offset] = cases[k].value;
            r.toy.state.step = 20;
            ddp_snapshot_take(r.snap, r.toy.params, &r.toy.state);
            int status = ddp_saver_save(r.saver, r.snap, false, &err);
            if (status == 0)
                status = ddp_saver_wait(r.saver, &err);
            assert_int_equal(status, DDP_E_NUMERIC);
            if (!strstr(err.text, cases[k].text))
                fail_msg("%s", err.text);
            assert_int_equal(ddp_snapshot_write_model(r.snap, scratch("w"), &err), DDP_E_NUMERIC);
            assert_false(ddp_path_exists(scratch("w")));
            expect_list("10");
            rig_finish(&r);
        }
}

/* A checkpoint of an earlier version, whole but not finite. */
static void test_resume_skips_what_is_not_finite(void **state)
{
    (void)state;
    struct rig r;
    struct ddp_error err = {0};
    char *text, path[4096];
    size_t bytes;
    const float bad = NAN;
    rig_init(&r, 0, false);
    must_save(&r, 10, 10, false);
    must_save(&r, 20, 20, false);
    rig_finish(&r);
    struct ddp_state_file s;
    const char *model = "c/step-00000020/model.safetensors";
    assert_int_equal(ddp_folder_state(scratch("c/step-00000020"), &s, &err), 0);
    assert_int_equal(ddp_file_read(scratch(model), 1 << 20, &text, &bytes, &err), 0);
    memcpy(text + bytes - 4, &bad, 4);
    scratch_write(scratch(model), text, bytes);
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, text, bytes);
    ddp_sha256_hex(&h, s.model_sha256);
    free(text);
    text = ddp_state_text(&s);
    scratch_write(scratch("c/step-00000020/state.json"), text, strlen(text));
    free(text);
    assert_int_equal(ddp_checkpoint_find(scratch("c/step-00000020"), path, sizeof path, &err), DDP_E_NUMERIC);
    assert_non_null(strstr(err.text, "of no use: '"));
    assert_non_null(strstr(err.text, "holds nan"));
    assert_int_equal(ddp_checkpoint_find(scratch("c"), path, sizeof path, &err), 0);
    assert_non_null(strstr(path, "step-00000010"));
}

static void test_saver_create_reports_a_bad_folder(void **state)
{
    (void)state;
    struct ddp_saver *s = NULL;
    struct ddp_error err = {0};
    scratch_write(scratch("file"), "x", 1);
    assert_int_equal(ddp_saver_create(scratch("file/c"), 1, false, &s, &err), DDP_E_IO);
    assert_non_null(strstr(err.text, "file"));
    assert_null(s);
    ddp_saver_destroy(s);
}

/* Between the look whether it is still there and the save, somebody takes the folder away. */
static void test_saver_never_makes_a_folder_anew(void **state)
{
    (void)state;
    struct rig r;
    struct ddp_error err = {0};
    rig_init(&r, 1, true);
    assert_int_equal(rename(scratch("c"), scratch("aside")), 0);
    rig_save(&r, 10, 1, false, &err);
    assert_int_equal(ddp_saver_wait(r.saver, &err), DDP_E_IO);
    assert_false(ddp_path_exists(scratch("c")));
    assert_int_equal(rename(scratch("aside"), scratch("c")), 0);
    must_save(&r, 20, 2, false);
    rig_finish(&r);
}

/* Where step 10 is moved while a new one takes its name. */
static char *scratch_old(void)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/step-00000010.old-%d", scratch("c"), (int)getpid());
    return path;
}

/* The nth write-side call and all after it fail, for every n: the error says what and why, the checkpoint
 * from before is whole, nothing else lies about, and the next save works. replace: it is the same step that
 * is saved. */
static void faults(int error, const char *phrase, bool replace)
{
    struct rig r;
    uint32_t content, next = 2;
    int failures = 0;
    bool renamed_seen = false;
    rig_init(&r, 2, false);
    must_save(&r, 10, 1, false);
    for (long n = 1;; n++) {
        struct ddp_error err = {0};
        uint32_t before;
        check_newest(&before);
        int64_t step = replace ? 10 : 20;
        ddp_fileio_fault(n, error, scratch("c"));
        int status = rig_save(&r, step, next++, false, &err);
        const long calls = ddp_fileio_fault(0, 0, NULL);
        if (status == 0 && calls < n)
            break;
        if (status == 0) { /* saved, but something old could not be tidied away: that is not worth an error */
            check_newest(&content);
            assert_int_equal(content, next - 1);
            continue;
        }
        failures++;
        assert_int_equal(status, DDP_E_IO);
        if (!strstr(err.text, scratch("c")) || !strstr(err.text, phrase) ||
            !strstr(err.text, "could not be saved"))
            fail_msg("call %ld: %s", n, err.text);
        int64_t found = check_newest(&content);
        if (replace) {
            /* only the sync behind the last rename failed: the new one may not be on disk, so the old one
             * stays */
            bool renamed = ddp_path_exists(scratch_old());
            expect_list(renamed ? "10 10.old" : "10");
            assert_int_equal(content, renamed ? next - 1 : before);
            renamed_seen |= renamed;
        } else if (found == 10) {
            assert_int_equal(content, before);
            expect_list("10");
        } else { /* only the sync behind the last rename failed: the new one is there, and whole */
            expect_list("20 10");
            assert_int_equal(content, next - 1);
            assert_int_equal(ddp_dir_remove(scratch("c/step-00000020"), &err), 0);
        }
    }
    check_newest(&content);
    assert_int_equal(content, next - 1);
    expect_list(replace ? "10" : "20 10");
    assert_int_equal(renamed_seen, replace);
    assert_true(failures > 25); /* 3 files of 3 + tensors + 3 calls, folder and renames */
    rig_finish(&r);
}

static void test_saver_survives_every_fault(void **state)
{
    (void)state;
    static const struct {
        int error;
        const char *phrase;
    } errors[] = {{ENOSPC, "disk is full"}, {EROFS, "read-only"}, {EIO, "nput/output error"}};
    struct ddp_error err = {0};
    for (size_t e = 0; e < DDP_COUNT(errors); e++) {
        for (int replace = 0; replace < 2; replace++) {
            faults(errors[e].error, errors[e].phrase, replace);
            assert_int_equal(ddp_dir_remove(scratch("c"), &err), 0);
        }
    }
}

/* Folders in the lower layer of an overlay cannot be renamed (EXDEV): they are pruned and replaced all the
 * same. */
static void in_overlay(void)
{
    struct rig r;
    struct ddp_error err = {0};
    char options[1024];
    rig_init(&r, 0, false);
    for (int64_t step = 10; step <= 30; step += 10)
        must_save(&r, step, (uint32_t)step, false);
    rig_finish(&r);
    assert_int_equal(ddp_dir_make(scratch("upper"), &err), 0);
    assert_int_equal(ddp_dir_make(scratch("work"), &err), 0);
    char lower[256], upper[256], work[256];
    snprintf(lower, sizeof lower, "%s", scratch("c"));
    snprintf(upper, sizeof upper, "%s", scratch("upper"));
    snprintf(work, sizeof work, "%s", scratch("work"));
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off", lower, upper,
             work);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("overlay", lower, "overlay", 0, options) != 0)
        _exit(77);
    uint32_t content;
    rig_init(&r, 2, false);
    must_save(&r, 30, 31, false); /* over one that cannot be moved aside */
    expect_list("30 20");
    assert_int_equal(check_newest(&content), 30);
    assert_int_equal(content, 31);
    must_save(&r, 40, 40, false);
    expect_list("40 30");
    rig_finish(&r);
    _exit(0);
}

static void test_saver_prunes_and_replaces_in_an_overlay(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        in_overlay();
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("no overlay can be mounted here\n");
        skip();
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A process that saves without end: each step twice, the best now and then. */
static void save_for_ever(int64_t from)
{
    struct rig r;
    struct ddp_error err = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    rig_init(&r, 2, true);
    for (int64_t step = from;; step++)
        for (uint32_t again = 0; again < 2; again++)
            if (rig_save(&r, step, (uint32_t)step * 2 + again, step % 5 == 0, &err) != 0)
                _exit(9);
}

static void test_saver_can_be_killed_at_any_moment(void **state)
{
    (void)state;
    enum { KILLS = 50, MOST = 20 * KILLS };
    struct rig r;
    rig_init(&r, 2, false);
    double begin = ddp_now();
    must_save(&r, 1, 2, false);
    double one = ddp_now() - begin; /* disks differ: some saves go by before a kill */
    rig_finish(&r);
    uint32_t window = one > 0.02 ? 100000 : (uint32_t)(one * 5e6) + 1000;
    int64_t last = 1;
    uint32_t counter = 0;
    for (int k = 0; k < KILLS || (last <= 5 && k < MOST);
         k++) { /* on a busy machine few get far enough to save */
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            save_for_ever(last + 1);
        usleep(500 + scratch_random(&counter, window));
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        uint32_t content;
        int64_t step = check_newest(&content);
        assert_true(step >= last);
        assert_int_equal(content / 2, step);
        last = step;
    }
    assert_true(last > 5); /* it did save */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_saver_keeps_the_last_and_the_best, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_keeps_all_with_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_leaves_later_steps_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_replaces_the_same_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_settles_the_run_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_finishes_with_nothing_left, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_cleans_up_after_a_killed_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_reports_background_errors_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_syncs_the_records_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_refuses_what_is_not_finite, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume_skips_what_is_not_finite, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_create_reports_a_bad_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_never_makes_a_folder_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_survives_every_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_prunes_and_replaces_in_an_overlay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saver_can_be_killed_at_any_moment, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
