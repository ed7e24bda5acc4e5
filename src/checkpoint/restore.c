/* Restoring: everything is checked before anything is changed. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint/private.h"

/* The file holds exactly the tensors of `p`; `whose` says what is at odds otherwise. */
static int compare(const struct ddp_st_file *f, const char *path, const struct ddp_plain *p,
                   const char *whose, struct ddp_error *err)
{
    char there[160], here[160];
    for (int i = 0; i < p->n; i++) {
        const struct ddp_st_tensor *want = &p->t[i].st, *got = ddp_st_find(f, want->name);
        ddp_tensor_text(want, here, sizeof here);
        if (!got)
            return ddp_fail(err, DDP_E_CHECKPOINT,
                            "%s: checkpoint of another %s: it has no '%s', which is %s here", path, whose,
                            want->name, here);
        ddp_tensor_text(got, there, sizeof there);
        if (strcmp(got->dtype, want->dtype) != 0 || !ddp_tensor_same_shape(got, want))
            return ddp_fail(err, DDP_E_CHECKPOINT,
                            "%s: checkpoint of another %s: '%s' is %s there and %s here", path, whose,
                            want->name, there, here);
    }
    /* all that is wanted is there: when the numbers agree, nothing else is */
    for (int i = 0; ddp_st_count(f) != p->n && i < ddp_st_count(f); i++) {
        const struct ddp_st_tensor *got = ddp_st_at(f, i);
        bool known = false;
        for (int k = 0; k < p->n && !known; k++)
            known = strcmp(p->t[k].st.name, got->name) == 0;
        ddp_tensor_text(got, there, sizeof there);
        if (!known)
            return ddp_fail(err, DDP_E_CHECKPOINT,
                            "%s: checkpoint of another %s: it holds '%s' (%s), which is not here", path,
                            whose, got->name, there);
    }
    return 0;
}

static int open_and_compare(const char *folder, const char *name, const struct ddp_plain *p,
                            const char *whose, struct ddp_st_file **out, struct ddp_error *err)
{
    char *path = ddp_folder_path(folder, name);
    struct ddp_st_file *f;
    int status = ddp_st_open(path, &f, err);
    if (status == 0) {
        status = compare(f, path, p, whose, err);
        if (status == 0)
            *out = f;
        else
            ddp_st_close(f);
    }
    free(path);
    return status;
}

/* plain [dims] of the file -> flat, by way of a buffer that is aligned whatever the file is. */
static void copy(const struct ddp_st_file *f, const struct ddp_flat *flat, const struct ddp_plain *p,
                 float *params, struct ddp_optim *o)
{
    float *plain = ddp_malloc((size_t)p->floats * sizeof(float) + 1);
    for (int i = 0; i < p->n; i++) {
        const struct ddp_plain_tensor *t = &p->t[i];
        if (t->flat < 0)
            continue;
        const char *name;
        const struct ddp_flat_tensor *to = &flat->tensor[t->flat];
        float *base = t->array < 0 ? params : ddp_optim_array(o, t->array, &name);
        ddp_tensor_floats(ddp_st_find(f, t->st.name), plain);
        ddp_layout_pack(&to->param, plain, base + to->offset);
    }
    free(plain);
}

int ddp_checkpoint_load(const char *path, const struct ddp_model *m, float *params, struct ddp_optim *o,
                        struct ddp_train_state *state, struct ddp_error *err)
{
    const struct ddp_flat *flat = ddp_model_flat(m);
    struct ddp_plain model = ddp_plain_model(flat), opt = ddp_plain_optim(flat, o);
    struct ddp_st_file *model_file = NULL, *optim_file = NULL;
    struct ddp_state_file s;
    int status = ddp_folder_verify(path, &s, err);
    if (status == 0)
        status = open_and_compare(path, DDP_MODEL_FILE, &model, "model", &model_file, err);
    if (status == 0 && o)
        status = open_and_compare(path, DDP_OPTIM_FILE, &opt, "optimizer", &optim_file, err);
    if (status == 0) {
        copy(model_file, flat, &model, params, NULL);
        if (o)
            copy(optim_file, flat, &opt, NULL, o);
        *state = s.state;
    }
    ddp_st_close(optim_file);
    ddp_st_close(model_file);
    ddp_plain_finish(&opt);
    ddp_plain_finish(&model);
    return status;
}
