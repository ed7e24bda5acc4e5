/* An optimizer as stages over slices. With clipping, stage 0 leaves each block's sum of squares and the
 * kind's own stages follow; the kinds (sgd.c, adamw.c, lars.c, lamb.c) see one block of one tensor at a time.
 */
#include "optim/optim.h"

#include <stdio.h>
#include <stdlib.h>

#include "ops/ops.h"
#include "optim/private.h"

const struct ddp_optim_kind *ddp_optim_kind(const struct ddp_config *cfg)
{
    bool momentum = cfg->optim.momentum > 0;
    switch (cfg->optim.type) {
    case DDP_OPTIM_ADAMW:
        return &ddp_optim_adamw;
    case DDP_OPTIM_LARS:
        return momentum ? &ddp_optim_lars : &ddp_optim_lars_plain;
    case DDP_OPTIM_LAMB:
        return &ddp_optim_lamb;
    default:
        return momentum ? &ddp_optim_sgd : &ddp_optim_sgd_plain;
    }
}

size_t ddp_optim_bytes(const struct ddp_config *cfg, const struct ddp_flat *flat)
{
    return (size_t)ddp_optim_kind(cfg)->narrays * (size_t)flat->total * sizeof(float);
}

/* Clipping needs a stage of its own unless the kind takes gradient norms in its first stage anyway (LARS). */
static int clip_stages(const struct ddp_config *cfg)
{
    return cfg->optim.clip_norm > 0 && !ddp_optim_kind(cfg)->gradient_norms;
}

int ddp_optim_block_values(const struct ddp_config *cfg)
{
    return ddp_optim_kind(cfg)->values + clip_stages(cfg);
}

int ddp_optim_stages(const struct ddp_config *cfg)
{
    return ddp_optim_kind(cfg)->stages + clip_stages(cfg);
}

/* "FILE:LINE: " of a key, where there is one. */
static const char *where(const struct ddp_config *cfg, const char *key, char *buf, int size)
{
    const struct ddp_node *node = cfg->tree ? ddp_node_get(cfg->tree, key) : NULL;
    buf[0] = '\0';
    if (node && node->file)
        snprintf(buf, (size_t)size, node->line > 0 ? "%s:%d: " : "%s: ", node->file, node->line);
    return buf;
}

int ddp_optim_check(const struct ddp_config *cfg, struct ddp_error *err)
{
    char at[512];
    bool adam = ddp_optim_kind(cfg)->narrays == 2;
    if (cfg->optim.nesterov && !adam && !(cfg->optim.momentum > 0 && cfg->optim.dampening == 0))
        return ddp_fail(
            err, DDP_E_CONFIG,
            "%soptim.nesterov = true needs optim.momentum > 0 (it is %g) and optim.dampening = 0 (it is %g)",
            where(cfg, "optim.nesterov", at, sizeof at), cfg->optim.momentum, cfg->optim.dampening);
    if (adam && !((float)cfg->optim.eps > 0))
        return ddp_fail(
            err, DDP_E_CONFIG,
            "%soptim.eps = %g: %s divides by it where a gradient was always zero, so it must be above 1e-45 "
            "(1e-8 is usual)",
            where(cfg, "optim.eps", at, sizeof at), cfg->optim.eps, ddp_optim_kind(cfg)->name);
    const double beta[2] = {cfg->optim.beta1, cfg->optim.beta2};
    for (int i = 0; adam && i < 2; i++) {
        const char *key = i == 0 ? "optim.beta1" : "optim.beta2";
        if (!(beta[i] >= 0 && beta[i] < 1))
            return ddp_fail(err, DDP_E_CONFIG, "%s%s = %g must be at least 0 and below 1",
                            where(cfg, key, at, sizeof at), key, beta[i]);
    }
    return 0;
}

int32_t *ddp_optim_block_tensors(const struct ddp_flat *flat)
{
    int64_t blocks = flat->stats / DDP_FLAT_BLOCK;
    int32_t *of = ddp_calloc((size_t)blocks + 1, sizeof *of);
    for (int64_t b = 0, i = 0; b < blocks; b++) {
        while (i + 1 < flat->ntrained && flat->tensor[i + 1].offset <= b * DDP_FLAT_BLOCK)
            i++;
        of[b] = (int32_t)i;
    }
    return of;
}

int ddp_optim_create(const struct ddp_config *cfg, const struct ddp_flat *flat, struct ddp_comm *comm,
                     float *params, int64_t total_steps, int64_t steps_per_epoch, struct ddp_optim **out,
                     struct ddp_error *err)
{
    struct ddp_optim *o = ddp_calloc(1, sizeof *o);
    o->cfg = cfg;
    o->flat = flat;
    o->kind = ddp_optim_kind(cfg);
    o->comm = comm;
    o->params = params;
    o->array_bytes = (size_t)flat->total * sizeof(float);
    o->total_steps = total_steps;
    o->steps_per_epoch = steps_per_epoch;
    o->values = ddp_optim_block_values(cfg);
    o->clip_stages = clip_stages(cfg);
    o->norm = -1;
    o->setting = ddp_calloc((size_t)flat->ntrained + 1, sizeof *o->setting);
    o->tensor = ddp_optim_block_tensors(flat);
    /* every rank reads the same config, so all fail here or none: nobody waits in the collective calls below
     */
    int status = ddp_optim_settings(cfg, flat, o->setting, err);
    for (int i = 0; status == 0 && i < o->kind->narrays; i++) {
        void *array;
        status = ddp_comm_shared_alloc(comm, o->array_bytes, &array, err);
        if (status == 0)
            o->array[i] = array;
        else
            ddp_error_prefix(err, "optimizer state '%s'", o->kind->array[i]);
    }
    if (status) {
        ddp_optim_destroy(o);
        return status;
    }
    ddp_optim_begin(o, 0, 1);
    *out = o;
    return 0;
}

void ddp_optim_destroy(struct ddp_optim *o)
{
    if (!o)
        return;
    for (int i = o->kind->narrays - 1; i >= 0; i--)
        if (o->array[i])
            ddp_comm_shared_free(o->comm, o->array[i], o->array_bytes);
    free(o->tensor);
    free(o->setting);
    free(o);
}

double ddp_optim_bias(double beta, int64_t step)
{
    return 1 - ddp_pow(beta, (double)(step + 1));
}

int ddp_optim_array_count(const struct ddp_config *cfg)
{
    return ddp_optim_kind(cfg)->narrays;
}

void ddp_optim_begin(struct ddp_optim *o, int64_t step, int64_t count)
{
    o->step = step;
    o->count = count;
    o->lr = ddp_schedule_lr(o->cfg, step, o->total_steps, o->steps_per_epoch);
    o->bias1 = ddp_optim_bias(o->cfg->optim.beta1, step);
    o->bias2 = ddp_optim_bias(o->cfg->optim.beta2, step);
    o->factor = 1;
}

void ddp_optim_run(struct ddp_optim *o, int stage, int64_t lo, int64_t hi, float *sum, double *values)
{
    const struct ddp_flat *flat = o->flat;
    for (int64_t at = lo; at < hi; at += DDP_FLAT_BLOCK) {
        int64_t block = at / DDP_FLAT_BLOCK;
        int i = o->tensor[block];
        /* padding past the tensor stays zero; sizes are whole blocks of 16 channels already, or end in zeros
         */
        int64_t left = (flat->tensor[i].offset + flat->tensor[i].size - at + 15) / 16 * 16;
        struct ddp_optim_run r = {.setting = &o->setting[i],
                                  .at = at,
                                  .n = left < DDP_FLAT_BLOCK ? left : DDP_FLAT_BLOCK,
                                  .sum = sum + (at - lo),
                                  .value = values + block * o->values};
        if (stage < o->clip_stages)
            r.value[o->kind->values] = ddp_vec_sumsq(r.sum, r.n);
        else
            o->kind->run(o, stage - o->clip_stages, &r);
    }
}

/* The norm of the mean gradient over all trained tensors, and PyTorch's factor: min(1, clip / (norm + 1e-6)).
 * As there, a norm of nan leaves the gradient alone, and an infinite one makes nan of it: the next loss stops
 * the run and names the tensor. */
static void clip(struct ddp_optim *o, const double *values)
{
    int k = o->kind->gradient_norms ? o->kind->gradient_value : o->kind->values;
    double sumsq = ddp_optim_tree(values, o->values, k, 0, o->flat->stats / DDP_FLAT_BLOCK);
    o->norm = ddp_sqrt(sumsq) / (double)o->count;
    double factor = o->cfg->optim.clip_norm / (o->norm + 1e-6);
    if (factor < 1)
        o->factor = factor;
}

void ddp_optim_between(struct ddp_optim *o, int stage, const double *values, int64_t blocks)
{
    (void)blocks;
    if (stage == 0 && o->cfg->optim.clip_norm > 0)
        clip(o, values);
    if (stage >= o->clip_stages && o->kind->between)
        o->kind->between(o, values);
}

double ddp_optim_lr(const struct ddp_optim *o)
{
    return o->lr;
}

double ddp_optim_norm(const struct ddp_optim *o)
{
    return o->norm;
}

int ddp_optim_arrays(const struct ddp_optim *o)
{
    return o->kind->narrays;
}

float *ddp_optim_array(struct ddp_optim *o, int i, const char **name)
{
    *name = o->kind->array[i];
    return o->array[i];
}
