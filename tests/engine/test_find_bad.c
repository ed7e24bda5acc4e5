/* The search for a value that is not finite, on a device that only answers: order, words, failures. */
#include "model/models.h"

#include <math.h>

#include "engine/find_bad.h"

/* Answers that one thing is bad, or fails at one look, and notes what it is asked. */
struct answers {
    const struct ddp_stages *p;
    int bad_value;         /* -1: none */
    const char *bad_param; /* NULL: none */
    float loss;
    int fail_at; /* look; -1: none fails */
    int looks;
    char asked[512];
    float values[4096];
};

static int note(struct answers *a, struct ddp_error *err, const char *what)
{
    snprintf(a->asked + strlen(a->asked), sizeof a->asked - strlen(a->asked), "%s ", what);
    return a->looks++ == a->fail_at ? ddp_fail(err, DDP_E_DEVICE, "the device is gone") : 0;
}

static int value(void *ctx, int v, struct ddp_bad_place *at, bool *found, struct ddp_error *err)
{
    struct answers *a = ctx;
    char what[16];
    snprintf(what, sizeof what, "%d", v);
    *found = v == a->bad_value;
    *at = (struct ddp_bad_place){.n = 3, .c = 5, .y = 1, .x = 0, .value = -INFINITY};
    return note(a, err, what);
}

static int param(void *ctx, const struct ddp_flat_tensor *t, const float **values, struct ddp_error *err)
{
    struct answers *a = ctx;
    assert_true(t->size <= (int64_t)DDP_COUNT(a->values));
    memset(a->values, 0, sizeof a->values);
    if (a->bad_param && strcmp(t->name, a->bad_param) == 0) {
        a->values[1] = NAN;
        a->values[2] = INFINITY;
    }
    *values = a->values;
    return note(a, err, t->name);
}

static int loss(void *ctx, float *out, struct ddp_error *err)
{
    struct answers *a = ctx;
    *out = a->loss;
    return note(a, err, "loss");
}

static struct ddp_model *small(void)
{
    return model_layers("{type=\"conv2d\", name=\"c\", out=4, kernel=1}, {type=\"batch_norm\", name=\"b\"},"
                        "{type=\"relu\", name=\"r\"}, {type=\"flatten\", name=\"f\"},"
                        "{type=\"linear\", name=\"l\", out=3}, {type=\"mse\", name=\"e\"}",
                        (struct ddp_shape){2, 3, 3}, 4, 0);
}

static struct answers nothing_bad(const struct ddp_stages *p)
{
    return (struct answers){.p = p, .bad_value = -1, .fail_at = -1, .loss = 1};
}

#define UP_TO_B "0 c.weight c.bias 1 b.weight b.bias b.running_mean b.running_var "

static void test_find_bad_looks_in_forward_order(void **state)
{
    (void)state;
    static const struct {
        bool training;
        int value;
        const char *param;
        float loss;
        const char *asked, *says;
    } cases[] = {
        {true, 0, NULL, 1, "0 ", "input 'data' at [n=3, c=5, y=1, x=0] is -inf"},
        {true, -1, "c.bias", 1, "0 c.weight c.bias ",
         "parameter 'c.bias' holds nan (2 of 4 elements are not finite)"},
        {true, 2, "l.weight", 1, UP_TO_B "2 ", "output of layer 'r' at [n=3, c=5, y=1, x=0] is -inf"},
        {true, -1, NULL, NAN, UP_TO_B "2 3 l.weight l.bias 4 loss ",
         "none, the loss 'e' itself overflowed to nan: all parameters and outputs before it are finite, but "
         "too large for it"},
        {true, -1, NULL, 1, UP_TO_B "2 3 l.weight l.bias 4 loss ",
         "every parameter and output is finite: the fault is in the backward pass or in the sums"},
        /* in evaluation only what goes into the loss is still there */
        {false, 1, NULL, INFINITY,
         "0 c.weight c.bias b.weight b.bias b.running_mean b.running_var l.weight l.bias 4 loss ",
         "none, the loss 'e' itself overflowed to inf: all parameters and outputs before it are finite, but "
         "too large for it"},
        {false, 4, NULL, INFINITY,
         "0 c.weight c.bias b.weight b.bias b.running_mean b.running_var l.weight l.bias 4 ",
         "output of layer 'l' at [n=3, c=5, y=1, x=0] is -inf"},
    };
    struct ddp_model *m = small();
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct answers a = nothing_bad(ddp_model_stages(m));
        const struct ddp_bad_source from = {value, param, loss, &a};
        char text[256] = "";
        a.bad_value = cases[i].value;
        a.bad_param = cases[i].param;
        a.loss = cases[i].loss;
        assert_int_equal(ddp_find_bad(a.p, cases[i].training, &from, text, sizeof text, NULL), 0);
        if (strcmp(text, cases[i].says) != 0 || strcmp(a.asked, cases[i].asked) != 0)
            fail_msg("case %zu: asked for %s: %s\nwanted %s: %s", i, a.asked, text, cases[i].asked,
                     cases[i].says);
    }
    ddp_model_destroy(m);
}

static void test_find_bad_ends_where_the_device_does(void **state)
{
    (void)state;
    struct ddp_model *m = small();
    struct answers all = nothing_bad(ddp_model_stages(m));
    const struct ddp_bad_source whole = {value, param, loss, &all};
    char text[256];
    assert_int_equal(ddp_find_bad(all.p, true, &whole, text, sizeof text, NULL), 0);
    for (int i = 0; i < all.looks; i++) {
        struct answers a = nothing_bad(all.p);
        const struct ddp_bad_source from = {value, param, loss, &a};
        struct ddp_error err = {0};
        a.fail_at = i;
        strcpy(text, "untouched");
        assert_int_equal(ddp_find_bad(a.p, true, &from, text, sizeof text, &err), DDP_E_DEVICE);
        assert_string_equal(err.text, "the device is gone");
        assert_string_equal(text, "untouched");
        assert_int_equal(a.looks, i + 1);
    }
    ddp_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_bad_looks_in_forward_order),
        cmocka_unit_test(test_find_bad_ends_where_the_device_does),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    models_finish();
    return rc;
}
