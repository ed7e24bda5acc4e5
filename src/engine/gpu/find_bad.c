/* Where the first value that is not finite sits, in the order in which they were computed: src/model/check.c
 * on the device. Only after a failure. */
#include <math.h>
#include <stdio.h>

#include "engine/gpu/pass_private.h"
#include "device/settle.h"

/* A pass, and what of it is in host memory at the moment. */
struct search {
    const struct ddp_gpu_pass *p;
    struct ddp_gpu_stream *stream;
    const float *params;
    int resident;
    void *host;
    char *text;
    int size;
};

/* binary16 and bfloat16 have their exponent where fp32 has it, 5 and 8 bits wide: all ones is no number. */
static bool is_finite(const void *p, int64_t i, enum ddp_gpu_type type, float *value)
{
    *value = type == DDP_GPU_F32 ? ((const float *)p)[i] : 0;
    if (type == DDP_GPU_F32)
        return isfinite(*value);
    const unsigned bits = ((const uint16_t *)p)[i], exponent = type == DDP_GPU_BF16 ? 0x7f80 : 0x7c00;
    if ((bits & exponent) != exponent)
        return true;
    *value = (bits & 0x7fff) > exponent ? NAN : bits & 0x8000 ? -INFINITY : INFINITY;
    return false;
}

/* Waits. */
static int download(const struct search *f, const void *device, size_t bytes, struct ddp_error *err)
{
    const struct ddp_gpu_pass_conf *conf = &f->p->conf;
    conf->api->copy(f->stream, f->host, device, bytes);
    return ddp_gpu_settle(conf->api, conf->gpu, NULL, f->stream, err);
}

static int64_t value_elements(const struct ddp_gpu_pass *p, int v)
{
    return p->conf.model->batch * ddp_gpu_elements(p->conf.model->value[v].shape);
}

static bool describe(const struct search *f, int v, const char *what, const char *name)
{
    const struct ddp_shape s = f->p->conf.model->value[v].shape;
    const int c = ddp_gpu_pad(s.c);
    const int64_t count = value_elements(f->p, v);
    float value;
    for (int64_t i = 0; i < count; i++) {
        if (is_finite(f->host, i, f->p->conf.type, &value))
            continue;
        const int64_t pixel = i / c;
        snprintf(f->text, (size_t)f->size, "%s '%s' at [n=%d, c=%d, y=%d, x=%d] is %s", what, name,
                 (int)(pixel / (s.h * s.w)), (int)(i % c), (int)(pixel / s.w % s.h), (int)(pixel % s.w),
                 ddp_pass_bad_kind(value));
        return true;
    }
    return false;
}

/* Each sets *found, and text with it. */
static int look_at_value(const struct search *f, int v, const char *what, const char *name, bool *found,
                         struct ddp_error *err)
{
    const size_t bytes = (size_t)value_elements(f->p, v) * ddp_gpu_type_bytes(f->p->conf.type);
    const int status = download(f, ddp_gpu_pass_value(f->p, f->resident, v), bytes, err);
    *found = status == 0 && describe(f, v, what, name);
    return status;
}

static int look_at_params(const struct search *f, int s, bool *found, struct ddp_error *err)
{
    const struct ddp_model *m = f->p->conf.model;
    int status = 0;
    for (int k = 0; k < f->p->stage[s].layer->plan.nparams && status == 0 && !*found; k++) {
        const struct ddp_flat_tensor *t = &m->flat.tensor[m->stage[s].tensor[k]];
        status = download(f, f->params + t->offset, (size_t)t->size * sizeof(float), err);
        *found = status == 0 && ddp_pass_bad_param(t, f->host, f->text, f->size);
    }
    return status;
}

static int look_at_loss(const struct search *f, struct ddp_error *err)
{
    const struct ddp_model *m = f->p->conf.model;
    const int status = download(f, f->p->loss + f->resident, sizeof(float), err);
    const float loss = status ? 0 : *(const float *)f->host;
    if (status == 0 && !isfinite(loss))
        snprintf(f->text, (size_t)f->size, "loss '%s' is %s, all parameters and outputs before it are finite",
                 m->layer[m->nlayers - 1].name, ddp_pass_bad_kind(loss));
    else if (status == 0)
        snprintf(f->text, (size_t)f->size,
                 "every parameter and output is finite: the fault is in the backward pass or in the sums");
    return status;
}

static int look(const struct search *f, struct ddp_error *err)
{
    const struct ddp_model *m = f->p->conf.model;
    bool found = false;
    int status = 0;
    for (int v = 0; v < m->nvalues && status == 0 && !found; v++)
        if (m->value[v].stage == DDP_DATA)
            status = look_at_value(f, v, "input", "data", &found, err);
    for (int s = 0; s < m->nstages && status == 0 && !found; s++) {
        const int out = m->stage[s].out;
        status = look_at_params(f, s, &found, err);
        /* in evaluation later layers have overwritten most outputs */
        if (status || found || out < 0 || (!f->p->conf.training && m->value[out].last_use != m->nstages - 1))
            continue;
        status = look_at_value(f, out, "output of layer", m->layer[m->stage[s].last].name, &found, err);
    }
    return status || found ? status : look_at_loss(f, err);
}

int ddp_gpu_pass_find_bad(struct ddp_gpu_pass *p, struct ddp_gpu_stream *stream, const float *params, int i,
                          char *text, int size, struct ddp_error *err)
{
    const struct ddp_model *m = p->conf.model;
    struct search f = {.p = p, .stream = stream, .params = params, .resident = i, .text = text, .size = size};
    size_t most = sizeof(float);
    for (int v = 0; v < m->nvalues; v++) {
        const size_t bytes = (size_t)value_elements(p, v) * ddp_gpu_type_bytes(p->conf.type);
        most = bytes > most ? bytes : most;
    }
    for (int t = 0; t < m->flat.ntensors; t++) {
        const size_t bytes = (size_t)m->flat.tensor[t].size * sizeof(float);
        most = bytes > most ? bytes : most;
    }
    int status = p->conf.api->alloc_pinned(p->conf.gpu, most, &f.host, err);
    if (status)
        return status;
    status = look(&f, err);
    p->conf.api->release_pinned(p->conf.gpu, f.host);
    return status;
}
