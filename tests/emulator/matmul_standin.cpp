/* Stand-in for src/device/cuda/matmul_cublaslt.c; in narrow types it has no epilogues.
 *
 *     d[i][j] = sum over l of op(a)[i][l] op(b)[l][j]
 *
 * Each sum is one chain of fp32 multiply, add in ascending l; the innermost loop runs over j. */
#include "vendor_standin.h"

#include <cstdlib>
#include <memory>

namespace
{

using MatmulPlan = vendor::Plan<struct ddp_gpu_matmul>;

/* [rows][cols] from [cols][rows] */
std::vector<float> transpose(const std::vector<float> &v, int rows, int cols)
{
    std::vector<float> t(v.size());
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++)
            t[(size_t)i * cols + j] = v[(size_t)j * rows + i];
    return t;
}

void multiply(const char *what, const struct ddp_gpu_matmul &m, const void *pa, const void *pb, void *pd,
              const void *bias)
{
    std::vector<float> a = vendor::load(what, "a", pa, m.type, (size_t)m.m * m.l);
    std::vector<float> b = vendor::load(what, "b", pb, m.type, (size_t)m.l * m.n);
    if (m.type == DDP_GPU_F32 && m.tf32) {
        vendor::round_tf32(a);
        vendor::round_tf32(b);
    }
    if (m.ta)
        a = transpose(a, m.m, m.l);
    if (m.tb)
        b = transpose(b, m.l, m.n);
    std::vector<float> d((size_t)m.m * m.n);
    for (int i = 0; i < m.m; i++) {
        float *__restrict out = &d[(size_t)i * m.n];
        for (int l = 0; l < m.l; l++) {
            const float v = a[(size_t)i * m.l + l];
            const float *__restrict row = &b[(size_t)l * m.n];
            for (int j = 0; j < m.n; j++)
                out[j] += v * row[j];
        }
    }
    vendor::epilogue(what, d, m.out_type, m.epilogue, bias, m.out_type, (size_t)m.n);
    vendor::store(what, "d", pd, m.out_type, d);
}

void destroy(struct ddp_gpu_plan *plan)
{
    free(plan->lock);
    delete (MatmulPlan *)plan;
}

} // namespace

int ddp_cuda_matmul_plan(struct ddp_gpu *, const struct ddp_gpu_matmul *m, const char *lock, bool,
                         struct ddp_gpu_plan **out, struct ddp_error *err)
{
    int rc = ddp_cuda_matmul_check(m, err);
    if (rc == 0)
        rc = vendor::check_epilogue(m->epilogue, err);
    if (rc == 0 && m->epilogue && m->out_type != DDP_GPU_F32)
        rc = ddp_fail(err, DDP_E_RESOURCE, "the stand-in adds no bias that was rounded");
    if (rc)
        return rc;
    std::unique_ptr<MatmulPlan> plan(new MatmulPlan());
    rc = vendor::plan_head(lock, 509, &plan->head, err);
    if (rc)
        return rc;
    plan->head.destroy = destroy;
    plan->problem = *m;
    *out = &plan.release()->head;
    return 0;
}

void ddp_cuda_matmul_run(struct ddp_gpu_stream *s, const struct ddp_gpu_plan *head, const void *a,
                         const void *b, void *d, const void *bias, void *workspace)
{
    const char *what = "matrix product";
    if (!vendor::usable(s, what, "a", a, 16) || !vendor::usable(s, what, "b", b, 16) ||
        !vendor::usable(s, what, "d", d, 16) ||
        (((const MatmulPlan *)head)->problem.epilogue && !vendor::usable(s, what, "the bias", bias, 16)) ||
        !vendor::usable(s, what, "the workspace", workspace, DDP_GPU_ALIGN))
        return;
    const MatmulPlan plan = *(const MatmulPlan *)head; /* a copy: the work may outlive the plan */
    vendor::enqueue(s, what, [=] {
        vendor::scribble(what, workspace, plan.head.workspace);
        multiply(what, plan.problem, a, b, d, bias);
    });
}

int ddp_cuda_matmul_version(void)
{
    return 0;
}
