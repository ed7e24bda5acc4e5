/* Where everything lies: spans with the life times of stages.h, then placement. */
#include "model/memory_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static size_t up(size_t bytes, size_t align)
{
    return (bytes + align - 1) / align * align;
}

static bool alive_together(const struct ddp_span *a, const struct ddp_span *b)
{
    return a->life.first <= b->life.last && b->life.first <= a->life.last;
}

static bool overlap(const struct ddp_span *a, const struct ddp_span *b)
{
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* order[0..n-1]: the larger first, equal ones in their own order: the plan is one function of its input. */
static void sort_by_size(const struct ddp_span *span, int n, int *order)
{
    for (int i = 0; i < n; i++) {
        int k = i;
        for (; k > 0 && span[order[k - 1]].bytes < span[i].bytes; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
}

size_t ddp_memory_place(struct ddp_span *span, int n, size_t align)
{
    int *order = ddp_malloc((n + 1) * sizeof *order);
    size_t total = 0;
    sort_by_size(span, n, order);
    for (int i = 0; i < n; i++) {
        struct ddp_span *s = &span[order[i]];
        s->bytes = up(s->bytes, align);
        s->offset = 0;
        /* Move behind whatever is in the way until nothing is: each move is upward, so this ends. */
        for (int j = 0; j < i; j++) {
            const struct ddp_span *other = &span[order[j]];
            if (alive_together(s, other) && overlap(s, other)) {
                s->offset = other->offset + other->bytes;
                j = -1;
            }
        }
        if (total < s->offset + s->bytes)
            total = s->offset + s->bytes;
    }
    free(order);
    return total;
}

/* A span in mem, its index in slot. */
static void add_span(struct ddp_memory *mem, int *slot, enum ddp_span_kind kind, int index, size_t bytes,
                     struct ddp_life life)
{
    *slot = -1;
    if (bytes == 0)
        return;
    *slot = mem->nspans;
    mem->span[mem->nspans++] = (struct ddp_span){.kind = kind, .index = index, .bytes = bytes, .life = life};
}

static void add_values(struct ddp_memory *mem, const struct ddp_stages *p, bool training,
                       const struct ddp_memory_form *form)
{
    for (int v = 0; v < p->nvalues; v++) {
        const struct ddp_value *val = &p->value[v];
        const size_t grad = training && val->wants_grad ? form->value(form->ctx, v, true) : 0;
        add_span(mem, &mem->value[v], DDP_SPAN_VALUE, v, form->value(form->ctx, v, false),
                 val->life[training]);
        if (grad && val->over && form->over)
            mem->grad[v] = mem->value[v];
        else
            add_span(mem, &mem->grad[v], DDP_SPAN_GRAD, v, val->grad_at == v ? grad : 0, val->grad);
        add_span(mem, &mem->aside[v], DDP_SPAN_GRAD, v, val->two_parts ? grad : 0, val->aside);
    }
    for (int v = 0; v < p->nvalues; v++)
        mem->grad[v] = mem->grad[p->value[v].grad_at];
}

static void add_stages(struct ddp_memory *mem, const struct ddp_stages *p, bool training,
                       const struct ddp_memory_form *form)
{
    for (int s = 0; s < p->nstages; s++) {
        const size_t scratch = form->scratch(form->ctx, s);
        const int sync = training && p->stage[s].synced ? form->sync_doubles(form->ctx, s) : 0;
        add_span(mem, &mem->saved[s], DDP_SPAN_SAVED, s, form->saved(form->ctx, s),
                 p->stage[s].saved[training]);
        mem->scratch_bytes = scratch > mem->scratch_bytes ? scratch : mem->scratch_bytes;
        mem->sync_doubles = sync > mem->sync_doubles ? sync : mem->sync_doubles;
    }
}

void ddp_memory_plan(const struct ddp_stages *p, bool training, const struct ddp_memory_form *form,
                     struct ddp_memory *out)
{
    const size_t values = (size_t)p->nvalues + 1, stages = (size_t)p->nstages + 1;
    struct ddp_memory mem = {.align = form->align};
    mem.span = ddp_calloc(3 * values + stages, sizeof *mem.span);
    mem.value = ddp_calloc(values, sizeof *mem.value);
    mem.grad = ddp_calloc(values, sizeof *mem.grad);
    mem.aside = ddp_calloc(values, sizeof *mem.aside);
    mem.saved = ddp_calloc(stages, sizeof *mem.saved);
    add_values(&mem, p, training, form);
    add_stages(&mem, p, training, form);
    mem.shard_bytes = ddp_memory_place(mem.span, mem.nspans, mem.align);
    mem.stats_bytes = training ? (size_t)(p->flat->metrics - p->flat->stats) * sizeof(float) : 0;
    mem.scratch_bytes = up(mem.scratch_bytes, mem.align);
    *out = mem;
}

void ddp_memory_finish(struct ddp_memory *mem)
{
    free(mem->span);
    free(mem->value);
    free(mem->grad);
    free(mem->aside);
    free(mem->saved);
    memset(mem, 0, sizeof *mem);
}

/* ---- the block ---- */

static size_t before_scratch(const struct ddp_memory *mem, int resident)
{
    return (size_t)resident * (mem->shard_bytes + mem->stats_bytes);
}

size_t ddp_memory_bytes(const struct ddp_memory *mem, int resident)
{
    const size_t leaves = mem->sync_doubles ? (size_t)resident + 1 : 0;
    return before_scratch(mem, resident) + mem->scratch_bytes +
           up(leaves * (size_t)mem->sync_doubles * sizeof(double), mem->align);
}

char *ddp_memory_area(const struct ddp_memory *mem, char *base, int shard)
{
    return base + before_scratch(mem, shard);
}

float *ddp_memory_stats(const struct ddp_memory *mem, char *area)
{
    return (float *)(void *)(area + mem->shard_bytes);
}

void *ddp_memory_span(const struct ddp_memory *mem, char *area, int span)
{
    return span < 0 ? NULL : area + mem->span[span].offset;
}

void *ddp_memory_scratch(const struct ddp_memory *mem, char *base, int resident)
{
    return base + before_scratch(mem, resident);
}

double *ddp_memory_sync(const struct ddp_memory *mem, char *base, int resident, int shard)
{
    return (double *)(void *)(base + before_scratch(mem, resident) + mem->scratch_bytes) +
           (size_t)shard * (size_t)mem->sync_doubles;
}
