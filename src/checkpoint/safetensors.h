/* Safetensors files: an 8-byte little-endian header length, a JSON header {name: {dtype, shape,
 * data_offsets}}, the bytes. https://huggingface.co/docs/safetensors -- readers here check everything before
 * they believe it. */
#ifndef DDP_SAFETENSORS_H
#define DDP_SAFETENSORS_H

#include <stdint.h>

#include "base/base.h"

enum { DDP_ST_MAX_DIMS = 8 };

struct ddp_st_tensor {
    const char *name;
    const char *dtype; /* "F32", "I64", "F64", "U8" ...: as in the format */
    int ndim;
    int64_t dims[DDP_ST_MAX_DIMS];
    const void *data;
    size_t bytes;
};

/* Write n tensors, named in the order of their names (the data lies by falling width of the elements, so that
 * all are aligned), with metadata pairs (key, value, ..., NULL; may be NULL). Complete or absent. */
int ddp_st_write(const char *path, const struct ddp_st_tensor *t, int n, const char *const *metadata,
                 struct ddp_error *err);

struct ddp_st_file;
/* Map and check a file. Tensor data points into the map until close. */
int ddp_st_open(const char *path, struct ddp_st_file **out, struct ddp_error *err);
void ddp_st_close(struct ddp_st_file *f);
int ddp_st_count(const struct ddp_st_file *f);
const struct ddp_st_tensor *ddp_st_at(const struct ddp_st_file *f, int i);
const struct ddp_st_tensor *ddp_st_find(const struct ddp_st_file *f, const char *name); /* NULL: absent */
const char *ddp_st_metadata(const struct ddp_st_file *f, const char *key);              /* NULL: absent */

/* SHA-256 over the tensors sorted by name: name bytes, NUL, dtype bytes, NUL, ndim as uint64 LE, each dim as
 * uint64 LE, the data bytes. run.json's weights_hash; scripts/weights-hash recomputes it. */
void ddp_st_hash(const struct ddp_st_tensor *t, int n, char hex[65]);

#endif
