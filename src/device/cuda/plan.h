/* One convolution or matrix product with the algorithm that computes it: what the files behind vendor
 * libraries (conv_cudnn.c, matmul_cublaslt.c, and their stand-ins in tests/emulator) have in common. Their
 * functions are members of struct ddp_gpu_api, which says what they do. */
#ifndef DDP_CUDA_PLAN_H
#define DDP_CUDA_PLAN_H

#include "device/cuda/private.h"

#ifdef __cplusplus
extern "C" {
#endif

/* First member of every plan. */
struct ddp_gpu_plan {
    size_t workspace;                        /* bytes that run() wants; may be 0 */
    char *lock;                              /* malloc'd; see api.h */
    void (*destroy)(struct ddp_gpu_plan *p); /* frees what the kind of plan added, lock and the plan itself */
};

/* plan.c: for plans of both kinds. */
size_t ddp_cuda_plan_workspace(const struct ddp_gpu_plan *plan);
const char *ddp_cuda_plan_lock(const struct ddp_gpu_plan *plan);
void ddp_cuda_plan_destroy(struct ddp_gpu_plan *plan); /* NULL is fine */

/* Shapes that no library could compute: sizes below 1, channels that groups do not divide, a filter larger
 * than the padded picture. c and k must be multiples of DDP_GPU_CPAD: DDP_E_SHAPE with the reason. */
int ddp_cuda_conv_check(const struct ddp_gpu_conv *c, struct ddp_error *err);
int ddp_cuda_matmul_check(const struct ddp_gpu_matmul *m, struct ddp_error *err);
/* Height or width of the result of a convolution: (size + 2 pad - filter) / stride + 1. */
int ddp_cuda_conv_out(int size, int filter, int stride, int pad);

/* cuDNN, or its stand-in. */
int ddp_cuda_conv_plan(struct ddp_gpu *gpu, const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass,
                       const char *lock, bool tune, struct ddp_gpu_plan **out, struct ddp_error *err);
void ddp_cuda_conv_run(struct ddp_gpu_stream *s, const struct ddp_gpu_plan *plan, void *x, void *w, void *y,
                       const float *bias, void *workspace);
int ddp_cuda_conv_version(void); /* of the library that is loaded: for struct ddp_gpu_versions */

/* cuBLASLt, or its stand-in. */
int ddp_cuda_matmul_plan(struct ddp_gpu *gpu, const struct ddp_gpu_matmul *m, const char *lock, bool tune,
                         struct ddp_gpu_plan **out, struct ddp_error *err);
void ddp_cuda_matmul_run(struct ddp_gpu_stream *s, const struct ddp_gpu_plan *plan, const void *a,
                         const void *b, void *d, const void *bias, void *workspace);
int ddp_cuda_matmul_version(void);

#ifdef __cplusplus
}
#endif
#endif
