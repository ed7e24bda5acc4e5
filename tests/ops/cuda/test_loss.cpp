/* Losses against the CPU's ops: loss, right answers, gradient. */
#include "kernel_kit.h"
#include "ops/loss/loss_conf.h"
#include "ops/loss/loss_kernels.h"

enum kind { CROSS_ENTROPY, MSE, MAE, HUBER, KINDS };

static const struct ddp_op *const op_of[KINDS] = {&ddp_op_softmax_cross_entropy, &ddp_op_mse, &ddp_op_mae,
                                                  &ddp_op_huber};

struct result {
    float loss, error;
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

typedef std::vector<struct ddp_mixed> Mixed;

/* target and mixed empty: labels. */
static Bytes run(int kind, enum ddp_gpu_type t, const struct problem *p, const Floats &x,
                 const std::vector<int32_t> &label, const Floats &target, const Mixed &mixed, bool training,
                 float garbage, struct result *r)
{
    void (*const launch[KINDS])(struct ddp_gpu_stream *, const struct ddp_gpu_loss_args *) = {
        ddp_cuda_loss_kernels.softmax_cross_entropy, ddp_cuda_loss_kernels.mse, ddp_cuda_loss_kernels.mae,
        ddp_cuda_loss_kernels.huber};
    const int c = padded(p->classes);
    const struct ddp_shape s = {p->classes, 1, 1};
    std::vector<int32_t> labels(label);
    labels.resize((size_t)p->batch, 1 << 20); /* nobody may look there */
    Mixed answers(mixed);
    answers.resize((size_t)p->batch, {1 << 20, 1 << 20, NAN});
    Floats targets(target);
    targets.resize((size_t)p->batch * p->classes, NAN);
    const struct ddp_gpu_scale scale = {p->scale, 0, 0, 0, 0, 0};
    Device dev_n = Device::of((int32_t)p->n), dev_x(t, to_device_order(x, p->n, p->batch, s, c, garbage)),
           dev_label(labels.data(), labels.size() * 4), dev_scale = Device::of(scale),
           dx((size_t)p->batch * c * ddp_gpu_type_bytes(t)), sample((size_t)p->batch * 8), loss(4),
           correct(4), dev_target(targets.data(), targets.size() * 4),
           dev_mixed(answers.data(), answers.size() * sizeof(struct ddp_mixed));
    struct ddp_gpu_loss_args a = {};
    a.type = t;
    a.n = dev_n.as<int32_t>();
    a.batch = p->batch;
    a.classes = p->classes;
    a.c = c;
    a.x = dev_x.get();
    if (!mixed.empty())
        a.mixed = dev_mixed.as<struct ddp_mixed>();
    else if (target.empty())
        a.label = dev_label.as<int32_t>();
    else
        a.target = dev_target.as<float>();
    a.smoothing = a.delta = p->smoothing;
    a.scale = p->scale ? dev_scale.as<struct ddp_gpu_scale>() : NULL;
    a.dx = training ? dx.get() : NULL;
    a.sample = sample.as<float>();
    a.loss = loss.as<float>();
    if (target.empty())
        a.correct = correct.as<int32_t>();
    else
        a.error = correct.as<float>();
    launch[kind](stream, &a);
    Bytes all = loss.bytes();
    append(all, correct.bytes());
    r->loss = loss.floats()[0];
    memcpy(&r->correct, correct.bytes().data(), 4);
    memcpy(&r->error, correct.bytes().data(), 4);
    if (training) {
        append(all, dx.bytes());
        r->dx = dx.floats(t);
    } else {
        assert_int_equal(emu_unwritten(dx.get(), 1), 0);
    }
    return all;
}

static void check(int kind, enum ddp_gpu_type t, const struct problem *p, const Floats &x,
                  const std::vector<int32_t> &label, const Floats &target, const Mixed &mixed)
{
    const struct ddp_softmax_cross_entropy_conf conf = {p->smoothing};
    const struct ddp_shape s = {p->classes, 1, 1};
    struct kit_args a = {};
    a.op = op_of[kind];
    a.conf = &conf;
    a.in = s;
    a.batch = p->batch;
    a.n = p->n;
    a.x[0] = x.data();
    if (!mixed.empty())
        a.mixed = mixed.data();
    else if (target.empty())
        a.label = label.data();
    else
        a.target = target.data();
    const struct kit_variant plain = {NULL, 0, true, true, 0};
    struct kit_result want;
    kit_run(&a, &plain, &want);
    struct result got, eval;
    expect_same_bits(
        [&](float garbage) { return run(kind, t, p, x, label, target, mixed, true, garbage, &got); });
    expect_same_bits(
        [&](float garbage) { return run(kind, t, p, x, label, target, mixed, false, garbage, &eval); });
    assert_true(got.loss == eval.loss);
    assert_int_equal(eval.correct, got.correct);
    if (target.empty())
        assert_int_equal(got.correct, want.correct);
    /* exp, log and division within 2 ulp each, chains of a lane: classes / 32 terms and 5 levels; the tree
     * over samples is the same */
    const double chain = 0x1p-24 * (16 + p->classes / 16);
    if (!target.empty())
        expect_near("error", DDP_GPU_F32, got.error, want.error, chain * (p->n + fabs(want.error)));
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
            for (int form = 0; form < 3 * KINDS; form++) { /* with labels, targets, mixed */
                const int kind = form % KINDS;
                const bool targets = form / KINDS == 1, mixes = form / KINDS == 2;
                if (kind == CROSS_ENTROPY && targets)
                    continue;
                if (p.batch > 1000 && (t == DDP_GPU_F16 || (form != CROSS_ENTROPY && form != KINDS + HUBER)))
                    continue;
                const Floats x = random_floats(t, (int64_t)p.n * p.classes, -4, 4, 1);
                std::vector<int32_t> label((size_t)p.n + 1, 0);
                for (int i = 0; i < p.n; i++)
                    label[(size_t)i] = i * 7 % p.classes;
                const Floats target =
                    targets ? random_floats(DDP_GPU_F32, (int64_t)p.n * p.classes + 1, -3, 3, 2) : Floats();
                struct problem of = p;
                if (kind == HUBER && of.smoothing == 0)
                    of.smoothing = 1.5f; /* delta */
                Mixed mixed;
                for (int i = 0; i < p.n && mixes; i++)
                    mixed.push_back({label[(size_t)i], (i * 5 + 1) % p.classes, (float)(i % 5) / 4});
                check(kind, t, &of, x, label, target, mixed);
            }
}

/* Of equal values the lowest class is the answer, in whichever lane it lies; the largest may be infinitely
 * small. */
static void test_equals_and_extremes(void **)
{
    for (int kind = 0; kind < KINDS; kind++) {
        const struct problem p = {70, 4, 4, kind == HUBER ? 1.0f : 0.0f, 0};
        Floats x(4 * 70, -1.0f);
        x[3] = x[36] = x[68] = 2;    /* 3 */
        x[70 + 69] = x[70 + 40] = 5; /* 40 */
        for (int c = 0; c < 70; c++)
            x[140 + (size_t)c] = 7;         /* 0 */
        x[210 + 64] = 88, x[210 + 5] = -88; /* 64 */
        check(kind, DDP_GPU_F32, &p, x, {3, 40, 0, 64}, {}, {});
        check(kind, DDP_GPU_F32, &p, x, {36, 69, 1, 0}, {}, {});
    }
}

static void test_nan_reaches_the_loss(void **)
{
    for (int kind = 0; kind < KINDS; kind++) {
        const struct problem p = {10, 2, 2, kind == HUBER ? 1.0f : 0.0f, 0};
        Floats x = random_floats(DDP_GPU_F32, 20, -1, 1, 1);
        x[13] = NAN;
        struct result r;
        run(kind, DDP_GPU_F32, &p, x, {0, 1}, {}, {}, true, 0, &r);
        assert_true(r.loss != r.loss);
        assert_int_equal(emu_faults(), 0);
    }
}

static void test_empty_shard(void **)
{
    for (int kind = 0; kind < KINDS; kind++) {
        const struct problem p = {10, 3, 0, 0.1f, 4};
        struct result r;
        run(kind, DDP_GPU_BF16, &p, {}, {}, {}, {}, true, 100, &r);
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
