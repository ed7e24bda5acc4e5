/* A convolution's operation graph in cuDNN's backend API. */
#include <stdlib.h>

#include "device/cuda/conv_private.h"
#include "device/cuda/plan.h"

int ddp_cudnn_fail(struct ddp_error *err, int code, cudnnStatus_t status, const char *what)
{
    char words[512] = "";
    cudnnGetLastErrorString(words, sizeof words);
    return ddp_fail(err, code, "cuDNN: %s: %s%s%s", what, cudnnGetErrorString(status), words[0] ? ": " : "",
                    words);
}

/* ---- descriptors ---- */

static int make(struct ddp_conv_graph *g, cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out,
                struct ddp_error *err)
{
    cudnnStatus_t s = cudnnBackendCreateDescriptor(type, out);
    if (s != CUDNN_STATUS_SUCCESS)
        return ddp_cudnn_fail(err, DDP_E_RESOURCE, s, "cannot create a descriptor");
    g->made[g->nmade++] = *out;
    return 0;
}

int ddp_conv_finalize(cudnnBackendDescriptor_t d, const struct attribute *a, int n, const char *what,
                      struct ddp_error *err)
{
    cudnnStatus_t s = CUDNN_STATUS_SUCCESS;
    for (int i = 0; i < n && s == CUDNN_STATUS_SUCCESS; i++)
        s = cudnnBackendSetAttribute(d, a[i].name, a[i].type, a[i].count, a[i].value);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendFinalize(d);
    return s == CUDNN_STATUS_SUCCESS ? 0 : ddp_cudnn_fail(err, DDP_E_RESOURCE, s, what);
}

static cudnnDataType_t data_type(enum ddp_gpu_type t)
{
    return t == DDP_GPU_F32 ? CUDNN_DATA_FLOAT : t == DDP_GPU_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

/* dims are in the order n, c, h, w (weights k, c, r, s) whatever the layout: NHWC is in the strides only.
 * between: never in memory, between two operations, in fp32 as all sums. */
static int tensor(struct ddp_conv_graph *g, int64_t id, bool between, const int64_t dims[4],
                  cudnnBackendDescriptor_t *out, struct ddp_error *err)
{
    const cudnnDataType_t type = between || id == DDP_CONV_BIAS ? CUDNN_DATA_FLOAT : data_type(g->c.type);
    const int64_t align = 16, strides[4] = {dims[1] * dims[2] * dims[3], 1, dims[3] * dims[1], dims[1]};
    const struct attribute a[] = {
        {CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type},
        {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims},
        {CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides},
        {CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id},
        {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align},
        {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &between},
    };
    int rc = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out, err);
    return rc ? rc : ddp_conv_finalize(*out, a, COUNT(a), "tensor", err);
}

static int convolution(struct ddp_conv_graph *g, cudnnBackendDescriptor_t *out, struct ddp_error *err)
{
    const cudnnDataType_t type = CUDNN_DATA_FLOAT; /* of the sums */
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t dims = 2, pad[2] = {g->c.pad, g->c.pad}, stride[2] = {g->c.stride, g->c.stride},
                  dilation[2] = {ddp_gpu_conv_dilation(&g->c), ddp_gpu_conv_dilation(&g->c)};
    const struct attribute a[] = {
        {CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims},
        {CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type},
        {CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode},
        {CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad},
        {CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad},
        {CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation},
        {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride},
    };
    int rc = make(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out, err);
    return rc ? rc : ddp_conv_finalize(*out, a, COUNT(a), "convolution", err);
}

/* What the three passes call their operation and its attributes. */
static const struct {
    cudnnBackendDescriptorType_t operation;
    cudnnBackendAttributeName_t conv, x, w, y, alpha, beta;
} names[] = {
    [DDP_GPU_CONV_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [DDP_GPU_CONV_DGRAD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [DDP_GPU_CONV_WGRAD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

/* cuDNN 9 marks the handle attributes as deprecated and offers device properties instead, but on a device the
 * handle is what everybody uses. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static const cudnnBackendAttributeName_t graph_handle = CUDNN_ATTR_OPERATIONGRAPH_HANDLE;
#pragma GCC diagnostic pop

/* out = mode(x, b), in fp32; b NULL: of x alone. */
static int pointwise(struct ddp_conv_graph *g, cudnnPointwiseMode_t mode, cudnnBackendDescriptor_t x,
                     cudnnBackendDescriptor_t b, cudnnBackendDescriptor_t y, cudnnBackendDescriptor_t *op,
                     struct ddp_error *err)
{
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnNanPropagation_t nan = CUDNN_PROPAGATE_NAN;
    cudnnBackendDescriptor_t what;
    const struct attribute of_what[] = {
        {CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode},
        {CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type},
        {CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, 1, &nan},
    };
    int rc = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &what, err);
    if (rc == 0)
        rc = ddp_conv_finalize(what, of_what, COUNT(of_what) - (b != NULL), "bias or ReLU", err);
    if (rc == 0)
        rc = make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, op, err);
    if (rc)
        return rc;
    const struct attribute of_op[] = {
        {CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &what},
        {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x},
        {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y},
        {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b},
    };
    return ddp_conv_finalize(*op, of_op, COUNT(of_op) - (b == NULL), "operation of bias or ReLU", err);
}

/* What stands behind the convolution, whose result is `from`: n more operations; the last one writes y. */
static int behind(struct ddp_conv_graph *g, cudnnBackendDescriptor_t from, const int64_t yd[4],
                  cudnnBackendDescriptor_t y, cudnnBackendDescriptor_t op[2], int *n, struct ddp_error *err)
{
    const bool relu = g->c.epilogue == DDP_GPU_BIAS_RELU;
    const int64_t bd[4] = {1, g->c.k, 1, 1};
    cudnnBackendDescriptor_t bias, sum = y;
    int rc = tensor(g, DDP_CONV_BIAS, false, bd, &bias, err);
    if (rc == 0 && relu)
        rc = tensor(g, 'v', true, yd, &sum, err);
    if (rc == 0)
        rc = pointwise(g, CUDNN_POINTWISE_ADD, from, bias, sum, &op[0], err);
    if (rc == 0 && relu)
        rc = pointwise(g, CUDNN_POINTWISE_RELU_FWD, sum, NULL, y, &op[1], err);
    *n = 1 + relu;
    return rc;
}

static int build(struct ddp_conv_graph *g, struct ddp_error *err)
{
    const struct ddp_gpu_conv *c = &g->c;
    const int64_t xd[4] = {c->n, c->c, c->h, c->w}, wd[4] = {c->k, c->c / c->groups, c->r, c->s},
                  yd[4] = {c->n, c->k,
                           ddp_cuda_conv_out(c->h, ddp_gpu_conv_reach(c, c->r), c->stride, c->pad),
                           ddp_cuda_conv_out(c->w, ddp_gpu_conv_reach(c, c->s), c->stride, c->pad)};
    const float one = 1, zero = 0;
    cudnnBackendDescriptor_t x, w, y = NULL, sums, conv, op[3];
    int more = 0;
    int rc = tensor(g, DDP_CONV_X, false, xd, &x, err);
    if (rc == 0)
        rc = tensor(g, DDP_CONV_W, false, wd, &w, err);
    if (rc == 0)
        rc = tensor(g, DDP_CONV_Y, false, yd, &y, err);
    sums = y;
    if (rc == 0 && g->c.epilogue)
        rc = tensor(g, 's', true, yd, &sums, err);
    if (rc == 0)
        rc = convolution(g, &conv, err);
    if (rc == 0)
        rc = make(g, names[g->pass].operation, &op[0], err);
    if (rc)
        return rc;
    const struct attribute of_op[] = {
        {names[g->pass].conv, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &conv},
        {names[g->pass].x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x},
        {names[g->pass].w, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &w},
        {names[g->pass].y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &sums},
        {names[g->pass].alpha, CUDNN_TYPE_FLOAT, 1, &one},
        {names[g->pass].beta, CUDNN_TYPE_FLOAT, 1, &zero},
    };
    rc = ddp_conv_finalize(op[0], of_op, COUNT(of_op), "operation", err);
    if (rc == 0 && g->c.epilogue)
        rc = behind(g, sums, yd, y, &op[1], &more, err);
    if (rc == 0)
        rc = make(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &g->graph, err);
    if (rc)
        return rc;
    const struct attribute of_graph[] = {
        {CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1 + more, op},
        {graph_handle, CUDNN_TYPE_HANDLE, 1, &g->handle},
    };
    return ddp_conv_finalize(g->graph, of_graph, g->handle ? 2 : 1, "operation graph", err);
}

int ddp_conv_graph_create(const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass, cudnnHandle_t handle,
                          cudnnBackendDescriptor_t device, struct ddp_conv_graph **out, struct ddp_error *err)
{
    int rc = ddp_cuda_conv_check(c, err);
    if (rc)
        return rc;
    struct ddp_conv_graph *g = calloc(1, sizeof *g);
    if (!g)
        return ddp_fail(err, DDP_E_RESOURCE, "out of memory");
    g->c = *c;
    g->pass = pass;
    g->handle = handle;
    g->device = device;
    g->mode = -1;
    rc = build(g, err);
    if (rc)
        ddp_conv_graph_destroy(g);
    else
        *out = g;
    return rc;
}

void ddp_conv_drop_configs(struct ddp_conv_graph *g)
{
    for (int64_t i = 0; i < g->nconfig; i++)
        cudnnBackendDestroyDescriptor(g->config[i]);
    free(g->config);
    g->config = NULL;
    g->nconfig = g->next = 0;
}

void ddp_conv_graph_destroy(struct ddp_conv_graph *g)
{
    if (!g)
        return;
    ddp_conv_drop_configs(g);
    while (g->nmade > 0)
        cudnnBackendDestroyDescriptor(g->made[--g->nmade]);
    free(g);
}
