/* Concatenation along channels against the CPU's op: the same bits, rounded to the type. */
#include "kernel_kit.h"
#include "ops/shape/concat_kernels.h"

static const struct {
    int c[2], h, w;
} problems[] = {{{16, 16}, 4, 4}, {{32, 7}, 3, 2}, {{3, 5}, 5, 7}, {{20, 33}, 2, 3}, {{1, 1}, 1, 1}};

static int padded(int c)
{
    return (c + 7) / 8 * 8;
}

static void check(enum ddp_gpu_type t, size_t which, bool accumulate)
{
    const int *c = problems[which].c, batch = 3, n = 2;
    const int h = problems[which].h, w = problems[which].w, wide_c = padded(c[0] + c[1]);
    const struct ddp_shape s[2] = {{c[0], h, w}, {c[1], h, w}}, out = {c[0] + c[1], h, w};
    const Floats dout = random_floats(t, (int64_t)n * out.c * h * w, -1, 1, 9);
    Floats x[2], before[2], y, dx[2];
    struct kit_args a = {};
    a.op = &ddp_op_concat, a.in = s[0], a.second = s[1], a.batch = batch, a.n = n, a.dout = dout.data();
    for (int i = 0; i < 2; i++) {
        x[i] = random_floats(t, (int64_t)n * c[i] * h * w, -1, 1, (uint32_t)i);
        before[i] = random_floats(t, (int64_t)n * c[i] * h * w, -1, 1, (uint32_t)i + 5);
        a.x[i] = x[i].data();
        a.before[i] = accumulate ? before[i].data() : NULL;
    }
    const struct kit_variant variant = {NULL, 0, false, false, 0};
    struct kit_result want;
    kit_run(&a, &variant, &want);
    expect_same_bits([&](float garbage) {
        Device wide((size_t)batch * h * w * wide_c * ddp_gpu_type_bytes(t)),
            dwide(t, to_device_order(dout, n, batch, out, wide_c, garbage));
        Bytes all;
        for (int i = 0; i < 2; i++) {
            const int p = padded(c[i]);
            Device narrow(t, to_device_order(x[i], n, batch, s[i], p, garbage)),
                din(t, to_device_order(before[i], n, batch, s[i], p, 0));
            struct ddp_gpu_concat_args g = {};
            g.type = t, g.pixels = (int64_t)batch * h * w, g.wide_c = wide_c, g.c = p, g.real_c = c[i];
            g.first = i ? c[0] : 0, g.last = i == 1;
            g.wide = wide.get(), g.narrow = narrow.get();
            ddp_cuda_concat_kernels.join(stream, &g);
            g.wide = dwide.get(), g.narrow = din.get(), g.accumulate = accumulate;
            ddp_cuda_concat_kernels.split(stream, &g);
            dx[i] = to_plain_order(din.floats(t), n, batch, s[i], p, false);
            append_real(all, din.bytes(), n, batch);
        }
        y = to_plain_order(wide.floats(t), n, batch, out, wide_c, false);
        append_real(all, wide.bytes(), n, batch);
        return all;
    });
    for (size_t i = 0; i < y.size(); i++)
        assert_true(y[i] == want.y[i]);
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < dx[k].size(); i++)
            assert_true(dx[k][i] == rounded(t, want.dx[k][i]));
    kit_free(&want);
}

static void test_concat_as_on_the_cpu(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (size_t p = 0; p < sizeof problems / sizeof *problems; p++)
            for (int accumulate = 0; accumulate < 2; accumulate++)
                check(t, p, accumulate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_concat_as_on_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
