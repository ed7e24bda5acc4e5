/* Snapshot to files and back: names, shapes, bits; checkpoints of another model or
 * optimizer, damaged ones. */
#include <stdlib.h>
#include <string.h>

#include "toy_model.h"

static int setup(void **state)
{
    (void)state;
    scratch_make();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove();
    return 0;
}

static void test_checkpoint_round_trips_the_bits(void **state)
{
    (void)state;
    for (int k = 0; k < DDP_OPTIMS_COUNT; k++) {
        struct toy a, b;
        char want[65], got[65], path[512];
        toy_init(&a, 10, k, 1);
        toy_init(&b, 10, k, 2);
        toy_save(&a, scratch("run/checkpoints"), 500, false);
        toy_hash(&a, want);
        toy_hash(&b, got);
        assert_string_not_equal(got, want);
        struct ddp_error err = {0};
        assert_int_equal(ddp_checkpoint_find(scratch("run"), path, sizeof path, &err), 0);
        assert_string_equal(path, scratch("run/checkpoints/step-00000500"));
        memset(&b.state, 0xee, sizeof b.state);
        if (ddp_checkpoint_load(path, &b.model, b.params, b.optim, &b.state, &err) != 0)
            fail_msg("%s", err.text);
        toy_hash(&b, got);
        assert_string_equal(got, want);
        assert_int_equal(b.state.step, 500);
        assert_int_equal(b.state.epoch, 3);
        assert_int_equal(b.state.batch, 17);
        assert_true(b.state.epoch_loss_sum == 1e-310);
        assert_string_equal(b.state.config_hash, "c0ffee");
        /* the model alone */
        toy_fill(&b, 3);
        toy_hash(&b, want);
        assert_int_equal(ddp_checkpoint_load(path, &b.model, b.params, NULL, &b.state, &err), 0);
        assert_memory_equal(a.params, b.params, (size_t)a.model.flat.total * 4);
        toy_hash(&b, got);
        assert_string_not_equal(got, want);
        toy_finish(&a);
        toy_finish(&b);
    }
}

static void test_checkpoint_has_pytorch_names_and_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *name, *dtype;
        int ndim;
        int64_t dims[4];
    } want[] = {
        {"bn1.bias", "F32", 1, {20}},         {"bn1.num_batches_tracked", "I64", 0, {0}},
        {"bn1.running_mean", "F32", 1, {20}}, {"bn1.running_var", "F32", 1, {20}},
        {"bn1.weight", "F32", 1, {20}},       {"conv1.weight", "F32", 4, {20, 3, 3, 3}},
        {"fc.bias", "F32", 1, {10}},          {"fc.weight", "F32", 2, {10, 80}},
    };
    static const char *const opt[] = {
        "bn1.bias.exp_avg",     "bn1.bias.exp_avg_sq",     "bn1.weight.exp_avg", "bn1.weight.exp_avg_sq",
        "conv1.weight.exp_avg", "conv1.weight.exp_avg_sq", "fc.bias.exp_avg",    "fc.bias.exp_avg_sq",
        "fc.weight.exp_avg",    "fc.weight.exp_avg_sq"};
    struct toy t;
    toy_init(&t, 10, DDP_OPTIM_ADAMW, 1);
    toy_save(&t, scratch("c"), 7, false);
    struct ddp_st_file *f;
    struct ddp_error err = {0};
    assert_int_equal(ddp_st_open(scratch("c/step-00000007/model.safetensors"), &f, &err), 0);
    assert_int_equal(ddp_st_count(f), DDP_COUNT(want));
    for (size_t i = 0; i < DDP_COUNT(want); i++) {
        const struct ddp_st_tensor *x = ddp_st_at(f, (int)i);
        assert_string_equal(x->name, want[i].name);
        assert_string_equal(x->dtype, want[i].dtype);
        assert_int_equal(x->ndim, want[i].ndim);
        for (int d = 0; d < x->ndim; d++)
            assert_int_equal(x->dims[d], want[i].dims[d]);
    }
    assert_int_equal(*(const int64_t *)ddp_st_find(f, "bn1.num_batches_tracked")->data, 500);
    assert_string_equal(ddp_st_metadata(f, "format"), "pt");
    /* plain layout: element [k][c][r][s] of the convolution as it was filled in */
    const float *conv = ddp_st_find(f, "conv1.weight")->data;
    for (uint32_t e = 0; e < 540; e++)
        assert_true(conv[e] == ddp_uniform(ddp_philox4(e, 0, 0, 0, 1).v[0]) - 0.5f);
    ddp_st_close(f);
    assert_int_equal(ddp_st_open(scratch("c/step-00000007/optimizer.safetensors"), &f, &err), 0);
    assert_int_equal(ddp_st_count(f), DDP_COUNT(opt));
    for (size_t i = 0; i < DDP_COUNT(opt); i++)
        assert_string_equal(ddp_st_at(f, (int)i)->name, opt[i]);
    const float *second = ddp_st_find(f, "fc.bias.exp_avg_sq")->data;
    for (uint32_t e = 0; e < 10; e++)
        assert_true(second[e] == ddp_uniform(ddp_philox4(e, 4, 2, 0, 1).v[0]) - 0.5f);
    ddp_st_close(f);
    toy_finish(&t);
}

static void test_snapshot_hash_is_that_of_its_file(void **state)
{
    (void)state;
    struct toy t;
    struct ddp_snapshot *s;
    struct ddp_error err = {0};
    char a[65], b[65];
    toy_init(&t, 10, DDP_OPTIM_SGD, 1);
    assert_int_equal(ddp_snapshot_create(&t.model, NULL, &s, &err), 0);
    ddp_snapshot_take(s, t.params, &t.state);
    ddp_snapshot_hash(s, a);
    assert_int_equal(ddp_snapshot_write_model(s, scratch("m"), &err), 0);
    struct ddp_st_file *f;
    assert_int_equal(ddp_st_open(scratch("m"), &f, &err), 0);
    ddp_st_hash(ddp_st_at(f, 0), ddp_st_count(f), b);
    assert_string_equal(a, b);
    ddp_st_close(f);
    /* a later step of training does not reach what was taken; the count of batches is part of it */
    t.params[0] += 1;
    ddp_snapshot_hash(s, b);
    assert_string_equal(a, b);
    t.params[0] -= 1;
    t.state.batches_tracked++;
    ddp_snapshot_take(s, t.params, &t.state);
    ddp_snapshot_hash(s, b);
    assert_string_not_equal(a, b);
    ddp_snapshot_destroy(s);
    ddp_snapshot_destroy(NULL);
    toy_finish(&t);
}

/* Load step 500 of `from` into `to`; it must fail with `want` and change nothing. */
static void refuse(struct toy *to, const char *want)
{
    char before[65], after[65];
    struct ddp_error err = {0};
    struct ddp_train_state state = {.step = 42};
    toy_hash(to, before);
    int status =
        ddp_checkpoint_load(scratch("c/step-00000500"), &to->model, to->params, to->optim, &state, &err);
    if (status != DDP_E_CHECKPOINT || !strstr(err.text, want) || !strstr(err.text, scratch("c")))
        fail_msg("%d: %s\nwanted: %s", status, err.text, want);
    toy_hash(to, after);
    assert_string_equal(after, before);
    assert_int_equal(state.step, 42);
}

static void test_checkpoint_of_another_model_is_refused(void **state)
{
    (void)state;
    struct toy a, b;
    toy_init(&a, 10, DDP_OPTIM_SGD, 1);
    toy_save(&a, scratch("c"), 500, false);
    toy_init(&b, 12, DDP_OPTIM_SGD, 2);
    refuse(&b, "another model: 'fc.weight' is F32 [10, 80] there and F32 [12, 80] here");
    toy_finish(&b);
    toy_init(&b, 10, DDP_OPTIM_SGD, 2);
    strcpy(b.model.tensor[3].name, "classifier.weight");
    refuse(&b, "another model: it has no 'classifier.weight', which is F32 [10, 80] here");
    toy_finish(&b);
    toy_init(&b, 10, DDP_OPTIM_SGD, 2);
    b.model.flat.ntensors--; /* a model without running_var */
    refuse(&b, "another model: it holds 'bn1.running_var' (F32 [20]), which is not here");
    toy_finish(&b);
    toy_init(&b, 10, DDP_OPTIM_SGD, 2);
    b.model.tensor[3].param.ndim = 4;
    b.model.tensor[3].param.dims[1] = 20;
    b.model.tensor[3].param.dims[2] = b.model.tensor[3].param.dims[3] = 2;
    refuse(&b, "'fc.weight' is F32 [10, 80] there and F32 [10, 20, 2, 2] here");
    toy_finish(&b);
    toy_finish(&a);
}

static void test_checkpoint_of_another_optimizer_is_refused(void **state)
{
    (void)state;
    struct toy a, b;
    toy_init(&a, 10, DDP_OPTIM_SGD, 1);
    toy_save(&a, scratch("c"), 500, false);
    toy_init(&b, 10, DDP_OPTIM_ADAMW, 2);
    refuse(&b, "another optimizer: it has no 'conv1.weight.exp_avg'");
    toy_finish(&b);
    /* one without state: SGD without momentum */
    toy_init(&b, 10, DDP_OPTIM_SGD, 2);
    ddp_optim_destroy(b.optim);
    b.cfg.optim.momentum = 0;
    struct ddp_error err = {0};
    assert_int_equal(ddp_optim_create(&b.cfg, &b.model.flat, b.comm, b.params, 100, 10, &b.optim, &err), 0);
    refuse(&b, "another optimizer: it holds 'bn1.bias.momentum'");
    toy_save(&b, scratch("d"), 500, false);
    assert_int_equal(
        ddp_checkpoint_load(scratch("d/step-00000500"), &b.model, b.params, b.optim, &b.state, &err), 0);
    toy_finish(&b);
    toy_finish(&a);
}

/* A flipped bit anywhere: refused when named, skipped when there is another. */
static void test_checkpoint_damage_is_noticed(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        long at; /* -2^30: remove; 2^30: cut off */
    } damage[] = {
        {"model.safetensors", 9},
        {"model.safetensors", -1},
        {"model.safetensors", 3000},
        {"optimizer.safetensors", 20},
        {"optimizer.safetensors", -1},
        {"state.json", 3},
        {"state.json", 40},
        {"state.json", -10},
        {"model.safetensors", -(1 << 30)},
        {"state.json", -(1 << 30)},
        {"optimizer.safetensors", 1 << 30},
        {"state.json", 1 << 30},
    };
    struct toy t;
    toy_init(&t, 10, DDP_OPTIM_SGD, 1);
    for (size_t i = 0; i < DDP_COUNT(damage); i++) {
        char name[512], path[512];
        struct ddp_error err = {0};
        toy_save(&t, scratch("r/checkpoints"), 400, false);
        toy_save(&t, scratch("r/checkpoints"), 500, false);
        snprintf(name, sizeof name, "%s/%s", scratch("r/checkpoints/step-00000500"), damage[i].file);
        if (damage[i].at == -(1 << 30)) {
            assert_int_equal(remove(name), 0);
        } else if (damage[i].at == 1 << 30) {
            size_t bytes;
            char *data = scratch_read(name, &bytes);
            scratch_write(name, data, bytes / 2);
            free(data);
        } else {
            scratch_flip(name, damage[i].at);
        }
        assert_int_equal(ddp_checkpoint_find(scratch("r"), path, sizeof path, &err), 0);
        assert_string_equal(path, scratch("r/checkpoints/step-00000400"));
        int status = ddp_checkpoint_find(scratch("r/checkpoints/step-00000500"), path, sizeof path, &err);
        assert_true(status == DDP_E_CHECKPOINT || status == DDP_E_IO);
        assert_non_null(strstr(err.text, damage[i].file));
        status = ddp_checkpoint_load(scratch("r/checkpoints/step-00000500/"), &t.model, t.params, t.optim,
                                     &t.state, &err);
        assert_true(status == DDP_E_CHECKPOINT || status == DDP_E_IO);
        /* the only one */
        assert_int_equal(ddp_dir_remove(scratch("r/checkpoints/step-00000400"), &err), 0);
        assert_int_equal(ddp_checkpoint_find(scratch("r"), path, sizeof path, &err), DDP_E_CHECKPOINT);
        assert_non_null(strstr(err.text, "damaged"));
        assert_int_equal(ddp_dir_remove(scratch("r"), &err), 0);
    }
    toy_finish(&t);
}

static void test_checkpoint_find_knows_where_to_look(void **state)
{
    (void)state;
    struct toy t;
    char path[512];
    struct ddp_error err = {0};
    toy_init(&t, 10, DDP_OPTIM_SGD, 1);
    assert_int_equal(ddp_checkpoint_find(scratch("r"), path, sizeof path, &err), DDP_E_CHECKPOINT);
    assert_non_null(strstr(err.text, "no such run"));
    assert_int_equal(ddp_dir_make(scratch("r/checkpoints"), &err), 0);
    assert_int_equal(ddp_checkpoint_find(scratch("r"), path, sizeof path, &err), DDP_E_CHECKPOINT);
    assert_non_null(strstr(err.text, "there is no checkpoint"));
    toy_save(&t, scratch("r/checkpoints"), 99999999, false);
    toy_save(&t, scratch("r/checkpoints"), 100000000, false); /* one digit more sorts as a number */
    toy_save(&t, scratch("r/checkpoints"), 5, false);
    /* what is no checkpoint, and what never was complete */
    assert_int_equal(ddp_dir_make(scratch("r/checkpoints/step-200000000.tmp-12"), &err), 0);
    assert_int_equal(ddp_dir_make(scratch("r/checkpoints/step-300000000x"), &err), 0);
    assert_int_equal(ddp_dir_make(scratch("r/checkpoints/step-"), &err), 0);
    assert_int_equal(ddp_dir_make(scratch("r/checkpoints/step-1234567890123456789"), &err), 0);
    assert_int_equal(ddp_dir_make(scratch("r/checkpoints/other"), &err), 0);
    static const char *const from[] = {"r", "r/", "r/checkpoints", "r/checkpoints/step-100000000"};
    for (size_t i = 0; i < DDP_COUNT(from); i++) {
        assert_int_equal(ddp_checkpoint_find(scratch(from[i]), path, sizeof path, &err), 0);
        assert_non_null(strstr(path, "r/"));
        assert_string_equal(path + strlen(path) - strlen("step-100000000"), "step-100000000");
    }
    size_t need = strlen(path) + 1;
    assert_int_equal(ddp_checkpoint_find(scratch("r/checkpoints"), path, (int)need, &err), 0);
    assert_int_equal(ddp_checkpoint_find(scratch("r/checkpoints"), path, (int)need - 1, &err), DDP_E_USAGE);
    /* one that was being replaced stands in when there is no other of its step, and
     * behind it when there is */
    assert_int_equal(
        rename(scratch("r/checkpoints/step-100000000"), scratch("r/checkpoints/step-100000000.old-3")), 0);
    assert_int_equal(ddp_checkpoint_find(scratch("r"), path, sizeof path, &err), 0);
    assert_string_equal(path, scratch("r/checkpoints/step-100000000.old-3"));
    assert_int_equal(ddp_checkpoint_load(path, &t.model, t.params, t.optim, &t.state, &err), 0);
    assert_int_equal(rename(path, scratch("r/checkpoints/step-00000005.old-3")), 0);
    assert_int_equal(ddp_dir_remove(scratch("r/checkpoints/step-99999999"), &err), 0);
    assert_int_equal(ddp_checkpoint_find(scratch("r"), path, sizeof path, &err), 0);
    assert_string_equal(path, scratch("r/checkpoints/step-00000005"));
    toy_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_checkpoint_round_trips_the_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_has_pytorch_names_and_shapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_snapshot_hash_is_that_of_its_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_of_another_model_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_of_another_optimizer_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_damage_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_find_knows_where_to_look, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
