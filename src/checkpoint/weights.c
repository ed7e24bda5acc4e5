/* Weights by name from anybody's safetensors file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint/private.h"

int ddp_weights_find(const char *path, bool average, char *file, int size, struct ddp_error *err)
{
    struct stat st;
    char found[4096] = "";
    const bool folder =
        stat(path, &st) == 0 && S_ISDIR(st.st_mode); /* a missing file is reported when opened */
    const int status = folder ? ddp_checkpoint_find(path, found, sizeof found, err) : 0;
    if (status == DDP_E_CHECKPOINT)
        ddp_error_suffix(err, "; wants a run, a checkpoint or a .safetensors file");
    if (status)
        return status;
    const int n =
        folder ? snprintf(file, (size_t)size, "%s/%s", found, average ? DDP_AVERAGE_FILE : DDP_MODEL_FILE)
               : snprintf(file, (size_t)size, "%s", path);
    return n < size ? 0 : ddp_fail(err, DDP_E_USAGE, "%s: this path is longer than %d bytes", path, size - 1);
}

static bool is_float(const char *dtype)
{
    return strcmp(dtype, "F32") == 0 || strcmp(dtype, "F64") == 0 || strcmp(dtype, "F16") == 0 ||
           strcmp(dtype, "BF16") == 0;
}

/* Why this tensor cannot be taken, as text; false when it can. */
static bool misfit(const struct ddp_st_tensor *want, const struct ddp_st_tensor *got, struct ddp_text *why)
{
    char here[160], there[160];
    ddp_tensor_text(want, here, sizeof here);
    if (!got) {
        ddp_text_add(why, "'%s' (%s) is not in it", want->name, here);
        return true;
    }
    ddp_tensor_text(got, there, sizeof there);
    if (is_float(got->dtype) && ddp_tensor_same_shape(got, want))
        return false;
    ddp_text_add(why, "'%s' is %s there and %s here", want->name, there, here);
    return true;
}

static const struct ddp_plain_tensor *find_wanted(const struct ddp_plain *p, const char *name)
{
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->t[i].name, name) == 0)
            return &p->t[i];
    return NULL;
}

/* What would be taken is finite: NaN in weights is no fault of the training that would follow. */
static int check_taken(const struct ddp_st_file *f, const struct ddp_plain *p, const bool *fits,
                       struct ddp_error *err)
{
    for (int i = 0; i < p->n; i++) {
        const struct ddp_st_tensor *t = ddp_st_find(f, p->t[i].name);
        const int status = p->t[i].flat >= 0 && fits[i] ? ddp_tensors_finite(&t, 1, err) : 0;
        if (status)
            return status;
    }
    return 0;
}

/* What does not fit, one after the other, into *why; fits[i] says which do. Older files have no
 * num_batches_tracked, and any integer in its place will do. */
static int match(const struct ddp_st_file *f, const struct ddp_plain *p, bool *fits, int *taken,
                 struct ddp_text *why)
{
    int problems = 0;
    *taken = 0;
    for (int i = 0; i < p->n; i++) {
        if (p->t[i].flat < 0)
            continue;
        size_t before = why->len;
        if (problems > 0)
            ddp_text_add(why, "; ");
        fits[i] = !misfit(&p->t[i].st, ddp_st_find(f, p->t[i].name), why);
        if (fits[i]) {
            why->len = before;
            why->s[before] = '\0';
        }
        problems += !fits[i];
        *taken += fits[i];
    }
    for (int i = 0; i < ddp_st_count(f); i++) {
        const char *name = ddp_st_at(f, i)->name;
        if (!find_wanted(p, name))
            ddp_text_add(why, "%s'%s' is not in the model", problems++ ? "; " : "", name);
    }
    return problems;
}

static void take(const struct ddp_st_file *f, const struct ddp_flat *flat, const struct ddp_plain *p,
                 const bool *fits, float *params, int64_t *batches_tracked)
{
    float *plain = ddp_malloc((size_t)p->floats * sizeof(float) + 1);
    int64_t tracked = 0;
    for (int i = 0; i < p->n; i++) {
        const struct ddp_st_tensor *got = ddp_st_find(f, p->t[i].name);
        if (p->t[i].flat >= 0 && fits[i]) {
            const struct ddp_flat_tensor *to = &flat->tensor[p->t[i].flat];
            ddp_tensor_floats(got, plain);
            ddp_layout_pack(&to->param, plain, params + to->offset);
        } else if (p->t[i].flat < 0 && got && strcmp(got->dtype, "I64") == 0 && got->bytes == 8) {
            int64_t v;
            memcpy(&v, got->data, 8);
            if (v > tracked)
                tracked = v;
        }
    }
    free(plain);
    if (batches_tracked)
        *batches_tracked = tracked;
}

int ddp_weights_load(const char *path, const struct ddp_model *m, float *params, bool strict,
                     int64_t *batches_tracked, struct ddp_error *err)
{
    char file[4200];
    struct ddp_st_file *f;
    int status = ddp_weights_find(path, false, file, sizeof file, err);
    if (status == 0)
        status = ddp_st_open(file, &f, err);
    if (status)
        return status;
    const struct ddp_flat *flat = ddp_model_flat(m);
    struct ddp_plain p = ddp_plain_model(flat);
    bool *fits = ddp_calloc((size_t)p.n + 1, sizeof *fits);
    struct ddp_text why;
    ddp_text_init(&why);
    int taken, problems = match(f, &p, fits, &taken, &why);
    if (taken == 0)
        status = ddp_fail(err, DDP_E_CHECKPOINT, "%s: none of its %d tensors fits this model: %.4000s", file,
                          ddp_st_count(f), why.s);
    else if (problems > 0 && strict)
        status = ddp_fail(
            err, DDP_E_CHECKPOINT,
            "%s: weights of another model: %.4000s (init.strict = false takes the %d tensors that fit)", file,
            why.s, taken);
    if (status == 0 && (status = check_taken(f, &p, fits, err)) != 0)
        ddp_error_prefix(err, "%s: weights that are not finite", file);
    if (status == 0) {
        take(f, flat, &p, fits, params, batches_tracked);
        if (problems > 0)
            ddp_log(DDP_LOG_WARN, "%s: %d tensors taken; left out: %.4000s", file, taken, why.s);
    }
    ddp_text_finish(&why);
    free(fits);
    ddp_plain_finish(&p);
    ddp_st_close(f);
    return status;
}
