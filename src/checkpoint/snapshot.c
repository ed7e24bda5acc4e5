/* A copy of model and optimizer in plain layouts: taken between two steps, written
 * while the next ones run. */
#include <stdlib.h>

#include "checkpoint/private.h"

struct ddp_snapshot {
    const struct ddp_flat *flat;
    struct ddp_optim *optim;
    struct ddp_plain model, opt;
    float *floats; /* one buffer: the model's tensors, then the optimizer's */
    size_t bytes;
    int64_t batches_tracked;
    struct ddp_train_state state;
};

/* Give each tensor its part of the buffer. */
static float *place(struct ddp_snapshot *s, struct ddp_plain *p, float *at)
{
    for (int i = 0; i < p->n; i++) {
        if (p->t[i].flat < 0) {
            p->t[i].st.data = &s->batches_tracked;
            continue;
        }
        p->t[i].st.data = at;
        at += p->t[i].st.bytes / sizeof(float);
    }
    return at;
}

int ddp_snapshot_create(const struct ddp_model *m, struct ddp_optim *o, struct ddp_snapshot **out,
                        struct ddp_error *err)
{
    struct ddp_snapshot *s = ddp_calloc(1, sizeof *s);
    s->flat = ddp_model_flat(m);
    s->optim = o;
    s->model = ddp_plain_model(s->flat);
    s->opt = ddp_plain_optim(s->flat, o);
    s->bytes = (size_t)(s->model.floats + s->opt.floats + 1) * sizeof(float);
    s->floats = ddp_pages_alloc(s->bytes);
    if (!s->floats) {
        char text[32];
        ddp_bytes_text((double)s->bytes, text);
        ddp_snapshot_destroy(s);
        return ddp_fail(err, DDP_E_RESOURCE, "no memory for the %s that a checkpoint is copied to", text);
    }
    place(s, &s->opt, place(s, &s->model, s->floats));
    *out = s;
    return 0;
}

void ddp_snapshot_destroy(struct ddp_snapshot *s)
{
    if (!s)
        return;
    if (s->floats)
        ddp_pages_free(s->floats, s->bytes);
    ddp_plain_finish(&s->model);
    ddp_plain_finish(&s->opt);
    free(s);
}

void ddp_snapshot_take(struct ddp_snapshot *s, const float *params, const struct ddp_train_state *state)
{
    float *at = s->floats;
    for (int k = 0; k < 2; k++) {
        const struct ddp_plain *p = k == 0 ? &s->model : &s->opt;
        for (int i = 0; i < p->n; i++) {
            const struct ddp_plain_tensor *t = &p->t[i];
            const char *name;
            if (t->flat < 0)
                continue;
            const struct ddp_flat_tensor *from = &s->flat->tensor[t->flat];
            const float *base = t->array < 0 ? params : ddp_optim_array(s->optim, t->array, &name);
            ddp_layout_unpack(&from->param, base + from->offset, at);
            at += t->st.bytes / sizeof(float);
        }
    }
    s->state = *state;
    s->batches_tracked = state->batches_tracked;
}

const struct ddp_train_state *ddp_snapshot_state(const struct ddp_snapshot *s)
{
    return &s->state;
}

struct ddp_st_tensor *ddp_snapshot_tensors(const struct ddp_snapshot *s, bool optimizer, int *n)
{
    const struct ddp_plain *p = optimizer ? &s->opt : &s->model;
    *n = p->n;
    return ddp_plain_list(p);
}

void ddp_snapshot_hash(const struct ddp_snapshot *s, char hex[65])
{
    struct ddp_st_tensor *list = ddp_plain_list(&s->model);
    ddp_st_hash(list, s->model.n, hex);
    free(list);
}

/* What is not finite is good for nothing, and would take the place of a checkpoint that is. */
static int check_model(const struct ddp_snapshot *s, struct ddp_error *err)
{
    int status = 0;
    for (int i = 0; i < s->model.n && status == 0; i++) {
        const struct ddp_st_tensor *t = &s->model.t[i].st;
        status = ddp_tensors_finite(&t, 1, err);
    }
    return status ? ddp_error_prefix(err, "not saved after step %lld", (long long)s->state.step) : 0;
}

static int write_list(struct ddp_st_tensor *list, int n, const char *path, char hex[65],
                      struct ddp_error *err)
{
    static const char *const metadata[] = {"format", "pt", NULL}; /* some readers insist on it */
    int status = ddp_st_write_hashed(path, list, n, metadata, hex, err);
    free(list);
    return status;
}

static int write_plain(const struct ddp_plain *p, const char *path, char hex[65], struct ddp_error *err)
{
    return write_list(ddp_plain_list(p), p->n, path, hex, err);
}

bool ddp_snapshot_has_average(const struct ddp_snapshot *s)
{
    return s->optim && ddp_optim_average(s->optim);
}

/* The model's tensors; where there is an average of one, that, which was taken with the optimizer's state. */
static struct ddp_st_tensor *average_list(const struct ddp_snapshot *s)
{
    struct ddp_st_tensor *list = ddp_plain_list(&s->model);
    const float *average = ddp_optim_average(s->optim);
    for (int k = 0; k < s->opt.n; k++) {
        const char *name;
        const struct ddp_plain_tensor *t = &s->opt.t[k];
        if (ddp_optim_array(s->optim, t->array, &name) != average)
            continue;
        for (int i = 0; i < s->model.n; i++)
            if (s->model.t[i].flat == t->flat)
                list[i].data = t->st.data;
    }
    return list;
}

int ddp_snapshot_write_average(const struct ddp_snapshot *s, const char *path, struct ddp_error *err)
{
    char hex[65];
    return write_list(average_list(s), s->model.n, path, hex, err);
}

int ddp_snapshot_write_model(const struct ddp_snapshot *s, const char *path, struct ddp_error *err)
{
    char hex[65];
    int status = check_model(s, err);
    return status ? status : write_plain(&s->model, path, hex, err);
}

int ddp_snapshot_write(const struct ddp_snapshot *s, const char *folder, char model_hex[65],
                       char optim_hex[65], char average_hex[65], struct ddp_error *err)
{
    char *model = ddp_folder_path(folder, DDP_MODEL_FILE), *optim = ddp_folder_path(folder, DDP_OPTIM_FILE);
    char *average = ddp_folder_path(folder, DDP_AVERAGE_FILE);
    int status = check_model(s, err);
    if (status == 0)
        status = write_plain(&s->model, model, model_hex, err);
    if (status == 0)
        status = write_plain(&s->opt, optim, optim_hex, err);
    average_hex[0] = '\0';
    if (status == 0 && ddp_snapshot_has_average(s))
        status = write_list(average_list(s), s->model.n, average, average_hex, err);
    free(average);
    free(model);
    free(optim);
    return status;
}
