/* Dropout against the CPU's op: the same elements are dropped, and kept ones have the same bits in fp32.
 * Flatten against its definition. */
#include "kernel_kit.h"
#include "ops/dropout/dropout.h"
#include "ops/dropout/dropout_kernels.h"
#include "ops/shape/flatten_kernels.h"

struct problem {
    struct ddp_shape in;
    int batch, n;
    double p;
};

static const struct problem problems[] = {
    {{1, 4, 4}, 3, 3, 0.5},   {{17, 3, 3}, 3, 2, 0.25}, /* 9 pixels: a group of one */
    {{24, 5, 2}, 2, 2, 0},    {{40, 1, 2}, 2, 1, 0.9},  {{17, 1, 1}, 5, 3, 0.5}, /* vectors */
    {{300, 1, 1}, 3, 3, 0.1}, {{8, 2, 2}, 2, 0, 0.5},
};

static int padded(int c)
{
    return (c + 7) / 8 * 8;
}

static void check(enum ddp_gpu_type t, const struct problem *p, bool accumulate)
{
    const struct ddp_dropout_conf conf = {p->p};
    const struct ddp_shape in = p->in;
    const int c = padded(in.c);
    const int64_t count = (int64_t)p->n * in.c * in.h * in.w;
    const Floats x = random_floats(t, count, 0.5f, 1.5f, 1), dout = random_floats(t, count, 0.5f, 1.5f, 2),
                 before = random_floats(t, count, -1, 1, 3);
    std::vector<int64_t> sample;
    for (int i = 0; i < p->batch; i++)
        sample.push_back(i * 1000003 + (i == 1 ? 5000000000 : 0));
    struct kit_args a = {};
    a.op = &ddp_op_dropout;
    a.conf = &conf;
    a.in = in;
    a.batch = p->batch;
    a.n = p->n;
    a.x[0] = x.data();
    a.dout = dout.data();
    a.before[0] = accumulate ? before.data() : NULL;
    a.seed = 0x123456789abcdef;
    a.layer = 0xfeedbeef;
    a.epoch = 7;
    a.sample = sample.data();
    const struct kit_variant variant = {NULL, 0, false, false, 0};
    struct kit_result want;
    kit_run(&a, &variant, &want);
    Floats y, dx;
    expect_same_bits([&](float garbage) {
        struct ddp_gpu_step host_step = {};
        host_step.epoch = a.epoch;
        Device dev_x(t, to_device_order(x, p->n, p->batch, in, c, garbage)),
            dev_dout(t, to_device_order(dout, p->n, p->batch, in, c, garbage)),
            out((size_t)p->batch * in.h * in.w * c * ddp_gpu_type_bytes(t)),
            din(t, to_device_order(before, p->n, p->batch, in, c, 0)),
            step = Device::of(host_step), dev_sample(sample.data(), sample.size() * 8);
        struct ddp_gpu_dropout_args g = {};
        g.type = t;
        g.batch = p->batch, g.h = in.h, g.w = in.w, g.c = c, g.real_c = in.c;
        g.vector = in.h * in.w == 1;
        g.sample = dev_sample.as<int64_t>();
        g.step = step.as<struct ddp_gpu_step>();
        g.seed = a.seed, g.layer = a.layer;
        g.threshold = (uint32_t)(p->p * 0x1p32);
        g.scale = (float)(1.0 / (1.0 - p->p));
        g.in = dev_x.get(), g.out = out.get();
        ddp_cuda_dropout_kernels.dropout(stream, &g);
        g.out = dev_x.get(); /* in place */
        ddp_cuda_dropout_kernels.dropout(stream, &g);
        assert_true(dev_x.bytes() == out.bytes());
        g.in = dev_dout.get(), g.out = din.get(), g.accumulate = accumulate;
        ddp_cuda_dropout_kernels.dropout(stream, &g);
        y = to_plain_order(out.floats(t), p->n, p->batch, in, c, false);
        dx = to_plain_order(din.floats(t), p->n, p->batch, in, c, false);
        Bytes all;
        append_real(all, out.bytes(), p->n, p->batch);
        append_real(all, din.bytes(), p->n, p->batch);
        return all;
    });
    for (int64_t i = 0; i < count; i++) {
        assert_true(y[(size_t)i] == rounded(t, want.y[i]));
        assert_true(dx[(size_t)i] == rounded(t, want.dx[0][i]));
    }
    kit_free(&want);
}

static void test_dropout_as_on_the_cpu(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (const struct problem &p : problems)
            for (int accumulate = 0; accumulate < 2; accumulate++)
                check(t, &p, accumulate);
}

/* An element whose word is the threshold is kept; pad lanes are written as zero whatever they held. */
static void test_threshold_and_pad_lanes(void **)
{
    for (int vector = 0; vector < 2; vector++) {
        const uint32_t key = (uint32_t)DDP_STREAM_DROPOUT;
        const uint32_t word =
            (vector ? ddp_philox4(0, 0xffffffffu, 3, key, 9) : ddp_philox4(0, 0, 3, key, 9)).v[0];
        const int64_t host_sample = 3;
        struct ddp_gpu_step host_step = {};
        Device step = Device::of(host_step), sample = Device::of(host_sample),
               x(DDP_GPU_F32, Floats(16, 2.0f)), y(64);
        struct ddp_gpu_dropout_args g = {};
        g.type = DDP_GPU_F32, g.batch = 1, g.h = 1, g.w = vector ? 1 : 2, g.c = 8, g.real_c = 2,
        g.vector = vector;
        g.sample = sample.as<int64_t>(), g.step = step.as<struct ddp_gpu_step>(), g.seed = 9, g.scale = 2;
        g.in = x.get(), g.out = y.get();
        for (uint32_t more = 0; more < 2; more++) {
            emu_poison(y.get(), 64);
            g.threshold = word + more;
            ddp_cuda_dropout_kernels.dropout(stream, &g);
            Floats out(8);
            emu_copy_out(out.data(), y.get(), 32);
            assert_true(out[0] == (more ? 0 : 4));
            for (int c = 2; c < 8; c++)
                assert_true(out[c] == 0);
        }
    }
    assert_int_equal(emu_faults(), 0);
}

static const struct ddp_shape pictures[] = {{1, 3, 2}, {6, 5, 5}, {17, 3, 4}, {16, 4, 4}};

static void test_flatten_is_the_plain_order(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (struct ddp_shape s : pictures)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                const int features = s.c * s.h * s.w, batch = 3;
                const struct ddp_shape vector = {features, 1, 1};
                const Floats x = random_floats(t, (int64_t)batch * features, -1, 1, 1),
                             before = random_floats(t, (int64_t)batch * features, -1, 1, 2);
                Floats there, back;
                expect_same_bits([&](float) {
                    Device from(t, to_device_order(x, batch, batch, s, padded(s.c), 0)),
                        from_vector(t, to_device_order(x, batch, batch, vector, padded(features), 0)),
                        to(t, to_device_order(before, batch, batch, vector, padded(features), 0)),
                        to_picture(t, to_device_order(before, batch, batch, s, padded(s.c), 0));
                    struct ddp_gpu_flatten_args a = {};
                    a.type = t;
                    a.batch = batch, a.h = s.h, a.w = s.w, a.c = padded(s.c), a.real_c = s.c,
                    a.f = padded(features);
                    a.accumulate = accumulate;
                    a.from = from.get(), a.to = to.get();
                    ddp_cuda_flatten_kernels.flatten(stream, &a);
                    a.from = from_vector.get(), a.to = to_picture.get(), a.back = true;
                    ddp_cuda_flatten_kernels.flatten(stream, &a);
                    there = to_plain_order(to.floats(t), batch, batch, vector, padded(features), true);
                    back = to_plain_order(to_picture.floats(t), batch, batch, s, padded(s.c), true);
                    Bytes all = to.bytes();
                    append(all, to_picture.bytes());
                    return all;
                });
                for (size_t i = 0; i < x.size(); i++) { /* the plain order of both is the same */
                    const float want = accumulate ? rounded(t, before[i] + x[i]) : x[i];
                    assert_true(there[i] == want);
                    assert_true(back[i] == want);
                }
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout_as_on_the_cpu),
        cmocka_unit_test(test_threshold_and_pad_lanes),
        cmocka_unit_test(test_flatten_is_the_plain_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
