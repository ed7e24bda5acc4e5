/* exp, log, tanh, erf over arrays of any length and alignment: see ops/cpu/vmath.h. */
#include "ops/cpu/vec.h"
#include "ops/cpu/vmath.h"

#include "ops/cpu/vmath_cpu.h"

#define ARRAY_FUNCTION(name, F)                                                                              \
    static void name(const float *x, float *y, int64_t n)                                                    \
    {                                                                                                        \
        int64_t i = 0;                                                                                       \
        for (; i + VL <= n; i += VL)                                                                         \
            STU(y + i, F(LDU(x + i)));                                                                       \
        if (i < n) {                                                                                         \
            float part[VL] = {0};                                                                            \
            memcpy(part, x + i, (size_t)(n - i) * sizeof part[0]);                                           \
            STU(part, F(LDU(part)));                                                                         \
            memcpy(y + i, part, (size_t)(n - i) * sizeof part[0]);                                           \
        }                                                                                                    \
    }

ARRAY_FUNCTION(array_exp, VEXP)
ARRAY_FUNCTION(array_log, VLOG)
ARRAY_FUNCTION(array_tanh, VTANH)
ARRAY_FUNCTION(array_erf, VERF)

const struct ddp_vmath ISA(ddp_vmath) = {
    .exp = array_exp,
    .log = array_log,
    .tanh = array_tanh,
    .erf = array_erf,
};
