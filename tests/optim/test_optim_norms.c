/* All optimizers over several tensors and blocks against a plain loop in double: norms, trust ratios,
 * clipping, settings per tensor. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

struct reference {
    double *p, *m, *v, *g, *c, *e;
    double norm;
};

static double tensor_norm(const struct problem *p, int t, const double *x)
{
    double s = 0;
    for (int64_t i = 0; i < p->tensor[t].size; i++)
        s += x[p->tensor[t].offset + i] * x[p->tensor[t].offset + i];
    return sqrt(s);
}

/* One step as the papers have it, all in double. step counts from 0. */
static void reference_step(const struct problem *p, struct reference *r, int step, int count)
{
    double clip_norm = p->cfg.optim.clip_norm, total = 0;
    for (int64_t i = 0; i < TRAINED; i++) {
        r->g[i] = (double)p->sum[i] / count;
        total += r->g[i] * r->g[i];
    }
    r->norm = sqrt(total);
    if (clip_norm > 0 && r->norm > clip_norm)
        for (int64_t i = 0; i < TRAINED; i++)
            r->g[i] *= clip_norm / r->norm;
    double lr = p->cfg.optim.lr, b1 = p->cfg.optim.beta1, b2 = p->cfg.optim.beta2, eps = p->cfg.optim.eps;
    double mu = p->cfg.optim.momentum, c1 = 1 - pow(b1, step + 1), c2 = 1 - pow(b2, step + 1);
    for (int t = 0; t < TENSORS; t++) {
        bool decays = !p->tensor[t].param.no_decay;
        double wd = decays ? p->cfg.optim.weight_decay : 0, ratio = 1;
        int64_t lo = p->tensor[t].offset, hi = lo + p->tensor[t].size;
        if (p->cfg.optim.type == DDP_OPTIM_SGD || p->cfg.optim.type == DDP_OPTIM_LARS) {
            double pn = tensor_norm(p, t, r->p), gn = tensor_norm(p, t, r->g);
            if (p->cfg.optim.type == DDP_OPTIM_LARS && decays && pn > 0 && gn > 0)
                ratio = p->cfg.optim.trust * pn / (gn + wd * pn + eps);
            for (int64_t i = lo; i < hi; i++) {
                double d = ratio * (r->g[i] + wd * r->p[i]);
                r->m[i] = step == 0 ? d : mu * r->m[i] + (1 - p->cfg.optim.dampening) * d;
                if (mu > 0)
                    d = p->cfg.optim.nesterov ? d + mu * r->m[i] : r->m[i];
                r->p[i] -= lr * d;
            }
            continue;
        }
        if (p->cfg.optim.type == DDP_OPTIM_RMSPROP) {
            const double alpha = p->cfg.optim.alpha;
            for (int64_t i = lo; i < hi; i++) {
                double d = r->g[i] + wd * r->p[i];
                r->v[i] = alpha * r->v[i] + (1 - alpha) * d * d;
                r->c[i] = p->cfg.optim.centered ? alpha * r->c[i] + (1 - alpha) * d : 0;
                r->m[i] = mu * r->m[i] + d / (sqrt(r->v[i] - r->c[i] * r->c[i]) + eps);
                r->p[i] -= lr * r->m[i];
            }
            continue;
        }
        double *u = r->g;
        if (p->cfg.optim.type == DDP_OPTIM_ADAM) { /* coupled decay */
            for (int64_t i = lo; i < hi; i++)
                r->g[i] += wd * r->p[i];
            wd = 0;
        }
        for (int64_t i = lo; i < hi; i++) {
            r->m[i] = b1 * r->m[i] + (1 - b1) * r->g[i];
            r->v[i] = b2 * r->v[i] + (1 - b2) * r->g[i] * r->g[i];
            u[i] = r->m[i] / c1 / (sqrt(r->v[i] / c2) + eps) + wd * r->p[i];
        }
        double pn = tensor_norm(p, t, r->p), un = tensor_norm(p, t, u);
        if (p->cfg.optim.type == DDP_OPTIM_LAMB && decays && pn > 0 && un > 0)
            ratio = pn / un;
        for (int64_t i = lo; i < hi; i++)
            r->p[i] -= lr * ratio * u[i];
    }
}

struct norm_case {
    const char *name;
    int type;
    double momentum, dampening, weight_decay, clip;
    bool nesterov, centered;
    double zero; /* tensor 2 starts as zeros: trust ratio 1 */
};

static const struct norm_case cases[] = {
    {.name = "sgd", .type = DDP_OPTIM_SGD},
    {.name = "sgd, all of it",
     .type = DDP_OPTIM_SGD,
     .momentum = 0.8,
     .dampening = 0.3,
     .weight_decay = 0.1,
     .clip = 0.5},
    {.name = "sgd, clip above the norm",
     .type = DDP_OPTIM_SGD,
     .momentum = 0.8,
     .weight_decay = 0.1,
     .clip = 1e4},
    {.name = "nesterov", .type = DDP_OPTIM_SGD, .momentum = 0.8, .weight_decay = 0.1, .nesterov = true},
    {.name = "adamw", .type = DDP_OPTIM_ADAMW, .weight_decay = 0.1},
    {.name = "adamw, clip", .type = DDP_OPTIM_ADAMW, .weight_decay = 0.1, .clip = 1e-3},
    {.name = "adam", .type = DDP_OPTIM_ADAM, .weight_decay = 0.1},
    {.name = "adam, clip", .type = DDP_OPTIM_ADAM, .weight_decay = 0.1, .clip = 0.5},
    {.name = "rmsprop", .type = DDP_OPTIM_RMSPROP, .weight_decay = 0.1},
    {.name = "rmsprop, momentum, clip",
     .type = DDP_OPTIM_RMSPROP,
     .momentum = 0.8,
     .weight_decay = 0.1,
     .clip = 0.5},
    {.name = "rmsprop, centered", .type = DDP_OPTIM_RMSPROP, .weight_decay = 0.1, .centered = true},
    {.name = "rmsprop, all of it",
     .type = DDP_OPTIM_RMSPROP,
     .momentum = 0.8,
     .weight_decay = 0.1,
     .clip = 0.5,
     .centered = true},
    {.name = "lars", .type = DDP_OPTIM_LARS, .momentum = 0.8, .weight_decay = 0.1},
    {.name = "lars, no momentum", .type = DDP_OPTIM_LARS, .weight_decay = 0.1, .clip = 0.25},
    {.name = "lars, nesterov, clip",
     .type = DDP_OPTIM_LARS,
     .momentum = 0.8,
     .weight_decay = 0.1,
     .clip = 0.25,
     .nesterov = true},
    {.name = "lars, dampening, zeros",
     .type = DDP_OPTIM_LARS,
     .momentum = 0.8,
     .dampening = 0.4,
     .weight_decay = 0.1,
     .zero = 1},
    {.name = "lamb", .type = DDP_OPTIM_LAMB, .weight_decay = 0.1},
    {.name = "lamb, clip", .type = DDP_OPTIM_LAMB, .weight_decay = 0.1, .clip = 1e-3},
    {.name = "lamb, zeros", .type = DDP_OPTIM_LAMB, .weight_decay = 0.1, .zero = 1},
};

static void test_optim_matches_reference(void **state)
{
    (void)state;
    for (size_t c = 0; c < DDP_COUNT(cases); c++) {
        const struct norm_case *k = &cases[c];
        struct problem p;
        problem_init(&p);
        p.cfg.optim.type = k->type;
        p.cfg.optim.momentum = k->momentum;
        p.cfg.optim.dampening = k->dampening;
        p.cfg.optim.weight_decay = k->weight_decay;
        p.cfg.optim.clip_norm = k->clip;
        p.cfg.optim.nesterov = k->nesterov;
        p.cfg.optim.centered = k->centered;
        p.cfg.optim.eps = 1e-2; /* large, so that its place shows */
        for (int64_t i = 0; k->zero > 0 && i < p.tensor[2].size; i++)
            p.params[p.tensor[2].offset + i] = 0;
        p.cfg.optim.ema = 0.75;
        problem_start(&p);
        ddp_optim_average_copy(p.optim, 0, TOTAL);
        double *memory = ddp_calloc(6 * TRAINED, sizeof *memory);
        struct reference r = {.p = memory,
                              .m = memory + TRAINED,
                              .v = memory + 2 * TRAINED,
                              .g = memory + 3 * TRAINED,
                              .c = memory + 4 * TRAINED,
                              .e = memory + 5 * TRAINED};
        for (int64_t i = 0; i < TRAINED; i++)
            r.p[i] = r.e[i] = p.params[i];
        static const int cuts[] = {2, 4};
        for (int step = 0; step < 4; step++) {
            problem_gradient(&p, step);
            reference_step(&p, &r, step, 24);
            problem_step(&p, step, 24, cuts, 2);
            const float *average = ddp_optim_average(p.optim);
            for (int64_t i = 0; i < TRAINED; i++) {
                r.e[i] = 0.75 * r.e[i] + 0.25 * r.p[i];
                if (!(fabs(average[i] - r.e[i]) <= 2e-6))
                    fail_msg("%s: step %d, average of element %d: %.9g, not %.9g", k->name, step, (int)i,
                             average[i], r.e[i]);
            }
            for (int64_t i = 0; i < TRAINED; i++)
                if (!(fabs(p.params[i] - r.p[i]) <= 2e-6))
                    fail_msg("%s: step %d, element %d: %.9g, not %.9g", k->name, step, (int)i, p.params[i],
                             r.p[i]);
            if (k->clip > 0)
                assert_float_equal(ddp_optim_norm(p.optim) / r.norm, 1, 1e-9);
            else
                assert_true(ddp_optim_norm(p.optim) == -1);
        }
        free(memory);
        problem_finish(&p);
    }
}

/* A tensor whose gradient is zero, under LARS: ratio 1, so plain weight decay moves it. */
static void test_optim_lars_takes_ratio_one_without_gradient(void **state)
{
    (void)state;
    struct problem p;
    problem_init(&p);
    p.cfg.optim.type = DDP_OPTIM_LARS;
    p.cfg.optim.weight_decay = 0.5;
    problem_start(&p);
    float before = p.params[7];
    problem_step(&p, 0, 8, NULL, 0);
    assert_float_equal(p.params[7], before - 0.1 * 0.5 * before, 1e-7);
    problem_finish(&p);
}

/* A tensor without any update, under LAMB: nothing moves, and nothing is nan. */
static void test_optim_lamb_takes_ratio_one_without_update(void **state)
{
    (void)state;
    struct problem p;
    problem_init(&p);
    p.cfg.optim.type = DDP_OPTIM_LAMB;
    problem_start(&p);
    float before = p.params[7];
    problem_step(&p, 0, 8, NULL, 0);
    assert_true(p.params[7] == before);
    problem_finish(&p);
}

/* PyTorch's 1e-6 beside the norm shows when norms are as small. */
static void test_optim_clip_has_pytorchs_epsilon(void **state)
{
    (void)state;
    struct problem p;
    problem_init(&p);
    p.cfg.optim.clip_norm = 2e-6;
    p.cfg.optim.lr = 1;
    problem_start(&p);
    memset(p.params, 0, TOTAL * sizeof *p.params);
    p.sum[3] = 4e-6f;
    problem_step(&p, 0, 1, NULL, 0);
    assert_float_equal(p.params[3], -4e-6 * 2 / 5, 1e-10);
    problem_finish(&p);
}

/* The norm of the clip is of the mean, over every trained tensor and nothing else. */
static void test_optim_clip_takes_the_norm_of_the_mean(void **state)
{
    (void)state;
    struct problem p;
    problem_init(&p);
    p.cfg.optim.clip_norm = 10;
    p.cfg.optim.lr = 1;
    problem_start(&p);
    memset(p.params, 0, TOTAL * sizeof *p.params);
    p.sum[0] = 300 * 8; /* first and last trained block */
    p.sum[p.tensor[3].offset] = -400 * 8;
    p.sum[TRAINED] = 1e6f; /* a statistic: not a gradient */
    for (int i = 0; i < 8; i++)
        p.values[BLOCKS + i] = 1e9; /* what other blocks may hold */
    problem_step(&p, 0, 8, NULL, 0);
    assert_true(ddp_optim_norm(p.optim) == 500);
    assert_float_equal(p.params[0], -6, 1e-5);
    assert_float_equal(p.params[p.tensor[3].offset], 8, 1e-5);
    /* the next step has a small one: nothing is clipped, not even a bit */
    memset(p.params, 0, TOTAL * sizeof *p.params);
    p.sum[0] = 3.3f;
    p.sum[p.tensor[3].offset] = 0;
    problem_step(&p, 1, 1, NULL, 0);
    assert_true(p.params[0] == -3.3f);
    assert_true(ddp_optim_norm(p.optim) == (double)3.3f);
    problem_finish(&p);
}

static void test_optim_scale_is_rounded_once(void **state)
{
    (void)state;
    struct problem p;
    problem_init(&p);
    p.cfg.optim.lr = 1;
    problem_start(&p);
    memset(p.params, 0, TOTAL * sizeof *p.params);
    p.sum[5] = 0.7f;
    problem_step(&p, 0, 60000, NULL, 0);
    assert_true(p.params[5] == -(0.7f * (float)(1.0 / 60000)));
    problem_finish(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optim_matches_reference),
        cmocka_unit_test(test_optim_lars_takes_ratio_one_without_gradient),
        cmocka_unit_test(test_optim_lamb_takes_ratio_one_without_update),
        cmocka_unit_test(test_optim_clip_has_pytorchs_epsilon),
        cmocka_unit_test(test_optim_clip_takes_the_norm_of_the_mean),
        cmocka_unit_test(test_optim_scale_is_rounded_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
