/* The face of src/model: a graph of layers built from config, its shapes, flat layout and memory plan. The
 * same on every rank, a pure function of config and data shape; what runs it is in src/engine. */
#ifndef DDP_MODEL_H
#define DDP_MODEL_H

#include "ops/ops.h"
#include "config/config.h"
#include "data/data.h"
#include "model/flat.h"

struct ddp_model;

/* How what runs a model wants it. */
enum ddp_model_form {
    DDP_MODEL_FOR_HOST,   /* weights of convolutions in DDP_LAYOUT_CONV; memory planned here */
    DDP_MODEL_FOR_DEVICE, /* they lie in DDP_LAYOUT_KRSC; the device's pass plans its memory */
};

/* Build from cfg->model.layers: a list of groups {type = "conv2d", name = "conv1", input = "..." or ["a",
 * "b"], keys of the op...}. Without input a layer follows the one before it; the first reads the data. Errors
 * name the layer, what came in and what was wanted, with file and line. shard_batch: ceil(batch / shards).
 * cfg must outlive the model. */
int ddp_model_create(struct ddp_config *cfg, struct ddp_shape input, int outputs, int shard_batch,
                     enum ddp_model_form form, struct ddp_model **out, struct ddp_error *err);
void ddp_model_destroy(struct ddp_model *m); /* NULL is fine */

/* The faults of cfg->model.layers that show without the data: types, names, keys, inputs. All of them are
 * added to err. open: types that are not known here may be those of another program; *known: whether there
 * are none of these, and no faults, so that the model can be made. */
int ddp_model_check_layers(struct ddp_config *cfg, bool open, bool *known, struct ddp_error *err);

const struct ddp_flat *ddp_model_flat(const struct ddp_model *m);
int64_t ddp_model_parameters(const struct ddp_model *m); /* trained, plain count */
double ddp_model_flops(const struct ddp_model *m);       /* forward, per sample */
/* Layer, output shape, parameters, FLOPs, memory: a table, of lines shorter than `columns` where that is not
 * 0: columns of it are left out then, and long names cut. malloc'd. */
char *ddp_model_summary(const struct ddp_model *m, int columns);
bool ddp_model_needs_sync(
    const struct ddp_model *m); /* has synchronised batch norm: shards must run side by side */

/* Initial values from Philox keyed by (seed, tensor name, plain element). params: [flat total]. */
void ddp_model_init(const struct ddp_model *m, uint64_t seed, float *params);

/* Running statistics: params[lo, hi) updated from the summed leaves sum[0, hi-lo). count: samples in the
 * global batch, cut into `shards` shards evenly. [lo, hi) within [flat.stats, flat.metrics). */
void ddp_model_apply_stats(const struct ddp_model *m, int64_t count, int shards, int64_t lo, int64_t hi,
                           const float *sum, float *params);

/* Whether every shard of a global batch of `count` samples, cut into `shards` evenly, can train the model:
 * DDP_E_SHAPE where one would give a batch norm over the shard a single value per channel. The error names
 * the layer and the ways out. */
int ddp_model_check_batch(const struct ddp_model *m, int64_t count, int shards, struct ddp_error *err);

/* What --help-config and --help-layers print: of the keys that begin with `key`, or of the layer type `key`;
 * NULL: all. DDP_E_USAGE: there is none, and which is nearest. *out is malloc'd. */
int ddp_reference(bool layers, const char *key, bool markdown, char **out, struct ddp_error *err);
/* The reference of layer types: all, or one (empty text when it is unknown); malloc'd. */
char *ddp_layers_help(const char *type, bool markdown);

#endif
