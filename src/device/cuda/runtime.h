/* What the files of the runtime share. */
#ifndef DDP_CUDA_RUNTIME_H
#define DDP_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#include "device/api.h"

struct ddp_gpu {
    int device;
    int major, minor;
    char name[128];
    struct ddp_error first; /* code 0: nothing failed so far */
};

/* One line on an error of the runtime, with the GPU in front and for errors that users meet the way out.
 * Returns its code. */
int ddp_cuda_word(struct ddp_error *err, const struct ddp_gpu *gpu, cudaError_t e, const char *what);
/* Look at how enqueued work went: the first failure is kept. */
void ddp_cuda_keep(struct ddp_gpu *gpu, cudaError_t e, const char *what);
int ddp_cuda_check(struct ddp_gpu *gpu, struct ddp_error *err); /* of struct ddp_gpu_api */

#endif
