/* Who keeps the others waiting, on several hosts; and when a failed job is worth another try. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "launcher/restart.h"
#include "launcher/roll.h"

static void test_roll_names_the_host_that_is_waited_for(void **state)
{
    static const char *const host_of[] = {"n0", "n1", "n0", "n2", "n2"};
    struct ddp_roll roll;
    char why[256];
    (void)state;
    ddp_roll_init(&roll, 5, host_of);
    assert_true(isinf(ddp_roll_due(&roll))); /* nobody waits yet */
    ddp_roll_join(&roll, "n0", 10);
    ddp_roll_join(&roll, "n0", 12);
    assert_true(ddp_roll_due(&roll) > 30 && ddp_roll_due(&roll) < 100);
    assert_string_equal(ddp_roll_explain(&roll, why, sizeof why), "n1");
    assert_non_null(strstr(why, "0 of 1 ranks have reported"));
    ddp_roll_join(&roll, "n1", 13);
    ddp_roll_join(&roll, "n2", 13);
    assert_string_equal(ddp_roll_explain(&roll, why, sizeof why), "n2");
    assert_non_null(strstr(why, "1 of 2 ranks have reported"));
    const double due = ddp_roll_due(&roll);
    ddp_roll_skip_time(&roll, 3600); /* Ctrl-Z */
    assert_true(ddp_roll_due(&roll) == due + 3600);
    ddp_roll_join(&roll, "n2", 14);
    assert_true(isinf(ddp_roll_due(&roll))); /* all are there */
    ddp_roll_finish(&roll);

    ddp_roll_init(&roll, 2, NULL); /* on one host agents see it themselves */
    ddp_roll_join(&roll, "n0", 1);
    assert_true(isinf(ddp_roll_due(&roll)));
    ddp_roll_finish(&roll);
}

static void test_restart_helps_where_something_broke(void **state)
{
    static const struct {
        int exit_code;
        bool asked, helps;
    } cases[] = {{DDP_EXIT_OK, false, false},    {DDP_EXIT_RANK, false, true},
                 {DDP_EXIT_RANK, true, false},   {DDP_EXIT_STOPPED, false, false},
                 {DDP_EXIT_USAGE, false, false}, {DDP_EXIT_RESOURCE, false, false},
                 {DDP_EXIT_KILLED, true, false}};
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_ending ending = {.asked = cases[i].asked};
        assert_int_equal(ddp_restart_helps(cases[i].exit_code, &ending), cases[i].helps);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_roll_names_the_host_that_is_waited_for),
                                       cmocka_unit_test(test_restart_helps_where_something_broke)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
