/* Stages and values -> the plan of a pass: gradients, borders, order of the backward, life times. */
#include "model/graph.h"

#include <string.h>

/* A loss's gradient is its forward's work, and what is behind no trained parameter has none. */
static bool runs_backward(const struct ddp_model *m, const struct ddp_stage *st)
{
    bool wanted = st->hi > st->lo;
    for (int k = 0; k < st->nin; k++)
        wanted |= m->value[st->in[k]].wants_grad;
    return wanted && !st->op->is_loss;
}

static void name_stage(struct ddp_model *m, struct ddp_stage *st)
{
    const struct ddp_layer *l = &m->layer[st->layer];
    char where[512];
    st->op = l->op;
    st->conf = l->conf;
    st->plan = &l->plan;
    st->name = l->name;
    st->output = m->layer[st->last].name;
    st->where = ddp_arena_strdup(m->arena, ddp_layer_where(l, where, sizeof where));
    st->hash = ddp_name_hash(l->name);
    st->synced = l->plan.sync_doubles > 0;
}

static bool passes_gradient_on(const struct ddp_model *m, const struct ddp_stage *st)
{
    bool on = false;
    for (int k = 0; k < st->nin; k++)
        on |= m->value[st->in[k]].wants_grad;
    return on;
}

/* Of everything behind the first trained parameter; borders as wide as the widest reader wants. Only the
 * gradient of an input reads the border of an output's. */
static void find_gradients(struct ddp_model *m, const struct ddp_stage *st)
{
    struct ddp_value *out = st->out < 0 ? NULL : &m->value[st->out];
    struct ddp_value *in = &m->value[st->in[0]];
    if (in->halo < st->plan->in_halo)
        in->halo = st->plan->in_halo;
    if (!out)
        return;
    out->wants_grad = runs_backward(m, st);
    out->grad_halo =
        out->order == DDP_ORDER_PICTURES && !st->pool && passes_gradient_on(m, st) ? st->plan->dout_halo : 0;
}

/* written[v]: a stage met earlier writes that gradient. The loss comes first; it does so in its forward. */
static void share_gradients(struct ddp_model *m, int s, bool *written, int *nbackward, int *backward)
{
    struct ddp_stage *st = &m->stage[s];
    const bool runs = runs_backward(m, st);
    if (runs)
        backward[(*nbackward)++] = s;
    for (int k = 0; k < st->nin; k++) {
        struct ddp_value *v = &m->value[st->in[k]];
        if (!v->wants_grad)
            continue;
        st->din[k] = written[st->in[k]] ? DDP_GRAD_ADD : DDP_GRAD_WRITE;
        if (!written[st->in[k]])
            v->grad = (struct ddp_life){runs ? 2 * m->nstages - 1 - s : s, 2 * m->nstages - 1 - v->stage};
        written[st->in[k]] = true;
    }
}

/* How long a value has its bytes. In training all are there when forward ends: backward wants nearly all of
 * them, and after a loss that is not finite they are searched for the cause. Behind the backward of its
 * producer nobody reads one. Those with a border keep it: another's bytes would have to be cleared from it in
 * every step. Data and what the loss reads are kept always. */
static struct ddp_life value_life(const struct ddp_model *m, const struct ddp_value *v, int last_use,
                                  bool training, bool reuse)
{
    const int end = 2 * m->nstages;
    if (!reuse || v->stage == DDP_DATA || last_use == m->nstages - 1 || (training && v->halo > 0))
        return (struct ddp_life){0, end};
    return (struct ddp_life){v->stage, training ? end - 1 - v->stage : last_use};
}

/* The stage that reads value v, if there is one and it reads it once; NULL else. */
static const struct ddp_stage *only_reader(const struct ddp_model *m, int v)
{
    const struct ddp_stage *reader = NULL;
    int reads = 0;
    for (int s = 0; s < m->nstages; s++)
        for (int k = 0; k < m->stage[s].nin; k++)
            if (m->stage[s].in[k] == v) {
                reader = &m->stage[s];
                reads++;
            }
    return reads == 1 ? reader : NULL;
}

/* A value that is read for the last time where its gradient is written needs no memory for both. Its producer
 * must not miss it: a ReLU's mask is then the reader's work, who has the value in its hands. A border that
 * only the gradient has would cost more than is gained: such values live for ever. In a run that is probed
 * they stay apart: its record has gradients as their layers define them. */
static enum ddp_over over_value(const struct ddp_model *m, int v)
{
    const struct ddp_value *val = &m->value[v];
    const struct ddp_stage *reader = only_reader(m, v);
    if (!val->wants_grad || !reader || reader->in[0] != v || val->halo < val->grad_halo)
        return DDP_OVER_NO;
    const struct ddp_stage *from = &m->stage[val->stage];
    const unsigned masked =
        from->op->out_use == DDP_OUT_MASK_ADDED ? DDP_FUSE_RELU | DDP_FUSE_ADD : DDP_FUSE_RELU;
    if (from->op->out_use == DDP_OUT_READ)
        return DDP_OVER_NO;
    if (from->op->out_use == DDP_OUT_UNREAD || from->pool || (from->fused & masked) != masked)
        return reader->plan->over_in == DDP_OVER_NO ? DDP_OVER_NO : DDP_OVER_PLAIN;
    return reader->plan->over_in == DDP_OVER_MASKED ? DDP_OVER_MASKED : DDP_OVER_NO;
}

static void set_over(struct ddp_model *m)
{
    for (int v = 0; v < m->nvalues; v++)
        m->value[v].over = over_value(m, v);
}

static void set_lives(struct ddp_model *m, bool reuse)
{
    const int end = 2 * m->nstages;
    for (int v = 0; v < m->nvalues; v++) {
        struct ddp_value *val = &m->value[v];
        int last_use = val->stage;
        for (int s = 0; s < m->nstages; s++)
            for (int k = 0; k < m->stage[s].nin; k++)
                last_use = m->stage[s].in[k] == v ? s : last_use;
        for (int training = 0; training < 2; training++) {
            val->life[training] = value_life(m, val, last_use, training, reuse);
            val->kept[training] = training || val->life[training].last == end;
        }
        if (!reuse)
            val->grad = (struct ddp_life){0, end};
    }
    for (int s = 0; s < m->nstages; s++)
        for (int training = 0; training < 2; training++)
            m->stage[s].saved[training] =
                reuse ? (struct ddp_life){s, training ? end - 1 - s : s} : (struct ddp_life){0, end};
}

void ddp_graph_stages(struct ddp_model *m, bool reuse, bool over)
{
    bool *written = ddp_arena_alloc(m->arena, m->nvalues * sizeof *written);
    int *backward = ddp_arena_alloc(m->arena, m->nstages * sizeof *backward);
    int *data = ddp_arena_alloc(m->arena, m->nvalues * sizeof *data);
    struct ddp_stages *p = &m->stages;
    *p = (struct ddp_stages){.input = m->input,
                             .batch = m->batch,
                             .nstages = m->nstages,
                             .nvalues = m->nvalues,
                             .stage = m->stage,
                             .value = m->value,
                             .data = data,
                             .backward = backward,
                             .flat = &m->flat};
    for (int s = 0; s < m->nstages; s++) {
        name_stage(m, &m->stage[s]);
        find_gradients(m, &m->stage[s]);
        p->synced |= m->stage[s].synced;
    }
    for (int s = m->nstages - 1; s >= 0; s--)
        share_gradients(m, s, written, &p->nbackward, backward);
    for (int v = 0; v < m->nvalues; v++)
        m->value[v].grad_at = v;
    if (reuse && over && m->gpu)
        ddp_graph_spare(m);
    else if (reuse && over)
        set_over(m);
    set_lives(m, reuse);
    for (int v = 0; v < m->nvalues; v++)
        if (m->value[v].stage == DDP_DATA)
            data[p->ndata++] = v;
}

const struct ddp_stages *ddp_model_stages(const struct ddp_model *m)
{
    return &m->stages;
}
