/* Where the first value that is not finite sits, in the order in which they were computed. */
#include "engine/find_bad.h"

#include <math.h>
#include <stdio.h>

#include "ops/ops.h"

struct search {
    const struct ddp_stages *p;
    const struct ddp_bad_source *from;
    char *text;
    size_t size;
    bool found; /* text is set */
};

static const char *kind(float x)
{
    return isnan(x) ? "nan" : x < 0 ? "-inf" : "inf";
}

static int look_at_value(struct search *f, int value, const char *what, const char *name,
                         struct ddp_error *err)
{
    struct ddp_bad_place at;
    const int status = f->from->value(f->from->ctx, value, &at, &f->found, err);
    if (status == 0 && f->found)
        snprintf(f->text, f->size, "%s '%s' at [n=%d, c=%d, y=%d, x=%d] is %s", what, name, at.n, at.c, at.y,
                 at.x, kind(at.value));
    return status;
}

/* In the plain layout an element would have to be searched for; its place among `size` is enough to say how
 * bad it is. */
static int look_at_param(struct search *f, const struct ddp_flat_tensor *t, struct ddp_error *err)
{
    const float *values;
    int64_t bad = 0;
    float value = 0;
    const int status = f->from->param(f->from->ctx, t, &values, err);
    for (int64_t k = t->size - 1; status == 0 && k >= 0; k--)
        if (!isfinite(values[k])) {
            bad++;
            value = values[k];
        }
    f->found = bad > 0;
    if (f->found)
        snprintf(f->text, f->size, "parameter '%s' holds %s (%lld of %lld elements are not finite)", t->name,
                 kind(value), (long long)bad, (long long)ddp_layout_plain_size(&t->param));
    return status;
}

static int look_at_loss(struct search *f, struct ddp_error *err)
{
    float loss;
    const int status = f->from->loss(f->from->ctx, &loss, err);
    if (status)
        return status;
    if (!isfinite(loss))
        snprintf(f->text, f->size,
                 "none, the loss '%s' itself overflowed to %s: all parameters and outputs before it are "
                 "finite, but "
                 "too large for it",
                 f->p->stage[f->p->nstages - 1].name, kind(loss));
    else
        snprintf(f->text, f->size,
                 "every parameter and output is finite: the fault is in the backward pass or in the sums");
    return 0;
}

int ddp_find_bad(const struct ddp_stages *p, bool training, const struct ddp_bad_source *from, char *text,
                 int size, struct ddp_error *err)
{
    struct search f = {.p = p, .from = from, .text = text, .size = (size_t)size};
    int status = 0;
    for (int i = 0; i < p->ndata && status == 0 && !f.found; i++)
        status = look_at_value(&f, p->data[i], "input", "data", err);
    for (int s = 0; s < p->nstages && status == 0 && !f.found; s++) {
        const struct ddp_stage *st = &p->stage[s];
        for (int k = 0; k < st->plan->nparams && status == 0 && !f.found; k++)
            status = look_at_param(&f, &p->flat->tensor[st->tensor[k]], err);
        /* in evaluation later layers have overwritten most outputs */
        if (status == 0 && !f.found && st->out >= 0 && p->value[st->out].kept[training])
            status = look_at_value(&f, st->out, "output of layer", st->output, err);
    }
    return status || f.found ? status : look_at_loss(&f, err);
}
