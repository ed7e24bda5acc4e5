/* Private to src/model: the graph between config and execution.
 *
 *   layer.c   config      -> layers: op, name, own keys, names of inputs
 *   graph.c   names       -> producers (always earlier layers, so there are no cycles)
 *   shape.c   op->plan    -> shapes, parameters, order of each layer's output
 *   fuse.c    layers      -> stages: what one call of an op does, with ReLU and residual add taken along
 *   value.c   stages      -> values: activations (and their gradients) with order, halo and consumers
 *   flat.c    stages      -> flat layout
 *   memory_plan.c values  -> where everything lies in a rank's memory
 *
 * All of it is a pure function of config and data shape. */
#ifndef DDP_MODEL_GRAPH_H
#define DDP_MODEL_GRAPH_H

#include "model/memory_plan.h"
#include "model/model.h"

enum { DDP_DATA = -1 }; /* as a producer: the graph's input */

enum ddp_order { DDP_ORDER_PICTURES, DDP_ORDER_FEATURES };

/* A layer as the config has it. */
struct ddp_layer {
    const char *name;
    const struct ddp_op *op;
    void *conf;
    const struct ddp_node *node; /* where it was written */
    int nin;
    int in[DDP_OP_MAX_IN];                 /* producing layer, or DDP_DATA */
    struct ddp_shape shape[DDP_OP_MAX_IN]; /* what comes in */
    struct ddp_layer_plan plan;
    enum ddp_order order; /* of its output */
    int consumers;        /* inputs of other layers that read it */
    int host;             /* layer whose call does this one's work: itself unless fused */
};

/* One call of an op: forward in the order of the array, backward against it. */
struct ddp_stage {
    int layer; /* host */
    int last;  /* layer whose output it writes: the host or the last one fused behind it */
    unsigned fused;
    int nin;
    int in[DDP_OP_MAX_IN];          /* values */
    int out;                        /* value; -1: a loss */
    bool accumulate[DDP_OP_MAX_IN]; /* backward: a later stage has written this gradient already */
    bool backward;                  /* something before or in it wants a gradient */
    int tensor[DDP_OP_MAX_PARAMS];  /* in the flat layout */
    int64_t lo, hi;                 /* flat range of its trained tensors, whole blocks; empty: lo == hi */
};

/* An activation, and where wanted its gradient, of the same shape and order. */
struct ddp_value {
    struct ddp_shape shape;
    enum ddp_order order;
    int halo, grad_halo;
    int stage;    /* producer, DDP_DATA */
    int last_use; /* last stage that reads it */
    bool wants_grad;
};

struct ddp_model {
    struct ddp_arena *arena;
    struct ddp_shape input;
    int classes, batch; /* of a shard */
    bool gpu;           /* weights lie as a GPU wants them */
    int nlayers, nstages, nvalues;
    struct ddp_layer *layer;
    struct ddp_stage *stage;
    struct ddp_value *value;
    struct ddp_flat flat;
    int max_sync;                  /* floats of the widest synchronised layer */
    struct ddp_memory train, eval; /* memory plans with and without training */
};

/* Tests switch single decisions off: results must not depend on them. */
enum { DDP_BUILD_NO_FUSE = 1, DDP_BUILD_NO_ALIAS = 2, DDP_BUILD_NO_REUSE = 4, DDP_BUILD_GPU = 8 };

/* ddp_model_create with such flags; DDP_BUILD_GPU also follows from cfg->device. */
int ddp_model_build(struct ddp_config *cfg, struct ddp_shape input, int classes, int shard_batch,
                    unsigned flags, struct ddp_model **out, struct ddp_error *err);

/* The steps, in this order; each reads what those before it have filled in. */
int ddp_graph_read(struct ddp_model *m, struct ddp_config *cfg, struct ddp_error *err); /* layer.c */
int ddp_graph_connect(struct ddp_model *m, struct ddp_error *err);                      /* graph.c */
int ddp_graph_shapes(struct ddp_model *m, struct ddp_error *err);                       /* shape.c */
void ddp_graph_fuse(struct ddp_model *m, bool enable);                                  /* fuse.c */
void ddp_graph_values(struct ddp_model *m, bool alias);                                 /* value.c */
void ddp_graph_flat(struct ddp_model *m);                                               /* flat.c */

/* "configs/model/x.cfg:12: layer 'conv2' (conv2d)": how every message about a layer begins. Returns buf. */
char *ddp_layer_where(const struct ddp_layer *l, char *buf, int size);
/* "32x26x26". buf of at least 40 bytes; returns buf. */
char *ddp_shape_text(struct ddp_shape s, char *buf);

bool ddp_layer_is(const struct ddp_layer *l, const char *type);
bool ddp_shape_equal(struct ddp_shape a, struct ddp_shape b);

#endif
