/* The registry of ops, and the search for values that are not finite. */
#include "op_kit.h"
#include "ddp/op_device.h"

#include <math.h>
#include <stdio.h>

static void test_op_find_knows_the_built_in_ops(void **state)
{
    (void)state;
    static const char *const names[] = {
        "conv2d",
        "linear",
        "batch_norm",
        "group_norm",
        "layer_norm",
        "relu",
        "gelu",
        "silu",
        "tanh",
        "sigmoid",
        "leaky_relu",
        "max_pool",
        "avg_pool",
        "global_avg_pool",
        "dropout",
        "flatten",
        "add",
        "concat",
        "softmax_cross_entropy",
        "mse",
        "mae",
        "huber",
    };
    for (size_t i = 0; i < DDP_COUNT(names); i++) {
        const struct ddp_op *op = ddp_op_find(names[i]);
        assert_non_null(op);
        assert_string_equal(op->name, names[i]);
        assert_ptr_equal(op, ddp_op_at((int)i));
    }
    assert_null(ddp_op_find("conv3d"));
    assert_null(ddp_op_find(""));
    assert_null(ddp_op_at(-1));
    assert_null(ddp_op_at((int)DDP_COUNT(names)));
}

/* What every table promises: a text, keys in its own conf, defaults or REQUIRED, one line each. */
static void test_op_tables_are_complete(void **state)
{
    (void)state;
    const struct ddp_op *op;
    for (int i = 0; (op = ddp_op_at(i)); i++) {
        assert_non_null(op->doc);
        assert_non_null(op->plan);
        assert_non_null(op->forward);
        assert_true(op->is_loss == !op->backward);
        assert_true(op->nin >= 1 && op->nin <= DDP_OP_MAX_IN);
        for (const struct ddp_key *k = op->keys; k->name; k++) {
            assert_true(k->offset < op->conf_bytes);
            assert_non_null(k->doc);
            assert_true((k->dflt != NULL) != ((k->flags & DDP_KEY_REQUIRED) != 0));
            assert_true(k->flags & DDP_KEY_RESULT || strcmp(op->name, "conv2d") == 0);
        }
    }
}

static int plan_none(const void *conf, const struct ddp_shape *in, int nin, int batch,
                     struct ddp_layer_plan *plan, struct ddp_error *err)
{
    (void)conf, (void)in, (void)nin, (void)batch, (void)plan, (void)err;
    return 0;
}
static void run_none(const struct ddp_op_call *call)
{
    (void)call;
}
static void device_none(const struct ddp_device_call *call)
{
    (void)call;
}
static const struct ddp_key no_keys[] = {{0}};

static void test_op_register_checks_the_table(void **state)
{
    (void)state;
    const struct ddp_op good = {.name = "mine",
                                .doc = "d",
                                .keys = no_keys,
                                .nin = 1,
                                .plan = plan_none,
                                .forward = run_none,
                                .backward = run_none};
    const struct ddp_op_device half[] = {
        {.backward = device_none},
        {.forward = device_none},
        {.forward = device_none, .backward = device_none, .forward_stats = device_none},
        {.forward = device_none,
         .backward = device_none,
         .forward_stats = device_none,
         .backward_stats = device_none},
    };
    struct ddp_error err = {0};
    struct {
        const char *word;
        struct ddp_op op;
    } table[] = {
        {"without a name", good},
        {"doc", good},
        {"keys", good},
        {"lacks plan", good},
        {"lacks forward", good},
        {"backward", good},
        {"forward_stats", good},
        {"0, allowed are 1 to 2", good},
        {"3, allowed", good},
        {"already", good},
        {"device->forward", good},
        {"device->backward", good},
        {"device->forward_stats", good},
        {"one of its halves", good},
    };
    table[0].op.name = NULL;
    table[1].op.doc = NULL;
    table[2].op.keys = NULL;
    table[3].op.plan = NULL;
    table[4].op.forward = NULL;
    table[5].op.backward = NULL;
    table[6].op.forward_stats = run_none;
    table[7].op.nin = 0;
    table[8].op.nin = 3;
    table[9].op.name = "relu";
    table[10].op.device = &half[0];
    table[11].op.device = &half[1];
    table[12].op.device = &half[2];
    table[13].op.device = &half[3];
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        assert_int_equal(ddp_op_register(&table[i].op, &err), DDP_E_USAGE);
        if (!strstr(err.text, table[i].word))
            fail_msg("'%s' is missing in: %s", table[i].word, err.text);
    }
    assert_null(ddp_op_find("mine"));
    static struct ddp_op mine;
    mine = good;
    assert_int_equal(ddp_op_register(&mine, &err), 0);
    assert_ptr_equal(ddp_op_find("mine"), &mine);
    assert_int_equal(ddp_op_register(&mine, &err), DDP_E_USAGE);
    /* up to the limit, and not past it */
    static struct ddp_op many[80];
    static char names[80][16];
    int n = 0, rc = 0;
    while (n < 80 && rc == 0) {
        snprintf(names[n], sizeof names[n], "mine-%d", n);
        many[n] = good;
        many[n].name = names[n];
        rc = ddp_op_register(&many[n], &err);
        n += rc == 0;
    }
    assert_int_equal(n, 63);
    assert_non_null(strstr(err.text, "limit"));
    assert_ptr_equal(ddp_op_find("mine-62"), &many[62]);
}

static void test_tensor_find_bad_names_the_first(void **state)
{
    (void)state;
    static const struct {
        float value;
        int n, c, y, x;
    } table[] = {{NAN, 1, 17, 0, 2}, {INFINITY, 0, 0, 0, 0}, {-INFINITY, 1, 19, 1, 2}};
    struct ddp_tensor t;
    int64_t lead, floats = ddp_tensor_pictures(&t, 2, (struct ddp_shape){20, 2, 3}, 1, &lead);
    float *buf = calloc((size_t)(floats + lead), sizeof *buf), value;
    int n, c, y, x;
    t.p = buf + lead;
    assert_false(ddp_tensor_find_bad(&t, &n, &c, &y, &x, &value));
    t.p[-1] = NAN;                    /* halo */
    ddp_at(&t, 1, 1, 1, 1)[15] = NAN; /* padded channel 31 */
    assert_false(ddp_tensor_find_bad(&t, &n, &c, &y, &x, &value));
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        float *p = &ddp_at(&t, table[i].n, table[i].c / 16, table[i].y, table[i].x)[table[i].c % 16];
        *p = table[i].value;
        float *last = &ddp_at(&t, 1, 1, 1, 2)[3], old = *last;
        *last = NAN;
        *p = table[i].value; /* again: it may be the last */
        assert_true(ddp_tensor_find_bad(&t, &n, &c, &y, &x, &value));
        assert_true(n == table[i].n && c == table[i].c && y == table[i].y && x == table[i].x);
        assert_memory_equal(&value, &table[i].value, sizeof value);
        *p = 0;
        *last = old;
    }
    free(buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_op_find_knows_the_built_in_ops),
        cmocka_unit_test(test_op_tables_are_complete),
        cmocka_unit_test(test_op_register_checks_the_table),
        cmocka_unit_test(test_tensor_find_bad_names_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
