/* Private to src/engine/cpu: what the engine of a machine without accelerators holds.
 *
 *   engine.c   its life: passes, reduction, what they take; what it says of itself
 *   step.c     one step
 *   state.c    the host's state, from node to node
 *   eval.c     the held-out pass
 *
 * It computes on the host's state in place: parameters are read by all ranks of a node, written by the owner
 * of a slice. */
#ifndef DDP_ENGINE_CPU_PRIVATE_H
#define DDP_ENGINE_CPU_PRIVATE_H

#include "engine/cpu/pass.h"
#include "engine/private.h"

struct ddp_cpu_engine {
    struct ddp_engine base;
    struct ddp_cpu_pages pages; /* both passes', in turn */
    struct ddp_cpu_pass *train, *eval;
    struct ddp_reduce *reduce;
    struct ddp_small *small; /* NULL without synchronised layers */
    int resident;            /* shards in memory side by side */

    /* the step at hand */
    const struct ddp_batch *batch;
    int group;    /* first of my shards that is in memory */
    float **leaf; /* [resident] where backward writes */
    float *loss;  /* [my shards] */
    int64_t *correct;
    struct ddp_engine_result result;
    double synced; /* seconds in sums of synchronised layers, since create */
    char bad[256]; /* the first tensor that is not finite */

    float *eval_loss; /* [batches][eval shards] */
    int32_t *eval_correct;
    float *eval_error;
};

int ddp_cpu_upload(struct ddp_engine *base, struct ddp_error *err);
int ddp_cpu_download(struct ddp_engine *base, struct ddp_error *err);

bool ddp_cpu_own_sums(struct ddp_engine *base, int64_t i, struct ddp_range *blocks, const float **sum);

int ddp_cpu_enqueue(struct ddp_engine *base, const struct ddp_batch *batch, int64_t step,
                    struct ddp_error *err);
int ddp_cpu_collect(struct ddp_engine *base, struct ddp_engine_result *out, struct ddp_error *err);

int ddp_cpu_eval_begin(struct ddp_engine *base, struct ddp_error *err);
int ddp_cpu_eval(struct ddp_engine *base, const struct ddp_batch *batch, int64_t index,
                 struct ddp_error *err);
int ddp_cpu_eval_end(struct ddp_engine *base, struct ddp_engine_eval *out, struct ddp_error *err);
void ddp_cpu_find_bad(struct ddp_engine *base, bool training, int64_t step, const struct ddp_batch *batch,
                      int shard, char *text, int size);

#endif
