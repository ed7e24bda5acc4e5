/* Convolutions by cuDNN: choosing plans on the device, and running them. Which plans there are is
 * conv_plans.c's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda/conv_graph.h"
#include "device/cuda/library.h"
#include "device/cuda/plan.h"
#include "device/cuda/probe.h"

/* Of a call: x, w, y, and the epilogue's bias, or NULL; workspace, or NULL. */
enum { BIAS = 3, WORKSPACE, MEMORY };

struct conv_plan {
    struct ddp_gpu_plan head;
    struct ddp_library *library; /* a cudnnHandle_t; it follows the stream of each call */
    struct ddp_conv_graph *graph;
    struct ddp_conv_choice choice;
    /* the variant pack of the last call: a layer is called with the same memory step after step */
    void *memory[MEMORY];
    cudnnBackendDescriptor_t pack;
};

int ddp_cuda_conv_version(void)
{
    return (int)cudnnGetVersion();
}

static int create(void **handle, struct ddp_error *err)
{
    cudnnStatus_t s = cudnnCreate((cudnnHandle_t *)handle);
    return s == CUDNN_STATUS_SUCCESS
               ? 0
               : ddp_cudnn_fail(err, DDP_E_RESOURCE, s, "cannot be started on the device");
}

static void destroy_handle(void *handle)
{
    cudnnDestroy(handle);
}

static const struct ddp_library_kind cudnn = {.create = create, .destroy = destroy_handle};

/* ---- running ---- */

static cudnnStatus_t make_pack(void *const memory[MEMORY], cudnnBackendDescriptor_t *out)
{
    const int64_t id[] = {DDP_CONV_X, DDP_CONV_W, DDP_CONV_Y, DDP_CONV_BIAS}, n = memory[BIAS] ? 4 : 3;
    cudnnBackendDescriptor_t d;
    cudnnStatus_t s = cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &d);
    if (s != CUDNN_STATUS_SUCCESS)
        return s;
    s = cudnnBackendSetAttribute(d, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, id);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendSetAttribute(d, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n,
                                     memory);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendSetAttribute(d, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                                     &memory[WORKSPACE]);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendFinalize(d);
    if (s == CUDNN_STATUS_SUCCESS)
        *out = d;
    else
        cudnnBackendDestroyDescriptor(d);
    return s;
}

static cudnnStatus_t execute(struct ddp_library *l, cudaStream_t stream, cudnnBackendDescriptor_t plan,
                             cudnnBackendDescriptor_t pack)
{
    cudnnStatus_t s = cudnnSetStream(l->handle, stream);
    return s == CUDNN_STATUS_SUCCESS ? cudnnBackendExecute(l->handle, plan, pack) : s;
}

void ddp_cuda_conv_run(struct ddp_gpu_stream *stream, const struct ddp_gpu_plan *head, void *x, void *w,
                       void *y, const float *bias, void *workspace)
{
    /* the thread that uses the device is the only one that sees the pack that is kept here */
    struct conv_plan *p = (struct conv_plan *)(uintptr_t)head;
    void *const memory[MEMORY] = {x, w, y, (void *)(uintptr_t)bias, p->head.workspace ? workspace : NULL};
    if (!ddp_stream_works(stream))
        return;
    cudnnStatus_t s = CUDNN_STATUS_SUCCESS;
    if (!p->pack || memcmp(memory, p->memory, sizeof memory) != 0) {
        if (p->pack)
            cudnnBackendDestroyDescriptor(p->pack);
        p->pack = NULL;
        s = make_pack(memory, &p->pack);
        memcpy(p->memory, memory, sizeof memory);
    }
    if (s == CUDNN_STATUS_SUCCESS)
        s = execute(p->library, ddp_stream_cuda(stream), p->choice.plan, p->pack);
    if (s != CUDNN_STATUS_SUCCESS) {
        struct ddp_error err;
        ddp_cudnn_fail(&err, DDP_E_DEVICE, s, "convolution");
        ddp_stream_fail(stream, DDP_E_DEVICE, "%s", err.text);
    }
}

/* ---- choosing ---- */

struct trial {
    struct ddp_library *library;
    const struct ddp_conv_choice *choice;
};

static bool run_trial(void *ctx, const struct ddp_probe *probe, char *why, size_t size)
{
    const struct trial *t = ctx;
    void *const memory[MEMORY] = {probe->operand[0], probe->operand[1], probe->operand[2],
                                  probe->operand[DDP_PROBE_BIAS],
                                  t->choice->workspace ? probe->workspace : NULL};
    cudnnBackendDescriptor_t pack = NULL;
    cudnnStatus_t s = make_pack(memory, &pack);
    if (s == CUDNN_STATUS_SUCCESS)
        s = execute(t->library, probe->stream, t->choice->plan, pack);
    if (s != CUDNN_STATUS_SUCCESS) {
        struct ddp_error err;
        ddp_cudnn_fail(&err, DDP_E_DEVICE, s, "run");
        snprintf(why, size, "%s", err.text);
    }
    if (pack)
        cudnnBackendDestroyDescriptor(pack);
    return s == CUDNN_STATUS_SUCCESS;
}

/* The first that works on the device, or of as many as the budget allows the fastest. */
static int choose(struct ddp_library *library, struct ddp_conv_graph *graph, struct ddp_probe *probe,
                  bool tune, struct ddp_conv_choice *out, struct ddp_error *err)
{
    struct ddp_conv_choice best = {0}, c = {0};
    float best_us = 0, us = 0;
    char why[512] = "";
    int tried = 0, rc;
    for (;;) {
        rc = ddp_probe_more(probe) ? ddp_conv_graph_next(graph, &c, err) : 0;
        if (rc || !c.plan)
            break;
        struct trial t = {.library = library, .choice = &c};
        bool works = false;
        tried++;
        rc = ddp_probe_workspace(probe, c.workspace, err);
        if (rc == 0)
            rc = ddp_probe_try(probe, run_trial, &t, &works, tune ? &us : NULL, why, sizeof why, err);
        if (rc)
            break;
        if (works && (!best.plan || us < best_us)) {
            ddp_conv_choice_finish(&best);
            best = c;
            best_us = us;
            c = (struct ddp_conv_choice){0};
            if (!tune)
                break;
        }
        ddp_conv_choice_finish(&c);
    }
    ddp_conv_choice_finish(&c);
    if (rc) {
        ddp_conv_choice_finish(&best);
        return rc;
    }
    if (!best.plan) {
        int passed;
        const char *last = ddp_conv_graph_passed(graph, &passed);
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "cuDNN %zu has no deterministic algorithm that works here; %d did not qualify, last %s; %d were "
            "tried, last: %s",
            cudnnGetVersion(), passed, last, tried, why);
    }
    *out = best;
    return 0;
}

static int choose_on_device(struct ddp_library *library, struct ddp_conv_graph *graph,
                            const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass, bool tune,
                            struct ddp_conv_choice *out, struct ddp_error *err)
{
    const int result = pass == DDP_GPU_CONV_FORWARD ? 2 : pass == DDP_GPU_CONV_DGRAD ? 0 : 1;
    const size_t size = ddp_gpu_type_bytes(c->type);
    const size_t bytes[DDP_PROBE_BIAS] = {
        size * (size_t)c->n * (size_t)c->h * (size_t)c->w * (size_t)c->c,
        size * (size_t)c->k * (size_t)c->r * (size_t)c->s * (size_t)(c->c / c->groups),
        size * (size_t)c->n * (size_t)c->k *
            (size_t)ddp_cuda_conv_out(c->h, ddp_gpu_conv_reach(c, c->r), c->stride, c->pad) *
            (size_t)ddp_cuda_conv_out(c->w, ddp_gpu_conv_reach(c, c->s), c->stride, c->pad)};
    struct ddp_probe_operand of[DDP_PROBE_OPERANDS];
    struct ddp_probe probe;
    for (int i = 0; i < DDP_PROBE_BIAS; i++)
        of[i] = (struct ddp_probe_operand){bytes[i], c->type, i == result};
    of[DDP_PROBE_BIAS] =
        (struct ddp_probe_operand){c->epilogue ? (size_t)c->k * sizeof(float) : 0, DDP_GPU_F32, false};
    int rc = ddp_probe_create(of, &probe, err);
    if (rc)
        return rc;
    rc = choose(library, graph, &probe, tune, out, err);
    ddp_probe_destroy(&probe);
    return rc;
}

static void destroy(struct ddp_gpu_plan *head)
{
    struct conv_plan *p = (struct conv_plan *)head;
    if (p->pack)
        cudnnBackendDestroyDescriptor(p->pack);
    ddp_conv_choice_finish(&p->choice);
    ddp_conv_graph_destroy(p->graph);
    ddp_library_drop(p->library);
    free(p->head.lock);
    free(p);
}

int ddp_cuda_conv_plan(struct ddp_gpu *gpu, const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass,
                       const char *lock, bool tune, struct ddp_gpu_plan **out, struct ddp_error *err)
{
    static const char *const passes[] = {"forward", "data gradient", "weight gradient"};
    struct conv_plan *p = calloc(1, sizeof *p);
    if (!p)
        return ddp_fail(err, DDP_E_RESOURCE, "out of memory");
    p->head.destroy = destroy;
    int rc = ddp_cuda_conv_check(c, err);
    if (rc == 0)
        rc = ddp_library_take(gpu, &cudnn, &p->library, err);
    if (rc == 0)
        rc = ddp_conv_graph_create(c, pass, p->library->handle, NULL, &p->graph, err);
    if (rc == 0 && lock)
        rc = ddp_conv_graph_replay(p->graph, lock, &p->choice, err);
    else if (rc == 0)
        rc = choose_on_device(p->library, p->graph, c, pass, tune, &p->choice, err);
    if (rc == 0) {
        p->head.workspace = p->choice.workspace;
        p->head.lock = strdup(p->choice.lock);
        rc = p->head.lock ? 0 : ddp_fail(err, DDP_E_RESOURCE, "out of memory");
    }
    if (rc) {
        destroy(&p->head);
        ddp_error_prefix(err, "%s of a %dx%d convolution of %dx%dx%d to %d channels", passes[pass], c->r,
                         c->s, c->c, c->h, c->w, c->k);
        return rc;
    }
    *out = &p->head;
    return 0;
}
