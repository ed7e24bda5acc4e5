/* What every op of a step computed: digests of all outputs, and on request the values, for who looks for
 * the op at which two runs part (ddp-runs bisect), or how far off another framework is (tests/oracle).
 *
 * A step is a list of nodes, a pure function of model, optimizer and shards, in an order in which each
 * follows from those before it:
 *
 *   begin      fc1.weight, fc1.weight.momentum   before the first step that is looked at      blocks
 *   input      samples, targets, data            indices; labels or targets; what went in     shards
 *   forward    conv1, loss, bn1.running_mean     outputs; the loss; leaves of statistics      shards
 *   backward   conv1.input, conv1.weight         gradients of a layer's inputs, parameters    shards
 *   sum        fc1.weight                        gradients over all shards, before the update blocks
 *   scale      lr, norm                          learning rate; gradient norm when clipping   one
 *   update     fc1.weight, fc1.weight.momentum   after the step                               blocks
 *
 * A node consists of parts: one for each shard, or each block of DDP_BLOCK elements of its tensor. A rank has
 * the parts that it computed: its shards, the blocks that it owns; `begin` and `scale` are rank 0's. So what
 * all ranks have is the whole, and the same at any number of them. Digests are of the layout in memory where
 * parts are blocks, else of plain elements; values are plain. Targets of samples that data.mixup mixed are
 * the parts of all classes.
 *
 * Nothing of this exists where probe.from is 0. */
#ifndef DDP_ENGINE_PROBE_H
#define DDP_ENGINE_PROBE_H

#include "base/base.h"
#include "model/stages.h"

enum ddp_probe_kind {
    DDP_PROBE_BEGIN,
    DDP_PROBE_INPUT,
    DDP_PROBE_FORWARD,
    DDP_PROBE_BACKWARD,
    DDP_PROBE_SUM,
    DDP_PROBE_SCALE,
    DDP_PROBE_UPDATE,
    DDP_PROBE_KINDS
};

enum { DDP_PROBE_DIGEST = 8 };

enum ddp_probe_type { DDP_PROBE_F32, DDP_PROBE_F64, DDP_PROBE_I32, DDP_PROBE_I64 };

/* Plain elements of a part, or of the whole tensor where parts are blocks. */
struct ddp_probe_values {
    void *data; /* NULL: not wanted, not here */
    enum ddp_probe_type type;
    int ndim;
    int64_t dims[4];
};

struct ddp_probe_node {
    enum ddp_probe_kind kind;
    char name[160];
    char op[64]; /* "conv2d+relu": which op computes it, with what is fused behind it; "": none does */
    bool blocks;
    int64_t of;                      /* parts, of all ranks together */
    int64_t first;                   /* part that the arrays begin with */
    int64_t parts;                   /* in the arrays */
    bool *here;                      /* [parts] this rank has it, of the step at hand */
    uint8_t *digest;                 /* [parts][DDP_PROBE_DIGEST] */
    bool wanted;                     /* its values, too */
    struct ddp_probe_values *values; /* [parts], blocks: [1]; NULL: not wanted */
};

struct ddp_engine;
struct ddp_probe;

const char *ddp_probe_kind_name(enum ddp_probe_kind kind); /* "forward". Static. */

/* Behind a ddp_engine_enqueue: whether its step was looked at, and what there is of it, until the next one.
 * false: nodes is not set. */
bool ddp_engine_probed(const struct ddp_engine *e, const struct ddp_probe_node **nodes, int *n);

#endif
