/* Private to src/model: the graph between config and execution.
 *
 *   layer.c   config      -> layers: op, name, own keys, names of inputs
 *   graph.c   names       -> producers (always earlier layers, so there are no cycles)
 *   shape.c   op->plan    -> shapes, parameters, order of each layer's output
 *   fuse.c    layers      -> stages: what one call of an op does, with ReLU and residual add taken along
 *   value.c   stages      -> values: activations, and in which order they lie
 *   flat.c    stages      -> flat layout
 *   stages.c  all of that -> the plan of a pass (stages.h), which is what everybody else reads
 *
 * All of it is a pure function of config and data shape. */
#ifndef DDP_MODEL_GRAPH_H
#define DDP_MODEL_GRAPH_H

#include "model/model.h"
#include "model/stages.h"

/* A layer as the config has it. */
struct ddp_layer {
    const char *name;
    const struct ddp_op *op; /* NULL: not known, and the model goes no further than ddp_graph_connect */
    void *conf;
    const struct ddp_node *node; /* where it was written */
    int nin;
    int in[DDP_OP_MAX_IN];                 /* producing layer, or DDP_DATA */
    struct ddp_shape shape[DDP_OP_MAX_IN]; /* what comes in */
    struct ddp_layer_plan plan;
    enum ddp_order order; /* of its output */
    bool keeps;     /* a flatten whose output has the shape of what comes in: nobody can tell, see shape.c */
    bool shapeless; /* its plan, or that of one before it, was refused */
    int consumers;  /* inputs of other layers that read it */
    int host;       /* layer whose call does this one's work: itself unless fused */
};

struct ddp_model {
    struct ddp_arena *arena;
    struct ddp_shape input;
    int classes, batch; /* batch: of a shard */
    bool targets;       /* classes counts real targets */
    bool mixes;         /* samples have two labels in training (data.mixup) */
    bool gpu;           /* weights lie as a GPU wants them */
    bool open;          /* types that are not known here are another program's own */
    int nlayers, nstages, nvalues;
    struct ddp_layer *layer;
    struct ddp_stage *stage;
    struct ddp_value *value;
    struct ddp_flat flat;
    struct ddp_stages stages; /* what others see of the above */
};

/* Tests switch single decisions off: results must not depend on them. */
enum {
    DDP_BUILD_NO_FUSE = 1,
    DDP_BUILD_NO_ALIAS = 2,
    DDP_BUILD_NO_REUSE = 4,
    DDP_BUILD_GPU = 8,
    DDP_BUILD_NO_OVER = 16,
};

/* ddp_model_create with such flags; DDP_BUILD_GPU is DDP_MODEL_FOR_DEVICE. */
int ddp_model_build(struct ddp_config *cfg, struct ddp_shape input, int outputs, int shard_batch,
                    unsigned flags, struct ddp_model **out, struct ddp_error *err);

/* The steps, in this order; each reads what those before it have filled in. The first three add all faults
 * that they find to err, which is not NULL, and return its code; connect finds what it can where read found
 * faults. */
int ddp_graph_read(struct ddp_model *m, struct ddp_config *cfg, struct ddp_error *err); /* layer.c */
int ddp_graph_connect(struct ddp_model *m, struct ddp_error *err);                      /* graph.c */
int ddp_graph_shapes(struct ddp_model *m, struct ddp_error *err);                       /* shape.c */
void ddp_graph_fuse(struct ddp_model *m, bool enable, bool pools);                      /* fuse.c */
void ddp_graph_values(struct ddp_model *m, bool alias);                                 /* value.c */
void ddp_graph_flat(struct ddp_model *m);                                               /* flat.c */
void ddp_graph_stages(struct ddp_model *m, bool reuse, bool over);                      /* stages.c */
void ddp_graph_spare(struct ddp_model *m); /* spare.c; of stages whose gradients are shared out */

/* "configs/model/x.cfg:12: layer 'conv2' (conv2d)": how every message about a layer begins. Returns buf. */
char *ddp_layer_where(const struct ddp_layer *l, char *buf, int size);
/* "32x26x26". buf of at least 40 bytes; returns buf. */
char *ddp_shape_text(struct ddp_shape s, char *buf);

bool ddp_layer_is(const struct ddp_layer *l, const char *type);

#endif
