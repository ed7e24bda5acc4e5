/* group_norm and layer_norm have the bits of the CPU's op, rounded to the type. */
#include "kernel_kit.h"
#include "ops/norm/group_norm.h"
#include "ops/norm/group_norm_kernels.h"

struct problem {
    struct ddp_shape in;
    int groups; /* 0: layer_norm */
    int batch, n;
    bool affine;
};

static const struct problem problems[] = {
    {{6, 4, 4}, 2, 3, 3, true},   {{20, 3, 2}, 4, 3, 2, true}, {{33, 5, 3}, 3, 2, 1, false},
    {{16, 2, 9}, 1, 2, 2, true},  {{40, 1, 1}, 8, 3, 2, true}, {{300, 1, 1}, 2, 2, 2, true},
    {{3, 5, 7}, 0, 3, 2, true},   {{20, 3, 2}, 0, 2, 2, true}, {{10, 1, 1}, 0, 3, 3, true},
    {{300, 1, 1}, 0, 2, 1, true}, {{4, 3, 3}, 0, 2, 2, false}, {{8, 2, 2}, 2, 2, 0, true},
};

static int padded(int c)
{
    return (c + 7) / 8 * 8;
}

static void check(enum ddp_gpu_type t, const struct problem &p, bool accumulate)
{
    const struct ddp_group_norm_conf conf = {1e-5, p.affine, p.groups};
    const struct ddp_shape in = p.in;
    const int c = padded(in.c), groups = p.groups ? p.groups : 1;
    const int64_t elements = (int64_t)in.c * in.h * in.w, count = p.n * elements,
                  scales = p.groups ? in.c : elements;
    const Floats x = random_floats(t, count, -2, 3, 1), dout = random_floats(t, count, -1, 1, 2),
                 before = random_floats(t, count, -1, 1, 3),
                 weight = random_floats(DDP_GPU_F32, scales, 0.5f, 1.5f, 4),
                 bias = random_floats(DDP_GPU_F32, scales, -1, 1, 5);
    struct kit_args a = {};
    a.op = p.groups ? &ddp_op_group_norm : &ddp_op_layer_norm;
    a.conf = &conf;
    a.in = in;
    a.batch = p.batch;
    a.n = p.n;
    a.x[0] = x.data();
    a.dout = dout.data();
    a.before[0] = accumulate ? before.data() : NULL;
    a.param[0] = weight.data();
    a.param[1] = bias.data();
    const struct kit_variant variant = {NULL, 0, false, false, 0};
    struct kit_result want;
    kit_run(&a, &variant, &want);
    Floats y, dx, dweight, dbias;
    expect_same_bits([&](float garbage) {
        const size_t size = (size_t)p.batch * in.h * in.w * c * ddp_gpu_type_bytes(t);
        Device dev_x(t, to_device_order(x, p.n, p.batch, in, c, garbage)),
            dev_dout(t, to_device_order(dout, p.n, p.batch, in, c, garbage)), out(size),
            din(t, to_device_order(before, p.n, p.batch, in, c, 0)), w(DDP_GPU_F32, weight),
            b(DDP_GPU_F32, bias), dw((size_t)scales * 4), db((size_t)scales * 4),
            stats((size_t)p.batch * groups * 12), sums((size_t)p.batch * 2 * in.c * 4),
            means((size_t)p.batch * groups * 8), n = Device::of(p.n);
        struct ddp_gpu_group_args g = {};
        g.type = t, g.n = n.as<int32_t>(), g.batch = p.batch, g.hw = in.h * in.w, g.c = c, g.real_c = in.c;
        g.groups = groups, g.elements = p.groups == 0, g.eps = (float)conf.eps;
        g.x = dev_x.get(), g.stats = stats.as<float>(), g.y = out.get();
        if (p.affine) {
            g.weight = w.as<float>(), g.bias = b.as<float>();
            g.dweight = dw.as<float>(), g.dbias = db.as<float>();
        }
        ddp_cuda_group_norm_kernels.group_stats(stream, &g);
        ddp_cuda_group_norm_kernels.group_forward(stream, &g);
        g.dout = dev_dout.get(), g.sums = sums.as<float>(), g.means = means.as<float>(), g.din = din.get();
        g.accumulate = accumulate;
        ddp_cuda_group_norm_kernels.group_grad_stats(stream, &g);
        ddp_cuda_group_norm_kernels.group_grad(stream, &g);
        y = to_plain_order(out.floats(t), p.n, p.batch, in, c, true);
        dx = to_plain_order(din.floats(t), p.n, p.batch, in, c, true);
        Bytes all = out.bytes();
        append(all, din.bytes());
        if (p.affine) {
            dweight = dw.floats(), dbias = db.floats();
            append(all, dw.bytes());
            append(all, db.bytes());
        }
        return all;
    });
    for (size_t i = 0; i < (size_t)count; i++) {
        assert_true(y[i] == rounded(t, want.y[i]));
        assert_true(dx[i] == rounded(t, want.dx[0][i]));
    }
    for (size_t i = 0; i < dweight.size(); i++)
        assert_true(dweight[i] == want.grad[0][i] && dbias[i] == want.grad[1][i]);
    kit_free(&want);
}

static void test_group_norm_as_on_the_cpu(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (const struct problem &p : problems)
            for (int accumulate = 0; accumulate < 2; accumulate++)
                check(t, p, accumulate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_norm_as_on_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
