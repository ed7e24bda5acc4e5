/* Ending a process together with its children, and starting one that is deaf to a batch system's warnings. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "launcher/process.h"
#include "launcher/spawn.h"

enum { WAIT_MS = 20000 };

/* A shell with two sleeps below it, all of which hold our pipe: its end is the end of all. */
static void test_children_end_with_their_parent(void **state)
{
    struct ddp_words argv = {0}, env = {0};
    struct ddp_child child;
    struct ddp_error err = {0};
    sigset_t none;
    char byte;
    (void)state;
    sigemptyset(&none);
    ddp_words_add_all(&argv, (const char *const[]){"sh", "-c", "sleep 300 & sleep 300 & echo x; wait", NULL});
    assert_int_equal(ddp_spawn(&argv, &env, &none, 0, &child, &err), 0);
    struct pollfd p = {.fd = child.out, .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    assert_int_equal(read(child.out, &byte, 1), 1);
    assert_int_equal(ddp_process_children(child.pid), 2);
    ddp_process_kill_family(child.pid);
    assert_int_equal(read(child.out, &byte, 1), 1); /* the end of the line */
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    assert_int_equal(read(child.out, &byte, 1), 0);
    int status;
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(child.out);
    close(child.err);
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
}

static void test_warnings_are_ignored(void **state)
{
    struct ddp_words argv = {0}, env = {0};
    struct ddp_child child;
    struct ddp_error err = {0};
    sigset_t none;
    int status;
    (void)state;
    sigemptyset(&none);
    ddp_words_add_all(&argv, (const char *const[]){"sh", "-c", "kill -USR1 $$; kill -USR2 $$; exit 5", NULL});
    assert_int_equal(ddp_spawn(&argv, &env, &none, 0, &child, &err), 0);
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    close(child.out);
    close(child.err);
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_children_end_with_their_parent),
        cmocka_unit_test(test_warnings_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
