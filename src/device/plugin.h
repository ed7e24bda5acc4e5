/* Where the CUDA plug-in is; private to src/device. */
#ifndef DDP_GPU_PLUGIN_H
#define DDP_GPU_PLUGIN_H

#include "base/plugin.h"

extern const struct ddp_plugin ddp_gpu_plugin;

#endif
