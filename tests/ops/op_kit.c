/* Laying a layer out with poison around all that it must not touch, running it, looking at the poison. */
#include "op_kit.h"

#include <math.h>
#include <stdio.h>

static const uint32_t poison = 0x7fdead01; /* a NaN: whoever reads it shows it */

static float poison_value(void)
{
    float f;
    memcpy(&f, &poison, sizeof f);
    return f;
}

static float *poisoned(size_t floats)
{
    float *p = aligned_alloc(64, (floats * sizeof *p + 63) / 64 * 64 + 64);
    assert_non_null(p);
    for (size_t i = 0; i < floats; i++)
        p[i] = poison_value();
    return p;
}

static void make_tensor(struct kit_tensor *k, int batch, int n, struct ddp_shape s, bool features, int halo)
{
    int64_t lead = 0;
    k->floats = (size_t)(features ? ddp_tensor_features(&k->t, batch, s)
                                  : ddp_tensor_pictures(&k->t, batch, s, halo, &lead));
    k->floats += (size_t)lead;
    k->buf = poisoned(k->floats);
    k->t.p = k->buf + lead;
    k->t.n = n;
}

static void fill(const struct kit_tensor *k, const float *plain)
{
    const struct ddp_tensor *t = &k->t;
    int64_t i = 0;
    for (int n = 0; n < t->n; n++)
        for (int c = 0; c < ddp_blocks(t->c) * 16; c++)
            for (int y = 0; y < t->h; y++)
                for (int x = 0; x < t->w; x++)
                    ddp_at(t, n, c / 16, y, x)[c % 16] = c < t->c ? plain[i++] : 0;
}

/* The plain values; everything but the vectors of real pixels of real samples must be poison still. */
static float *take(const struct kit_tensor *k)
{
    const struct ddp_tensor *t = &k->t;
    float *plain = malloc((size_t)t->n * t->c * t->h * t->w * sizeof *plain + 1);
    char *real = calloc(k->floats, 1);
    int64_t i = 0;
    for (int n = 0; n < t->n; n++)
        for (int c = 0; c < ddp_blocks(t->c) * 16; c++)
            for (int y = 0; y < t->h; y++)
                for (int x = 0; x < t->w; x++) {
                    const float *p = &ddp_at(t, n, c / 16, y, x)[c % 16];
                    real[p - k->buf] = 1;
                    if (c < t->c)
                        plain[i++] = *p;
                    else
                        assert_true(*p == 0);
                }
    for (size_t j = 0; j < k->floats; j++)
        if (!real[j])
            assert_memory_equal(&k->buf[j], &poison, sizeof poison);
    free(real);
    return plain;
}

void kit_open(struct kit *k, const struct kit_args *a, const struct kit_variant *v)
{
    struct ddp_error err = {0};
    memset(k, 0, sizeof *k);
    k->args = *a;
    assert_int_equal(ddp_cpu_select(v->isa, &err), 0);
    int nin = a->nin ? a->nin : a->op->nin;
    struct ddp_shape in[DDP_OP_MAX_IN] = {a->in, a->second.c ? a->second : a->in};
    if (a->op->plan(a->conf, in, a->op->nin, a->batch, &k->plan, &err))
        fail_msg("%s", err.text);
    assert_true(k->plan.any_strides);
    if (v->threads)
        assert_int_equal(ddp_pool_create(v->threads, NULL, 100, &k->pool, &err), 0);
    bool loss = a->op->is_loss;
    for (int i = 0; i < nin; i++) {
        make_tensor(&k->in[i], a->batch, a->n, in[i], v->in_features, v->halo);
        fill(&k->in[i], a->x[i]);
        k->call.in[i] = &k->in[i].t;
        if (i == 0 && a->over) {
            k->call.din[0] = &k->in[0].t;
            k->call.mask_din = a->over == DDP_OVER_MASKED;
        } else if (!a->evaluate && !a->skip_din[i]) {
            make_tensor(&k->din[i], a->batch, a->n, in[i], v->in_features, v->halo);
            if (a->before[i])
                fill(&k->din[i], a->before[i]);
            k->call.accumulate[i] = a->before[i] != NULL;
            k->call.din[i] = &k->din[i].t;
        }
    }
    if (a->in_place) {
        k->call.out = &k->in[0].t;
        k->call.dout = k->call.din[0];
        if (!a->evaluate)
            fill(&k->din[0], a->dout);
    } else if (!loss) {
        make_tensor(&k->out, a->batch, a->n, k->plan.out, v->out_features, v->halo);
        k->call.out = &k->out.t;
        if (!a->evaluate) {
            make_tensor(&k->dout, a->batch, a->n, k->plan.out, v->out_features, v->halo);
            fill(&k->dout, a->dout);
            k->call.dout = &k->dout.t;
        }
    } else {
        k->call.out = &k->in[0].t;
    }
    for (int i = 0; i < k->plan.nparams; i++) {
        int64_t size = ddp_layout_size(&k->plan.params[i]);
        k->param[i] = poisoned((size_t)size);
        k->grad[i] = poisoned((size_t)size);
        k->leaf[i] = poisoned((size_t)size);
        ddp_layout_pack(&k->plan.params[i], a->param[i], k->param[i]);
        k->call.param[i] = k->param[i];
    }
    if (k->plan.sync_doubles)
        k->sync = (double *)(void *)poisoned(2 * (size_t)k->plan.sync_doubles);
    k->call.conf = a->conf;
    k->call.plan = &k->plan;
    k->call.fused = a->fused;
    k->call.training = !a->evaluate;
    k->call.nin = nin;
    k->call.saved = a->evaluate ? NULL : poisoned(k->plan.saved_bytes / 4 + 1);
    k->call.scratch = poisoned(k->plan.scratch_bytes / 4 + 1);
    k->call.sync = k->sync;
    k->call.sync_count = a->sync_count;
    k->call.pool = k->pool;
    k->call.seed = a->seed;
    k->call.layer = a->layer;
    k->call.epoch = a->epoch;
    k->call.sample = a->sample;
    k->call.label = a->label;
    k->call.mixed = a->mixed;
    k->call.target = a->target;
    k->call.error = &k->error;
    k->call.loss = &k->loss;
    k->call.correct = &k->correct;
}

void kit_forward(struct kit *k)
{
    for (int i = 0; i < k->plan.nparams; i++)
        k->call.grad[i] = k->call.training && k->plan.params[i].role != DDP_PARAM_TRAINED ? k->leaf[i] : NULL;
    k->args.op->forward(&k->call);
}

void kit_backward(struct kit *k)
{
    for (int i = 0; i < k->plan.nparams; i++)
        k->call.grad[i] = k->plan.params[i].role == DDP_PARAM_TRAINED ? k->grad[i] : NULL;
    k->args.op->backward(&k->call);
}

void kit_close(struct kit *k, struct kit_result *r)
{
    *r = (struct kit_result){
        .out = k->plan.out, .nparams = k->plan.nparams, .c16 = ddp_blocks(k->args.in.c) * 16};
    r->ny = (int64_t)k->args.n * r->out.c * r->out.h * r->out.w;
    r->y = take(k->args.in_place || k->args.op->is_loss ? &k->in[0] : &k->out);
    r->loss = k->loss;
    r->correct = k->correct;
    r->error = k->error;
    for (int i = 0; i < DDP_OP_MAX_IN; i++) {
        const struct ddp_tensor *in = &k->in[i].t;
        r->nx[i] = (int64_t)in->n * in->c * in->h * in->w;
        if (k->din[i].buf || (in->p && k->call.din[i] == in))
            r->dx[i] = take(k->din[i].buf ? &k->din[i] : &k->in[i]);
        free(k->in[i].buf);
        free(k->din[i].buf);
    }
    for (int i = 0; i < r->nparams; i++) {
        r->size[i] = ddp_layout_size(&k->plan.params[i]);
        r->grad[i] = k->grad[i];
        r->leaf[i] = k->leaf[i];
        free(k->param[i]);
    }
    free(k->out.buf);
    free(k->dout.buf);
    free(k->call.saved);
    free(k->call.scratch);
    free(k->sync);
    ddp_pool_destroy(k->pool);
}

void kit_free(struct kit_result *r)
{
    free(r->y);
    for (int i = 0; i < DDP_OP_MAX_IN; i++)
        free(r->dx[i]);
    for (int i = 0; i < r->nparams; i++) {
        free(r->grad[i]);
        free(r->leaf[i]);
    }
}

/* What backward must not read of out is not there. */
static void kit_hide_out(const struct kit *k)
{
    const enum ddp_out_use use = k->args.op->out_use;
    const unsigned fused = k->call.fused;
    const bool masks = fused & DDP_FUSE_RELU && (use == DDP_OUT_MASK || fused & DDP_FUSE_ADD);
    if (use == DDP_OUT_READ || (use != DDP_OUT_UNREAD && masks) || k->args.in_place)
        return;
    for (size_t i = 0; i < k->out.floats; i++)
        k->out.buf[i] = NAN;
}

void kit_run(const struct kit_args *a, const struct kit_variant *v, struct kit_result *r)
{
    struct kit k;
    if (kit_on_device()) {
        kit_run_device(a, r);
        return;
    }
    kit_open(&k, a, v);
    kit_forward(&k);
    if (!a->evaluate && !a->op->is_loss) {
        float *kept = k.out.buf ? malloc(k.out.floats * sizeof *kept) : NULL;
        if (kept)
            memcpy(kept, k.out.buf, k.out.floats * sizeof *kept);
        kit_hide_out(&k);
        kit_backward(&k);
        if (kept)
            memcpy(k.out.buf, kept, k.out.floats * sizeof *kept);
        free(kept);
    }
    kit_close(&k, r);
}

/* The gradient of in[0] over in[0]: the same, and zero where a ReLU in front left none. */
static void kit_run_over(const struct kit_args *a, const char *isa, const struct kit_result *apart)
{
    struct ddp_layer_plan plan = {0};
    const struct ddp_shape in[DDP_OP_MAX_IN] = {a->in, a->second.c ? a->second : a->in};
    assert_int_equal(a->op->plan(a->conf, in, a->op->nin, a->batch, &plan, NULL), 0);
    if (a->evaluate || a->op->is_loss || a->in_place || a->skip_din[0] || a->before[0])
        return;
    for (int over = DDP_OVER_PLAIN; over <= (int)plan.over_in; over++) {
        const struct kit_variant v = {isa, 2, false, false, 1};
        struct kit_args own = *a;
        struct kit_result r;
        own.over = (enum ddp_over)over;
        kit_run(&own, &v, &r);
        for (int64_t i = 0; i < r.nx[0] && over == DDP_OVER_MASKED; i++) {
            const float want = a->x[0][i] <= 0 ? 0 : apart->dx[0][i];
            assert_memory_equal(&r.dx[0][i], &want, sizeof want);
            r.dx[0][i] = apart->dx[0][i];
        }
        kit_expect_same(apart, &r);
        kit_free(&r);
    }
}

void kit_expect_same(const struct kit_result *a, const struct kit_result *b)
{
    assert_memory_equal(a->y, b->y, (size_t)a->ny * 4);
    for (int i = 0; i < DDP_OP_MAX_IN; i++)
        if (a->dx[i])
            assert_memory_equal(a->dx[i], b->dx[i], (size_t)a->nx[i] * 4);
    for (int i = 0; i < a->nparams; i++) {
        assert_memory_equal(a->grad[i], b->grad[i], (size_t)a->size[i] * 4);
        assert_memory_equal(a->leaf[i], b->leaf[i], (size_t)a->size[i] * 4);
    }
    assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
    assert_int_equal(a->correct, b->correct);
    assert_memory_equal(&a->error, &b->error, sizeof a->error);
}

int kit_isas(const char *names[4])
{
    static const char *const all[] = {"scalar", "avx2", "avx512", "neon"};
    int n = 0;
    for (size_t i = 0; i < DDP_COUNT(all); i++)
        if (ddp_cpu_select(all[i], NULL) == 0)
            names[n++] = all[i];
    return n;
}

void kit_run_all(const struct kit_args *a, struct kit_result *r)
{
    if (kit_on_device()) {
        kit_run_device(a, r);
        return;
    }
    const char *isa[4];
    int isas = kit_isas(isa);
    bool first = true;
    for (int i = 0; i < isas; i++)
        for (int threads = 0; threads <= 3; threads++)
            for (int order = 0; order < 4; order++) {
                struct kit_variant v = {isa[i], threads, order & 1, order >> 1, (order + threads) % 3};
                struct kit_result other;
                if (a->in_place && v.in_features != v.out_features)
                    continue;
                kit_run(a, &v, first ? r : &other);
                if (!first) {
                    kit_expect_same(r, &other);
                    kit_free(&other);
                }
                first = false;
            }
    for (int i = 0; i < isas; i++)
        kit_run_over(a, isa[i], r);
    assert_int_equal(ddp_cpu_select(NULL, NULL), 0);
}

float *kit_random(int64_t n, float lo, float hi, uint32_t stream)
{
    float *x = malloc((size_t)n * sizeof *x + 1);
    for (int64_t i = 0; i < n; i++)
        x[i] = lo + (hi - lo) * ddp_uniform(ddp_philox4((uint32_t)i, stream, 7, 8, 99).v[0]);
    return x;
}

double *kit_widen(const float *x, int64_t n)
{
    double *y = malloc((size_t)n * sizeof *y + 1);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i];
    return y;
}

void kit_close_to(const char *what, const float *got, const double *want, int64_t n, double tol, double scale)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tol * (scale + fabs(want[i]))))
            fail_msg("%s[%lld] is %.9g, expected %.9g within %g", what, (long long)i, (double)got[i], want[i],
                     tol * (scale + fabs(want[i])));
}

void kit_differences(kit_fn f, const void *ctx, const double *x, int64_t nx, const float *dout, int64_t ny,
                     double *dx)
{
    double *at = malloc((size_t)nx * sizeof *at + 1), *up = malloc((size_t)ny * sizeof *up + 1),
           *down = malloc((size_t)ny * sizeof *down + 1);
    memcpy(at, x, (size_t)nx * sizeof *at);
    for (int64_t i = 0; i < nx; i++) {
        const double step = 1e-5;
        at[i] = x[i] + step;
        f(ctx, at, up);
        at[i] = x[i] - step;
        f(ctx, at, down);
        at[i] = x[i];
        double sum = 0;
        for (int64_t j = 0; j < ny; j++)
            sum += dout[j] * (up[j] - down[j]);
        dx[i] = sum / (2 * step);
    }
    free(at);
    free(up);
    free(down);
}

void kit_expect_plan_error(const struct ddp_op *op, const void *conf, const struct ddp_shape *in, int nin,
                           int code, const char *const *words)
{
    struct ddp_layer_plan plan = {0};
    struct ddp_error err = {0};
    assert_int_equal(op->plan(conf, in, nin, 4, &plan, &err), code);
    for (; *words; words++)
        if (!strstr(err.text, *words))
            fail_msg("'%s' is missing in: %s", *words, err.text);
}
