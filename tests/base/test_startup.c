/* The phases of a start, in one process and handed on to another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/base.h"

static void assert_near(double got, double want)
{
    if (fabs(got - want) > 1.5e-6)
        fail_msg("%.9f, wanted %.9f", got, want);
}

static void test_startup_adds_up(void **state)
{
    (void)state;
    const double began = ddp_now() - 2;
    double sum = 0;
    ddp_startup_begin(began);
    for (int i = 0; i < DDP_STARTUP_COUNT; i++)
        if (i != DDP_STARTUP_PLAN) /* left out: the next one has its time */
            ddp_startup_end((enum ddp_startup)i);
    const double end = ddp_now();
    for (int i = 0; i < DDP_STARTUP_COUNT; i++)
        sum += ddp_startup_seconds((enum ddp_startup)i);
    assert_true(sum >= 2 && sum <= end - began);
    assert_true(ddp_startup_seconds(DDP_STARTUP_CONFIG) >= 2);
    assert_true(ddp_startup_seconds(DDP_STARTUP_PLAN) == 0);
    ddp_startup_begin(ddp_now());
    assert_true(ddp_startup_seconds(DDP_STARTUP_CONFIG) == 0);
}

static void test_startup_is_handed_on(void **state)
{
    (void)state;
    char text[DDP_STARTUP_TEXT];
    double took[DDP_STARTUP_START];
    ddp_startup_begin(ddp_now() - 1.5);
    ddp_startup_end(DDP_STARTUP_CONFIG);
    ddp_startup_end(DDP_STARTUP_HOSTS);
    ddp_startup_end(DDP_STARTUP_PLAN);
    for (int i = 0; i < DDP_STARTUP_START; i++)
        took[i] = ddp_startup_seconds((enum ddp_startup)i);
    ddp_startup_tell(text);
    ddp_startup_take(ddp_now() - 7, text); /* the other host's clock */
    ddp_startup_end(DDP_STARTUP_START);
    for (int i = 0; i < DDP_STARTUP_START; i++)
        assert_near(ddp_startup_seconds((enum ddp_startup)i), took[i]);
    assert_true(ddp_startup_seconds(DDP_STARTUP_START) > 5.4 && ddp_startup_seconds(DDP_STARTUP_START) < 60);
}

static void test_startup_bears_other_words(void **state)
{
    (void)state;
    static const char *const words[] = {NULL, "", "x", "1000 ", "1000 -3", "1000 y 5", "1000 0 0 77 9 9 9"};
    for (size_t i = 0; i < DDP_COUNT(words); i++) {
        ddp_startup_take(ddp_now(), words[i]);
        const bool number = words[i] && *words[i] == '1';
        assert_near(ddp_startup_seconds(DDP_STARTUP_CONFIG), number ? 1e-3 : 0);
        for (int k = DDP_STARTUP_HOSTS; k < DDP_STARTUP_COUNT; k++)
            assert_true(ddp_startup_seconds((enum ddp_startup)k) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_startup_adds_up),
        cmocka_unit_test(test_startup_is_handed_on),
        cmocka_unit_test(test_startup_bears_other_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
