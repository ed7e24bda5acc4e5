/* The element at which two runs part, from values that both kept. */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "probed.h"

/* The tensor in the files of all ranks; NULL: none has it. *file is to be closed. */
static const struct ddp_st_tensor *find(const char *run, int64_t step, const char *name,
                                        struct ddp_st_file **file)
{
    char pattern[2300];
    const struct ddp_st_tensor *t = NULL;
    glob_t found;
    *file = NULL;
    snprintf(pattern, sizeof pattern, "%s/probe/step-%08lld-rank-*.safetensors", run, (long long)step);
    if (glob(pattern, 0, NULL, &found) != 0)
        return NULL;
    for (size_t i = 0; !t && i < found.gl_pathc; i++) {
        if (ddp_st_open(found.gl_pathv[i], file, NULL) != 0)
            continue;
        t = ddp_st_find(*file, name);
        if (!t) {
            ddp_st_close(*file);
            *file = NULL;
        }
    }
    globfree(&found);
    return t;
}

static double read_element(const struct ddp_st_tensor *t, int64_t i, char text[32])
{
    double x = 0;
    if (strcmp(t->dtype, "F32") == 0)
        x = ((const float *)t->data)[i];
    else if (strcmp(t->dtype, "F64") == 0)
        x = ((const double *)t->data)[i];
    else if (strcmp(t->dtype, "I32") == 0)
        x = ((const int32_t *)t->data)[i];
    else if (strcmp(t->dtype, "I64") == 0)
        x = (double)((const int64_t *)t->data)[i];
    snprintf(text, 32, *t->dtype == 'I' ? "%.0f" : "%a", x);
    return x;
}

static bool same_form(const struct ddp_st_tensor *x, const struct ddp_st_tensor *y)
{
    return x->bytes == y->bytes && strcmp(x->dtype, y->dtype) == 0 && x->ndim == y->ndim && x->ndim <= 4 &&
           memcmp(x->dims, y->dims, (size_t)x->ndim * sizeof x->dims[0]) == 0;
}

static bool compare(const struct ddp_st_tensor *x, const struct ddp_st_tensor *y, struct ddp_element *out)
{
    const size_t width = x->dtype[1] == '6' ? 8 : 4;
    out->elements = (int64_t)(x->bytes / width);
    int64_t first = -1;
    for (int64_t i = 0; i < out->elements; i++)
        if (memcmp((const char *)x->data + (size_t)i * width, (const char *)y->data + (size_t)i * width,
                   width) != 0) {
            first = first < 0 ? i : first;
            out->differ++;
        }
    if (first < 0)
        return false;
    out->a = read_element(x, first, out->a_text);
    out->b = read_element(y, first, out->b_text);
    out->integer = *x->dtype == 'I';
    out->ndim = x->ndim;
    for (int d = x->ndim - 1; d >= 0; d--) {
        out->index[d] = first % x->dims[d];
        first /= x->dims[d];
    }
    return true;
}

bool ddp_probed_element(const char *run_a, const char *run_b, const struct ddp_probed_node *node,
                        int64_t part, struct ddp_element *out)
{
    char name[300];
    struct ddp_st_file *file[2];
    *out = (struct ddp_element){0};
    if (strcmp(node->unit, "blocks") == 0)
        snprintf(name, sizeof name, "%s/%s", node->kind, node->name);
    else
        snprintf(name, sizeof name, "%s/%s/%lld", node->kind, node->name, (long long)part);
    const struct ddp_st_tensor *x = find(run_a, node->step, name, &file[0]),
                               *y = find(run_b, node->step, name, &file[1]);
    const bool yes = x && y && same_form(x, y) && compare(x, y, out);
    for (int i = 0; i < 2; i++)
        if (file[i])
            ddp_st_close(file[i]);
    return yes;
}
