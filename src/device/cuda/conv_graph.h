/* One convolution as cuDNN's backend API sees it: its operation graph, and the execution plans that may
 * compute it. Nothing here needs a device: with the properties of one (cuDNN 9.8 and newer) plans are made
 * for it anywhere, which is how they are tested.
 *
 * Which engines may: deterministic ones that sum in fp32 and do not round fp32 inputs (TF32 engines only when
 * the convolution allows it), whose workspace is below DDP_CONV_WORKSPACE. */
#ifndef DDP_CUDA_CONV_GRAPH_H
#define DDP_CUDA_CONV_GRAPH_H

#include <cudnn.h>

#include "device/api.h"

enum { DDP_CONV_LOCK = 1000, DDP_CONV_WORKSPACE = 256 << 20 };
/* Unique ids, for variant packs; bias: with an epilogue only. */
enum { DDP_CONV_X = 'x', DDP_CONV_W = 'w', DDP_CONV_Y = 'y', DDP_CONV_BIAS = 'b' };

struct ddp_conv_choice {
    cudnnBackendDescriptor_t plan; /* finalised; NULL: no more */
    size_t workspace;              /* bytes */
    /* "eng=45;k2=5;k14=4": the engine's global index, and its knobs by ascending type. With the graph and the
     * device this is all that a plan consists of. */
    char lock[DDP_CONV_LOCK];
};

struct ddp_conv_graph;

/* handle: of the device at hand; or NULL with device, a finalised CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR. Both
 * stay the caller's and must outlive the graph. DDP_E_SHAPE as ddp_cuda_conv_check; DDP_E_RESOURCE with
 * cuDNN's reason. */
int ddp_conv_graph_create(const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass, cudnnHandle_t handle,
                          cudnnBackendDescriptor_t device, struct ddp_conv_graph **out,
                          struct ddp_error *err);
void ddp_conv_graph_destroy(struct ddp_conv_graph *g); /* NULL is fine */

/* The next plan that may compute it, in the order of heuristics mode A, then of the fallback
 * list. What cannot be finalised here is passed over. Caller ends it with ddp_conv_choice_finish
 * before the graph goes. */
int ddp_conv_graph_next(struct ddp_conv_graph *g, struct ddp_conv_choice *out, struct ddp_error *err);
void ddp_conv_choice_finish(struct ddp_conv_choice *c); /* an empty one is fine */

/* Why the last plan was passed over, and how many were; "" when none was. */
const char *ddp_conv_graph_passed(const struct ddp_conv_graph *g, int *count);

/* Exactly the plan of a lock text, without heuristics. DDP_E_CONFIG: not such a text, or this cuDNN does not
 * compute the convolution with it, or not with the promises above. */
int ddp_conv_graph_replay(struct ddp_conv_graph *g, const char *lock, struct ddp_conv_choice *out,
                          struct ddp_error *err);

/* "WHAT: status: cuDNN's last words" as code; returns code. */
int ddp_cudnn_fail(struct ddp_error *err, int code, cudnnStatus_t status, const char *what);

#endif
