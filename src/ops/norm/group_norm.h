/* What both halves of group_norm and layer_norm share. */
#ifndef DDP_OPS_GROUP_NORM_H
#define DDP_OPS_GROUP_NORM_H

#include "ddp/op_device.h"

struct ddp_group_norm_conf {
    double eps;
    bool affine;
    int64_t groups; /* of group_norm alone */
};

/* How a layer normalises: the channels of a group, and whether weight and bias are of each element
 * (layer_norm) or of each channel (group_norm). */
struct ddp_group_form {
    int groups, channels; /* of one group */
    bool elements;
};

extern const struct ddp_op_device ddp_group_norm_device, ddp_layer_norm_device; /* group_norm_device.c */

#endif
