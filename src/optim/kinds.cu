/* Every optimizer's kernels, as the plug-in hands them out. Sibling: optim/kinds.c. */
#include "ddp_device.h"
#include "optim/update_kernels.h"

#define ENTRY(NAME, name) &ddp_cuda_##name,

const struct ddp_update_device_kernels ddp_cuda_update_kernels = {
    ddp_cuda_norms, ddp_cuda_between, {DDP_OPTIMS(ENTRY)}};
