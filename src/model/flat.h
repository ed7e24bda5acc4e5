/* The flat index space that parameters, gradients, optimizer state and statistics share: tensor i lies at
 * [offset, offset + size), each padded to whole blocks of DDP_BLOCK elements, trained parameters in forward
 * order first, then running statistics, then one block of metrics. Fixed by the model alone. */
#ifndef DDP_MODEL_FLAT_H
#define DDP_MODEL_FLAT_H

#include "base/range.h"
#include "ddp/op.h"

struct ddp_flat_tensor {
    char name[128];         /* "layer1.0.conv1.weight": PyTorch's */
    struct ddp_param param; /* param.name is only "weight" */
    int64_t offset, size;   /* elements; size before padding to blocks */
    int layer;              /* index in the model */
    int64_t stat_pixels;    /* running statistics: elements per channel that one sample adds (H*W) */
    bool stat_synced;       /* they are those of the global batch, not of each shard */
};

/* Slots of the metrics block, at ddp_flat.metrics: sums over the global batch. */
enum { DDP_METRIC_LOSS, DDP_METRIC_CORRECT, DDP_METRICS };

struct ddp_flat {
    int ntensors;
    struct ddp_flat_tensor *tensor; /* trained first, then running */
    int ntrained;
    int64_t stats;   /* offset of the first running statistic (= end of trained) */
    int64_t metrics; /* offset of the metrics block */
    int64_t total;   /* end, a multiple of DDP_BLOCK */
};

/* The tensor at a flat index, -1 for padding past its end or the metrics block. */
int ddp_flat_find(const struct ddp_flat *f, int64_t index);

#endif
