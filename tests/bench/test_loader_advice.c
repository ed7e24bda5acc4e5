/* What to change first about a loader: what gains most, and nothing that noise gains. */
#include "cmocka_all.h"

#include <math.h>
#include <string.h>

#include "base/base.h"
#include "bench/loader/advice.h"

#define NONE   BENCH_AUGMENT_NONE
#define CONFIG BENCH_AUGMENT_CONFIG

static const char *const stores[] = {"as it is", "/dev/shm/x"};

#define CELL(store, augment, workers, rate)                                                                  \
    {                                                                                                        \
        store, workers, augment, rate, 0.98 * (rate), 1.02 * (rate)                                          \
    }

static const struct {
    struct bench_loader_cell cell[6];
    double need;
    const char *says;
} table[] = {
    {{CELL(0, CONFIG, 0, 100), CELL(0, CONFIG, 1, 200), CELL(0, CONFIG, 2, 390), CELL(0, NONE, 1, 220),
      CELL(0, NONE, 2, 400), CELL(1, CONFIG, 1, 210)},
     0,
     "Fix this first: data.workers=2 is 1.95 times as fast as 1."},
    {{CELL(0, CONFIG, 0, 100), CELL(0, CONFIG, 1, 200), CELL(0, CONFIG, 2, 210), CELL(0, NONE, 1, 500),
      CELL(0, NONE, 2, 500), CELL(1, CONFIG, 1, 210)},
     0,
     "Fix this first: augmentation; without it the loader is 2.50 times"},
    {{CELL(0, CONFIG, 0, 100), CELL(0, CONFIG, 1, 200), CELL(0, CONFIG, 2, 210), CELL(0, NONE, 1, 220),
      CELL(1, NONE, 1, 900), CELL(1, CONFIG, 1, 800)},
     100,
     "Nothing to fix: the loader brings 2.0 times what training takes."},
    {{CELL(0, CONFIG, 0, 100), CELL(0, CONFIG, 1, 200), CELL(0, CONFIG, 2, 210), CELL(0, NONE, 1, 220),
      CELL(1, NONE, 1, 900), CELL(1, CONFIG, 1, 800)},
     400,
     "Training waits: the loader brings 0.50 of what it takes. Fix this first: where the data lies; from "
     "/dev/shm/x it comes 4.00"},
    {{CELL(0, CONFIG, 0, 200), CELL(0, CONFIG, 1, 200), CELL(0, CONFIG, 2, 203), CELL(0, NONE, 1, 202),
      CELL(1, NONE, 1, 200), CELL(1, CONFIG, 1, 201)},
     0,
     "Neither workers, nor augmentation, nor the store"},
    /* twice as fast, or as slow: who knows */
    {{CELL(0, CONFIG, 1, 200),
      {0, 2, CONFIG, 400, 100, 700},
      CELL(0, CONFIG, 2, 10),
      CELL(0, NONE, 1, 202),
      CELL(1, NONE, 1, 200),
      CELL(1, CONFIG, 1, 201)},
     0,
     "Neither workers"},
};

static void test_what_gains_most(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct bench_loader_advice a;
        char text[512];
        bench_loader_advise(table[i].cell, 6, 1, table[i].need, &a);
        bench_loader_advice_text(&a, stores, text, sizeof text);
        if (strncmp(text, table[i].says, strlen(table[i].says)) != 0)
            fail_msg("%zu: %s", i, text);
        assert_int_equal(a.workers, 1);
    }
}

static void test_the_nearest_setting_is_the_config(void **state)
{
    (void)state;
    const struct bench_loader_cell cell[] = {CELL(1, NONE, 8, 10), CELL(0, NONE, 0, 20),
                                             CELL(0, NONE, 3, 30)};
    struct bench_loader_advice a;
    bench_loader_advise(cell, 3, 8, 60, &a);
    assert_float_equal(a.rate, 30, 0);
    assert_float_equal(a.spare, 0.5, 0);
    bench_loader_advise(cell, 1, 8, 0, &a);
    assert_float_equal(a.rate, 10, 0);
    assert_true(isnan(a.spare));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_gains_most),
                                       cmocka_unit_test(test_the_nearest_setting_is_the_config)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
