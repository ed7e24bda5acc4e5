/* One rank's memory for a model on the CPU: a block of pages, cut up by the memory plan. */
#include "engine/cpu/pass_private.h"

#include <stdlib.h>
#include <string.h>

enum { PAST = 64 }; /* bytes that vectors at the end may read */

size_t ddp_cpu_pass_bytes(const struct ddp_model *m, int resident, bool training)
{
    struct ddp_memory mem;
    ddp_memory_plan_cpu(ddp_model_stages(m), training, &mem);
    const size_t bytes = ddp_memory_bytes(&mem, resident);
    ddp_memory_finish(&mem);
    return bytes + PAST;
}

/* ---- borders ---- */

static struct ddp_tensor tensor_of(const struct ddp_cpu_pass *p, const struct ddp_span *s, int64_t *lead)
{
    struct ddp_tensor t;
    ddp_value_tensor(&p->plan->value[s->index], p->plan->batch, s->kind == DDP_SPAN_GRAD, &t, lead);
    return t;
}

static bool overlap(const struct ddp_span *a, const struct ddp_span *b)
{
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static bool same_form(const struct ddp_cpu_pass *p, const struct ddp_span *a, const struct ddp_span *b)
{
    int64_t lead;
    if (a->kind == DDP_SPAN_SAVED || b->kind == DDP_SPAN_SAVED || a->offset != b->offset)
        return false;
    const struct ddp_tensor s = tensor_of(p, a, &lead), t = tensor_of(p, b, &lead);
    return s.halo == t.halo && s.c == t.c && s.h == t.h && s.w == t.w && s.sn == t.sn;
}

/* Kernels write pixels, never borders: these stay zero unless something of another form writes over them. */
static void find_dirty(struct ddp_cpu_pass *p)
{
    const struct ddp_span *span = p->mem.span;
    p->dirty = ddp_calloc((size_t)p->mem.nspans + 1, sizeof *p->dirty);
    for (int i = 0; i < p->mem.nspans; i++) {
        int64_t lead;
        if (span[i].kind == DDP_SPAN_SAVED || tensor_of(p, &span[i], &lead).halo == 0)
            continue;
        for (int j = 0; j < p->mem.nspans; j++)
            p->dirty[i] |= j != i && overlap(&span[i], &span[j]) && !same_form(p, &span[i], &span[j]);
    }
}

/* ---- pages ---- */

int ddp_cpu_pages_init(struct ddp_cpu_pages *pages, size_t bytes, struct ddp_error *err)
{
    char text[32];
    *pages = (struct ddp_cpu_pages){.at = ddp_pages_alloc(bytes), .bytes = bytes};
    return pages->at
               ? 0
               : ddp_fail(err, DDP_E_RESOURCE,
                          "no memory for activations: %s; use a smaller train.batch or more train.shards",
                          ddp_bytes_text((double)bytes, text));
}

void ddp_cpu_pages_finish(struct ddp_cpu_pages *pages)
{
    if (pages->at)
        ddp_pages_free(pages->at, pages->bytes);
    *pages = (struct ddp_cpu_pages){0};
}

void ddp_cpu_pass_hold(struct ddp_cpu_pass *p)
{
    struct ddp_cpu_pages *pages = p->pages;
    if (pages->holder == p)
        return;
    if (pages->holder) /* borders and the padding of channels are zeros that no kernel writes */
        memset(pages->at, 0, p->bytes);
    pages->holder = p;
}

static struct ddp_tensor place_tensor(const struct ddp_cpu_pass *p, int span, char *area)
{
    int64_t lead;
    if (span < 0)
        return (struct ddp_tensor){0};
    struct ddp_tensor t = tensor_of(p, &p->mem.span[span], &lead);
    t.p = (float *)ddp_memory_span(&p->mem, area, span) + lead;
    return t;
}

static void place_resident(struct ddp_cpu_pass *p, struct ddp_cpu_resident *r, char *area)
{
    const int n = p->plan->nvalues;
    r->area = area;
    r->stats = p->conf.training ? ddp_memory_stats(&p->mem, area) : NULL;
    r->value = ddp_calloc((size_t)n + 1, sizeof *r->value);
    r->grad = ddp_calloc((size_t)n + 1, sizeof *r->grad);
    for (int v = 0; v < n; v++) {
        r->value[v] = place_tensor(p, p->mem.value[v], area);
        r->grad[v] = place_tensor(p, p->mem.grad[v], area);
    }
}

int ddp_cpu_pass_create(const struct ddp_model *m, const struct ddp_cpu_pass_conf *conf,
                        struct ddp_cpu_pass **out, struct ddp_error *err)
{
    const struct ddp_stages *plan = ddp_model_stages(m);
    const int resident = conf->resident;
    if (resident < 1)
        return ddp_fail(err, DDP_E_USAGE, "ddp_cpu_pass_create: resident is %d, wants at least 1", resident);
    if (conf->training && plan->synced && !conf->sync)
        return ddp_fail(err, DDP_E_USAGE,
                        "ddp_cpu_pass_create: the model has synchronised layers, but conf.sync is NULL");
    struct ddp_cpu_pass *p = ddp_calloc(1, sizeof *p);
    p->conf = *conf;
    p->plan = plan;
    ddp_memory_plan_cpu(plan, conf->training, &p->mem);
    find_dirty(p);
    p->bytes = ddp_memory_bytes(&p->mem, resident) + PAST;
    p->res = ddp_calloc((size_t)resident, sizeof *p->res);
    p->pages = conf->pages ? conf->pages : &p->own;
    int status = conf->pages ? 0 : ddp_cpu_pages_init(&p->own, p->bytes, err);
    if (status == 0 && p->pages->bytes < p->bytes)
        status =
            ddp_fail(err, DDP_E_USAGE, "ddp_cpu_pass_create: %zu bytes of pages are wanted, %zu are there",
                     p->bytes, p->pages->bytes);
    if (status) {
        ddp_cpu_pass_destroy(p);
        return status;
    }
    char *at = p->pages->at;
    for (int i = 0; i < resident; i++)
        place_resident(p, &p->res[i], ddp_memory_area(&p->mem, at, i));
    p->scratch = ddp_memory_scratch(&p->mem, at, resident);
    p->sync_leaves = ddp_memory_sync(&p->mem, at, resident, 0);
    p->sync_sum = ddp_memory_sync(&p->mem, at, resident, resident);
    *out = p;
    return 0;
}

void ddp_cpu_pass_destroy(struct ddp_cpu_pass *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->conf.resident; i++) {
        free(p->res[i].value);
        free(p->res[i].grad);
    }
    if (p->pages && p->pages->holder == p)
        p->pages->holder = p->pages; /* of nobody who is left */
    ddp_cpu_pages_finish(&p->own);
    ddp_memory_finish(&p->mem);
    free(p->dirty);
    free(p->res);
    free(p);
}
