/* What convolution and linear layers share: geometry of the weights, parameters, the pass before their
 * gradients. */
#include "ops/conv/conv.h"

#include <string.h>

#include "ops/ops.h"

struct ddp_conv_geom ddp_conv_geom(const struct ddp_param *p)
{
    struct ddp_conv_geom g = {.k = (int)p->dims[0], .groups = p->groups > 1 ? p->groups : 1, .r = 1, .s = 1};
    int cg = (int)p->dims[1];
    if (p->in.c > 0) { /* linear over features {C, H, W}: a kernel of the whole picture */
        cg = p->in.c;
        g.r = p->in.h;
        g.s = p->in.w;
    } else if (p->ndim == 4) {
        g.r = (int)p->dims[2];
        g.s = (int)p->dims[3];
    }
    g.c = cg * g.groups;
    g.cg = cg;
    g.kg = g.k / g.groups;
    g.cb = ddp_blocks(g.c);
    g.kb = ddp_blocks(g.k);
    for (int kb = 0; kb < g.kb; kb++) {
        int k1 = kb * 16 + 15 < g.k ? kb * 16 + 15 : g.k - 1;
        int first = kb * 16 / g.kg * cg / 16, last = ((k1 / g.kg + 1) * cg - 1) / 16;
        if (last - first + 1 > g.wb)
            g.wb = last - first + 1;
    }
    return g;
}

void ddp_conv_clear_padding(const struct ddp_conv_geom *g, float *w)
{
    bool mixed = g->groups > 1 && (g->cg % 16 || g->kg % 16);
    if (g->k % 16 == 0 && g->c % 16 == 0 && !mixed)
        return;
    for (int kb = 0; kb < g->kb; kb++) {
        int kn = ddp_conv_real(g->k, kb);
        for (int b = 0; b < g->wb; b++) {
            int cb = ddp_conv_first(g, kb) + b, cn = ddp_conv_real(g->c, cb);
            if (cn == 16 && kn == 16 && !mixed) { /* all but the last */
                w += (int64_t)g->r * g->s * 256;
                continue;
            }
            for (int q = 0; q < g->r * g->s; q++, w += 256) {
                memset(w + cn * 16, 0, (size_t)(16 - cn) * 16 * sizeof *w);
                for (int c = 0; c < cn && kn < 16; c++)
                    memset(w + c * 16 + kn, 0, (size_t)(16 - kn) * sizeof *w);
                for (int c = 0; c < cn && mixed; c++) {
                    for (int k = 0; k < kn; k++) {
                        if ((cb * 16 + c) / g->cg != (kb * 16 + k) / g->kg)
                            w[c * 16 + k] = 0;
                    }
                }
            }
        }
    }
}

struct mask_bias {
    const struct ddp_tensor *d, *out;
    const uint8_t *argmax;
    int chunk;
    float *grad;
};

static void mask_bias_task(void *ctx, int block)
{
    struct mask_bias *m = ctx;
    float *sum = m->grad ? m->grad + block * 16 : NULL;
    if (m->argmax)
        ddp_bias_kernels()->sum_pooled(m->d, m->argmax, block, m->chunk, sum);
    else
        ddp_bias_kernels()->mask_sum(m->d, m->out, block, m->chunk, sum);
    if (sum) {
        int real = ddp_conv_real(m->d->c, block);
        memset(sum + real, 0, (size_t)(16 - real) * sizeof *sum);
    }
}

uint8_t *ddp_conv_argmax(const struct ddp_op_call *call)
{
    const bool pooled = call->training && call->fused & DDP_FUSE_POOL;
    return pooled ? (uint8_t *)call->saved + ddp_saved_pool(call->plan) : NULL;
}

void ddp_conv_mask_bias(const struct ddp_op_call *call, int chunk, float *bias_grad)
{
    struct mask_bias m = {.d = call->dout,
                          .argmax = ddp_conv_argmax(call),
                          .out = call->fused & DDP_FUSE_RELU ? call->out : NULL,
                          .chunk = chunk,
                          .grad = bias_grad};
    if (m.grad || (m.out && !m.argmax))
        ddp_parallel(call->pool, ddp_blocks(call->dout->c), mask_bias_task, &m);
}

struct reorder {
    const struct ddp_tensor *from, *to;
};

static void reorder_task(void *ctx, int block)
{
    const struct reorder *r = ctx;
    ddp_bias_kernels()->reorder(r->from, block, r->to);
}

void ddp_conv_reorder(const struct ddp_tensor *from, const struct ddp_tensor *to, struct ddp_pool *pool)
{
    struct reorder r = {from, to};
    ddp_parallel(pool, ddp_blocks(from->c), reorder_task, &r);
}

int ddp_conv_params(struct ddp_param weight, int init, double fan_in, double fan_out, bool bias,
                    struct ddp_param *params)
{
    static const struct {
        enum ddp_init init;
        double gain;
    } inits[] = {
        [DDP_CONV_INIT_DEFAULT] = {DDP_INIT_KAIMING_UNIFORM,
                                   0.57735026918962576}, /* 1/sqrt(3): U(-1/sqrt(fan_in), ..) */
        [DDP_CONV_INIT_KN] = {DDP_INIT_KAIMING_NORMAL, 1.4142135623730951}, /* sqrt(2), for ReLU */
        [DDP_CONV_INIT_KU] = {DDP_INIT_KAIMING_UNIFORM, 1.4142135623730951},
        [DDP_CONV_INIT_XU] = {DDP_INIT_XAVIER_UNIFORM, 1},
        [DDP_CONV_INIT_XN] = {DDP_INIT_XAVIER_NORMAL, 1},
    };
    weight.name = "weight";
    weight.role = DDP_PARAM_TRAINED;
    weight.layout = DDP_LAYOUT_CONV;
    weight.init = inits[init].init;
    weight.gain = inits[init].gain;
    weight.fan_in = fan_in;
    weight.fan_out = fan_out;
    params[0] = weight;
    if (!bias)
        return 1;
    params[1] = (struct ddp_param){.name = "bias",
                                   .role = DDP_PARAM_TRAINED,
                                   .layout = DDP_LAYOUT_VECTOR,
                                   .ndim = 1,
                                   .dims = {weight.dims[0]},
                                   .groups = 1,
                                   .init = DDP_INIT_UNIFORM,
                                   .gain = 1 / ddp_sqrt(fan_in),
                                   .fan_in = fan_in,
                                   .fan_out = fan_out,
                                   .no_decay = true};
    return 2;
}
