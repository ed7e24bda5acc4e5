/* SGD and AdamW against PyTorch, every optimizer's bits against how the work is cut, ISA, resume. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"
#include "problem.h"

struct golden {
    const char *name;
    int type;
    double momentum, dampening, weight_decay, beta2, eps, clip;
    bool nesterov;
    double want[3][3]; /* [step][element] */
};

/* PyTorch 2.15 in float64, lr 0.1, betas (0.9, 0.99):
 *   p          [0.5, -1.25, 2]
 *   gradients  [0.1, -0.2, 0.3], [0.4, 0.05, -0.6], [-0.15, 0.25, 0.35]
 */
static const struct golden golden[] = {
    {"sgd", DDP_OPTIM_SGD, .want = {{0.49, -1.23, 1.97}, {0.45, -1.235, 2.03}, {0.465, -1.26, 1.995}}},
    {"sgd, weight decay", DDP_OPTIM_SGD, .weight_decay = 0.01,
     .want = {{0.4895, -1.22875, 1.968},
              {0.4490105, -1.23252125, 2.026032},
              {0.463561489, -1.25628873, 1.98900597}}},
    {"momentum", DDP_OPTIM_SGD, .momentum = 0.9, .weight_decay = 0.01,
     .want = {{0.4895, -1.22875, 1.968},
              {0.4395605, -1.21339625, 1.997232},
              {0.409175389, -1.22336448, 1.98654357}}},
    {"dampening", DDP_OPTIM_SGD, .momentum = 0.9, .dampening = 0.25, .weight_decay = 0.01,
     .want = {{0.4895, -1.22875, 1.968},
              {0.449682875, -1.21245344, 1.982724},
              {0.4247602, -1.21562719, 1.96823856}}},
    {"nesterov", DDP_OPTIM_SGD, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true,
     .want = {{0.48005, -1.209625, 1.9392},
              {0.394632905, -1.19961421, 2.02359552},
              {0.381939762, -1.2324139, 1.97695194}}},
    {"adamw", DDP_OPTIM_ADAMW, .weight_decay = 0.05, .beta2 = 0.99, .eps = 1e-3,
     .want = {{0.398490099, -1.14424751, 1.89033223},
              {0.308536976, -1.09180662, 1.91736454},
              {0.264783627, -1.11241303, 1.90331226}}},
    {"clip_grad_norm_ and momentum", DDP_OPTIM_SGD, .momentum = 0.9, .clip = 0.5,
     .want = {{0.49, -1.23, 1.97},
              {0.45333146, -1.21545857, 1.98450281},
              {0.435329773, -1.22737128, 1.96255534}}},
};
static const double clip_norms[3] = {0.37416573867739417, 0.722841614740048, 0.45552167895721496};

static void set_kind(struct problem *p, int type, double momentum, double clip)
{
    p->cfg.optim.type = type;
    p->cfg.optim.momentum = momentum;
    p->cfg.optim.centered = momentum > 0;
    p->cfg.optim.weight_decay = 0.03;
    p->cfg.optim.clip_norm = clip;
}

static void test_optim_matches_pytorch(void **state)
{
    (void)state;
    static const double start[3] = {0.5, -1.25, 2.0};
    static const double gradient[3][3] = {{0.1, -0.2, 0.3}, {0.4, 0.05, -0.6}, {-0.15, 0.25, 0.35}};
    for (size_t g = 0; g < DDP_COUNT(golden); g++) {
        const struct golden *c = &golden[g];
        struct problem p;
        problem_init(&p);
        p.cfg.optim.type = c->type;
        p.cfg.optim.momentum = c->momentum;
        p.cfg.optim.dampening = c->dampening;
        p.cfg.optim.weight_decay = c->weight_decay;
        p.cfg.optim.nesterov = c->nesterov;
        p.cfg.optim.clip_norm = c->clip;
        if (c->type == DDP_OPTIM_ADAMW) {
            p.cfg.optim.beta2 = c->beta2;
            p.cfg.optim.eps = c->eps;
        }
        memset(p.params, 0, TOTAL * sizeof *p.params);
        for (int i = 0; i < 3; i++)
            p.params[i] = (float)start[i];
        problem_start(&p);
        for (int step = 0; step < 3; step++) {
            memset(p.sum, 0, TOTAL * sizeof *p.sum);
            for (int i = 0; i < 3; i++)
                p.sum[i] = (float)(gradient[step][i] * 8); /* 8 samples */
            problem_step(&p, step, 8, NULL, 0);
            for (int i = 0; i < 3; i++)
                if (fabs(p.params[i] - c->want[step][i]) > 1e-6)
                    fail_msg("%s: step %d, element %d: %.9g, PyTorch has %.9g", c->name, step, i, p.params[i],
                             c->want[step][i]);
            if (c->clip > 0)
                assert_float_equal(ddp_optim_norm(p.optim), clip_norms[step], 1e-6);
            else
                assert_true(ddp_optim_norm(p.optim) == -1);
            assert_true(ddp_optim_lr(p.optim) == 0.1);
        }
        problem_finish(&p);
    }
}

/* Every kind with and without momentum (where it has one) and clipping. */
struct variant {
    int type;
    double momentum, clip;
    int stages, values, arrays;
};
static const struct variant variants[] = {
    {DDP_OPTIM_SGD, 0, 0, 1, 0, 0},          {DDP_OPTIM_SGD, 0, 0.01, 2, 1, 0},
    {DDP_OPTIM_SGD, 0.9, 0, 1, 0, 1},        {DDP_OPTIM_SGD, 0.9, 0.01, 2, 1, 1},
    {DDP_OPTIM_ADAMW, 0, 0, 1, 0, 2},        {DDP_OPTIM_ADAMW, 0, 0.01, 2, 1, 2},
    {DDP_OPTIM_LARS, 0, 0, 2, 2, 0},         {DDP_OPTIM_LARS, 0.9, 0, 2, 2, 1},
    {DDP_OPTIM_LARS, 0.9, 0.01, 2, 2, 1},    {DDP_OPTIM_LAMB, 0, 0, 2, 2, 2},
    {DDP_OPTIM_LAMB, 0, 0.01, 3, 3, 2},      {DDP_OPTIM_ADAM, 0, 0, 1, 0, 2},
    {DDP_OPTIM_ADAM, 0, 0.01, 2, 1, 2},      {DDP_OPTIM_RMSPROP, 0, 0, 1, 0, 1},
    {DDP_OPTIM_RMSPROP, 0.9, 0.01, 2, 1, 3},
};

static void run_variant(const struct variant *v, const int *cuts, int ncuts, char hex[65])
{
    struct problem p;
    problem_init(&p);
    set_kind(&p, v->type, v->momentum, v->clip);
    problem_start(&p);
    for (int step = 0; step < 4; step++) {
        problem_gradient(&p, step);
        problem_step(&p, step, 24, cuts, ncuts);
    }
    problem_hash(&p, hex);
    problem_finish(&p);
}

static void test_optim_plans_stages_values_and_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(variants); i++) {
        struct problem p;
        problem_init(&p);
        set_kind(&p, variants[i].type, variants[i].momentum, variants[i].clip);
        problem_start(&p);
        assert_int_equal(ddp_optim_stages(&p.cfg), variants[i].stages);
        assert_int_equal(ddp_optim_block_values(&p.cfg), variants[i].values);
        assert_int_equal(ddp_optim_arrays(p.optim), variants[i].arrays);
        assert_int_equal(ddp_optim_bytes(&p.cfg, &p.flat), (size_t)variants[i].arrays * TOTAL * 4);
        static const char *const names[DDP_OPTIMS_COUNT][3] = {
            [DDP_OPTIM_SGD] = {"momentum"},
            [DDP_OPTIM_LARS] = {"momentum"},
            [DDP_OPTIM_ADAM] = {"exp_avg", "exp_avg_sq"},
            [DDP_OPTIM_ADAMW] = {"exp_avg", "exp_avg_sq"},
            [DDP_OPTIM_LAMB] = {"exp_avg", "exp_avg_sq"},
            [DDP_OPTIM_RMSPROP] = {"square_avg", "momentum_buffer", "grad_avg"}};
        for (int a = 0; a < variants[i].arrays; a++) {
            const char *name;
            float *array = ddp_optim_array(p.optim, a, &name);
            assert_non_null(array);
            assert_string_equal(name, names[variants[i].type][a]);
        }
        problem_finish(&p);
    }
}

static void test_optim_bits_do_not_depend_on_slices(void **state)
{
    (void)state;
    static const int halves[] = {3}, odd[] = {1, 2, 5}, all[] = {1, 2, 3, 4, 5, 6};
    for (size_t i = 0; i < DDP_COUNT(variants); i++) {
        char want[65], got[65];
        run_variant(&variants[i], NULL, 0, want);
        run_variant(&variants[i], halves, 1, got);
        assert_string_equal(got, want);
        run_variant(&variants[i], odd, 3, got);
        assert_string_equal(got, want);
        run_variant(&variants[i], all, 6, got);
        assert_string_equal(got, want);
        /* and each variant is something of its own */
        run_variant(&variants[(i + 1) % DDP_COUNT(variants)], NULL, 0, got);
        assert_string_not_equal(got, want);
    }
}

static void test_optim_bits_do_not_depend_on_isa(void **state)
{
    (void)state;
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    int ran = 0;
    for (size_t v = 0; v < DDP_COUNT(variants); v++) {
        char want[65], got[65];
        assert_int_equal(ddp_cpu_select(NULL, NULL), 0);
        run_variant(&variants[v], NULL, 0, want);
        for (size_t i = 0; i < DDP_COUNT(isas); i++) {
            if (ddp_cpu_select(isas[i], NULL) != 0)
                continue; /* not this machine's */
            ran++;
            run_variant(&variants[v], NULL, 0, got);
            if (strcmp(got, want) != 0)
                fail_msg("variant %zu differs on %s", v, isas[i]);
        }
    }
    assert_int_equal(ddp_cpu_select(NULL, NULL), 0);
    assert_true(ran > 0);
}

/* With an average: the same parameters as without, an average of its own, and any slices. */
static void test_optim_average_does_not_depend_on_slices(void **state)
{
    (void)state;
    static const int odd[] = {1, 2, 5};
    for (size_t v = 0; v < DDP_COUNT(variants); v++) {
        struct problem p[3];
        char hex[2][65];
        for (int i = 0; i < 3; i++) { /* without; with; with, in slices */
            problem_init(&p[i]);
            set_kind(&p[i], variants[v].type, variants[v].momentum, variants[v].clip);
            p[i].cfg.optim.ema = i > 0 ? 0.9 : 0;
            problem_start(&p[i]);
            ddp_optim_average_copy(p[i].optim, 0, TOTAL);
            for (int step = 0; step < 4; step++) {
                problem_gradient(&p[i], step);
                problem_step(&p[i], step, 24, odd, i == 2 ? 3 : 0);
            }
            if (i > 0)
                problem_hash(&p[i], hex[i - 1]);
        }
        const char *name;
        const int last = ddp_optim_arrays(p[1].optim) - 1;
        assert_null(ddp_optim_average(p[0].optim));
        assert_int_equal(last, variants[v].arrays);
        assert_ptr_equal(ddp_optim_array(p[1].optim, last, &name), ddp_optim_average(p[1].optim));
        assert_string_equal(name, "ema");
        assert_int_equal(ddp_optim_bytes(&p[1].cfg, &p[1].flat),
                         (size_t)(variants[v].arrays + 1) * TOTAL * 4);
        assert_memory_equal(p[1].params, p[0].params, TOTAL * sizeof(float));
        assert_memory_not_equal(ddp_optim_average(p[1].optim), p[1].params, TRAINED * sizeof(float));
        assert_string_equal(hex[1], hex[0]);
        for (int i = 0; i < 3; i++)
            problem_finish(&p[i]);
    }
}

static void test_optim_resumes_with_the_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(variants); i++) {
        struct problem a, b;
        char want[65], got[65];
        problem_init(&a);
        set_kind(&a, variants[i].type, variants[i].momentum, variants[i].clip);
        a.cfg.optim.dampening = variants[i].momentum / 2;
        a.cfg.optim.schedule = DDP_SCHEDULE_COSINE;
        a.cfg.optim.ema = 0.9;
        problem_init(&b);
        b.cfg.optim = a.cfg.optim;
        problem_start(&a);
        problem_start(&b);
        for (int step = 0; step < 6; step++) {
            if (step == 3) { /* all that a checkpoint keeps */
                memcpy(b.params, a.params, TOTAL * sizeof *a.params);
                for (int k = 0; k < ddp_optim_arrays(a.optim); k++) {
                    const char *name;
                    memcpy(ddp_optim_array(b.optim, k, &name), ddp_optim_array(a.optim, k, &name), TOTAL * 4);
                }
            }
            problem_gradient(&a, step);
            problem_step(&a, step, 24, NULL, 0);
            problem_gradient(&b, step);
            if (step >= 3)
                problem_step(&b, step, 24, NULL, 0);
        }
        problem_hash(&a, want);
        problem_hash(&b, got);
        assert_string_equal(got, want);
        problem_finish(&a);
        problem_finish(&b);
    }
}

static void test_optim_leaves_padding_and_statistics_alone(void **state)
{
    (void)state;
    for (size_t v = 0; v < DDP_COUNT(variants); v++) {
        struct problem p;
        problem_init(&p);
        set_kind(&p, variants[v].type, variants[v].momentum, variants[v].clip);
        problem_start(&p);
        float *before = ddp_malloc(TOTAL * sizeof *before);
        memcpy(before, p.params, TOTAL * sizeof *before);
        for (int step = 0; step < 3; step++) {
            problem_gradient(&p, step);
            problem_step(&p, step, 24, NULL, 0);
        }
        int64_t moved = 0;
        for (int t = 0; t < TENSORS; t++) {
            int64_t begin = p.tensor[t].offset, end = begin + p.tensor[t].size;
            for (int64_t i = begin; i < end; i++)
                moved += p.params[i] != before[i];
            for (int64_t i = end; i % DDP_BLOCK; i++) {
                assert_true(p.params[i] == 0);
                for (int k = 0; k < ddp_optim_arrays(p.optim); k++) {
                    const char *name;
                    assert_true(ddp_optim_array(p.optim, k, &name)[i] == 0);
                }
            }
        }
        assert_true(moved > 18000); /* of 18256: all but those whose step rounds away */
        assert_memory_equal(p.params + TRAINED, before + TRAINED, (TOTAL - TRAINED) * sizeof *before);
        free(before);
        problem_finish(&p);
    }
}

/* Zero gradients, zero weights: channel padding inside a tensor. */
static void test_optim_keeps_zero_at_zero(void **state)
{
    (void)state;
    for (size_t v = 0; v < DDP_COUNT(variants); v++) {
        struct problem p;
        problem_init(&p);
        set_kind(&p, variants[v].type, variants[v].momentum, variants[v].clip);
        problem_start(&p);
        for (int64_t i = 100; i < 200; i++)
            p.params[i] = 0;
        for (int step = 0; step < 3; step++) {
            problem_gradient(&p, step);
            for (int64_t i = 100; i < 200; i++)
                p.sum[i] = 0;
            problem_step(&p, step, 24, NULL, 0);
        }
        for (int64_t i = 100; i < 200; i++) {
            uint32_t bits;
            memcpy(&bits, &p.params[i], 4);
            assert_int_equal(bits, 0);
        }
        problem_finish(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optim_matches_pytorch),
        cmocka_unit_test(test_optim_plans_stages_values_and_bytes),
        cmocka_unit_test(test_optim_bits_do_not_depend_on_slices),
        cmocka_unit_test(test_optim_bits_do_not_depend_on_isa),
        cmocka_unit_test(test_optim_average_does_not_depend_on_slices),
        cmocka_unit_test(test_optim_resumes_with_the_same_bits),
        cmocka_unit_test(test_optim_leaves_padding_and_statistics_alone),
        cmocka_unit_test(test_optim_keeps_zero_at_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
