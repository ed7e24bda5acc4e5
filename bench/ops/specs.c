/* The table of layers that ddp-bench ops measures. */
#include "bench/ops/ops.h"
#include "ops/builtin.h"

static const struct ops_pass products[] = {{"forward", .forward = true},
                                           {"data gradient", .data = true},
                                           {"weight gradient", .weights = true},
                                           {.name = NULL}};
static const struct ops_pass streams[] = {
    {"forward", .forward = true}, {"backward", .data = true, .weights = true}, {.name = NULL}};
static const struct ops_pass losses[] = {{"forward and gradient", .forward = true, .data = true},
                                         {.name = NULL}};

#define CONV(name, c, h, w, k, kernel, stride, pad, n)                                                       \
    {                                                                                                        \
        name, &ddp_op_conv2d, c, h, w, k, kernel, stride, pad, n, 0, products, false                         \
    }
#define LINEAR(name, c, h, w, k, n)                                                                          \
    {                                                                                                        \
        name, &ddp_op_linear, c, h, w, k, 0, 0, 0, n, 0, products, false                                     \
    }
/* What moves bytes: at a batch whose tensors a cache may hold, and at one whose tensors it does not. */
#define STREAM(name, op, kernel, fused, features, c, h, w)                                                   \
    {name, &ddp_op_##op, c, h, w, 0, kernel, 0, 0, 16, fused, streams, features},                            \
    {                                                                                                        \
        name, &ddp_op_##op, c, h, w, 0, kernel, 0, 0, 128, fused, streams, features                          \
    }
#define LOSS(name, c, n)                                                                                     \
    {                                                                                                        \
        name, &ddp_op_softmax_cross_entropy, c, 1, 1, 0, 0, 0, 0, n, 0, losses, true                         \
    }

const struct ops_spec ops_specs[] = {
    CONV("mnist conv1 1-32 28x28", 1, 28, 28, 32, 3, 1, 0, 16),
    CONV("mnist conv2 32-64 26x26", 32, 26, 26, 64, 3, 1, 0, 64),
    CONV("mnist conv2 32-64 26x26", 32, 26, 26, 64, 3, 1, 0, 16),
    CONV("resnet 64-64 32x32", 64, 32, 32, 64, 3, 1, 1, 16),
    CONV("resnet 128-128 16x16", 128, 16, 16, 128, 3, 1, 1, 16),
    CONV("resnet 256-256 8x8", 256, 8, 8, 256, 3, 1, 1, 16),
    CONV("resnet 512-512 4x4", 512, 4, 4, 512, 3, 1, 1, 16),
    CONV("resnet 64-128 /2 32x32", 64, 32, 32, 128, 3, 2, 1, 16),
    CONV("resnet 64-128 1x1 /2", 64, 32, 32, 128, 1, 2, 0, 16),
    CONV("resnet stem 3-64 32x32", 3, 32, 32, 64, 3, 1, 1, 16),
    LINEAR("mnist fc1 9216-128", 64, 12, 12, 128, 64),
    LINEAR("mnist fc1 9216-128", 64, 12, 12, 128, 16),
    LINEAR("mnist fc1 9216-128", 64, 12, 12, 128, 8),
    LINEAR("linear 1024-1024", 1024, 1, 1, 1024, 1024),
    STREAM("batch_norm, relu 64 32x32", batch_norm, 0, DDP_FUSE_RELU, false, 64, 32, 32),
    STREAM("batch_norm, add, relu 64 32x32", batch_norm, 0, DDP_FUSE_RELU | DDP_FUSE_ADD, false, 64, 32, 32),
    STREAM("max_pool 2x2 64 32x32", max_pool, 2, 0, false, 64, 32, 32),
    STREAM("dropout 64 32x32", dropout, 0, 0, false, 64, 32, 32),
    STREAM("dropout, features 64 32x32", dropout, 0, 0, true, 64, 32, 32),
    STREAM("relu 64 32x32", relu, 0, 0, false, 64, 32, 32),
    STREAM("gelu 64 32x32", gelu, 0, 0, false, 64, 32, 32),
    LOSS("softmax_cross_entropy 10", 10, 64),
    LOSS("softmax_cross_entropy 1000", 1000, 128),
};
const int ops_nspecs = (int)DDP_COUNT(ops_specs);

bool ops_has_products(const struct ops_spec *s)
{
    return s->passes == products;
}
