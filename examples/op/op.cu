/* hard_tanh on GPUs: plain CUDA, enqueued on the stream that the call names. A tensor is [batch][h][w][c], c
 * padded to DDP_GPU_CPAD with zeros, and hard_tanh(0) = 0: all elements are alike. */
#include <cuda_runtime.h>
#include <ddp/op_device.h>

#include "op.h"

__global__ void clamp(const float *x, float *y, long long count, float limit)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
        y[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
}

__global__ void clamp_grad(const float *x, const float *dy, float *dx, long long count, float limit,
                           bool accumulate)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const float v = x[i] > -limit && x[i] < limit ? dy[i] : 0;
        dx[i] = accumulate ? dx[i] + v : v;
    }
}

/* Start a kernel on the call's stream; a failure ends the step with its reason. */
template <class... P, class... A>
static void launch(const struct ddp_device_call *call, long long count, void (*kernel)(P...), A... args)
{
    cudaLaunchConfig_t config = {};
    const long long blocks = (count + 255) / 256;
    config.gridDim = dim3(blocks < 1024 ? (unsigned)blocks : 1024);
    config.blockDim = dim3(256);
    config.stream = (cudaStream_t)ddp_device_stream(call);
    const cudaError_t e = cudaLaunchKernelEx(&config, kernel, args...);
    if (e != cudaSuccess)
        ddp_device_failed(call, "hard_tanh", cudaGetErrorString(e));
}

static int plan(const struct ddp_device_planner *p, struct ddp_device_plan *out, struct ddp_error *err)
{
    (void)out;
    if (p->type != DDP_GPU_F32)
        return ddp_fail(err, DDP_E_CONFIG,
                        "hard_tanh computes in fp32 alone on a GPU; set train.precision = \"fp32\"");
    return 0;
}

static long long count(const struct ddp_device_call *call)
{
    return (long long)call->batch * ddp_gpu_elements(call->in_shape[0]);
}

static float limit(const struct ddp_device_call *call)
{
    return (float)((const struct hard_tanh *)call->conf)->limit;
}

static void forward(const struct ddp_device_call *call)
{
    launch(call, count(call), clamp, (const float *)call->in[0], (float *)call->out, count(call),
           limit(call));
}

static void backward(const struct ddp_device_call *call)
{
    if (call->din[0])
        launch(call, count(call), clamp_grad, (const float *)call->in[0], (const float *)call->dout,
               (float *)call->din[0], count(call), limit(call), call->accumulate[0]);
}

extern "C" {
extern const struct ddp_op_device hard_tanh_device;
const struct ddp_op_device hard_tanh_device = {plan, forward, backward, NULL, NULL};
}
