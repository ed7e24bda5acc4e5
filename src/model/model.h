/* The face of src/model: a graph of layers built from config, its shapes, flat layout and memory plan (struct
 * ddp_model: the same on every rank, pure function of config and data shape), and what runs it (struct
 * ddp_exec: one rank's memory). */
#ifndef DDP_MODEL_H
#define DDP_MODEL_H

#include "ops/ops.h"
#include "config/config.h"
#include "data/data.h"
#include "model/flat.h"

struct ddp_model;

/* Build from cfg->model.layers: a list of groups {type = "conv2d", name = "conv1", input = "..." or ["a",
 * "b"], keys of the op...}. Without input a layer follows the one before it; the first reads the data. Errors
 * name the layer, what came in and what was wanted, with file and line. shard_batch: ceil(batch / shards).
 * cfg must outlive the model. cfg->device, decided by then, says for which device: on DDP_DEVICE_CUDA weights
 * lie in DDP_LAYOUT_KRSC. */
int ddp_model_create(struct ddp_config *cfg, struct ddp_shape input, int classes, int shard_batch,
                     struct ddp_model **out, struct ddp_error *err);
void ddp_model_destroy(struct ddp_model *m); /* NULL is fine */

const struct ddp_flat *ddp_model_flat(const struct ddp_model *m);
int64_t ddp_model_parameters(const struct ddp_model *m); /* trained, plain count */
double ddp_model_flops(const struct ddp_model *m);       /* forward, per sample */
/* Layer, output shape, parameters, FLOPs, memory: a table. malloc'd. */
char *ddp_model_summary(const struct ddp_model *m);
bool ddp_model_needs_sync(
    const struct ddp_model *m); /* has synchronised batch norm: shards must run side by side */
/* Private bytes that ddp_exec_create will take. */
size_t ddp_model_exec_bytes(const struct ddp_model *m, int resident, bool training);

/* Initial values from Philox keyed by (seed, tensor name, plain element). params: [flat total]. */
void ddp_model_init(const struct ddp_model *m, uint64_t seed, float *params);

/* Running statistics: params[lo, hi) updated from the summed leaves sum[0, hi-lo). count: samples in the
 * global batch, cut into `shards` shards evenly. [lo, hi) within [flat.stats, flat.metrics). */
void ddp_model_apply_stats(const struct ddp_model *m, int64_t count, int shards, int64_t lo, int64_t hi,
                           const float *sum, float *params);

/* The reference of layer types: all, or one (empty text when it is unknown); malloc'd. */
char *ddp_layers_help(const char *type, bool markdown);

/* ---- running it ---- */

struct ddp_exec;

struct ddp_exec_conf {
    bool training;
    int resident; /* shards in memory side by side: 1, or all of the rank's when the model needs sync */
    uint64_t seed;
    struct ddp_pool *pool;
    /* For synchronised layers: sum `leaves` [nshards][width] over all shards of all ranks into out [width].
     */
    int (*sync)(void *ctx, int width, const float *leaves, float *out, struct ddp_error *err);
    void *sync_ctx;
};

int ddp_exec_create(const struct ddp_model *m, const struct ddp_exec_conf *conf, struct ddp_exec **out,
                    struct ddp_error *err);
void ddp_exec_destroy(struct ddp_exec *e);

/* Forward of shards[0..n-1] (n <= resident), params [flat total] on 64 bytes. loss[i], correct[i]: sums over
 * the shard (0 when empty). global_count: samples in the global batch. */
int ddp_exec_forward(struct ddp_exec *e, const float *params, const struct ddp_shard *shards, int n,
                     int64_t epoch, int64_t global_count, float *loss, int64_t *correct,
                     struct ddp_error *err);
/* Backward of the same shards. leaf[i]: [flat total] on 64 bytes, every element of the tensors and statistics
 * is written, the padding zeroed; ready(ctx, i, lo, hi) is called when whole blocks of leaf i are final and
 * their parameters are no longer read; the metrics block is reported by the caller. */
typedef void (*ddp_exec_ready_fn)(void *ctx, int i, int64_t lo, int64_t hi);
int ddp_exec_backward(struct ddp_exec *e, const float *params, float *const *leaf, int n,
                      ddp_exec_ready_fn ready, void *ctx, struct ddp_error *err);
/* After a loss that is not finite: the first tensor in forward order (parameters, inputs, outputs of each
 * layer) of resident shard i that holds a value that is not finite, as text: "output of layer 'conv2' at
 * [n=3, c=5, y=1, x=0] is nan". */
void ddp_exec_find_bad(const struct ddp_exec *e, const float *params, int i, char *text, int size);
/* Pieces of such a text, which every device words alike. Of x: "nan", "inf" or "-inf". Of a tensor with its
 * elements `values` in any layout: "parameter 'fc.weight' holds nan (...)"; false when all are finite. */
const char *ddp_model_bad_kind(float x);
bool ddp_model_bad_param(const struct ddp_flat_tensor *t, const float *values, char *text, int size);
/* Features that went into the loss for resident shard i, plain [n][classes]: predictions for evaluation and
 * tests. */
void ddp_exec_output(const struct ddp_exec *e, int i, float *out);

#endif
