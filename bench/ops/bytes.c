/* The least bytes of a pass. Nobody writes down which op reads what: an operand that is read is one whose
 * change changes a result. Two samples are enough to see that. */
#include <stdlib.h>
#include <string.h>

#include "bench/ops/ops.h"

enum { SAMPLES = 2, OPERANDS = OPS_PARAM + DDP_OP_MAX_PARAMS };

struct operand {
    float *p; /* NULL: the layer has none */
    int64_t floats;
    double values; /* by its definition, of all samples */
};

static struct operand whole(const struct ops_tensor *o)
{
    if (!o)
        return (struct operand){0};
    return (struct operand){o->memory, o->floats, (double)o->t.n * o->t.c * o->t.h * o->t.w};
}

static struct operand vector(const struct ops_layer *l, float *const *list, int i)
{
    if (i >= l->plan.nparams)
        return (struct operand){0};
    const struct ddp_param *p = &l->plan.params[i];
    return (struct operand){list[i], ddp_layout_size(p), (double)ddp_layout_plain_size(p)};
}

static struct operand operand_of(const struct ops_layer *l, int i)
{
    const struct ops_tensor *const tensor[OPS_PARAM] = {
        [OPS_IN] = l->in[0], [OPS_PLUS] = l->in[1], [OPS_OUT] = l->out, [OPS_DOUT] = l->dout};
    return i < OPS_PARAM ? whole(tensor[i]) : vector(l, l->call.param, i - OPS_PARAM);
}

/* What the pass writes, at most `results` of them. */
enum { RESULTS = 3 + DDP_OP_MAX_PARAMS };
static int results_of(const struct ops_layer *l, const struct ops_pass *pass, struct operand out[RESULTS])
{
    int n = 0;
    if (pass->forward && !l->spec->op->is_loss)
        out[n++] = whole(l->out);
    for (int i = 0; i < l->call.nin && pass->data; i++)
        out[n++] = whole(l->din[i]);
    for (int i = 0; i < l->plan.nparams; i++) { /* running statistics are made in forward */
        const bool trained = l->plan.params[i].role == DDP_PARAM_TRAINED;
        if (trained ? pass->weights : pass->forward)
            out[n++] = vector(l, l->call.grad, i);
    }
    return n;
}

/* Another number for other results: FNV over pairs of floats. */
static uint64_t digest(const struct operand *o, int n)
{
    uint64_t h = 1469598103934665603u;
    for (int i = 0; i < n; i++)
        for (int64_t k = 0; k + 1 < o[i].floats; k += 2) {
            uint64_t two;
            memcpy(&two, o[i].p + k, sizeof two);
            h = (h ^ two) * 1099511628211u;
        }
    return h;
}

static void negate(const struct operand *o)
{
    for (int64_t i = 0; i < o->floats; i++)
        o->p[i] = -o->p[i];
}

/* The digest of what the pass makes of operands as they are; gradients of out may be written over. */
static uint64_t result(struct ops_layer *l, const struct ops_pass *pass, float *dout)
{
    struct operand results[RESULTS];
    const int n = results_of(l, pass, results);
    memcpy(dout, l->dout->memory, (size_t)l->dout->floats * sizeof *dout);
    ops_layer_run(l, pass);
    memcpy(l->dout->memory, dout, (size_t)l->dout->floats * sizeof *dout);
    return digest(results, n);
}

/* Bits of the operands that the pass reads. */
static unsigned reads(struct ops_layer *l, const struct ops_pass *pass, float *dout)
{
    const uint64_t before = result(l, pass, dout);
    unsigned found = 0;
    for (int i = 0; i < OPERANDS; i++) {
        const struct operand o = operand_of(l, i);
        if (!o.p || (pass->forward && (i == OPS_OUT || i == OPS_DOUT)))
            continue;
        negate(&o);
        found |= (unsigned)(result(l, pass, dout) != before) << i;
        negate(&o);
    }
    return found;
}

void ops_bytes(struct ops_layer *l)
{
    struct ops_layer *few = ddp_calloc(1, sizeof *few);
    struct operand results[RESULTS];
    ops_layer_make(few, l->spec, SAMPLES);
    float *dout = ops_floats(few->dout->floats);
    ops_layer_run(few, &l->spec->passes[0]); /* out and what is saved are there for backward */
    for (int i = 0; i < l->npasses; i++) {
        const struct ops_pass *pass = &l->spec->passes[i];
        const unsigned read = reads(few, pass, dout);
        double values = 0;
        for (int k = 0; k < OPERANDS; k++)
            values += read >> k & 1 ? operand_of(l, k).values : 0;
        for (int k = results_of(l, pass, results); k-- > 0;)
            values += results[k].values;
        l->bytes[i] = values * sizeof(float) + (double)l->plan.saved_bytes; /* written, or read */
    }
    ddp_pages_free(dout, (size_t)few->dout->floats * sizeof *dout);
    free(few); /* its tensors stay: others are like them */
}
