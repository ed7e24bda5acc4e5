/* What the files of the plug-in share. */
#ifndef DDP_CUDA_PRIVATE_H
#define DDP_CUDA_PRIVATE_H

#include "device/api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* runtime_stream.c: the cudaStream_t of a stream; whether its device has not failed yet; look at how a launch
 * of `what` went. */
void *ddp_stream_cuda(struct ddp_gpu_stream *s);
bool ddp_stream_works(const struct ddp_gpu_stream *s);
void ddp_stream_launched(struct ddp_gpu_stream *s, const char *what);
/* Keep the first failure of enqueued work: "WHAT: why". */
void ddp_stream_fail(struct ddp_gpu_stream *s, int code, const char *fmt, ...) DDP_PRINTF(3, 4);
int ddp_gpu_ordinal(const struct ddp_gpu *gpu);

/* The same for work that is not of one stream (NCCL). */
bool ddp_gpu_works(const struct ddp_gpu *gpu);
void ddp_gpu_fail(struct ddp_gpu *gpu, int code, const char *fmt, ...) DDP_PRINTF(3, 4);

/* runtime.c, runtime_stream.c and nccl.c: enter their functions in the table; versions of what they stand
 * on. */
void ddp_cuda_runtime_fill(struct ddp_gpu_api *api);
void ddp_cuda_stream_fill(struct ddp_gpu_api *api);
void ddp_cuda_nccl_fill(struct ddp_gpu_api *api);
int ddp_cuda_nccl_version(void);

/* Every launcher of our kernels, for the table in plugin.c: void ddp_cuda_NAME(stream, const struct .. *). */
extern const struct ddp_gpu_kernels ddp_cuda_kernels;

#ifdef __cplusplus
}
#endif
#endif
