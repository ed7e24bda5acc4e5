/* What the stand-ins for cuDNN and cuBLASLt share. */
#include "vendor_standin.h"

#include <cmath>
#include <cstdlib>

#include "emu.h"
#include "standin.h"

namespace vendor
{

void enqueue(struct ddp_gpu_stream *s, const char *what, std::function<void()> work)
{
    if (!ddp_stream_works(s))
        return;
    const cudaError_t e = emu_enqueue_named((cudaStream_t)ddp_stream_cuda(s), what, true, std::move(work));
    if (e != cudaSuccess)
        ddp_stream_fail(s, DDP_E_DEVICE, "%s: error %d of the emulated device", what, (int)e);
}

int plan_head(const char *lock, size_t workspace, struct ddp_gpu_plan *head, struct ddp_error *err)
{
    if (lock && strcmp(lock, "emu") != 0)
        return ddp_fail(err, DDP_E_CONFIG, "plan lock '%s': the emulated device knows 'emu' only", lock);
    head->workspace = workspace;
    head->lock = strdup("emu");
    return head->lock ? 0 : ddp_fail(err, DDP_E_RESOURCE, "out of memory");
}

int check_epilogue(unsigned epilogue, struct ddp_error *err)
{
    const char *on = getenv("DDP_EMU_EPILOGUE");
    if (epilogue && on && strcmp(on, "0") == 0)
        return ddp_fail(err, DDP_E_RESOURCE, "the emulated device is told to have no epilogues");
    return 0;
}

bool usable(struct ddp_gpu_stream *s, const char *what, const char *name, const void *p, size_t align)
{
    if (!p)
        ddp_stream_fail(s, DDP_E_INTERNAL, "%s: %s is NULL", what, name);
    else if ((uintptr_t)p % align != 0)
        ddp_stream_fail(s, DDP_E_INTERNAL, "%s: %s is not aligned to %zu bytes", what, name, align);
    else
        return true;
    return false;
}

/* Fault of the caller's that ends the process, as a real device would. */
static void must_own(const char *what, const char *name, const void *p, size_t bytes)
{
    if (!standin::device_range(p, bytes))
        standin::die("%s: the %zu bytes of %s at %p are not device memory of one allocation", what, bytes,
                     name, p);
}

void scribble(const char *what, void *workspace, size_t bytes)
{
    must_own(what, "the workspace", workspace, bytes);
    emu_poison(workspace, bytes);
}

void round_tf32(std::vector<float> &v)
{
    for (float &f : v) {
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        if ((bits & 0x7f800000u) != 0x7f800000u)
            bits = (bits + 0x1000u) & ~0x1fffu;
        memcpy(&f, &bits, sizeof bits);
    }
}

std::vector<float> load(const char *what, const char *name, const void *p, enum ddp_gpu_type type,
                        size_t count)
{
    const size_t bytes = count * ddp_gpu_type_bytes(type);
    must_own(what, name, p, bytes);
    const int64_t at = emu_unwritten(p, bytes);
    if (at >= 0)
        emu_fault(EMU_UNWRITTEN, "%s reads %s, and nothing wrote its byte %lld of %zu", what, name,
                  (long long)at, bytes);
    return to_floats(p, type, count);
}

void epilogue(const char *what, std::vector<float> &v, enum ddp_gpu_type type, unsigned which,
              const void *bias, enum ddp_gpu_type bias_type, size_t k)
{
    if (!which)
        return;
    const std::vector<float> b = load(what, "the bias", bias, bias_type, k);
    std::vector<uint32_t> rounded(v.size());
    from_floats(rounded.data(), type, v.data(), v.size());
    v = to_floats(rounded.data(), type, v.size());
    for (size_t i = 0; i < v.size(); i++) {
        v[i] += b[i % k];
        if (which == DDP_GPU_BIAS_RELU && v[i] <= 0)
            v[i] = 0;
    }
}

void store(const char *what, const char *name, void *p, enum ddp_gpu_type type, const std::vector<float> &v)
{
    const size_t bytes = v.size() * ddp_gpu_type_bytes(type);
    must_own(what, name, p, bytes);
    from_floats(p, type, v.data(), v.size());
    emu_mark_written(p, bytes);
}

static float from_bf16(uint16_t v)
{
    uint32_t u = (uint32_t)v << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffff) > 0x7f800000)
        return 0x7fff;
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static float from_f16(uint16_t v)
{
    const int exponent = v >> 10 & 31, mantissa = v & 1023;
    float f = exponent == 31  ? (mantissa ? NAN : INFINITY)
              : exponent == 0 ? ldexpf((float)mantissa, -24)
                              : ldexpf((float)(mantissa | 1024), exponent - 25);
    return v & 0x8000 ? -f : f;
}

static uint16_t to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    const float a = fabsf(f);
    if (a != a)
        return 0x7fff;
    if (a >= 65520.0f) /* halfway between the largest half and the next */
        return sign | 0x7c00;
    if (a < 0x1p-14f) { /* subnormal: a multiple of 2^-24; 1024 of them are the smallest normal */
        return (uint16_t)(sign | (uint16_t)lrintf(a * 0x1p24f));
    }
    u &= 0x7fffffff;
    u += 0xfff + (u >> 13 & 1);
    return (uint16_t)(sign | (uint16_t)((u - (112u << 23)) >> 13));
}

std::vector<float> to_floats(const void *p, enum ddp_gpu_type type, size_t count)
{
    std::vector<float> v(count);
    const uint16_t *h = (const uint16_t *)p;
    if (type == DDP_GPU_F32)
        memcpy(v.data(), p, count * 4);
    else
        for (size_t i = 0; i < count; i++)
            v[i] = type == DDP_GPU_BF16 ? from_bf16(h[i]) : from_f16(h[i]);
    return v;
}

void from_floats(void *p, enum ddp_gpu_type type, const float *v, size_t count)
{
    uint16_t *h = (uint16_t *)p;
    if (type == DDP_GPU_F32)
        memcpy(p, v, count * 4);
    else
        for (size_t i = 0; i < count; i++)
            h[i] = type == DDP_GPU_BF16 ? to_bf16(v[i]) : to_f16(v[i]);
}

} // namespace vendor
