/* From config to layers: what is accepted, what is refused and with which words. */
#include "models.h"

#define CE               "{type = \"softmax_cross_entropy\", name = \"loss\"}"
#define CONV(name, rest) "{type = \"conv2d\", name = \"" name "\", out = 8, kernel = 3" rest "},\n"
#define FLAT             "{type = \"flatten\", name = \"flat\"}, "
#define FC               FLAT "{type = \"linear\", name = \"fc\", out = 10},\n"

struct refused {
    const char *layers;
    struct ddp_shape input;
    int classes;
    int code;
    const char *says[4]; /* all of these are in the text */
};

static const struct refused refused[] = {
    {CONV("a", "") "{type = \"con2d\"}," CE,
     {1, 28, 28},
     0,
     DDP_E_CONFIG,
     {"unknown layer type 'con2d'", "did you mean 'conv2d'", ":4", "own? --program PROGRAM"}},
    {"{name = \"x\", out = 3}," CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"has no type", "conv2d"}},
    {"{type = 3}," CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"type", "text"}},
    {CONV("a", "") CONV("a", "") FC CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"'a' is taken", ":3: model", ":4"}},
    {CONV("data", "") FC CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"'data' stands for the model's input"}},
    {CONV("a b", "") FC CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"'a b'", "letters, digits"}},
    {CONV("a", ", kernal = 3") FC CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"kernal", "kernel", ":3"}},
    {CONV("conv1", "") CONV("b", ", input = \"conf1\"") FC CE,
     {1, 28, 28},
     0,
     DDP_E_CONFIG,
     {"layer 'b' (conv2d)", "no layer is called 'conf1'", "'conv1'", ":4"}},
    {CONV("a", ", input = \"b\"") CONV("b", "") FC CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"'b' comes later"}},
    {CONV("a", ", input = \"a\"") FC CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"'a' is the layer itself"}},
    {CONV("a", ", input = 3") FC CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"layer 'a'", "name of a layer"}},
    {CONV("a", "") "{type = \"add\"}," FC CE,
     {1, 28, 28},
     0,
     DDP_E_CONFIG,
     {"layer 'add1' (add)", "wants 2 inputs", "\"a\""}},
    {CONV("a", "") "{type = \"add\", input = \"a\"}," FC CE,
     {1, 28, 28},
     0,
     DDP_E_CONFIG,
     {"wants 2 inputs, got 1"}},
    {CONV("a", ", input = [\"data\", \"data\"]") FC CE,
     {1, 28, 28},
     0,
     DDP_E_CONFIG,
     {"wants 1 input, got 2"}},
    {CONV("a", "") FC CE ", {type = \"relu\"}," CE, {1, 28, 28}, 0, DDP_E_CONFIG, {"'loss' is taken"}},
    {FC CE ", {type = \"relu\", input = \"fc\"}, {type = \"mse\"}",
     {1, 28, 28},
     0,
     DDP_E_CONFIG,
     {"layer 'loss'", "one loss", "'relu1' comes after it"}},
    {FC CE ", {type = \"relu\"}, {type = \"mse\"}",
     {1, 28, 28},
     0,
     DDP_E_CONFIG,
     {"layer 'relu1' (relu): reads the loss 'loss'"}},
    {FC "{type = \"relu\"}", {1, 28, 28}, 0, DDP_E_CONFIG, {"layer 'relu1'", "last layer must be a loss"}},
    {CONV("a", "") CONV("b", ", input = \"data\"") FC CE,
     {1, 28, 28},
     0,
     DDP_E_CONFIG,
     {"layer 'a' (conv2d): no layer reads it"}},
    {CONV("conv1", "") "{type = \"conv2d\", name = \"conv2\", out = 4, kernel = 40}," FC CE,
     {1, 28, 28},
     0,
     DDP_E_SHAPE,
     {"layer 'conv2' (conv2d): got 8x26x26 from 'conv1'", ":4"}},
    {CONV("a", ", padding = 1") "{type = \"add\", input = [\"a\", \"data\"]}," FC CE,
     {1, 28, 28},
     0,
     DDP_E_SHAPE,
     {"layer 'add1' (add): got 8x28x28 from 'a' and 1x28x28 from 'data'"}},
    {FC "{type = \"conv2d\", name = \"c\", out = 4, kernel = 1},"
        "{type = \"flatten\"}," CE,
     {1, 28, 28},
     0,
     DDP_E_SHAPE,
     {"layer 'c' (conv2d): got 10 from 'fc'", "before the flatten"}},
    {CONV("a", "") "{type = \"linear\", name = \"fc\", out = 10}," CE,
     {1, 28, 28},
     0,
     DDP_E_SHAPE,
     {"layer 'fc' (linear): got 8x26x26 from 'a'", "flatten"}},
    {FC CE, {1, 28, 28}, 47, DDP_E_SHAPE, {"layer 'loss'", "got 10 from 'fc'", "47 classes"}},
};

static void test_graph_refuses_with_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(refused); i++) {
        const struct refused *r = &refused[i];
        struct ddp_error err = {0};
        struct ddp_model *m = NULL;
        int rc =
            ddp_model_create(config_layers(r->layers), r->input, r->classes, 4, DDP_MODEL_FOR_HOST, &m, &err);
        if (rc != r->code || m)
            fail_msg("case %zu: code %d, wanted %d: %s", i, rc, r->code, err.text);
        assert_int_equal(err.code, rc);
        for (int k = 0; k < 4 && r->says[k]; k++)
            if (!strstr(err.text, r->says[k]))
                fail_msg("case %zu: '%s' is not in: %s", i, r->says[k], err.text);
    }
}

/* out = "classes": as many as the data has, in linear layers and in convolutions. */
static void test_graph_takes_classes_from_the_data(void **state)
{
    (void)state;
    static const char *const layers[] = {
        "{type = \"flatten\"}, {type = \"linear\", name = \"fc\", out = \"classes\"}," CE,
        "{type = \"conv2d\", name = \"c\", out = \"classes\", kernel = 3}, {type = \"global_avg_pool\"}," CE};
    for (size_t i = 0; i < DDP_COUNT(layers); i++)
        for (int classes = 1; classes < 50; classes += 23) {
            struct ddp_error err = {0};
            struct ddp_model *m = NULL;
            if (ddp_model_create(config_layers(layers[i]), (struct ddp_shape){1, 8, 8}, classes, 4,
                                 DDP_MODEL_FOR_HOST, &m, &err) != 0)
                fail_msg("%s", err.text);
            assert_int_equal(m->layer[m->nlayers - 1].shape[0].c, classes);
            ddp_model_destroy(m);
        }
    struct ddp_error err = {0};
    struct ddp_model *m = NULL;
    assert_int_equal(ddp_model_create(config_layers("{type = \"linear\", out = \"clases\"}," CE),
                                      (struct ddp_shape){1, 8, 8}, 3, 4, DDP_MODEL_FOR_HOST, &m, &err),
                     DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "did you mean \"classes\"?"));
}

static void test_graph_shows_all_errors(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_model *m = NULL;
    assert_int_equal(ddp_model_create(config_layers("{type = \"rellu\"}, {type = \"linear\", ot = 10}," CE),
                                      (struct ddp_shape){1, 4, 4}, 0, 4, DDP_MODEL_FOR_HOST, &m, &err),
                     DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "did you mean 'relu'"));
    assert_non_null(strstr(err.text, "ot"));
}

static void test_graph_refuses_wrong_sizes(void **state)
{
    (void)state;
    struct ddp_error err = {0};
    struct ddp_model *m = NULL;
    struct ddp_config *cfg = config_layers(FC CE);
    assert_int_equal(ddp_model_create(cfg, (struct ddp_shape){1, 28, 28}, 0, 0, DDP_MODEL_FOR_HOST, &m, &err),
                     DDP_E_USAGE);
    assert_int_equal(ddp_model_create(cfg, (struct ddp_shape){1, 0, 28}, 0, 4, DDP_MODEL_FOR_HOST, &m, &err),
                     DDP_E_SHAPE);
    double input[3] = {3, 32, 32};
    cfg->model.input = (struct ddp_floats){3, input};
    assert_int_equal(ddp_model_create(cfg, (struct ddp_shape){1, 28, 28}, 0, 4, DDP_MODEL_FOR_HOST, &m, &err),
                     DDP_E_SHAPE);
    assert_non_null(strstr(err.text, "3x32x32"));
    cfg->model.input.n = 2;
    assert_int_equal(ddp_model_create(cfg, (struct ddp_shape){1, 28, 28}, 0, 4, DDP_MODEL_FOR_HOST, &m, &err),
                     DDP_E_CONFIG);
    cfg->model.layers = NULL;
    cfg->model.input.n = 0;
    assert_int_equal(ddp_model_create(cfg, (struct ddp_shape){1, 28, 28}, 0, 4, DDP_MODEL_FOR_HOST, &m, &err),
                     DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "no layers"));
    assert_null(m);
}

static void test_layers_are_named_and_connected(void **state)
{
    (void)state;
    struct ddp_model *m = model_layers("{type = \"conv2d\", out = 16, kernel = 3, padding = 1},"
                                       "{type = \"relu\"},"
                                       "{type = \"conv2d\", out = 16, kernel = 3, padding = 1},"
                                       "{type = \"add\", input = [\"conv2d2\", \"relu1\"]}," FC CE,
                                       (struct ddp_shape){3, 8, 6}, 4, DDP_BUILD_NO_FUSE);
    static const struct {
        const char *name;
        int in[2];
        struct ddp_shape out;
    } want[] = {
        {"conv2d1", {DDP_DATA}, {16, 8, 6}}, {"relu1", {0}, {16, 8, 6}}, {"conv2d2", {1}, {16, 8, 6}},
        {"add1", {2, 1}, {16, 8, 6}},        {"flat", {3}, {16, 8, 6}},  {"fc", {4}, {10, 1, 1}},
    };
    assert_int_equal(m->nlayers, 7);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(m->layer[i].name, want[i].name);
        for (int k = 0; k < m->layer[i].nin; k++)
            assert_int_equal(m->layer[i].in[k], want[i].in[k]);
        assert_true(ddp_shape_equal(m->layer[i].plan.out, want[i].out));
    }
    ddp_model_destroy(m);
}

static void test_shipped_models_have_their_parameters(void **state)
{
    (void)state;
    for (int i = 0; i < nshipped; i++) {
        struct ddp_model *m = model_named(shipped[i].name, shipped[i].input, 4, 0);
        if (ddp_model_parameters(m) != shipped[i].parameters)
            fail_msg("%s: %lld parameters, wanted %lld", shipped[i].name, (long long)ddp_model_parameters(m),
                     (long long)shipped[i].parameters);
        assert_false(ddp_model_needs_sync(m));
        ddp_model_destroy(m);
    }
}

static void test_summary_names_every_layer_and_totals(void **state)
{
    (void)state;
    struct ddp_model *m = model_named("mnist_cnn", (struct ddp_shape){1, 28, 28}, 8, 0);
    char *text = ddp_model_summary(m, 0);
    static const char *const says[] = {"conv1",    "32x26x26",        "18,496",
                                       "64x12x12", "1,179,776",       "1,199,882 parameters",
                                       "in conv1", "for a shard of 8"};
    for (size_t i = 0; i < DDP_COUNT(says); i++)
        if (!strstr(text, says[i]))
            fail_msg("'%s' is not in:\n%s", says[i], text);
    /* 2 x (26*26*32*9 + 24*24*64*288 + 9216*128 + 1280) and what the ops count for biases and the like */
    assert_true(ddp_model_flops(m) > 23.9e6 && ddp_model_flops(m) < 24.6e6);
    free(text);
    ddp_model_destroy(m);
}

/* No line is as long as the terminal is wide, and what matters most stays. */
static void test_summary_fits_the_terminal(void **state)
{
    (void)state;
    static const char *const models[] = {"mnist_cnn", "resnet18", "linear"};
    for (size_t k = 0; k < DDP_COUNT(models); k++) {
        const struct ddp_shape input = {k == 1 ? 3 : 1, k == 1 ? 32 : 28, k == 1 ? 32 : 28};
        struct ddp_model *m = model_named(models[k], input, 8, 0);
        for (int columns = 40; columns <= 160; columns++) {
            char *text = ddp_model_summary(m, columns);
            for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
                if ((int)strcspn(line, "\n") >= columns)
                    fail_msg("%s at %d columns: %.*s", models[k], columns, (int)strcspn(line, "\n"), line);
            if (!strstr(text, " parameters,") || !strstr(text, "\ndata"))
                fail_msg("%d columns:\n%s", columns, text);
            assert_true(columns < 60 || strstr(text, "output"));
            assert_true(columns < 80 || strstr(text, "memory"));
            free(text);
        }
        char *wide = ddp_model_summary(m, 200), *full = ddp_model_summary(m, 0);
        assert_string_equal(wide, full);
        free(wide);
        free(full);
        ddp_model_destroy(m);
    }
}

static void test_layers_page_is_what_the_ops_say(void **state)
{
    char *page, *text = ddp_layers_help(NULL, true);
    size_t bytes;
    struct ddp_error err = {0};
    (void)state;
    if (ddp_file_read(DDP_TEST_DOCS "/layers.md", 0, &page, &bytes, &err))
        fail_msg("%s", err.text);
    if (strcmp(page, text) != 0)
        fail_msg("docs/layers.md is stale: ddp-train --help-layers --markdown > docs/layers.md");
    free(page);
    free(text);
    text = ddp_layers_help("no_such_layer", false);
    assert_string_equal(text, "");
    free(text);
    text = ddp_layers_help("dropout", false);
    assert_non_null(strstr(text, "[dropout]"));
    assert_null(strstr(text, "[conv2d]"));
    free(text);
}

static int plan_trained_loss(const void *conf, const struct ddp_shape *in, int nin, int batch,
                             struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)conf, (void)in, (void)nin, (void)batch, (void)err;
    plan->nparams = 1;
    plan->params[0] = (struct ddp_param){.name = "weight", .ndim = 1, .dims = {1}, .groups = 1};
    return 0;
}

static void compute_nothing(const struct ddp_op_call *call)
{
    (void)call;
}

/* It registers an op, so it comes last. */
static void test_graph_refuses_a_loss_with_a_parameter_to_train(void **state)
{
    (void)state;
    static const struct ddp_key none[] = {{0}};
    static const struct ddp_op op = {.name = "trained_loss",
                                     .doc = "a loss that cannot be",
                                     .keys = none,
                                     .nin = 1,
                                     .is_loss = true,
                                     .plan = plan_trained_loss,
                                     .forward = compute_nothing};
    struct ddp_error err = {0};
    struct ddp_model *m = NULL;
    assert_int_equal(ddp_op_register(&op, &err), 0);
    struct ddp_config *cfg = config_layers(FC "{type = \"trained_loss\"}");
    assert_int_equal(ddp_model_create(cfg, (struct ddp_shape){1, 28, 28}, 0, 4, DDP_MODEL_FOR_HOST, &m, &err),
                     DDP_E_USAGE);
    assert_non_null(strstr(err.text, "which a loss cannot have"));
}

static int plan_one_label(const void *conf, const struct ddp_shape *in, int nin, int batch,
                          struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)conf, (void)nin, (void)batch, (void)err;
    plan->out = in[0];
    plan->any_strides = true;
    return 0;
}

static void test_graph_refuses_mixup_for_a_loss_of_one_label(void **state)
{
    (void)state;
    static const struct ddp_key none[] = {{0}};
    static const struct ddp_op op = {.name = "one_label_loss",
                                     .doc = "a loss that does not know mixed labels",
                                     .keys = none,
                                     .nin = 1,
                                     .is_loss = true,
                                     .plan = plan_one_label,
                                     .forward = compute_nothing};
    struct ddp_error err = {0};
    struct ddp_model *m = NULL;
    assert_int_equal(ddp_op_register(&op, &err), 0);
    struct ddp_config *cfg = config_layers(FC "{type = \"one_label_loss\"}");
    for (int mixes = 0; mixes < 2; mixes++) {
        cfg->data.mixup = 0.5 * mixes;
        int rc = ddp_model_create(cfg, (struct ddp_shape){1, 28, 28}, 0, 4, DDP_MODEL_FOR_HOST, &m, &err);
        if (rc != (mixes ? DDP_E_CONFIG : 0))
            fail_msg("%s", err.text);
        if (!mixes)
            ddp_model_destroy(m);
    }
    assert_non_null(strstr(err.text, "data.mixup gives samples two labels, and this loss knows one"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph_refuses_with_reason),
        cmocka_unit_test(test_graph_takes_classes_from_the_data),
        cmocka_unit_test(test_graph_shows_all_errors),
        cmocka_unit_test(test_graph_refuses_wrong_sizes),
        cmocka_unit_test(test_layers_are_named_and_connected),
        cmocka_unit_test(test_shipped_models_have_their_parameters),
        cmocka_unit_test(test_summary_names_every_layer_and_totals),
        cmocka_unit_test(test_summary_fits_the_terminal),
        cmocka_unit_test(test_layers_page_is_what_the_ops_say),
        cmocka_unit_test(test_graph_refuses_a_loss_with_a_parameter_to_train),
        cmocka_unit_test(test_graph_refuses_mixup_for_a_loss_of_one_label),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    models_finish();
    return rc;
}
