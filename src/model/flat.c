/* The flat layout: trained tensors in forward order, running statistics, one block of metrics. */
#include "model/graph.h"

#include <stdio.h>

int ddp_flat_find(const struct ddp_flat *f, int64_t index)
{
    int lo = 0, hi = f->ntensors; /* the tensor lies in [lo, hi) */
    if (index < 0 || index >= f->metrics)
        return -1;
    while (hi - lo > 1) {
        int mid = lo + (hi - lo) / 2;
        if (index >= f->tensor[mid].offset)
            lo = mid;
        else
            hi = mid;
    }
    if (hi == lo || index >= f->tensor[lo].offset + f->tensor[lo].size)
        return -1;
    return lo;
}

static int64_t whole_blocks(int64_t n)
{
    return (n + DDP_BLOCK - 1) / DDP_BLOCK * DDP_BLOCK;
}

static void add_tensor(struct ddp_model *m, int stage, int k)
{
    struct ddp_flat *f = &m->flat;
    struct ddp_flat_tensor *t = &f->tensor[f->ntensors];
    const struct ddp_layer *l = &m->layer[m->stage[stage].layer];
    t->param = l->plan.params[k];
    snprintf(t->name, sizeof t->name, "%s.%s", l->name, t->param.name);
    if (m->gpu && t->param.layout == DDP_LAYOUT_CONV)
        t->param.layout = DDP_LAYOUT_KRSC;
    t->layer = m->stage[stage].layer;
    t->offset = f->total;
    t->size = ddp_layout_size(&t->param);
    if (t->param.role != DDP_PARAM_TRAINED) {
        t->stat_pixels = (int64_t)l->shape[0].h * l->shape[0].w;
        t->stat_synced = l->plan.sync_doubles > 0;
    }
    m->stage[stage].tensor[k] = f->ntensors++;
    f->total += whole_blocks(t->size);
}

void ddp_graph_flat(struct ddp_model *m)
{
    struct ddp_flat *f = &m->flat;
    f->tensor = ddp_arena_alloc(m->arena, (m->nstages * DDP_OP_MAX_PARAMS + 1) * sizeof *f->tensor);
    for (int pass = 0; pass < 2; pass++) {
        for (int s = 0; s < m->nstages; s++) {
            const struct ddp_layer_plan *plan = &m->layer[m->stage[s].layer].plan;
            if (pass == 0)
                m->stage[s].lo = f->total;
            for (int k = 0; k < plan->nparams; k++)
                if ((plan->params[k].role == DDP_PARAM_TRAINED) == (pass == 0))
                    add_tensor(m, s, k);
            if (pass == 0)
                m->stage[s].hi = f->total;
        }
        if (pass == 0) {
            f->ntrained = f->ntensors;
            f->stats = f->total;
        }
    }
    f->metrics = f->total;
    f->total += DDP_BLOCK;
}
