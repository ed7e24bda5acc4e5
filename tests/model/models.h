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

#include "model/exec.h"

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

/* A pass over shards of random pictures: everything that a test looks at. */
enum { MAX_SHARDS = 4 };
struct pass {
    const struct ddp_model *m;
    int nshards;
    struct ddp_shard shard[MAX_SHARDS];
    float *params, *leaf[MAX_SHARDS];
    float loss[MAX_SHARDS];
    int64_t correct[MAX_SHARDS];
    uint8_t *reported; /* [blocks][MAX_SHARDS]: times that ready() was called */
};
/* n: samples of each shard; they are numbered on from shard to shard. params: initial values of seed 7. */
struct pass *pass_create(const struct ddp_model *m, int nshards, const int *n);
void pass_destroy(struct pass *p);
/* Forward and backward with `resident` shards at a time; every leaf starts full of nan. */
void pass_run(struct pass *p, int resident, struct ddp_pool *pool);
/* Sums leaves in order: what conf.sync of these tests does. ctx: int *, the number of shards. */
int sum_leaves(void *ctx, int width, const float *leaves, float *out, struct ddp_error *err);
void pass_ready(void *ctx, int i, int64_t lo, int64_t hi);

float random_uniform(uint32_t index, uint32_t stream); /* in [-1, 1) */

#endif
