/* The built-in ops and what the graph needs to know about them beyond their plans. */
#ifndef DDP_COMPUTE_OPS_H
#define DDP_COMPUTE_OPS_H

#include "ddp/op.h"

extern const struct ddp_op ddp_op_conv2d, ddp_op_linear, ddp_op_batch_norm, ddp_op_relu, ddp_op_gelu,
    ddp_op_silu, ddp_op_max_pool, ddp_op_avg_pool, ddp_op_global_avg_pool, ddp_op_dropout, ddp_op_flatten,
    ddp_op_add, ddp_op_softmax_cross_entropy, ddp_op_mse;

/* Whether flatten keeps the shape {C, H, W} of what comes in: its output is then the same blocked vectors,
 * and features order makes them a vector of features (file layout: a kernel of the whole picture). Such a
 * flatten copies between strides and may be left out by letting the op before it write features order. Else
 * (C no multiple of 16 and more than one pixel) the output is {C*H*W, 1, 1}, blocked anew by plain index
 * (c*H + y)*W + x. */
static inline bool ddp_flatten_keeps(struct ddp_shape s)
{
    return s.c % DDP_CBLOCK == 0 || (s.h == 1 && s.w == 1);
}

#endif
