/* Opening the CUDA plug-in, once. */
#include <pthread.h>

#include "device/api.h"
#include "device/plugin.h"

const struct ddp_plugin ddp_gpu_plugin = {
    .what = "CUDA plug-in",
    .file = "libddp_cuda.so",
    .variable = "DDP_CUDA_PLUGIN",
    .entry = DDP_GPU_ENTRY,
    .version = DDP_GPU_API_VERSION,
    .missing = "Build it (-DDDP_CUDA=ON says what is missing), name it in DDP_CUDA_PLUGIN, or use device=cpu",
    .broken = "Are cuDNN, cuBLAS and NCCL where the loader looks (LD_LIBRARY_PATH)? device=cpu does without",
};

int ddp_gpu_api_open(const struct ddp_gpu_api **out, struct ddp_error *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const void *opened;

    pthread_mutex_lock(&lock);
    const int code = opened ? 0 : ddp_plugin_open(&ddp_gpu_plugin, &opened, err);
    if (code == 0)
        *out = opened;
    pthread_mutex_unlock(&lock);
    return code;
}
