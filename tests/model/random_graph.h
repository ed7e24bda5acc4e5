/* Random graphs for the tests of plans and passes: fan-out, equal inputs, flattens that are only names,
 * synchronised layers, odd shapes. */
#ifndef DDP_TESTS_RANDOM_GRAPH_H
#define DDP_TESTS_RANDOM_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "ddp/shape.h"

enum {
    RANDOM_SMOOTH = 1, /* no ReLU, maxima or dropout: finite differences are close */
    RANDOM_SYNC = 2,   /* batch norms may be synchronised */
};

/* The layers of graph `seed`, as config_layers() wants them, and the data that they are for. Overwritten by
 * the next call. */
const char *random_graph(uint32_t seed, unsigned flags, struct ddp_shape *input);

#endif
