/* What both halves of the pooling ops share. */
#ifndef DDP_OPS_POOL_H
#define DDP_OPS_POOL_H

#include "ddp/op_device.h"

struct ddp_pool_conf {
    int64_t kernel, stride, padding;
    bool count_include_pad;
};

extern const struct ddp_op_device ddp_max_pool_device, ddp_avg_pool_device,
    ddp_global_avg_pool_device; /* pool_device.c */

#endif
