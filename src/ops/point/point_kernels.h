/* Elementwise kernels on the device (point.cu): activations, residual sums, biases, conversions of types. */
#ifndef DDP_OPS_POINT_KERNELS_H
#define DDP_OPS_POINT_KERNELS_H

#include "device/kernels.h"
#include "ops/point/act_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- activations ---- */

struct ddp_gpu_act_args {
    enum ddp_gpu_type type;
    enum ddp_act act;
    float slope; /* of LEAKY_RELU */
    int64_t count;
    int c, real_c; /* of SIGMOID forward, whose pad lanes are not zero by themselves; c: padded */
    const void *x; /* forward: in. backward: out where ddp_act_reads_out(act), else in */
    const void *dout;
    void *out; /* forward: out; backward: din */
    bool accumulate;
};

/* ---- residual sums ----
 * forward:  out = a + b, max(., 0) where relu
 * backward: out (din) (+)= a (dout) where b (out of forward) > 0, or everywhere where b is NULL (no relu) */
struct ddp_gpu_add_args {
    enum ddp_gpu_type type;
    int64_t count;
    const void *a, *b;
    void *out;
    bool relu, accumulate;
};

/* ---- biases, behind a convolution or a matrix product ---- */

/* y = relu(y + bias + other), in place */
struct ddp_gpu_bias_args {
    enum ddp_gpu_type type;
    int64_t pixels;
    int c;
    const float *bias; /* [c]; NULL: none */
    const void *other; /* residual; NULL: none */
    bool relu;
    void *y;
};

/* dz        = dout where out > 0 (relu), written over dout
 * dother  (+)= dz
 * dbias[c]  = sum over pixels of dz */
struct ddp_gpu_bias_grad_args {
    enum ddp_gpu_type type;
    int64_t pixels;
    int c;
    bool relu;
    const void *out;
    void *dout;
    void *dother; /* NULL: none */
    bool accumulate;
    float *dbias;   /* NULL: none */
    float *partial; /* ddp_gpu_partials(pixels, c) floats of scratch */
};

/* ---- conversions between fp32 and type, any count ---- */

struct ddp_gpu_cast_args {
    enum ddp_gpu_type type;
    int64_t count;
    float *f;
    void *t;
};

struct ddp_point_device_kernels {
    void (*act_forward)(struct ddp_gpu_stream *s, const struct ddp_gpu_act_args *a);
    void (*act_backward)(struct ddp_gpu_stream *s, const struct ddp_gpu_act_args *a);
    void (*add_forward)(struct ddp_gpu_stream *s, const struct ddp_gpu_add_args *a);
    void (*add_backward)(struct ddp_gpu_stream *s, const struct ddp_gpu_add_args *a);
    void (*bias_forward)(struct ddp_gpu_stream *s, const struct ddp_gpu_bias_args *a);
    void (*bias_backward)(struct ddp_gpu_stream *s, const struct ddp_gpu_bias_grad_args *a);
    void (*cast_from_float)(struct ddp_gpu_stream *s, const struct ddp_gpu_cast_args *a); /* t = f */
    void (*cast_to_float)(struct ddp_gpu_stream *s, const struct ddp_gpu_cast_args *a);   /* f = t */
};
extern const struct ddp_point_device_kernels ddp_cuda_point_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
