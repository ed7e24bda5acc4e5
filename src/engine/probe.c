/* Digests, and values, of what a step computed. */
#include <stdlib.h>
#include <string.h>

#include "engine/probing.h"

static void digest(struct ddp_probe_node *node, int64_t part, const void *data, size_t bytes)
{
    struct ddp_sha256 h;
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, data, bytes);
    ddp_sha256_bytes(&h, node->digest + part * DDP_PROBE_DIGEST, DDP_PROBE_DIGEST);
    node->here[part] = true;
}

/* A fresh array for the values of a part; NULL: nobody wants them. */
static void *room(struct ddp_probe_node *node, int64_t part, enum ddp_probe_type type, int ndim,
                  const int64_t *dims)
{
    static const size_t widths[] = {
        [DDP_PROBE_F32] = 4, [DDP_PROBE_F64] = 8, [DDP_PROBE_I32] = 4, [DDP_PROBE_I64] = 8};
    size_t bytes = widths[type];
    if (!node->wanted)
        return NULL;
    struct ddp_probe_values *v = &node->values[node->blocks ? 0 : part];
    free(v->data);
    v->type = type;
    v->ndim = ndim;
    for (int d = 0; d < ndim; d++) {
        v->dims[d] = dims[d];
        bytes *= (size_t)dims[d];
    }
    v->data = ddp_calloc(bytes + 1, 1);
    return v->data;
}

/* Plain elements of a part that is one shard, or one number. */
static void add_plain(struct ddp_probe_node *node, int64_t part, enum ddp_probe_type type, int ndim,
                      const int64_t *dims, const void *data, size_t bytes)
{
    digest(node, part, data, bytes);
    void *to = room(node, part, type, ndim, dims);
    if (to && bytes > 0)
        memcpy(to, data, bytes);
}

/* ---- shards ---------------------------------------------------------------------------------- */

/* The parts of all classes, [n][classes], as one-hot labels mixed would be. */
static void add_mixed(const struct ddp_probe *p, struct ddp_probe_node *node, int64_t part, int64_t n,
                      const struct ddp_mixed *mixed)
{
    const int64_t dims[2] = {n, p->e->conf.test_set->info.classes};
    float *parts = ddp_calloc((size_t)(dims[0] * dims[1]) + 1, sizeof *parts);
    for (int64_t i = 0; i < n; i++) {
        parts[i * dims[1] + mixed[i].label] += mixed[i].own;
        parts[i * dims[1] + mixed[i].other] += 1.0f - mixed[i].own;
    }
    add_plain(node, part, DDP_PROBE_F32, 2, dims, parts, (size_t)(dims[0] * dims[1]) * sizeof *parts);
    free(parts);
}

void ddp_probe_shard(struct ddp_probe *p, int s, const struct ddp_shard *shard)
{
    struct ddp_probe_node *node = p->node + p->input;
    const int64_t part = s - node->first, n = shard->n;
    const struct ddp_stages *plan = ddp_model_stages(p->e->conf.model);
    const int64_t dims[4] = {n, plan->input.c, plan->input.h, plan->input.w};
    const int64_t targets[2] = {n, p->e->conf.test_set->info.targets};
    add_plain(&node[0], part, DDP_PROBE_I64, 1, dims, shard->sample, (size_t)n * sizeof *shard->sample);
    if (shard->mixed)
        add_mixed(p, &node[1], part, n, shard->mixed);
    else if (shard->target)
        add_plain(&node[1], part, DDP_PROBE_F32, 2, targets, shard->target,
                  (size_t)(targets[0] * targets[1]) * sizeof *shard->target);
    else
        add_plain(&node[1], part, DDP_PROBE_I32, 1, dims, shard->label, (size_t)n * sizeof *shard->label);
    add_plain(&node[2], part, DDP_PROBE_F32, 4, dims, shard->pixels,
              (size_t)(dims[0] * dims[1] * dims[2] * dims[3]) * sizeof *shard->pixels);
}

void ddp_probe_tensor(struct ddp_probe *p, int node, int s, const struct ddp_tensor *t)
{
    struct ddp_probe_node *at = &p->node[node];
    const int64_t dims[4] = {t->n, t->c, t->h, t->w};
    ddp_tensor_unpack(t, p->plain);
    add_plain(at, s - at->first, DDP_PROBE_F32, 4, dims, p->plain,
              (size_t)(dims[0] * dims[1] * dims[2] * dims[3]) * sizeof *p->plain);
}

void ddp_probe_leaf(struct ddp_probe *p, int i, int s, const float *at)
{
    const struct ddp_flat_tensor *t = &p->e->flat->tensor[i];
    struct ddp_probe_node *node = &p->node[p->leaf[i]];
    digest(node, s - node->first, at, (size_t)t->size * sizeof *at);
    float *to = room(node, s - node->first, DDP_PROBE_F32, t->param.ndim, t->param.dims);
    if (to)
        ddp_layout_unpack(&t->param, at, to);
}

void ddp_probe_loss(struct ddp_probe *p, int node, int s, float loss)
{
    struct ddp_probe_node *at = &p->node[node];
    add_plain(at, s - at->first, DDP_PROBE_F32, 0, NULL, &loss, sizeof loss);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

void ddp_probe_sums(struct ddp_probe *p, int64_t lo, int64_t hi, const float *sum)
{
    const struct ddp_flat *f = p->e->flat;
    for (int64_t at = lo; at < hi && at < f->metrics; at += DDP_BLOCK) {
        const int i = ddp_flat_find(f, at);
        if (i < 0)
            continue;
        digest(&p->node[p->sum + i], (at - f->tensor[i].offset) / DDP_BLOCK, sum + (at - lo),
               DDP_BLOCK * sizeof *sum);
        if (p->sums)
            memcpy(p->sums + at, sum + (at - lo), DDP_BLOCK * sizeof *sum);
    }
}

/* Rank 0 of one node sees all of every tensor. */
static bool sees_all(const struct ddp_probe *p)
{
    return p->e->conf.comm->rank == 0 && p->e->conf.comm->nodes == 1;
}

static void keep_tensor(struct ddp_probe *p, struct ddp_probe_node *node, int i, const float *array)
{
    const struct ddp_flat_tensor *t = &p->e->flat->tensor[i];
    float *to = node->wanted && sees_all(p) && array
                    ? room(node, 0, DDP_PROBE_F32, t->param.ndim, t->param.dims)
                    : NULL;
    if (to)
        ddp_layout_unpack(&t->param, array + t->offset, to);
}

/* Blocks of tensor i in `array`: those that `mine` has (NULL: all). */
static void digest_blocks(struct ddp_probe *p, int node, int i, const float *array, const bool *mine)
{
    const int64_t offset = p->e->flat->tensor[i].offset;
    struct ddp_probe_node *at = &p->node[node];
    for (int64_t b = 0; b < at->parts; b++)
        if (!mine || mine[b])
            digest(at, b, array + offset + b * DDP_BLOCK, DDP_BLOCK * sizeof *array);
    keep_tensor(p, at, i, array);
}

/* Whoever has the sums of a block has updated it. */
static void digest_state(struct ddp_probe *p, int node, bool all)
{
    const struct ddp_flat *f = p->e->flat;
    const char *name;
    const bool arrays = !all || p->e->conf.comm->nodes == 1; /* elsewhere only their owners have them */
    for (int a = 0; a < ddp_optim_arrays(p->e->optim); a++)
        for (int i = 0; i < f->ntrained; i++, node++)
            if (arrays)
                digest_blocks(p, node, i, ddp_optim_array(p->e->optim, a, &name),
                              all ? NULL : p->node[p->sum + i].here);
    for (int i = 0; i < f->ntensors; i++)
        digest_blocks(p, node++, i, p->e->params, all ? NULL : p->node[p->sum + i].here);
}

static void digest_scales(struct ddp_probe *p)
{
    const double lr = ddp_optim_lr(p->e->optim), norm = ddp_optim_norm(p->e->optim);
    if (p->e->conf.comm->rank > 0)
        return;
    add_plain(&p->node[p->lr], 0, DDP_PROBE_F64, 0, NULL, &lr, sizeof lr);
    add_plain(&p->node[p->norm], 0, DDP_PROBE_F64, 0, NULL, &norm, sizeof norm);
}

/* ---- a step ---------------------------------------------------------------------------------- */

void ddp_probe_begin(struct ddp_engine *e, int64_t step)
{
    struct ddp_probe *p = e->probe;
    if (!p)
        return;
    const int64_t from = e->conf.cfg->probe.from, to = e->conf.cfg->probe.to;
    p->on = step + 1 >= from && step + 1 <= (to > from ? to : from);
    for (int i = 0; i < p->n && p->on; i++)
        memset(p->node[i].here, 0, (size_t)p->node[i].parts * sizeof *p->node[i].here);
    if (p->on && !p->begun && e->conf.comm->rank == 0)
        digest_state(p, p->begin, true);
    p->begun |= p->on;
}

void ddp_probe_end(struct ddp_engine *e)
{
    struct ddp_probe *p = e->probe;
    if (!ddp_probe_on(p))
        return;
    digest_state(p, p->update, false);
    for (int i = 0; i < e->flat->ntensors; i++)
        keep_tensor(p, &p->node[p->sum + i], i, p->sums);
    digest_scales(p);
}

bool ddp_engine_probed(const struct ddp_engine *e, const struct ddp_probe_node **nodes, int *n)
{
    if (!ddp_probe_on(e->probe))
        return false;
    *nodes = e->probe->node;
    *n = e->probe->n;
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool wants_sums(const struct ddp_probe *p)
{
    for (int i = 0; i < p->n; i++)
        if (p->node[i].kind == DDP_PROBE_SUM && p->node[i].wanted)
            return true;
    return false;
}

static int check_patterns(const struct ddp_probe *p, struct ddp_error *err)
{
    const struct ddp_strings *patterns = &p->e->conf.cfg->probe.values;
    for (int k = 0; k < patterns->n; k++) {
        bool fits = false;
        for (int i = 0; i < p->n && !fits; i++)
            fits = ddp_probe_fits(&p->node[i], patterns->v[k]);
        if (!fits)
            return ddp_fail(
                err, DDP_E_CONFIG,
                "probe.values: '%s' fits nothing that a step of this model computes; patterns are "
                "of KIND/NAME, as in forward/%s, backward/*, sum/*.weight (kinds: begin, input, "
                "forward, backward, sum, scale, update)",
                patterns->v[k], p->node[p->forward[0]].name);
    }
    return 0;
}

int ddp_probe_create(struct ddp_engine *e, struct ddp_error *err)
{
    const struct ddp_config *cfg = e->conf.cfg;
    void *shared = NULL;
    if (cfg->probe.from == 0)
        return 0;
    if (!e->ops->probes)
        return ddp_fail(
            err, DDP_E_CONFIG,
            "probe.from = %lld: what each op computes is recorded on CPUs only; use device=cpu, or "
            "probe.from=0 (weights.trail has hashes of all tensors after each step, on a GPU, too)",
            (long long)cfg->probe.from);
    struct ddp_probe *p = e->probe = ddp_calloc(1, sizeof *p);
    p->e = e;
    ddp_probe_list(p);
    int status = check_patterns(p, err);
    if (status || !wants_sums(p) || e->conf.comm->nodes > 1)
        return status;
    status = ddp_comm_shared_alloc(e->conf.comm, (size_t)e->flat->total * sizeof *p->sums, &shared, err);
    p->sums = shared;
    return status;
}

void ddp_probe_destroy(struct ddp_engine *e)
{
    struct ddp_probe *p = e->probe;
    if (!p)
        return;
    if (p->sums)
        ddp_comm_shared_free(e->conf.comm, p->sums, (size_t)e->flat->total * sizeof *p->sums);
    ddp_probe_unlist(p);
    free(p);
    e->probe = NULL;
}
