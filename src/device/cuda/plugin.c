/* The table that the plug-in hands out. */
#include <cuda_runtime_api.h>

#include "device/cuda/plan.h"
#include "device/cuda/private.h"

static void versions(struct ddp_gpu_versions *out)
{
    struct ddp_gpu_versions v = {0};
    if (cudaDriverGetVersion(&v.driver) != cudaSuccess)
        v.driver = 0;
    if (cudaRuntimeGetVersion(&v.runtime) != cudaSuccess)
        v.runtime = 0;
    (void)cudaGetLastError();
    v.cudnn = ddp_cuda_conv_version();
    v.cublaslt = ddp_cuda_matmul_version();
    v.nccl = ddp_cuda_nccl_version();
    *out = v;
}

DDP_API const struct ddp_gpu_api *ddp_cuda_plugin(void);

const struct ddp_gpu_api *ddp_cuda_plugin(void)
{
    static struct ddp_gpu_api api = {
        .version = DDP_GPU_API_VERSION,
        .versions = versions,
        .conv_plan = ddp_cuda_conv_plan,
        .conv_run = ddp_cuda_conv_run,
        .matmul_plan = ddp_cuda_matmul_plan,
        .matmul_run = ddp_cuda_matmul_run,
        .plan_workspace = ddp_cuda_plan_workspace,
        .plan_lock = ddp_cuda_plan_lock,
        .plan_destroy = ddp_cuda_plan_destroy,
        .kernels = &ddp_cuda_kernels,
    };
    ddp_cuda_runtime_fill(&api);
    ddp_cuda_stream_fill(&api);
    ddp_cuda_nccl_fill(&api);
    return &api;
}
