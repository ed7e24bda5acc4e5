/* What LARS takes of SGD on a device: its step. */
#ifndef DDP_OPTIM_SGD_CUH
#define DDP_OPTIM_SGD_CUH

#include "optim/update.cuh"

extern "C" ddp_gpu_update ddp_cuda_sgd_step;

#endif
