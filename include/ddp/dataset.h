/* For authors of data-set formats: the table to fill in (examples/dataset). */
#ifndef DDP_DATASET_H
#define DDP_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ddp/error.h"
#include "ddp/key.h"
#include "ddp/shape.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ddp_split { DDP_SPLIT_TRAIN, DDP_SPLIT_TEST };

struct ddp_dataset_info {
    int64_t count;
    struct ddp_shape shape; /* pictures: uint8 planes [c, h, w] */
    int classes;
    const char *const *class_names; /* [classes] or NULL; owned by the data set */
    int targets; /* > 0: so many real numbers are to be predicted in place of a class, and classes is 0 */
    bool real; /* [c, h, w] real numbers in place of pictures: any c, scaled each by itself, not augmented */
    const char *const *input_names, *const *target_names; /* [c], [targets], or NULL */
    double mean[4], std[4]; /* of each channel, where full scale is 1: what normalise uses by default */
    int64_t left_out;       /* other files beside those of the samples, which were passed over */
};

/* What open() gets: the `data` group, already checked. Strings live as long as the data set. */
struct ddp_dataset_conf {
    const char *format;       /* the data set's own name, as registered */
    const char *root;         /* data.root, or DDP_DATA_DIR, or "data" */
    const char *path;         /* data.path: absolute where it was found, else under root; "": not set */
    const char *beside;       /* not found: the folder where it was looked for as well; NULL: none */
    struct ddp_strings files; /* data.files */
    int64_t train_count, test_count;    /* built-in data: how many; else 0 */
    uint64_t seed;                      /* data.seed: of generated data only */
    struct ddp_strings inputs, targets; /* data.inputs, data.targets: columns of tables; n 0: not said */
    bool verify;                        /* data.verify: check checksums over all bytes at start */
    struct ddp_shape shape;             /* data.shape, data.classes: of noise only */
    int classes;
    bool glance; /* info() is all that is asked of it: what takes time beyond that may be left undone */
    /* NULL, or for an open() that fails: the split whose files are at fault where it is not the one asked
     * for, or -1: none by itself. Errors of DDP_E_CONFIG name no split anyway. */
    int *at_fault;
};

struct ddp_dataset_ops {
    const char *name; /* "idx": `format = "idx"` in a data group */
    const char *doc;
    /* Open one split. *out is private to the data set. */
    int (*open)(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out, struct ddp_error *err);
    /* Describe it; strings and arrays in *info stay valid until close. */
    void (*info)(const void *ds, struct ddp_dataset_info *info);
    /* Write sample `index` as uint8 planes [c, h, w] and its label. Called from several threads at once. */
    int (*get)(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err);
    /* In place of get() where info says real or targets: x is uint8 planes or, with real, floats [c, h, w];
     * y is an int32_t label or, with targets, floats [targets]. */
    int (*get_real)(const void *ds, int64_t index, void *x, void *y, struct ddp_error *err);
    /* SHA-256 over all decoded pixels and labels in order, or of the source files where decoding is exact:
     * text of 64 hex digits. It identifies the data in run.json. */
    int (*digest)(const void *ds, char hex[65], struct ddp_error *err);
    void (*close)(void *ds);
    /* Optional: the label alone, where that is less work than get(). */
    int (*label)(const void *ds, int64_t index, int32_t *label, struct ddp_error *err);
    /* Optional: the path of the i-th file that the split is read from; NULL after the last. A look at parts
     * of them stands for digest() where hosts are compared before a start. */
    const char *(*file)(const void *ds, int i);
};

/* SHA-256 of bytes as text, for digest(). */
DDP_API void ddp_sha256_text(const void *data, size_t bytes, char hex[65]);

/* Make a data set format known by its name; before a config is read. */
DDP_API int ddp_dataset_register(const struct ddp_dataset_ops *ops, struct ddp_error *err);

#ifdef __cplusplus
}
#endif
#endif
