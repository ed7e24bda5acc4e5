#include "models.h"

#include <math.h>
#include <unistd.h>

#define GREY                                                                                                 \
    {                                                                                                        \
        1, 28, 28                                                                                            \
    }
#define COLOUR                                                                                               \
    {                                                                                                        \
        3, 32, 32                                                                                            \
    }

const struct shipped shipped[] = {
    {"linear", GREY, 7850},         {"linear", COLOUR, 30730},    {"mlp", GREY, 235146},
    {"mlp", COLOUR, 820874},        {"lenet5", GREY, 61706},      {"mnist_cnn", GREY, 1199882},
    {"fashion_cnn", GREY, 1475338}, {"vgg11", COLOUR, 9225610},   {"resnet8", GREY, 77754},
    {"resnet8", COLOUR, 78042},     {"resnet18", GREY, 11172810}, {"resnet18", COLOUR, 11173962},
};
const int nshipped = sizeof shipped / sizeof shipped[0];

/* The tree's; where a program has been carried to another machine, those that it was carried with. */
static const char *configs(void)
{
    const char *carried = getenv("DDP_CONFIGS_DIR");
    return carried && access(DDP_TEST_CONFIGS, R_OK) != 0 ? carried : DDP_TEST_CONFIGS;
}

static struct ddp_config *kept[256];
static int nkept;

static struct ddp_config *load(const struct ddp_config_options *opt)
{
    struct ddp_error err = {0};
    struct ddp_config *cfg = NULL;
    if (ddp_config_load(opt, &cfg, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(nkept < 256);
    return kept[nkept++] = cfg;
}

struct ddp_config *config_layers(const char *layers)
{
    char path[] = "/tmp/ddp-model-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fprintf(f, "model = {\n layers = (\n%s\n );\n};\n", layers);
    fclose(f);
    struct ddp_config *cfg = load(&(struct ddp_config_options){.path = path, .configs_dir = configs()});
    unlink(path);
    return cfg;
}

struct ddp_config *config_named(const char *name)
{
    char text[64];
    snprintf(text, sizeof text, "model=%s", name);
    const char *overrides[] = {text};
    return load(
        &(struct ddp_config_options){.overrides = overrides, .noverrides = 1, .configs_dir = configs()});
}

static struct ddp_model *model(struct ddp_config *cfg, struct ddp_shape input, int batch, unsigned flags)
{
    struct ddp_error err = {0};
    struct ddp_model *m = NULL;
    if (ddp_model_build(cfg, input, 0, batch, flags, &m, &err) != 0)
        fail_msg("%s", err.text);
    return m;
}

struct ddp_model *model_layers(const char *layers, struct ddp_shape input, int batch, unsigned flags)
{
    return model(config_layers(layers), input, batch, flags);
}

struct ddp_model *model_named(const char *name, struct ddp_shape input, int batch, unsigned flags)
{
    return model(config_named(name), input, batch, flags);
}

void models_finish(void)
{
    while (nkept > 0)
        ddp_config_destroy(kept[--nkept]);
}

const char *stages_text(const struct ddp_model *m)
{
    static char text[4096];
    size_t n = 0;
    for (int s = 0; s < m->nstages; s++)
        n += snprintf(text + n, sizeof text - n, "%s%s%s%s", s ? " " : "",
                      m->layer[m->stage[s].layer].op->name, m->stage[s].fused & DDP_FUSE_ADD ? "+add" : "",
                      m->stage[s].fused & DDP_FUSE_RELU ? "+relu" : "");
    return text;
}

float random_uniform(uint32_t index, uint32_t stream)
{
    return 2 * ddp_uniform(ddp_philox4(index, stream, 0, 0, 99).v[0]) - 1;
}

/* Kernels want parameters and leaves on 64 bytes. */
static float *flat_alloc(int64_t n)
{
    return aligned_alloc(64, n * sizeof(float));
}

struct pass *pass_create(const struct ddp_model *m, int nshards, const int *n)
{
    struct pass *p = calloc(1, sizeof *p);
    const int64_t total = m->flat.total, picture = (int64_t)m->input.c * m->input.h * m->input.w;
    const struct ddp_layer *loss = &m->layer[m->nlayers - 1];
    const int classes = loss->shape[0].c * loss->shape[0].h * loss->shape[0].w;
    uint32_t at = 0;
    p->m = m;
    p->nshards = nshards;
    p->params = flat_alloc(total);
    p->reported = calloc(total / DDP_FLAT_BLOCK, MAX_SHARDS);
    ddp_model_init(m, 7, p->params);
    for (int i = 0; i < nshards; i++) {
        p->leaf[i] = flat_alloc(total);
        float *pixels = malloc(n[i] * picture * sizeof *pixels + 1);
        int32_t *label = malloc(n[i] * sizeof *label + 1);
        int64_t *sample = malloc(n[i] * sizeof *sample + 1);
        for (int k = 0; k < n[i]; k++, at++) {
            sample[k] = 100 + at;
            label[k] = (int32_t)(at * 7 % classes);
            for (int64_t e = 0; e < picture; e++)
                pixels[k * picture + e] = random_uniform((uint32_t)e, at);
        }
        p->shard[i] = (struct ddp_shard){.n = n[i], .pixels = pixels, .label = label, .sample = sample};
    }
    return p;
}

void pass_destroy(struct pass *p)
{
    for (int i = 0; i < p->nshards; i++) {
        free((void *)p->shard[i].pixels);
        free((void *)p->shard[i].label);
        free((void *)p->shard[i].sample);
        free(p->leaf[i]);
    }
    free(p->reported);
    free(p->params);
    free(p);
}

int sum_leaves(void *ctx, int width, const float *leaves, float *out, struct ddp_error *err)
{
    (void)err;
    for (int k = 0; k < width; k++) {
        out[k] = leaves[k];
        for (int i = 1; i < *(int *)ctx; i++)
            out[k] += leaves[(size_t)i * width + k];
    }
    return 0;
}

struct shard_offset {
    struct pass *p;
    int first;
};

void pass_ready(void *ctx, int i, int64_t lo, int64_t hi)
{
    struct shard_offset *o = ctx;
    assert_true(lo < hi && lo % DDP_FLAT_BLOCK == 0 && hi % DDP_FLAT_BLOCK == 0 &&
                hi <= o->p->m->flat.metrics);
    for (int64_t b = lo / DDP_FLAT_BLOCK; b < hi / DDP_FLAT_BLOCK; b++)
        o->p->reported[b * MAX_SHARDS + o->first + i]++;
}

void pass_run(struct pass *p, int resident, struct ddp_pool *pool)
{
    struct ddp_error err = {0};
    struct ddp_exec *e = NULL;
    struct ddp_exec_conf conf = {.training = true,
                                 .resident = resident,
                                 .seed = 5,
                                 .pool = pool,
                                 .sync = sum_leaves,
                                 .sync_ctx = &p->nshards};
    int64_t count = 0;
    for (int i = 0; i < p->nshards; i++) {
        count += p->shard[i].n;
        for (int64_t k = 0; k < p->m->flat.total; k++)
            p->leaf[i][k] = NAN;
    }
    assert_int_equal(ddp_exec_create(p->m, &conf, &e, &err), 0);
    for (int i = 0; i < p->nshards; i += resident) {
        int n = p->nshards - i < resident ? p->nshards - i : resident;
        struct shard_offset o = {p, i};
        assert_int_equal(
            ddp_exec_forward(e, p->params, p->shard + i, n, 3, count, p->loss + i, p->correct + i, &err), 0);
        assert_int_equal(ddp_exec_backward(e, p->params, p->leaf + i, n, pass_ready, &o, &err), 0);
    }
    ddp_exec_destroy(e);
}
