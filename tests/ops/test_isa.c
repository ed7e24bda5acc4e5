/* Which instruction set is taken, and flat sums that have the same bits on each. */
#include "cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"
#include "ops/cpu/cpu.h"

static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};

static void test_isa_select_takes_names_and_rejects_others(void **state)
{
    (void)state;
    struct ddp_error err;
    int found = 0;
    for (size_t i = 0; i < DDP_COUNT(names); i++) {
        if (ddp_cpu_select(names[i], &err)) {
            assert_non_null(strstr(err.text, names[i]));
            continue;
        }
        found++;
        assert_string_equal(ddp_cpu_isa(), names[i]);
    }
    assert_true(found > 0);
    const char *before = ddp_cpu_isa();
    assert_int_equal(ddp_cpu_select("sse9", &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "\"sse9\""));
    assert_non_null(strstr(err.text, before)); /* what is allowed */
    assert_string_equal(ddp_cpu_isa(), before);
}

static void test_isa_comes_from_the_environment(void **state)
{
    (void)state;
    struct ddp_error err;
    unsetenv("DDP_ISA");
    assert_int_equal(ddp_cpu_select(NULL, &err), 0);
    const char *best = ddp_cpu_isa();
    const char *plain = ddp_cpu_select("scalar", NULL) ? "neon" : "scalar";
    setenv("DDP_ISA", plain, 1);
    assert_int_equal(ddp_cpu_select(NULL, &err), 0);
    assert_string_equal(ddp_cpu_isa(), plain);
    setenv("DDP_ISA", "mmx", 1);
    assert_int_equal(ddp_cpu_select(NULL, &err), DDP_E_USAGE);
    assert_non_null(strstr(err.text, "DDP_ISA"));
    setenv("DDP_ISA", "", 1);
    assert_int_equal(ddp_cpu_select(NULL, &err), 0);
    assert_string_equal(ddp_cpu_isa(), best);
    unsetenv("DDP_ISA");
}

static float value(int64_t i)
{
    uint32_t x = (uint32_t)i * 2654435761u;
    return (float)(int32_t)(x ^ x >> 13) * 0x1p-31f * (i % 7 ? 1 : 1e-30f);
}

static void test_vec_ops_give_the_same_bits_everywhere(void **state)
{
    (void)state;
    static const int sizes[] = {0, 1, 15, 16, 17, 100, 4096, 4099};
    for (size_t s = 0; s < DDP_COUNT(sizes); s++) {
        int n = sizes[s];
        double first = -1;
        for (size_t i = 0; i < DDP_COUNT(names); i++) {
            if (ddp_cpu_select(names[i], NULL))
                continue;
            float *a = malloc((size_t)n * 4 + 8), *b = malloc((size_t)n * 4 + 8);
            double want = 0;
            for (int j = 0; j < n; j++) { /* one float off any alignment */
                a[j + 1] = value(j);
                b[j + 1] = value(j + 1000);
                want += (double)a[j + 1] * (double)a[j + 1];
            }
            a[n + 1] = 77;
            double got = ddp_vec_sumsq(a + 1, n);
            assert_true(got - want <= 1e-12 * want && want - got <= 1e-12 * want);
            if (first == -1)
                first = got;
            assert_memory_equal(&first, &got, sizeof got);
            for (int j = -1; j < n; j++) { /* all are, then all but one */
                static const float odd[] = {INFINITY, -INFINITY, NAN};
                const float was = a[j + 1];
                a[j + 1] = j < 0 ? INFINITY : odd[j % 3];
                assert_true(ddp_vec_finite(a + 1, n) == (j < 0));
                a[j + 1] = was;
            }
            ddp_vec_add(a + 1, b + 1, n);
            for (int j = 0; j < n; j++)
                assert_true(a[j + 1] == value(j) + value(j + 1000));
            assert_true(a[n + 1] == 77);
            free(a), free(b);
        }
    }
    ddp_cpu_select(NULL, NULL);
}

static void test_vec_sumsq_follows_its_tree(void **state)
{
    (void)state;
    /* Lane i holds elements i, i + 16, ..; lanes are added (i) + (i + 8), then 4, 2, 1: spelled out. */
    enum { N = 53 };
    float a[N];
    double lane[16] = {0};
    for (int i = 0; i < N; i++) {
        a[i] = value(i) * (float)(1 << (i % 20));
        lane[i % 16] += (double)a[i] * (double)a[i];
    }
    for (int w = 8; w; w /= 2)
        for (int i = 0; i < w; i++)
            lane[i] += lane[i + w];
    double got = ddp_vec_sumsq(a, N);
    assert_memory_equal(&lane[0], &got, sizeof got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_isa_select_takes_names_and_rejects_others),
        cmocka_unit_test(test_isa_comes_from_the_environment),
        cmocka_unit_test(test_vec_ops_give_the_same_bits_everywhere),
        cmocka_unit_test(test_vec_sumsq_follows_its_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
