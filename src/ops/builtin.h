/* The built-in ops: one line each. DDP_BUILTIN_OPS(OP) says OP(name) for every ddp_op_NAME, in the order of
 * the help. */
#ifndef DDP_OPS_BUILTIN_H
#define DDP_OPS_BUILTIN_H

#include "ddp/op.h"

#define DDP_BUILTIN_OPS(OP)                                                                                  \
    OP(conv2d)                                                                                               \
    OP(linear)                                                                                               \
    OP(batch_norm)                                                                                           \
    OP(group_norm)                                                                                           \
    OP(layer_norm)                                                                                           \
    OP(relu)                                                                                                 \
    OP(gelu)                                                                                                 \
    OP(silu)                                                                                                 \
    OP(tanh)                                                                                                 \
    OP(sigmoid)                                                                                              \
    OP(leaky_relu)                                                                                           \
    OP(max_pool)                                                                                             \
    OP(avg_pool)                                                                                             \
    OP(global_avg_pool)                                                                                      \
    OP(dropout)                                                                                              \
    OP(flatten)                                                                                              \
    OP(add)                                                                                                  \
    OP(concat)                                                                                               \
    OP(softmax_cross_entropy)                                                                                \
    OP(mse)                                                                                                  \
    OP(mae)                                                                                                  \
    OP(huber)

#define DDP_DECLARE_OP(name) extern const struct ddp_op ddp_op_##name;
DDP_BUILTIN_OPS(DDP_DECLARE_OP)
#undef DDP_DECLARE_OP

#endif
