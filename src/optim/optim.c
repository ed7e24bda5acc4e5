/* An optimizer on CPUs: the list of stages (kind.h) over slices of the flat space, a block of one tensor at a
 * time. */
#include "optim/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"
#include "optim/average.h"
#include "optim/private.h"

size_t ddp_optim_bytes(const struct ddp_config *cfg, const struct ddp_flat *flat)
{
    return (size_t)ddp_optim_array_count(cfg) * (size_t)flat->total * sizeof(float);
}

int ddp_optim_array_count(const struct ddp_config *cfg)
{
    return ddp_optim_plan(cfg, false).narrays;
}

int ddp_optim_block_values(const struct ddp_config *cfg)
{
    return ddp_optim_plan(cfg, false).values.stride;
}

int ddp_optim_stages(const struct ddp_config *cfg)
{
    return ddp_optim_plan(cfg, false).npasses;
}

int32_t *ddp_optim_block_tensors(const struct ddp_flat *flat)
{
    int64_t blocks = flat->stats / DDP_BLOCK;
    int32_t *of = ddp_calloc((size_t)blocks + 1, sizeof *of);
    for (int64_t b = 0, i = 0; b < blocks; b++) {
        while (i + 1 < flat->ntrained && flat->tensor[i + 1].offset <= b * DDP_BLOCK)
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
    o->plan = ddp_optim_plan(cfg, false);
    o->hyper = ddp_optim_hyper(cfg);
    o->comm = comm;
    o->params = params;
    o->array_bytes = (size_t)flat->total * sizeof(float);
    o->total_steps = total_steps;
    o->steps_per_epoch = steps_per_epoch;
    o->norm = -1;
    o->setting = ddp_calloc((size_t)flat->ntrained + 1, sizeof *o->setting);
    o->tensor = ddp_optim_block_tensors(flat);
    /* every rank reads the same config, so all fail here or none: nobody waits in the
     * collective calls below */
    int status = ddp_optim_settings(cfg, flat, o->setting, err);
    for (int i = 0; status == 0 && i < o->plan.narrays; i++) {
        void *array;
        status = ddp_comm_shared_alloc(comm, o->array_bytes, &array, err);
        if (status == 0)
            o->array[o->plan.array[i]] = array;
        else
            ddp_error_prefix(err, "optimizer state '%s'", ddp_optim_array_name(&o->plan, i));
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
    for (int i = DDP_OPTIM_ALL_ARRAYS - 1; i >= 0; i--)
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

void ddp_optim_begin(struct ddp_optim *o, int64_t step, int64_t count)
{
    o->step = step;
    o->count = count;
    o->lr = ddp_schedule_lr(o->cfg, step, o->total_steps, o->steps_per_epoch);
    o->bias1 = ddp_optim_bias(o->cfg->optim.beta1, step);
    o->bias2 = ddp_optim_bias(o->cfg->optim.beta2, step);
    o->factor = 1;
    o->refused = false;
}

/* What is left per block, of the part that lies in its tensor. */
static void take_values(const struct ddp_optim *o, unsigned leaves, const struct ddp_optim_block *b,
                        double *value)
{
    const int32_t *slot = o->plan.values.slot;
    if (leaves >> DDP_VALUE_PARAM & 1)
        value[slot[DDP_VALUE_PARAM]] = ddp_vec_sumsq(b->param, b->n);
    if (leaves >> DDP_VALUE_GRADIENT & 1)
        value[slot[DDP_VALUE_GRADIENT]] = ddp_vec_sumsq(b->sum, b->n);
    if (leaves >> DDP_VALUE_UPDATE & 1)
        value[slot[DDP_VALUE_UPDATE]] = ddp_vec_sumsq(b->sum, b->n);
}

/* All that pass->leaves of a block that was refused: whatever becomes of it is not finite, either. */
static void leave_nan(const struct ddp_optim *o, double *value)
{
    for (int v = 0; v < DDP_VALUES; v++)
        if (o->plan.values.slot[v] >= 0)
            value[o->plan.values.slot[v]] = NAN;
}

/* Block `block` of tensor i, at flat index `at`. */
static void run_block(struct ddp_optim *o, const struct ddp_optim_pass *pass, int i, int64_t at,
                      const struct ddp_optim_block *b)
{
    const struct ddp_optim_cpu *cpu = o->plan.kind->cpu();
    const struct ddp_optim_setting *s = &o->setting[i];
    const struct ddp_optim_now now = {.lr = o->lr * s->lr_scale,
                                      .mean = o->factor / (double)o->count,
                                      .bias1 = o->bias1,
                                      .bias2 = o->bias2,
                                      .weight_decay = s->weight_decay,
                                      .trust = s->trust,
                                      .first = o->step == 0};
    if (pass->stage >= 0 && cpu->stage[pass->stage])
        cpu->stage[pass->stage](&o->hyper, &now, b);
    if (pass == &o->plan.pass[o->plan.npasses - 1] && o->array[DDP_OPTIM_AVERAGE])
        ddp_average_cpu()->step(o->plan.blend, b->n, b->param, o->array[DDP_OPTIM_AVERAGE] + at);
}

int64_t ddp_optim_run(struct ddp_optim *o, int stage, int64_t lo, int64_t hi, float *sum, double *values)
{
    const struct ddp_flat *flat = o->flat;
    const struct ddp_optim_pass *pass = &o->plan.pass[stage];
    int64_t refused = -1;
    for (int64_t at = lo; at < hi && !o->refused; at += DDP_BLOCK) {
        int64_t block = at / DDP_BLOCK;
        const int i = o->tensor[block];
        double *value = values + block * o->plan.values.stride;
        /* padding past the tensor stays zero; sizes are whole blocks of 16 channels
         * already, or end in zeros */
        int64_t left = (flat->tensor[i].offset + flat->tensor[i].size - at + 15) / 16 * 16;
        struct ddp_optim_block b = {
            .n = left < DDP_BLOCK ? left : DDP_BLOCK, .sum = sum + (at - lo), .param = o->params + at};
        for (int a = 0; a < DDP_OPTIM_ARRAYS; a++)
            b.state[a] = o->array[a] ? o->array[a] + at : NULL;
        if (stage == 0 && !ddp_vec_finite(b.sum, b.n)) {
            refused = block;
            leave_nan(o, value);
            continue;
        }
        run_block(o, pass, i, at, &b);
        if (pass->leaves)
            take_values(o, pass->leaves, &b, value);
    }
    return refused;
}

/* The norm of the mean gradient over all trained tensors, and PyTorch's factor,
 * min(1, clip / (norm + 1e-6)). */
static void clip(struct ddp_optim *o, const double *values)
{
    const struct ddp_optim_layout *l = &o->plan.values;
    double sumsq =
        ddp_optim_tree(values + l->slot[DDP_VALUE_GRADIENT], l->stride, 0, o->flat->stats / DDP_BLOCK);
    o->norm = ddp_sqrt(sumsq) / (double)o->count;
    double factor = o->cfg->optim.clip_norm / (o->norm + 1e-6);
    if (factor < 1)
        o->factor = factor;
}

static double tensor_norm(const struct ddp_optim *o, const double *values, int value, int i)
{
    return o->plan.values.slot[value] < 0 ? 0 : ddp_sqrt(ddp_optim_tensor_sum(o, values, value, i));
}

static void adapt_trust(struct ddp_optim *o, const double *values)
{
    for (int i = 0; i < o->flat->ntrained; i++) {
        struct ddp_optim_setting *s = &o->setting[i];
        if (!s->adapt)
            continue; /* stays 1 */
        const struct ddp_optim_norms norms = {.gradient = tensor_norm(o, values, DDP_VALUE_GRADIENT, i) *
                                                          (o->factor / (double)o->count),
                                              .param = tensor_norm(o, values, DDP_VALUE_PARAM, i),
                                              .update = tensor_norm(o, values, DDP_VALUE_UPDATE, i)};
        s->trust = o->plan.kind->trust(&o->hyper, s->weight_decay, norms);
    }
}

void ddp_optim_between(struct ddp_optim *o, int stage, const double *values, int64_t blocks)
{
    (void)blocks;
    const int64_t left = o->flat->stats / DDP_BLOCK * o->plan.values.stride;
    for (int64_t i = 0; i < left && !o->refused; i++)
        o->refused = !isfinite(values[i]);
    if (o->refused)
        return;
    if (o->plan.pass[stage].factor)
        clip(o, values);
    if (o->plan.pass[stage].trust)
        adapt_trust(o, values);
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
    return o->plan.narrays;
}

float *ddp_optim_array(struct ddp_optim *o, int i, const char **name)
{
    *name = ddp_optim_array_name(&o->plan, i);
    return o->array[o->plan.array[i]];
}

float *ddp_optim_average(const struct ddp_optim *o)
{
    return o->array[DDP_OPTIM_AVERAGE];
}

void ddp_optim_average_copy(struct ddp_optim *o, int64_t lo, int64_t hi)
{
    float *average = o->array[DDP_OPTIM_AVERAGE];
    if (average)
        memcpy(average + lo, o->params + lo, (size_t)(hi - lo) * sizeof *average);
}

bool ddp_optim_keeps_sum(const struct ddp_config *cfg)
{
    return !ddp_optim_kind(cfg)->writes_sum;
}
