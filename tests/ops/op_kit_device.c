/* The device's part of op_kit.h: an op's device half on the GPU that a plug-in opens, real or emulated.
 *
 * What the host prepares goes up with NaN wherever nothing is written before it is read, and with garbage in
 * the samples past the n real ones. What comes down must have zeros in the pad lanes, zeros for the gradients
 * of padding samples, and the same bits whatever the garbage was. */
#include "op_kit.h"

#include <math.h>
#include <stdio.h>

#include "ddp/op_device.h"
#include "device/api.h"
#include "device/kernels.h"
#include "device/lock.h"

enum { BUFFERS = 64 };

static const struct ddp_gpu_api *api;
static struct ddp_gpu *gpu;
static struct ddp_gpu_stream *stream;

/* What one run holds. */
struct run {
    void *device[BUFFERS], *pinned[BUFFERS];
    int devices, pinneds;
};

bool kit_on_device(void)
{
    const char *plugin = getenv("DDP_CUDA_PLUGIN");
    return plugin && *plugin;
}

void kit_cpu_only(void)
{
    if (kit_on_device())
        skip();
}

int kit_main(const struct CMUnitTest *tests, size_t n)
{
    struct ddp_error err = {0};
    int devices;
    if (kit_on_device()) {
        if (ddp_gpu_api_open(&api, &err) != 0 || api->count(&devices, &err) != 0) {
            printf("skipped: %s\n", err.text);
            return 77;
        }
        if (api->open(0, &gpu, &err) != 0 || api->stream_create(gpu, false, &stream, &err) != 0) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
    }
    const int failed = _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
    if (gpu) {
        api->stream_destroy(stream);
        api->close(gpu);
    }
    return failed;
}

/* ---- memory ---- */

static void settle(void)
{
    struct ddp_error err = {0};
    while (!api->idle(stream)) {
    }
    if (api->check(gpu, &err) != 0)
        fail_msg("%s", err.text);
}

static void *pinned(struct run *r, size_t bytes)
{
    struct ddp_error err = {0};
    assert_true(r->pinneds < BUFFERS);
    if (api->alloc_pinned(gpu, bytes ? bytes : 1, &r->pinned[r->pinneds], &err) != 0)
        fail_msg("%s", err.text);
    return r->pinned[r->pinneds++];
}

/* Device memory with these bytes; NULL: NaN. */
static void *up(struct run *r, const void *host, size_t bytes)
{
    struct ddp_error err = {0};
    assert_true(r->devices < BUFFERS);
    if (api->alloc(gpu, bytes ? bytes : 1, &r->device[r->devices], &err) != 0)
        fail_msg("%s", err.text);
    void *p = r->device[r->devices++], *staging = pinned(r, bytes);
    if (host)
        memcpy(staging, host, bytes);
    else
        memset(staging, 0xff, bytes);
    api->copy(stream, p, staging, bytes);
    settle();
    return p;
}

static float *down(struct run *r, const void *device, size_t bytes)
{
    float *p = pinned(r, bytes);
    api->copy(stream, p, device, bytes);
    settle();
    return p;
}

static void release(struct run *r)
{
    for (int i = 0; i < r->devices; i++)
        api->release(gpu, r->device[i]);
    for (int i = 0; i < r->pinneds; i++)
        api->release_pinned(gpu, r->pinned[i]);
}

/* ---- activations: plain [n][c][h][w] and the device's [batch][h][w][c8] ---- */

static size_t elements(const struct kit_args *a, struct ddp_shape s)
{
    return (size_t)a->batch * (size_t)ddp_gpu_elements(s);
}

/* plain NULL: nothing but garbage. */
static void *up_tensor(struct run *r, const struct kit_args *a, struct ddp_shape s, const float *plain,
                       float garbage)
{
    const int pad = ddp_gpu_pad(s.c), pixels = s.h * s.w;
    float *v = calloc(elements(a, s) + 1, sizeof *v);
    for (int i = 0; i < a->batch; i++)
        for (int c = 0; c < s.c; c++)
            for (int q = 0; q < pixels; q++)
                v[((size_t)i * (size_t)pixels + (size_t)q) * (size_t)pad + (size_t)c] =
                    i < a->n ? plain[((size_t)i * (size_t)s.c + (size_t)c) * (size_t)pixels + (size_t)q]
                             : garbage * (float)(c % 3 + 1);
    void *p = up(r, v, elements(a, s) * sizeof *v);
    free(v);
    return p;
}

/* malloc'd. zeros: of padding samples too. */
static float *down_tensor(struct run *r, const struct kit_args *a, struct ddp_shape s, const void *device,
                          bool zeros)
{
    const int pad = ddp_gpu_pad(s.c), pixels = s.h * s.w;
    const float *v = down(r, device, elements(a, s) * sizeof *v);
    float *plain = malloc((size_t)a->n * (size_t)s.c * (size_t)pixels * sizeof *plain + 1);
    for (int i = 0; i < a->batch; i++)
        for (int q = 0; q < pixels; q++)
            for (int c = 0; c < pad; c++, v++)
                if ((c >= s.c || (i >= a->n && zeros)) && *v != 0)
                    fail_msg("sample %d of %d, pixel %d, lane %d of %d: %.9g, not 0", i, a->n, q, c, s.c,
                             (double)*v);
                else if (c < s.c && i >= a->n && !isfinite(*v))
                    fail_msg("padding sample %d, pixel %d, channel %d: %.9g", i, q, c, (double)*v);
                else if (c < s.c && i < a->n)
                    plain[((size_t)i * (size_t)s.c + (size_t)c) * (size_t)pixels + (size_t)q] = *v;
    return plain;
}

/* ---- a run ---- */

static void run_once(const struct kit_args *a, float garbage, struct kit_result *out)
{
    struct ddp_error err = {0};
    struct run r = {0};
    const struct ddp_op_device *half = a->op->device;
    const int nin = a->nin ? a->nin : a->op->nin;
    const struct ddp_shape in[DDP_OP_MAX_IN] = {a->in, a->second.c ? a->second : a->in};
    const bool loss = a->op->is_loss;
    struct ddp_layer_plan layer = {0};
    assert_non_null(half);
    if (a->op->plan(a->conf, in, a->op->nin, a->batch, &layer, &err))
        fail_msg("%s", err.text);

    const struct ddp_gpu_identity identity = {.device = "test"};
    struct ddp_gpu_lock *lock = ddp_gpu_lock_create(&identity);
    struct ddp_device_plan plan = {0};
    struct ddp_device_planner planner = {.conf = a->conf,
                                         .plan = &layer,
                                         .fused = a->fused,
                                         .nin = a->op->nin,
                                         .in = {in[0], in[1]},
                                         .out = loss ? (struct ddp_shape){0} : layer.out,
                                         .type = DDP_GPU_F32,
                                         .batch = a->batch,
                                         .training = !a->evaluate,
                                         .accumulate = a->before[0] != NULL,
                                         .api = api,
                                         .gpu = gpu,
                                         .lock = lock};
    if (half->plan && half->plan(&planner, &plan, &err))
        fail_msg("%s", err.text);
    assert_int_equal(plan.sync_doubles, 0);

    struct ddp_gpu_step step = {.epoch = a->epoch, .count = a->n};
    struct ddp_device_call call = {.conf = a->conf,
                                   .plan = &layer,
                                   .fused = a->fused,
                                   .training = !a->evaluate,
                                   .nin = a->op->nin,
                                   .in_shape = {in[0], in[1]},
                                   .out_shape = layer.out,
                                   .type = DDP_GPU_F32,
                                   .batch = a->batch,
                                   .seed = a->seed,
                                   .layer = a->layer,
                                   .api = api,
                                   .kernels = api->kernels,
                                   .stream = stream,
                                   .vendor = plan.vendor};
    call.n = up(&r, &(int32_t){a->n}, sizeof(int32_t));
    struct ddp_gpu_step *on_device = up(&r, &step, sizeof step);
    call.step = on_device;
    call.count = &on_device->count;
    call.epoch = &on_device->epoch;
    int64_t *sample = calloc((size_t)a->batch + 1, sizeof *sample);
    int32_t *label = calloc((size_t)a->batch + 1, sizeof *label);
    if (a->sample)
        memcpy(sample, a->sample, (size_t)a->n * sizeof *sample);
    if (a->label)
        memcpy(label, a->label, (size_t)a->n * sizeof *label);
    call.sample = up(&r, sample, (size_t)a->batch * sizeof *sample);
    if (a->target) {
        float *target = calloc((size_t)a->batch * (size_t)a->in.c + 1, sizeof *target);
        memcpy(target, a->target, (size_t)a->n * (size_t)a->in.c * sizeof *target);
        call.target = up(&r, target, (size_t)a->batch * (size_t)a->in.c * sizeof *target);
        free(target);
    } else if (a->mixed) {
        struct ddp_mixed *mixed = calloc((size_t)a->batch + 1, sizeof *mixed);
        memcpy(mixed, a->mixed, (size_t)a->n * sizeof *mixed);
        call.mixed = up(&r, mixed, (size_t)a->batch * sizeof *mixed);
        free(mixed);
    } else {
        call.label = up(&r, label, (size_t)a->batch * sizeof *label);
    }
    free(sample), free(label);

    void *x[DDP_OP_MAX_IN], *din[DDP_OP_MAX_IN] = {0};
    for (int i = 0; i < nin; i++) {
        call.in[i] = x[i] = up_tensor(&r, a, in[i], a->x[i], garbage);
        if (a->evaluate || a->skip_din[i])
            continue;
        din[i] = a->before[i] ? up_tensor(&r, a, in[i], a->before[i], 0)
                              : up(&r, NULL, elements(a, in[i]) * sizeof(float));
        call.accumulate[i] = a->before[i] != NULL;
    }
    if (!loss) {
        call.out = a->in_place ? x[0] : up(&r, NULL, elements(a, layer.out) * sizeof(float));
        if (!a->evaluate)
            call.dout = up_tensor(&r, a, layer.out, a->dout, 0);
        if (a->in_place && !a->evaluate)
            din[0] = call.dout;
    }
    memcpy(call.din, din, sizeof din);
    float *grad[DDP_OP_MAX_PARAMS] = {0}, *leaf[DDP_OP_MAX_PARAMS] = {0};
    size_t size[DDP_OP_MAX_PARAMS] = {0};
    for (int i = 0; i < layer.nparams; i++) {
        struct ddp_param p = layer.params[i];
        p.layout = p.layout == DDP_LAYOUT_CONV ? DDP_LAYOUT_KRSC : p.layout;
        size[i] = (size_t)ddp_layout_size(&p) * sizeof(float);
        float *flat = calloc(1, size[i]);
        grad[i] = up(&r, flat, size[i]);
        leaf[i] = up(&r, flat, size[i]);
        ddp_layout_pack(&p, a->param[i], flat);
        call.param[i] = up(&r, flat, size[i]);
        call.weight[i] = call.param[i];
        free(flat);
    }
    call.saved = a->evaluate ? NULL : up(&r, NULL, plan.saved_bytes);
    call.scratch = up(&r, NULL, plan.scratch_bytes);
    call.workspace = up(&r, NULL, plan.workspace_bytes);
    call.loss = up(&r, NULL, sizeof(float));
    call.correct = a->target ? NULL : up(&r, NULL, sizeof(int32_t));
    call.error = a->target ? up(&r, NULL, sizeof(float)) : NULL;

    for (int i = 0; i < layer.nparams; i++)
        call.grad[i] = !a->evaluate && layer.params[i].role != DDP_PARAM_TRAINED ? leaf[i] : NULL;
    half->forward(&call);
    const void *y = loss ? x[0] : call.out;
    *out = (struct kit_result){.out = layer.out, .nparams = layer.nparams, .c16 = ddp_blocks(a->in.c) * 16};
    for (int i = 0; i < nin; i++)
        out->nx[i] = (int64_t)a->n * in[i].c * in[i].h * in[i].w;
    out->ny = (int64_t)a->n * layer.out.c * layer.out.h * layer.out.w;
    out->y = down_tensor(&r, a, loss ? a->in : layer.out, y, false);
    if (!a->evaluate && !loss) {
        for (int i = 0; i < layer.nparams; i++)
            call.grad[i] = layer.params[i].role == DDP_PARAM_TRAINED ? grad[i] : NULL;
        half->backward(&call);
    }
    settle();
    for (int i = 0; i < nin; i++)
        if (din[i])
            out->dx[i] = down_tensor(&r, a, in[i], din[i], true);
    for (int i = 0; i < layer.nparams; i++) {
        out->size[i] = (int64_t)(size[i] / sizeof(float));
        out->grad[i] = malloc(size[i]);
        out->leaf[i] = malloc(size[i]);
        memcpy(out->grad[i], down(&r, grad[i], size[i]), size[i]);
        memcpy(out->leaf[i], down(&r, leaf[i], size[i]), size[i]);
    }
    if (loss) {
        int32_t correct = 0;
        memcpy(&out->loss, down(&r, call.loss, sizeof out->loss), sizeof out->loss);
        if (a->target)
            memcpy(&out->error, down(&r, call.error, sizeof out->error), sizeof out->error);
        else
            memcpy(&correct, down(&r, call.correct, sizeof correct), sizeof correct);
        out->correct = correct;
    }
    for (int i = 0; i < DDP_DEVICE_PASSES; i++)
        if (plan.vendor[i])
            api->plan_destroy(plan.vendor[i]);
    ddp_gpu_lock_destroy(lock);
    release(&r);
}

void kit_run_device(const struct kit_args *a, struct kit_result *r)
{
    static const float garbage[] = {0.75f, -3, 0};
    run_once(a, garbage[0], r);
    for (size_t i = 1; i < DDP_COUNT(garbage) && a->n < a->batch; i++) {
        struct kit_result other;
        run_once(a, garbage[i], &other);
        kit_expect_same(r, &other);
        kit_free(&other);
    }
}
