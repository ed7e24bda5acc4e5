/* Losses against the CPU's ops: loss, right answers, gradient. */
#include "kernel_kit.h"
#include "ops/loss/loss_conf.h"
#include "ops/loss/loss_kernels.h"

struct result {
    float loss;
    int32_t correct;
    Floats dx; /* [batch][c] */
};

struct problem {
    int classes, batch, n;
    float smoothing, scale; /* scale 0: none given */
};

static const struct problem problems[] = {
    {10, 6, 6, 0, 0},         {10, 6, 5, 0.1f, 1},     {1, 3, 2, 0.1f, 0},     {17, 9, 4, 0, 1024},
    {100, 5, 5, 0.25f, 0.5f}, {1000, 3, 2, 0.1f, 128}, {10, 1030, 1027, 0, 0}, {10, 4, 0, 0.1f, 2},
};

static int padded(int c)
{
    return (c + 7) / 8 * 8;
}

static Bytes run(bool softmax, enum ddp_gpu_type t, const struct problem *p, const Floats &x,
                 const std::vector<int32_t> &label, bool training, float garbage, struct result *r)
{
    const int c = padded(p->classes);
    const struct ddp_shape s = {p->classes, 1, 1};
    std::vector<int32_t> labels(label);
    labels.resize((size_t)p->batch, 1 << 20); /* nobody may look there */
    const struct ddp_gpu_scale scale = {p->scale, 0, 0, 0, 0, 0};
    Device dev_n = Device::of((int32_t)p->n), dev_x(t, to_device_order(x, p->n, p->batch, s, c, garbage)),
           dev_label(labels.data(), labels.size() * 4), dev_scale = Device::of(scale),
           dx((size_t)p->batch * c * ddp_gpu_type_bytes(t)), sample((size_t)p->batch * 8), loss(4),
           correct(4);
    struct ddp_gpu_loss_args a = {};
    a.type = t;
    a.n = dev_n.as<int32_t>();
    a.batch = p->batch;
    a.classes = p->classes;
    a.c = c;
    a.x = dev_x.get();
    a.label = dev_label.as<int32_t>();
    a.smoothing = p->smoothing;
    a.scale = p->scale ? dev_scale.as<struct ddp_gpu_scale>() : NULL;
    a.dx = training ? dx.get() : NULL;
    a.sample = sample.as<float>();
    a.loss = loss.as<float>();
    a.correct = correct.as<int32_t>();
    (softmax ? ddp_cuda_loss_kernels.softmax_cross_entropy : ddp_cuda_loss_kernels.mse)(stream, &a);
    Bytes all = loss.bytes();
    append(all, correct.bytes());
    r->loss = loss.floats()[0];
    memcpy(&r->correct, correct.bytes().data(), 4);
    if (training) {
        append(all, dx.bytes());
        r->dx = dx.floats(t);
    } else {
        assert_int_equal(emu_unwritten(dx.get(), 1), 0);
    }
    return all;
}

static void check(bool softmax, enum ddp_gpu_type t, const struct problem *p, const Floats &x,
                  const std::vector<int32_t> &label)
{
    const struct ddp_softmax_cross_entropy_conf conf = {p->smoothing};
    const struct ddp_shape s = {p->classes, 1, 1};
    struct kit_args a = {};
    a.op = softmax ? &ddp_op_softmax_cross_entropy : &ddp_op_mse;
    a.conf = &conf;
    a.in = s;
    a.batch = p->batch;
    a.n = p->n;
    a.x[0] = x.data();
    a.label = label.data();
    const struct kit_variant plain = {NULL, 0, true, true, 0};
    struct kit_result want;
    kit_run(&a, &plain, &want);
    struct result got, eval;
    expect_same_bits([&](float garbage) { return run(softmax, t, p, x, label, true, garbage, &got); });
    expect_same_bits([&](float garbage) { return run(softmax, t, p, x, label, false, garbage, &eval); });
    assert_true(got.loss == eval.loss);
    assert_int_equal(got.correct, want.correct);
    assert_int_equal(eval.correct, want.correct);
    /* exp, log and division within 2 ulp each, chains of a lane: classes / 32 terms and 5 levels; the tree
     * over samples is the same */
    const double chain = 0x1p-24 * (16 + p->classes / 16);
    expect_near("loss", DDP_GPU_F32, got.loss, want.loss, chain * (p->n + fabs(want.loss)));
    const float scale = p->scale ? p->scale : 1;
    const Floats dx = to_plain_order(got.dx, p->n, p->batch, s, padded(p->classes), true);
    for (size_t i = 0; i < dx.size(); i++)
        expect_near("dx", t, dx[i], (double)want.dx[0][i] * scale, chain * 4 * scale);
    kit_free(&want);
}

static void test_losses_as_on_the_cpu(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (const struct problem &p : problems)
            for (int softmax = 0; softmax < 2; softmax++) {
                if (p.batch > 1000 && t == DDP_GPU_F16)
                    continue;
                const Floats x = random_floats(t, (int64_t)p.n * p.classes, -4, 4, 1);
                std::vector<int32_t> label((size_t)p.n + 1, 0);
                for (int i = 0; i < p.n; i++)
                    label[(size_t)i] = i * 7 % p.classes;
                check(softmax, t, &p, x, label);
            }
}

/* Of equal values the lowest class is the answer, in whichever lane it lies; the largest may be infinitely
 * small. */
static void test_equals_and_extremes(void **)
{
    for (int softmax = 0; softmax < 2; softmax++) {
        const struct problem p = {70, 4, 4, 0, 0};
        Floats x(4 * 70, -1.0f);
        x[3] = x[36] = x[68] = 2;    /* 3 */
        x[70 + 69] = x[70 + 40] = 5; /* 40 */
        for (int c = 0; c < 70; c++)
            x[140 + (size_t)c] = 7;         /* 0 */
        x[210 + 64] = 88, x[210 + 5] = -88; /* 64 */
        check(softmax, DDP_GPU_F32, &p, x, {3, 40, 0, 64});
        check(softmax, DDP_GPU_F32, &p, x, {36, 69, 1, 0});
    }
}

static void test_nan_reaches_the_loss(void **)
{
    for (int softmax = 0; softmax < 2; softmax++) {
        const struct problem p = {10, 2, 2, 0, 0};
        Floats x = random_floats(DDP_GPU_F32, 20, -1, 1, 1);
        x[13] = NAN;
        struct result r;
        run(softmax, DDP_GPU_F32, &p, x, {0, 1}, true, 0, &r);
        assert_true(r.loss != r.loss);
        assert_int_equal(emu_faults(), 0);
    }
}

static void test_empty_shard(void **)
{
    for (int softmax = 0; softmax < 2; softmax++) {
        const struct problem p = {10, 3, 0, 0.1f, 4};
        struct result r;
        run(softmax, DDP_GPU_BF16, &p, {}, {}, true, 100, &r);
        assert_true(r.loss == 0);
        assert_int_equal(r.correct, 0);
        for (float v : r.dx)
            assert_true(v == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses_as_on_the_cpu),
        cmocka_unit_test(test_equals_and_extremes),
        cmocka_unit_test(test_nan_reaches_the_loss),
        cmocka_unit_test(test_empty_shard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
