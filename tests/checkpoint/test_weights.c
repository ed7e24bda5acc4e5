/* Weights by name: from our files, PyTorch's types, other models; and the script that
 * recomputes their hash. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "toy_model.h"

/* The tensors of the toy model as a PyTorch file would hold them: element e of tensor i is value(i, e). */
enum { MAX_ELEMENTS = 800 };
struct file {
    struct ddp_st_tensor t[TOY_TENSORS + 2];
    float f32[TOY_TENSORS][MAX_ELEMENTS];
    double f64[MAX_ELEMENTS];
    uint16_t u16[MAX_ELEMENTS];
    int64_t tracked;
    int n;
};

static float value(int i, int e)
{
    return (float)(e % 256 - 128) / 64 + (float)i * 4; /* exact in 16 bits too */
}

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

static void file_init(struct file *f, const struct toy *t)
{
    memset(f, 0, sizeof *f);
    f->tracked = 4242;
    for (int i = 0; i < TOY_TENSORS; i++) {
        const struct ddp_param *p = &t->model.tensor[i].param;
        struct ddp_st_tensor *x = &f->t[f->n++];
        *x = (struct ddp_st_tensor){
            .name = t->model.tensor[i].name, .dtype = "F32", .ndim = p->ndim, .data = f->f32[i]};
        int64_t n = ddp_layout_plain_size(p);
        assert_true(n <= MAX_ELEMENTS);
        memcpy(x->dims, p->dims, sizeof p->dims);
        x->bytes = (size_t)n * 4;
        for (int e = 0; e < n; e++)
            f->f32[i][e] = value(i, e);
    }
    f->t[f->n++] = (struct ddp_st_tensor){
        .name = "bn1.num_batches_tracked", .dtype = "I64", .data = &f->tracked, .bytes = 8};
}

static void file_write(const struct file *f)
{
    struct ddp_error err = {0};
    if (ddp_st_write(scratch("w"), f->t, f->n, NULL, &err) != 0)
        fail_msg("%s", err.text);
}

/* Tensor i of the model holds value(i, ·); or else what it was filled with. */
static void expect_tensor(struct toy *t, int i, bool loaded)
{
    const struct ddp_flat_tensor *x = &t->model.tensor[i];
    float plain[MAX_ELEMENTS];
    ddp_layout_unpack(&x->param, t->params + x->offset, plain);
    for (int e = 0; e < ddp_layout_plain_size(&x->param); e++)
        assert_true((plain[e] == value(i, e)) == loaded);
}

static void test_weights_load_by_name(void **state)
{
    (void)state;
    struct toy t;
    struct file f;
    struct ddp_error err = {0};
    int64_t tracked = -1;
    toy_init(&t, 10, DDP_OPTIM_SGD, 1);
    file_init(&f, &t);
    file_write(&f);
    if (ddp_weights_load(scratch("w"), &t.model, t.params, true, &tracked, &err) != 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < TOY_TENSORS; i++)
        expect_tensor(&t, i, true);
    assert_int_equal(tracked, 4242);
    /* older files have no counter, which is fine and counts as 0; who does not ask need not take it */
    f.n--;
    file_write(&f);
    assert_int_equal(ddp_weights_load(scratch("w"), &t.model, t.params, true, &tracked, &err), 0);
    assert_int_equal(tracked, 0);
    assert_int_equal(ddp_weights_load(scratch("w"), &t.model, t.params, true, NULL, &err), 0);
    toy_finish(&t);
}

static void test_weights_load_converts_types(void **state)
{
    (void)state;
    static const char *const types[] = {"F64", "BF16", "F16"};
    for (int k = 0; k < 3; k++) {
        struct toy t;
        struct file f;
        struct ddp_error err = {0};
        toy_init(&t, 10, DDP_OPTIM_SGD, 1);
        file_init(&f, &t);
        /* fc.bias, [10] */
        for (int e = 0; e < 10; e++) {
            float v = value(4, e);
            uint32_t bits;
            memcpy(&bits, &v, 4);
            f.f64[e] = v;
            f.u16[e] = k == 1 ? (uint16_t)(bits >> 16)
                              : (uint16_t)((bits >> 16 & 0x8000) | (((bits >> 23 & 255) - 112) << 10) |
                                           (bits >> 13 & 1023));
        }
        f.t[4].dtype = types[k];
        f.t[4].data = k == 0 ? (const void *)f.f64 : (const void *)f.u16;
        f.t[4].bytes = k == 0 ? 80 : 20;
        file_write(&f);
        if (ddp_weights_load(scratch("w"), &t.model, t.params, true, NULL, &err) != 0)
            fail_msg("%s", err.text);
        for (int i = 0; i < TOY_TENSORS; i++)
            if (i != 4 || k != 1)
                expect_tensor(&t, i, true);
        for (int e = 0; e < 10; e++)
            assert_true(fabsf(t.params[t.model.tensor[4].offset + e] - value(4, e)) <= 0.0625f);
        toy_finish(&t);
    }
}

static void test_weights_load_knows_all_halves(void **state)
{
    (void)state;
    static const struct {
        uint16_t bits;
        float want;
    } f16[] = {
        {0x3c00, 1},        {0xc000, -2},    {0x0000, 0},     {0x0001, 0x1p-24f}, {0x83ff, -1023 * 0x1p-24f},
        {0x0400, 0x1p-14f}, {0x7bff, 65504}, {0x7800, 32768}, {0xfbff, -65504},   {0x3555, 0.333251953125f}};
    static const struct {
        uint16_t bits;
        float want;
    } bf16[] = {{0x3f80, 1},        {0xc000, -2},           {0, 0},
                {0x7f00, 0x1p127f}, {0x3eab, 0.333984375f}, {0x0001, 0x1p-133f}};
    struct toy t;
    struct file f;
    struct ddp_error err = {0};
    toy_init(&t, 10, DDP_OPTIM_SGD, 1);
    file_init(&f, &t);
    f.t[4].data = f.u16;
    f.t[4].bytes = 20;
    f.t[4].dtype = "F16";
    for (int e = 0; e < 10; e++)
        f.u16[e] = f16[e].bits;
    file_write(&f);
    assert_int_equal(ddp_weights_load(scratch("w"), &t.model, t.params, true, NULL, &err), 0);
    for (int e = 0; e < 10; e++)
        assert_true(t.params[t.model.tensor[4].offset + e] == f16[e].want);
    f.t[4].dtype = "BF16";
    for (int e = 0; e < 6; e++)
        f.u16[e] = bf16[e].bits;
    file_write(&f);
    assert_int_equal(ddp_weights_load(scratch("w"), &t.model, t.params, true, NULL, &err), 0);
    for (int e = 0; e < 6; e++)
        assert_true(t.params[t.model.tensor[4].offset + e] == bf16[e].want);
    static const struct {
        const char *dtype, *text;
        uint16_t bits;
    } bad[] = {{"BF16", "holds nan", 0x7fc0}, {"BF16", "holds inf", 0x7f80}, {"F16", "holds -inf", 0xfc00}};
    for (size_t k = 0; k < DDP_COUNT(bad); k++) {
        f.t[4].dtype = bad[k].dtype;
        f.u16[0] = bad[k].bits;
        file_write(&f);
        assert_int_equal(ddp_weights_load(scratch("w"), &t.model, t.params, true, NULL, &err), DDP_E_NUMERIC);
        assert_non_null(strstr(err.text, bad[k].text));
    }
    toy_finish(&t);
}

/* What a file may lack or have too much: refused when strict, else the rest is taken. */
static void test_weights_load_strict_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int tensor; /* changed: -1 none */
        const char *rename, *dtype;
        bool extra, drop;
        const char *want;
    } cases[] = {
        {"missing", 3, "head.weight", NULL, false, false,
         "'fc.weight' (F32 [10, 80]) is not in it; 'head.weight' is not in"},
        {"type", 1, NULL, "I32", false, false, "'bn1.weight' is I32 [20] there and F32 [20] here"},
        {"extra", -1, NULL, NULL, true, false, "'aux.weight' is not in the model"},
        {"shape", 2, NULL, NULL, false, true, "'bn1.bias' is F32 [19] there and F32 [20] here"},
    };
    for (size_t c = 0; c < DDP_COUNT(cases); c++) {
        struct toy t;
        struct file f;
        struct ddp_error err = {0};
        char before[65], after[65];
        int64_t tracked = -1;
        toy_init(&t, 10, DDP_OPTIM_SGD, 1);
        file_init(&f, &t);
        if (cases[c].rename)
            f.t[cases[c].tensor].name = cases[c].rename;
        if (cases[c].dtype)
            f.t[cases[c].tensor].dtype = cases[c].dtype;
        if (cases[c].drop) {
            f.t[cases[c].tensor].dims[0]--;
            f.t[cases[c].tensor].bytes -= 4;
        }
        if (cases[c].extra)
            f.t[f.n++] =
                (struct ddp_st_tensor){.name = "aux.weight", .dtype = "F32", .data = f.f32, .bytes = 4};
        file_write(&f);
        toy_hash(&t, before);
        int status = ddp_weights_load(scratch("w"), &t.model, t.params, true, &tracked, &err);
        if (status != DDP_E_CHECKPOINT || !strstr(err.text, cases[c].want) ||
            !strstr(err.text, "init.strict"))
            fail_msg("%s: %d: %s", cases[c].name, status, err.text);
        toy_hash(&t, after);
        assert_string_equal(after, before);
        assert_int_equal(tracked, -1);
        assert_int_equal(ddp_weights_load(scratch("w"), &t.model, t.params, false, &tracked, &err), 0);
        assert_int_equal(tracked, 4242);
        for (int i = 0; i < TOY_TENSORS; i++)
            expect_tensor(&t, i, i != cases[c].tensor);
        toy_finish(&t);
    }
}

static void test_weights_load_refuses_what_is_nothing_like_it(void **state)
{
    (void)state;
    struct toy t;
    struct ddp_error err = {0};
    toy_init(&t, 10, DDP_OPTIM_SGD, 1);
    static const float x = 1;
    static const struct ddp_st_tensor other = {.name = "a", .dtype = "F32", .data = &x, .bytes = 4};
    assert_int_equal(ddp_st_write(scratch("w"), &other, 1, NULL, &err), 0);
    assert_int_equal(ddp_weights_load(scratch("w"), &t.model, t.params, false, NULL, &err), DDP_E_CHECKPOINT);
    assert_non_null(strstr(err.text, "none of its 1 tensors fits"));
    assert_int_equal(ddp_weights_load(scratch("missing"), &t.model, t.params, false, NULL, &err), DDP_E_IO);
    scratch_write(scratch("model.pt"), "PK\3\4 a pickle in a zip file", 26);
    assert_int_equal(ddp_weights_load(scratch("model.pt"), &t.model, t.params, false, NULL, &err),
                     DDP_E_CHECKPOINT);
    assert_non_null(strstr(err.text, "safetensors.torch.save_file"));
    assert_int_equal(ddp_weights_load(scratch(""), &t.model, t.params, false, NULL, &err), DDP_E_CHECKPOINT);
    assert_non_null(strstr(err.text, "there is no checkpoint"));
    toy_finish(&t);
}

static void test_weights_load_names_what_is_not_finite(void **state)
{
    (void)state;
    struct toy t;
    struct ddp_error err = {0};
    toy_init(&t, 10, DDP_OPTIM_SGD, 1);
    static struct file f;
    file_init(&f, &t);
    f.f32[1][3] = INFINITY;
    file_write(&f);
    assert_int_equal(ddp_weights_load(scratch("w"), &t.model, t.params, true, NULL, &err), DDP_E_NUMERIC);
    if (!strstr(err.text, "weights that are not finite: 'bn1.weight' holds inf (1 of 20 elements"))
        fail_msg("%s", err.text);
    toy_finish(&t);
}

static void test_weights_load_from_runs_and_checkpoints(void **state)
{
    (void)state;
    struct toy a, b;
    toy_init(&a, 10, DDP_OPTIM_SGD, 1);
    toy_save(&a, scratch("run/checkpoints"), 400, false);
    toy_fill(&a, 5);
    a.state.batches_tracked = 501;
    toy_save(&a, scratch("run/checkpoints"), 500, false);
    static const char *const from[] = {"run", "run/checkpoints/step-00000500",
                                       "run/checkpoints/step-00000500/model.safetensors"};
    for (size_t i = 0; i < DDP_COUNT(from); i++) {
        struct ddp_error err = {0};
        int64_t tracked = 0;
        toy_init(&b, 10, DDP_OPTIM_ADAMW, 2);
        if (ddp_weights_load(scratch(from[i]), &b.model, b.params, true, &tracked, &err) != 0)
            fail_msg("%s", err.text);
        assert_memory_equal(a.params, b.params, (size_t)a.model.flat.total * 4);
        assert_int_equal(tracked, 501);
        toy_finish(&b);
    }
    toy_finish(&a);
}

static void test_weights_hash_script_agrees(void **state)
{
    (void)state;
    if (system("python3 -c 'import hashlib' >/dev/null 2>&1") != 0) {
        print_message("skipped: no python3\n");
        skip();
    }
    struct toy t;
    struct ddp_snapshot *s;
    struct ddp_error err = {0};
    char want[65], got[80] = "", command[1024];
    toy_init(&t, 10, DDP_OPTIM_SGD, 1);
    assert_int_equal(ddp_snapshot_create(&t.model, NULL, &s, &err), 0);
    ddp_snapshot_take(s, t.params, &t.state);
    ddp_snapshot_hash(s, want);
    assert_int_equal(ddp_snapshot_write_model(s, scratch("m"), &err), 0);
    snprintf(command, sizeof command, "'%s/weights-hash' '%s'", DDP_SCRIPTS, scratch("m"));
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(got, sizeof got, p));
    assert_int_equal(pclose(p), 0);
    got[strcspn(got, "\n")] = '\0';
    assert_string_equal(got, want);
    ddp_snapshot_destroy(s);
    toy_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_weights_load_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_load_converts_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_load_knows_all_halves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_load_strict_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_load_refuses_what_is_nothing_like_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_load_names_what_is_not_finite, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_load_from_runs_and_checkpoints, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_hash_script_agrees, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
