/* A model made by hand: what src/checkpoint sees of one is its flat layout. */
#ifndef TESTS_CHECKPOINT_TOY_MODEL_H
#define TESTS_CHECKPOINT_TOY_MODEL_H

#include "checkpoint/checkpoint.h"
#include "scratch.h"

enum { TOY_TENSORS = 7, TOY_TRAINED = 5 };

struct ddp_model {
    struct ddp_flat flat;
    struct ddp_flat_tensor tensor[TOY_TENSORS];
};

struct toy {
    struct ddp_model model;
    struct ddp_config cfg;
    struct ddp_comm *comm;
    struct ddp_optim *optim;
    float *params;
    struct ddp_train_state state;
};

/* classes: outputs of the last layer (10). optim: DDP_OPTIM_ kind. seed: other values. */
void toy_init(struct toy *t, int classes, int optim, uint32_t seed);
void toy_finish(struct toy *t);
/* Parameters and optimizer state become functions of seed; zero in the padding. */
void toy_fill(struct toy *t, uint32_t seed);
/* SHA-256 of parameters and optimizer state, statistics included. */
void toy_hash(struct toy *t, char hex[65]);
/* Take a snapshot and save it as step `step` in the foreground. */
void toy_save(struct toy *t, const char *dir, int64_t step, bool best);

#endif
