/* Where everything lies: life times from the order of calls, then placement. */
#include "model/graph.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static size_t up64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static bool alive_together(const struct ddp_span *a, const struct ddp_span *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static bool overlap(const struct ddp_span *a, const struct ddp_span *b)
{
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* order[0..n-1]: the larger first, equal ones in their own order, so that the plan is one function of its
 * input. */
static void sort_by_size(const struct ddp_span *span, int n, int *order)
{
    for (int i = 0; i < n; i++) {
        int k = i;
        for (; k > 0 && span[order[k - 1]].bytes < span[i].bytes; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
}

size_t ddp_memory_place(struct ddp_span *span, int n)
{
    int *order = ddp_malloc((n + 1) * sizeof *order);
    size_t total = 0;
    sort_by_size(span, n, order);
    for (int i = 0; i < n; i++) {
        struct ddp_span *s = &span[order[i]];
        s->bytes = up64(s->bytes);
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

static bool same_form(const struct ddp_span *a, const struct ddp_span *b)
{
    const struct ddp_tensor *s = &a->tensor, *t = &b->tensor;
    return a->kind != DDP_SPAN_SAVED && b->kind != DDP_SPAN_SAVED && a->offset == b->offset &&
           s->halo == t->halo && s->c == t->c && s->h == t->h && s->w == t->w && s->sn == t->sn;
}

/* Kernels write pixels, never borders: a border stays zero unless something of another form writes over it.
 */
static void mark_dirty_halos(struct ddp_memory *mem)
{
    for (int i = 0; i < mem->nspans; i++) {
        struct ddp_span *s = &mem->span[i];
        if (s->kind == DDP_SPAN_SAVED || s->tensor.halo == 0)
            continue;
        for (int j = 0; j < mem->nspans; j++)
            if (j != i && overlap(s, &mem->span[j]) && !same_form(s, &mem->span[j]))
                s->dirty_halo = true;
    }
}

static struct ddp_span tensor_span(enum ddp_span_kind kind, int index, const struct ddp_value *v, int batch)
{
    struct ddp_span s = {.kind = kind, .index = index};
    int halo = kind == DDP_SPAN_GRAD ? v->grad_halo : v->halo;
    int64_t floats = v->order == DDP_ORDER_FEATURES
                         ? ddp_tensor_features(&s.tensor, batch, v->shape)
                         : ddp_tensor_pictures(&s.tensor, batch, v->shape, halo, &s.lead);
    s.bytes = (size_t)floats * sizeof(float);
    return s;
}

static void add_span(struct ddp_memory *mem, int *slot, const struct ddp_span *s)
{
    *slot = -1;
    if (s->bytes == 0)
        return;
    *slot = mem->nspans;
    mem->span[mem->nspans++] = *s;
}

void ddp_memory_plan(const struct ddp_model *m, bool training, bool reuse, struct ddp_memory *out)
{
    struct ddp_memory mem = {0};
    const int S = m->nstages, end = 2 * S;
    mem.span = ddp_arena_alloc(m->arena, (2 * m->nvalues + S + 1) * sizeof *mem.span);
    mem.value = ddp_arena_alloc(m->arena, (m->nvalues + 1) * sizeof(int));
    mem.grad = ddp_arena_alloc(m->arena, (m->nvalues + 1) * sizeof(int));
    mem.saved = ddp_arena_alloc(m->arena, (S + 1) * sizeof(int));

    for (int i = 0; i < m->nvalues; i++) {
        const struct ddp_value *v = &m->value[i];
        struct ddp_span s = tensor_span(DDP_SPAN_VALUE, i, v, m->batch);
        /* In training activations keep their bytes to the end: backward wants nearly all of them, and after a
         * loss that is not finite they are searched for the cause. Data and what the loss reads are kept
         * always. */
        bool keep = training || v->stage == DDP_DATA || v->last_use == S - 1;
        s.first = keep ? 0 : v->stage;
        s.last = keep ? end : v->last_use;
        add_span(&mem, &mem.value[i], &s);

        mem.grad[i] = -1;
        if (training && v->wants_grad) {
            s = tensor_span(DDP_SPAN_GRAD, i, v, m->batch);
            /* a loss writes its input's gradient in forward */
            s.first = v->last_use == S - 1 ? S - 1 : end - 1 - v->last_use;
            s.last = end - 1 - v->stage;
            add_span(&mem, &mem.grad[i], &s);
        }
    }
    for (int i = 0; i < S; i++) {
        const struct ddp_layer_plan *plan = &m->layer[m->stage[i].layer].plan;
        struct ddp_span s = {.kind = DDP_SPAN_SAVED, .index = i, .bytes = plan->saved_bytes};
        s.first = i;
        s.last = training ? end - 1 - i : i;
        add_span(&mem, &mem.saved[i], &s);
        if (mem.scratch_bytes < plan->scratch_bytes)
            mem.scratch_bytes = plan->scratch_bytes;
    }
    for (int i = 0; !reuse && i < mem.nspans; i++) {
        mem.span[i].first = 0;
        mem.span[i].last = INT_MAX;
    }
    mem.scratch_bytes = up64(mem.scratch_bytes);
    mem.shard_bytes = ddp_memory_place(mem.span, mem.nspans);
    mark_dirty_halos(&mem);
    *out = mem;
}
