/* Which engines of cuDNN may compute a convolution, in what order they are taken, and how one is written down
 * and found again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda/conv_private.h"

enum { KNOBS = 64 };

/* ---- engines ---- */

static void pass_over(struct ddp_conv_graph *g, const char *lock, const char *why)
{
    g->passed++;
    snprintf(g->why, sizeof g->why, "%.80s: %s", lock, why);
}

/* Why an engine must not compute this; NULL: it may. Notes belong to the engine inside its configuration. */
static const char *forbidden(const struct ddp_conv_graph *g, cudnnBackendDescriptor_t engine)
{
    cudnnBackendNumericalNote_t note[2 * CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0;
    if (cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                 COUNT(note), &n, note) != CUDNN_STATUS_SUCCESS)
        return "its numerical notes cannot be read";
    const bool exact = g->c.type == DDP_GPU_F32 && !g->c.tf32;
    for (int64_t i = 0; i < n; i++)
        switch (note[i]) {
        case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
            return "not deterministic";
        case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
            return "sums below fp32";
        case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
            return "rounds its inputs";
        case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
            if (exact)
                return "computes fp32 in TF32";
            break;
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
            return "Winograd on tiles that lose digits";
        default:
            break;
        }
    return NULL;
}

struct knob {
    cudnnBackendKnobType_t type;
    int64_t value;
};

static int by_type(const void *a, const void *b)
{
    const struct knob *p = a, *q = b;
    return (p->type > q->type) - (p->type < q->type);
}

/* The lock text of a configuration, and its engine as a descriptor that the caller destroys. */
static cudnnStatus_t read_config(cudnnBackendDescriptor_t config, char lock[DDP_CONV_LOCK],
                                 cudnnBackendDescriptor_t *engine)
{
    cudnnBackendDescriptor_t choice[KNOBS] = {0};
    struct knob knob[KNOBS];
    int64_t index = 0, n = 0, one = 0;
    int made = 0;
    *engine = NULL;
    cudnnStatus_t s = cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, engine);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                     &one, engine);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendGetAttribute(*engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &one,
                                     &index);
    for (; s == CUDNN_STATUS_SUCCESS && made < KNOBS; made++)
        s = cudnnBackendCreateDescriptor(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &choice[made]);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                     KNOBS, &n, choice);
    for (int64_t i = 0; s == CUDNN_STATUS_SUCCESS && i < n; i++) {
        s = cudnnBackendGetAttribute(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1,
                                     &one, &knob[i].type);
        if (s == CUDNN_STATUS_SUCCESS)
            s = cudnnBackendGetAttribute(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1,
                                         &one, &knob[i].value);
    }
    for (int i = 0; i < made; i++)
        cudnnBackendDestroyDescriptor(choice[i]);
    if (s != CUDNN_STATUS_SUCCESS) {
        if (*engine)
            cudnnBackendDestroyDescriptor(*engine);
        return s;
    }
    qsort(knob, (size_t)n, sizeof *knob, by_type);
    int len = snprintf(lock, DDP_CONV_LOCK, "eng=%lld", (long long)index);
    for (int64_t i = 0; i < n && len < DDP_CONV_LOCK; i++)
        len += snprintf(lock + len, (size_t)(DDP_CONV_LOCK - len), ";k%d=%lld", (int)knob[i].type,
                        (long long)knob[i].value);
    return CUDNN_STATUS_SUCCESS;
}

/* See graph_handle in conv_graph.c. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static const cudnnBackendAttributeName_t plan_handle = CUDNN_ATTR_EXECUTION_PLAN_HANDLE;
#pragma GCC diagnostic pop

/* A plan of a configuration. false: not one that may be used; why says so. */
static bool plan_of(struct ddp_conv_graph *g, cudnnBackendDescriptor_t config, struct ddp_conv_choice *out,
                    char *why, size_t size)
{
    struct ddp_conv_choice c = {0};
    cudnnBackendDescriptor_t engine;
    struct ddp_error err;
    cudnnStatus_t s = read_config(config, c.lock, &engine);
    if (s != CUDNN_STATUS_SUCCESS) {
        snprintf(why, size, "its configuration cannot be read: %s", cudnnGetErrorString(s));
        return false;
    }
    const char *no = forbidden(g, engine);
    cudnnBackendDestroyDescriptor(engine);
    snprintf(out->lock, sizeof out->lock, "%s", c.lock);
    if (no) {
        snprintf(why, size, "%s", no);
        return false;
    }
    const struct attribute a[] = {
        {CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config},
        g->handle ? (struct attribute){plan_handle, CUDNN_TYPE_HANDLE, 1, &g->handle}
                  : (struct attribute){CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                       &g->device},
    };
    int64_t workspace = 0, n = 0;
    s = cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &c.plan);
    if (s == CUDNN_STATUS_SUCCESS && ddp_conv_finalize(c.plan, a, COUNT(a), "plan", &err) != 0) {
        snprintf(why, size, "%.400s", err.text);
    } else if (s != CUDNN_STATUS_SUCCESS ||
               cudnnBackendGetAttribute(c.plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                                        &n, &workspace) != CUDNN_STATUS_SUCCESS) {
        snprintf(why, size, "its plan cannot be read");
    } else if (workspace < 0 || workspace > DDP_CONV_WORKSPACE) {
        snprintf(why, size, "it wants a workspace of %lld bytes", (long long)workspace);
    } else {
        c.workspace = (size_t)workspace;
        *out = c;
        return true;
    }
    ddp_conv_choice_finish(&c);
    return false;
}

void ddp_conv_choice_finish(struct ddp_conv_choice *c)
{
    if (c->plan)
        cudnnBackendDestroyDescriptor(c->plan);
    c->plan = NULL;
}

const char *ddp_conv_graph_passed(const struct ddp_conv_graph *g, int *count)
{
    *count = g->passed;
    return g->why;
}

/* ---- the heuristics' order ---- */

static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};

/* Ask the next mode. */
static int ask(struct ddp_conv_graph *g, struct ddp_error *err)
{
    ddp_conv_drop_configs(g);
    g->mode++;
    cudnnBackendDescriptor_t heur = NULL;
    const struct attribute a[] = {
        {CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->graph},
        {CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &modes[g->mode]},
        {CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->device},
    };
    int64_t bound = 0, n = 0;
    cudnnStatus_t s = cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heur);
    if (s != CUDNN_STATUS_SUCCESS)
        return ddp_cudnn_fail(err, DDP_E_RESOURCE, s, "cannot create a descriptor");
    struct ddp_error ignored;
    /* a mode that knows nothing of a convolution says so by an error: the next one is asked then */
    if (ddp_conv_finalize(heur, a, g->device ? 3 : 2, "heuristics", &ignored) != 0)
        goto done;
    /* without room for results the answer is an upper bound; the descriptors are filled in, so must be
     * there */
    s = cudnnBackendGetAttribute(heur, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0,
                                 &bound, NULL);
    if (s != CUDNN_STATUS_SUCCESS || bound <= 0)
        goto done;
    g->config = calloc((size_t)bound, sizeof *g->config);
    if (!g->config)
        goto done;
    for (; g->nconfig < bound; g->nconfig++)
        if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &g->config[g->nconfig]) !=
            CUDNN_STATUS_SUCCESS)
            break;
    s = cudnnBackendGetAttribute(heur, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 g->nconfig, &n, g->config);
    if (s != CUDNN_STATUS_SUCCESS)
        n = 0;
    while (g->nconfig > n)
        cudnnBackendDestroyDescriptor(g->config[--g->nconfig]);
done:
    cudnnBackendDestroyDescriptor(heur);
    return 0;
}

int ddp_conv_graph_next(struct ddp_conv_graph *g, struct ddp_conv_choice *out, struct ddp_error *err)
{
    for (;;) {
        while (g->next == g->nconfig) {
            if (g->mode + 1 == COUNT(modes)) {
                *out = (struct ddp_conv_choice){0};
                return 0;
            }
            int rc = ask(g, err);
            if (rc)
                return rc;
        }
        char why[512];
        struct ddp_conv_choice c = {0};
        if (plan_of(g, g->config[g->next++], &c, why, sizeof why)) {
            *out = c;
            return 0;
        }
        pass_over(g, c.lock, why);
    }
}

/* ---- replay ---- */

/* "eng=45;k2=5;k14=4" */
static bool parse(const char *lock, int64_t *index, struct knob knob[KNOBS], int *n)
{
    char *end;
    *n = 0;
    if (strncmp(lock, "eng=", 4) != 0)
        return false;
    *index = strtoll(lock + 4, &end, 10);
    while (*end == ';' && end[1] == 'k' && *n < KNOBS) {
        knob[*n].type = (cudnnBackendKnobType_t)strtol(end + 2, &end, 10);
        if (*end != '=')
            return false;
        knob[(*n)++].value = strtoll(end + 1, &end, 10);
    }
    return *end == 0;
}

/* A configuration of an engine and its knobs, made without heuristics: the last of made[]. Descriptors go
 * there in order, also when it fails. */
static int write_config(const struct ddp_conv_graph *g, int64_t index, const struct knob *knob, int n,
                        cudnnBackendDescriptor_t made[KNOBS + 2], int *nmade, struct ddp_error *err)
{
    const struct attribute of_engine[] = {
        {CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->graph},
        {CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index},
        {CUDNN_ATTR_ENGINE_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->device},
    };
    for (*nmade = 0; *nmade < n + 2; ++*nmade) {
        const cudnnBackendDescriptorType_t type = *nmade == 0   ? CUDNN_BACKEND_ENGINE_DESCRIPTOR
                                                  : *nmade <= n ? CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR
                                                                : CUDNN_BACKEND_ENGINECFG_DESCRIPTOR;
        const cudnnStatus_t s = cudnnBackendCreateDescriptor(type, &made[*nmade]);
        if (s != CUDNN_STATUS_SUCCESS)
            return ddp_cudnn_fail(err, DDP_E_RESOURCE, s, "cannot create a descriptor");
    }
    int rc = ddp_conv_finalize(made[0], of_engine, g->device ? 3 : 2, "engine", err);
    for (int i = 0; i < n && rc == 0; i++) {
        const struct attribute of_choice[] = {
            {CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &knob[i].type},
            {CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &knob[i].value},
        };
        rc = ddp_conv_finalize(made[i + 1], of_choice, COUNT(of_choice), "knob", err);
    }
    const struct attribute of_config[] = {
        {CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &made[0]},
        {CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, n, &made[1]},
    };
    return rc ? rc : ddp_conv_finalize(made[n + 1], of_config, n > 0 ? 2 : 1, "configuration", err);
}

int ddp_conv_graph_replay(struct ddp_conv_graph *g, const char *lock, struct ddp_conv_choice *out,
                          struct ddp_error *err)
{
    struct knob knob[KNOBS];
    int64_t index;
    int n;
    if (!parse(lock, &index, knob, &n))
        return ddp_fail(err, DDP_E_CONFIG, "plan lock '%.80s': a convolution's is like 'eng=45;k2=5'", lock);
    cudnnBackendDescriptor_t made[KNOBS + 2] = {0};
    struct ddp_conv_choice c = {0};
    struct ddp_error cause;
    char why[512] = "";
    int nmade = 0;
    if (write_config(g, index, knob, n, made, &nmade, &cause) != 0)
        snprintf(why, sizeof why, "%.500s", cause.text);
    else if (plan_of(g, made[n + 1], &c, why, sizeof why) && strcmp(c.lock, lock) != 0)
        snprintf(why, sizeof why, "it becomes '%.400s'", c.lock);
    while (nmade > 0)
        cudnnBackendDestroyDescriptor(made[--nmade]);
    if (why[0]) {
        ddp_conv_choice_finish(&c);
        return ddp_fail(err, DDP_E_CONFIG,
                        "plan lock '%.80s' does not fit this convolution and cuDNN %zu: %s", lock,
                        cudnnGetVersion(), why);
    }
    *out = c;
    return 0;
}
