/* One rank's memory for a model: a block of pages, cut up by the memory plan.
 *
 *   [shard area, leaves of running statistics] for each resident shard, [scratch],
 *   [leaves and sum of synchronised statistics] */
#include "engine/cpu/pass_private.h"

#include <stdlib.h>

size_t ddp_cpu_pass_stats_bytes(const struct ddp_model *m, bool training)
{
    return training ? (size_t)(m->flat.metrics - m->flat.stats) * sizeof(float) : 0;
}

static size_t sync_bytes(const struct ddp_model *m, int resident, bool training)
{
    return training ? ((size_t)m->max_sync * sizeof(float) * (resident + 1) + 63) / 64 * 64 : 0;
}

size_t ddp_cpu_pass_bytes(const struct ddp_model *m, int resident, bool training)
{
    const struct ddp_memory *mem = training ? &m->train : &m->eval;
    return resident * (mem->shard_bytes + ddp_cpu_pass_stats_bytes(m, training)) + mem->scratch_bytes +
           sync_bytes(m, resident, training);
}

static struct ddp_tensor place_tensor(const struct ddp_memory *mem, int span, char *area)
{
    if (span < 0)
        return (struct ddp_tensor){0};
    struct ddp_tensor t = mem->span[span].tensor;
    t.p = (float *)(area + mem->span[span].offset) + mem->span[span].lead;
    return t;
}

static void place_resident(struct ddp_cpu_pass *p, struct ddp_cpu_resident *r, char *area)
{
    const struct ddp_model *m = p->m;
    r->area = area;
    r->stats = p->conf.training ? (float *)(area + p->mem->shard_bytes) : NULL;
    r->value = ddp_calloc(m->nvalues + 1, sizeof *r->value);
    r->grad = ddp_calloc(m->nvalues + 1, sizeof *r->grad);
    for (int v = 0; v < m->nvalues; v++) {
        r->value[v] = place_tensor(p->mem, p->mem->value[v], area);
        r->grad[v] = place_tensor(p->mem, p->mem->grad[v], area);
    }
}

int ddp_cpu_pass_create(const struct ddp_model *m, const struct ddp_cpu_pass_conf *conf,
                        struct ddp_cpu_pass **out, struct ddp_error *err)
{
    char text[32];
    if (conf->resident < 1)
        return ddp_fail(err, DDP_E_USAGE, "ddp_cpu_pass_create: resident is %d, wants at least 1",
                        conf->resident);
    if (conf->training && m->max_sync > 0 && !conf->sync)
        return ddp_fail(err, DDP_E_USAGE,
                        "ddp_cpu_pass_create: the model has synchronised layers, but conf.sync is NULL");
    struct ddp_cpu_pass *p = ddp_calloc(1, sizeof *p);
    p->m = m;
    p->conf = *conf;
    p->mem = conf->training ? &m->train : &m->eval;
    p->bytes = ddp_cpu_pass_bytes(m, conf->resident, conf->training);
    p->res = ddp_calloc(conf->resident, sizeof *p->res);
    p->pages = ddp_pages_alloc(p->bytes + 64); /* zeroed: halos and channel padding start as zeros */
    if (!p->pages) {
        ddp_cpu_pass_destroy(p);
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "no memory for activations: %s for %d shard%s of %d samples; use a smaller train.batch or more "
            "train.shards",
            ddp_bytes_text((double)ddp_cpu_pass_bytes(m, conf->resident, conf->training), text),
            conf->resident, conf->resident == 1 ? "" : "s", m->batch);
    }
    char *at = p->pages;
    for (int i = 0; i < conf->resident; i++) {
        place_resident(p, &p->res[i], at);
        at += p->mem->shard_bytes + ddp_cpu_pass_stats_bytes(m, conf->training);
    }
    p->scratch = at;
    at += p->mem->scratch_bytes;
    p->sync_leaves = (float *)at;
    p->sync_sum = p->sync_leaves + (size_t)m->max_sync * conf->resident;
    *out = p;
    return 0;
}

void ddp_cpu_pass_destroy(struct ddp_cpu_pass *p)
{
    if (!p)
        return;
    for (int i = 0; p->res && i < p->conf.resident; i++) {
        free(p->res[i].value);
        free(p->res[i].grad);
    }
    if (p->pages)
        ddp_pages_free(p->pages, p->bytes + 64);
    free(p->res);
    free(p);
}
