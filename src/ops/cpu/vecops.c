/* Elementwise helpers on flat ranges. */
#include "ops/ops.h"
#include "ops/cpu/vecops.h"

void ddp_vec_add(float *a, const float *b, int64_t n)
{
    ddp_vec_kernels()->add(a, b, n);
}

bool ddp_vec_finite(const float *a, int64_t n)
{
    return ddp_vec_kernels()->finite(a, n);
}

double ddp_vec_sumsq(const float *a, int64_t n)
{
    double s[16];
    ddp_vec_kernels()->sumsq16(a, n, s);
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            s[i] += s[i + width];
    return s[0];
}
