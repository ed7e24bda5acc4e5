/* See cuda_runtime_api.h. */
#ifndef DDP_EMU_CUDA_RUNTIME_H
#define DDP_EMU_CUDA_RUNTIME_H
#include "cuda_runtime_api.h"
#endif
