/* A pass on the CPU over shards of random pictures, for the tests of src/engine. */
#ifndef DDP_TESTS_PASSES_H
#define DDP_TESTS_PASSES_H

#include "engine/cpu/pass_private.h"
#include "model/models.h"
#include "ops/ops.h"

/* Everything that a test looks at. */
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
int sum_leaves(void *ctx, int width, const double *leaves, double *out, struct ddp_error *err);
void pass_ready(void *ctx, int i, int64_t lo, int64_t hi);

/* Graphs in which a call reads one value twice, or would if an add were fused or a flatten only a name. */
struct read_twice {
    const char *layers;
    struct ddp_shape input;
};
extern const struct read_twice read_twice[];
extern const int nread_twice;

#endif
