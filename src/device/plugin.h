/* Where the plug-in is; private to src/gpu. */
#ifndef DDP_GPU_PLUGIN_H
#define DDP_GPU_PLUGIN_H

#include <limits.h>
#include <stdbool.h>

/* What DDP_CUDA_PLUGIN says; NULL: not set, or empty. */
const char *ddp_gpu_plugin_named(void);
/* The plug-in's file; true also for a DDP_CUDA_PLUGIN that is not there. false: only
 * the loader could know. */
bool ddp_gpu_plugin_find(char out[PATH_MAX]);

#endif
