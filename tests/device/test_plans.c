/* Plans of convolutions at the batches that are trained with: libraries choose other algorithms for 512
 * samples than for 4. Elements drawn from all over the result, the last sample's among them, against sums in
 * double; all of the result twice, to the bit; with bias and ReLU, too. DDP_CUDA_PLUGIN names the plug-in,
 * the emulated one or a real one; GPU_TESTS=1: the whole of the shapes, and without a device the test is
 * skipped. */
#include "device/opened.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool real; /* a GPU is meant, GPU_TESTS=1 */

/* Those of mnist_cnn, fashion_cnn and resnet18 (CIFAR form), channels padded; n is filled in. */
static const struct ddp_gpu_conv shapes[] = {
    {0, 28, 28, 8, 32, 3, 3, 1, 0, 1, DDP_GPU_F32, false, 1, 0},
    {0, 26, 26, 32, 64, 3, 3, 1, 0, 1, DDP_GPU_F32, false, 1, 0},
    {0, 28, 28, 8, 32, 5, 5, 1, 2, 1, DDP_GPU_F32, false, 1, 0},
    {0, 32, 32, 8, 64, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 1, 0},
    {0, 32, 32, 64, 64, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 1, 0},
    {0, 32, 32, 64, 128, 3, 3, 2, 1, 1, DDP_GPU_F32, false, 1, 0},
    {0, 32, 32, 64, 128, 1, 1, 2, 0, 1, DDP_GPU_F32, false, 1, 0},
    {0, 16, 16, 128, 128, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 1, 0},
    {0, 8, 8, 256, 256, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 1, 0},
    {0, 4, 4, 512, 512, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 1, 0},
    /* small ones, which the emulator has time for */
    {0, 9, 7, 8, 16, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 1, 0},
    {0, 8, 8, 16, 8, 3, 3, 2, 1, 1, DDP_GPU_F32, false, 1, 0},
    {0, 6, 6, 8, 24, 5, 5, 1, 2, 1, DDP_GPU_F32, false, 1, 0},
};
enum { LARGE = 10, DRAWN = 48 };

/* ---- a problem: x, w, y as the host has them, in the compute type's values ---- */

struct problem {
    struct ddp_gpu_conv c;
    int p, q;
    int64_t size[3]; /* elements of x, w, y */
    float *value[3];
    float *bias; /* [k], with an epilogue; NULL */
};

static uint32_t mix(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* Full mantissas: what a narrower type loses of them shows. bf16: rounded to it. */
static float number(int which, int64_t i, enum ddp_gpu_type type)
{
    const float v = (float)(int32_t)mix((uint32_t)i * 3u + (uint32_t)which + 17u) * 0x1p-31f;
    uint32_t bits;
    if (type == DDP_GPU_F32)
        return v;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    float rounded;
    memcpy(&rounded, &bits, sizeof rounded);
    return rounded;
}

static int out_of(int size, int filter, int stride, int pad)
{
    return (size + 2 * pad - filter) / stride + 1;
}

static void problem_init(struct problem *t, const struct ddp_gpu_conv *shape, int n, enum ddp_gpu_type type)
{
    *t = (struct problem){.c = *shape};
    struct ddp_gpu_conv *c = &t->c;
    c->n = n;
    c->type = type;
    t->p = out_of(c->h, c->r, c->stride, c->pad);
    t->q = out_of(c->w, c->s, c->stride, c->pad);
    t->size[0] = (int64_t)n * c->h * c->w * c->c;
    t->size[1] = (int64_t)c->k * c->r * c->s * c->c;
    t->size[2] = (int64_t)n * t->p * t->q * c->k;
    for (int i = 0; i < 3; i++) {
        t->value[i] = ddp_malloc((size_t)t->size[i] * sizeof(float));
        for (int64_t e = 0; e < t->size[i]; e++)
            t->value[i][e] = number(i, e, type);
    }
}

static void problem_finish(struct problem *t)
{
    for (int i = 0; i < 3; i++)
        free(t->value[i]);
}

/* ---- one element in double ---- */

struct sum {
    double value, magnitude; /* sum of terms, and of their magnitudes */
    double before;           /* what a bias was added to, which may have been rounded; 0 without one */
};

static void add(struct sum *s, float a, float b)
{
    s->value += (double)a * b;
    s->magnitude += fabs((double)a * b);
}

static float x_at(const struct problem *t, int n, int h, int w, int ch)
{
    const struct ddp_gpu_conv *c = &t->c;
    if (h < 0 || w < 0 || h >= c->h || w >= c->w)
        return 0;
    return t->value[0][(((int64_t)n * c->h + h) * c->w + w) * c->c + ch];
}

static float w_at(const struct problem *t, int k, int r, int s, int ch)
{
    return t->value[1][(((int64_t)k * t->c.r + r) * t->c.s + s) * t->c.c + ch];
}

static float y_at(const struct problem *t, int n, int p, int q, int k)
{
    return t->value[2][(((int64_t)n * t->p + p) * t->q + q) * t->c.k + k];
}

/* y[n,p,q,k] = sum over r, s, ch of x w */
static struct sum forward(const struct problem *t, int64_t e)
{
    const struct ddp_gpu_conv *c = &t->c;
    const int k = (int)(e % c->k), q = (int)(e / c->k % t->q), p = (int)(e / c->k / t->q % t->p),
              n = (int)(e / c->k / t->q / t->p);
    struct sum sum = {0};
    for (int r = 0; r < c->r; r++)
        for (int s = 0; s < c->s; s++)
            for (int ch = 0; ch < c->c; ch++)
                add(&sum, x_at(t, n, p * c->stride + r - c->pad, q * c->stride + s - c->pad, ch),
                    w_at(t, k, r, s, ch));
    if (t->bias) {
        sum.before = sum.value;
        add(&sum, t->bias[k], 1);
        sum.value = sum.value < 0 ? 0 : sum.value;
    }
    return sum;
}

/* dx[n,h,w,ch] = sum over r, s, k of dy w */
static struct sum dgrad(const struct problem *t, int64_t e)
{
    const struct ddp_gpu_conv *c = &t->c;
    const int ch = (int)(e % c->c), w = (int)(e / c->c % c->w), h = (int)(e / c->c / c->w % c->h),
              n = (int)(e / c->c / c->w / c->h);
    struct sum sum = {0};
    for (int r = 0; r < c->r; r++)
        for (int s = 0; s < c->s; s++) {
            const int ps = h + c->pad - r, qs = w + c->pad - s;
            if (ps < 0 || qs < 0 || ps % c->stride || qs % c->stride || ps / c->stride >= t->p ||
                qs / c->stride >= t->q)
                continue;
            for (int k = 0; k < c->k; k++)
                add(&sum, y_at(t, n, ps / c->stride, qs / c->stride, k), w_at(t, k, r, s, ch));
        }
    return sum;
}

/* dw[k,r,s,ch] = sum over n, p, q of dy x */
static struct sum wgrad(const struct problem *t, int64_t e)
{
    const struct ddp_gpu_conv *c = &t->c;
    const int ch = (int)(e % c->c), s = (int)(e / c->c % c->s), r = (int)(e / c->c / c->s % c->r),
              k = (int)(e / c->c / c->s / c->r);
    struct sum sum = {0};
    for (int n = 0; n < c->n; n++)
        for (int p = 0; p < t->p; p++)
            for (int q = 0; q < t->q; q++)
                add(&sum, x_at(t, n, p * c->stride + r - c->pad, q * c->stride + s - c->pad, ch),
                    y_at(t, n, p, q, k));
    return sum;
}

static struct sum (*const element[3])(const struct problem *, int64_t) = {forward, dgrad, wgrad};
static const int written[3] = {2, 0, 1};

/* What exact fp32 may differ by: its own roundings, and Winograd's on small tiles. bf16: one more. */
static bool is_near(enum ddp_gpu_type type, struct sum want, float got)
{
    return fabs(want.value - got) <=
           1e-6 * want.magnitude + (type == DDP_GPU_F32 ? 0 : (fabs(want.value) + fabs(want.before)) / 256);
}

/* ---- on the device ---- */

/* Between the values and what the device holds of them; up: to it. */
static void move(bool up, enum ddp_gpu_type type, void *at, float *value, int64_t n)
{
    const size_t bytes = (size_t)n * ddp_gpu_type_bytes(type);
    void *host = pinned(bytes);
    uint16_t *narrow = host;
    if (up && type == DDP_GPU_F32)
        memcpy(host, value, bytes);
    for (int64_t i = 0; up && type != DDP_GPU_F32 && i < n; i++)
        narrow[i] = (uint16_t)(((const uint32_t *)(const void *)value)[i] >> 16);
    api->copy(stream, up ? at : host, up ? host : at, bytes);
    idle();
    if (!up && type == DDP_GPU_F32)
        memcpy(value, host, bytes);
    for (int64_t i = 0; !up && type != DDP_GPU_F32 && i < n; i++)
        ((uint32_t *)(void *)value)[i] = (uint32_t)narrow[i] << 16;
    api->release_pinned(gpu, host);
}

/* Run one pass; the result goes to out. What was there before is not a number. */
static void run(const struct problem *t, enum ddp_gpu_conv_pass pass, const struct ddp_gpu_plan *plan,
                void *memory[3], const float *bias, void *workspace, float *out)
{
    const int to = written[pass];
    for (int i = 0; i < 3; i++) {
        for (int64_t e = 0; i == to && e < t->size[i]; e++)
            out[e] = NAN;
        move(true, t->c.type, memory[i], i == to ? out : t->value[i], t->size[i]);
    }
    api->conv_run(stream, plan, memory[0], memory[1], memory[2], bias, workspace);
    idle();
    move(false, t->c.type, memory[to], out, t->size[to]);
}

static void check_pass(const struct problem *t, enum ddp_gpu_conv_pass pass)
{
    struct ddp_error err = {0};
    struct ddp_gpu_plan *plan;
    const int code = api->conv_plan(gpu, &t->c, pass, NULL, false, &plan, &err);
    if (code == DDP_E_RESOURCE && t->bias) /* then our kernel does it */
        return;
    if (code != 0)
        fail_msg("%s", err.text);
    float *bias = t->bias ? device((size_t)t->c.k * sizeof *bias) : NULL;
    if (bias)
        move(true, DDP_GPU_F32, bias, t->bias, t->c.k);
    const int64_t n = t->size[written[pass]];
    void *memory[3], *workspace = device(api->plan_workspace(plan) + 1);
    float *got = ddp_malloc((size_t)n * sizeof *got), *again = ddp_malloc((size_t)n * sizeof *again);
    for (int i = 0; i < 3; i++)
        memory[i] = device((size_t)t->size[i] * ddp_gpu_type_bytes(t->c.type));
    run(t, pass, plan, memory, bias, workspace, got);
    run(t, pass, plan, memory, bias, workspace, again);
    assert_memory_equal(got, again, (size_t)n * sizeof *got);
    for (int i = 0; i < DRAWN; i++) { /* of all, and of the end */
        const int64_t e = i % 4 == 3 ? n - 1 - i : (int64_t)((uint64_t)mix((uint32_t)i) * (uint64_t)n >> 32);
        const struct sum want = element[pass](t, e);
        if (!is_near(t->c.type, want, got[e]))
            fail_msg(
                "%d samples of %dx%dx%d to %d, filter %d, pass %d, type %d, plan %s: element %lld is %.9g, "
                "not %.9g",
                t->c.n, t->c.c, t->c.h, t->c.w, t->c.k, t->c.r, (int)pass, (int)t->c.type,
                api->plan_lock(plan), (long long)e, got[e], want.value);
    }
    for (int i = 0; i < 3; i++)
        api->release(gpu, memory[i]);
    api->release(gpu, bias);
    api->release(gpu, workspace);
    api->plan_destroy(plan);
    free(again);
    free(got);
}

static void check_batch(int batch, size_t from, size_t to, enum ddp_gpu_type type)
{
    for (size_t i = from; i < to; i++) {
        struct problem t;
        problem_init(&t, &shapes[i], batch, type);
        for (int pass = DDP_GPU_CONV_FORWARD; pass <= DDP_GPU_CONV_WGRAD; pass++)
            check_pass(&t, (enum ddp_gpu_conv_pass)pass);
        t.bias = ddp_malloc((size_t)t.c.k * sizeof *t.bias);
        for (int k = 0; k < t.c.k; k++)
            t.bias[k] = number(3, k, DDP_GPU_F32);
        t.c.epilogue = DDP_GPU_BIAS_RELU;
        check_pass(&t, DDP_GPU_CONV_FORWARD);
        free(t.bias);
        problem_finish(&t);
    }
}

static void test_plans_compute_the_batch_that_is_trained_with(void **state)
{
    struct ddp_gpu_info info;
    (void)state;
    assert_int_equal(api->info(0, &info, NULL), 0);
    for (int narrow = 0; narrow < 2; narrow++) {
        const enum ddp_gpu_type type = narrow ? DDP_GPU_BF16 : DDP_GPU_F32;
        if (narrow && !info.bf16)
            continue;
        check_batch(67, LARGE, DDP_COUNT(shapes), type); /* no power of two */
        check_batch(real ? 512 : 4, real ? 0 : LARGE - 9, real ? LARGE : LARGE - 8, type);
        check_batch(real ? 64 : 1, 0, real ? LARGE : 1, type);
    }
}

/* TF32 keeps 10 bits of a factor: what it computes is refused where fp32 is asked for. */
static void test_tf32_is_not_taken_for_fp32(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(shapes); i++) {
        struct problem t, rounded;
        int refused = 0;
        problem_init(&t, &shapes[i], 2, DDP_GPU_F32);
        problem_init(&rounded, &shapes[i], 2, DDP_GPU_F32);
        for (int k = 0; k < 3; k++)
            for (int64_t e = 0; e < t.size[k]; e++) {
                uint32_t bits;
                memcpy(&bits, &rounded.value[k][e], sizeof bits);
                bits = (bits + 0x1000) & ~0x1fffu;
                memcpy(&rounded.value[k][e], &bits, sizeof bits);
            }
        for (int e = 0; e < DRAWN; e++)
            refused += !is_near(DDP_GPU_F32, forward(&t, e), (float)forward(&rounded, e).value);
        assert_true(refused > DRAWN / 2);
        problem_finish(&rounded);
        problem_finish(&t);
    }
}

int main(void)
{
    const char *asked = getenv("GPU_TESTS");
    struct ddp_error err = {0};
    int devices;
    real = asked && strcmp(asked, "1") == 0;
    if (ddp_gpu_api_open(&api, &err) != 0 || api->count(&devices, &err) != 0) {
        printf("skipped: no device: %s\n", err.text);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans_compute_the_batch_that_is_trained_with),
        cmocka_unit_test(test_tf32_is_not_taken_for_fp32),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
