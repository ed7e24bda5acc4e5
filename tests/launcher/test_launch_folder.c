/* The private folder: where it goes, its lock, and the removal of leftovers. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "tests/topology/machines.h"

#include "launcher/job.h"
#include "launcher/leftovers.h"

static char dir[] = "/tmp/ddp-test-folder-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) && setenv("TMPDIR", dir, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return ddp_dir_remove(dir, NULL);
}

static void make_folder(const char *name, bool lock_file, char *path, size_t size)
{
    char lock[256];
    snprintf(path, size, "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(lock, sizeof lock, "%s/lock", path);
    if (lock_file)
        close(open(lock, O_RDWR | O_CREAT, 0600));
}

static void test_leftovers_are_only_what_nobody_holds(void **state)
{
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    char dead[200], held[200], fresh[200], foreign[200], making[200], unmade[200], lock[256];
    (void)state;
    make_folder(DDP_JOB_PREFIX "1-dead", true, dead, sizeof dead);
    make_folder(DDP_JOB_PREFIX "2-held", true, held, sizeof held);
    make_folder(DDP_JOB_PREFIX "3-fresh", false, fresh, sizeof fresh);
    make_folder("." DDP_JOB_PREFIX "4-making", true, making, sizeof making);
    make_folder("." DDP_JOB_PREFIX "5-unmade", true, unmade, sizeof unmade);
    assert_int_equal(utimensat(AT_FDCWD, unmade, long_ago, 0), 0);
    make_folder("something-else", true, foreign, sizeof foreign);
    snprintf(lock, sizeof lock, "%s/lock", held);
    const int fd = open(lock, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);

    ddp_leftovers_remove();
    assert_false(ddp_path_exists(dead));
    assert_true(ddp_path_exists(held));
    assert_true(ddp_path_exists(fresh));
    assert_true(ddp_path_exists(making));
    assert_false(ddp_path_exists(unmade));
    assert_true(ddp_path_exists(foreign));
    close(fd);
    ddp_leftovers_remove();
    assert_false(ddp_path_exists(held));
}

static void test_job_folder_is_locked_and_goes(void **state)
{
    struct ddp_machine *m = machine_synthetic(LAPTOP);
    struct ddp_job job = {.name = DDP_JOB_PREFIX "test-1", .lock = -1, .config = ddp_strdup("seed = 3;\n")};
    struct ddp_error err = {0};
    (void)state;
    ddp_job_locate(&job, dir);
    assert_int_equal(ddp_job_open(&job, m, &err), 0);
    assert_true(ddp_path_exists(job.topology));
    assert_int_equal(strncmp(job.env.w[0], "DDP_CONFIG=", 11), 0);
    char *text;
    size_t bytes;
    assert_int_equal(ddp_file_read(job.env.w[0] + 11, 0, &text, &bytes, &err), 0);
    assert_string_equal(text, "seed = 3;\n"); /* what every rank trains */
    free(text);
    ddp_leftovers_remove();
    assert_true(ddp_path_exists(job.dir));
    ddp_job_close(&job);
    assert_false(ddp_path_exists(job.dir));
    ddp_job_close(&job);

    struct ddp_job nowhere = {.name = DDP_JOB_PREFIX "test-2", .lock = -1};
    ddp_job_locate(&nowhere, "/nonexistent");
    assert_int_equal(ddp_job_open(&nowhere, m, &err), DDP_E_RESOURCE);
    ddp_machine_destroy(m);
}

static void test_job_base_needs_room(void **state)
{
    char base[PATH_MAX] = "";
    struct ddp_error err = {0};
    (void)state;
    assert_int_equal(ddp_job_base(1e4, base, &err), 0);
    assert_true(strcmp(base, "/dev/shm") == 0 || strcmp(base, dir) == 0);
    assert_int_equal(ddp_job_base(1e18, base, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "--shm-size"));
    assert_non_null(strstr(err.text, dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leftovers_are_only_what_nobody_holds),
        cmocka_unit_test(test_job_folder_is_locked_and_goes),
        cmocka_unit_test(test_job_base_needs_room),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
