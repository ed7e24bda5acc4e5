/* Models for the tests of src/model: from the lists in a test's own text and from configs/model. */
#ifndef DDP_TESTS_MODELS_H
#define DDP_TESTS_MODELS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/graph.h"

/* A config whose model has these layers (libconfig text between the parentheses), or a model of configs/. */
struct ddp_config *config_layers(const char *layers);
struct ddp_config *config_named(const char *name);

/* A model that must come out; the config is kept until models_finish(). */
struct ddp_model *model_layers(const char *layers, struct ddp_shape input, int batch, unsigned flags);
struct ddp_model *model_named(const char *name, struct ddp_shape input, int batch, unsigned flags);
void models_finish(void);

/* All models of configs/model, with a shape of data that fits. */
struct shipped {
    const char *name;
    struct ddp_shape input;
    int64_t parameters;
};
extern const struct shipped shipped[];
extern const int nshipped;

/* "conv2d+relu max_pool linear ...": the stages of a model. */
const char *stages_text(const struct ddp_model *m);

float random_uniform(uint32_t index, uint32_t stream); /* in [-1, 1) */

#endif
