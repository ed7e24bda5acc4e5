/* Augmentation: each operation against a plain restatement of it. */
#include "data_testing.h"

enum { H = 5, W = 7, C = 3, N = C * H * W };

static void fill(uint8_t *p, uint32_t stream)
{
    for (uint32_t i = 0; i < N; i++)
        p[i] = (uint8_t)(test_byte(stream, i) | 1); /* never 0, so that padding can be told */
}

static const struct ddp_shape shape = {C, H, W};

static struct ddp_augment plain(bool train)
{
    return (struct ddp_augment){.train = train, .inv_std = {1, 1, 1, 1}};
}

static void test_normalise_is_the_formula(void **state)
{
    (void)state;
    uint8_t in[N];
    float out[N];
    fill(in, 1);
    struct ddp_augment a = {.train = false, .mean = {0.5f, 0.25f, 0.125f}, .inv_std = {2.0f, 4.0f, 3.0f}};
    ddp_augment_apply(&a, shape, in, 1, 0, 0, out);
    for (int c = 0; c < C; c++)
        for (int i = 0; i < H * W; i++) {
            volatile float quotient = (float)in[c * H * W + i] / 255.0f, difference = quotient - a.mean[c];
            assert_true(out[c * H * W + i] == difference * a.inv_std[c]);
        }
}

static void test_evaluation_neither_crops_nor_flips_nor_cuts(void **state)
{
    (void)state;
    uint8_t in[N];
    float out[N];
    fill(in, 2);
    struct ddp_augment a = plain(false);
    a.crop_padding = 3;
    a.flip = true;
    a.cutout = 4;
    for (int64_t index = 0; index < 20; index++) {
        ddp_augment_apply(&a, shape, in, 1, 0, index, out);
        for (int i = 0; i < N; i++)
            assert_true(out[i] == (float)in[i] / 255.0f);
    }
}

/* Find (dy, dx, mirror) that explain the result exactly. */
static bool explains(const uint8_t *in, const float *out, int dy, int dx, bool mirror)
{
    for (int c = 0; c < C; c++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                int sx = (mirror ? W - 1 - x : x) + dx, sy = y + dy;
                bool inside = sx >= 0 && sx < W && sy >= 0 && sy < H;
                float want = inside ? (float)in[(c * H + sy) * W + sx] / 255.0f : 0.0f;
                if (out[(c * H + y) * W + x] != want)
                    return false;
            }
    return true;
}

static void test_crop_takes_every_offset_and_nothing_else(void **state)
{
    (void)state;
    uint8_t in[N];
    float out[N];
    fill(in, 3);
    struct ddp_augment a = plain(true);
    a.crop_padding = 2;
    int seen[5][5] = {{0}};
    for (int64_t index = 0; index < 2500; index++) {
        ddp_augment_apply(&a, shape, in, 7, 1, index, out);
        int found = 0;
        for (int dy = -2; dy <= 2; dy++)
            for (int dx = -2; dx <= 2; dx++)
                if (explains(in, out, dy, dx, false)) {
                    seen[dy + 2][dx + 2]++;
                    found++;
                }
        assert_int_equal(found, 1);
    }
    for (int y = 0; y < 5; y++)
        for (int x = 0; x < 5; x++)
            assert_in_range(seen[y][x], 60, 145); /* 100 expected, deviation 10 */
}

static void test_crop_may_leave_the_picture_altogether(void **state)
{
    (void)state;
    uint8_t in[N];
    float out[N];
    fill(in, 4);
    struct ddp_augment a = plain(true);
    a.crop_padding = 20;
    bool empty = false;
    for (int64_t index = 0; index < 200; index++) {
        memset(out, 0xff, sizeof out);
        ddp_augment_apply(&a, shape, in, 7, 1, index, out);
        bool found = false;
        for (int dy = -20; dy <= 20 && !found; dy++)
            for (int dx = -20; dx <= 20 && !found; dx++)
                found = explains(in, out, dy, dx, false);
        assert_true(found);
        empty |= explains(in, out, 20, 20, false);
    }
    assert_true(empty);
}

static void test_padding_is_black_before_normalising(void **state)
{
    (void)state;
    uint8_t in[N];
    float out[N];
    memset(in, 0, sizeof in);
    struct ddp_augment a = {
        .train = true, .crop_padding = 3, .mean = {0.5f, 0.25f, 1.0f}, .inv_std = {2.0f, 8.0f, 3.0f}};
    for (int64_t index = 0; index < 50; index++) {
        ddp_augment_apply(&a, shape, in, 7, 1, index, out);
        for (int i = 0; i < N; i++)
            assert_true(out[i] == -a.mean[i / (H * W)] * a.inv_std[i / (H * W)]);
    }
}

static void test_flip_mirrors_half_of_the_pictures(void **state)
{
    (void)state;
    uint8_t in[N];
    float out[N];
    fill(in, 5);
    struct ddp_augment a = plain(true);
    a.flip = true;
    int mirrored = 0;
    for (int64_t index = 0; index < 1000; index++) {
        ddp_augment_apply(&a, shape, in, 7, 1, index, out);
        bool is = explains(in, out, 0, 0, true);
        assert_true(is || explains(in, out, 0, 0, false));
        mirrored += is;
    }
    assert_in_range(mirrored, 430, 570);
}

static void test_flip_mirrors_the_crop(void **state)
{
    (void)state;
    uint8_t in[N];
    float out[N];
    fill(in, 6);
    struct ddp_augment a = plain(true);
    a.crop_padding = 1;
    a.flip = true;
    for (int64_t index = 0; index < 300; index++) {
        ddp_augment_apply(&a, shape, in, 7, 1, index, out);
        int found = 0;
        for (int k = 0; k < 18; k++)
            found += explains(in, out, k / 6 - 1, k / 2 % 3 - 1, k % 2);
        assert_int_equal(found, 1);
    }
}

static void test_cutout_is_a_square_of_the_mean(void **state)
{
    (void)state;
    for (int side = 1; side <= 4; side++) {
        uint8_t in[N];
        float out[N];
        fill(in, 7);
        struct ddp_augment a = plain(true);
        a.cutout = side;
        int whole = 0, centres = 0;
        bool centre[H][W] = {{false}};
        for (int64_t index = 0; index < 1500; index++) {
            ddp_augment_apply(&a, shape, in, 7, 1, index, out);
            int found = 0;
            for (int cy = 0; cy < H; cy++)
                for (int cx = 0; cx < W; cx++) {
                    int top = cy - side / 2, left = cx - side / 2, holes = 0;
                    bool same = true;
                    for (int i = 0; i < N && same; i++) {
                        int y = i / W % H, x = i % W;
                        bool hole = y >= top && y < top + side && x >= left && x < left + side;
                        holes += hole;
                        same = out[i] == (hole ? 0.0f : (float)in[i] / 255.0f);
                    }
                    if (same) {
                        found++;
                        centre[cy][cx] = true;
                        whole += holes == C * side * side;
                    }
                }
            assert_int_equal(found, 1);
        }
        for (int i = 0; i < H * W; i++)
            centres += centre[i / W][i % W];
        assert_int_equal(centres, H * W);
        assert_true(whole > 0);
    }
}

static void test_augment_is_a_function_of_seed_epoch_and_index(void **state)
{
    (void)state;
    uint8_t in[N];
    float a[N], b[N];
    fill(in, 8);
    struct ddp_augment aug = plain(true);
    aug.crop_padding = 2;
    aug.flip = true;
    aug.cutout = 2;
    int same_epoch = 0, same_seed = 0, same_index = 0;
    for (int64_t index = 0; index < 200; index++) {
        ddp_augment_apply(&aug, shape, in, 7, 1, index, a);
        ddp_augment_apply(&aug, shape, in, 7, 1, index + 1, b);
        same_index += memcmp(a, b, sizeof a) == 0;
        ddp_augment_apply(&aug, shape, in, 7, 2, index, b);
        same_epoch += memcmp(a, b, sizeof a) == 0;
        ddp_augment_apply(&aug, shape, in, 8, 1, index, b);
        same_seed += memcmp(a, b, sizeof a) == 0;
        ddp_augment_apply(&aug, shape, in, 7, 1, index, b);
        assert_memory_equal(a, b, sizeof a);
    }
    assert_true(same_epoch < 10 && same_seed < 10 && same_index < 10);
    assert_sha(a, sizeof a, "e546c1d13aaa8b5ffe3823ed9a223cb4c64dfce7dd0495293bf60619ca3aaa2e");
}

static void test_init_takes_the_configs_statistics_or_the_datas(void **state)
{
    (void)state;
    struct ddp_dataset_info info = {.shape = {3, 2, 2}, .mean = {0.5, 0.25, 0.75}, .std = {0.5, 0.25, 0.125}};
    struct ddp_config cfg = basic_config("x", "");
    cfg.data.crop_padding = 4;
    cfg.data.flip = true;
    cfg.data.cutout = 8;
    struct ddp_augment a;
    ddp_augment_init(&a, &cfg, &info, true);
    assert_true(a.train && a.flip && a.crop_padding == 4 && a.cutout == 8);
    assert_true(a.mean[0] == 0.5f && a.mean[1] == 0.25f && a.mean[2] == 0.75f && a.mean[3] == 0.0f);
    assert_true(a.inv_std[0] == 2.0f && a.inv_std[1] == 4.0f && a.inv_std[2] == 8.0f && a.inv_std[3] == 1.0f);
    cfg.data.mean = (struct ddp_floats){1, (const double[]){0.125}};
    cfg.data.std = (struct ddp_floats){3, (const double[]){0.25, 0.5, 1.0}};
    ddp_augment_init(&a, &cfg, &info, false);
    assert_true(!a.train && a.mean[0] == 0.125f && a.mean[1] == 0.125f && a.mean[2] == 0.125f);
    assert_true(a.inv_std[0] == 4.0f && a.inv_std[1] == 2.0f && a.inv_std[2] == 1.0f);
    cfg.data.normalize = false;
    ddp_augment_init(&a, &cfg, &info, false);
    for (int c = 0; c < 4; c++)
        assert_true(a.mean[c] == 0.0f && a.inv_std[c] == 1.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalise_is_the_formula),
        cmocka_unit_test(test_evaluation_neither_crops_nor_flips_nor_cuts),
        cmocka_unit_test(test_crop_takes_every_offset_and_nothing_else),
        cmocka_unit_test(test_crop_may_leave_the_picture_altogether),
        cmocka_unit_test(test_padding_is_black_before_normalising),
        cmocka_unit_test(test_flip_mirrors_half_of_the_pictures),
        cmocka_unit_test(test_flip_mirrors_the_crop),
        cmocka_unit_test(test_cutout_is_a_square_of_the_mean),
        cmocka_unit_test(test_augment_is_a_function_of_seed_epoch_and_index),
        cmocka_unit_test(test_init_takes_the_configs_statistics_or_the_datas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
