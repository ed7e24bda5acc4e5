/* Initial values. Every element is a function of (seed, tensor name, its place in the plain layout): it
 * depends neither on the order of layers nor on how the tensor is blocked. Bounds and deviations are
 * PyTorch's (torch.nn.init; He et al. 2015, Glorot and Bengio 2010), given by the op in ddp_param. */
#include "model/graph.h"

#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

enum distribution { CONSTANT, UNIFORM, NORMAL };

/* What ddp_init means: a constant, half the width of a uniform distribution, or a standard deviation. */
static enum distribution describe(const struct ddp_param *p, double *scale)
{
    switch (p->init) {
    case DDP_INIT_ONE:
        *scale = 1;
        return CONSTANT;
    case DDP_INIT_KAIMING_UNIFORM:
        *scale = p->gain * ddp_sqrt(3 / p->fan_in);
        return UNIFORM;
    case DDP_INIT_KAIMING_NORMAL:
        *scale = p->gain / ddp_sqrt(p->fan_in);
        return NORMAL;
    case DDP_INIT_XAVIER_UNIFORM:
        *scale = p->gain * ddp_sqrt(6 / (p->fan_in + p->fan_out));
        return UNIFORM;
    case DDP_INIT_XAVIER_NORMAL:
        *scale = p->gain * ddp_sqrt(2 / (p->fan_in + p->fan_out));
        return NORMAL;
    case DDP_INIT_UNIFORM:
        *scale = p->gain;
        return UNIFORM;
    case DDP_INIT_ZERO:
        break;
    }
    *scale = 0;
    return CONSTANT;
}

/* Two normal numbers of deviation `scale` from two words (Box and Muller 1958). The first uniform is in
 * (0, 1], so that its logarithm is finite. */
static void normal_pair(const uint32_t w[2], double scale, float out[2])
{
    double u = ((w[0] >> 8) + 1) * 0x1p-24, angle = 2 * PI * ddp_uniform(w[1]);
    double radius = scale * ddp_sqrt(-2 * ddp_ln(u));
    out[0] = (float)(radius * ddp_cos(angle));
    out[1] = (float)(radius * ddp_sin(angle));
}

static void fill(const struct ddp_param *p, const char *name, uint64_t seed, float *plain, int64_t n)
{
    double scale;
    enum distribution kind = describe(p, &scale);
    const uint32_t key = ddp_name_hash(name);
    for (int64_t e = 0; e < n; e += 4) {
        float v[4] = {(float)scale, (float)scale, (float)scale, (float)scale};
        if (kind != CONSTANT) {
            struct ddp_philox4 r = ddp_philox4((uint32_t)(e / 4), (uint32_t)((uint64_t)(e / 4) >> 32), key,
                                               DDP_STREAM_INIT, seed);
            for (int i = 0; i < 4; i += 2)
                if (kind == NORMAL)
                    normal_pair(r.v + i, scale, v + i);
            for (int i = 0; i < 4 && kind == UNIFORM; i++)
                v[i] = (float)(scale * (2 * (double)ddp_uniform(r.v[i]) - 1));
        }
        memcpy(plain + e, v, (n - e < 4 ? n - e : 4) * sizeof(float));
    }
}

void ddp_model_init(const struct ddp_model *m, uint64_t seed, float *params)
{
    const struct ddp_flat *f = &m->flat;
    int64_t largest = 1;
    for (int i = 0; i < f->ntensors; i++) {
        int64_t n = ddp_layout_plain_size(&f->tensor[i].param);
        largest = n > largest ? n : largest;
    }
    float *plain = ddp_malloc(largest * sizeof *plain);
    memset(params, 0, f->total * sizeof *params);
    for (int i = 0; i < f->ntensors; i++) {
        const struct ddp_flat_tensor *t = &f->tensor[i];
        fill(&t->param, t->name, seed, plain, ddp_layout_plain_size(&t->param));
        ddp_layout_pack(&t->param, plain, params + t->offset);
    }
    free(plain);
}
