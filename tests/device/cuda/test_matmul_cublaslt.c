/* matmul_cublaslt.c against a cuBLASLt that is made of loops: that products come out right although its
 * matrices are column-major, which algorithms are taken, and what a lock text gives again. */
#include "cmocka_all.h"

#include <cublasLt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "device/cuda/plan.h"
#include "fake_cudart.h"

/* ---- the library ---- */

struct matrix {
    uint64_t rows, cols;
    int64_t ld;
    cudaDataType_t type;
};
struct product {
    cublasComputeType_t compute;
    int32_t trans[2];
    cublasLtEpilogue_t epilogue; /* 0: none */
    const float *bias;
};
/* An algorithm's 64 bytes: name, scheme, workspace, microseconds, what is wrong with it. */
enum { NAME, SCHEME, WORKSPACE, US, WRONG };
enum { FINE, CANNOT_RUN, CANNOT_CAPTURE, NOT_OFFERED, HIDES_NAN };
static const cublasLtMatmulAlgo_t *offered;
static int noffered, handles, descriptors;
static size_t version = 130100;
static cublasComputeType_t last_compute;
static struct {
    uint64_t workspace;
    uint32_t schemes, align;
} asked;

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    handles++;
    *h = malloc(1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    handles--;
    free(h);
    return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void)
{
    return version;
}

const char *cublasLtGetStatusString(cublasStatus_t s)
{
    return s == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "failed";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    struct product *p = calloc(1, sizeof *p);
    p->compute = compute;
    descriptors++;
    *d = (cublasLtMatmulDesc_t)(void *)p;
    return scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    descriptors--;
    free((void *)d);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t attr,
                                              const void *value, size_t size)
{
    struct product *p = (struct product *)(void *)d;
    if (attr == CUBLASLT_MATMUL_DESC_EPILOGUE && size == sizeof p->epilogue)
        return memcpy(&p->epilogue, value, size), CUBLAS_STATUS_SUCCESS;
    if (attr == CUBLASLT_MATMUL_DESC_BIAS_POINTER && size == sizeof p->bias)
        return memcpy(&p->bias, value, size), CUBLAS_STATUS_SUCCESS;
    if (size != 4 || (attr != CUBLASLT_MATMUL_DESC_TRANSA && attr != CUBLASLT_MATMUL_DESC_TRANSB))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&p->trans[attr == CUBLASLT_MATMUL_DESC_TRANSB], value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
    struct matrix *m = malloc(sizeof *m);
    *m = (struct matrix){rows, cols, ld, type};
    descriptors++;
    *l = (cublasLtMatrixLayout_t)(void *)m;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    descriptors--;
    free((void *)l);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    descriptors++;
    *p = malloc(1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    descriptors--;
    free((void *)p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attr,
                                                    const void *value, size_t size)
{
    (void)p;
    if (attr == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && size == 8)
        memcpy(&asked.workspace, value, size);
    else if (attr == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK && size == 4)
        memcpy(&asked.schemes, value, size);
    else if (size == 4)
        memcpy(&asked.align, value, size);
    else
        return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t out,
                                              cublasLtMatmulPreference_t p, int want,
                                              cublasLtMatmulHeuristicResult_t *r, int *n)
{
    (void)h, (void)d, (void)a, (void)b, (void)c, (void)out, (void)p;
    *n = noffered < want ? noffered : want;
    for (int i = 0; i < *n; i++) {
        r[i].algo = offered[i];
        r[i].workspaceSize = offered[i].data[WORKSPACE];
        r[i].state =
            offered[i].data[WRONG] == NOT_OFFERED ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
    }
    return *n ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                       cublasLtMatrixLayout_t out, const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *r)
{
    (void)h, (void)d, (void)a, (void)b, (void)c, (void)out;
    r->workspaceSize = algo->data[WORKSPACE];
    return algo->data[NAME] < 100 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attr, void *out,
                                                    size_t size, size_t *written)
{
    if (attr != CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME || size != 4)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(out, &algo->data[SCHEME], 4);
    *written = 4;
    return CUBLAS_STATUS_SUCCESS;
}

struct call { /* a product, now or when its graph is launched */
    struct matrix a, b, d;
    bool ta, tb;
    const float *pa, *pb;
    float *pd;
    const float *bias; /* of each row of what is column-major; NULL: none */
    bool relu, hides_nan;
};
static struct call captured;

/* Column-major, fp32 matrices. */
static void multiply(const struct call *c)
{
    const uint64_t inner = c->ta ? c->a.rows : c->a.cols;
    for (uint64_t i = 0; i < c->d.rows; i++)
        for (uint64_t j = 0; j < c->d.cols; j++) {
            float sum = 0;
            for (uint64_t l = 0; l < inner; l++)
                sum += c->pa[c->ta ? l + i * (uint64_t)c->a.ld : i + l * (uint64_t)c->a.ld] *
                       c->pb[c->tb ? j + l * (uint64_t)c->b.ld : l + j * (uint64_t)c->b.ld];
            if (c->bias)
                sum += c->bias[i];
            if (c->relu && (sum <= 0 || (c->hides_nan && isnan(sum))))
                sum = 0;
            c->pd[i + j * (uint64_t)c->d.ld] = sum;
        }
}

static void replay(void)
{
    multiply(&captured);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t d, const void *alpha, const void *pa,
                              cublasLtMatrixLayout_t la, const void *pb, cublasLtMatrixLayout_t lb,
                              const void *beta, const void *pc, cublasLtMatrixLayout_t lc, void *pd,
                              cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t bytes, cudaStream_t stream)
{
    (void)h, (void)stream;
    const struct product *p = (const struct product *)(const void *)d;
    const struct matrix *a = (const void *)la, *b = (const void *)lb, *out = (const void *)ld;
    const bool ta = p->trans[0] == CUBLAS_OP_T, tb = p->trans[1] == CUBLAS_OP_T;
    last_compute = p->compute;
    if (algo->data[WRONG] == CANNOT_RUN)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (bytes != algo->data[WORKSPACE] || (bytes && !workspace) || pc != pd || lc != ld)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (bytes)
        memset(workspace, 0xff, bytes);
    fake_work((double)algo->data[US], algo->data[WRONG] != CANNOT_CAPTURE);
    const uint64_t rows = ta ? a->cols : a->rows, inner = ta ? a->rows : a->cols,
                   cols = tb ? b->rows : b->cols;
    if ((tb ? b->cols : b->rows) != inner || out->rows != rows || out->cols != cols ||
        *(const float *)alpha != 1 || *(const float *)beta != 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    fake.replay = NULL;
    if (a->type != CUDA_R_32F)
        return CUBLAS_STATUS_SUCCESS;
    const struct call call = {.a = *a,
                              .b = *b,
                              .d = *out,
                              .ta = ta,
                              .tb = tb,
                              .pa = pa,
                              .pb = pb,
                              .pd = pd,
                              .bias = p->epilogue ? p->bias : NULL,
                              .relu = p->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS,
                              .hides_nan = algo->data[WRONG] == HIDES_NAN};
    captured = call;
    fake.replay = replay;
    if (!fake.capturing)
        multiply(&call);
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- tests ---- */

static struct ddp_gpu *const gpu = (struct ddp_gpu *)&handles;
static struct ddp_gpu_stream *const stream = (struct ddp_gpu_stream *)&handles;
static const struct ddp_gpu_matmul small = {4, 8, 16, false, false, DDP_GPU_F32, DDP_GPU_F32, false, 0};

#define ALGO(name, scheme, workspace, us, wrong)                                                             \
    {                                                                                                        \
        {                                                                                                    \
            name, scheme, workspace, us, wrong                                                               \
        }                                                                                                    \
    }

static void offer(const cublasLtMatmulAlgo_t *list, int n)
{
    fake_reset();
    offered = list;
    noffered = n;
}

static int nothing_is_left(void **state)
{
    (void)state;
    return handles == 0 && descriptors == 0 && fake.live == 0 ? 0 : -1;
}

static void test_row_major_products_come_out_right(void **state)
{
    (void)state;
    static const cublasLtMatmulAlgo_t one[] = {ALGO(1, 0, 48, 1, FINE)};
    static const int shapes[][3] = {{1, 8, 8}, {5, 8, 24}, {16, 24, 8}, {8, 40, 3}};
    offer(one, 1);
    for (size_t i = 0; i < DDP_COUNT(shapes); i++)
        for (int t = 0; t < 4; t++) {
            const struct ddp_gpu_matmul m = {shapes[i][0], shapes[i][1], shapes[i][2], t & 1, t >> 1,
                                             DDP_GPU_F32,  DDP_GPU_F32,  false,        0};
            float a[1024], b[1024], d[1024], workspace[16];
            for (int j = 0; j < m.m * m.l; j++)
                a[j] = (float)(j * 7 % 11 - 5);
            for (int j = 0; j < m.l * m.n; j++)
                b[j] = (float)(j * 5 % 13 - 6);
            struct ddp_gpu_plan *plan;
            struct ddp_error err = {0};
            if (ddp_cuda_matmul_plan(gpu, &m, NULL, false, &plan, &err) != 0)
                fail_msg("%s", err.text);
            assert_int_equal(ddp_cuda_plan_workspace(plan), 48);
            ddp_cuda_matmul_run(stream, plan, a, b, d, NULL, workspace);
            assert_string_equal(fake.failure, "");
            for (int r = 0; r < m.m; r++)
                for (int c = 0; c < m.n; c++) {
                    float want = 0;
                    for (int l = 0; l < m.l; l++)
                        want += (m.ta ? a[l * m.m + r] : a[r * m.l + l]) *
                                (m.tb ? b[c * m.l + l] : b[l * m.n + c]);
                    assert_true(d[r * m.n + c] == want);
                }
            ddp_cuda_plan_destroy(plan);
        }
}

/* The bias of an output's column, ReLU behind it. An algorithm that hides what is none is passed over. */
static void test_epilogues_come_out_right(void **state)
{
    (void)state;
    static const cublasLtMatmulAlgo_t list[] = {ALGO(1, 0, 0, 1, HIDES_NAN), ALGO(2, 0, 0, 9, FINE)};
    for (int relu = 0; relu < 2; relu++) {
        struct ddp_gpu_matmul m = small, plain = small;
        m.epilogue = relu ? DDP_GPU_BIAS_RELU : DDP_GPU_BIAS;
        float a[4 * 16], b[16 * 8], d[4 * 8], want[4 * 8], bias[8];
        for (int i = 0; i < 4 * 16; i++)
            a[i] = (float)(i * 7 % 11 - 5);
        for (int i = 0; i < 16 * 8; i++)
            b[i] = (float)(i * 5 % 13 - 6);
        for (int i = 0; i < 8; i++)
            bias[i] = (float)(3 * i - 10);
        struct ddp_gpu_plan *plan, *alone;
        struct ddp_error err = {0};
        offer(list, 2);
        if (ddp_cuda_matmul_plan(gpu, &m, NULL, true, &plan, &err) != 0)
            fail_msg("%s", err.text);
        assert_int_equal(ddp_cuda_matmul_plan(gpu, &plain, NULL, false, &alone, &err), 0);
        /* the first by its digits: the name is the first number of the text */
        assert_int_equal(strncmp(ddp_cuda_plan_lock(plan) + strlen("lt=130100;algo="),
                                 relu ? "0000000000000002" : "0000000000000001", 16),
                         0);
        ddp_cuda_matmul_run(stream, alone, a, b, want, NULL, NULL);
        ddp_cuda_matmul_run(stream, plan, a, b, d, bias, NULL);
        assert_string_equal(fake.failure, "");
        for (int i = 0; i < 4 * 8; i++) {
            want[i] += bias[i % 8];
            assert_true(d[i] == (relu && want[i] <= 0 ? 0 : want[i]));
        }
        ddp_cuda_plan_destroy(plan);
        ddp_cuda_plan_destroy(alone);
    }
    struct ddp_gpu_matmul m = small;
    struct ddp_gpu_plan *plan = NULL;
    struct ddp_error err = {0};
    m.epilogue = DDP_GPU_BIAS_RELU;
    offer(list, 1);
    assert_int_equal(ddp_cuda_matmul_plan(gpu, &m, NULL, false, &plan, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "makes numbers of what is none"));
}

static void test_the_first_that_works_or_the_fastest_is_taken(void **state)
{
    (void)state;
    static const cublasLtMatmulAlgo_t list[] = {
        ALGO(1, CUBLASLT_REDUCTION_SCHEME_INPLACE, 0, 1, FINE),
        ALGO(2, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE, 0, 1, FINE),
        ALGO(3, 0, 0, 1, CANNOT_RUN),
        ALGO(4, 0, 0, 1, CANNOT_CAPTURE),
        ALGO(5, 0, 0, 1, NOT_OFFERED),
        ALGO(6, 0, 64 << 20, 1, FINE),
        ALGO(7, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 1000, 90, FINE),
        ALGO(8, 0, 0, 30, FINE),
        ALGO(9, 0, 16, 20, FINE),
        ALGO(10, 0, 0, 25, FINE),
    };
    offer(list, DDP_COUNT(list));
    for (int tune = 0; tune < 2; tune++) {
        struct ddp_gpu_plan *plan, *again;
        struct ddp_error err = {0};
        assert_int_equal(ddp_cuda_matmul_plan(gpu, &small, NULL, tune, &plan, &err), 0);
        char want[64];
        snprintf(want, sizeof want, "lt=130100;algo=%016x", tune ? 9 : 7);
        assert_memory_equal(ddp_cuda_plan_lock(plan), want, strlen(want));
        assert_int_equal(ddp_cuda_plan_workspace(plan), tune ? 16 : 1000);

        assert_int_equal(ddp_cuda_matmul_plan(gpu, &small, ddp_cuda_plan_lock(plan), !tune, &again, &err), 0);
        assert_string_equal(ddp_cuda_plan_lock(again), ddp_cuda_plan_lock(plan));
        assert_int_equal(ddp_cuda_plan_workspace(again), ddp_cuda_plan_workspace(plan));
        assert_int_equal(handles, 1); /* shared */
        ddp_cuda_plan_destroy(plan);
        assert_int_equal(handles, 1);
        ddp_cuda_plan_destroy(again);
        assert_int_equal(handles, 0);
    }
    assert_int_equal(asked.schemes, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    assert_int_equal(asked.align, 16);
    assert_int_equal(asked.workspace, 32 << 20);

    fake.major = 8;
    struct ddp_gpu_plan *plan;
    assert_int_equal(ddp_cuda_matmul_plan(gpu, &small, NULL, false, &plan, NULL), 0);
    assert_int_equal(asked.workspace, 4 << 20);
    ddp_cuda_plan_destroy(plan);
}

static void test_tf32_only_where_it_is_allowed(void **state)
{
    (void)state;
    static const cublasLtMatmulAlgo_t one[] = {ALGO(1, 0, 0, 1, FINE)};
    static const struct {
        enum ddp_gpu_type type;
        bool tf32;
        cublasComputeType_t want;
    } cases[] = {
        {DDP_GPU_F32, false, CUBLAS_COMPUTE_32F},
        {DDP_GPU_F32, true, CUBLAS_COMPUTE_32F_FAST_TF32},
        {DDP_GPU_BF16, true, CUBLAS_COMPUTE_32F},
        {DDP_GPU_F16, false, CUBLAS_COMPUTE_32F},
    };
    offer(one, 1);
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_gpu_matmul m = small;
        m.type = cases[i].type;
        m.tf32 = cases[i].tf32;
        struct ddp_gpu_plan *plan;
        assert_int_equal(ddp_cuda_matmul_plan(gpu, &m, NULL, false, &plan, NULL), 0);
        assert_int_equal(last_compute, cases[i].want);
        ddp_cuda_plan_destroy(plan);
    }
}

static void test_bad_locks_are_refused(void **state)
{
    (void)state;
#define ZEROS "000000000000000000000000000000000000000000000000"
    static const char *const cases[][2] = {
        {"", "128 hexadecimal digits"},
        {"emu", "128 hexadecimal digits"},
        {"lt=130100;algo=1", "128 hexadecimal digits"},
        {"lt=130100;algo=000000000000000g" ZEROS ZEROS "0000000000000000", "128 hexadecimal digits"},
        {"lt=130100;algo=000000000000000A" ZEROS ZEROS "0000000000000000", "128 hexadecimal digits"},
        {"lt=130099;algo=0000000000000001" ZEROS ZEROS "0000000000000000",
         "lock of cuBLASLt 130099, but here is 130100"},
        {"lt=130100;algo=0000000000000fff" ZEROS ZEROS "0000000000000000", "not supported"},
        {"lt=130100;algo=00000000000000010000000000000001" ZEROS ZEROS, "not deterministic"},
    };
    offer(NULL, 0);
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_gpu_plan *plan = NULL;
        struct ddp_error err = {0};
        assert_int_equal(ddp_cuda_matmul_plan(gpu, &small, cases[i][0], false, &plan, &err), DDP_E_CONFIG);
        assert_null(plan);
        if (!strstr(err.text, cases[i][1]))
            fail_msg("case %zu: %s", i, err.text);
    }
}

static void test_failures_name_the_reason(void **state)
{
    (void)state;
    static const cublasLtMatmulAlgo_t list[] = {ALGO(1, 0, 4096, 1, FINE), ALGO(2, 0, 0, 1, FINE)};
    struct ddp_gpu_plan *plan = NULL;
    struct ddp_error err = {0};
    offer(list, 0);
    assert_int_equal(ddp_cuda_matmul_plan(gpu, &small, NULL, false, &plan, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "no deterministic algorithm"));

    offer(list, 2);
    fake.memory = 2048;
    assert_int_equal(ddp_cuda_matmul_plan(gpu, &small, NULL, true, &plan, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "4096 bytes"));

    offer(list, 2); /* the device goes away while a plan is tried */
    fake.at_synchronize = cudaErrorIllegalAddress;
    fake.lost = true;
    assert_int_equal(ddp_cuda_matmul_plan(gpu, &small, NULL, false, &plan, &err), DDP_E_DEVICE);
    assert_non_null(strstr(err.text, "illegal address"));
    assert_null(plan);

    offer(list, 2); /* a plan fails and the device does not: the next one */
    fake.at_synchronize = cudaErrorLaunchFailure;
    assert_int_equal(ddp_cuda_matmul_plan(gpu, &small, NULL, false, &plan, &err), 0);
    assert_memory_equal(ddp_cuda_plan_lock(plan), "lt=130100;algo=0000000000000002", 31);
    ddp_cuda_plan_destroy(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_row_major_products_come_out_right, nothing_is_left),
        cmocka_unit_test_teardown(test_epilogues_come_out_right, nothing_is_left),
        cmocka_unit_test_teardown(test_the_first_that_works_or_the_fastest_is_taken, nothing_is_left),
        cmocka_unit_test_teardown(test_tf32_only_where_it_is_allowed, nothing_is_left),
        cmocka_unit_test_teardown(test_bad_locks_are_refused, nothing_is_left),
        cmocka_unit_test_teardown(test_failures_name_the_reason, nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
