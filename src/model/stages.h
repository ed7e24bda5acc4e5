/* What a pass does, as data: the stages in order, the values that they read and write, who writes each
 * gradient and who adds to it, how long everything lives, and which blocks of the flat space are final
 * when. A pure function of the model, complete when the model is: the passes of src/engine and exporters
 * read it and derive nothing.
 *
 *   forward     load `data`
 *               for s = 0 .. nstages - 1:   [forward_stats(s), sum over all shards], forward(s)
 *   backward    the running statistics are final
 *               for s in `backward`:        [backward_stats(s), sum over all shards], backward(s),
 *                                           blocks lo .. hi of s are final
 *
 * [..]: where the stage is synchronised and the pass trains. All shards have to be past forward_stats
 * before any of them can go on, so such a model takes all its shards through one stage before the next.
 *
 * On a device whose ops can do so (ddp/op_device.h: DDP_GRADIENT_) a gradient that passes a sum unchanged is
 * left where it is, so that two values have theirs in one place, and what a convolution would add to a
 * gradient lies aside as its second part. The bits are those of writing and adding.
 *
 * Time is counted in calls: forward of stage s is at s, its backward at 2 nstages - 1 - s. The loss is the
 * last stage; it has no backward, its forward writes the gradient of what it reads. */
#ifndef DDP_MODEL_STAGES_H
#define DDP_MODEL_STAGES_H

#include "ddp/op.h"
#include "model/flat.h"

enum { DDP_DATA = -1 }; /* as a producer: the graph's input */

/* Features: samples beside each other. Of devices whose layouts know no difference only the shape counts. */
enum ddp_order { DDP_ORDER_PICTURES, DDP_ORDER_FEATURES };

/* From the start of call `first` to the end of call `last`. */
struct ddp_life {
    int first, last;
};

/* An activation, and where wanted its gradient, of the same shape and order. */
struct ddp_value {
    struct ddp_shape shape;
    enum ddp_order order;
    int halo, grad_halo; /* zero borders that the kernels of the CPU want */
    int stage;           /* producer, DDP_DATA */
    bool wants_grad;     /* something before it is trained */
    /* On CPUs its gradient takes its place (stage.in[0] of its only reader). MASKED: and comes with the mask
     * of its producer's ReLU. */
    enum ddp_over over;
    bool kept[2];            /* [training]: still there at the end of forward, to be looked at */
    struct ddp_life life[2]; /* [training] */
    struct ddp_life grad; /* in training, of its gradient, where wanted, and of those that lie in its place */
    int grad_at;          /* the value in whose gradient's place its own lies: mostly itself */
    bool two_parts;       /* what the last stage adds to its gradient lies aside */
    struct ddp_life aside;
};

/* What a stage does with the gradient of an input. Every gradient is written once, by the first of its stages
 * in backward order, before others add to it and before its producer reads it. LEAVE: written over the
 * gradient of the stage's own output, whose place it takes. ASIDE: the last one writes its part apart. */
enum ddp_grad { DDP_GRAD_NONE, DDP_GRAD_WRITE, DDP_GRAD_ADD, DDP_GRAD_LEAVE, DDP_GRAD_ASIDE };

/* One call of an op, with ReLU, residual add and max_pool taken along. */
struct ddp_stage {
    /* what is called */
    const struct ddp_op *op;
    const void *conf;
    const struct ddp_layer_plan *plan;
    const struct ddp_layer_plan *pool; /* of a fused max_pool; NULL */
    unsigned fused;                    /* DDP_FUSE_ bits */
    const char *name;                  /* of the layer whose op it is; keys its parameters */
    const char *output;                /* of the layer whose output it leaves: the last one fused behind it */
    const char *where; /* "configs/model/x.cfg:12: layer 'conv2' (conv2d)": how messages about it begin */
    uint32_t hash;     /* of name; keys its random numbers */
    int layer, last;   /* name, output as indices in the model */
    /* what it works on */
    int nin;
    /* values; with a fused add the other input comes last. Both inputs of an op may be one value, those of a
     * fused add never are. */
    int in[DDP_OP_MAX_IN];
    int out; /* value; -1: a loss */
    enum ddp_grad din[DDP_OP_MAX_IN];
    bool synced;                   /* statistics in the middle, over all shards of all ranks */
    int tensor[DDP_OP_MAX_PARAMS]; /* in the flat layout */
    int64_t lo, hi; /* what its backward makes final: its trained tensors, whole blocks. None: lo == hi */
    struct ddp_life saved[2]; /* [training]: of what its forward leaves for its backward */
};

struct ddp_stages {
    struct ddp_shape input;
    int batch; /* of a shard */
    int nstages, nvalues, ndata, nbackward;
    const struct ddp_stage *stage;
    const struct ddp_value *value;
    const int *data;     /* [ndata] values that are loaded: the input as pictures, features, or both */
    const int *backward; /* [nbackward] stages in the order of their backward */
    bool synced;         /* some stage is */
    const struct ddp_flat *flat;
};

struct ddp_model;
const struct ddp_stages *ddp_model_stages(const struct ddp_model *m);

bool ddp_shape_equal(struct ddp_shape a, struct ddp_shape b);

#endif
