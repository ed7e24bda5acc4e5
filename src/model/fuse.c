/* Layers -> stages. Memory traffic is what ReLU and residual adds cost, so an op that is able to (op->fuses)
 * does them in the pass that writes its output:
 *
 *   relu behind conv2d, linear, batch_norm or add, when relu is the only reader    out = relu(op(in))
 *   add of which one input is such an op with no other reader                      out = op(in) + other
 *   max_pool of 2x2 windows behind such an op, on CPUs                             out = pool(op(in))
 *
 * The bits are those of the separate layers. A run that is probed keeps its pools apart: a record of what
 * each op computed has what a pool chose from. */
#include "model/graph.h"

/* Layer whose call produces the output of layer `i`, if nobody but one reader sees that output; -1 else. */
static int sole_host(const struct ddp_model *m, int i)
{
    return i != DDP_DATA && m->layer[i].consumers == 1 ? m->layer[i].host : -1;
}

static void try_relu(struct ddp_model *m, int i, unsigned *fused)
{
    int host = sole_host(m, m->layer[i].in[0]);
    if (host < 0 || !(m->layer[host].op->fuses & DDP_FUSE_RELU) ||
        fused[host] & (DDP_FUSE_RELU | DDP_FUSE_POOL))
        return;
    m->layer[i].host = host;
    fused[host] |= DDP_FUSE_RELU;
}

static void try_add(struct ddp_model *m, int i, unsigned *fused)
{
    struct ddp_layer *l = &m->layer[i];
    int best = -1;
    for (int k = 0; k < l->nin; k++) {
        int host = sole_host(m, l->in[k]);
        if (host < 0 || fused[host] != 0 || m->layer[host].nin != 1 ||
            !(m->layer[host].op->fuses & DDP_FUSE_ADD))
            continue;
        /* op(x) + x: one call would have to write both parts of the gradient of x at once */
        if (m->layer[host].in[0] == l->in[1 - k])
            continue;
        if (host > best) /* the later of two candidates: its call moves less far back */
            best = host;
    }
    if (best < 0)
        return;
    l->host = best;
    fused[best] |= DDP_FUSE_ADD;
}

static void try_pool(struct ddp_model *m, int i, unsigned *fused)
{
    const int host = sole_host(m, m->layer[i].in[0]);
    if (m->gpu || host < 0 || !m->layer[i].plan.is_pool || !m->layer[host].plan.takes_pool ||
        fused[host] & (DDP_FUSE_ADD | DDP_FUSE_POOL))
        return;
    m->layer[i].host = host;
    fused[host] |= DDP_FUSE_POOL;
}

void ddp_graph_fuse(struct ddp_model *m, bool enable, bool pools)
{
    unsigned *fused = ddp_arena_alloc(m->arena, m->nlayers * sizeof *fused);
    int *last = ddp_arena_alloc(m->arena, m->nlayers * sizeof *last);
    for (int i = 0; i < m->nlayers; i++) {
        struct ddp_layer *l = &m->layer[i];
        l->host = i;
        if (enable && ddp_layer_is(l, "relu"))
            try_relu(m, i, fused);
        else if (enable && ddp_layer_is(l, "add"))
            try_add(m, i, fused);
        else if (enable && pools && ddp_layer_is(l, "max_pool"))
            try_pool(m, i, fused);
        last[l->host] = i;
    }
    /* A stage runs where its last layer stands: by then everything that it reads exists. */
    m->stage = ddp_arena_alloc(m->arena, m->nlayers * sizeof *m->stage);
    for (int i = 0; i < m->nlayers; i++) {
        int host = m->layer[i].host;
        if (last[host] == i)
            m->stage[m->nstages++] =
                (struct ddp_stage){.layer = host,
                                   .last = i,
                                   .fused = fused[host],
                                   .pool = fused[host] & DDP_FUSE_POOL ? &m->layer[i].plan : NULL};
    }
}
