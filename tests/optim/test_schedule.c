/* Learning rates against PyTorch's schedulers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "optim/optim.h"

enum { STEPS = 12 };
static const double epochs[] = {2.0, 5.0}, half_epochs[] = {0.5, 1.25};

struct schedule_case {
    const char *name;
    int schedule;
    double warmup_start, final_lr, power, gamma, pct, div, final_div;
    int warmup, total, per_epoch;
    struct ddp_floats milestones;
    int n;
    double want[STEPS]; /* lr 0.4 */
};

/* PyTorch 2.15: CosineAnnealingLR, OneCycleLR, PolynomialLR, MultiStepLR, SequentialLR(LinearLR,
 * CosineAnnealingLR); the rest by hand. */
static const struct schedule_case cases[] = {
    {"constant", DDP_SCHEDULE_CONSTANT, .total = 10, .n = 4, .want = {0.4, 0.4, 0.4, 0.4}},
    {"constant, warm-up", DDP_SCHEDULE_CONSTANT, .warmup = 4, .total = 10, .n = 6,
     .want = {0, 0.1, 0.2, 0.3, 0.4, 0.4}},
    {"constant, warm-up from a quarter", DDP_SCHEDULE_CONSTANT, .warmup_start = 0.25, .warmup = 3,
     .total = 10, .n = 5, .want = {0.1, 0.2, 0.3, 0.4, 0.4}},
    {"cosine", DDP_SCHEDULE_COSINE, .final_lr = 0.04, .total = 10, .n = 12,
     .want = {0.4, 0.391190172933128, 0.365623058987491, 0.325801345412645, 0.275623058987491, 0.22,
              0.164376941012509, 0.114198654587355, 0.0743769410125095, 0.0488098270668724, 0.04, 0.04}},
    {"cosine, warm-up", DDP_SCHEDULE_COSINE, .final_lr = 0.04, .warmup_start = 0.25, .warmup = 4, .total = 12,
     .n = 12,
     .want = {0.1, 0.175, 0.25, 0.325, 0.4, 0.386298315852032, 0.347279220613579, 0.288883017825716, 0.22,
              0.151116982174284, 0.0927207793864215, 0.0537016841479684}},
    {"onecycle", DDP_SCHEDULE_ONECYCLE, .pct = 0.3, .div = 25, .final_div = 1e4, .total = 10, .n = 12,
     .want = {0.016, 0.208, 0.4, 0.38019385280539, 0.324698261579905, 0.244504808774516, 0.155496791225484,
              0.0753033384200948, 0.0198077471946105, 1.6e-06, 1.6e-06, 1.6e-06}},
    {"onecycle, odd", DDP_SCHEDULE_ONECYCLE, .pct = 0.5, .div = 10, .final_div = 100, .total = 9, .n = 9,
     .want = {0.04, 0.107771835665428, 0.260053768112137, 0.382174396222435, 0.387950585633025, 0.3001,
              0.165505094102147, 0.0471443202648282, 0.0004}},
    {"onecycle of one step", DDP_SCHEDULE_ONECYCLE, .pct = 1, .div = 10, .final_div = 100, .total = 1, .n = 2,
     .want = {0.0004, 0.0004}},
    {"onecycle that peaks at its start", DDP_SCHEDULE_ONECYCLE, .pct = 0.5, .div = 10, .final_div = 100,
     .total = 2, .n = 2, .want = {0.4, 0.0004}},
    {"onecycle that ends at its peak", DDP_SCHEDULE_ONECYCLE, .pct = 1, .div = 10, .final_div = 100,
     .total = 3, .n = 4, .want = {0.04, 0.22, 0.4, 0.4}},
    {"poly", DDP_SCHEDULE_POLY, .power = 2, .total = 10, .n = 12,
     .want = {0.4, 0.324, 0.256, 0.196, 0.144, 0.1, 0.064, 0.036, 0.016, 0.004, 0, 0}},
    {"poly to a final rate", DDP_SCHEDULE_POLY, .power = 1, .final_lr = 0.2, .warmup = 1, .total = 5, .n = 6,
     .want = {0, 0.4, 0.35, 0.3, 0.25, 0.2}},
    {"step", DDP_SCHEDULE_STEP, .gamma = 0.1, .milestones = {2, epochs}, .total = 10, .per_epoch = 1, .n = 10,
     .want = {0.4, 0.4, 0.04, 0.04, 0.04, 0.004, 0.004, 0.004, 0.004, 0.004}},
    {"step in parts of epochs", DDP_SCHEDULE_STEP, .gamma = 0.5, .milestones = {2, half_epochs}, .warmup = 2,
     .total = 10, .per_epoch = 4, .n = 7, .want = {0, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1}},
    {"warm-up as long as the run", DDP_SCHEDULE_COSINE, .warmup = 4, .total = 4, .n = 6,
     .want = {0, 0.1, 0.2, 0.3, 0.4, 0}},
};

static void test_schedule_matches_pytorch(void **state)
{
    (void)state;
    for (size_t c = 0; c < DDP_COUNT(cases); c++) {
        const struct schedule_case *k = &cases[c];
        struct ddp_config cfg = {.optim = {.lr = 0.4,
                                           .schedule = k->schedule,
                                           .warmup_steps = k->warmup,
                                           .warmup_start = k->warmup_start,
                                           .milestones = k->milestones,
                                           .gamma = k->gamma,
                                           .final_lr = k->final_lr,
                                           .power = k->power,
                                           .pct_start = k->pct,
                                           .div_factor = k->div,
                                           .final_div_factor = k->final_div}};
        for (int s = 0; s < k->n; s++) {
            double got = ddp_schedule_lr(&cfg, s, k->total, k->per_epoch);
            if (!(fabs(got - k->want[s]) <= 1e-14))
                fail_msg("%s: step %d: %.15g, not %.15g", k->name, s, got, k->want[s]);
        }
    }
}

/* A cosine is symmetric about its middle and never rises. */
static void test_schedule_cosine_is_symmetric(void **state)
{
    (void)state;
    struct ddp_config cfg = {.optim = {.lr = 0.4, .schedule = DDP_SCHEDULE_COSINE}};
    double last = 0.4;
    for (int64_t s = 0; s <= 1000; s++) {
        double lr = ddp_schedule_lr(&cfg, s, 1000, 10);
        assert_true(lr <= last);
        assert_float_equal(lr + ddp_schedule_lr(&cfg, 1000 - s, 1000, 10), 0.4, 1e-15);
        last = lr;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule_matches_pytorch),
        cmocka_unit_test(test_schedule_cosine_is_symmetric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
