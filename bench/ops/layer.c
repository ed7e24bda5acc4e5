/* A layer with memory to run it: random numbers in and gradients of random numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ops/ops.h"

float *ops_floats(int64_t n)
{
    float *p = ddp_pages_alloc((size_t)n * sizeof *p);
    if (!p) {
        fprintf(stderr, "ddp-bench: no memory for %lld floats\n", (long long)n);
        exit(DDP_EXIT_RESOURCE);
    }
    return p;
}

static uint32_t state = 1;

void ops_fill(float *p, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

/* ---- tensors ---- */

/* What a tensor is to its layer. */
enum use { IN, PLUS, GRAD_OF_IN, GRAD_OF_PLUS, OUT, GRAD_OF_OUT };

/* Their like are one: values are random, and a pass is timed by itself. */
struct made {
    struct ops_tensor tensor;
    enum use use;
    bool features;
    struct made *next;
};
static struct made *all;

static struct ops_tensor *tensor_of(enum use use, bool features, int n, struct ddp_shape s, int halo)
{
    for (struct made *m = all; m; m = m->next) {
        const struct ddp_tensor *t = &m->tensor.t;
        if (m->use == use && m->features == features && t->n == n && t->c == s.c && t->h == s.h &&
            t->w == s.w && t->halo == halo)
            return &m->tensor;
    }
    struct made *m = ddp_calloc(1, sizeof *m);
    *m = (struct made){.use = use, .features = features, .next = all};
    struct ops_tensor *o = &m->tensor;
    int64_t lead = 0;
    o->floats = features ? ddp_tensor_features(&o->t, n, s) : ddp_tensor_pictures(&o->t, n, s, halo, &lead);
    o->memory = ops_floats(o->floats);
    o->t.p = o->memory + lead;
    const int64_t plain = (int64_t)n * s.c * s.h * s.w;
    float *values = ops_floats(plain);
    ops_fill(values, plain);
    ddp_tensor_pack(values, &o->t);
    ddp_pages_free(values, (size_t)plain * sizeof *values);
    all = m;
    return o;
}

/* ---- what the config would say ---- */

/* A layer's values unless a config says otherwise. */
static void set_defaults(const struct ddp_op *op, void *conf)
{
    for (const struct ddp_key *k = op->keys; k->name; k++) {
        char *field = (char *)conf + k->offset;
        double real = 0;
        if (!k->dflt)
            continue;
        const bool yes = strcmp(k->dflt, "true") == 0;
        const int64_t whole = strtoll(k->dflt, NULL, 10);
        if (k->type == DDP_KEY_INT)
            memcpy(field, &whole, sizeof whole);
        else if (k->type == DDP_KEY_FLOAT && ddp_parse_double(k->dflt, &real))
            memcpy(field, &real, sizeof real);
        else if (k->type == DDP_KEY_BOOL)
            memcpy(field, &yes, sizeof yes);
    }
}

static void set(const struct ddp_op *op, void *conf, const char *name, int64_t value)
{
    const bool yes = value != 0;
    for (const struct ddp_key *k = op->keys; k->name; k++) {
        if (strcmp(k->name, name) != 0)
            continue;
        if (k->type == DDP_KEY_INT)
            memcpy((char *)conf + k->offset, &value, sizeof value);
        else if (k->type == DDP_KEY_BOOL)
            memcpy((char *)conf + k->offset, &yes, sizeof yes);
    }
}

static void plan(struct ops_layer *l, int samples)
{
    const struct ops_spec *s = l->spec;
    const struct ddp_shape in[2] = {{s->c, s->h, s->w}, {s->c, s->h, s->w}};
    struct ddp_error err;
    l->conf = ddp_calloc(1, s->op->conf_bytes + 1);
    set_defaults(s->op, l->conf);
    set(s->op, l->conf, "bias", 0); /* of a product: its pass is memory-bound and not the subject */
    set(s->op, l->conf, "out", s->k);
    set(s->op, l->conf, "kernel", s->kernel);
    set(s->op, l->conf, "stride", s->stride);
    set(s->op, l->conf, "padding", s->pad);
    if (s->op->plan(l->conf, in, s->op->nin, samples, &l->plan, &err)) {
        fprintf(stderr, "ddp-bench: %s: %s\n", s->name, err.text);
        exit(DDP_EXIT_USAGE);
    }
}

/* ---- the call ---- */

static void make_params(struct ops_layer *l)
{
    for (int i = 0; i < l->plan.nparams; i++) {
        const struct ddp_param *p = &l->plan.params[i];
        const int64_t size = ddp_layout_size(p), plain = ddp_layout_plain_size(p);
        float *values = ops_floats(plain);
        ops_fill(values, plain);
        l->call.param[i] = ops_floats(size);
        l->call.grad[i] = ops_floats(size);
        ddp_layout_pack(p, values, l->call.param[i]);
        ddp_pages_free(values, (size_t)plain * sizeof *values);
    }
}

/* Indices in the data set, and classes, of samples. */
static void make_samples(struct ops_layer *l, int n)
{
    int64_t *sample = ddp_calloc((size_t)n, sizeof *sample);
    int32_t *label = ddp_calloc((size_t)n, sizeof *label);
    for (int i = 0; i < n; i++) {
        sample[i] = i;
        label[i] = i % l->plan.out.c;
    }
    l->call.sample = sample;
    l->call.label = label;
}

void ops_layer_make(struct ops_layer *l, const struct ops_spec *s, int samples)
{
    *l = (struct ops_layer){.spec = s};
    plan(l, samples);
    const struct ddp_layer_plan *p = &l->plan;
    const struct ddp_shape in = {s->c, s->h, s->w};
    const bool features = p->features || s->features;
    l->call = (struct ddp_op_call){.conf = l->conf,
                                   .plan = p,
                                   .fused = s->fused,
                                   .training = true,
                                   .nin = s->fused & DDP_FUSE_ADD ? 2 : 1,
                                   .saved = ops_floats((int64_t)(p->saved_bytes / sizeof(float)) + 16),
                                   .scratch = ops_floats((int64_t)(p->scratch_bytes / sizeof(float)) + 16),
                                   .sync_count = samples,
                                   .seed = 1,
                                   .loss = &l->loss,
                                   .correct = &l->correct};
    for (int i = 0; i < l->call.nin; i++) {
        l->in[i] = tensor_of(i == 0 ? IN : PLUS, features, samples, in, i == 0 ? p->in_halo : 0);
        l->din[i] =
            tensor_of(i == 0 ? GRAD_OF_IN : GRAD_OF_PLUS, features, samples, in, i == 0 ? p->in_halo : 0);
        l->call.in[i] = &l->in[i]->t;
    }
    l->out = tensor_of(OUT, features, samples, p->out, 0);
    l->dout = tensor_of(GRAD_OF_OUT, features, samples, p->out, p->dout_halo);
    l->call.out = &l->out->t;
    l->call.dout = &l->dout->t;
    make_params(l);
    make_samples(l, samples);
    while (s->passes[l->npasses].name)
        l->npasses++;
}

void ops_layer_run(struct ops_layer *l, const struct ops_pass *pass)
{
    for (int i = 0; i < l->call.nin; i++)
        l->call.din[i] = pass->data ? &l->din[i]->t : NULL;
    (pass->forward ? l->spec->op->forward : l->spec->op->backward)(&l->call);
}
