/* What runs: fusing, orders, borders, gradients, what is final when. */
#include "models.h"

#define CE "{type = \"softmax_cross_entropy\"}"
#define CONV(name, rest)                                                                                     \
    "{type = \"conv2d\", name = \"" name "\", out = 16, kernel = 3, padding = 1" rest "},"
#define BN(name, rest) "{type = \"batch_norm\", name = \"" name "\"" rest "},"
#define ADD(a, b)      "{type = \"add\", name = \"add\", input = [\"" a "\", \"" b "\"]},"
#define RELU           "{type = \"relu\"},"
#define END            "{type = \"flatten\", name = \"flat\"}, {type = \"linear\", name = \"fc\", out = 10}," CE
#define POOL           "{type = \"global_avg_pool\"},"

static void test_fuse_follows_the_readers(void **state)
{
    (void)state;
    static const struct {
        const char *layers, *stages;
    } cases[] = {
        /* relu behind each op that can take it, in a row and behind features */
        {CONV("a", "") RELU END, "conv2d+relu flatten linear softmax_cross_entropy"},
        {CONV("a", "") BN("b", "") RELU END, "conv2d batch_norm+relu linear softmax_cross_entropy"},
        {"{type = \"flatten\"}, {type = \"linear\", out = 16}," RELU "{type = \"linear\", out = 10}," CE,
         "linear+relu linear softmax_cross_entropy"},
        {CONV("a", "") RELU RELU END, "conv2d+relu relu linear softmax_cross_entropy"},
        {CONV("a", "") "{type = \"gelu\"}," END, "conv2d gelu linear softmax_cross_entropy"},
        {RELU END, "relu linear softmax_cross_entropy"},
        /* a second reader of conv's output forbids it */
        {CONV("a", "") RELU ADD("a", "relu1") END, "conv2d relu add linear softmax_cross_entropy"},
        /* residual: batch norm takes the add and the relu behind it */
        {CONV("a", "") RELU CONV("b", "") BN("c", "") ADD("c", "relu1") RELU END,
         "conv2d+relu conv2d batch_norm+add+relu linear softmax_cross_entropy"},
        /* of two batch norms the later; the order of add's inputs does not matter */
        {CONV("a", "") BN("b", "") CONV("c", ", input = \"data\"") BN("d", "") ADD("b", "d") RELU END,
         "conv2d batch_norm conv2d batch_norm+add+relu linear softmax_cross_entropy"},
        {CONV("a", "") BN("b", "") CONV("c", ", input = \"data\"") BN("d", "") ADD("d", "b") END,
         "conv2d batch_norm conv2d batch_norm+add linear softmax_cross_entropy"},
        /* relu already taken: the add stands alone, and takes its own relu */
        {CONV("a", "") BN("b", "") RELU ADD("a", "relu1") RELU END,
         "conv2d batch_norm+relu add+relu linear softmax_cross_entropy"},
        {CONV("a", "") CONV("b", ", input = \"data\"") ADD("a", "b") RELU END,
         "conv2d conv2d add+relu linear softmax_cross_entropy"},
        /* the batch norm runs late, where its add stands: behind the other branch */
        {CONV("s", "") BN("b", "") CONV("c", ", input = \"s\"") ADD("b", "c") END,
         "conv2d conv2d batch_norm+add linear softmax_cross_entropy"},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_model *m = model_layers(cases[i].layers, (struct ddp_shape){16, 8, 8}, 4, 0);
        if (strcmp(stages_text(m), cases[i].stages) != 0)
            fail_msg("case %zu: %s, wanted %s", i, stages_text(m), cases[i].stages);
        ddp_model_destroy(m);
    }
}

static void test_fused_add_reads_the_other_branch(void **state)
{
    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        struct ddp_model *m =
            model_layers(swap ? CONV("s", "") BN("b", "") CONV("c", ", input = \"s\"") ADD("c", "b") END
                              : CONV("s", "") BN("b", "") CONV("c", ", input = \"s\"") ADD("b", "c") END,
                         (struct ddp_shape){16, 8, 8}, 4, 0);
        const struct ddp_stage *bn = &m->stage[2];
        assert_int_equal(bn->nin, 2);
        assert_int_equal(m->value[bn->in[0]].stage, 0); /* s */
        assert_int_equal(m->value[bn->in[1]].stage, 1); /* c */
        /* backward: c's gradient has one reader; s is reached by bn first (it runs last), then by c, which
         * adds */
        assert_int_equal(bn->din[0], DDP_GRAD_WRITE);
        assert_int_equal(bn->din[1], DDP_GRAD_WRITE);
        assert_int_equal(m->stage[1].din[0], DDP_GRAD_ADD);
        ddp_model_destroy(m);
    }
}

/* Every consumer's halo is there, features have none, linear layers get features, and the first writer of a
 * gradient writes while all others add. */
static void test_values_serve_their_readers(void **state)
{
    (void)state;
    for (int i = 0; i < nshipped; i++) {
        struct ddp_model *m = model_named(shipped[i].name, shipped[i].input, 4, 0);
        for (int v = 0; v < m->nvalues; v++) {
            const struct ddp_value *val = &m->value[v];
            int readers = 0, writers = 0, halo = 0;
            for (int s = 0; s < m->nstages; s++) {
                const struct ddp_layer *l = &m->layer[m->stage[s].layer];
                for (int k = 0; k < m->stage[s].nin; k++) {
                    if (m->stage[s].in[k] != v)
                        continue;
                    assert_true(s > val->stage);
                    readers++;
                    writers += m->stage[s].din[k] == DDP_GRAD_WRITE;
                    halo = k == 0 && l->plan.in_halo > halo ? l->plan.in_halo : halo;
                    if (l->plan.features)
                        assert_int_equal(val->order, DDP_ORDER_FEATURES);
                    else if (!l->plan.any_strides && !ddp_layer_is(l, "flatten"))
                        assert_int_equal(val->order, DDP_ORDER_PICTURES);
                }
            }
            assert_int_equal(writers, val->wants_grad);
            assert_int_equal(val->halo, halo);
            assert_true(val->order == DDP_ORDER_PICTURES || (val->halo == 0 && val->grad_halo == 0));
            assert_int_equal(val->wants_grad, val->stage != DDP_DATA);
            assert_true(readers >= 1);
        }
        ddp_model_destroy(m);
    }
}

static void test_flatten_costs_nothing_where_it_can(void **state)
{
    (void)state;
    static const struct {
        const char *layers, *stages;
        struct ddp_shape input;
    } cases[] = {
        {"{type = \"max_pool\", kernel = 2}, {type = \"dropout\", p = 0.5}," END,
         "max_pool dropout linear softmax_cross_entropy",
         {16, 8, 8}},
        {END, "linear softmax_cross_entropy", {1, 28, 28}},
        {"{type = \"linear\", out = 10}," CE, "linear softmax_cross_entropy", {3, 8, 8}},
        {POOL END, "global_avg_pool linear softmax_cross_entropy", {5, 8, 8}},
        /* 5 channels of 4x4 are blocked anew; a convolution writes pictures; so does a pool that a
           convolution reads too */
        {"{type = \"max_pool\", kernel = 2}," END,
         "max_pool flatten linear softmax_cross_entropy",
         {5, 8, 8}},
        {CONV("a", "") END, "conv2d flatten linear softmax_cross_entropy", {16, 8, 8}},
        {CONV("a", "") "{type = \"max_pool\", name = \"p\", kernel = 2}, {type = \"flatten\", name = \"f\"},"
                       "{type = \"linear\", name = \"g\", out = 10}," CONV("b", ", input = \"p\"") POOL
         "{type = \"flatten\"}, {type = \"linear\", name = \"h\", out = 10}, {type = \"add\", input = "
         "[\"g\", \"h\"]}," CE,
         "conv2d max_pool flatten linear conv2d global_avg_pool linear add softmax_cross_entropy",
         {16, 8, 8}},
    };
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_model *m = model_layers(cases[i].layers, cases[i].input, 4, 0);
        if (strcmp(stages_text(m), cases[i].stages) != 0)
            fail_msg("case %zu: %s, wanted %s", i, stages_text(m), cases[i].stages);
        ddp_model_destroy(m);
    }
    /* and the stage before the dropout writes features, so that the dropout runs over equal strides */
    struct ddp_model *m = model_layers(cases[0].layers, cases[0].input, 4, 0);
    assert_int_equal(m->value[m->stage[0].out].order, DDP_ORDER_FEATURES);
    assert_int_equal(m->value[m->stage[1].out].order, DDP_ORDER_FEATURES);
    ddp_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuse_follows_the_readers),
        cmocka_unit_test(test_fused_add_reads_the_other_branch),
        cmocka_unit_test(test_values_serve_their_readers),
        cmocka_unit_test(test_flatten_costs_nothing_where_it_can),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    models_finish();
    return rc;
}
