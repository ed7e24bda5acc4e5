/* Where the first value that is not finite sits, in the order in which they were computed. */
#include "engine/cpu/pass_private.h"

#include <math.h>
#include <stdio.h>

static bool bad_tensor(const struct ddp_tensor *t, const char *what, const char *name, char *text, int size)
{
    int n, c, y, x;
    float value;
    if (!t->p || !ddp_tensor_find_bad(t, &n, &c, &y, &x, &value))
        return false;
    snprintf(text, size, "%s '%s' at [n=%d, c=%d, y=%d, x=%d] is %s", what, name, n, c, y, x,
             ddp_pass_bad_kind(value));
    return true;
}

void ddp_cpu_pass_find_bad(const struct ddp_cpu_pass *p, const float *params, int i, char *text, int size)
{
    const struct ddp_model *m = p->m;
    const struct ddp_cpu_resident *r = &p->res[i];
    for (int v = 0; v < m->nvalues; v++)
        if (m->value[v].stage == DDP_DATA && bad_tensor(&r->value[v], "input", "data", text, size))
            return;
    for (int s = 0; s < m->nstages; s++) {
        const struct ddp_stage *st = &m->stage[s];
        const struct ddp_layer *l = &m->layer[st->layer];
        for (int k = 0; k < l->plan.nparams; k++) {
            const struct ddp_flat_tensor *t = &m->flat.tensor[st->tensor[k]];
            if (ddp_pass_bad_param(t, params + t->offset, text, size))
                return;
        }
        /* In evaluation later layers have overwritten most outputs; those that were kept are looked at. */
        bool kept = st->out >= 0 && (p->conf.training || m->value[st->out].last_use == m->nstages - 1);
        if (kept && bad_tensor(&r->value[st->out], "output of layer", m->layer[st->last].name, text, size))
            return;
    }
    if (!isfinite(r->loss))
        snprintf(text, size, "loss '%s' is %s, all parameters and outputs before it are finite",
                 m->layer[m->nlayers - 1].name, ddp_pass_bad_kind(r->loss));
    else
        snprintf(text, size,
                 "every parameter and output is finite: the fault is in the backward pass or in the sums");
}
