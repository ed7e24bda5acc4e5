/* What the search for a value that is not finite looks at on the device. Only after a failure: waits. */
#include <math.h>
#include <stdlib.h>

#include "engine/gpu/pass_private.h"
#include "engine/find_bad.h"
#include "device/settle.h"

struct source {
    const struct ddp_gpu_pass *p;
    struct ddp_gpu_stream *stream;
    const float *params;
    const char *weights;
    const bool *masters; /* [flat tensors] those that are read from params */
    int resident;
    void *host;   /* what was looked at last */
    float *wider; /* of weights: those that are not finite, the others 0 */
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

static int download(const struct source *f, const void *device, size_t bytes, struct ddp_error *err)
{
    const struct ddp_gpu_pass_conf *conf = &f->p->conf;
    conf->api->copy(f->stream, f->host, device, bytes);
    return ddp_gpu_settle(conf->api, conf->gpu, NULL, f->stream, err);
}

static int64_t value_elements(const struct ddp_gpu_pass *p, int v)
{
    return p->plan->batch * ddp_gpu_elements(p->plan->value[v].shape);
}

static bool find(const struct source *f, int v, struct ddp_bad_place *at)
{
    const struct ddp_shape s = f->p->plan->value[v].shape;
    const int c = ddp_gpu_pad(s.c);
    const int64_t count = value_elements(f->p, v);
    for (int64_t i = 0; i < count; i++) {
        float value;
        if (is_finite(f->host, i, f->p->conf.type, &value))
            continue;
        const int64_t pixel = i / c;
        *at = (struct ddp_bad_place){.n = (int)(pixel / (s.h * s.w)),
                                     .c = (int)(i % c),
                                     .y = (int)(pixel / s.w % s.h),
                                     .x = (int)(pixel % s.w),
                                     .value = value};
        return true;
    }
    return false;
}

static int value(void *ctx, int v, struct ddp_bad_place *at, bool *found, struct ddp_error *err)
{
    const struct source *f = ctx;
    const size_t bytes = (size_t)value_elements(f->p, v) * ddp_gpu_type_bytes(f->p->conf.type);
    const void *from = ddp_memory_span(&f->p->mem, f->p->area[f->resident], f->p->mem.value[v]);
    const int status = download(f, from, bytes, err);
    *found = status == 0 && find(f, v, at);
    return status;
}

static int param(void *ctx, const struct ddp_flat_tensor *t, const float **values, struct ddp_error *err)
{
    const struct source *f = ctx;
    const enum ddp_gpu_type type = f->p->conf.type;
    const size_t bytes = ddp_gpu_type_bytes(type);
    *values = f->host;
    if (type == DDP_GPU_F32 || f->masters[t - f->p->plan->flat->tensor])
        return download(f, f->params + t->offset, (size_t)t->size * sizeof(float), err);
    const int status = download(f, f->weights + (size_t)t->offset * bytes, (size_t)t->size * bytes, err);
    for (int64_t i = 0; status == 0 && i < t->size; i++)
        (void)is_finite(f->host, i, type, &f->wider[i]);
    *values = f->wider;
    return status;
}

static int loss(void *ctx, float *out, struct ddp_error *err)
{
    const struct source *f = ctx;
    const int status = download(f, f->p->loss + f->resident, sizeof(float), err);
    *out = status ? 0 : *(const float *)f->host;
    return status;
}

int ddp_gpu_pass_find_bad(struct ddp_gpu_pass *p, struct ddp_gpu_stream *stream, const float *params,
                          const void *weights, int i, char *text, int size, struct ddp_error *err)
{
    const struct ddp_flat *flat = p->plan->flat;
    bool *masters = ddp_calloc((size_t)flat->ntensors + 1, sizeof *masters);
    struct source f = {
        .p = p, .stream = stream, .params = params, .weights = weights, .masters = masters, .resident = i};
    const struct ddp_bad_source from = {value, param, loss, &f};
    size_t most = sizeof(float);
    for (int v = 0; v < p->plan->nvalues; v++) {
        const size_t bytes = (size_t)value_elements(p, v) * ddp_gpu_type_bytes(p->conf.type);
        most = bytes > most ? bytes : most;
    }
    for (int t = 0; t < flat->ntensors; t++) {
        const size_t bytes = (size_t)flat->tensor[t].size * sizeof(float);
        most = bytes > most ? bytes : most;
    }
    f.wider = ddp_calloc(1, most);
    ddp_gpu_pass_masters(p, masters);
    int status = p->conf.api->alloc_pinned(p->conf.gpu, most, &f.host, err);
    if (status == 0) {
        status = ddp_find_bad(p->plan, p->conf.training, &from, text, size, err);
        p->conf.api->release_pinned(p->conf.gpu, f.host);
    }
    free(f.wider);
    free(masters);
    return status;
}
