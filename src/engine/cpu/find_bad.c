/* What the search for a value that is not finite looks at on the CPU. */
#include "engine/cpu/pass_private.h"
#include "engine/find_bad.h"
#include "ops/ops.h"

struct source {
    const struct ddp_cpu_pass *p;
    const float *params;
    int resident;
};

static int value(void *ctx, int v, struct ddp_bad_place *at, bool *found, struct ddp_error *err)
{
    const struct source *f = ctx;
    (void)err;
    *found =
        ddp_tensor_find_bad(&f->p->res[f->resident].value[v], &at->n, &at->c, &at->y, &at->x, &at->value);
    return 0;
}

static int param(void *ctx, const struct ddp_flat_tensor *t, const float **values, struct ddp_error *err)
{
    const struct source *f = ctx;
    (void)err;
    *values = f->params + t->offset;
    return 0;
}

static int loss(void *ctx, float *out, struct ddp_error *err)
{
    const struct source *f = ctx;
    (void)err;
    *out = f->p->res[f->resident].loss;
    return 0;
}

void ddp_cpu_pass_find_bad(const struct ddp_cpu_pass *p, const float *params, int i, char *text, int size)
{
    struct source f = {p, params, i};
    const struct ddp_bad_source from = {value, param, loss, &f};
    ddp_find_bad(p->plan, p->conf.training, &from, text, size, NULL); /* nothing in memory fails */
}
