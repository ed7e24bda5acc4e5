/* What the files of src/checkpoint share. */
#ifndef DDP_CHECKPOINT_PRIVATE_H
#define DDP_CHECKPOINT_PRIVATE_H

#include "base/base.h"
#include "checkpoint/checkpoint.h"

#define DDP_MODEL_FILE   "model.safetensors"
#define DDP_OPTIM_FILE   "optimizer.safetensors"
#define DDP_AVERAGE_FILE "model_ema.safetensors"
#define DDP_STATE_FILE   "state.json"

/* ---- dtype.c --------------------------------------------------------------------------------- */

/* Bytes of one element, 0 for a type that the format does not have. */
size_t ddp_dtype_bytes(const char *dtype);
/* All types, for error messages. */
extern const char ddp_dtype_names[];
/* Product of dims times the element's bytes into *bytes; false when it does not fit. */
bool ddp_tensor_bytes(const struct ddp_st_tensor *t, size_t *bytes);
/* "F32 [64, 3, 3, 3]" */
void ddp_tensor_text(const struct ddp_st_tensor *t, char *buf, int size);
bool ddp_tensor_same_shape(const struct ddp_st_tensor *a, const struct ddp_st_tensor *b);
/* Elements of a floating-point tensor as floats; false for other types. */
bool ddp_tensor_floats(const struct ddp_st_tensor *t, float *out);
/* DDP_E_NUMERIC: a floating-point tensor of the list holds a value that is not finite; the error names the
 * first such tensor and says how much of it. */
int ddp_tensors_finite(const struct ddp_st_tensor *const *t, int n, struct ddp_error *err);

/* ddp_st_write that also gives the SHA-256 of what was written. */
int ddp_st_write_hashed(const char *path, const struct ddp_st_tensor *t, int n, const char *const *metadata,
                        char hex[65], struct ddp_error *err);

/* ---- plain.c: a model's tensors as files have them ------------------------------------------- */

struct ddp_plain_tensor {
    struct ddp_st_tensor st; /* data: of a snapshot, else NULL */
    int flat;                /* index in ddp_flat.tensor; -1: num_batches_tracked */
    int array;               /* index of an optimizer array; -1: the parameters */
    char name[192];
};

struct ddp_plain {
    int n;
    struct ddp_plain_tensor *t;
    int64_t floats; /* of all tensors that have a flat index */
};

/* Parameters and running statistics in the model's order, with LAYER.num_batches_tracked behind the
 * statistics of a layer. */
struct ddp_plain ddp_plain_model(const struct ddp_flat *flat);
/* "TENSOR.array" of each trained tensor. o NULL: none. */
struct ddp_plain ddp_plain_optim(const struct ddp_flat *flat, struct ddp_optim *o);
void ddp_plain_finish(struct ddp_plain *p);
/* The tensors alone, for ddp_st_write; free() it. */
struct ddp_st_tensor *ddp_plain_list(const struct ddp_plain *p);

/* ---- snapshot.c ------------------------------------------------------------------------------ */

const struct ddp_train_state *ddp_snapshot_state(const struct ddp_snapshot *s);
/* Its files into `folder`, with their hashes; average_hex "": there is no average. */
int ddp_snapshot_write(const struct ddp_snapshot *s, const char *folder, char model_hex[65],
                       char optim_hex[65], char average_hex[65], struct ddp_error *err);

/* ---- state.c --------------------------------------------------------------------------------- */

struct ddp_state_file {
    struct ddp_train_state state;
    bool best;
    char weights_hash[65];
    char model_sha256[65], optim_sha256[65]; /* of the two files */
    char average_sha256[65];                 /* of model_ema.safetensors; "": there is none */
};

/* malloc'd text of state.json. */
char *ddp_state_text(const struct ddp_state_file *s);
int ddp_state_parse(const char *path, const char *text, size_t bytes, struct ddp_state_file *out,
                    struct ddp_error *err);

/* ---- folder.c -------------------------------------------------------------------------------- */

enum ddp_folder_kind {
    DDP_FOLDER_STEP, /* step-00000500 */
    DDP_FOLDER_OLD,  /* step-00000500.old-PID: complete; was being replaced when its writer died */
    DDP_FOLDER_TMP,  /* step-00000500.tmp-PID: incomplete */
};

struct ddp_folder {
    enum ddp_folder_kind kind;
    int64_t step;
    char name[64];
};

/* What checkpoints lie in dir, newest first. A missing dir has none. *out malloc'd. */
int ddp_folder_list(const char *dir, struct ddp_folder **out, int *n, struct ddp_error *err);
/* DIR/NAME, malloc'd. */
char *ddp_folder_path(const char *dir, const char *name);
/* Read state.json, and check both files against it. */
int ddp_folder_state(const char *folder, struct ddp_state_file *out, struct ddp_error *err);
int ddp_folder_verify(const char *folder, struct ddp_state_file *out, struct ddp_error *err);

#endif
