/* The nodes of a step, from the plan of the pass, the flat space and the optimizer. */
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/probing.h"

const char *ddp_probe_kind_name(enum ddp_probe_kind kind)
{
    static const char *const names[DDP_PROBE_KINDS] = {"begin", "input", "forward", "backward",
                                                       "sum",   "scale", "update"};
    return names[kind];
}

bool ddp_probe_fits(const struct ddp_probe_node *node, const char *pattern)
{
    char full[200];
    snprintf(full, sizeof full, "%s/%s", ddp_probe_kind_name(node->kind), node->name);
    return fnmatch(pattern, full, 0) == 0;
}

static bool is_wanted(const struct ddp_probe *p, const struct ddp_probe_node *node)
{
    const struct ddp_strings *patterns = &p->e->conf.cfg->probe.values;
    for (int i = 0; i < patterns->n; i++)
        if (ddp_probe_fits(node, patterns->v[i]))
            return true;
    return false;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static struct ddp_probe_node *add(struct ddp_probe *p, enum ddp_probe_kind kind, const char *fmt, ...)
    DDP_PRINTF(3, 4);
static struct ddp_probe_node *add(struct ddp_probe *p, enum ddp_probe_kind kind, const char *fmt, ...)
{
    va_list args;
    p->node = ddp_realloc(p->node, (size_t)(p->n + 1) * sizeof *p->node);
    struct ddp_probe_node *node = &p->node[p->n++];
    *node = (struct ddp_probe_node){.kind = kind};
    va_start(args, fmt);
    vsnprintf(node->name, sizeof node->name, fmt, args);
    va_end(args);
    return node;
}

static void allocate(const struct ddp_probe *p, struct ddp_probe_node *node)
{
    const size_t parts = (size_t)node->parts;
    node->here = ddp_calloc(parts + 1, sizeof *node->here);
    node->digest = ddp_calloc(parts + 1, DDP_PROBE_DIGEST);
    node->wanted = is_wanted(p, node);
    if (node->wanted)
        node->values = ddp_calloc(node->blocks ? 1 : parts + 1, sizeof *node->values);
}

/* Of this rank's shards. */
static int of_shards(struct ddp_probe *p, struct ddp_probe_node *node)
{
    const struct ddp_rank_plan *r = &p->e->conf.ranks;
    node->of = r->shards;
    node->first = r->first;
    node->parts = ddp_rank_plan_mine(r);
    allocate(p, node);
    return p->n - 1;
}

static int of_blocks(struct ddp_probe *p, struct ddp_probe_node *node, const struct ddp_flat_tensor *t)
{
    node->blocks = true;
    node->of = node->parts = (t->size + DDP_BLOCK - 1) / DDP_BLOCK;
    allocate(p, node);
    return p->n - 1;
}

static int of_one(struct ddp_probe *p, struct ddp_probe_node *node)
{
    node->of = node->parts = 1;
    allocate(p, node);
    return p->n - 1;
}

/* ---- the list -------------------------------------------------------------------------------- */

/* The optimizer's arrays, then what follows from them: parameters and statistics. */
static int add_state(struct ddp_probe *p, enum ddp_probe_kind kind)
{
    const struct ddp_flat *f = p->e->flat;
    const int first = p->n;
    const char *array;
    for (int a = 0; a < ddp_optim_arrays(p->e->optim); a++) {
        ddp_optim_array(p->e->optim, a, &array);
        for (int i = 0; i < f->ntrained; i++)
            of_blocks(p, add(p, kind, "%s.%s", f->tensor[i].name, array), &f->tensor[i]);
    }
    for (int i = 0; i < f->ntensors; i++)
        of_blocks(p, add(p, kind, "%s", f->tensor[i].name), &f->tensor[i]);
    return first;
}

static void name_op(const struct ddp_stage *st, bool fused, struct ddp_probe_node *node)
{
    snprintf(node->op, sizeof node->op, "%.40s%s%s", st->op->name,
             fused && st->fused & DDP_FUSE_ADD ? "+add" : "",
             fused && st->fused & DDP_FUSE_RELU ? "+relu" : "");
}

static void add_forward(struct ddp_probe *p, const struct ddp_stages *plan, int s)
{
    const struct ddp_stage *st = &plan->stage[s];
    for (int k = 0; k < st->plan->nparams; k++) {
        const struct ddp_flat_tensor *t = &p->e->flat->tensor[st->tensor[k]];
        if (t->param.role == DDP_PARAM_TRAINED)
            continue;
        struct ddp_probe_node *node = add(p, DDP_PROBE_FORWARD, "%s", t->name);
        name_op(st, false, node);
        p->leaf[st->tensor[k]] = of_shards(p, node);
    }
    struct ddp_probe_node *node = add(p, DDP_PROBE_FORWARD, "%s", st->output);
    name_op(st, true, node);
    p->forward[s] = of_shards(p, node);
}

/* The gradients that stage s makes: of its inputs (a loss does so in forward), and of its parameters. */
static void add_backward(struct ddp_probe *p, const struct ddp_stages *plan, int s)
{
    const struct ddp_stage *st = &plan->stage[s];
    for (int k = 0; k < st->nin; k++) {
        if (st->din[k] == DDP_GRAD_NONE)
            continue;
        char which[8] = "";
        if (st->nin > 1)
            snprintf(which, sizeof which, "%d", k + 1);
        struct ddp_probe_node *node = add(p, DDP_PROBE_BACKWARD, "%s.input%s", st->name, which);
        name_op(st, true, node);
        p->din[s][k] = of_shards(p, node);
    }
    for (int k = 0; k < st->plan->nparams; k++) {
        const struct ddp_flat_tensor *t = &p->e->flat->tensor[st->tensor[k]];
        if (t->param.role != DDP_PARAM_TRAINED)
            continue;
        struct ddp_probe_node *node = add(p, DDP_PROBE_BACKWARD, "%s", t->name);
        name_op(st, true, node);
        p->leaf[st->tensor[k]] = of_shards(p, node);
    }
}

static void add_passes(struct ddp_probe *p, const struct ddp_stages *plan)
{
    static const char *const inputs[] = {"samples", "targets", "data"};
    p->forward = ddp_calloc((size_t)plan->nstages + 1, sizeof *p->forward);
    p->din = ddp_calloc((size_t)plan->nstages + 1, sizeof *p->din);
    p->leaf = ddp_calloc((size_t)p->e->flat->ntensors + 1, sizeof *p->leaf);
    memset(p->din, -1, ((size_t)plan->nstages + 1) * sizeof *p->din);
    p->input = p->n;
    for (size_t i = 0; i < DDP_COUNT(inputs); i++)
        of_shards(p, add(p, DDP_PROBE_INPUT, "%s", inputs[i]));
    for (int s = 0; s < plan->nstages; s++)
        add_forward(p, plan, s);
    if (plan->nstages > 0)
        add_backward(p, plan, plan->nstages - 1); /* the loss */
    for (int b = 0; b < plan->nbackward; b++)
        add_backward(p, plan, plan->backward[b]);
}

void ddp_probe_list(struct ddp_probe *p)
{
    const struct ddp_stages *plan = ddp_model_stages(p->e->conf.model);
    const struct ddp_flat *f = p->e->flat;
    int64_t most = 1;
    p->begin = add_state(p, DDP_PROBE_BEGIN);
    add_passes(p, plan);
    p->sum = p->n;
    for (int i = 0; i < f->ntensors; i++)
        of_blocks(p, add(p, DDP_PROBE_SUM, "%s", f->tensor[i].name), &f->tensor[i]);
    p->lr = of_one(p, add(p, DDP_PROBE_SCALE, "lr"));
    p->norm = of_one(p, add(p, DDP_PROBE_SCALE, "norm"));
    p->update = add_state(p, DDP_PROBE_UPDATE);
    for (int v = 0; v < plan->nvalues; v++) {
        const struct ddp_shape s = plan->value[v].shape;
        const int64_t size = (int64_t)plan->batch * s.c * s.h * s.w;
        most = size > most ? size : most;
    }
    p->plain = ddp_calloc((size_t)most, sizeof *p->plain);
}

void ddp_probe_unlist(struct ddp_probe *p)
{
    for (int i = 0; i < p->n; i++) {
        struct ddp_probe_node *node = &p->node[i];
        for (int64_t k = 0; node->values && k < (node->blocks ? 1 : node->parts); k++)
            free(node->values[k].data);
        free(node->values);
        free(node->here);
        free(node->digest);
    }
    free(p->node);
    free(p->forward);
    free(p->din);
    free(p->leaf);
    free(p->plain);
}
