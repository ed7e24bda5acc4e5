/* The vector exp, log, tanh and erf: error in units of the last place over all exponents, special values, and
 * the same bits from every instruction set. */
#include "op_kit.h"

#include <math.h>

#include "ops/cpu/vmath_cpu.h"

typedef void (*array_fn)(const float *, float *, int64_t);

static array_fn function_of(const struct ddp_vmath *m, int which)
{
    array_fn f[] = {m->exp, m->log, m->tanh, m->erf};
    return f[which];
}

static double exact_of(int which, double x)
{
    return which == 0 ? exp(x) : which == 1 ? log(x) : which == 2 ? tanh(x) : erf(x);
}

/* Distance in units of the last place of a float at `want`. */
static double ulps(float got, double want)
{
    if (isinf(got) || isinf((float)want))
        return got == (float)want ? 0 : INFINITY;
    int e;
    frexp(want, &e);
    return fabs(got - want) / ldexp(1, (e < -125 ? -125 : e) - 24);
}

enum { SWEEP = 1 << 20 };

/* Every 4,096th float: all signs and exponents, 2^20 values with their mantissas varied. */
static void sweep(float *x)
{
    for (uint32_t i = 0; i < SWEEP; i++) {
        uint32_t bits = i << 12 | (i * 2654435761u) >> 20;
        memcpy(&x[i], &bits, sizeof bits);
    }
}

static void test_vmath_is_accurate(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double limit; /* ulp */
    } table[] = {{"exp", 1.1}, {"log", 0.9}, {"tanh", 1.4}, {"erf", 1.2}};
    float *x = malloc(SWEEP * sizeof *x), *y = malloc(SWEEP * sizeof *y);
    for (int f = 0; f < 4; f++) {
        sweep(x);
        for (int dense = 0; dense < 2; dense++) {
            if (dense) /* where the functions bend */
                for (int i = 0; i < SWEEP; i++)
                    x[i] = f == 1 ? 0.5f + (float)i * (2.0f / SWEEP) : -6.0f + (float)i * (12.0f / SWEEP);
            function_of(ddp_vmath(), f)(x, y, SWEEP);
            double worst = 0;
            float where = 0;
            for (int i = 0; i < SWEEP; i++) {
                double want = exact_of(f, x[i]);
                if (isnan(want)) {
                    assert_true(isnan(y[i]));
                    continue;
                }
                double u = ulps(y[i], want);
                if (u > worst) {
                    worst = u;
                    where = x[i];
                }
            }
            print_message("%s: %.3f ulp at %.9g\n", table[f].name, worst, (double)where);
            if (worst > table[f].limit)
                fail_msg("%s: %.3f ulp at %.9g, limit %.2f", table[f].name, worst, (double)where,
                         table[f].limit);
        }
    }
    free(x);
    free(y);
}

static void test_vmath_special_values(void **state)
{
    (void)state;
    static const struct {
        int f;
        float x, y;
    } table[] = {
        {0, 0.0f, 1.0f},         {0, -0.0f, 1.0f},     {0, INFINITY, INFINITY},
        {0, -INFINITY, 0.0f},    {0, 88.8f, INFINITY}, {0, -104.0f, 0.0f},
        {0, -103.9f, 0x1p-149f}, {1, 1.0f, 0.0f},      {1, 0.0f, -INFINITY},
        {1, INFINITY, INFINITY}, {1, -1.0f, NAN},      {1, -INFINITY, NAN},
        {2, -0.0f, -0.0f},       {2, INFINITY, 1.0f},  {2, -INFINITY, -1.0f},
        {2, 20.0f, 1.0f},        {3, -0.0f, -0.0f},    {3, INFINITY, 1.0f},
        {3, -INFINITY, -1.0f},   {3, 5.0f, 1.0f},      {2, 0x1p-149f, 0x1p-149f},
        {0, NAN, NAN},           {1, NAN, NAN},        {2, NAN, NAN},
        {3, NAN, NAN},
    };
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        float y;
        function_of(ddp_vmath(), table[i].f)(&table[i].x, &y, 1);
        if (isnan(table[i].y))
            assert_true(isnan(y));
        else
            assert_memory_equal(&y, &table[i].y, sizeof y);
    }
}

/* Lengths around the vector width: nothing behind the end is written. */
static void test_vmath_keeps_to_its_length(void **state)
{
    (void)state;
    float x[40], y[40], all[40];
    for (int i = 0; i < 40; i++)
        x[i] = (float)i / 8;
    ddp_vmath()->tanh(x, all, 40);
    for (int n = 0; n <= 33; n++) {
        for (int i = 0; i < 40; i++)
            y[i] = -5;
        ddp_vmath()->tanh(x, y, n);
        assert_memory_equal(y, all, (size_t)n * sizeof *y);
        for (int i = n; i < 40; i++)
            assert_true(y[i] == -5);
    }
}

static void test_vmath_same_bits_on_every_isa(void **state)
{
    (void)state;
    const char *isa[4];
    int isas = kit_isas(isa);
    enum { N = 1 << 16 };
    float *x = malloc(N * sizeof *x), *first = malloc(N * sizeof *x), *y = malloc(N * sizeof *x);
    for (int f = 0; f < 4; f++) {
        for (uint32_t i = 0; i < N; i++) {
            uint32_t bits = i << 16 | (i * 2654435761u) >> 16;
            memcpy(&x[i], &bits, sizeof bits);
        }
        for (int k = 0; k < isas; k++) {
            assert_int_equal(ddp_cpu_select(isa[k], NULL), 0);
            function_of(ddp_vmath(), f)(x, k ? y : first, N);
            if (k)
                assert_memory_equal(y, first, N * sizeof *y);
        }
    }
    free(x);
    free(y);
    free(first);
    ddp_cpu_select(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vmath_is_accurate),
        cmocka_unit_test(test_vmath_special_values),
        cmocka_unit_test(test_vmath_keeps_to_its_length),
        cmocka_unit_test(test_vmath_same_bits_on_every_isa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
