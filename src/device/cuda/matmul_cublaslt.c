/* Matrix products by cuBLASLt. Its matrices are column-major, ours are row-major: a row-major d[m][n] is a
 * column-major n x m, so it computes d^T = op(b)^T op(a)^T, with our b as its A and our a as its B.
 *
 * Deterministic: a product split along l is summed in a step of its own, in fp32 (reduction scheme
 * COMPUTE_TYPE), or not split at all (NONE); each call has its workspace. NVIDIA promises the same bits from
 * the same algorithm for the same version, architecture and number of SMs. */
#include <cublasLt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda/library.h"
#include "device/cuda/plan.h"
#include "device/cuda/probe.h"

enum { CANDIDATES = 32, ALIGN = 16, LOCK = 192 };

struct matmul_plan {
    struct ddp_gpu_plan head;
    struct ddp_library *library; /* a cublasLtHandle_t */
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, d; /* of our matrices */
    cublasLtMatmulAlgo_t algo;
    bool bias; /* desc has an epilogue */
};

int ddp_cuda_matmul_version(void)
{
    return (int)cublasLtGetVersion();
}

static int lt_fail(struct ddp_error *err, int code, cublasStatus_t s, const char *what)
{
    return ddp_fail(err, code, "cuBLASLt: %s: %s", what, cublasLtGetStatusString(s));
}

static int create(void **handle, struct ddp_error *err)
{
    cublasStatus_t s = cublasLtCreate((cublasLtHandle_t *)handle);
    return s == CUBLAS_STATUS_SUCCESS ? 0
                                      : lt_fail(err, DDP_E_RESOURCE, s, "cannot be started on the device");
}

static void destroy_handle(void *handle)
{
    cublasLtDestroy(handle);
}

static const struct ddp_library_kind cublaslt = {.create = create, .destroy = destroy_handle};

/* ---- the problem ---- */

static cudaDataType_t data_type(enum ddp_gpu_type t)
{
    return t == DDP_GPU_F32 ? CUDA_R_32F : t == DDP_GPU_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

/* A row-major [rows][cols]. */
static cublasStatus_t layout(enum ddp_gpu_type type, int rows, int cols, cublasLtMatrixLayout_t *out)
{
    return cublasLtMatrixLayoutCreate(out, data_type(type), (uint64_t)cols, (uint64_t)rows, cols);
}

/* Each call has its own; while algorithms are looked for only where it could lie. */
static cublasStatus_t set_bias(const struct matmul_plan *p, const void *bias)
{
    return p->bias ? cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                                    sizeof bias)
                   : CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t describe_epilogue(struct matmul_plan *p, unsigned which)
{
    const cublasLtEpilogue_t epilogue =
        which == DDP_GPU_BIAS_RELU ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    p->bias = which != 0;
    if (!p->bias)
        return CUBLAS_STATUS_SUCCESS;
    const cublasStatus_t s =
        cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    return s == CUBLAS_STATUS_SUCCESS ? set_bias(p, (const void *)(uintptr_t)DDP_GPU_ALIGN) : s;
}

static int describe(struct matmul_plan *p, const struct ddp_gpu_matmul *m, struct ddp_error *err)
{
    const cublasComputeType_t compute =
        m->type == DDP_GPU_F32 && m->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const int32_t of_a = m->tb ? CUBLAS_OP_T : CUBLAS_OP_N, of_b = m->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasStatus_t s = cublasLtMatmulDescCreate(&p->desc, compute, CUDA_R_32F);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &of_a, sizeof of_a);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &of_b, sizeof of_b);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = describe_epilogue(p, m->epilogue);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = m->ta ? layout(m->type, m->l, m->m, &p->a) : layout(m->type, m->m, m->l, &p->a);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = m->tb ? layout(m->type, m->n, m->l, &p->b) : layout(m->type, m->l, m->n, &p->b);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = layout(m->out_type, m->m, m->n, &p->d);
    return s == CUBLAS_STATUS_SUCCESS ? 0 : lt_fail(err, DDP_E_RESOURCE, s, "cannot describe the product");
}

/* ---- running ---- */

static cublasStatus_t execute(const struct matmul_plan *p, const cublasLtMatmulAlgo_t *algo, const void *a,
                              const void *b, void *d, const void *bias, void *workspace, size_t bytes,
                              cudaStream_t stream)
{
    const float one = 1, zero = 0;
    const cublasStatus_t s = set_bias(p, bias);
    if (s != CUBLAS_STATUS_SUCCESS)
        return s;
    return cublasLtMatmul(p->library->handle, p->desc, &one, b, p->b, a, p->a, &zero, d, p->d, d, p->d, algo,
                          bytes ? workspace : NULL, bytes, stream);
}

void ddp_cuda_matmul_run(struct ddp_gpu_stream *stream, const struct ddp_gpu_plan *head, const void *a,
                         const void *b, void *d, const void *bias, void *workspace)
{
    const struct matmul_plan *p = (const struct matmul_plan *)head;
    if (!ddp_stream_works(stream))
        return;
    cublasStatus_t s = execute(p, &p->algo, a, b, d, bias, workspace, p->head.workspace,
                               (cudaStream_t)ddp_stream_cuda(stream));
    if (s != CUBLAS_STATUS_SUCCESS)
        ddp_stream_fail(stream, DDP_E_DEVICE, "matrix product: cuBLASLt: %s", cublasLtGetStatusString(s));
}

/* ---- choosing ---- */

struct trial {
    const struct matmul_plan *plan;
    const cublasLtMatmulHeuristicResult_t *choice;
};

static bool run_trial(void *ctx, const struct ddp_probe *probe, char *why, size_t size)
{
    const struct trial *t = ctx;
    cublasStatus_t s =
        execute(t->plan, &t->choice->algo, probe->operand[0], probe->operand[1], probe->operand[2],
                probe->operand[DDP_PROBE_BIAS], probe->workspace, t->choice->workspaceSize, probe->stream);
    if (s != CUBLAS_STATUS_SUCCESS)
        snprintf(why, size, "%s", cublasLtGetStatusString(s));
    return s == CUBLAS_STATUS_SUCCESS;
}

/* What NVIDIA recommends: 32 MiB from compute capability 9.0 on, 4 MiB before. */
static size_t workspace_limit(const struct ddp_gpu *gpu)
{
    int major = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ddp_gpu_ordinal(gpu)) !=
        cudaSuccess)
        (void)cudaGetLastError();
    return (size_t)(major >= 9 ? 32 : 4) << 20;
}

/* The reduction schemes whose sums have one order. */
static const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; /* NONE is no bit */

static bool deterministic(const cublasLtMatmulAlgo_t *algo)
{
    uint32_t scheme = 0;
    size_t written = 0;
    return cublasLtMatmulAlgoConfigGetAttribute(algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &scheme,
                                                sizeof scheme, &written) == CUBLAS_STATUS_SUCCESS &&
           (scheme & ~schemes) == 0;
}

static int candidates(const struct matmul_plan *p, size_t limit,
                      cublasLtMatmulHeuristicResult_t out[CANDIDATES], int *n, struct ddp_error *err)
{
    const uint64_t bytes = limit;
    const uint32_t align = ALIGN;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t size;
    } attributes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &align, sizeof align},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &align, sizeof align},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align, sizeof align},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align, sizeof align},
    };
    cublasLtMatmulPreference_t preference = NULL;
    *n = 0;
    memset(out, 0, CANDIDATES * sizeof *out); /* unused bytes of an algorithm are part of its text */
    cublasStatus_t s = cublasLtMatmulPreferenceCreate(&preference);
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes && s == CUBLAS_STATUS_SUCCESS; i++)
        s = cublasLtMatmulPreferenceSetAttribute(preference, attributes[i].name, attributes[i].value,
                                                 attributes[i].size);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = cublasLtMatmulAlgoGetHeuristic(p->library->handle, p->desc, p->b, p->a, p->d, p->d, preference,
                                           CANDIDATES, out, n);
    if (preference)
        cublasLtMatmulPreferenceDestroy(preference);
    if (s != CUBLAS_STATUS_SUCCESS)
        return lt_fail(err, DDP_E_RESOURCE, s, "no deterministic algorithm for it");
    return 0;
}

static void take(struct matmul_plan *p, const cublasLtMatmulHeuristicResult_t *r)
{
    p->algo = r->algo;
    p->head.workspace = r->workspaceSize;
}

/* The first that works on the device, or of as many as the budget allows the fastest. */
static int choose(struct matmul_plan *p, struct ddp_probe *probe, size_t limit, bool tune,
                  struct ddp_error *err)
{
    cublasLtMatmulHeuristicResult_t result[CANDIDATES];
    int n, best = -1;
    float best_us = 0, us = 0;
    char why[256] = "none was offered";
    int rc = candidates(p, limit, result, &n, err);
    for (int i = 0; rc == 0 && i < n && (tune || best < 0) && ddp_probe_more(probe); i++) {
        if (result[i].state != CUBLAS_STATUS_SUCCESS || result[i].workspaceSize > limit ||
            !deterministic(&result[i].algo))
            continue;
        struct trial t = {.plan = p, .choice = &result[i]};
        bool works = false;
        rc = ddp_probe_workspace(probe, result[i].workspaceSize, err);
        if (rc == 0)
            rc = ddp_probe_try(probe, run_trial, &t, &works, tune ? &us : NULL, why, sizeof why, err);
        if (rc == 0 && works && (best < 0 || us < best_us)) {
            best = i;
            best_us = us;
        }
    }
    if (rc)
        return rc;
    if (best < 0)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "cuBLASLt %d has no deterministic algorithm that works here; %d tried, last: %s",
                        ddp_cuda_matmul_version(), n, why);
    take(p, &result[best]);
    return 0;
}

static int choose_on_device(struct matmul_plan *p, const struct ddp_gpu *gpu, const struct ddp_gpu_matmul *m,
                            bool tune, struct ddp_error *err)
{
    const size_t in = ddp_gpu_type_bytes(m->type), out = ddp_gpu_type_bytes(m->out_type);
    const struct ddp_probe_operand of[DDP_PROBE_OPERANDS] = {
        {in * (size_t)m->m * (size_t)m->l, m->type, false},
        {in * (size_t)m->l * (size_t)m->n, m->type, false},
        {out * (size_t)m->m * (size_t)m->n, m->out_type, true},
        {m->epilogue ? out * (size_t)m->n : 0, m->out_type, false}};
    struct ddp_probe probe;
    int rc = ddp_probe_create(of, &probe, err);
    if (rc)
        return rc;
    rc = choose(p, &probe, workspace_limit(gpu), tune, err);
    ddp_probe_destroy(&probe);
    return rc;
}

/* ---- lock text ----
 * "lt=130100;algo=" and the 64 bytes of the algorithm, which NVIDIA allows to store for the same version. */

static char *lock_text(const cublasLtMatmulAlgo_t *algo)
{
    char *text = malloc(LOCK);
    if (!text)
        return NULL;
    int n = snprintf(text, LOCK, "lt=%d;algo=", ddp_cuda_matmul_version());
    for (int i = 0; i < 8; i++)
        n += snprintf(text + n, (size_t)(LOCK - n), "%016" PRIx64, algo->data[i]);
    return text;
}

static bool parse(const char *lock, int *version, cublasLtMatmulAlgo_t *algo)
{
    char again[LOCK];
    int n = 0;
    if (sscanf(lock, "lt=%9d;algo=%n", version, &n) != 1 || n == 0 || strlen(lock + n) != 128)
        return false;
    int m = snprintf(again, sizeof again, "lt=%d;algo=", *version);
    for (int i = 0; i < 8; i++) {
        char digits[17] = "";
        memcpy(digits, lock + n + 16 * i, 16);
        algo->data[i] = strtoull(digits, NULL, 16);
        m += snprintf(again + m, sizeof again - (size_t)m, "%016" PRIx64, algo->data[i]);
    }
    return strcmp(again, lock) == 0;
}

static int replay(struct matmul_plan *p, const char *lock, struct ddp_error *err)
{
    cublasLtMatmulHeuristicResult_t r = {0};
    cublasLtMatmulAlgo_t algo = {{0}};
    int version;
    if (!parse(lock, &version, &algo))
        return ddp_fail(
            err, DDP_E_CONFIG,
            "plan lock '%.80s': a matrix product's is like 'lt=130100;algo=' and 128 hexadecimal digits",
            lock);
    if (version != ddp_cuda_matmul_version())
        return ddp_fail(err, DDP_E_CONFIG,
                        "plan lock of cuBLASLt %d, but here is %d; choose anew with --relock", version,
                        ddp_cuda_matmul_version());
    cublasStatus_t s =
        cublasLtMatmulAlgoCheck(p->library->handle, p->desc, p->b, p->a, p->d, p->d, &algo, &r);
    if (s != CUBLAS_STATUS_SUCCESS)
        return lt_fail(err, DDP_E_CONFIG, s, "the plan lock's algorithm does not compute this product here");
    if (!deterministic(&algo))
        return ddp_fail(err, DDP_E_CONFIG, "the plan lock's algorithm is not deterministic");
    r.algo = algo;
    take(p, &r);
    return 0;
}

/* ---- plans ---- */

static void destroy(struct ddp_gpu_plan *head)
{
    struct matmul_plan *p = (struct matmul_plan *)head;
    if (p->desc)
        cublasLtMatmulDescDestroy(p->desc);
    cublasLtMatrixLayout_t layouts[] = {p->a, p->b, p->d};
    for (int i = 0; i < 3; i++)
        if (layouts[i])
            cublasLtMatrixLayoutDestroy(layouts[i]);
    ddp_library_drop(p->library);
    free(p->head.lock);
    free(p);
}

int ddp_cuda_matmul_plan(struct ddp_gpu *gpu, const struct ddp_gpu_matmul *m, const char *lock, bool tune,
                         struct ddp_gpu_plan **out, struct ddp_error *err)
{
    struct matmul_plan *p = calloc(1, sizeof *p);
    if (!p)
        return ddp_fail(err, DDP_E_RESOURCE, "out of memory");
    p->head.destroy = destroy;
    int rc = ddp_cuda_matmul_check(m, err);
    if (rc == 0)
        rc = ddp_library_take(gpu, &cublaslt, &p->library, err);
    if (rc == 0)
        rc = describe(p, m, err);
    if (rc == 0)
        rc = lock ? replay(p, lock, err) : choose_on_device(p, gpu, m, tune, err);
    if (rc == 0) {
        p->head.lock = lock_text(&p->algo);
        rc = p->head.lock ? 0 : ddp_fail(err, DDP_E_RESOURCE, "out of memory");
    }
    if (rc) {
        destroy(&p->head);
        ddp_error_prefix(err, "product of a %dx%d and a %dx%d matrix", m->m, m->l, m->l, m->n);
        return rc;
    }
    *out = &p->head;
    return 0;
}
