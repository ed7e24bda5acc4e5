/* Pooling against the CPU's ops. */
#include "kernel_kit.h"
#include "ops/pool/pool.h"
#include "ops/pool/pool_kernels.h"

struct problem {
    struct ddp_shape in;
    struct ddp_pool_conf conf; /* kernel 0: the whole picture */
    int batch, n;
};

static const struct problem problems[] = {
    {{1, 4, 4}, {2, 0, 0, true}, 3, 3},
    {{17, 5, 7}, {2, 0, 0, true}, 3, 2},  /* rows and columns left over */
    {{10, 6, 6}, {3, 2, 1, true}, 2, 2},  /* overlapping, padded */
    {{8, 7, 5}, {3, 1, 1, false}, 3, 1},  /* all borders */
    {{24, 7, 7}, {2, 3, 0, false}, 2, 2}, /* gaps */
    {{33, 5, 5}, {5, 0, 2, false}, 2, 1}, /* one window that sticks out */
    {{3, 9, 8}, {4, 2, 2, true}, 2, 2},
    {{2, 16, 16}, {16, 0, 0, true}, 2, 2}, /* the largest index in a window */
    {{8, 2, 2}, {1, 2, 0, true}, 2, 2},
    {{8, 4, 4}, {2, 0, 0, true}, 2, 0},
    {{17, 7, 7}, {0, 0, 0, true}, 3, 2},
    {{300, 3, 2}, {0, 0, 0, true}, 2, 2},
    {{8, 1, 1}, {0, 0, 0, true}, 2, 1},
};

static int padded(int c)
{
    return (c + 7) / 8 * 8;
}

/* Both directions of one problem on the device and the CPU. ties: few different values, so that there are
 * equals. */
static void check(enum ddp_gpu_type t, const struct problem *p, bool max, bool accumulate, bool ties)
{
    const bool global = p->conf.kernel == 0;
    const struct ddp_shape in = p->in;
    struct ddp_layer_plan plan = {};
    const struct ddp_op *op = global ? &ddp_op_global_avg_pool : max ? &ddp_op_max_pool : &ddp_op_avg_pool;
    assert_int_equal(op->plan(&p->conf, &in, 1, p->batch, &plan, NULL), 0);
    const struct ddp_shape out = plan.out;
    const int64_t nx = (int64_t)p->n * in.c * in.h * in.w, ny = (int64_t)p->n * out.c * out.h * out.w;
    Floats x = random_floats(t, nx, -2, 1, 1), dout = random_floats(t, ny, -1, 1, 2),
           before = random_floats(t, nx, -1, 1, 3);
    for (float &v : x)
        v = ties ? floorf(v) : v;

    struct kit_args a = {};
    a.op = op;
    a.conf = &p->conf;
    a.in = in;
    a.batch = p->batch;
    a.n = p->n;
    a.x[0] = x.data();
    a.dout = dout.data();
    a.before[0] = accumulate ? before.data() : NULL;
    const struct kit_variant variant = {NULL, 0, false, false, 0};
    struct kit_result want;
    kit_run(&a, &variant, &want);

    const int c = padded(in.c), kernel = (int)p->conf.kernel;
    Floats y, dx;
    expect_same_bits([&](float garbage) {
        const size_t size = ddp_gpu_type_bytes(t), xs = (size_t)p->batch * in.h * in.w * c,
                     ys = (size_t)p->batch * out.h * out.w * c;
        Device dev_x(t, to_device_order(x, p->n, p->batch, in, c, garbage)), dev_y(ys * size), index(ys),
            eval(ys * size), dev_dout(t, to_device_order(dout, p->n, p->batch, out, c, 0)),
            din =
                accumulate ? Device(t, to_device_order(before, p->n, p->batch, in, c, 0)) : Device(xs * size);
        struct ddp_gpu_pool_args g = {};
        g.type = t;
        g.batch = p->batch, g.c = c, g.h = in.h, g.w = in.w, g.oh = out.h, g.ow = out.w;
        g.kernel_h = global ? in.h : kernel, g.kernel_w = global ? in.w : kernel;
        g.stride = global ? 1 : p->conf.stride ? (int)p->conf.stride : kernel;
        g.pad = global ? 0 : (int)p->conf.padding;
        g.count_pad = p->conf.count_include_pad;
        g.x = dev_x.get(), g.y = dev_y.get(), g.index = max ? index.as<uint8_t>() : NULL;
        g.dout = dev_dout.get(), g.din = din.get(), g.accumulate = accumulate;
        (max ? ddp_cuda_pool_kernels.max_pool : ddp_cuda_pool_kernels.avg_pool)(stream, &g);
        (max ? ddp_cuda_pool_kernels.max_pool_grad : ddp_cuda_pool_kernels.avg_pool_grad)(stream, &g);
        if (max) { /* evaluation keeps no index */
            g.index = NULL, g.y = eval.get();
            ddp_cuda_pool_kernels.max_pool(stream, &g);
            assert_true(eval.bytes() == dev_y.bytes());
        }
        y = to_plain_order(dev_y.floats(t), p->n, p->batch, out, c, false);
        dx = to_plain_order(din.floats(t), p->n, p->batch, in, c, true);
        Bytes all;
        append_real(all, dev_y.bytes(), p->n, p->batch);
        append_real(all, din.bytes(), p->n, p->batch);
        return all;
    });
    /* The chain is the CPU's, except where accumulation begins and over the whole picture: averages of up to
     * 256 values below 2. */
    const double window = max ? 0 : 0x1p-24 * 16;
    for (int64_t i = 0; i < ny; i++)
        expect_near("y", t, y[(size_t)i], want.y[i], window);
    for (int64_t i = 0; i < nx; i++)
        expect_near("din", t, dx[(size_t)i], want.dx[0][i],
                    t == DDP_GPU_F32 && !accumulate ? 0 : 0x1p-24 * 8);
    kit_free(&want);
}

static void test_pooling_as_on_the_cpu(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (const struct problem &p : problems)
            for (int max = 0; max < (p.conf.kernel ? 2 : 1); max++)
                for (int accumulate = 0; accumulate < 2; accumulate++)
                    check(t, &p, max, accumulate, false);
}

static void test_first_of_equals_gets_the_gradient(void **)
{
    for (const struct problem &p : problems)
        if (p.conf.kernel)
            check(DDP_GPU_F32, &p, true, false, true);
}

static void test_nan_wins(void **)
{
    Floats x(8 * 4, 0.0f); /* [1][2][2][8] */
    x[8 * 1 + 2] = NAN, x[8 * 3 + 2] = 5;
    Device dev_x(DDP_GPU_F32, x), y(32), index(8);
    struct ddp_gpu_pool_args g = {};
    g.type = DDP_GPU_F32, g.batch = 1, g.c = 8, g.h = g.w = 2, g.oh = g.ow = 1,
    g.kernel_h = g.kernel_w = g.stride = 2;
    g.x = dev_x.get(), g.y = y.get(), g.index = index.as<uint8_t>();
    ddp_cuda_pool_kernels.max_pool(stream, &g);
    for (int c = 0; c < 8; c++) {
        assert_true((y.floats()[c] != y.floats()[c]) == (c == 2));
        assert_int_equal(index.bytes()[c], c == 2 ? 1 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pooling_as_on_the_cpu),
        cmocka_unit_test(test_first_of_equals_gets_the_gradient),
        cmocka_unit_test(test_nan_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
