/* What the pass on the CPU tells of its ops (engine/probe.h). */
#include "engine/cpu/pass_private.h"
#include "engine/probing.h"

void ddp_cpu_pass_tell(struct ddp_cpu_pass *p, struct ddp_probe *probe, int first)
{
    p->probe = probe;
    p->first = first;
}

static void tell_din(const struct ddp_cpu_pass *p, int s, int i, const struct ddp_op_call *c)
{
    for (int k = 0; k < p->plan->stage[s].nin; k++)
        if (c->din[k])
            ddp_probe_tensor(p->probe, p->probe->din[s][k], p->first + i, c->din[k]);
}

static void tell_leaves(const struct ddp_cpu_pass *p, int s, int i, const struct ddp_op_call *c)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    for (int k = 0; k < st->plan->nparams; k++)
        if (c->grad[k])
            ddp_probe_leaf(p->probe, st->tensor[k], p->first + i, c->grad[k]);
}

void ddp_cpu_pass_tell_forward(const struct ddp_cpu_pass *p, int s, int i, const struct ddp_op_call *c)
{
    const struct ddp_stage *st = &p->plan->stage[s];
    if (s == 0)
        ddp_probe_shard(p->probe, p->first + i, &p->res[i].shard);
    if (st->op->is_loss) {
        ddp_probe_loss(p->probe, p->probe->forward[s], p->first + i, *c->loss);
        tell_din(p, s, i, c);
    } else {
        tell_leaves(p, s, i, c);
        ddp_probe_tensor(p->probe, p->probe->forward[s], p->first + i, c->out);
    }
}

void ddp_cpu_pass_tell_backward(const struct ddp_cpu_pass *p, int s, int i, const struct ddp_op_call *c)
{
    struct ddp_op_call gradients = *c; /* the statistics were told in forward */
    for (int k = 0; k < p->plan->stage[s].plan->nparams; k++)
        if (p->plan->flat->tensor[p->plan->stage[s].tensor[k]].param.role != DDP_PARAM_TRAINED)
            gradients.grad[k] = NULL;
    tell_din(p, s, i, &gradients);
    tell_leaves(p, s, i, &gradients);
}
