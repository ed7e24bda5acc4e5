/* The kernels' place in the plug-in's table. */
#include "device/cuda/private.h"

#include "device/cuda/launchers.h"

const struct ddp_gpu_kernels ddp_cuda_kernels = {
    .augment = ddp_cuda_augment,
    .act_forward = ddp_cuda_act_forward,
    .act_backward = ddp_cuda_act_backward,
    .add_forward = ddp_cuda_add_forward,
    .add_backward = ddp_cuda_add_backward,
    .bias_forward = ddp_cuda_bias_forward,
    .bias_backward = ddp_cuda_bias_backward,
    .norm_stats = ddp_cuda_norm_stats,
    .norm_sync_apply = ddp_cuda_norm_sync_apply,
    .norm_forward = ddp_cuda_norm_forward,
    .norm_eval = ddp_cuda_norm_eval,
    .norm_grad_stats = ddp_cuda_norm_grad_stats,
    .norm_grad = ddp_cuda_norm_grad,
    .max_pool = ddp_cuda_max_pool,
    .max_pool_grad = ddp_cuda_max_pool_grad,
    .avg_pool = ddp_cuda_avg_pool,
    .avg_pool_grad = ddp_cuda_avg_pool_grad,
    .flatten = ddp_cuda_flatten,
    .dropout = ddp_cuda_dropout,
    .softmax_cross_entropy = ddp_cuda_softmax_cross_entropy,
    .mse = ddp_cuda_mse,
    .cast_from_float = ddp_cuda_cast_from_float,
    .cast_to_float = ddp_cuda_cast_to_float,
    .add_range = ddp_cuda_add_range,
    .metrics = ddp_cuda_metrics,
    .sum_small = ddp_cuda_sum_small,
    .sum_nodes = ddp_cuda_sum_nodes,
    .update = ddp_cuda_update,
    .between = ddp_cuda_between,
    .stats = ddp_cuda_stats,
    .guard = ddp_cuda_guard,
};
