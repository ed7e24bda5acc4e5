/* Gradients that need not move, on a device whose ops can do without (DDP_GRADIENT_ of ddp/op_device.h):
 * those that pass a sum as they are stay in its place, and what a vendor's call would add through passes of
 * its own lies aside for who reads it next. Bits are those of writing and adding. */
#include "model/graph.h"

#include "ddp/op_device.h"

static bool gradients_can(const struct ddp_stage *st, unsigned what)
{
    return st->op->device && (st->op->device->gradients & what);
}

/* The stage that has read value v before all others, which adds to its gradient last; -1: none. */
static int first_reader(const struct ddp_model *m, int v)
{
    for (int s = 0; s < m->nstages; s++)
        for (int k = 0; k < m->stage[s].nin; k++)
            if (m->stage[s].in[k] == v && m->stage[s].din[k] != DDP_GRAD_NONE)
                return s;
    return -1;
}

/* One of the summands of st gets what the sum's gradient is: the first that nobody else has written yet. */
static void leave_gradient(struct ddp_model *m, struct ddp_stage *st)
{
    if (!gradients_can(st, DDP_GRADIENT_LEFT) || (st->nin > 1 && st->in[0] == st->in[1]))
        return;
    for (int k = st->op->nin > 1 ? 0 : 1; k < st->nin; k++) {
        if (st->din[k] != DDP_GRAD_WRITE)
            continue;
        struct ddp_value *v = &m->value[st->in[k]], *at = &m->value[m->value[st->out].grad_at];
        st->din[k] = DDP_GRAD_LEAVE;
        v->grad_at = m->value[st->out].grad_at;
        at->grad.last = at->grad.last < v->grad.last ? v->grad.last : at->grad.last;
        return;
    }
}

static void put_aside(struct ddp_model *m, int s)
{
    struct ddp_stage *st = &m->stage[s];
    struct ddp_value *v = &m->value[st->in[0]];
    if (st->din[0] != DDP_GRAD_ADD || !gradients_can(st, DDP_GRADIENT_ASIDE) ||
        first_reader(m, st->in[0]) != s || !gradients_can(&m->stage[v->stage], DDP_GRADIENT_OF_TWO))
        return;
    st->din[0] = DDP_GRAD_ASIDE;
    v->two_parts = true;
    v->aside = (struct ddp_life){2 * m->nstages - 1 - s, 2 * m->nstages - 1 - v->stage};
}

/* In the order of backward: a stage's output has its place before the stage leaves it to an input. */
void ddp_graph_spare(struct ddp_model *m)
{
    for (int s = m->nstages - 1; s >= 0; s--) {
        leave_gradient(m, &m->stage[s]);
        put_aside(m, s);
    }
}
