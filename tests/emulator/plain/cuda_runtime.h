/* As much of plain CUDA as examples/op/op.cu uses, on the emulator: the program is linked with the emulated
 * plug-in, whose streams its kernels go to. */
#ifndef DDP_EMU_PLAIN_CUDA_H
#define DDP_EMU_PLAIN_CUDA_H

#include "launch.h"

#define __global__ static __attribute__((noipa))

struct emu_place { /* threadIdx and its like, one-dimensional */
    struct axis {
        int (*get)(void);
        operator unsigned() const { return (unsigned)get(); }
    } x;
};
static const emu_place threadIdx = {{emu_thread}}, blockDim = {{emu_threads}}, blockIdx = {{emu_block}},
                       gridDim = {{emu_blocks}};

struct dim3 {
    unsigned x;
    dim3(unsigned n = 1) : x(n) {}
};
typedef void *cudaStream_t;
enum cudaError_t { cudaSuccess };
struct cudaLaunchConfig_t {
    struct dim3 gridDim, blockDim;
    cudaStream_t stream;
};

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *c, void (*kernel)(P...), A &&...args)
{
    emu_launch(c->stream, "plain", kernel, c->gridDim.x, (int)c->blockDim.x, static_cast<A &&>(args)...);
    return cudaSuccess;
}
static inline const char *cudaGetErrorString(cudaError_t)
{
    return "";
}

#endif
