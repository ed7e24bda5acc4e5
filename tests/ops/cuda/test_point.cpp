/* Activations, residual sums, biases against the CPU's kernels and sums in double. */
#include "kernel_kit.h"
#include "ops/point/point.h"
#include "ops/point/point_kernels.h"

/* elements, with sizes that leave blocks part empty */
static const int64_t counts[] = {8, 264, 2056, 4096};

static double silu_slope(double x)
{
    const double s = 1 / (1 + exp(-x));
    return s * (1 + x * (1 - s));
}
static double gelu_slope(double x)
{
    return 0.5 * (1 + erf(x * M_SQRT1_2)) + x * exp(-0.5 * x * x) * 0.3989422804014327;
}

/* f(x) and f'(x); for ReLU of the value itself, as its backward looks at out. */
static const float SLOPE = 0.125f;

static double value_of(enum ddp_act f, double x)
{
    return f == DDP_ACT_RELU      ? (x > 0 ? x : 0)
           : f == DDP_ACT_GELU    ? 0.5 * x * (1 + erf(x * M_SQRT1_2))
           : f == DDP_ACT_SILU    ? x / (1 + exp(-x))
           : f == DDP_ACT_TANH    ? tanh(x)
           : f == DDP_ACT_SIGMOID ? 1 / (1 + exp(-x))
           : x > 0                ? x
                                  : SLOPE * x;
}
static double slope_of(enum ddp_act f, double x, double y)
{
    return f == DDP_ACT_RELU      ? x > 0
           : f == DDP_ACT_GELU    ? gelu_slope(x)
           : f == DDP_ACT_SILU    ? silu_slope(x)
           : f == DDP_ACT_TANH    ? 1 - y * y
           : f == DDP_ACT_SIGMOID ? y * (1 - y)
           : x > 0                ? 1
                                  : SLOPE;
}

/* In fp32 tanh, sigmoid and leaky_relu have the bits of the CPU's op. */
static void expect_cpu_bits(enum ddp_act f, const Floats &x, const Floats &dout, const Floats &y,
                            const Floats &dx)
{
    static const struct ddp_op *const op[] = {&ddp_op_tanh, &ddp_op_sigmoid, &ddp_op_leaky_relu};
    const struct ddp_leaky_relu_conf conf = {SLOPE};
    struct kit_args a = {};
    a.op = op[f - DDP_ACT_TANH], a.conf = &conf;
    a.in.c = (int)x.size(), a.in.h = a.in.w = 1;
    a.batch = a.n = 1;
    a.x[0] = x.data(), a.dout = dout.data();
    const struct kit_variant variant = {NULL, 0, false, false, 0};
    struct kit_result want;
    kit_run(&a, &variant, &want);
    for (size_t i = 0; i < x.size(); i++)
        assert_true(y[i] == want.y[i] && dx[i] == want.dx[0][i]);
    kit_free(&want);
}

static void test_activations(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (int64_t count : counts)
            for (int f = DDP_ACT_RELU; f <= DDP_ACT_LEAKY_RELU; f++) {
                Floats x = random_floats(t, count, -6, 6, 1), dout = random_floats(t, count, -1, 1, 2),
                       before = random_floats(t, count, -1, 1, 3), y, dx, sum;
                x[0] = 0;
                x[1] = -0.0f;
                expect_same_bits([&](float) {
                    Device dev_x(t, x), dev_dout(t, dout), out(count * ddp_gpu_type_bytes(t)),
                        din(count * ddp_gpu_type_bytes(t)), acc(t, before);
                    struct ddp_gpu_act_args a = {};
                    a.type = t;
                    a.act = (enum ddp_act)f;
                    a.slope = SLOPE;
                    a.count = count;
                    a.c = a.real_c = 8;
                    a.x = dev_x.get();
                    a.out = out.get();
                    ddp_cuda_point_kernels.act_forward(stream, &a);
                    a.x = ddp_act_reads_out(a.act) ? out.get() : dev_x.get();
                    a.dout = dev_dout.get();
                    a.out = din.get();
                    ddp_cuda_point_kernels.act_backward(stream, &a);
                    a.out = acc.get();
                    a.accumulate = true;
                    ddp_cuda_point_kernels.act_backward(stream, &a);
                    y = out.floats(t), dx = din.floats(t), sum = acc.floats(t);
                    /* in place */
                    a.accumulate = false;
                    a.out = dev_dout.get();
                    ddp_cuda_point_kernels.act_backward(stream, &a);
                    assert_true(dev_dout.bytes() == din.bytes());
                    a.x = a.out = dev_x.get();
                    ddp_cuda_point_kernels.act_forward(stream, &a);
                    assert_true(dev_x.bytes() == out.bytes());
                    Bytes all = out.bytes();
                    append(all, din.bytes());
                    append(all, acc.bytes());
                    return all;
                });
                for (int64_t i = 0; i < count; i++) {
                    const enum ddp_act act = (enum ddp_act)f;
                    /* GELU: 1 + erf loses up to |x| 2^-24 for negative x */
                    const double slack =
                        f == DDP_ACT_RELU || f == DDP_ACT_LEAKY_RELU ? 0 : 0x1p-24 * (4 + 4 * fabs(x[i]));
                    const double g = slope_of(act, x[i], y[i]) * dout[i];
                    expect_near("out", t, y[i], value_of(act, x[i]), slack);
                    expect_near("din", t, dx[i], g, slack);
                    expect_near("din, added to", t, sum[i], before[i] + g, slack + 0x1p-24);
                }
                if (t == DDP_GPU_F32 && f >= DDP_ACT_TANH)
                    expect_cpu_bits((enum ddp_act)f, x, dout, y, dx);
            }
}

/* s(0) is not 0: pad lanes must be. */
static void test_sigmoid_leaves_pad_lanes_zero(void **)
{
    for (enum ddp_gpu_type t : all_types) {
        Device x(t, Floats(48, 0.0f));
        struct ddp_gpu_act_args a = {};
        a.type = t, a.act = DDP_ACT_SIGMOID, a.count = 48, a.c = 16, a.real_c = 11;
        a.x = a.out = x.get();
        ddp_cuda_point_kernels.act_forward(stream, &a);
        const Floats y = x.floats(t);
        for (int i = 0; i < 48; i++)
            assert_true(y[(size_t)i] == (i % 16 < 11 ? 0.5f : 0.0f));
    }
}

static void test_relu_passes_nan_on(void **)
{
    for (enum ddp_gpu_type t : all_types) {
        Floats x(8, -1.0f);
        x[3] = NAN;
        Device dev_x(t, x);
        struct ddp_gpu_act_args a = {};
        a.type = t, a.act = DDP_ACT_RELU, a.count = 8, a.x = dev_x.get(), a.out = dev_x.get();
        ddp_cuda_point_kernels.act_forward(stream, &a);
        const Floats y = dev_x.floats(t);
        for (int i = 0; i < 8; i++)
            assert_true(i == 3 ? y[i] != y[i] : y[i] == 0);
    }
}

static void test_residual_sums(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (int64_t count : counts)
            for (int relu = 0; relu < 2; relu++) {
                const Floats x = random_floats(t, count, -1, 1, 1), y = random_floats(t, count, -1, 1, 2),
                             dout = random_floats(t, count, -1, 1, 3),
                             before = random_floats(t, count, -1, 1, 4);
                Floats sum, dx, acc;
                expect_same_bits([&](float) {
                    Device dev_x(t, x), dev_y(t, y), dev_dout(t, dout), out(count * ddp_gpu_type_bytes(t)),
                        din(count * ddp_gpu_type_bytes(t)), added(t, before);
                    struct ddp_gpu_add_args a = {};
                    a.type = t;
                    a.count = count;
                    a.a = dev_x.get();
                    a.b = dev_y.get();
                    a.out = out.get();
                    a.relu = relu;
                    ddp_cuda_point_kernels.add_forward(stream, &a);
                    sum = out.floats(t);
                    struct ddp_gpu_add_args b = {};
                    b.type = t;
                    b.count = count;
                    b.a = dev_dout.get();
                    b.b = relu ? out.get() : NULL;
                    b.out = din.get();
                    ddp_cuda_point_kernels.add_backward(stream, &b);
                    dx = din.floats(t);
                    b.out = added.get();
                    b.accumulate = true;
                    ddp_cuda_point_kernels.add_backward(stream, &b);
                    acc = added.floats(t);
                    a.out = dev_y.get(); /* in place */
                    ddp_cuda_point_kernels.add_forward(stream, &a);
                    assert_true(dev_y.bytes() == out.bytes());
                    Bytes all = out.bytes();
                    append(all, din.bytes());
                    append(all, added.bytes());
                    return all;
                });
                for (int64_t i = 0; i < count; i++) {
                    const float s = x[i] + y[i], g = relu && !(sum[i] > 0) ? 0 : dout[i];
                    assert_true(sum[i] == rounded(t, relu && s <= 0 ? 0 : s));
                    assert_true(dx[i] == g);
                    assert_true(acc[i] == rounded(t, before[i] + g));
                }
            }
}

/* pixels: less than a row of the block, no multiple of a chunk, several chunks; channels of one vector, of an
 * odd number of vectors, of more than a tile. */
static const struct {
    int64_t pixels;
    int c;
} shapes[] = {{1, 8}, {3, 24}, {700, 8}, {1025, 24}, {513, 40}, {65, 296}, {37, 1040}};

static void test_bias_forward(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (auto s : shapes)
            for (int mode = 0; mode < 8; mode++) {
                const bool with_bias = mode & 1, with_other = mode & 2, relu = mode & 4;
                const int64_t count = s.pixels * s.c;
                const Floats y = random_floats(t, count, -1, 1, 1), other = random_floats(t, count, -1, 1, 2),
                             bias = random_floats(DDP_GPU_F32, s.c, -1, 1, 3);
                Floats out;
                if (s.pixels > 600 && mode % 3)
                    continue; /* enough of the large ones */
                expect_same_bits([&](float) {
                    Device dev(t, y), dev_other(t, other), dev_bias(DDP_GPU_F32, bias);
                    struct ddp_gpu_bias_args a = {};
                    a.type = t;
                    a.pixels = s.pixels;
                    a.c = s.c;
                    a.bias = with_bias ? dev_bias.as<float>() : NULL;
                    a.other = with_other ? dev_other.get() : NULL;
                    a.relu = relu;
                    a.y = dev.get();
                    ddp_cuda_point_kernels.bias_forward(stream, &a);
                    out = dev.floats(t);
                    return dev.bytes();
                });
                for (int64_t i = 0; i < count; i++) {
                    float v = y[i] + (with_bias ? bias[i % s.c] : 0);
                    v += with_other ? other[i] : 0;
                    assert_true(out[i] == rounded(t, relu && v <= 0 ? 0 : v));
                }
            }
}

static void test_bias_backward(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (auto s : shapes)
            for (int mode = 0; mode < 5; mode++) {
                const bool relu = mode & 1, with_other = mode >= 2, accumulate = mode == 3,
                           with_bias = mode < 4;
                const int64_t count = s.pixels * s.c;
                const Floats out = random_floats(t, count, -1, 1, 1),
                             dout = random_floats(t, count, -1, 1, 2),
                             before = random_floats(t, count, -1, 1, 3);
                Floats dz, dother, dbias;
                expect_same_bits([&](float) {
                    Device dev_out(t, out), dev_dout(t, dout), other(t, before), db((size_t)s.c * 4),
                        partial((size_t)ddp_gpu_partials(s.pixels, s.c) * 4);
                    struct ddp_gpu_bias_grad_args a = {};
                    a.type = t;
                    a.pixels = s.pixels;
                    a.c = s.c;
                    a.relu = relu;
                    a.out = dev_out.get();
                    a.dout = dev_dout.get();
                    a.dother = with_other ? other.get() : NULL;
                    a.accumulate = accumulate;
                    a.dbias = with_bias ? db.as<float>() : NULL;
                    a.partial = partial.as<float>();
                    ddp_cuda_point_kernels.bias_backward(stream, &a);
                    dz = dev_dout.floats(t), dother = other.floats(t);
                    Bytes all = dev_dout.bytes();
                    append(all, other.bytes());
                    if (with_bias) {
                        dbias = db.floats();
                        append(all, db.bytes());
                    }
                    return all;
                });
                std::vector<double> sum(s.c, 0.0);
                for (int64_t i = 0; i < count; i++) {
                    const float g = relu && !(out[i] > 0) ? 0 : dout[i];
                    assert_true(dz[i] == g);
                    assert_true(dother[i] ==
                                (with_other ? rounded(t, accumulate ? before[i] + g : g) : before[i]));
                    sum[i % s.c] += g;
                }
                /* chains of a thread (up to 512 / rows terms), the tree, the last rounding */
                for (int c = 0; with_bias && c < s.c; c++)
                    expect_near("dbias", DDP_GPU_F32, dbias[c], sum[c],
                                0x1p-24 * 40 * sqrt((double)s.pixels));
            }
}

/* More chunks than 256, which are added by more threads. Integers: the sum is exact in any order. */
static void test_bias_of_many_pixels(void **)
{
    const int64_t pixels = 257 * DDP_GPU_SUM_ROWS + 3;
    Floats dout((size_t)pixels * 8), want(8, 0.0f);
    for (size_t i = 0; i < dout.size(); i++) {
        dout[i] = (float)((i * 7 + i / 1000) % 16) - 7;
        want[i % 8] += dout[i];
    }
    Device dev(DDP_GPU_BF16, dout), dbias(32), partial((size_t)ddp_gpu_partials(pixels, 8) * 4);
    struct ddp_gpu_bias_grad_args a = {};
    a.type = DDP_GPU_BF16, a.pixels = pixels, a.c = 8, a.dout = dev.get();
    a.dbias = dbias.as<float>(), a.partial = partial.as<float>();
    ddp_cuda_point_kernels.bias_backward(stream, &a);
    assert_true(dbias.floats() == want);
    assert_int_equal(emu_faults(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations),         cmocka_unit_test(test_sigmoid_leaves_pad_lanes_zero),
        cmocka_unit_test(test_relu_passes_nan_on),  cmocka_unit_test(test_residual_sums),
        cmocka_unit_test(test_bias_forward),        cmocka_unit_test(test_bias_backward),
        cmocka_unit_test(test_bias_of_many_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
