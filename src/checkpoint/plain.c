/* The tensors of a model and of its optimizer as files have them: PyTorch's names, plain shapes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/private.h"

static struct ddp_plain_tensor *add(struct ddp_plain *p, const struct ddp_flat_tensor *from, int flat,
                                    int array)
{
    struct ddp_plain_tensor *t = &p->t[p->n++];
    t->flat = flat;
    t->array = array;
    t->st.dtype = "F32";
    t->st.ndim = from->param.ndim;
    t->st.bytes = sizeof(float);
    for (int d = 0; d < from->param.ndim; d++) {
        t->st.dims[d] = from->param.dims[d];
        t->st.bytes *= (size_t)from->param.dims[d];
    }
    t->st.name = t->name;
    p->floats += (int64_t)(t->st.bytes / sizeof(float));
    return t;
}

/* "bn1.running_mean" -> "bn1.num_batches_tracked": a scalar, as PyTorch has it. */
static void add_tracked(struct ddp_plain *p, const char *mean)
{
    struct ddp_plain_tensor *t = &p->t[p->n++];
    const char *dot = strrchr(mean, '.');
    snprintf(t->name, sizeof t->name, "%.*snum_batches_tracked", dot ? (int)(dot - mean + 1) : 0, mean);
    t->flat = t->array = -1;
    t->st = (struct ddp_st_tensor){.name = t->name, .dtype = "I64", .bytes = 8};
}

struct ddp_plain ddp_plain_model(const struct ddp_flat *flat)
{
    struct ddp_plain p = {.t = ddp_calloc(2 * (size_t)flat->ntensors + 1, sizeof *p.t)};
    for (int i = 0; i < flat->ntensors; i++) {
        struct ddp_plain_tensor *t = add(&p, &flat->tensor[i], i, -1);
        snprintf(t->name, sizeof t->name, "%s", flat->tensor[i].name);
        if (flat->tensor[i].param.role == DDP_PARAM_RUNNING_MEAN)
            add_tracked(&p, flat->tensor[i].name);
    }
    return p;
}

struct ddp_plain ddp_plain_optim(const struct ddp_flat *flat, struct ddp_optim *o)
{
    int arrays = o ? ddp_optim_arrays(o) : 0;
    struct ddp_plain p = {.t = ddp_calloc((size_t)arrays * (size_t)flat->ntrained + 1, sizeof *p.t)};
    for (int i = 0; i < flat->ntrained; i++) {
        for (int a = 0; a < arrays; a++) {
            const char *name;
            ddp_optim_array(o, a, &name);
            struct ddp_plain_tensor *t = add(&p, &flat->tensor[i], i, a);
            snprintf(t->name, sizeof t->name, "%s.%s", flat->tensor[i].name, name);
        }
    }
    return p;
}

void ddp_plain_finish(struct ddp_plain *p)
{
    free(p->t);
    *p = (struct ddp_plain){0};
}

struct ddp_st_tensor *ddp_plain_list(const struct ddp_plain *p)
{
    struct ddp_st_tensor *list = ddp_calloc((size_t)p->n + 1, sizeof *list);
    for (int i = 0; i < p->n; i++)
        list[i] = p->t[i].st;
    return list;
}
