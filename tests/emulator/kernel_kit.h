/* What the suites of kernels share: device memory with values of the element types, the device's order of
 * activations and the plain one, comparisons, and runs that must give the same bits.
 *
 * A run of a kernel is a function that allocates, launches and returns the bits of its outputs. It is made
 * several times with other orders of threads and blocks and other garbage in the padding samples (KitRun),
 * and all must agree; the emulator's checks must have found nothing. */
#ifndef DDP_KERNEL_KIT_H
#define DDP_KERNEL_KIT_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

/* The CPU's headers are C: a function named like a struct, and an _Atomic word that
 * only prototypes here use. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#define _Atomic
extern "C" {
#include "ops/op_kit.h"
#include "data/data.h"
}
#undef _Atomic
#pragma GCC diagnostic pop

#include "device/kernels.h"
#include "ddp_float16.h"
#include "emu.h"

typedef std::vector<float> Floats;
typedef std::vector<uint8_t> Bytes;

static const enum ddp_gpu_type all_types[] = {DDP_GPU_F32, DDP_GPU_BF16, DDP_GPU_F16};
static struct ddp_gpu_stream *const stream = NULL;

/* Half a unit in the last place, relative. */
static inline double unit(enum ddp_gpu_type t)
{
    return t == DDP_GPU_F32 ? 0x1p-24 : t == DDP_GPU_BF16 ? 0x1p-8 : 0x1p-11;
}

static inline float rounded(enum ddp_gpu_type t, float v)
{
    return t == DDP_GPU_F32    ? v
           : t == DDP_GPU_BF16 ? ddp_bf16_float(ddp_bf16_from(v))
                               : ddp_f16_float(ddp_f16_from(v));
}

/* Uniform in [lo, hi), values of the type. */
static inline Floats random_floats(enum ddp_gpu_type t, int64_t n, float lo, float hi, uint32_t stream_)
{
    float *x = kit_random(n, lo, hi, stream_);
    Floats v(x, x + n);
    free(x);
    for (float &f : v)
        f = rounded(t, f);
    return v;
}

/* Device memory; what was never written reads as NaN and counts as a fault. */
class Device
{
  public:
    Device() {}
    explicit Device(size_t bytes) : p_(emu_alloc(bytes ? bytes : 1)), bytes_(bytes) { assert_non_null(p_); }
    Device(const void *host, size_t bytes) : Device(bytes) { emu_copy_in(p_, host, bytes); }
    Device(enum ddp_gpu_type t, const Floats &v) : Device(v.size() * ddp_gpu_type_bytes(t))
    {
        Bytes raw(bytes_);
        for (size_t i = 0; i < v.size(); i++)
            if (t == DDP_GPU_F32) {
                memcpy(&raw[i * 4], &v[i], 4);
            } else {
                const uint16_t h = t == DDP_GPU_BF16 ? ddp_bf16_from(v[i]).bits : ddp_f16_from(v[i]).bits;
                memcpy(&raw[i * 2], &h, 2);
            }
        emu_copy_in(p_, raw.data(), bytes_);
    }
    template <class T> static Device of(const T &v) { return Device(&v, sizeof v); }
    Device(Device &&o) : p_(o.p_), bytes_(o.bytes_) { o.p_ = NULL; }
    Device(const Device &) = delete;
    ~Device() { emu_free(p_); }

    void *get() const { return p_; }
    template <class T> T *as() const { return (T *)p_; }
    Bytes bytes() const
    {
        Bytes b(bytes_);
        emu_copy_out(b.data(), p_, bytes_);
        return b;
    }
    Floats floats(enum ddp_gpu_type t = DDP_GPU_F32) const
    {
        const Bytes b = bytes();
        Floats v(bytes_ / ddp_gpu_type_bytes(t));
        for (size_t i = 0; i < v.size(); i++)
            if (t == DDP_GPU_F32) {
                memcpy(&v[i], &b[i * 4], 4);
            } else {
                uint16_t h;
                memcpy(&h, &b[i * 2], 2);
                v[i] = t == DDP_GPU_BF16 ? ddp_bf16_float({h}) : ddp_f16_float({h});
            }
        return v;
    }

  private:
    void *p_ = NULL;
    size_t bytes_ = 0;
};

/* [n][c][h][w] of n real samples -> [batch][h][w][cpad]; padding samples hold the garbage, pad lanes zero. */
static inline Floats to_device_order(const Floats &plain, int n, int batch, struct ddp_shape s, int cpad,
                                     float garbage)
{
    Floats v((size_t)batch * s.h * s.w * cpad, 0.0f);
    for (int i = 0; i < batch; i++)
        for (int c = 0; c < s.c; c++)
            for (int q = 0; q < s.h * s.w; q++)
                v[((size_t)i * s.h * s.w + q) * cpad + c] =
                    i < n ? plain[((size_t)i * s.c + c) * s.h * s.w + q] : garbage * (float)(c % 3 + 1);
    return v;
}

/* And back, the real samples; pad lanes of all must be zero, of padding samples everything where asked. */
static inline Floats to_plain_order(const Floats &v, int n, int batch, struct ddp_shape s, int cpad,
                                    bool zeros)
{
    Floats plain((size_t)n * s.c * s.h * s.w);
    for (int i = 0; i < batch; i++)
        for (int q = 0; q < s.h * s.w; q++)
            for (int c = 0; c < cpad; c++) {
                const float f = v[((size_t)i * s.h * s.w + q) * cpad + c];
                if (c >= s.c || (i >= n && zeros))
                    assert_true(f == 0);
                else if (i < n)
                    plain[((size_t)i * s.c + c) * s.h * s.w + q] = f;
            }
    return plain;
}

static inline void append(Bytes &to, const Bytes &more)
{
    to.insert(to.end(), more.begin(), more.end());
}
/* The bits of the first n of `batch` equal parts. */
static inline void append_real(Bytes &to, const Bytes &more, int n, int batch)
{
    to.insert(to.end(), more.begin(), more.begin() + (long)(more.size() / (size_t)batch * (size_t)n));
}

/* |got - want| <= error + what rounding to the type brings. */
static inline void expect_near(const char *what, enum ddp_gpu_type t, float got, double want, double error)
{
    const double allowed = error + unit(t) * fabs(want) + (t == DDP_GPU_F16 ? 0x1p-25 : 0);
    if (!(fabs(got - want) <= allowed))
        fail_msg("%s (type %d) is %.9g, expected %.9g within %g", what, (int)t, (double)got, want, allowed);
}

/* run(garbage) three times: all bits alike, no fault. */
template <class F> static void expect_same_bits(F run)
{
    Bytes first;
    for (int i = 0; i < 3; i++) {
        emu_set_seed((uint64_t)(1 + 11 * i));
        const Bytes bits = run(i == 0 ? 0.75f : i == 1 ? -3.0f : 0.0f);
        if (i == 0)
            first = bits;
        else
            assert_true(bits == first);
    }
    if (emu_faults())
        fail_msg("%s", emu_last_fault());
}

#endif
