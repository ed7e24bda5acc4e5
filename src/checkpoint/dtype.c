/* Element types of the safetensors format, and shapes in words. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/private.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
    {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8},
};

const char ddp_dtype_names[] =
    "BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, F16, BF16, I32, U32, F32, I64, U64, F64";

size_t ddp_dtype_bytes(const char *dtype)
{
    for (size_t i = 0; i < DDP_COUNT(dtypes); i++)
        if (strcmp(dtypes[i].name, dtype) == 0)
            return dtypes[i].bytes;
    return 0;
}

bool ddp_tensor_bytes(const struct ddp_st_tensor *t, size_t *bytes)
{
    size_t n = ddp_dtype_bytes(t->dtype);
    for (int i = 0; i < t->ndim; i++)
        if (t->dims[i] < 0 || __builtin_mul_overflow(n, (size_t)t->dims[i], &n))
            return false;
    *bytes = n;
    return true;
}

void ddp_tensor_text(const struct ddp_st_tensor *t, char *buf, int size)
{
    int n = snprintf(buf, (size_t)size, "%s [", t->dtype);
    for (int i = 0; i < t->ndim && n < size; i++)
        n += snprintf(buf + n, (size_t)(size - n), "%s%lld", i ? ", " : "", (long long)t->dims[i]);
    if (n < size)
        snprintf(buf + n, (size_t)(size - n), "]");
}

bool ddp_tensor_same_shape(const struct ddp_st_tensor *a, const struct ddp_st_tensor *b)
{
    return a->ndim == b->ndim && memcmp(a->dims, b->dims, (size_t)a->ndim * sizeof a->dims[0]) == 0;
}

/* IEEE half to float: exact. */
static float half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = (h >> 10) & 31, fraction = h & 1023;
    float f;
    if (exponent == 0) { /* zero and denormals: fraction * 2^-24 */
        f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    uint32_t bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13;
    memcpy(&f, &bits, 4);
    return f;
}

bool ddp_tensor_floats(const struct ddp_st_tensor *t, float *out)
{
    size_t each = ddp_dtype_bytes(t->dtype), n = each ? t->bytes / each : 0;
    const unsigned char *p = t->data; /* of any alignment */
    if (strcmp(t->dtype, "F32") == 0) {
        if (n)
            memcpy(out, p, 4 * n);
        return true;
    }
    if (strcmp(t->dtype, "F64") == 0) {
        for (size_t i = 0; i < n; i++) {
            double v;
            memcpy(&v, p + 8 * i, 8);
            out[i] = (float)v;
        }
        return true;
    }
    bool bf16 = strcmp(t->dtype, "BF16") == 0;
    if (!bf16 && strcmp(t->dtype, "F16") != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint16_t v;
        memcpy(&v, p + 2 * i, 2);
        uint32_t bits = (uint32_t)v << 16; /* BF16 is the upper half of a float */
        if (bf16)
            memcpy(&out[i], &bits, 4);
        else
            out[i] = half(v);
    }
    return true;
}

int ddp_tensors_finite(const struct ddp_st_tensor *const *t, int n, struct ddp_error *err)
{
    for (int i = 0; i < n; i++) {
        const size_t each = ddp_dtype_bytes(t[i]->dtype); /* 0: a type without numbers that we know */
        const int64_t count = each > 0 ? (int64_t)(t[i]->bytes / each) : 0;
        float *v = ddp_malloc((size_t)count * sizeof *v + 1), value = 0;
        int64_t bad = 0;
        for (int64_t k = ddp_tensor_floats(t[i], v) ? count - 1 : -1; k >= 0; k--)
            if (!isfinite(v[k])) {
                bad++;
                value = v[k];
            }
        free(v);
        if (bad > 0)
            return ddp_fail(err, DDP_E_NUMERIC, "'%s' holds %s (%lld of %lld elements are not finite)",
                            t[i]->name,
                            isnan(value) ? "nan"
                            : value < 0  ? "-inf"
                                         : "inf",
                            (long long)bad, (long long)count);
    }
    return 0;
}
