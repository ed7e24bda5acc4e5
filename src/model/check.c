/* Where the first value that is not finite sits, in the order in which they were computed. */
#include "model/exec.h"

#include <math.h>
#include <stdio.h>

const char *ddp_model_bad_kind(float x)
{
    return isnan(x) ? "nan" : x < 0 ? "-inf" : "inf";
}

static bool bad_tensor(const struct ddp_tensor *t, const char *what, const char *name, char *text, int size)
{
    int n, c, y, x;
    float value;
    if (!t->p || !ddp_tensor_find_bad(t, &n, &c, &y, &x, &value))
        return false;
    snprintf(text, size, "%s '%s' at [n=%d, c=%d, y=%d, x=%d] is %s", what, name, n, c, y, x,
             ddp_model_bad_kind(value));
    return true;
}

/* In the plain layout an element would have to be searched for; its place among `size` is enough to say how
 * bad it is. */
bool ddp_model_bad_param(const struct ddp_flat_tensor *t, const float *values, char *text, int size)
{
    int64_t bad = 0;
    float value = 0;
    for (int64_t k = t->size - 1; k >= 0; k--)
        if (!isfinite(values[k])) {
            bad++;
            value = values[k];
        }
    if (bad)
        snprintf(text, size, "parameter '%s' holds %s (%lld of %lld elements are not finite)", t->name,
                 ddp_model_bad_kind(value), (long long)bad, (long long)ddp_layout_plain_size(&t->param));
    return bad > 0;
}

void ddp_exec_find_bad(const struct ddp_exec *e, const float *params, int i, char *text, int size)
{
    const struct ddp_model *m = e->m;
    const struct ddp_resident *r = &e->res[i];
    for (int v = 0; v < m->nvalues; v++)
        if (m->value[v].stage == DDP_DATA && bad_tensor(&r->value[v], "input", "data", text, size))
            return;
    for (int s = 0; s < m->nstages; s++) {
        const struct ddp_stage *st = &m->stage[s];
        const struct ddp_layer *l = &m->layer[st->layer];
        for (int k = 0; k < l->plan.nparams; k++) {
            const struct ddp_flat_tensor *t = &m->flat.tensor[st->tensor[k]];
            if (ddp_model_bad_param(t, params + t->offset, text, size))
                return;
        }
        /* In evaluation later layers have overwritten most outputs; those that were kept are looked at. */
        bool kept = st->out >= 0 && (e->conf.training || m->value[st->out].last_use == m->nstages - 1);
        if (kept && bad_tensor(&r->value[st->out], "output of layer", m->layer[st->last].name, text, size))
            return;
    }
    if (!isfinite(r->loss))
        snprintf(text, size, "loss '%s' is %s, all parameters and outputs before it are finite",
                 m->layer[m->nlayers - 1].name, ddp_model_bad_kind(r->loss));
    else
        snprintf(text, size,
                 "every parameter and output is finite: the fault is in the backward pass or in the sums");
}
