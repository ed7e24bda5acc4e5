/* Forward and backward of one rank's shards on the CPU: the graph of src/model run through the ops of
 * src/ops.
 *
 * One shard after the other, or, where a layer is synchronised over the global batch, stage by stage over
 * all shards of the rank, whose bits are the same. Nothing is allocated after create. */
#ifndef DDP_CPU_PASS_H
#define DDP_CPU_PASS_H

#include "engine/pass.h"

struct ddp_cpu_pass;

/* Memory that passes take turns in, training and evaluation: only one of them is between its forward and what
 * follows from it. Zeroed to begin with; finish it after the passes. */
struct ddp_cpu_pages {
    char *at;
    size_t bytes;
    const void *holder; /* whose pass wrote in it last; NULL: it is all zeros */
};
/* Errors: DDP_E_RESOURCE. Nothing is in memory before it is written. */
int ddp_cpu_pages_init(struct ddp_cpu_pages *pages, size_t bytes, struct ddp_error *err);
void ddp_cpu_pages_finish(struct ddp_cpu_pages *pages);

struct ddp_cpu_pass_conf {
    struct ddp_cpu_pages *pages; /* of ddp_cpu_pass_bytes() or more, borrowed; NULL: the pass has its own */
    bool training;
    int resident; /* shards in memory side by side: 1, or all of the rank's when the model needs sync */
    uint64_t seed;
    struct ddp_pool *pool;
    /* For synchronised layers: sum `leaves` [nshards][width] over all shards of all ranks into out [width];
     * 0 or a code. */
    int (*sync)(void *ctx, int width, const double *leaves, double *out, struct ddp_error *err);
    void *sync_ctx;
};

/* Errors: DDP_E_USAGE, DDP_E_RESOURCE no memory. */
int ddp_cpu_pass_create(const struct ddp_model *m, const struct ddp_cpu_pass_conf *conf,
                        struct ddp_cpu_pass **out, struct ddp_error *err);
void ddp_cpu_pass_destroy(struct ddp_cpu_pass *p); /* NULL is fine */
/* Bytes of pages that it wants. */
size_t ddp_cpu_pass_bytes(const struct ddp_model *m, int resident, bool training);

/* Forward of shards[0..n-1] (n <= resident), params [flat total] on 64 bytes. loss[i], correct[i]: sums over
 * the shard (0 when empty). global_count: samples in the global batch. */
int ddp_cpu_pass_forward(struct ddp_cpu_pass *p, const float *params, const struct ddp_shard *shards, int n,
                         int64_t epoch, int64_t global_count, float *loss, int64_t *correct,
                         struct ddp_error *err);
/* Backward of the same shards. leaf[i]: [flat total] on 64 bytes, every element of the tensors and statistics
 * is written, the padding zeroed; the metrics block is the caller's. ready: NULL when nobody asks. */
int ddp_cpu_pass_backward(struct ddp_cpu_pass *p, const float *params, float *const *leaf, int n,
                          ddp_pass_ready_fn ready, void *ctx, struct ddp_error *err);

/* From now on all that the ops compute is told to `probe` (NULL: to nobody), as of shards first, first + 1,
 * .. */
struct ddp_probe;
void ddp_cpu_pass_tell(struct ddp_cpu_pass *p, struct ddp_probe *probe, int first);

/* After the forward of a loss that is not finite, before any backward: the first tensor in forward order
 * (parameters, inputs, outputs of each layer) of resident shard i that holds a value that is not finite, as
 * text: "output of layer 'conv2' at [n=3, c=5, y=1, x=0] is nan". */
void ddp_cpu_pass_find_bad(const struct ddp_cpu_pass *p, const float *params, int i, char *text, int size);
/* With real targets: the sum of mean absolute errors over shard i of that forward. */
float ddp_cpu_pass_error(const struct ddp_cpu_pass *p, int i);

/* Features that went into the loss for resident shard i, plain [n][classes]: predictions for evaluation and
 * tests. */
void ddp_cpu_pass_output(const struct ddp_cpu_pass *p, int i, float *out);

#endif
