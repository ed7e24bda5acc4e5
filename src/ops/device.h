/* What the device halves of the built-in ops share: vendors' algorithms through the plan lock, and what
 * stands behind a convolution or a matrix product. */
#ifndef DDP_OPS_DEVICE_H
#define DDP_OPS_DEVICE_H

#include "ddp/op_device.h"
#include "device/kernels.h"

/* The signature's algorithm from the lock, or a new one that is added to it; into plan->vendor[pass]. */
int ddp_device_plan_conv(const struct ddp_device_planner *p, const struct ddp_gpu_conv *c,
                         enum ddp_gpu_conv_pass pass, struct ddp_device_plan *plan, struct ddp_error *err);
int ddp_device_plan_matmul(const struct ddp_device_planner *p, const struct ddp_gpu_matmul *m, int pass,
                           struct ddp_device_plan *plan, struct ddp_error *err);

/* Which epilogue of the vendor's a forward pass could have: DDP_GPU_BIAS*, or 0. */
unsigned ddp_device_epilogue_wanted(const struct ddp_device_planner *p);
/* Forward with the epilogue in c or m, where the vendor has a deterministic algorithm for both; else, or
 * where the lock has the problem alone, without. plan->epilogue says which. */
int ddp_device_plan_conv_forward(const struct ddp_device_planner *p, const struct ddp_gpu_conv *c,
                                 struct ddp_device_plan *plan, struct ddp_error *err);
int ddp_device_plan_matmul_forward(const struct ddp_device_planner *p, const struct ddp_gpu_matmul *m,
                                   int pass, struct ddp_device_plan *plan, struct ddp_error *err);

/* Behind a convolution or matrix product, where its call has not done it: bias, residual, ReLU; and their
 * gradients. scratch: ddp_device_epilogue_scratch bytes. */
void ddp_device_epilogue(const struct ddp_device_call *c, int64_t pixels, int channels, const float *bias);
void ddp_device_epilogue_grad(const struct ddp_device_call *c, int64_t pixels, int channels, float *dbias,
                              float *scratch);
size_t ddp_device_epilogue_scratch(int64_t pixels, int channels);

/* Where a vendor's call, which only writes, is to put the gradient of in[0]: din[0], or scratch where it is
 * added to what stands there; and the adding, which then follows. */
void *ddp_device_gradient_to(const struct ddp_device_call *c);
void ddp_device_gradient_add(const struct ddp_device_call *c, const void *from);

#endif
