/* Augmentation against the CPU's function: its bits in fp32, rounded once in 16-bit types. */
#include "kernel_kit.h"
#include "data/augment_kernels.h"

struct problem {
    struct ddp_shape s;
    int batch, n, cpad;
    struct ddp_augment augment;
};

static const struct problem problems[] = {
    {{1, 5, 7}, 4, 3, 8, {true, 0, false, 0, {0.5f}, {2}, false, {}}},
    {{3, 6, 5}, 8, 8, 8, {true, 2, true, 0, {0.4f, 0.5f, 0.6f}, {4, 3, 5}, false, {}}},
    {{3, 9, 9}, 8, 7, 16, {true, 3, true, 4, {0.4f, 0.5f, 0.6f}, {4, 3, 5}, false, {}}},
    {{4, 4, 4},
     5,
     5,
     8,
     {true, 6, false, 9, {0.1f, 0.2f, 0.3f, 0.4f}, {1, 2, 3, 4}, false, {}}}, /* all outside, all cut */
    {{1, 4, 6}, 6, 5, 8, {true, 0, true, 3, {0}, {1}, false, {}}},
    {{2, 33, 40},
     2,
     2,
     8,
     {true, 4, true, 8, {0.3f, 0.7f}, {3, 5}, false, {}}}, /* two blocks for a picture */
    {{3, 6, 5}, 4, 3, 8, {false, 2, true, 4, {0.4f, 0.5f, 0.6f}, {4, 3, 5}, false, {}}},
    {{1, 4, 4}, 3, 0, 8, {true, 2, true, 2, {0.5f}, {2}, false, {}}},
};

static void check(enum ddp_gpu_type t, const struct problem *p, bool resident)
{
    enum { PICTURES = 12 };
    const uint64_t seed = 0xabcdef0123456789;
    const int64_t epoch = 3, size = (int64_t)p->s.c * p->s.h * p->s.w;
    std::vector<int64_t> sample;
    Bytes data, pixels; /* the data set, and what of it is staged */
    for (int64_t i = 0; i < PICTURES * size; i++)
        data.push_back((uint8_t)(i * 37 + i / 7 * 11 + 1));
    for (int i = 0; i < p->batch; i++)
        sample.push_back(i < p->n ? (i * 5 + 2) % PICTURES : 1 << 30); /* padding: nobody may look there */
    for (int i = 0; i < p->batch; i++)
        for (int64_t j = 0; j < size; j++)
            pixels.push_back(i < p->n ? data[(size_t)(sample[(size_t)i] * size + j)] : 99);
    Floats got;
    expect_same_bits([&](float) {
        struct ddp_gpu_step host_step = {};
        host_step.epoch = epoch;
        Device dev = resident ? Device(data.data(), data.size()) : Device(pixels.data(), pixels.size()),
               dev_sample(sample.data(), sample.size() * 8), n = Device::of((int32_t)p->n),
               step = Device::of(host_step),
               out((size_t)p->batch * p->s.h * p->s.w * p->cpad * ddp_gpu_type_bytes(t));
        struct ddp_gpu_augment a = {};
        a.type = t;
        a.pixels = dev.as<uint8_t>();
        a.sample = dev_sample.as<int64_t>();
        a.resident = resident;
        a.n = n.as<int32_t>();
        a.step = step.as<struct ddp_gpu_step>();
        a.batch = p->batch, a.c = p->s.c, a.h = p->s.h, a.w = p->s.w, a.cpad = p->cpad;
        a.train = p->augment.train, a.crop_padding = p->augment.crop_padding;
        a.cutout = p->augment.cutout, a.flip = p->augment.flip;
        memcpy(a.mean, p->augment.mean, sizeof a.mean);
        memcpy(a.inv_std, p->augment.inv_std, sizeof a.inv_std);
        a.seed = seed;
        a.out = out.get();
        ddp_cuda_augment_kernels.augment(stream, &a);
        got = to_plain_order(out.floats(t), p->n, p->batch, p->s, p->cpad, true);
        return out.bytes();
    });
    for (int i = 0; i < p->n; i++) {
        Floats want((size_t)size);
        ddp_augment_apply(&p->augment, p->s, &data[(size_t)(sample[(size_t)i] * size)], seed, epoch,
                          sample[(size_t)i], want.data());
        for (int64_t j = 0; j < size; j++)
            assert_true(got[(size_t)(i * size + j)] == rounded(t, want[(size_t)j]));
    }
}

static void test_pictures_as_on_the_cpu(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (const struct problem &p : problems)
            for (int resident = 0; resident < 2; resident++)
                check(t, &p, resident);
}

/* Every byte, so that a division that is not IEEE's shows. */
static void test_every_byte_is_divided_right(void **)
{
    Bytes data;
    for (int i = 0; i < 256; i++)
        data.push_back((uint8_t)i);
    struct ddp_gpu_step host_step = {};
    const int64_t zero = 0;
    Device dev(data.data(), 256), n = Device::of((int32_t)1), step = Device::of(host_step),
                                  sample = Device::of(zero), out(256 * 8 * 4);
    struct ddp_gpu_augment a = {};
    a.type = DDP_GPU_F32, a.pixels = dev.as<uint8_t>(), a.sample = sample.as<int64_t>(),
    a.n = n.as<int32_t>();
    a.step = step.as<struct ddp_gpu_step>(), a.batch = 1, a.c = 1, a.h = a.w = 16, a.cpad = 8;
    a.inv_std[0] = 1, a.out = out.get();
    ddp_cuda_augment_kernels.augment(stream, &a);
    for (int i = 0; i < 256; i++) {
        volatile float quotient = (float)i / 255.0f;
        assert_true(out.floats()[(size_t)i * 8] == quotient);
    }
}

/* Real numbers go to their channels as they are, staged or out of the whole set; behind them is zero. */
static void check_place(enum ddp_gpu_type t, struct ddp_shape s, int cpad, int batch, int real, bool resident)
{
    enum { SAMPLES = 9 };
    const int64_t size = (int64_t)s.c * s.h * s.w;
    const Floats data = random_floats(DDP_GPU_F32, SAMPLES * size, -9, 9, 3);
    std::vector<int64_t> sample;
    Floats staged, want;
    for (int i = 0; i < batch; i++) {
        sample.push_back(i < real ? (i * 4 + 1) % SAMPLES : 1 << 30);
        for (int64_t j = 0; j < size; j++) {
            staged.push_back(i < real ? data[(size_t)(sample[(size_t)i] * size + j)] : NAN);
            if (i < real)
                want.push_back(staged.back());
        }
    }
    Floats got;
    expect_same_bits([&](float) {
        struct ddp_gpu_step host_step = {};
        const Floats &from = resident ? data : staged;
        Device dev(from.data(), from.size() * 4), dev_sample(sample.data(), sample.size() * 8),
            n = Device::of((int32_t)real), step = Device::of(host_step),
            out((size_t)batch * s.h * s.w * cpad * ddp_gpu_type_bytes(t));
        struct ddp_gpu_augment a = {};
        a.type = t, a.pixels = dev.as<uint8_t>(), a.sample = dev_sample.as<int64_t>();
        a.real = true, a.resident = resident, a.n = n.as<int32_t>(), a.step = step.as<struct ddp_gpu_step>();
        a.batch = batch, a.c = s.c, a.h = s.h, a.w = s.w, a.cpad = cpad, a.train = true;
        a.out = out.get();
        ddp_cuda_augment_kernels.augment(stream, &a);
        got = to_plain_order(out.floats(t), real, batch, s, cpad, true);
        return out.bytes();
    });
    for (size_t i = 0; i < want.size(); i++)
        assert_true(got[i] == rounded(t, want[i]));
}

static void test_real_numbers_go_to_their_places(void **)
{
    for (enum ddp_gpu_type t : all_types)
        for (int resident = 0; resident < 2; resident++) {
            check_place(t, {10, 1, 1}, 16, 5, 4, resident);
            check_place(t, {1, 1, 1}, 8, 3, 3, resident);
            check_place(t, {64, 1, 1}, 64, 70, 69, resident);
            check_place(t, {3, 4, 5}, 8, 4, 3, resident);
            check_place(t, {3, 1, 1}, 8, 2, 0, resident);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures_as_on_the_cpu),
        cmocka_unit_test(test_every_byte_is_divided_right),
        cmocka_unit_test(test_real_numbers_go_to_their_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
