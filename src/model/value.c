/* Stages -> values: what each stage reads and writes, and in which order it lies.
 *
 * A flatten whose input may have any strides costs nothing: the producer writes features order at once, and
 * both names stand for one value. */
#include "model/graph.h"

#include <string.h>

static const struct ddp_layer *host(const struct ddp_model *m, int stage)
{
    return &m->layer[m->stage[stage].layer];
}

static int add_value(struct ddp_model *m, struct ddp_shape shape, enum ddp_order order, int stage)
{
    m->value[m->nvalues] = (struct ddp_value){.shape = shape, .order = order, .stage = stage};
    return m->nvalues++;
}

/* The data come as pictures, or as features for a flatten or linear layer that reads them directly. */
static int data_value(struct ddp_model *m, const struct ddp_layer *reader)
{
    bool flatten = ddp_layer_is(reader, "flatten");
    enum ddp_order order = flatten || reader->plan.features ? DDP_ORDER_FEATURES : DDP_ORDER_PICTURES;
    struct ddp_shape shape = order == DDP_ORDER_PICTURES ? m->input
                             : flatten                   ? reader->plan.out
                                                         : reader->shape[0];
    for (int v = 0; v < m->nvalues; v++)
        if (m->value[v].stage == DDP_DATA && m->value[v].order == order &&
            ddp_shape_equal(m->value[v].shape, shape))
            return v;
    return add_value(m, shape, order, DDP_DATA);
}

/* Whether all readers of value v take any strides (flattens that keep the shape among them). */
static bool readers_take_any(const struct ddp_model *m, int v)
{
    for (int s = 0; s < m->nstages; s++)
        for (int k = 0; k < m->stage[s].nin; k++) {
            const struct ddp_layer *l = host(m, s);
            bool flatten = ddp_layer_is(l, "flatten") && ddp_shape_equal(l->plan.out, m->value[v].shape);
            if (m->stage[s].in[k] == v && !flatten && !l->plan.any_strides)
                return false;
        }
    return true;
}

static bool writes_any(const struct ddp_model *m, int stage)
{
    return m->stage[stage].pool || host(m, stage)->plan.any_strides;
}

static bool may_be_features(const struct ddp_model *m, int v)
{
    return m->value[v].order == DDP_ORDER_FEATURES ||
           (m->value[v].stage != DDP_DATA && writes_any(m, m->value[v].stage) && readers_take_any(m, v));
}

/* Give v features order, and what its producer reads too where that is free: then the producer runs over
 * equal strides. */
static void make_features(struct ddp_model *m, int v)
{
    if (m->value[v].order == DDP_ORDER_FEATURES)
        return;
    m->value[v].order = DDP_ORDER_FEATURES;
    const struct ddp_stage *p = &m->stage[m->value[v].stage];
    for (int k = 0; k < p->nin; k++)
        if (may_be_features(m, p->in[k]) && ddp_shape_equal(m->value[p->in[k]].shape, m->value[v].shape))
            make_features(m, p->in[k]);
}

/* A stage that has taken an add along reads both v and w: it may not read one value twice (stages.h). */
static bool meet_in_fused_add(const struct ddp_model *m, int v, int w)
{
    for (int s = 0; s < m->nstages; s++) {
        const struct ddp_stage *st = &m->stage[s];
        bool reads_v = false, reads_w = false;
        for (int k = 0; k < st->nin; k++) {
            reads_v |= st->in[k] == v;
            reads_w |= st->in[k] == w;
        }
        if (st->fused & DDP_FUSE_ADD && reads_v && reads_w)
            return true;
    }
    return false;
}

/* Stage s, a flatten, is only another name for its input. */
static bool is_alias(struct ddp_model *m, int s)
{
    const struct ddp_layer *l = host(m, s);
    int v = m->stage[s].in[0];
    return ddp_layer_is(l, "flatten") && ddp_shape_equal(m->value[v].shape, l->plan.out) &&
           may_be_features(m, v) && !meet_in_fused_add(m, v, m->stage[s].out);
}

static void drop_aliases(struct ddp_model *m)
{
    for (int s = 0; s < m->nstages; s++) {
        if (!is_alias(m, s))
            continue;
        int v = m->stage[s].in[0], w = m->stage[s].out;
        make_features(m, v);
        m->stage[s].nin = 0; /* no reader any more; removed below */
        for (int t = 0; t < m->nstages; t++)
            for (int k = 0; k < m->stage[t].nin; k++)
                if (m->stage[t].in[k] == w)
                    m->stage[t].in[k] = v;
    }
}

/* Remove the stages that drop_aliases emptied and the values that nobody writes or reads any more. */
static void compact(struct ddp_model *m)
{
    int *stage = ddp_arena_alloc(m->arena, (m->nstages + 1) * sizeof *stage);
    int *value = ddp_arena_alloc(m->arena, (m->nvalues + 1) * sizeof *value);
    int ns = 0, nv = 0;
    for (int s = 0; s < m->nstages; s++) {
        stage[s] = m->stage[s].nin ? ns : -1;
        if (m->stage[s].nin)
            m->stage[ns++] = m->stage[s];
    }
    for (int v = 0; v < m->nvalues; v++) {
        int producer = m->value[v].stage;
        bool keep = producer == DDP_DATA || stage[producer] >= 0;
        value[v] = keep ? nv : -1;
        if (!keep)
            continue;
        m->value[nv] = m->value[v];
        m->value[nv++].stage = producer == DDP_DATA ? DDP_DATA : stage[producer];
    }
    for (int s = 0; s < ns; s++) {
        for (int k = 0; k < m->stage[s].nin; k++)
            m->stage[s].in[k] = value[m->stage[s].in[k]];
        if (m->stage[s].out >= 0)
            m->stage[s].out = value[m->stage[s].out];
    }
    m->nstages = ns;
    m->nvalues = nv;
}

void ddp_graph_values(struct ddp_model *m, bool alias)
{
    m->value = ddp_arena_alloc(m->arena, (m->nstages + m->nlayers * DDP_OP_MAX_IN) * sizeof *m->value);
    int *of_layer =
        ddp_arena_alloc(m->arena, m->nlayers * sizeof *of_layer); /* value of each stage's last layer */
    for (int s = 0; s < m->nstages; s++) {
        struct ddp_stage *st = &m->stage[s];
        const struct ddp_layer *l = host(m, s), *add = NULL;
        for (int i = st->layer + 1; st->fused & DDP_FUSE_ADD && i <= st->last && !add; i++)
            if (m->layer[i].host == st->layer && ddp_layer_is(&m->layer[i], "add"))
                add = &m->layer[i];
        st->nin = l->nin;
        for (int k = 0; k < l->nin; k++)
            st->in[k] = l->in[k] == DDP_DATA ? data_value(m, l) : of_layer[l->in[k]];
        if (add) { /* the input of add that is not this stage's own output */
            int other =
                add->in[0] != DDP_DATA && m->layer[add->in[0]].host == st->layer ? add->in[1] : add->in[0];
            st->in[st->nin++] = other == DDP_DATA ? data_value(m, add) : of_layer[other];
        }
        st->out =
            l->op->is_loss ? -1 : add_value(m, m->layer[st->last].plan.out, m->layer[st->last].order, s);
        of_layer[st->last] = st->out;
    }
    if (alias) {
        drop_aliases(m);
        compact(m);
    }
}
