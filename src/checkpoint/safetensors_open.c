/* Reading safetensors files: nothing is believed before it was checked. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/private.h"

enum { MAX_HEADER = 100 * 1000 * 1000 }; /* the format's own limit */

struct ddp_st_file {
    const void *map;
    size_t bytes;
    json_t *header; /* owns all names and texts */
    int n;
    struct ddp_st_tensor *t; /* by name */
};

static int bad(const char *path, struct ddp_error *err, const char *what)
{
    return ddp_fail(err, DDP_E_CHECKPOINT, "%s: not a whole safetensors file: %s", path, what);
}

static int bad_tensor(const char *path, const char *name, struct ddp_error *err, const char *what)
{
    return ddp_fail(err, DDP_E_CHECKPOINT, "%s: not a whole safetensors file: tensor '%.128s': %s", path,
                    name, what);
}

/* A JSON integer of at least 0. */
static bool get_size(const json_t *v, int64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = json_integer_value(v);
    return true;
}

static int read_entry(const char *path, const char *name, const json_t *entry, const char *data,
                      size_t data_bytes, struct ddp_st_tensor *t, struct ddp_error *err)
{
    const json_t *dtype = json_object_get(entry, "dtype"), *shape = json_object_get(entry, "shape"),
                 *offsets = json_object_get(entry, "data_offsets");
    if (!json_is_string(dtype) || !json_is_array(shape) || !json_is_array(offsets) ||
        json_object_size(entry) != 3)
        return bad_tensor(path, name, err,
                          "its entry must have 'dtype', 'shape' and 'data_offsets' and nothing else");
    if (ddp_dtype_bytes(json_string_value(dtype)) == 0)
        return ddp_fail(err, DDP_E_CHECKPOINT, "%s: tensor '%.128s' has type '%.32s'; known are %s", path,
                        name, json_string_value(dtype), ddp_dtype_names);
    if (json_array_size(shape) > DDP_ST_MAX_DIMS)
        return bad_tensor(path, name, err, "it has more than 8 dimensions");
    *t = (struct ddp_st_tensor){
        .name = name, .dtype = json_string_value(dtype), .ndim = (int)json_array_size(shape)};
    for (int i = 0; i < t->ndim; i++)
        if (!get_size(json_array_get(shape, (size_t)i), &t->dims[i]))
            return bad_tensor(path, name, err, "a dimension is not a whole number of at least 0");
    int64_t begin, end;
    if (json_array_size(offsets) != 2 || !get_size(json_array_get(offsets, 0), &begin) ||
        !get_size(json_array_get(offsets, 1), &end) || begin > end)
        return bad_tensor(path, name, err, "its offsets are not two numbers that rise");
    if ((uint64_t)end > data_bytes)
        return bad_tensor(path, name, err,
                          "it reaches past the end of the file, which was cut off or is damaged");
    if (!ddp_tensor_bytes(t, &t->bytes) || t->bytes != (size_t)(end - begin))
        return bad_tensor(path, name, err, "its shape and type do not give the bytes between its offsets");
    t->data = data + begin;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct ddp_st_tensor *x = a, *y = b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ddp_st_tensor *)a)->name, ((const struct ddp_st_tensor *)b)->name);
}

/* The tensors must fill the data, side by side. */
static int check_places(const char *path, struct ddp_st_tensor *t, int n, const char *data, size_t data_bytes,
                        struct ddp_error *err)
{
    qsort(t, (size_t)n, sizeof *t, by_place);
    const char *at = data;
    for (int i = 0; i < n; i++) {
        if ((const char *)t[i].data < at)
            return bad_tensor(path, t[i].name, err, "it overlaps another one");
        if ((const char *)t[i].data > at)
            return bad_tensor(path, t[i].name, err, "there are bytes before it that belong to no tensor");
        at += t[i].bytes;
    }
    if (at != data + data_bytes)
        return bad(path, err, "there are bytes at its end that belong to no tensor");
    return 0;
}

static int read_header(const char *path, struct ddp_st_file *f, struct ddp_error *err)
{
    const unsigned char *p = f->map;
    if (f->bytes < 8)
        return bad(path, err, "it has fewer than 8 bytes");
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | p[i];
    if (length > MAX_HEADER)
        return bad(path, err,
                   "its header would be longer than 100 MB (a PyTorch .pt file? convert it with "
                   "safetensors.torch.save_file(model.state_dict(), ...))");
    if (length > f->bytes - 8)
        return bad(path, err, "its header is cut off");
    const char *data = (const char *)p + 8 + length;
    size_t data_bytes = f->bytes - 8 - length;
    json_error_t why;
    f->header = json_loadb((const char *)p + 8, length, JSON_REJECT_DUPLICATES, &why);
    if (!f->header || !json_is_object(f->header))
        return ddp_fail(err, DDP_E_CHECKPOINT,
                        "%s: not a whole safetensors file: its header is no JSON object%s%s", path,
                        f->header ? "" : ": ", f->header ? "" : why.text);
    f->t = ddp_calloc(json_object_size(f->header) + 1, sizeof *f->t);
    const char *name;
    json_t *entry;
    json_object_foreach(f->header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            const char *key;
            json_t *value;
            if (!json_is_object(entry))
                return bad(path, err, "__metadata__ is not an object");
            json_object_foreach(entry, key, value)
                if (!json_is_string(value))
                    return bad(path, err, "__metadata__ holds something that is not a string");
            continue;
        }
        int status = read_entry(path, name, entry, data, data_bytes, &f->t[f->n], err);
        if (status)
            return status;
        f->n++;
    }
    int status = check_places(path, f->t, f->n, data, data_bytes, err);
    if (status)
        return status;
    qsort(f->t, (size_t)f->n, sizeof *f->t, by_name);
    return 0;
}

int ddp_st_open(const char *path, struct ddp_st_file **out, struct ddp_error *err)
{
    struct ddp_st_file *f = ddp_calloc(1, sizeof *f);
    int status = ddp_file_map(path, &f->map, &f->bytes, err);
    if (status == 0)
        status = read_header(path, f, err);
    if (status) {
        ddp_st_close(f);
        return status;
    }
    *out = f;
    return 0;
}

void ddp_st_close(struct ddp_st_file *f)
{
    if (!f)
        return;
    free(f->t);
    json_decref(f->header);
    ddp_file_unmap(f->map, f->bytes);
    free(f);
}

int ddp_st_count(const struct ddp_st_file *f)
{
    return f->n;
}

const struct ddp_st_tensor *ddp_st_at(const struct ddp_st_file *f, int i)
{
    return &f->t[i];
}

const struct ddp_st_tensor *ddp_st_find(const struct ddp_st_file *f, const char *name)
{
    struct ddp_st_tensor key = {.name = name};
    return f->n ? bsearch(&key, f->t, (size_t)f->n, sizeof *f->t, by_name) : NULL;
}

const char *ddp_st_metadata(const struct ddp_st_file *f, const char *key)
{
    return json_string_value(json_object_get(json_object_get(f->header, "__metadata__"), key));
}
