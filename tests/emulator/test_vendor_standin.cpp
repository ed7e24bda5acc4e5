/* The stand-ins for cuDNN and cuBLASLt against references in double, and what they refuse. Their streams are
 * this file's: work runs at once. */
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "emu.h"
#include "standin.h"
#include "vendor_standin.h"

extern "C" {
#include "cmocka_all.h"
}

static char failure[256];

template <class T, size_t N> constexpr size_t count_of(const T (&)[N])
{
    return N;
}

cudaError_t emu_enqueue_named(cudaStream_t, const char *, bool, std::function<void()> work)
{
    work();
    return cudaSuccess;
}

bool standin::device_range(const void *, size_t)
{
    return true;
}

void standin::die(const char *fmt, ...)
{
    fputs(fmt, stderr);
    abort();
}

extern "C" {
int64_t emu_unwritten(const void *, size_t)
{
    return -1;
}
void emu_mark_written(const void *, size_t) {}
void emu_poison(void *p, size_t bytes)
{
    memset(p, 0xff, bytes);
}
void emu_fault(enum emu_fault, const char *fmt, ...)
{
    fputs(fmt, stderr);
    abort();
}
void *ddp_stream_cuda(struct ddp_gpu_stream *s)
{
    return s;
}
bool ddp_stream_works(const struct ddp_gpu_stream *)
{
    return !failure[0];
}
void ddp_stream_fail(struct ddp_gpu_stream *, int, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(failure, sizeof failure, fmt, ap);
    va_end(ap);
}
}

/* Small numbers that collide: multiples of 1/8 in [-1, 1], exact in every type. */
static std::vector<float> numbers(size_t count, uint32_t seed)
{
    std::vector<float> v(count);
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = (float)((int)(seed >> 24) % 17 - 8) / 8;
    }
    return v;
}

/* Memory as a device would hold it. */
struct Tensor {
    void *p;
    size_t count;
    enum ddp_gpu_type type;
    Tensor(size_t n, enum ddp_gpu_type t)
        : p(aligned_alloc(256, (n * 4 + 255) / 256 * 256)), count(n), type(t)
    {
        memset(p, 0xff, n * 4);
    }
    ~Tensor() { free(p); }
    Tensor(const Tensor &) = delete;
    void set(const std::vector<float> &v) { vendor::from_floats(p, type, v.data(), count); }
    std::vector<float> get() const { return vendor::to_floats(p, type, count); }
};

/* Relative to the sum of magnitudes: the chain's rounding, and the one of the store. */
static double tolerance(enum ddp_gpu_type t)
{
    return t == DDP_GPU_F32 ? 1e-5 : t == DDP_GPU_F16 ? 0x1p-10 : 0x1p-7;
}

static void check(const std::vector<double> &want, const std::vector<float> &got, enum ddp_gpu_type t,
                  const char *what)
{
    for (size_t i = 0; i < want.size(); i++)
        if (!(fabs(want[i] - got[i]) <= tolerance(t) * (1 + fabs(want[i]))))
            fail_msg("%s, type %d, element %zu: %.9g instead of %.9g", what, (int)t, i, got[i], want[i]);
}

static void test_conv_standin_gives_the_convolution(void **)
{
    static const struct ddp_gpu_conv shapes[] = {
        {2, 7, 9, 8, 16, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 0, 0},
        {3, 8, 8, 16, 8, 3, 3, 2, 1, 1, DDP_GPU_F32, false, 0, 0},
        {1, 8, 6, 8, 24, 5, 1, 1, 2, 1, DDP_GPU_F32, false, 0, 0},
        {2, 9, 9, 8, 8, 1, 1, 2, 0, 1, DDP_GPU_F32, false, 0, 0},
        {2, 6, 6, 16, 32, 3, 3, 1, 1, 4, DDP_GPU_F32, false, 0, 0},
        {2, 5, 5, 16, 16, 3, 3, 2, 0, 16, DDP_GPU_F32, false, 0, 0},
        {1, 7, 7, 8, 8, 7, 7, 3, 3, 1, DDP_GPU_F32, false, 0, 0},
        {2, 9, 8, 16, 8, 3, 3, 2, 2, 1, DDP_GPU_F32, false, 3, 0},
        {1, 8, 8, 8, 8, 2, 3, 1, 0, 1, DDP_GPU_F32, false, 2, 0},
    };
    for (size_t i = 0; i < count_of(shapes); i++)
        for (int t = 0; t < 3; t++) {
            struct ddp_gpu_conv c = shapes[i];
            c.type = (enum ddp_gpu_type)t;
            const int d = ddp_gpu_conv_dilation(&c);
            const int P = ddp_cuda_conv_out(c.h, ddp_gpu_conv_reach(&c, c.r), c.stride, c.pad),
                      Q = ddp_cuda_conv_out(c.w, ddp_gpu_conv_reach(&c, c.s), c.stride, c.pad);
            const int cg = c.c / c.groups, kg = c.k / c.groups;
            const size_t xs = (size_t)c.n * c.h * c.w * c.c, ws = (size_t)c.k * c.r * c.s * cg,
                         ys = (size_t)c.n * P * Q * c.k;
            const std::vector<float> x = numbers(xs, 1), w = numbers(ws, 2), dy = numbers(ys, 3);
            std::vector<double> y(ys), dx(xs), dw(ws);
            for (int n = 0; n < c.n; n++)
                for (int p = 0; p < P; p++)
                    for (int q = 0; q < Q; q++)
                        for (int k = 0; k < c.k; k++)
                            for (int r = 0; r < c.r; r++)
                                for (int s = 0; s < c.s; s++)
                                    for (int ch = 0; ch < cg; ch++) {
                                        const int h = p * c.stride + r * d - c.pad,
                                                  v = q * c.stride + s * d - c.pad;
                                        if (h < 0 || v < 0 || h >= c.h || v >= c.w)
                                            continue;
                                        const size_t yi = (((size_t)n * P + p) * Q + q) * c.k + k,
                                                     xi = (((size_t)n * c.h + h) * c.w + v) * c.c +
                                                          k / kg * cg + ch,
                                                     wi = (((size_t)k * c.r + r) * c.s + s) * cg + ch;
                                        y[yi] += (double)x[xi] * w[wi];
                                        dx[xi] += (double)dy[yi] * w[wi];
                                        dw[wi] += (double)dy[yi] * x[xi];
                                    }
            Tensor tx(xs, c.type), tw(ws, c.type), ty(ys, c.type);
            for (int pass = 0; pass < 3; pass++) {
                struct ddp_error err;
                struct ddp_gpu_plan *plan;
                assert_int_equal(ddp_cuda_conv_plan(NULL, &c, (enum ddp_gpu_conv_pass)pass,
                                                    pass ? "emu" : NULL, true, &plan, &err),
                                 0);
                assert_string_equal(ddp_cuda_plan_lock(plan), "emu");
                const size_t bytes = ddp_cuda_plan_workspace(plan);
                assert_true(bytes > 0);
                Tensor ws_(bytes / 4 + 1, DDP_GPU_F32);
                tx.set(x), tw.set(w), ty.set(dy);
                ddp_cuda_conv_run(NULL, plan, tx.p, tw.p, ty.p, NULL, ws_.p);
                assert_string_equal(failure, "");
                if (pass == DDP_GPU_CONV_FORWARD)
                    check(y, ty.get(), c.type, "y");
                else if (pass == DDP_GPU_CONV_DGRAD)
                    check(dx, tx.get(), c.type, "dx");
                else
                    check(dw, tw.get(), c.type, "dw");
                ddp_cuda_plan_destroy(plan);
            }
        }
}

static void test_matmul_standin_gives_the_product(void **)
{
    static const int shapes[][3] = {{1, 8, 16}, {5, 24, 7}, {16, 8, 33}};
    for (size_t i = 0; i < count_of(shapes); i++)
        for (int variant = 0; variant < 4 * 5; variant++) {
            const enum ddp_gpu_type t = (enum ddp_gpu_type)(variant / 4 % 3),
                                    o = variant >= 12 ? DDP_GPU_F32 : t;
            const struct ddp_gpu_matmul m = {shapes[i][0],
                                             shapes[i][1],
                                             shapes[i][2],
                                             (variant & 1) != 0,
                                             (variant & 2) != 0,
                                             t,
                                             o,
                                             false,
                                             0};
            const std::vector<float> a = numbers((size_t)m.m * m.l, 4), b = numbers((size_t)m.l * m.n, 5);
            std::vector<double> d((size_t)m.m * m.n);
            for (int r = 0; r < m.m; r++)
                for (int c = 0; c < m.n; c++)
                    for (int l = 0; l < m.l; l++)
                        d[(size_t)r * m.n + c] +=
                            (double)(m.ta ? a[(size_t)l * m.m + r] : a[(size_t)r * m.l + l]) *
                            (m.tb ? b[(size_t)c * m.l + l] : b[(size_t)l * m.n + c]);
            struct ddp_error err;
            struct ddp_gpu_plan *plan;
            assert_int_equal(ddp_cuda_matmul_plan(NULL, &m, NULL, false, &plan, &err), 0);
            Tensor ta(a.size(), t), tb(b.size(), t), td(d.size(), o),
                ws(ddp_cuda_plan_workspace(plan), DDP_GPU_F32);
            ta.set(a), tb.set(b);
            ddp_cuda_matmul_run(NULL, plan, ta.p, tb.p, td.p, NULL, ws.p);
            assert_string_equal(failure, "");
            check(d, td.get(), o, "d");
            ddp_cuda_plan_destroy(plan);
        }
}

/* y in its type, as a call without an epilogue leaves it, then the bias, then ReLU: rounded once more. */
static std::vector<float> behind(std::vector<float> y, const std::vector<float> &bias, enum ddp_gpu_type t,
                                 bool relu)
{
    for (size_t i = 0; i < y.size(); i++) {
        y[i] += bias[i % bias.size()];
        y[i] = relu && y[i] <= 0 ? 0 : y[i];
    }
    Tensor rounded(y.size(), t);
    rounded.set(y);
    return rounded.get();
}

static void test_standin_epilogues_have_the_bits_of_two_calls(void **)
{
    for (int variant = 0; variant < 6; variant++) {
        struct ddp_gpu_conv c = {2,     6, 5, 8, 16, 3, 3, 1, 1, 1, (enum ddp_gpu_type)(variant / 2),
                                 false, 1, 0};
        struct ddp_gpu_matmul m = {5, 16, 24, false, true, DDP_GPU_F32, DDP_GPU_F32, false, 0};
        const unsigned with = variant % 2 ? DDP_GPU_BIAS_RELU : DDP_GPU_BIAS;
        const size_t ys = 2 * 6 * 5 * 16;
        std::vector<float> bias = numbers(16, 9), plain;
        bias[3] = NAN; /* stays what it is behind ReLU */
        Tensor x(2 * 6 * 5 * 8, c.type), w(16 * 9 * 8, c.type), y(ys, c.type), b(16, DDP_GPU_F32);
        Tensor a(5 * 24, m.type), v(16 * 24, m.type), d(5 * 16, m.type), ws(4096, DDP_GPU_F32);
        x.set(numbers(x.count, 1)), w.set(numbers(w.count, 2)), b.set(bias);
        a.set(numbers(a.count, 3)), v.set(numbers(v.count, 4));
        for (int whole = 0; whole < 2; whole++) {
            struct ddp_error err;
            struct ddp_gpu_plan *conv, *matmul;
            c.epilogue = m.epilogue = whole ? with : 0;
            assert_int_equal(ddp_cuda_conv_plan(NULL, &c, DDP_GPU_CONV_FORWARD, NULL, false, &conv, &err), 0);
            assert_int_equal(ddp_cuda_matmul_plan(NULL, &m, NULL, false, &matmul, &err), 0);
            ddp_cuda_conv_run(NULL, conv, x.p, w.p, y.p, whole ? (const float *)b.p : NULL, ws.p);
            ddp_cuda_matmul_run(NULL, matmul, a.p, v.p, d.p, whole ? b.p : NULL, ws.p);
            assert_string_equal(failure, "");
            std::vector<float> got = y.get(), product = d.get(),
                               want = behind(plain.empty() ? got
                                                           : std::vector<float>(plain.begin(),
                                                                                plain.begin() + (long)ys),
                                             bias, c.type, with == DDP_GPU_BIAS_RELU),
                               sums = behind(plain.empty()
                                                 ? product
                                                 : std::vector<float>(plain.begin() + (long)ys, plain.end()),
                                             bias, m.type, with == DDP_GPU_BIAS_RELU);
            if (whole) {
                assert_memory_equal(got.data(), want.data(), ys * sizeof(float));
                assert_memory_equal(product.data(), sums.data(), product.size() * sizeof(float));
            }
            plain = got;
            plain.insert(plain.end(), product.begin(), product.end());
            ddp_cuda_plan_destroy(conv);
            ddp_cuda_plan_destroy(matmul);
        }
    }
    struct ddp_error err = {};
    struct ddp_gpu_plan *plan = NULL;
    const struct ddp_gpu_matmul narrow = {5, 16, 24, false, true, DDP_GPU_BF16, DDP_GPU_BF16, false, 1},
                                odd = {5, 16, 24, false, true, DDP_GPU_F32, DDP_GPU_F32, false, 2};
    assert_int_equal(ddp_cuda_matmul_plan(NULL, &narrow, NULL, false, &plan, &err), DDP_E_RESOURCE);
    assert_int_equal(ddp_cuda_matmul_plan(NULL, &odd, NULL, false, &plan, &err), DDP_E_SHAPE);
}

/* Halves and bfloats: every value comes back, and what lies between two of them goes
 * to the even neighbour. */
static void test_standin_types_round_to_nearest_even(void **)
{
    static const struct {
        enum ddp_gpu_type type;
        float in, out;
    } cases[] = {
        {DDP_GPU_F16, 65504, 65504},
        {DDP_GPU_F16, 65519.996f, 65504},
        {DDP_GPU_F16, 65520, INFINITY},
        {DDP_GPU_F16, 1.00048828125f, 1},
        {DDP_GPU_F16, 0x1p-25f, 0},
        {DDP_GPU_F16, 0x1.8p-24f, 0x1p-23f},
        {DDP_GPU_F16, -0x1p-14f, -0x1p-14f},
        {DDP_GPU_F16, 0x1.ff8p-15f, 0x1.ff8p-15f},
        {DDP_GPU_F16, 2049, 2048},
        {DDP_GPU_F16, 2051, 2052},
        {DDP_GPU_BF16, 257, 256},
        {DDP_GPU_BF16, 259, 260},
        {DDP_GPU_BF16, 3.4e38f, INFINITY},
        {DDP_GPU_BF16, -INFINITY, -INFINITY},
        {DDP_GPU_BF16, 0x1p-133f, 0x1p-133f},
        {DDP_GPU_F16, 0x1.ffep-14f, 0x1p-13f},
    };
    for (size_t i = 0; i < count_of(cases); i++) {
        uint16_t raw;
        vendor::from_floats(&raw, cases[i].type, &cases[i].in, 1);
        const float got = vendor::to_floats(&raw, cases[i].type, 1)[0];
        if (got != cases[i].out)
            fail_msg("case %zu: %a became %a instead of %a", i, cases[i].in, got, cases[i].out);
    }
    for (int t = DDP_GPU_BF16; t <= DDP_GPU_F16; t++)
        for (uint32_t raw = 0; raw < 0x10000; raw++) {
            const uint16_t in = (uint16_t)raw;
            uint16_t out;
            const std::vector<float> v = vendor::to_floats(&in, (enum ddp_gpu_type)t, 1);
            vendor::from_floats(&out, (enum ddp_gpu_type)t, v.data(), 1);
            if (v[0] == v[0])
                assert_int_equal(out, in);
        }
}

static void test_standin_refuses_what_no_device_takes(void **)
{
    static const struct {
        struct ddp_gpu_conv c;
        const char *lock, *why;
        int code;
    } cases[] = {
        {{1, 8, 8, 3, 8, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 0, 0}, NULL, "multiple of 8", DDP_E_SHAPE},
        {{1, 8, 8, 8, 10, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 0, 0}, NULL, "multiple of 8", DDP_E_SHAPE},
        {{1, 8, 8, 16, 24, 3, 3, 1, 1, 3, DDP_GPU_F32, false, 0, 0},
         NULL,
         "groups must divide both",
         DDP_E_SHAPE},
        {{1, 2, 2, 8, 8, 5, 5, 1, 1, 1, DDP_GPU_F32, false, 0, 0}, NULL, "does not fit", DDP_E_SHAPE},
        {{0, 8, 8, 8, 8, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 0, 0}, NULL, "1 or more", DDP_E_SHAPE},
        {{1, 8, 8, 8, 8, 3, 3, 1, 1, 1, DDP_GPU_F32, false, 0, 0}, "eng=1", "'emu' only", DDP_E_CONFIG},
    };
    for (size_t i = 0; i < count_of(cases); i++) {
        struct ddp_error err = {};
        struct ddp_gpu_plan *plan = NULL;
        assert_int_equal(
            ddp_cuda_conv_plan(NULL, &cases[i].c, DDP_GPU_CONV_FORWARD, cases[i].lock, false, &plan, &err),
            cases[i].code);
        assert_non_null(strstr(err.text, cases[i].why));
        assert_null(plan);
    }
    struct ddp_error err = {};
    struct ddp_gpu_plan *plan = NULL;
    const struct ddp_gpu_matmul wide = {1, 8, 8, false, false, DDP_GPU_F32, DDP_GPU_BF16, false, 0};
    assert_int_equal(ddp_cuda_matmul_plan(NULL, &wide, NULL, false, &plan, &err), DDP_E_SHAPE);
}

static void test_standin_names_bad_memory(void **)
{
    struct ddp_error err;
    struct ddp_gpu_plan *plan;
    const struct ddp_gpu_conv c = {1, 4, 4, 8, 8, 1, 1, 1, 0, 1, DDP_GPU_F32, false, 0, 0};
    assert_int_equal(ddp_cuda_conv_plan(NULL, &c, DDP_GPU_CONV_FORWARD, NULL, false, &plan, &err), 0);
    Tensor t(1024, DDP_GPU_F32);
    char *p = (char *)t.p;
    const struct {
        void *x, *w, *y, *workspace;
        const char *why;
    } cases[] = {
        {NULL, p, p, p, "x is NULL"},
        {p, p + 8, p, p, "w is not aligned to 16 bytes"},
        {p, p, p, NULL, "the workspace is NULL"},
        {p, p, p, p + 64, "the workspace is not aligned to 256 bytes"},
    };
    for (size_t i = 0; i < count_of(cases); i++) {
        failure[0] = 0;
        ddp_cuda_conv_run(NULL, plan, cases[i].x, cases[i].w, cases[i].y, NULL, cases[i].workspace);
        assert_non_null(strstr(failure, cases[i].why));
    }
    failure[0] = 0;
    ddp_cuda_plan_destroy(plan);
    ddp_cuda_plan_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv_standin_gives_the_convolution),
        cmocka_unit_test(test_matmul_standin_gives_the_product),
        cmocka_unit_test(test_standin_epilogues_have_the_bits_of_two_calls),
        cmocka_unit_test(test_standin_types_round_to_nearest_even),
        cmocka_unit_test(test_standin_refuses_what_no_device_takes),
        cmocka_unit_test(test_standin_names_bad_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
