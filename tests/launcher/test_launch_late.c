/* Who has not stopped in time, in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "launcher/late.h"

static void test_late_names_who_is_left(void **state)
{
    static const char *const hosts[] = {"a", "a", "b", "b"};
    static const struct {
        const char *ended; /* a letter for each rank: '.' not, 's' says so, 'e' has */
        bool hosts;
        const char *says;
    } table[] = {
        {".", false, "rank 0 on n0"},
        {"e.e", false, "rank 1 on n0"},
        {"s.s", false, "rank 1 on n0"}, /* the others wait for it */
        {"ses", false, "ranks 0 and 2 on n0"},
        {"...", false, "ranks 0, 1 and 2 on n0"},
        {"..........", false, "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 2 more on n0"},
        {"s.s.", true, "rank 1 on a and rank 3 on b"},
        {"eee.", true, "rank 3 on b"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        unsigned char ended[32];
        char text[256];
        const int n = (int)strlen(table[i].ended);
        for (int r = 0; r < n; r++)
            ended[r] = (unsigned char)(strchr(".se", table[i].ended[r]) - ".se");
        ddp_late_name(n, ended, "n0", table[i].hosts ? hosts : NULL, text, sizeof text);
        assert_string_equal(text, table[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_late_names_who_is_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
