/* A small model made by hand, a stream of gradients, and what runs an optimizer over them: shared by the
 * tests here. */
#ifndef TESTS_OPTIM_PROBLEM_H
#define TESTS_OPTIM_PROBLEM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "optim/optim.h"

/* conv.weight [10000] in 3 blocks, conv.bias [48] (no decay) in 1, fc.weight [8192] in 2 whole ones, fc.bias
 * [16] (no decay), then a block of statistics and one of metrics. */
enum { TENSORS = 4, BLOCKS = 7, TRAINED = BLOCKS * DDP_BLOCK, TOTAL = TRAINED + 2 * DDP_BLOCK };

struct problem {
    struct ddp_config cfg; /* the defaults of the config table, as far as optim goes */
    struct ddp_flat flat;
    struct ddp_flat_tensor tensor[TENSORS + 1];
    struct ddp_comm *comm;
    float *params; /* [TOTAL] */
    float *sum;    /* [TOTAL] */
    double *values;
    struct ddp_optim *optim;
};

void problem_init(struct problem *p);  /* parameters from Philox, padding zero */
void problem_start(struct problem *p); /* creates the optimizer */
void problem_finish(struct problem *p);

/* The sum of gradients of step `step`, zero in the padding. */
void problem_gradient(struct problem *p, int64_t step);
/* One step of `count` samples over p->sum, the trained blocks cut at cuts[0] < cuts[1]
 * < ... (block numbers). */
void problem_step(struct problem *p, int64_t step, int64_t count, const int *cuts, int ncuts);

/* SHA-256 of parameters and state. */
void problem_hash(struct problem *p, char hex[65]);

#endif
