/* What is written now and on disk later: what is synced when, and that a failed sync is tried again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fileio.h"
#include "cmocka_all.h"

static char root[64];

static int set_up(void **s)
{
    (void)s;
    strcpy(root, "/tmp/ddp-later-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **s)
{
    (void)s;
    ddp_fileio_fault(0, 0, NULL);
    return ddp_dir_remove(root, NULL);
}

static const char *at(const char *name)
{
    static char path[4][128];
    static int n;
    n = (n + 1) % 4;
    snprintf(path[n], sizeof path[n], "%s/%s", root, name);
    return path[n];
}

static void expect(const char *name, const char *want)
{
    char *data;
    size_t bytes;
    assert_int_equal(ddp_file_read(at(name), 0, &data, &bytes, NULL), 0);
    assert_string_equal(data, want);
    free(data);
}

/* Calls of the gate for faults since the last time. */
static long calls(void)
{
    return ddp_fileio_fault(0, 0, NULL);
}

static void test_later_syncs_each_once_and_only_at_the_end(void **s)
{
    (void)s;
    struct ddp_error err = {0};
    struct ddp_later *l = ddp_later_create();
    calls();
    assert_int_equal(ddp_later_dir(l, at("a/b"), &err), 0);
    assert_int_equal(calls(), 2); /* two folders are made */
    assert_int_equal(ddp_later_file(l, at("a/b/f"), "one", 3, &err), 0);
    assert_int_equal(ddp_later_file(l, at("a/b/f"), "two", 3, &err), 0);
    assert_int_equal(ddp_later_file(l, at("a/b/g"), "", 0, &err), 0);
    assert_int_equal(calls(), 9); /* each created, written, renamed */
    expect("a/b/f", "two");
    assert_false(ddp_path_exists(at("a/b/f.tmp-1")));
    assert_int_equal(ddp_later_settle(l, &err), 0);
    assert_int_equal(calls(), 5); /* root, a, b, f, g */
    assert_int_equal(ddp_later_settle(l, &err), 0);
    assert_int_equal(calls(), 0);
    assert_int_equal(ddp_later_made(l, at("a/b"), &err), 0);
    assert_int_equal(ddp_later_settle(l, &err), 0);
    assert_int_equal(calls(), 1); /* a */
    ddp_later_destroy(l);
}

static void test_later_tries_again_after_an_error(void **s)
{
    (void)s;
    struct ddp_error err = {0};
    struct ddp_later *l = ddp_later_create();
    assert_int_equal(ddp_later_file(l, at("f"), "x", 1, &err), 0);
    assert_int_equal(ddp_later_file(l, at("g"), "y", 1, &err), 0);
    for (long n = 1; n <= 3; n++) {
        ddp_fileio_fault(n, EIO, root);
        assert_int_equal(ddp_later_settle(l, &err), DDP_E_IO);
        assert_non_null(strstr(err.text, root));
    }
    ddp_fileio_fault(0, 0, NULL);
    assert_int_equal(ddp_later_settle(l, &err), 0);
    assert_int_equal(calls(), 3);
    ddp_fileio_fault(1, ENOSPC, root);
    assert_int_equal(ddp_later_file(l, at("h"), "z", 1, &err), DDP_E_IO);
    ddp_fileio_fault(2, ENOSPC, root);
    assert_int_equal(ddp_later_file(l, at("h"), "z", 1, &err), DDP_E_IO);
    ddp_fileio_fault(3, ENOSPC, root);
    assert_int_equal(ddp_later_file(l, at("h"), "z", 1, &err), DDP_E_IO);
    calls();
    assert_int_equal(ddp_later_settle(l, &err), 0); /* what was not written is not waited for */
    assert_int_equal(calls(), 0);
    assert_false(ddp_path_exists(at("h")));
    ddp_later_destroy(l);
}

static void test_later_null_is_at_once(void **s)
{
    (void)s;
    struct ddp_error err = {0};
    calls();
    assert_int_equal(ddp_later_dir(NULL, at("a"), &err), 0);
    assert_int_equal(calls(), 2); /* made, synced */
    assert_int_equal(ddp_later_file(NULL, at("a/f"), "x", 1, &err), 0);
    assert_int_equal(calls(), 5); /* created, written, synced, renamed, its folder synced */
    assert_int_equal(ddp_later_made(NULL, at("a"), &err), 0);
    assert_int_equal(calls(), 1);
    assert_int_equal(ddp_later_settle(NULL, &err), 0);
    ddp_later_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_later_syncs_each_once_and_only_at_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_later_tries_again_after_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_later_null_is_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
