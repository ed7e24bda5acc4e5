/* One rank's memory for a model: a block of pages, cut up by the memory plan.
 *
 *   [shard area, leaves of running statistics] for each resident shard, [scratch],
 *   [leaves and sum of synchronised statistics] */
#include "model/exec.h"

#include <stdlib.h>

size_t ddp_exec_stats_bytes(const struct ddp_model *m, bool training)
{
    return training ? (size_t)(m->flat.metrics - m->flat.stats) * sizeof(float) : 0;
}

static size_t sync_bytes(const struct ddp_model *m, int resident, bool training)
{
    return training ? ((size_t)m->max_sync * sizeof(float) * (resident + 1) + 63) / 64 * 64 : 0;
}

size_t ddp_model_exec_bytes(const struct ddp_model *m, int resident, bool training)
{
    const struct ddp_memory *mem = training ? &m->train : &m->eval;
    return resident * (mem->shard_bytes + ddp_exec_stats_bytes(m, training)) + mem->scratch_bytes +
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

static void place_resident(struct ddp_exec *e, struct ddp_resident *r, char *area)
{
    const struct ddp_model *m = e->m;
    r->area = area;
    r->stats = e->conf.training ? (float *)(area + e->mem->shard_bytes) : NULL;
    r->value = ddp_calloc(m->nvalues + 1, sizeof *r->value);
    r->grad = ddp_calloc(m->nvalues + 1, sizeof *r->grad);
    for (int v = 0; v < m->nvalues; v++) {
        r->value[v] = place_tensor(e->mem, e->mem->value[v], area);
        r->grad[v] = place_tensor(e->mem, e->mem->grad[v], area);
    }
}

int ddp_exec_create(const struct ddp_model *m, const struct ddp_exec_conf *conf, struct ddp_exec **out,
                    struct ddp_error *err)
{
    char text[32];
    if (conf->resident < 1)
        return ddp_fail(err, DDP_E_USAGE, "ddp_exec_create: resident is %d, wants at least 1",
                        conf->resident);
    if (conf->training && m->max_sync > 0 && !conf->sync)
        return ddp_fail(err, DDP_E_USAGE,
                        "ddp_exec_create: the model has synchronised layers, but conf.sync is NULL");
    struct ddp_exec *e = ddp_calloc(1, sizeof *e);
    e->m = m;
    e->conf = *conf;
    e->mem = conf->training ? &m->train : &m->eval;
    e->bytes = ddp_model_exec_bytes(m, conf->resident, conf->training);
    e->res = ddp_calloc(conf->resident, sizeof *e->res);
    e->pages = ddp_pages_alloc(e->bytes + 64); /* zeroed: halos and channel padding start as zeros */
    if (!e->pages) {
        ddp_exec_destroy(e);
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "no memory for activations: %s for %d shard%s of %d samples; use a smaller train.batch or more "
            "train.shards",
            ddp_bytes_text((double)ddp_model_exec_bytes(m, conf->resident, conf->training), text),
            conf->resident, conf->resident == 1 ? "" : "s", m->batch);
    }
    char *p = e->pages;
    for (int i = 0; i < conf->resident; i++) {
        place_resident(e, &e->res[i], p);
        p += e->mem->shard_bytes + ddp_exec_stats_bytes(m, conf->training);
    }
    e->scratch = p;
    p += e->mem->scratch_bytes;
    e->sync_leaves = (float *)p;
    e->sync_sum = e->sync_leaves + (size_t)m->max_sync * conf->resident;
    *out = e;
    return 0;
}

void ddp_exec_destroy(struct ddp_exec *e)
{
    if (!e)
        return;
    for (int i = 0; e->res && i < e->conf.resident; i++) {
        free(e->res[i].value);
        free(e->res[i].grad);
    }
    if (e->pages)
        ddp_pages_free(e->pages, e->bytes + 64);
    free(e->res);
    free(e);
}
