/* A model computed layer by layer in double, from its config's meaning: no fusing, no layouts, no plan. What
 * the passes of src/engine are compared with. */
#ifndef DDP_TESTS_REFERENCE_H
#define DDP_TESTS_REFERENCE_H

#include "model/graph.h"

/* Shards of a global batch: samples lie behind each other in `pixels` [n][c][h][w] and `label`. */
struct reference_batch {
    int nshards;
    const int *n;
    const double *pixels;
    const int32_t *label;
};

/* Sum of the losses in training. plain[i]: elements of flat tensor i in its plain layout. Layers: those of
 * random_graph() without dropout. */
double reference_loss(const struct ddp_model *m, const double *const *plain, const struct reference_batch *b);

#endif
