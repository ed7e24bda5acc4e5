/* Launchers of our kernels: what each computes stands in device/kernels.h, how in the .cu file that it is named
 * after. They enqueue and return; a launch that fails is kept in the stream's device. table.c puts them into
 * the plug-in's table. */
#ifndef DDP_COMPUTE_CUDA_LAUNCHERS_H
#define DDP_COMPUTE_CUDA_LAUNCHERS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

void ddp_cuda_augment(struct ddp_gpu_stream *s, const struct ddp_gpu_augment *a);

/* point.cu */
void ddp_cuda_act_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_act_args *a);
void ddp_cuda_act_backward(struct ddp_gpu_stream *s, const struct ddp_gpu_act_args *a);
void ddp_cuda_add_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_add_args *a);
void ddp_cuda_add_backward(struct ddp_gpu_stream *s, const struct ddp_gpu_add_args *a);
void ddp_cuda_bias_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_bias_args *a);
void ddp_cuda_bias_backward(struct ddp_gpu_stream *s, const struct ddp_gpu_bias_grad_args *a);

/* norm.cu */
void ddp_cuda_norm_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
void ddp_cuda_norm_sync_apply(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
void ddp_cuda_norm_forward(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
void ddp_cuda_norm_eval(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_args *a);
void ddp_cuda_norm_grad_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a);
void ddp_cuda_norm_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_norm_grad_args *a);

/* pool.cu */
void ddp_cuda_max_pool(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
void ddp_cuda_max_pool_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
void ddp_cuda_avg_pool(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);
void ddp_cuda_avg_pool_grad(struct ddp_gpu_stream *s, const struct ddp_gpu_pool_args *a);

void ddp_cuda_flatten(struct ddp_gpu_stream *s, const struct ddp_gpu_flatten_args *a);
void ddp_cuda_dropout(struct ddp_gpu_stream *s, const struct ddp_gpu_dropout_args *a);

/* loss.cu */
void ddp_cuda_softmax_cross_entropy(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a);
void ddp_cuda_mse(struct ddp_gpu_stream *s, const struct ddp_gpu_loss_args *a);

/* flat.cu */
void ddp_cuda_cast_from_float(struct ddp_gpu_stream *s, const struct ddp_gpu_cast_args *a);
void ddp_cuda_cast_to_float(struct ddp_gpu_stream *s, const struct ddp_gpu_cast_args *a);
void ddp_cuda_add_range(struct ddp_gpu_stream *s, const struct ddp_gpu_range_args *a);

/* update.cu */
void ddp_cuda_metrics(struct ddp_gpu_stream *s, const struct ddp_gpu_metrics_args *a);
void ddp_cuda_sum_small(struct ddp_gpu_stream *s, const struct ddp_gpu_sum_args *a);
void ddp_cuda_sum_nodes(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a);
void ddp_cuda_update(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a);
void ddp_cuda_between(struct ddp_gpu_stream *s, const struct ddp_gpu_between_args *a);
void ddp_cuda_stats(struct ddp_gpu_stream *s, const struct ddp_gpu_stats_args *a);
void ddp_cuda_guard(struct ddp_gpu_stream *s, const struct ddp_gpu_guard_args *a);

#ifdef __cplusplus
}
#endif
#endif
