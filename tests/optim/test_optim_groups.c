/* Settings per tensor: flags, optim.no_decay, optim.groups; and configs that are refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

/* optim.groups as the parser would make it. */
struct groups {
    struct ddp_node list, group[2], key[2][3];
};

struct group_spec {
    const char *match;
    double lr_scale, weight_decay; /* < 0: the key is absent */
    const char *extra;             /* another key, NULL: none */
};

static struct ddp_node *add_key(struct ddp_node *group, struct ddp_node *n, const char *name,
                                enum ddp_node_type type)
{
    *n = (struct ddp_node){.type = type, .name = name, .parent = group, .file = "x.cfg", .line = 9};
    struct ddp_node **end = &group->first;
    while (*end)
        end = &(*end)->next;
    *end = n;
    return n;
}

static void groups_make(struct groups *g, const struct group_spec *spec, int n)
{
    memset(g, 0, sizeof *g);
    g->list = (struct ddp_node){.type = DDP_NODE_LIST, .name = "groups", .file = "x.cfg", .line = 7};
    for (int i = 0; i < n; i++) {
        struct ddp_node *group = add_key(&g->list, &g->group[i], NULL, DDP_NODE_GROUP);
        if (spec[i].match)
            add_key(group, &g->key[i][0], "match", DDP_NODE_STRING)->s = spec[i].match;
        if (spec[i].lr_scale >= 0)
            add_key(group, &g->key[i][1], "lr_scale", DDP_NODE_FLOAT)->f = spec[i].lr_scale;
        if (spec[i].weight_decay >= 0)
            add_key(group, &g->key[i][2], "weight_decay", DDP_NODE_FLOAT)->f = spec[i].weight_decay;
        else if (spec[i].extra)
            add_key(group, &g->key[i][2], spec[i].extra, DDP_NODE_FLOAT)->f = 1;
    }
}

/* With lr 1 and p = 1 a step leaves 1 - scale * decay where the gradient is zero, and 1 - scale where it is
 * one without decay. */
static void effect(struct problem *p, const double scale[TENSORS], const double decay[TENSORS])
{
    problem_start(p);
    for (int with_gradient = 0; with_gradient < 2; with_gradient++) {
        for (int t = 0; t < TENSORS; t++) {
            int64_t first = p->tensor[t].offset, last = first + p->tensor[t].size - 1;
            p->params[first] = p->params[last] = 1;
            p->sum[first] = p->sum[last] = (float)with_gradient;
        }
        problem_step(p, with_gradient, 1, NULL, 0);
        for (int t = 0; t < TENSORS; t++) {
            int64_t first = p->tensor[t].offset, last = first + p->tensor[t].size - 1;
            double want = 1 - scale[t] * (decay[t] + with_gradient);
            if (fabs(p->params[first] - want) > 1e-6 || fabs(p->params[last] - want) > 1e-6)
                fail_msg("%s: %g and %g, not %g", p->tensor[t].name, p->params[first], p->params[last], want);
        }
    }
}

struct setting_case {
    const char *no_decay[2];
    int nno_decay;
    struct group_spec spec[2];
    int ngroups;
    double scale[TENSORS], decay[TENSORS]; /* conv.weight, conv.bias, fc.weight, fc.bias */
};

static const struct setting_case setting_cases[] = {
    {.scale = {1, 1, 1, 1}, .decay = {0.25, 0, 0.25, 0}},
    {.no_decay = {"conv.*"}, .nno_decay = 1, .scale = {1, 1, 1, 1}, .decay = {0, 0, 0.25, 0}},
    {.no_decay = {"*.bias", "fc.wei?ht"}, .nno_decay = 2, .scale = {1, 1, 1, 1}, .decay = {0.25, 0, 0, 0}},
    {.spec = {{"fc.*", 0.5, -1, NULL}}, .ngroups = 1, .scale = {1, 1, 0.5, 0.5}, .decay = {0.25, 0, 0.25, 0}},
    {.spec = {{"*.bias", -1, 0.125, NULL}},
     .ngroups = 1,
     .scale = {1, 1, 1, 1},
     .decay = {0.25, 0.125, 0.25, 0.125}},
    /* a later group replaces only what it sets */
    {.spec = {{"*", 0.5, 0.5, NULL}, {"conv.*", 0, -1, NULL}},
     .ngroups = 2,
     .scale = {0, 0, 0.5, 0.5},
     .decay = {0.5, 0.5, 0.5, 0.5}},
    {.no_decay = {"*"},
     .nno_decay = 1,
     .spec = {{"*", 0.5, -1, NULL}, {"conv.weight", -1, 1, NULL}},
     .ngroups = 2,
     .scale = {0.5, 0.5, 0.5, 0.5},
     .decay = {1, 0, 0, 0}},
};

static void test_optim_settings_per_tensor(void **state)
{
    (void)state;
    for (size_t c = 0; c < DDP_COUNT(setting_cases); c++) {
        const struct setting_case *k = &setting_cases[c];
        struct problem p;
        problem_init(&p);
        p.cfg.arena = ddp_arena_create();
        p.cfg.optim.lr = 1;
        p.cfg.optim.weight_decay = 0.25;
        p.cfg.optim.no_decay = (struct ddp_strings){k->nno_decay, k->no_decay};
        struct groups g;
        groups_make(&g, k->spec, k->ngroups);
        p.cfg.optim.groups = k->ngroups ? &g.list : NULL;
        effect(&p, k->scale, k->decay);
        ddp_arena_destroy(p.cfg.arena);
        problem_finish(&p);
    }
}

/* The learning rate's scale reaches every optimizer, and what does not decay is not adapted. */
static void test_optim_scale_reaches_every_kind(void **state)
{
    (void)state;
    for (int k = 0; k < DDP_OPTIMS_COUNT; k++) {
        double moved[2];
        for (int half = 0; half < 2; half++) {
            struct problem p;
            problem_init(&p);
            p.cfg.arena = ddp_arena_create();
            p.cfg.optim.type = k;
            p.cfg.optim.weight_decay = 0.25;
            static const struct group_spec spec = {"fc.weight", 0.5, -1, NULL};
            struct groups g;
            groups_make(&g, &spec, 1);
            p.cfg.optim.groups = half ? &g.list : NULL;
            problem_start(&p);
            problem_gradient(&p, 0);
            int64_t at = p.tensor[2].offset + 5000;
            double before = p.params[at];
            problem_step(&p, 0, 4, NULL, 0);
            moved[half] = p.params[at] - before;
            ddp_arena_destroy(p.cfg.arena);
            problem_finish(&p);
        }
        assert_true(fabs(moved[0]) > 1e-5);
        assert_float_equal(moved[1] / moved[0], 0.5, 1e-2);
    }
}

struct bad_case {
    const char *name;
    struct group_spec spec;
    int type;
    double momentum, dampening, eps, beta1, beta2;
    bool nesterov;
    const char *want; /* in the error; NULL: accepted */
};

static const struct bad_case bad_cases[] = {
    {"no match", .spec = {"layer9.*", 1, -1, NULL}, .want = "fits none of the model's 4 tensors"},
    {"no match is named", .spec = {"fc.weihgt", 1, -1, NULL}, .want = "nearest name is 'fc.weight'"},
    {"no match has a place", .spec = {"fc.weihgt", 1, -1, NULL}, .want = "x.cfg:9"},
    {"unknown key", .spec = {"fc.*", 1, -1, "decay"}, .want = "decay"},
    {"match missing", .spec = {NULL, 1, -1, NULL}, .want = "match"},
    {"scale too large", .spec = {"fc.*", 1e9, -1, NULL}, .want = "lr_scale"},
    {"decay too large", .spec = {"fc.*", 1, 1e9, NULL}, .want = "weight_decay"},
    {"nesterov alone", .nesterov = true, .want = "optim.nesterov"},
    {"nesterov, dampening", .nesterov = true, .momentum = 0.9, .dampening = 0.1, .want = "optim.dampening"},
    {"nesterov, fine", .nesterov = true, .momentum = 0.9},
    {"nesterov does not concern adamw", .type = DDP_OPTIM_ADAMW, .nesterov = true},
    {"adamw eps", .type = DDP_OPTIM_ADAMW, .eps = 0, .want = "optim.eps"},
    {"adamw eps below floats", .type = DDP_OPTIM_ADAMW, .eps = 1e-60, .want = "optim.eps"},
    {"adam eps", .type = DDP_OPTIM_ADAM, .eps = 0, .want = "optim.eps"},
    {"rmsprop eps", .type = DDP_OPTIM_RMSPROP, .eps = 0, .want = "optim.eps"},
    {"lamb eps", .type = DDP_OPTIM_LAMB, .eps = 0, .want = "optim.eps"},
    {"lars without eps is fine", .type = DDP_OPTIM_LARS, .eps = 0},
    {"beta1 of one", .type = DDP_OPTIM_ADAMW, .beta1 = 1, .want = "optim.beta1"},
    {"beta2 of one", .type = DDP_OPTIM_LAMB, .beta2 = 1, .want = "optim.beta2"},
    {"beta1 negative", .type = DDP_OPTIM_LAMB, .beta1 = -0.1, .want = "optim.beta1"},
    {"betas of zero", .type = DDP_OPTIM_ADAMW, .beta1 = 0, .beta2 = 0},
};

static void test_optim_refuses_what_cannot_work(void **state)
{
    (void)state;
    for (size_t c = 0; c < DDP_COUNT(bad_cases); c++) {
        const struct bad_case *k = &bad_cases[c];
        struct problem p;
        problem_init(&p);
        p.cfg.arena = ddp_arena_create();
        p.cfg.optim.type = k->type;
        p.cfg.optim.momentum = k->momentum;
        p.cfg.optim.dampening = k->dampening;
        p.cfg.optim.nesterov = k->nesterov;
        if (strstr(k->name, "eps"))
            p.cfg.optim.eps = k->eps;
        if (strstr(k->name, "beta1") || strstr(k->name, "betas"))
            p.cfg.optim.beta1 = k->beta1;
        if (strstr(k->name, "beta2") || strstr(k->name, "betas"))
            p.cfg.optim.beta2 = k->beta2;
        struct groups g;
        bool with_group = k->spec.match || k->spec.lr_scale > 0;
        groups_make(&g, &k->spec, 1);
        p.cfg.optim.groups = with_group ? &g.list : NULL;
        struct ddp_error err = {0};
        int status = ddp_optim_create(&p.cfg, &p.flat, p.comm, p.params, 100, 10, &p.optim, &err);
        if (k->want) {
            if (status != DDP_E_CONFIG || !strstr(err.text, k->want))
                fail_msg("%s: %d, %s", k->name, status, err.text);
            assert_null(p.optim);
        } else if (status != 0) {
            fail_msg("%s: %s", k->name, err.text);
        }
        ddp_arena_destroy(p.cfg.arena);
        problem_finish(&p);
    }
}

/* Errors carry the place of the key when the config has one. */
static void test_optim_error_names_file_and_line(void **state)
{
    (void)state;
    struct problem p;
    problem_init(&p);
    struct ddp_node root = {.type = DDP_NODE_GROUP, .file = "x.cfg"}, optim, key;
    add_key(&root, &optim, "optim", DDP_NODE_GROUP);
    add_key(&optim, &key, "nesterov", DDP_NODE_BOOL)->b = true;
    key.line = 31;
    p.cfg.tree = &root;
    p.cfg.optim.nesterov = true;
    struct ddp_error err = {0};
    assert_int_equal(ddp_optim_create(&p.cfg, &p.flat, p.comm, p.params, 100, 10, &p.optim, &err),
                     DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "x.cfg:31: optim.nesterov"));
    key.file = "command line";
    key.line = 0;
    assert_int_equal(ddp_optim_create(&p.cfg, &p.flat, p.comm, p.params, 100, 10, &p.optim, &err),
                     DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "command line: optim.nesterov"));
    problem_finish(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optim_settings_per_tensor),
        cmocka_unit_test(test_optim_scale_reaches_every_kind),
        cmocka_unit_test(test_optim_refuses_what_cannot_work),
        cmocka_unit_test(test_optim_error_names_file_and_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
