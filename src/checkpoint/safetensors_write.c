/* Writing safetensors files, and the hash over tensors. */
#include "checkpoint/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/private.h"

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct ddp_st_tensor *const *)a)->name,
                  (*(const struct ddp_st_tensor *const *)b)->name);
}

/* In the data, wide elements come first: then each tensor is aligned to its elements, which readers that view
 * the file in place (PyTorch's) insist on. */
static int by_width(const void *a, const void *b)
{
    const struct ddp_st_tensor *x = *(const struct ddp_st_tensor *const *)a,
                               *y = *(const struct ddp_st_tensor *const *)b;
    size_t wx = ddp_dtype_bytes(x->dtype), wy = ddp_dtype_bytes(y->dtype);
    return wx != wy ? (wx < wy ? 1 : -1) : strcmp(x->name, y->name);
}

static const struct ddp_st_tensor **sorted(const struct ddp_st_tensor *t, int n,
                                           int (*compare)(const void *, const void *))
{
    const struct ddp_st_tensor **order = ddp_calloc((size_t)n + 1, sizeof(void *));
    for (int i = 0; i < n; i++)
        order[i] = &t[i];
    qsort(order, (size_t)n, sizeof(void *), compare);
    return order;
}

static int check_tensors(const char *path, const struct ddp_st_tensor *const *t, int n, struct ddp_error *err)
{
    for (int i = 0; i < n; i++) {
        size_t bytes;
        if (ddp_dtype_bytes(t[i]->dtype) == 0)
            return ddp_fail(err, DDP_E_USAGE, "%s: tensor '%s' has type '%s'; known are %s", path, t[i]->name,
                            t[i]->dtype, ddp_dtype_names);
        if (t[i]->ndim < 0 || t[i]->ndim > DDP_ST_MAX_DIMS)
            return ddp_fail(err, DDP_E_USAGE, "%s: tensor '%s' has %d dimensions; 0 to %d are possible", path,
                            t[i]->name, t[i]->ndim, DDP_ST_MAX_DIMS);
        if (!ddp_tensor_bytes(t[i], &bytes) || bytes != t[i]->bytes)
            return ddp_fail(err, DDP_E_USAGE, "%s: tensor '%s' has %zu bytes, which its shape does not give",
                            path, t[i]->name, t[i]->bytes);
        if (i > 0 && strcmp(t[i]->name, t[i - 1]->name) == 0)
            return ddp_fail(err, DDP_E_USAGE, "%s: two tensors are named '%s'", path, t[i]->name);
        if (strcmp(t[i]->name, "__metadata__") == 0)
            return ddp_fail(err, DDP_E_USAGE, "%s: no tensor can be named '__metadata__'", path);
    }
    return 0;
}

/* The JSON header, padded with spaces so that the data starts at a multiple of 8.
 * NULL: a name is not UTF-8. */
static char *header_text(const struct ddp_st_tensor *const *name_order,
                         const struct ddp_st_tensor *const *data_order, int n, const char *const *metadata,
                         size_t *bytes)
{
    json_t *root = json_object(), *meta = json_object();
    bool ok = true;
    for (; metadata && metadata[0]; metadata += 2)
        ok = ok && json_object_set_new(meta, metadata[0], json_string(metadata[1])) == 0;
    if (json_object_size(meta) > 0)
        json_object_set(root, "__metadata__", meta);
    /* entries in the order of names first, their offsets in the order of the data then */
    for (int i = 0; i < n; i++)
        ok = ok && json_object_set_new(root, name_order[i]->name, json_object()) == 0;
    size_t at = 0;
    for (int i = 0; ok && i < n; i++) {
        const struct ddp_st_tensor *t = data_order[i];
        json_t *entry = json_object_get(root, t->name), *shape = json_array(), *offsets = json_array();
        for (int d = 0; d < t->ndim; d++)
            json_array_append_new(shape, json_integer(t->dims[d]));
        json_array_append_new(offsets, json_integer((json_int_t)at));
        at += t->bytes;
        json_array_append_new(offsets, json_integer((json_int_t)at));
        json_object_set_new(entry, "dtype", json_string(t->dtype));
        json_object_set_new(entry, "shape", shape);
        json_object_set_new(entry, "data_offsets", offsets);
    }
    char *text = ok ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(meta);
    json_decref(root);
    if (!text)
        return NULL;
    size_t len = strlen(text), padded = (len + 7) / 8 * 8;
    char *out = ddp_malloc(padded + 1);
    memcpy(out, text, len);
    memset(out + len, ' ', padded - len);
    out[padded] = '\0';
    free(text);
    *bytes = padded;
    return out;
}

static void put_u64(uint64_t v, unsigned char out[8])
{
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(v >> (8 * i));
}

static int put(struct ddp_outfile *f, struct ddp_sha256 *h, const void *data, size_t bytes,
               struct ddp_error *err)
{
    ddp_sha256_update(h, data, bytes);
    return ddp_outfile_write(f, data, bytes, err);
}

static int write_file(const char *path, const char *header, size_t header_bytes,
                      const struct ddp_st_tensor *const *order, int n, char hex[65], struct ddp_error *err)
{
    struct ddp_outfile *f;
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    int status = ddp_outfile_create(path, &f, err);
    if (status)
        return status;
    unsigned char length[8];
    put_u64(header_bytes, length);
    status = put(f, &h, length, 8, err);
    if (status == 0)
        status = put(f, &h, header, header_bytes, err);
    for (int i = 0; status == 0 && i < n; i++)
        if (order[i]->bytes > 0)
            status = put(f, &h, order[i]->data, order[i]->bytes, err);
    if (status) {
        ddp_outfile_abort(f);
        return status;
    }
    status = ddp_outfile_commit(f, err);
    if (status == 0)
        ddp_sha256_hex(&h, hex);
    return status;
}

int ddp_st_write_hashed(const char *path, const struct ddp_st_tensor *t, int n, const char *const *metadata,
                        char hex[65], struct ddp_error *err)
{
    const struct ddp_st_tensor **name_order = sorted(t, n, by_name), **data_order = NULL;
    char *header = NULL;
    size_t header_bytes = 0;
    int status = check_tensors(path, name_order, n, err);
    if (status)
        goto out;
    data_order = sorted(t, n, by_width);
    header = header_text(name_order, data_order, n, metadata, &header_bytes);
    if (header)
        status = write_file(path, header, header_bytes, data_order, n, hex, err);
    else
        status = ddp_fail(err, DDP_E_USAGE, "%s: a name or a piece of metadata is not UTF-8", path);
out:
    free(header);
    free(data_order);
    free(name_order);
    return status;
}

int ddp_st_write(const char *path, const struct ddp_st_tensor *t, int n, const char *const *metadata,
                 struct ddp_error *err)
{
    char hex[65];
    return ddp_st_write_hashed(path, t, n, metadata, hex, err);
}

static void hash_u64(struct ddp_sha256 *h, uint64_t v)
{
    unsigned char bytes[8];
    put_u64(v, bytes);
    ddp_sha256_update(h, bytes, 8);
}

void ddp_st_hash(const struct ddp_st_tensor *t, int n, char hex[65])
{
    struct ddp_sha256 h;
    const struct ddp_st_tensor **order = sorted(t, n, by_name);
    ddp_sha256_init(&h);
    for (int i = 0; i < n; i++) {
        ddp_sha256_update(&h, order[i]->name, strlen(order[i]->name) + 1);
        ddp_sha256_update(&h, order[i]->dtype, strlen(order[i]->dtype) + 1);
        hash_u64(&h, (uint64_t)order[i]->ndim);
        for (int d = 0; d < order[i]->ndim; d++)
            hash_u64(&h, (uint64_t)order[i]->dims[d]);
        if (order[i]->bytes > 0)
            ddp_sha256_update(&h, order[i]->data, order[i]->bytes);
    }
    ddp_sha256_hex(&h, hex);
    free(order);
}
