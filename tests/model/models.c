/* Models for tests: from text, and those that are shipped. */
#include "models.h"

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

static struct ddp_model *model(struct ddp_config *cfg, struct ddp_shape input, int classes, int batch,
                               unsigned flags)
{
    struct ddp_error err = {0};
    struct ddp_model *m = NULL;
    if (ddp_model_build(cfg, input, classes, batch, flags, &m, &err) != 0)
        fail_msg("%s", err.text);
    return m;
}

struct ddp_model *model_layers(const char *layers, struct ddp_shape input, int batch, unsigned flags)
{
    return model(config_layers(layers), input, 0, batch, flags);
}

struct ddp_model *model_named(const char *name, struct ddp_shape input, int batch, unsigned flags)
{
    return model(config_named(name), input, 10, batch, flags);
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
        n += snprintf(text + n, sizeof text - n, "%s%s%s%s%s", s ? " " : "",
                      m->layer[m->stage[s].layer].op->name, m->stage[s].fused & DDP_FUSE_ADD ? "+add" : "",
                      m->stage[s].fused & DDP_FUSE_RELU ? "+relu" : "",
                      m->stage[s].fused & DDP_FUSE_POOL ? "+pool" : "");
    return text;
}

float random_uniform(uint32_t index, uint32_t stream)
{
    return 2 * ddp_uniform(ddp_philox4(index, stream, 0, 0, 99).v[0]) - 1;
}
