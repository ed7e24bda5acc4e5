/* Random-resized-crop, affine augmentation and colour jitter: what torchvision's documentation says, written
 * down once more in doubles, and the same bytes from every instruction set. */
#include "data_testing.h"
#include "ops/ops.h"

enum { H = 13, W = 18, N = 3 * H * W, ROUNDS = 60 };
static const struct ddp_shape shape = {3, H, W};
static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
static const uint64_t seed = 0x123456789abcdef;

static struct ddp_alter altered(void)
{
    return (struct ddp_alter){.on = true, .area = {1, 1}, .ratio = {0.75, 4.0 / 3}, .scale = {1, 1}};
}

/* Smooth, so that a wrong place shows and a last bit of it does not. */
static void fill(uint8_t *p, int c, int h, int w)
{
    for (int k = 0; k < c; k++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                *p++ = (uint8_t)(127.5 + 60 * sin(0.9 * x + k) + 60 * cos(0.7 * y - 2 * k));
}

static double uniform(int64_t epoch, int64_t index, uint32_t draw, int word, double a, double b)
{
    const struct ddp_philox4 r =
        ddp_philox4(draw, (uint32_t)index, (uint32_t)epoch, DDP_STREAM_AUGMENT, seed);
    return a + (b - a) * (r.v[word] / 4294967296.0);
}

static void apply(const struct ddp_alter *a, struct ddp_shape s, uint8_t *p, int64_t epoch, int64_t index)
{
    void *scratch = malloc(ddp_alter_scratch(a, s));
    ddp_alter_apply(a, s, p, seed, epoch, index, scratch);
    free(scratch);
}

static double pixel(const uint8_t *plane, int y, int x)
{
    return y < 0 || y >= H || x < 0 || x >= W ? 0 : plane[y * W + x];
}

/* Linear between four pixels. */
static double read_at(const uint8_t *plane, double y, double x)
{
    const int r = (int)floor(y), c = (int)floor(x);
    const double fy = y - r, fx = x - c;
    return (1 - fy) * ((1 - fx) * pixel(plane, r, c) + fx * pixel(plane, r, c + 1)) +
           fy * ((1 - fx) * pixel(plane, r + 1, c) + fx * pixel(plane, r + 1, c + 1));
}

static void close_to(const uint8_t *got, const double *want, int n)
{
    for (int i = 0; i < n; i++)
        if (fabs(got[i] - want[i]) > 0.51)
            fail_msg("value %d is %d, %.3f was wanted", i, got[i], want[i]);
}

/* ---- affine ----------------------------------------------------------------------------------- */

/* From where each pixel of the result comes: the matrix forward, inverted by Cramer's rule. */
static void affine_reference(const struct ddp_alter *a, int64_t epoch, int64_t index, const uint8_t *in,
                             double *out)
{
    const double rad = acos(-1) / 180;
    const double r = uniform(epoch, index, 2, 0, -a->rotate, a->rotate) * rad;
    const double tx = rint(uniform(epoch, index, 2, 1, -a->translate, a->translate) * W);
    const double ty = rint(uniform(epoch, index, 2, 2, -a->translate, a->translate) * H);
    const double s = uniform(epoch, index, 2, 3, a->scale[0], a->scale[1]);
    const double k = uniform(epoch, index, 3, 0, -a->shear, a->shear) * rad;
    const double m[4] = {s * cos(r), s * (-cos(r) * tan(k) - sin(r)), s * sin(r),
                         s * (-sin(r) * tan(k) + cos(r))};
    const double det = m[0] * m[3] - m[1] * m[2], mx = (W - 1) / 2.0, my = (H - 1) / 2.0;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const double u = x - mx - tx, v = y - my - ty;
                *out++ = read_at(in + c * H * W, (-m[2] * u + m[0] * v) / det + my,
                                 (m[3] * u - m[1] * v) / det + mx);
            }
}

static void test_affine_is_its_matrix(void **state)
{
    (void)state;
    static const struct {
        double rotate, translate, scale[2], shear;
    } table[] = {{180, 0, {1, 1}, 0}, {0, 0.4, {1, 1}, 0},       {0, 0, {0.2, 5}, 0},
                 {0, 0, {1, 1}, 60},  {30, 0.1, {0.8, 1.2}, 20}, {180, 1, {0.1, 10}, 80}};
    for (size_t t = 0; t < DDP_COUNT(table); t++) {
        struct ddp_alter a = altered();
        a.affine = true;
        a.rotate = table[t].rotate, a.translate = table[t].translate, a.shear = table[t].shear;
        memcpy(a.scale, table[t].scale, sizeof a.scale);
        for (int64_t i = 0; i < ROUNDS; i++) {
            uint8_t in[N], got[N];
            double want[N];
            fill(in, 3, H, W);
            memcpy(got, in, sizeof in);
            affine_reference(&a, 3, i, in, want);
            apply(&a, shape, got, 3, i);
            close_to(got, want, N);
        }
    }
}

/* A shift by whole pixels moves bytes and blackens what comes in; nothing drawn leaves all as it is. */
static void test_whole_pixels_keep_their_bytes(void **state)
{
    (void)state;
    struct ddp_alter a = altered();
    bool moved = false;
    a.affine = true;
    for (int64_t i = 0; i < ROUNDS; i++) {
        uint8_t in[N], got[N];
        for (uint32_t k = 0; k < N; k++)
            in[k] = test_byte((uint32_t)i, k);
        a.translate = i % 2 ? 0.3 : 0;
        const int tx = (int)rint(uniform(1, i, 2, 1, -a.translate, a.translate) * W);
        const int ty = (int)rint(uniform(1, i, 2, 2, -a.translate, a.translate) * H);
        memcpy(got, in, sizeof in);
        apply(&a, shape, got, 1, i);
        moved |= tx < 0 && ty > 0;
        for (int k = 0; k < N; k++)
            assert_int_equal(got[k], pixel(in + k / (H * W) * H * W, k / W % H - ty, k % W - tx));
    }
    assert_true(moved);
}

/* ---- random-resized-crop ---------------------------------------------------------------------- */

struct window {
    double top, left, h, w;
};

static struct window crop_reference(const struct ddp_alter *a, int64_t epoch, int64_t index)
{
    for (uint32_t k = 16; k < 26; k++) {
        const double area = H * W * uniform(epoch, index, k, 0, a->area[0], a->area[1]);
        const double ratio = exp(uniform(epoch, index, k, 1, log(a->ratio[0]), log(a->ratio[1])));
        const double w = rint(sqrt(area * ratio)), h = rint(sqrt(area / ratio));
        if (w >= 1 && w <= W && h >= 1 && h <= H)
            return (struct window){floor(uniform(epoch, index, k, 2, 0, H - h + 1)),
                                   floor(uniform(epoch, index, k, 3, 0, W - w + 1)), h, w};
    }
    const double ratio = (double)W / H;
    struct window win = {0, 0, H, W};
    if (ratio < a->ratio[0])
        win.h = rint(W / a->ratio[0]);
    else if (ratio > a->ratio[1])
        win.w = rint(H * a->ratio[1]);
    win.top = floor((H - win.h) / 2);
    win.left = floor((W - win.w) / 2);
    return win;
}

/* The part by itself, enlarged: at its rim pixels repeat. */
static void check_crop(const struct ddp_alter *a, int64_t epoch, int64_t index)
{
    const struct window win = crop_reference(a, epoch, index);
    uint8_t in[N], got[N];
    double want[N];
    fill(in, 3, H, W);
    for (int i = 0; i < N; i++) {
        double y = (i / W % H + 0.5) * win.h / H - 0.5, x = (i % W + 0.5) * win.w / W - 0.5;
        y = fmin(fmax(y, 0), win.h - 1) + win.top;
        x = fmin(fmax(x, 0), win.w - 1) + win.left;
        want[i] = read_at(in + i / (H * W) * H * W, y, x);
    }
    memcpy(got, in, sizeof in);
    apply(a, shape, got, epoch, index);
    close_to(got, want, N);
}

static void test_crop_enlarges_its_part(void **state)
{
    (void)state;
    static const double table[][4] = {
        {0.08, 1, 0.75, 4.0 / 3}, {0.001, 0.02, 0.5, 2}, {1, 1, 0.1, 0.2}, {1, 1, 5, 9}, {0.9, 1, 1, 1}};
    for (size_t t = 0; t < DDP_COUNT(table); t++) {
        struct ddp_alter a = altered();
        a.crop = true;
        memcpy(a.area, table[t], sizeof a.area);
        memcpy(a.ratio, table[t] + 2, sizeof a.ratio);
        for (int64_t i = 0; i < ROUNDS; i++)
            check_crop(&a, 2, i);
    }
}

static void test_all_of_a_square_stays_as_it_is(void **state)
{
    (void)state;
    struct ddp_alter a = altered();
    a.crop = true;
    a.ratio[0] = a.ratio[1] = 1;
    uint8_t in[9 * 9], got[sizeof in];
    for (uint32_t k = 0; k < sizeof in; k++)
        in[k] = test_byte(5, k);
    memcpy(got, in, sizeof in);
    apply(&a, (struct ddp_shape){1, 9, 9}, got, 0, 7);
    assert_memory_equal(got, in, sizeof in);
}

/* ---- colour ----------------------------------------------------------------------------------- */

static double cut(double v)
{
    return fmin(fmax(v, 0), 255);
}

static double grey_of(const double *v, int i, int c)
{
    return c == 1 ? v[i] : 0.2989 * v[i] + 0.587 * v[H * W + i] + 0.114 * v[2 * H * W + i];
}

/* Hue as an angle, there and back, by the case distinction of the textbooks. */
static void turn_reference(double *v, double by)
{
    for (int i = 0; i < H * W; i++) {
        double *r = v + i, *g = r + H * W, *b = g + H * W;
        const double top = fmax(*r, fmax(*g, *b)), low = fmin(*r, fmin(*g, *b)), c = top - low;
        if (c == 0)
            continue;
        double hue = top == *r ? (*g - *b) / c : top == *g ? (*b - *r) / c + 2 : (*r - *g) / c + 4;
        hue = fmod(hue + 6 * by + 12, 6);
        const double x = c * (1 - fabs(fmod(hue, 2) - 1));
        const double table[6][3] = {{c, x, 0}, {x, c, 0}, {0, c, x}, {0, x, c}, {x, 0, c}, {c, 0, x}};
        const double *of = table[(int)hue];
        *r = low + of[0], *g = low + of[1], *b = low + of[2];
    }
}

static void jitter_reference(const struct ddp_alter *a, int64_t index, const int order[4], double *v, int c)
{
    const double size[] = {a->brightness, a->contrast, a->saturation};
    for (int k = 0; k < 4; k++) {
        const int op = order[k];
        double grey[H * W], mean = 0;
        for (int i = 0; i < H * W; i++)
            mean += (grey[i] = grey_of(v, i, c)) / (H * W);
        if (op == 3 && a->hue > 0 && c == 3)
            turn_reference(v, uniform(0, index, 4, 3, -a->hue, a->hue));
        if (op == 3 || size[op] == 0 || (op == 2 && c == 1))
            continue;
        const double f = uniform(0, index, 4, op, fmax(0, 1 - size[op]), 1 + size[op]);
        for (int i = 0; i < c * H * W; i++)
            v[i] = cut(f * v[i] + (1 - f) * (op == 0 ? 0 : op == 1 ? mean : grey[i % (H * W)]));
    }
}

/* Some order of the four explains the result; each of the 24 is met. */
static bool explains(const struct ddp_alter *a, int64_t index, int which, const uint8_t *in,
                     const uint8_t *got, int c)
{
    int order[4], left[4] = {0, 1, 2, 3}, n = 4;
    for (int i = 0, rest = which; i < 4; i++, n--) {
        const int k = rest % n;
        rest /= n;
        order[i] = left[k];
        memmove(left + k, left + k + 1, (size_t)(n - k - 1) * sizeof *left);
    }
    double v[N];
    for (int i = 0; i < c * H * W; i++)
        v[i] = in[i];
    jitter_reference(a, index, order, v, c);
    for (int i = 0; i < c * H * W; i++)
        if (fabs(v[i] - got[i]) > 0.51)
            return false;
    return true;
}

static void test_jitter_is_its_definition_in_each_order(void **state)
{
    (void)state;
    struct ddp_alter a = altered();
    a.jitter = true;
    a.brightness = 0.9, a.contrast = 0.8, a.saturation = 1.5, a.hue = 0.5;
    int seen[24] = {0};
    for (int64_t index = 0; index < 250; index++) {
        uint8_t in[N], got[N];
        for (uint32_t i = 0; i < N; i++)
            in[i] = test_byte((uint32_t)index, i);
        memcpy(got, in, sizeof in);
        apply(&a, shape, got, 0, index);
        int found = 0;
        for (int which = 0; which < 24; which++)
            if (explains(&a, index, which, in, got, 3))
                found++, seen[which]++;
        assert_true(found >= 1);
    }
    for (int which = 0; which < 24; which++)
        assert_true(seen[which] > 0);
}

static void test_jitter_by_itself_and_of_grey(void **state)
{
    (void)state;
    for (int only = 0; only < 4; only++)
        for (int c = 1; c <= 3; c += 2) {
            struct ddp_alter a = altered();
            int changed = 0; /* a factor may be as good as 1 */
            a.jitter = true;
            *(only == 0 ? &a.brightness : only == 1 ? &a.contrast : only == 2 ? &a.saturation : &a.hue) = 0.4;
            for (int64_t index = 0; index < 20; index++) {
                uint8_t in[N], got[N];
                for (uint32_t i = 0; i < N; i++)
                    in[i] = test_byte((uint32_t)index, i / 2);
                memset(in, 99, 7); /* greys, too */
                memset(in + H * W, 99, 7);
                memset(in + 2 * H * W, 99, 7);
                memcpy(got, in, sizeof in);
                apply(&a, (struct ddp_shape){c, H, W}, got, 0, index);
                assert_true(explains(&a, index, 0, in, got, c));
                changed += memcmp(got, in, (size_t)(c * H * W)) != 0;
            }
            assert_in_range(changed, c == 1 && only >= 2 ? 0 : 17, c == 1 && only >= 2 ? 0 : 20);
        }
}

/* ---- all of it -------------------------------------------------------------------------------- */

/* The bytes of many pictures and shapes: one hash for every instruction set and for all time. */
static void test_every_instruction_set_gives_the_same_bytes(void **state)
{
    (void)state;
    struct ddp_alter a = {.on = true, .crop = true, .affine = true, .jitter = true};
    a.area[0] = 0.2, a.area[1] = 1, a.ratio[0] = 0.5, a.ratio[1] = 2;
    a.rotate = 45, a.translate = 0.2, a.scale[0] = 0.7, a.scale[1] = 1.5, a.shear = 15;
    a.brightness = a.contrast = 0.5, a.saturation = 0.9, a.hue = 0.2;
    static const struct ddp_shape shapes[] = {{1, 28, 28}, {3, 32, 32}, {3, 1, 1}, {3, 5, 67}, {3, 40, 3}};
    int met = 0;
    for (size_t k = 0; k < DDP_COUNT(isas); k++) {
        struct ddp_sha256 sha;
        char hex[65];
        if (ddp_cpu_select(isas[k], NULL) != 0)
            continue;
        met++;
        ddp_sha256_init(&sha);
        for (size_t s = 0; s < DDP_COUNT(shapes); s++)
            for (int64_t index = 0; index < 40; index++) {
                uint8_t p[3 * 32 * 32];
                const size_t n = (size_t)(shapes[s].c * shapes[s].h * shapes[s].w);
                for (uint32_t i = 0; i < n; i++)
                    p[i] = test_byte((uint32_t)index, i);
                apply(&a, shapes[s], p, 7, index);
                ddp_sha256_update(&sha, p, n);
            }
        ddp_sha256_hex(&sha, hex);
        assert_string_equal(hex, "ed8a2e0b2d18b0f52773847d7c5859da95ec80f3eea4b643e46e3acbafde9179");
    }
    assert_true(met > 0);
    assert_int_equal(ddp_cpu_select(NULL, NULL), 0);
}

static void test_alter_is_a_function_of_seed_epoch_and_index(void **state)
{
    (void)state;
    struct ddp_alter all[3];
    for (int k = 0; k < 3; k++) {
        all[k] = altered();
        all[k].crop = k == 0, all[k].affine = k == 1, all[k].jitter = k == 2;
        all[k].area[0] = 0.1, all[k].rotate = 20, all[k].brightness = 0.5;
        for (int64_t index = 0; index < 20; index++) {
            uint8_t in[N], p[4][N];
            fill(in, 3, H, W);
            for (int i = 0; i < 4; i++) {
                memcpy(p[i], in, sizeof in);
                apply(&all[k], shape, p[i], i == 1 ? 2 : 1, i == 2 ? index + 1 : index);
            }
            assert_memory_equal(p[0], p[3], sizeof in);
            assert_memory_not_equal(p[0], p[1], sizeof in);
            assert_memory_not_equal(p[0], p[2], sizeof in);
        }
    }
}

static void test_config_says_which_and_what_does_not_fit(void **state)
{
    (void)state;
    struct ddp_dataset_info info = {.shape = {1, 8, 8}, .classes = 2},
                            colour = {.shape = {3, 8, 8}, .classes = 2};
    struct ddp_augment a;
    struct ddp_config cfg = basic_config("x", "");
    assert_false(ddp_augment_alters(&cfg));
    cfg.data.rotate = 5;
    ddp_augment_init(&a, &cfg, &info, false);
    assert_false(a.alter.on);
    ddp_augment_init(&a, &cfg, &info, true);
    assert_true(a.alter.on && a.alter.affine && !a.alter.crop && !a.alter.jitter && a.alter.scale[0] == 1);
    const double backward[] = {2, 0.5};
    static const struct {
        size_t key; /* of a number, or */
        size_t range;
        bool in_colour;
        const char *says;
    } table[] = {
        {0, offsetof(struct ddp_config, data.scale), true,
         "data.scale = [2, 0.5] begins above its end; write [0.5, 2]"},
        {0, offsetof(struct ddp_config, data.crop_area), true, "data.crop_area = [2, 0.5]"},
        {0, offsetof(struct ddp_config, data.crop_ratio), true, "data.crop_ratio = [2, 0.5]"},
        {offsetof(struct ddp_config, data.hue), 0, false,
         "data.hue is for pictures in colour (3 channels), this data's have 1"},
        {offsetof(struct ddp_config, data.saturation), 0, false, "data.saturation is for pictures in colour"},
        {offsetof(struct ddp_config, data.hue), 0, true, NULL},
        {offsetof(struct ddp_config, data.contrast), 0, false, NULL},
    };
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_error err = {0};
        cfg = basic_config("x", "");
        if (table[i].range)
            *(struct ddp_floats *)(void *)((char *)&cfg + table[i].range) = (struct ddp_floats){2, backward};
        else
            *(double *)(void *)((char *)&cfg + table[i].key) = 0.5;
        const int status = ddp_augment_check(&cfg, table[i].in_colour ? &colour : &info, &err);
        assert_int_equal(status, table[i].says ? DDP_E_CONFIG : 0);
        if (table[i].says)
            assert_non_null(strstr(err.text, table[i].says));
    }
    struct ddp_error err = {0};
    info.shape.c = 2;
    cfg = basic_config("x", "");
    cfg.data.brightness = 0.5;
    assert_int_equal(ddp_augment_check(&cfg, &info, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "data.brightness is for pictures in colour (3 channels) or grey"));
    cfg.data.brightness = 0;
    cfg.data.crop_area = (struct ddp_floats){1, backward};
    assert_int_equal(ddp_augment_check(&cfg, &info, &err), DDP_E_CONFIG);
    assert_non_null(strstr(err.text, "data.crop_area has 1 value; it is [from, to]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_affine_is_its_matrix),
        cmocka_unit_test(test_whole_pixels_keep_their_bytes),
        cmocka_unit_test(test_crop_enlarges_its_part),
        cmocka_unit_test(test_all_of_a_square_stays_as_it_is),
        cmocka_unit_test(test_jitter_is_its_definition_in_each_order),
        cmocka_unit_test(test_jitter_by_itself_and_of_grey),
        cmocka_unit_test(test_every_instruction_set_gives_the_same_bytes),
        cmocka_unit_test(test_alter_is_a_function_of_seed_epoch_and_index),
        cmocka_unit_test(test_config_says_which_and_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
