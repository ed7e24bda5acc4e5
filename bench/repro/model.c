/* The table of experiments, and what all of them have in common. */
#include "bench/repro/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 70 pictures in batches of 18: four steps an epoch, the last one of 16, and shards of 2 and 3 pictures. */
#define DIGITS "data: { base = \"digits\"; train_count = 70; test_count = 20; };\n"
#define SGD                                                                                                  \
    "optim: { base = \"sgd\"; lr = 0.02; nesterov = true; weight_decay = 0.0005; schedule = \"onecycle\"; "  \
    "};\n"

const struct repro_model repro_models[] = {
    {.name = "mlp",
     .strength = 3,
     .quick = 1,
     .small = true,
     .shards = 8,
     .config = "model: { base = \"mlp\"; };\n" DIGITS SGD "train: { batch = 18; shards = 8;"},
    {.name = "mnist_cnn",
     .strength = 3,
     .quick = 1,
     .shards = 8,
     .config = "model: { base = \"mnist_cnn\"; };\n" DIGITS SGD "train: { batch = 18; shards = 8;"},
    {.name = "fashion_cnn",
     .strength = 3,
     .quick = 1,
     .shards = 8,
     .config = "model: { base = \"fashion_cnn\"; };\n" DIGITS SGD "train: { batch = 18; shards = 8;"},
    {.name = "resnet18",
     .strength = 2,
     .quick = 1,
     .shards = 8,
     .config = "model: { base = \"resnet18\"; };\n"
               "data: { base = \"digits\"; train_count = 35; test_count = 9; };\n" SGD
               "train: { batch = 9; shards = 8;"},
    {.name = "table", /* real numbers, and steps that a layer's norms scale */
     .strength = 2,
     .quick = 1,
     .small = true,
     .shards = 8,
     .config = "model: { layers = (\n"
               "    {type = \"linear\", name = \"fc1\", out = 64},\n"
               "    {type = \"layer_norm\", name = \"norm1\"},\n"
               "    {type = \"silu\", name = \"act1\"},\n"
               "    {type = \"linear\", name = \"fc2\", out = \"classes\"},\n"
               "    {type = \"huber\", name = \"loss\"}); };\n"
               "data: { base = \"friedman\"; train_count = 70; test_count = 20; };\n"
               "optim: { base = \"lamb\"; lr = 0.01; clip_norm = 1.0; };\n"
               "train: { batch = 18; shards = 8;"},
    {.name = "recipe", /* everything that is random, summed over steps, or of the whole gradient */
     .strength = 3,
     .quick = 2,
     .small = true,
     .shards = 8,
     .config = "model: { layers = (\n"
               "    {type = \"conv2d\", name = \"conv1\", out = 8, kernel = 5, stride = 3},\n"
               "    {type = \"batch_norm\", name = \"bn1\", sync = true},\n"
               "    {type = \"relu\", name = \"relu1\"},\n"
               "    {type = \"dropout\", name = \"drop1\", p = 0.2},\n"
               "    {type = \"conv2d\", name = \"conv2\", out = 12, kernel = 3, stride = 2},\n"
               "    {type = \"batch_norm\", name = \"bn2\"},\n"
               "    {type = \"gelu\", name = \"gelu2\"},\n"
               "    {type = \"flatten\", name = \"flat\"},\n"
               "    {type = \"dropout\", name = \"drop2\", p = 0.5},\n"
               "    {type = \"linear\", name = \"fc\", out = \"classes\"},\n"
               "    {type = \"softmax_cross_entropy\", name = \"loss\", label_smoothing = 0.1}); };\n"
               "data: { base = \"digits\"; train_count = 140; test_count = 20; crop_padding = 2; flip = "
               "true; cutout = 6; };\n"
               "optim: { base = \"adamw\"; lr = 0.003; clip_norm = 0.5; ema = 0.75; schedule = \"cosine\"; "
               "warmup_steps = 3; };\n"
               "train: { batch = 18; accumulate = 2; shards = 8;"},
};
const int repro_nmodels = (int)DDP_COUNT(repro_models);

static int unknown(const char *name, struct ddp_error *err)
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (int i = 0; i < repro_nmodels; i++)
        ddp_text_add(&t, "%s%s", i ? ", " : "", repro_models[i].name);
    const int code = ddp_fail(err, DDP_E_USAGE, "no model '%s'; there are %s, and rSEED-INDEX", name, t.s);
    ddp_text_finish(&t);
    return code;
}

int repro_model_find(const char *name, struct repro_model *out, struct ddp_error *err)
{
    char seed[24], index[24], end;
    int64_t s, i;
    for (int k = 0; k < repro_nmodels; k++)
        if (strcmp(repro_models[k].name, name) == 0) {
            *out = repro_models[k];
            return 0;
        }
    if (sscanf(name, "r%20[0-9]-%20[0-9]%c", seed, index, &end) != 2 || !ddp_parse_int(seed, &s) ||
        !ddp_parse_int(index, &i))
        return unknown(name, err);
    *out = repro_draw((uint64_t)s, i);
    return 0;
}

char *repro_model_config(const struct repro_model *m)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "# The experiment '%s' of ddp-bench repro.\ndevice = \"cpu\";\n", m->name);
    if (m->config)
        ddp_text_add(&t, "%s", m->config);
    else
        repro_draw_config(m, &t);
    ddp_text_add(&t,
                 " epochs = 3; max_steps = %d; trail_every = 1; };\n"
                 "eval: { every_epochs = 0; };\n"
                 "checkpoint: { every_steps = %d; every_epochs = 0; best = false; };\n"
                 "log: { every_steps = 1; progress = false; };\n"
                 "launch: { bind = \"none\"; };\n",
                 REPRO_STEPS, REPRO_SAVE_EVERY);
    return t.s;
}
