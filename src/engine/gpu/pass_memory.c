#include "engine/gpu/pass_memory.h"

#include <stdlib.h>
#include <string.h>

/* A span for `bytes`, and where its offset goes. */
static void add(struct ddp_span *span, int64_t **slot, int *n, int64_t *at, size_t bytes, int first, int last)
{
    *at = -1;
    if (bytes == 0)
        return;
    span[*n] = (struct ddp_span){.bytes = ddp_gpu_align(bytes), .first = first, .last = last};
    slot[(*n)++] = at;
}

void ddp_gpu_memory_plan(const struct ddp_model *m, const size_t *saved_bytes, int batch, bool training,
                         enum ddp_gpu_type type, struct ddp_gpu_memory *out)
{
    const int S = m->nstages, end = 2 * S, most = 2 * m->nvalues + S;
    const size_t size = ddp_gpu_type_bytes(type);
    struct ddp_gpu_memory mem = {.value = ddp_malloc((size_t)(m->nvalues + 1) * sizeof(int64_t)),
                                 .grad = ddp_malloc((size_t)(m->nvalues + 1) * sizeof(int64_t)),
                                 .saved = ddp_malloc((size_t)(S + 1) * sizeof(int64_t))};
    struct ddp_span *span = ddp_calloc((size_t)most + 1, sizeof *span);
    int64_t **slot = ddp_calloc((size_t)most + 1, sizeof *slot);
    int n = 0;

    for (int v = 0; v < m->nvalues; v++) {
        const struct ddp_value *val = &m->value[v];
        const size_t bytes = (size_t)batch * (size_t)ddp_gpu_elements(val->shape) * size;
        /* In training activations stay to the end: backward wants nearly all of them, and the cause of a loss
         * that is not finite is looked for in them. */
        const bool keep = training || val->stage == DDP_DATA || val->last_use == S - 1;
        add(span, slot, &n, &mem.value[v], bytes, keep ? 0 : val->stage, keep ? end : val->last_use);
        /* a loss writes its input's gradient in forward */
        const int first = val->last_use == S - 1 ? S - 1 : end - 1 - val->last_use;
        add(span, slot, &n, &mem.grad[v], training && val->wants_grad ? bytes : 0, first,
            end - 1 - val->stage);
    }
    for (int s = 0; s < S; s++)
        add(span, slot, &n, &mem.saved[s], saved_bytes[s], s, training ? end - 1 - s : s);
    mem.shard_bytes = ddp_gpu_align(ddp_memory_place(span, n));
    for (int i = 0; i < n; i++)
        *slot[i] = (int64_t)span[i].offset;
    free(slot);
    free(span);
    *out = mem;
}

void ddp_gpu_memory_finish(struct ddp_gpu_memory *mem)
{
    free(mem->value);
    free(mem->grad);
    free(mem->saved);
    memset(mem, 0, sizeof *mem);
}
