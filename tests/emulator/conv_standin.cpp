/* Stand-in for src/device/cuda/conv_cudnn.c: convolutions as plain loops.
 *
 *   forward  y[n,p,q,k] = sum over r, s, c of x[n,h,w,c] w[k,r,s,c]      h = p stride + r d - pad, w too
 *   dgrad    dx[n,h,w,c] = sum over r, s, k of dy[n,p,q,k] w[k,r,s,c]
 *   wgrad    dw[k,r,s,c] = sum over n, p, q of dy[n,p,q,k] x[n,h,w,c]
 *
 * Each sum is one chain of fp32 multiply, add in the order written; the innermost loop runs over outputs
 * (k, c, c), which vectorises and leaves the chains alone. */
#include "vendor_standin.h"

#include <cstdlib>
#include <memory>

namespace
{

using ConvPlan = vendor::Plan<struct ddp_gpu_conv>;

struct Geometry {
    struct ddp_gpu_conv c;
    int p, q, cg, kg;  /* result; channels in and out of a group */
    int d;             /* dilation */
    size_t xs, ws, ys; /* elements */
};

Geometry geometry(const struct ddp_gpu_conv &c)
{
    Geometry g = {};
    g.c = c;
    g.d = ddp_gpu_conv_dilation(&c);
    g.p = ddp_cuda_conv_out(c.h, ddp_gpu_conv_reach(&c, c.r), c.stride, c.pad);
    g.q = ddp_cuda_conv_out(c.w, ddp_gpu_conv_reach(&c, c.s), c.stride, c.pad);
    g.cg = c.c / c.groups, g.kg = c.k / c.groups;
    g.xs = (size_t)c.n * c.h * c.w * c.c;
    g.ws = (size_t)c.k * c.r * c.s * g.cg;
    g.ys = (size_t)c.n * g.p * g.q * c.k;
    return g;
}

/* out[i] += a v[i] */
inline void add_scaled(float *__restrict out, float a, const float *__restrict v, int count)
{
    for (int i = 0; i < count; i++)
        out[i] += a * v[i];
}

void forward(const Geometry &g, const float *x, const float *w, float *y)
{
    const struct ddp_gpu_conv &c = g.c;
    std::vector<float> turned(g.ws); /* [group][r][s][c][k]: k innermost */
    for (int k = 0; k < c.k; k++)
        for (int t = 0; t < c.r * c.s * g.cg; t++)
            turned[((size_t)(k / g.kg) * c.r * c.s * g.cg + t) * g.kg + k % g.kg] =
                w[(size_t)k * c.r * c.s * g.cg + t];
    for (int n = 0; n < c.n; n++)
        for (int p = 0; p < g.p; p++)
            for (int q = 0; q < g.q; q++)
                for (int group = 0; group < c.groups; group++) {
                    float *out = y + (((size_t)n * g.p + p) * g.q + q) * c.k + group * g.kg;
                    for (int r = 0; r < c.r; r++)
                        for (int s = 0; s < c.s; s++) {
                            const int h = p * c.stride + r * g.d - c.pad,
                                      col = q * c.stride + s * g.d - c.pad;
                            if (h < 0 || h >= c.h || col < 0 || col >= c.w)
                                continue;
                            const float *in = x + (((size_t)n * c.h + h) * c.w + col) * c.c + group * g.cg;
                            const float *f = &turned[(((size_t)group * c.r + r) * c.s + s) * g.cg * g.kg];
                            for (int i = 0; i < g.cg; i++)
                                add_scaled(out, in[i], f + (size_t)i * g.kg, g.kg);
                        }
                }
}

void dgrad(const Geometry &g, float *x, const float *w, const float *y)
{
    const struct ddp_gpu_conv &c = g.c;
    for (int n = 0; n < c.n; n++)
        for (int h = 0; h < c.h; h++)
            for (int col = 0; col < c.w; col++)
                for (int r = 0; r < c.r; r++)
                    for (int s = 0; s < c.s; s++) {
                        const int ps = h + c.pad - r * g.d, qs = col + c.pad - s * g.d;
                        if (ps < 0 || qs < 0 || ps % c.stride != 0 || qs % c.stride != 0 ||
                            ps / c.stride >= g.p || qs / c.stride >= g.q)
                            continue;
                        float *out = x + (((size_t)n * c.h + h) * c.w + col) * c.c;
                        const float *in = y + (((size_t)n * g.p + ps / c.stride) * g.q + qs / c.stride) * c.k;
                        for (int group = 0; group < c.groups; group++)
                            for (int k = group * g.kg; k < (group + 1) * g.kg; k++)
                                add_scaled(out + group * g.cg, in[k],
                                           w + (((size_t)k * c.r + r) * c.s + s) * g.cg, g.cg);
                    }
}

void wgrad(const Geometry &g, const float *x, float *w, const float *y)
{
    const struct ddp_gpu_conv &c = g.c;
    for (int k = 0; k < c.k; k++)
        for (int r = 0; r < c.r; r++)
            for (int s = 0; s < c.s; s++) {
                float *out = w + (((size_t)k * c.r + r) * c.s + s) * g.cg;
                for (int n = 0; n < c.n; n++)
                    for (int p = 0; p < g.p; p++)
                        for (int q = 0; q < g.q; q++) {
                            const int h = p * c.stride + r * g.d - c.pad,
                                      col = q * c.stride + s * g.d - c.pad;
                            if (h < 0 || h >= c.h || col < 0 || col >= c.w)
                                continue;
                            add_scaled(out, y[(((size_t)n * g.p + p) * g.q + q) * c.k + k],
                                       x + (((size_t)n * c.h + h) * c.w + col) * c.c +
                                           (size_t)(k / g.kg) * g.cg,
                                       g.cg);
                        }
            }
}

void destroy(struct ddp_gpu_plan *plan)
{
    free(plan->lock);
    delete (ConvPlan *)plan;
}

} // namespace

int ddp_cuda_conv_plan(struct ddp_gpu *, const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass,
                       const char *lock, bool, struct ddp_gpu_plan **out, struct ddp_error *err)
{
    int rc = ddp_cuda_conv_check(c, err);
    if (rc == 0)
        rc = vendor::check_epilogue(c->epilogue, err);
    if (rc)
        return rc;
    std::unique_ptr<ConvPlan> plan(new ConvPlan());
    rc = vendor::plan_head(lock, 1021 + 64 * (size_t)pass, &plan->head, err);
    if (rc)
        return rc;
    plan->head.destroy = destroy;
    plan->problem = *c;
    plan->pass = pass;
    *out = &plan.release()->head;
    return 0;
}

void ddp_cuda_conv_run(struct ddp_gpu_stream *s, const struct ddp_gpu_plan *head, void *x, void *w, void *y,
                       const float *bias, void *workspace)
{
    const char *what = "convolution";
    if (!vendor::usable(s, what, "x", x, 16) || !vendor::usable(s, what, "w", w, 16) ||
        !vendor::usable(s, what, "y", y, 16) ||
        (((const ConvPlan *)head)->problem.epilogue && !vendor::usable(s, what, "the bias", bias, 16)) ||
        !vendor::usable(s, what, "the workspace", workspace, DDP_GPU_ALIGN))
        return;
    const ConvPlan plan = *(const ConvPlan *)head; /* a copy: the work may outlive the plan */
    vendor::enqueue(s, what, [=] {
        const Geometry g = geometry(plan.problem);
        const enum ddp_gpu_type t = plan.problem.type;
        vendor::scribble(what, workspace, plan.head.workspace);
        std::vector<float> fx(g.xs), fw(g.ws), fy(g.ys);
        if (plan.pass != DDP_GPU_CONV_DGRAD)
            fx = vendor::load(what, "x", x, t, g.xs);
        if (plan.pass != DDP_GPU_CONV_WGRAD)
            fw = vendor::load(what, "w", w, t, g.ws);
        if (plan.pass != DDP_GPU_CONV_FORWARD)
            fy = vendor::load(what, "y", y, t, g.ys);
        if (t == DDP_GPU_F32 && plan.problem.tf32)
            for (std::vector<float> *v : {&fx, &fw, &fy})
                vendor::round_tf32(*v);
        if (plan.pass == DDP_GPU_CONV_FORWARD) {
            forward(g, fx.data(), fw.data(), fy.data());
            vendor::epilogue(what, fy, t, plan.problem.epilogue, bias, DDP_GPU_F32, (size_t)g.c.k);
            vendor::store(what, "y", y, t, fy);
        } else if (plan.pass == DDP_GPU_CONV_DGRAD) {
            dgrad(g, fx.data(), fw.data(), fy.data());
            vendor::store(what, "x", x, t, fx);
        } else {
            wgrad(g, fx.data(), fw.data(), fy.data());
            vendor::store(what, "w", w, t, fw);
        }
    });
}

int ddp_cuda_conv_version(void)
{
    return 0;
}
