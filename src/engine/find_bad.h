/* The search for the first value that is not finite, after a loss that is not: order and words are the same
 * on every device, how a tensor is looked at is the device's. */
#ifndef DDP_ENGINE_FIND_BAD_H
#define DDP_ENGINE_FIND_BAD_H

#include "model/stages.h"

struct ddp_bad_place {
    int n, c, y, x;
    float value;
};

/* A shard whose forward has run. Each returns 0 or a code; what it hands out is good until the next call. */
struct ddp_bad_source {
    /* The first value of activation `value` that is not finite, if there is one. */
    int (*value)(void *ctx, int value, struct ddp_bad_place *at, bool *found, struct ddp_error *err);
    /* Elements [t->size] of a parameter. */
    int (*param)(void *ctx, const struct ddp_flat_tensor *t, const float **values, struct ddp_error *err);
    int (*loss)(void *ctx, float *loss, struct ddp_error *err);
    void *ctx;
};

/* The first tensor in forward order (input; parameters and output of each stage; loss) that holds such a
 * value, as text: "output of layer 'conv2' at [n=3, c=5, y=1, x=0] is nan", "parameter 'fc.weight' holds
 * inf (2 of 840 elements are not finite)". text is set when 0 is returned. */
int ddp_find_bad(const struct ddp_stages *p, bool training, const struct ddp_bad_source *from, char *text,
                 int size, struct ddp_error *err);

#endif
