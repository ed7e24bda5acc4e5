/* A model from config to the plan of a pass: the steps in order, and what others may ask of the result. */
#include "model/graph.h"

#include <stdlib.h>
#include <string.h>

/* model.input: a model that insists on a shape says so rather than failing in some layer. */
static int check_input(const struct ddp_config *cfg, struct ddp_shape input, struct ddp_error *err)
{
    const struct ddp_floats *want = &cfg->model.input;
    char shape[40];
    if (input.c < 1 || input.h < 1 || input.w < 1)
        return ddp_fail(err, DDP_E_SHAPE, "model: the data has an empty shape %s",
                        ddp_shape_text(input, shape));
    if (want->n == 0)
        return 0;
    if (want->n != 3)
        return ddp_fail(err, DDP_E_CONFIG,
                        "model.input: wants three numbers [channels, height, width], got %d", want->n);
    if (want->v[0] != input.c || want->v[1] != input.h || want->v[2] != input.w)
        return ddp_fail(err, DDP_E_SHAPE,
                        "model.input: model '%s' is made for %dx%dx%d, but the data '%s' is %s; choose other "
                        "data or another "
                        "model",
                        cfg->model.name ? cfg->model.name : "inline", (int)want->v[0], (int)want->v[1],
                        (int)want->v[2], cfg->data.name ? cfg->data.name : "inline",
                        ddp_shape_text(input, shape));
    return 0;
}

static struct ddp_model *create(struct ddp_shape input, int outputs, int shard_batch, unsigned flags)
{
    struct ddp_model *m = ddp_calloc(1, sizeof *m);
    m->arena = ddp_arena_create();
    m->input = input;
    m->classes = outputs < 0 ? -outputs : outputs;
    m->targets = outputs < 0;
    m->batch = shard_batch;
    m->gpu = flags & DDP_BUILD_GPU;
    return m;
}

int ddp_model_check_layers(struct ddp_config *cfg, bool open, bool *known, struct ddp_error *err)
{
    struct ddp_error found = {0};
    struct ddp_model *m = create((struct ddp_shape){1, 1, 1}, 0, 1, 0);
    m->open = open;
    ddp_graph_read(m, cfg, &found);
    ddp_graph_connect(m, &found);
    *known = found.code == 0;
    for (int i = 0; i < m->nlayers; i++)
        *known = *known && m->layer[i].op;
    ddp_model_destroy(m);
    return found.code ? ddp_error_add(err, found.code, "%s", found.text) : 0;
}

int ddp_model_build(struct ddp_config *cfg, struct ddp_shape input, int outputs, int shard_batch,
                    unsigned flags, struct ddp_model **out, struct ddp_error *err)
{
    struct ddp_error found = {0};
    if (shard_batch < 1)
        return ddp_fail(err, DDP_E_USAGE, "ddp_model_create: a shard of %d samples; it wants at least one",
                        shard_batch);
    int rc = check_input(cfg, input, err);
    if (rc != 0)
        return rc;
    struct ddp_model *m = create(input, outputs, shard_batch, flags);
    m->mixes = cfg->data.mixup > 0;
    ddp_graph_read(m, cfg, &found);
    if ((rc = ddp_graph_connect(m, &found)) != 0 || (rc = ddp_graph_shapes(m, &found)) != 0) {
        ddp_model_destroy(m);
        return ddp_fail(err, rc, "%s", found.text);
    }
    ddp_graph_fuse(m, !(flags & DDP_BUILD_NO_FUSE), cfg->probe.from == 0);
    ddp_graph_values(m, !(flags & DDP_BUILD_NO_ALIAS));
    ddp_graph_flat(m);
    ddp_graph_stages(m, !(flags & DDP_BUILD_NO_REUSE), !(flags & DDP_BUILD_NO_OVER) && cfg->probe.from == 0);
    *out = m;
    return 0;
}

int ddp_model_create(struct ddp_config *cfg, struct ddp_shape input, int outputs, int shard_batch,
                     enum ddp_model_form form, struct ddp_model **out, struct ddp_error *err)
{
    const unsigned flags = form == DDP_MODEL_FOR_DEVICE ? DDP_BUILD_GPU : 0;
    return ddp_model_build(cfg, input, outputs, shard_batch, flags, out, err);
}

void ddp_model_destroy(struct ddp_model *m)
{
    if (!m)
        return;
    ddp_arena_destroy(m->arena);
    free(m);
}

const struct ddp_flat *ddp_model_flat(const struct ddp_model *m)
{
    return &m->flat;
}

bool ddp_model_needs_sync(const struct ddp_model *m)
{
    return m->stages.synced;
}
