/* Shapes from the data on: every op says what it makes of what comes in. Also which order (pictures or
 * features) each layer's output has: from the first flatten or linear layer on it is features.
 *
 * A flatten makes a vector of C*H*W features. Where C is a multiple of 16 its output may keep the shape
 * {C, H, W} of what comes in, so that nothing is moved: but only where no layer can tell, that is, where all
 * paths lead over elementwise layers and sums of such outputs to linear layers. So all is planned with
 * vectors first, which is what the model means, then the flattens that keep their shape are found, and with
 * these all is planned again. */
#include "model/graph.h"
#include "ops/ops.h"

#include <stdio.h>
#include <string.h>

char *ddp_shape_text(struct ddp_shape s, char *buf)
{
    if (s.h == 1 && s.w == 1)
        snprintf(buf, 40, "%d", s.c);
    else
        snprintf(buf, 40, "%dx%dx%d", s.c, s.h, s.w);
    return buf;
}

bool ddp_shape_equal(struct ddp_shape a, struct ddp_shape b)
{
    return a.c == b.c && a.h == b.h && a.w == b.w;
}

static int64_t elements(struct ddp_shape s)
{
    return (int64_t)s.c * s.h * s.w;
}

static const char *name_of(const struct ddp_model *m, int in)
{
    return in == DDP_DATA ? "data" : m->layer[in].name;
}

/* " (conv2d) got 32x26x26 from 'relu1'" in front of what the op says. */
static int prefix_inputs(const struct ddp_model *m, const struct ddp_layer *l, struct ddp_error *err)
{
    char where[512], shape[40], got[512];
    int n = 0;
    for (int k = 0; k < l->nin; k++)
        n += snprintf(got + n, sizeof got - n, "%s%s from '%.120s'", k ? " and " : "",
                      ddp_shape_text(l->shape[k], shape), name_of(m, l->in[k]));
    return ddp_error_prefix(err, "%s: got %s", ddp_layer_where(l, where, sizeof where), got);
}

/* What op->plan() of an op by another author got wrong. NULL: nothing. */
static const char *plan_fault(const struct ddp_layer *l)
{
    const struct ddp_layer_plan *p = &l->plan;
    if (!l->op->is_loss && (p->out.c < 1 || p->out.h < 1 || p->out.w < 1))
        return "its plan has an empty output";
    if (p->nparams < 0 || p->nparams > DDP_OP_MAX_PARAMS)
        return "its plan has too many parameters";
    if (p->in_halo < 0 || p->dout_halo < 0)
        return "its plan has a negative halo";
    if (p->features && (p->in_halo || p->dout_halo))
        return "its plan asks for a halo in features order";
    if (p->sync_doubles > 0 && (!l->op->forward_stats || !l->op->backward_stats))
        return "its plan asks for synchronised statistics, but it has no forward_stats and backward_stats";
    for (int k = 0; k < p->nparams; k++)
        if (l->op->is_loss && p->params[k].role == DDP_PARAM_TRAINED)
            return "its plan has a parameter to train, which a loss cannot have: it has no backward";
    for (int k = 0; k < p->nparams; k++)
        if (!p->params[k].name || p->params[k].ndim < 1 || p->params[k].ndim > 4)
            return "its plan has a parameter without name or shape";
    return NULL;
}

static int call_plan(const struct ddp_model *m, struct ddp_layer *l, struct ddp_error *err)
{
    memset(&l->plan, 0, sizeof l->plan);
    if (l->op->plan(l->conf, l->shape, l->nin, m->batch, &l->plan, err) != 0) {
        if (err && !err->code)
            ddp_fail(err, DDP_E_SHAPE, "the op refuses it");
        prefix_inputs(m, l, err);
        return err ? err->code : DDP_E_SHAPE;
    }
    const char *fault = plan_fault(l);
    if (fault) {
        ddp_fail(err, DDP_E_USAGE, "%s", fault);
        return prefix_inputs(m, l, err), DDP_E_USAGE;
    }
    return 0;
}

/* Features of plain pixels [c][h][w], as a flatten would make them: a grey picture keeps no block of 16 for
 * one channel. */
static struct ddp_shape data_features(struct ddp_shape s, bool keeps)
{
    return keeps && s.c % DDP_CBLOCK == 0 ? s : (struct ddp_shape){(int)elements(s), 1, 1};
}

static int plan_layer(struct ddp_model *m, struct ddp_layer *l, struct ddp_error *err)
{
    bool flatten = ddp_layer_is(l, "flatten"), features = false, pictures = false;
    for (int k = 0; k < l->nin; k++) {
        l->shape[k] = l->in[k] == DDP_DATA ? m->input : m->layer[l->in[k]].plan.out;
        if (l->in[k] != DDP_DATA)
            *(m->layer[l->in[k]].order == DDP_ORDER_FEATURES ? &features : &pictures) = true;
        else if (flatten)
            features = true;
        else
            pictures = true;
    }
    if (flatten && l->in[0] == DDP_DATA)
        l->shape[0] = data_features(m->input, l->keeps);
    int rc = call_plan(m, l, err);
    if (rc != 0)
        return rc;
    if (l->keeps)
        l->plan.out = l->shape[0];
    if (l->plan.features && l->nin == 1 &&
        l->in[0] == DDP_DATA) { /* a linear layer flattens the data by itself */
        l->shape[0] = data_features(m->input, true);
        rc = call_plan(m, l, err);
        if (rc != 0)
            return rc;
        features = true;
        pictures = false;
    }
    char hint[256] = "";
    if (l->plan.features && pictures && !flatten)
        snprintf(hint, sizeof hint, "wants features: put {type = \"flatten\"} before it");
    else if (!l->plan.features && !l->plan.any_strides && !flatten && features)
        snprintf(hint, sizeof hint,
                 "wants pictures, but these are features: move it before the flatten or linear layer");
    if (hint[0]) {
        ddp_fail(err, DDP_E_SHAPE, "%s", hint);
        return prefix_inputs(m, l, err), DDP_E_SHAPE;
    }
    l->order = features || flatten || l->plan.features ? DDP_ORDER_FEATURES : DDP_ORDER_PICTURES;
    return 0;
}

/* All faults that do not follow from one before them: behind a layer without a shape nobody is asked. */
static int plan_layers(struct ddp_model *m, struct ddp_error *err)
{
    for (int i = 0; i < m->nlayers; i++) {
        struct ddp_layer *l = &m->layer[i];
        struct ddp_error found = {0};
        l->shapeless = false;
        for (int k = 0; k < l->nin; k++)
            l->shapeless |= l->in[k] != DDP_DATA && m->layer[l->in[k]].shapeless;
        if (!l->shapeless && plan_layer(m, l, &found) != 0) {
            l->shapeless = true;
            ddp_error_add(err, found.code, "%s", found.text);
        }
    }
    return err->code;
}

/* The layer makes features of pictures. */
static bool flattens(const struct ddp_model *m, const struct ddp_layer *l)
{
    return ddp_layer_is(l, "flatten") &&
           (l->in[0] == DDP_DATA || m->layer[l->in[0]].order == DDP_ORDER_PICTURES);
}

/* What comes in goes out in the shape that it has. */
static bool passes_on(const struct ddp_model *m, const struct ddp_layer *l)
{
    return l->op->any_shape && !l->plan.features && !flattens(m, l);
}

/* What layer i says about its inputs and its output: whether they have to be vectors. True: that was new. */
static bool settle(const struct ddp_model *m, int i, bool *vector)
{
    const struct ddp_layer *l = &m->layer[i];
    bool now = !l->op->any_shape, changed = false;
    if (flattens(m, l) || (l->op->any_shape && l->plan.features))
        return false;
    if (passes_on(m, l)) {
        now = vector[i];
        for (int k = 0; k < l->nin; k++)
            now |= l->in[k] == DDP_DATA || vector[l->in[k]];
        changed = now != vector[i];
        vector[i] = now;
    }
    for (int k = 0; k < l->nin && now; k++)
        if (l->in[k] != DDP_DATA && !vector[l->in[k]])
            changed = vector[l->in[k]] = true;
    return changed;
}

/* Flattens whose output may keep the shape {C, H, W}; whether there are any. */
static bool find_keepers(struct ddp_model *m)
{
    bool *vector = ddp_arena_alloc(m->arena, m->nlayers * sizeof *vector), changed = true, any = false;
    for (int i = 0; i < m->nlayers; i++) {
        const struct ddp_layer *l = &m->layer[i];
        const struct ddp_shape in = l->in[0] == DDP_DATA ? m->input : l->shape[0];
        vector[i] =
            flattens(m, l) ? in.c % DDP_CBLOCK != 0 : l->order == DDP_ORDER_PICTURES || !passes_on(m, l);
    }
    while (changed) {
        changed = false;
        for (int i = 0; i < m->nlayers; i++)
            changed |= settle(m, i, vector);
    }
    for (int i = 0; i < m->nlayers; i++)
        any |= m->layer[i].keeps = ddp_layer_is(&m->layer[i], "flatten") && !vector[i];
    return any;
}

int ddp_graph_shapes(struct ddp_model *m, struct ddp_error *err)
{
    int rc = plan_layers(m, err);
    if (rc == 0 && find_keepers(m))
        rc = plan_layers(m, err);
    if (rc != 0)
        return rc;
    struct ddp_layer *loss = &m->layer[m->nlayers - 1];
    if (m->targets && !loss->op->takes_targets) {
        ddp_fail(err, DDP_E_SHAPE,
                 "the data has real targets, and this loss wants classes; take mse, mae or huber");
        return prefix_inputs(m, loss, err), DDP_E_SHAPE;
    }
    if (m->mixes && !loss->op->takes_mixed) {
        ddp_fail(err, DDP_E_CONFIG,
                 "data.mixup gives samples two labels, and this loss knows one; leave mixup out, or take one "
                 "that does (takes_mixed in ddp/op.h)");
        return prefix_inputs(m, loss, err), DDP_E_CONFIG;
    }
    if (m->classes > 0 && elements(loss->shape[0]) != m->classes) {
        ddp_fail(
            err, DDP_E_SHAPE,
            "the data has %d %s: the layer before the loss must give as many outputs (out = \"classes\")",
            m->classes,
            m->targets        ? m->classes == 1 ? "target" : "targets"
            : m->classes == 1 ? "class"
                              : "classes");
        return prefix_inputs(m, loss, err), DDP_E_SHAPE;
    }
    return 0;
}
