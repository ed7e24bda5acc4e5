/* The table at the start of a run. */
#include "model/graph.h"
#include "model/memory_plan.h"

#include <stdio.h>
#include <string.h>

static int64_t trained(const struct ddp_layer *l)
{
    int64_t n = 0;
    for (int k = 0; k < l->plan.nparams; k++)
        if (l->plan.params[k].role == DDP_PARAM_TRAINED)
            n += ddp_layout_plain_size(&l->plan.params[k]);
    return n;
}

int64_t ddp_model_parameters(const struct ddp_model *m)
{
    int64_t n = 0;
    for (int i = 0; i < m->nlayers; i++)
        n += trained(&m->layer[i]);
    return n;
}

double ddp_model_flops(const struct ddp_model *m)
{
    double n = 0;
    for (int i = 0; i < m->nlayers; i++)
        n += m->layer[i].plan.flops;
    return n;
}

/* 1234567 -> "1,234,567" */
static char *grouped(int64_t n, char buf[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), k = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf[k++] = ',';
        buf[k++] = digits[i];
    }
    buf[k] = '\0';
    return buf;
}

static double span_bytes(const struct ddp_memory *mem, int span)
{
    return span < 0 ? 0 : (double)mem->span[span].bytes;
}

/* Activations, gradients and saved data of the stage that ends with layer i, before any sharing; -1: none
 * does. mem NULL: the device has sizes of its own. */
static double stage_bytes(const struct ddp_stages *p, const struct ddp_memory *mem, int i)
{
    for (int s = 0; mem && s < p->nstages; s++) {
        const int out = p->stage[s].out;
        if (p->stage[s].last == i)
            return span_bytes(mem, mem->saved[s]) +
                   (out < 0 ? 0 : span_bytes(mem, mem->value[out]) + span_bytes(mem, mem->grad[out]));
    }
    return -1;
}

/* 24090112 -> "24.090": millions, whatever the locale's decimal point is. */
static char *millions(double n, char buf[32])
{
    long long thousandths = (long long)(n * 1e-3 + 0.5);
    snprintf(buf, 32, "%lld.%03lld", thousandths / 1000, thousandths % 1000);
    return buf;
}

static void add_row(const struct ddp_model *m, const struct ddp_memory *memory, int i, int names, int types,
                    struct ddp_text *t)
{
    const struct ddp_layer *l = &m->layer[i];
    char shape[40] = "-", count[32], flops[32], mem[32] = "-";
    double bytes = stage_bytes(&m->stages, memory, i);
    if (!l->op->is_loss)
        ddp_shape_text(l->plan.out, shape);
    if (bytes > 0)
        ddp_bytes_text(bytes, mem);
    int64_t n = trained(l);
    ddp_text_add(t, "%-*s  %-*s  %12s %12s %12s %10s", names, l->name, types, l->op->name, shape,
                 n ? grouped(n, count) : "-", millions(l->plan.flops, flops), mem);
    if (l->host != i)
        ddp_text_add(t, "  in %s", m->layer[l->host].name);
    else if (bytes < 0 && memory && ddp_layer_is(l, "flatten"))
        ddp_text_add(t, "  costs nothing");
    ddp_text_add(t, "\n");
}

char *ddp_model_summary(const struct ddp_model *m)
{
    const bool cpu = !m->gpu;
    struct ddp_memory memory = {0};
    struct ddp_text t;
    char shape[40], count[32], flops[32], mem[32];
    int names = 5, types = 4;
    for (int i = 0; i < m->nlayers; i++) {
        int n = (int)strlen(m->layer[i].name), k = (int)strlen(m->layer[i].op->name);
        names = n > names ? n : names;
        types = k > types ? k : types;
    }
    if (cpu)
        ddp_memory_plan_cpu(&m->stages, true, &memory);
    ddp_text_init(&t);
    ddp_text_add(&t, "%-*s  %-*s  %12s %12s %12s %10s\n", names, "layer", types, "type", "output",
                 "parameters", "MFLOP/sample", "memory");
    ddp_text_add(&t, "%-*s  %-*s  %12s\n", names, "data", types, "", ddp_shape_text(m->input, shape));
    for (int i = 0; i < m->nlayers; i++)
        add_row(m, cpu ? &memory : NULL, i, names, types, &t);
    ddp_text_add(&t, "%s parameters, %s MFLOP per sample forward", grouped(ddp_model_parameters(m), count),
                 millions(ddp_model_flops(m), flops));
    if (cpu)
        ddp_text_add(&t, ", %s for a shard of %d in training",
                     ddp_bytes_text((double)memory.shard_bytes, mem), m->batch);
    if (memory.scratch_bytes)
        ddp_text_add(&t, ", %s scratch", ddp_bytes_text((double)memory.scratch_bytes, mem));
    ddp_text_add(&t, "\n");
    ddp_memory_finish(&memory);
    return t.s;
}
